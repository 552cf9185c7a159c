# Compiler settings that every target shares.
add_library(cbit_options INTERFACE)
target_compile_features(cbit_options INTERFACE cxx_std_20)
target_include_directories(cbit_options INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
target_compile_options(cbit_options INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-sign-conversion -Wimplicit-fallthrough -Wno-missing-field-initializers)
if(CBIT_WERROR)
  target_compile_options(cbit_options INTERFACE -Werror)
endif()
if(CBIT_SANITIZE)
  target_compile_options(cbit_options INTERFACE
    -fsanitize=${CBIT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(cbit_options INTERFACE -fsanitize=${CBIT_SANITIZE})
endif()
