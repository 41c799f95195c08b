# What `cmake --install` puts where: the command, the runtime with its headers,
# the documents and examples, and a pkg-config file and a CMake package that say where these are. A product
# that links a compiled model needs none of it: its header is complete.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/treenail)
set(header_dir ${CMAKE_INSTALL_INCLUDEDIR}/treenail)

install(TARGETS treenail_runtime ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES runtime/abi.h runtime/abi_stream.h runtime/runtime.h
        DESTINATION ${header_dir}/runtime)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
# Whatever the documents link to: a test follows the links.
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY bindings/python
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/bindings
        PATTERN tests EXCLUDE PATTERN __pycache__ EXCLUDE
        PATTERN build EXCLUDE PATTERN *.egg-info EXCLUDE)
install(FILES tests/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/tests)
install(FILES tests/bench/README.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/tests/bench)

# "../..", or one more where libraries have a folder for each machine.
file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" to_prefix ${to_prefix})
configure_file(cmake/treenail.pc.in treenail.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/treenail.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/treenailConfig.cmake.in
    treenailConfig.cmake
    INSTALL_DESTINATION ${package_dir}
    PATH_VARS CMAKE_INSTALL_BINDIR CMAKE_INSTALL_LIBDIR header_dir)
# Before 1.0, a minor version may change the ABI of libraries.
write_basic_package_version_file(treenailConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/treenailConfig.cmake
              ${PROJECT_BINARY_DIR}/treenailConfigVersion.cmake
              cmake/treenail_compile.cmake
        DESTINATION ${package_dir})
