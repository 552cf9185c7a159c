// What is wanted of an ELF file of a kernel or a module: its sections, its loaded segments, its symbols.
// System V gABI, chapters 4 and 5.
//
// Written here, on bounds-checked loads, because kernels and modules are anybody's files; whoever wants more
// of a format takes a library. Nothing in the file is trusted: entries that point out of it are left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"

namespace cbit::linux {

// As a section header or a program header has it. `bytes` is what the file has; `size` what there is in
// memory.
struct ElfPart {
  std::string_view name;  // of sections
  VirtAddr at;
  std::uint64_t size = 0;
  ConstByteSpan bytes;
  bool executable = false;

  // The bytes from an address on; nullopt: it is not inside.
  [[nodiscard]] std::optional<ConstByteSpan> from(VirtAddr address) const;
};

struct ElfSymbol {
  std::string_view name;
  std::uint64_t value = 0;
  std::uint64_t size = 0;
  std::uint16_t section = 0;  // its index
  bool function = false;
};

[[nodiscard]] bool is_elf(ConstByteSpan file);

// A view: the file outlives it.
class ElfFile {
 public:
  // Errors (input): no 64-bit little-endian x86 ELF file, or its headers are cut off. `name` is for messages.
  static OrError<ElfFile> open(ConstByteSpan file, std::string_view name);

  // ET_REL: a module. Its sections have no addresses yet.
  [[nodiscard]] bool relocatable() const { return relocatable_; }
  [[nodiscard]] const std::vector<ElfPart>& segments() const { return segments_; }  // PT_LOAD
  [[nodiscard]] const std::vector<ElfPart>& sections() const { return sections_; }
  // The first of that name; nullptr: there is none.
  [[nodiscard]] const ElfPart* section(std::string_view name) const;
  // Of .symtab; none where it was stripped.
  [[nodiscard]] std::vector<ElfSymbol> symbols() const;
  // The file's bytes from a virtual address to the end of the segment or section that has it.
  [[nodiscard]] std::optional<ConstByteSpan> at(VirtAddr address) const;

 private:
  ConstByteSpan file_;
  bool relocatable_ = false;
  std::vector<ElfPart> segments_;
  std::vector<ElfPart> sections_;
};

}  // namespace cbit::linux
