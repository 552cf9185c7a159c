# The command `cbit` from src/face/cli, and the pages that it prints about itself.
#
# Targets: cbit_cli (the program, left at the top of the build folder), cbit_pages (man page and shell
# completions, under pages/).
file(GLOB_RECURSE cli_parts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/face/cli/*.cpp)
list(FILTER cli_parts EXCLUDE REGEX "/main\\.cpp$")
if(NOT cli_parts OR NOT EXISTS ${CMAKE_SOURCE_DIR}/src/face/cli/main.cpp)
  return()
endif()

find_package(CLI11 REQUIRED)
add_library(cbit_cli_parts STATIC ${cli_parts})
target_link_libraries(cbit_cli_parts PUBLIC cbit_lab cbit_gdb cbit_stream cbit_doctor cbit_launch
  cbit_process cbit_recorder cbit_recording CLI11::CLI11 nlohmann_json::nlohmann_json PNG::PNG)
cbit_compiled_as(cbit_cli_parts cli)
target_compile_definitions(cbit_cli_parts PRIVATE CBIT_VERSION="${PROJECT_VERSION}")
cbit_room_tests(cli cbit_cli_parts)

add_executable(cbit_cli ${CMAKE_SOURCE_DIR}/src/face/cli/main.cpp)
target_link_libraries(cbit_cli PRIVATE cbit_cli_parts)
set_target_properties(cbit_cli PROPERTIES OUTPUT_NAME cbit RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# cbit_page(FILE FOLDER ARGUMENT...): pages/FILE is what `cbit ARGUMENT...` prints; it is installed in FOLDER.
function(cbit_page file folder)
  set(page ${CMAKE_BINARY_DIR}/pages/${file})
  add_custom_command(OUTPUT ${page} COMMAND cbit_cli ${ARGN} > ${page}.new
    COMMAND ${CMAKE_COMMAND} -E rename ${page}.new ${page} DEPENDS cbit_cli VERBATIM)
  set_property(GLOBAL APPEND PROPERTY CBIT_PAGES ${page})
  install(FILES ${page} DESTINATION ${folder})
endfunction()

file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/pages)
cbit_page(cbit.1 ${CMAKE_INSTALL_MANDIR}/man1 man)
cbit_page(cbit ${CMAKE_INSTALL_DATADIR}/bash-completion/completions completion bash)
cbit_page(_cbit ${CMAKE_INSTALL_DATADIR}/zsh/site-functions completion zsh)
cbit_page(cbit.fish ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d completion fish)
get_property(pages GLOBAL PROPERTY CBIT_PAGES)
add_custom_target(cbit_pages ALL DEPENDS ${pages})
add_dependencies(product cbit_cli cbit_pages)
install(TARGETS cbit_cli)
