# The manual page in the tree is compared with what the table of keys writes.
target_compile_definitions(unit-app PRIVATE SLC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
