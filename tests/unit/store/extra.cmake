# The contract suite also runs against the model store; some tests look at the bytes of the files.
target_sources(unit-store PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/support/model_store.c)
target_include_directories(unit-store PRIVATE ${PROJECT_SOURCE_DIR}/storage/src)
