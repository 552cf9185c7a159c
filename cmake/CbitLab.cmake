# The experiments of tests/lab, inside the program: builtin_experiments() comes from a file made of them.
file(GLOB lab_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/lab/*.toml)
set(builtin_experiments ${CMAKE_BINARY_DIR}/generated/builtin_experiments.cpp)
add_custom_command(OUTPUT ${builtin_experiments}
  COMMAND ${CMAKE_COMMAND} -D FOLDER=${CMAKE_SOURCE_DIR}/tests/lab -D OUTPUT=${builtin_experiments}
    -P ${CMAKE_CURRENT_LIST_DIR}/embed_experiments.cmake
  DEPENDS ${lab_files} ${CMAKE_CURRENT_LIST_DIR}/embed_experiments.cmake VERBATIM)
target_sources(cbit_lab PRIVATE ${builtin_experiments})
