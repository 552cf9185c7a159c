# cbit_wing(NAME): the rooms of the lines below it are folders of src/NAME, which is an include root.
macro(cbit_wing name)
  set(cbit_current_wing ${name})
endmacro()

# cbit_room(NAME [DEPENDS room...] [LIBRARIES target...])
#
# One static library per room. It sees only the rooms it names and the ones below those; tools/check-rooms
# reads these lines and holds the #include lines to the same order.
function(cbit_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${cbit_current_wing}/${name}/*.[ch]pp)
  add_library(cbit_${name} STATIC ${sources})
  set_target_properties(cbit_${name} PROPERTIES LINKER_LANGUAGE CXX)
  cbit_compiled_as(cbit_${name} ${name})
  list(TRANSFORM ROOM_DEPENDS PREPEND cbit_)
  target_link_libraries(cbit_${name} PUBLIC cbit_options ${ROOM_DEPENDS} ${ROOM_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY CBIT_ROOMS cbit_${name})
  cbit_room_tests(${name} cbit_${name})
endfunction()

# cbit_room_tests(NAME TARGET...): the program test_NAME from tests/unit/WING/NAME and
# tests/property/WING/NAME.
#
# They run in the source folder and carry the label "unit". A test with Threads in its name carries "threads"
# instead, and runs under ThreadSanitizer as well, for which its file alone is built; the target thread_tests
# builds the programs that have such tests.
function(cbit_room_tests name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/tests/unit/${cbit_current_wing}/${name}/*.cpp
    ${CMAKE_SOURCE_DIR}/tests/property/${cbit_current_wing}/${name}/*.cpp)
  set(sources_of_threads)
  foreach(source IN LISTS sources)
    file(STRINGS ${source} tests_of_threads REGEX "^(TEST|RC_GTEST).*Threads")
    if(tests_of_threads)
      list(APPEND sources_of_threads ${source})
    endif()
  endforeach()
  if(CBIT_SANITIZE STREQUAL "thread")
    set(sources ${sources_of_threads})
  endif()
  if(NOT CBIT_TESTS OR NOT sources OR NOT (CBIT_UNIT_TESTS STREQUAL "ALL" OR name IN_LIST CBIT_UNIT_TESTS))
    return()
  endif()
  add_executable(test_${name} ${sources})
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  cbit_test_flags(test_${name})
  cbit_test_headers(test_${name})
  target_link_libraries(test_${name} PRIVATE ${ARGN} GTest::gtest_main GTest::gmock rapidcheck)
  add_dependencies(tests test_${name})
  if(name IN_LIST CBIT_UNITY_TESTS)
    cbit_unity(test_${name})
  endif()

  cbit_room_tests_are(test_${name} ${name} unit "-*Threads*")
  if(sources_of_threads)
    cbit_room_tests_are(test_${name} ${name} threads "*Threads*")
    add_dependencies(thread_tests test_${name})
  endif()
endfunction()

# cbit_room_tests_are(PROGRAM ROOM LABEL FILTER): its tests of that filter, with that label.
#
# A test is a process. A sanitized program takes longer to start than most tests take, so there a process runs
# a share of them, and tools/test counts what it leaves in unit_results/.
function(cbit_room_tests_are program room label filter)
  if(NOT CBIT_SANITIZE)
    # A loaded machine takes a while to start a large program.
    gtest_discover_tests(${program} TEST_PREFIX "${room}: " TEST_FILTER ${filter} DISCOVERY_MODE PRE_TEST
      DISCOVERY_TIMEOUT 600 NO_PRETTY_VALUES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
      TEST_LIST ${room}_${label}_tests PROPERTIES LABELS ${label})
    return()
  endif()
  get_target_property(sources ${program} SOURCES)
  list(LENGTH sources parts)
  math(EXPR last "${parts} / 6")
  math(EXPR parts "${last} + 1")
  foreach(part RANGE ${last})
    set(test "${room}: ${label} tests, share ${part} of ${parts}")
    add_test(NAME ${test} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} COMMAND ${program} --gtest_brief=1
      --gtest_filter=${filter} "--gtest_output=xml:${CMAKE_BINARY_DIR}/unit_results/${test}.xml")
    set_tests_properties(${test} PROPERTIES LABELS ${label}
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${parts};GTEST_SHARD_INDEX=${part}")
  endforeach()
endfunction()
