# What `cmake --install` and CPack deliver: the command with its pages (CbitCommand.cmake), the library
# cbit::cbit with its headers, its CMake package and cbit.pc, the JSON schemas, the example labs, and the
# documents with the examples, each of which is a project that is built as it lies there.
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY CBIT_ROOMS)
list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE room_objects)
add_library(cbit STATIC ${room_objects})
add_library(cbit::cbit ALIAS cbit)
target_compile_features(cbit PUBLIC cxx_std_20)
target_include_directories(cbit PUBLIC
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(cbit PRIVATE fmt::fmt OpenSSL::Crypto tomlplusplus::tomlplusplus Threads::Threads)
if(CBIT_SANITIZE)  # what links a sanitized library needs the sanitizer's own
  target_link_options(cbit INTERFACE $<BUILD_INTERFACE:-fsanitize=${CBIT_SANITIZE}>)
endif()
add_dependencies(product cbit)
# For a driver's C file: its #include <linux/...> finds cbit's. C++ keeps the system's.
add_library(cbit_driver INTERFACE)
add_library(cbit::driver ALIAS cbit_driver)
set_target_properties(cbit_driver PROPERTIES EXPORT_NAME driver)
target_include_directories(cbit_driver INTERFACE
  $<$<COMPILE_LANGUAGE:C>:$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include/cbit/driver>>
  $<$<COMPILE_LANGUAGE:C>:$<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_INCLUDEDIR}/cbit/driver>>)
target_link_libraries(cbit_driver INTERFACE cbit)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/cbit)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/cbit-config.cmake.in cbit-config.cmake
  INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(cbit-config-version.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS cbit cbit_driver EXPORT cbit-targets)
install(EXPORT cbit-targets NAMESPACE cbit:: DESTINATION ${package_folder})
install(FILES ${CMAKE_BINARY_DIR}/cbit-config.cmake ${CMAKE_BINARY_DIR}/cbit-config-version.cmake
  DESTINATION ${package_folder})

# pcfiledir keeps the file true wherever the tree is unpacked.
file(RELATIVE_PATH pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" pc_to_prefix ${pc_to_prefix})
configure_file(${CMAKE_SOURCE_DIR}/cmake/cbit.pc.in cbit.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cbit.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/cbit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/schema/ DESTINATION ${CMAKE_INSTALL_DATADIR}/cbit/schema
  FILES_MATCHING PATTERN "*.json")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/tests/lab/ DESTINATION ${CMAKE_INSTALL_DATADIR}/cbit/lab
  FILES_MATCHING PATTERN "*.toml")
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/NOTICE ${CMAKE_SOURCE_DIR}/README.md
  ${CMAKE_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/examples DESTINATION ${CMAKE_INSTALL_DOCDIR} USE_SOURCE_PERMISSIONS)
# Where the documents' links lead.
file(RELATIVE_PATH doc_to_schema /prefix/${CMAKE_INSTALL_DOCDIR} /prefix/${CMAKE_INSTALL_DATADIR}/cbit/schema)
install(CODE "file(CREATE_LINK ${doc_to_schema}
  \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}/schema\" SYMBOLIC)")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "the cbit authors")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libfmt-dev, libssl-dev, libtomlplusplus-dev")
include(CPack)
