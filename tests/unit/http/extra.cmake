target_link_libraries(unit-http PRIVATE PkgConfig::JANSSON)
