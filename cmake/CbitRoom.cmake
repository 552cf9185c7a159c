# cbit_room(NAME [DEPENDS room...] [LIBRARIES target...])
#
# One static library per folder of src/. A room sees only the rooms it names and the ones below those;
# tools/check-rooms holds the #include lines to the same order.
function(cbit_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  add_library(cbit_${name} STATIC ${sources})
  list(TRANSFORM ROOM_DEPENDS PREPEND cbit_)
  target_link_libraries(cbit_${name} PUBLIC cbit_options ${ROOM_DEPENDS} ${ROOM_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY CBIT_ROOMS cbit_${name})

  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${name}/*.cpp)
  if(CBIT_TESTS AND tests)
    add_executable(test_${name} ${tests})
    target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_link_libraries(test_${name} PRIVATE cbit_${name} GTest::gtest_main GTest::gmock rapidcheck)
    gtest_discover_tests(test_${name} TEST_PREFIX "${name}: " DISCOVERY_MODE PRE_TEST)
  endif()
endfunction()
