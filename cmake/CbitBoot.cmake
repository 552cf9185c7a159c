# The compiled ACPI source of the room boot, inside the program: dsdt_aml() comes from a file made of it.
find_program(CBIT_IASL iasl REQUIRED DOC "ACPI source compiler: package acpica-tools")
set(dsdt_source ${CMAKE_SOURCE_DIR}/src/system/boot/acpi/dsdt.asl)
set(dsdt_aml ${CMAKE_BINARY_DIR}/generated/dsdt.aml)
set(dsdt_code ${CMAKE_BINARY_DIR}/generated/dsdt_aml.cpp)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${dsdt_code}
  COMMAND ${CBIT_IASL} -ve -vr -p ${dsdt_aml} ${dsdt_source} > ${CMAKE_BINARY_DIR}/generated/iasl.log
  COMMAND ${CMAKE_COMMAND} -D INPUT=${dsdt_aml} -D NAME=dsdt_aml -D HEADER=boot/acpi/tables.hpp
    -D NAMESPACE=boot -D OUTPUT=${dsdt_code} -P ${CMAKE_CURRENT_LIST_DIR}/embed_binary.cmake
  DEPENDS ${dsdt_source} ${CMAKE_CURRENT_LIST_DIR}/embed_binary.cmake VERBATIM)
target_sources(cbit_boot PRIVATE ${dsdt_code})
