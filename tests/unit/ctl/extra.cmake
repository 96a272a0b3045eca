target_link_libraries(unit-ctl PRIVATE PkgConfig::JANSSON)
