# Compiler settings that every target shares.
add_library(cbit_options INTERFACE)
target_compile_features(cbit_options INTERFACE cxx_std_20)
set(CBIT_WINGS core hardware system insight host face)
list(TRANSFORM CBIT_WINGS PREPEND ${CMAKE_SOURCE_DIR}/src/ OUTPUT_VARIABLE cbit_include_roots)
target_include_directories(cbit_options INTERFACE ${cbit_include_roots} ${CMAKE_SOURCE_DIR}/include)
target_compile_options(cbit_options INTERFACE
  -Wall -Wextra -Wconversion -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-sign-conversion -Wimplicit-fallthrough -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 sees overflows in std::string and std::vector that are not there (GCC bug 105329 and others).
  target_compile_options(cbit_options INTERFACE -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(NOT CBIT_UNITY)
  target_compile_options(cbit_options INTERFACE -Wshadow)
endif()
if(CBIT_WERROR)
  target_compile_options(cbit_options INTERFACE -Werror)
else()
  target_compile_options(cbit_options INTERFACE -Werror=switch)
endif()
if(CBIT_SANITIZE)
  set(sanitizer -fsanitize=${CBIT_SANITIZE} -fno-sanitize-recover=all)
  if(CBIT_SANITIZE MATCHES "address")
    # A fifth of the time to compile goes into these, and AddressSanitizer sees the access itself.
    list(APPEND sanitizer -fno-sanitize=null,object-size,vptr)
  endif()
  target_compile_options(cbit_options INTERFACE -fno-omit-frame-pointer
    "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:CBIT_UNSANITIZED>>>:${sanitizer}>")
  target_link_options(cbit_options INTERFACE -fsanitize=${CBIT_SANITIZE})
endif()

# cbit_test_flags(TARGET): programs of tests compile longer than they run. What they test is sanitized; only
# ThreadSanitizer has to see both.
function(cbit_test_flags target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(CBIT_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  endif()
  if(CBIT_SANITIZE MATCHES "address")
    set_target_properties(${target} PROPERTIES CBIT_UNSANITIZED ON)
  endif()
endfunction()

# cbit_unity(TARGET): the files of a target are compiled together, a dozen at a time. Their unnamed namespaces
# become one, so that names in them differ from file to file, and may be shadowed.
function(cbit_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
endfunction()

# cbit_compiled_as(TARGET ROOM): as CBIT_UNITY and CBIT_UNHURRIED say of the room.
function(cbit_compiled_as target room)
  if(room IN_LIST CBIT_UNITY)
    cbit_unity(${target})
  endif()
  if(room IN_LIST CBIT_UNHURRIED)
    target_compile_options(${target} PRIVATE ${CBIT_UNHURRIED_OPTIONS})
  endif()
endfunction()

# cbit_test_headers(TARGET): what all tests include is compiled once for all; g++ gains nothing by it.
function(cbit_test_headers target)
  if(NOT CBIT_SANITIZE)
    return()
  endif()
  if(NOT TARGET cbit_test_headers)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/test_headers.cpp CONTENT "")
    add_library(cbit_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cpp)
    cbit_test_flags(cbit_test_headers)
    target_link_libraries(cbit_test_headers PRIVATE cbit_options fmt::fmt GTest::gmock rapidcheck)
    target_precompile_headers(cbit_test_headers PRIVATE
      <gmock/gmock.h> <gtest/gtest.h> <rapidcheck.h> <rapidcheck/gtest.h>
      <algorithm> <map> <memory> <optional> <string> <vector>)
  endif()
  target_precompile_headers(${target} REUSE_FROM cbit_test_headers)
endfunction()
