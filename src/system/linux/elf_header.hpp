// The header of an ELF file for x86-64 that is written here. System V gABI, chapter 4.
#pragma once

#include <elf.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace cbit::linux {

// `type` is ET_EXEC, ET_CORE ...; where program and section headers are, and how many, is left to the caller.
[[nodiscard]] inline Elf64_Ehdr elf_header(std::uint16_t type) {
  Elf64_Ehdr header{};
  constexpr std::array<unsigned char, 7> ident{ELFMAG0,    ELFMAG1,     ELFMAG2,   ELFMAG3,
                                               ELFCLASS64, ELFDATA2LSB, EV_CURRENT};
  std::memcpy(header.e_ident, ident.data(), ident.size());
  header.e_type = type;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof header;
  return header;
}

}  // namespace cbit::linux
