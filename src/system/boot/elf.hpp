// What a loader and a module's reader want of an ELF file, through libelf. Nothing in the file is trusted:
// what does not lie in it is an error, never a read beyond it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"

struct Elf;

namespace cbit::boot {

struct ElfSegment {
  PhysAddr at;          // p_paddr
  ConstByteSpan bytes;  // what the file has of it
  std::uint64_t zeros = 0;
};

[[nodiscard]] bool is_elf(ConstByteSpan file);

// The file outlives it.
class ElfFile {
 public:
  // Errors (input): no ELF file, for another processor than x86, or its header is cut off. `name` is for
  // messages.
  static OrError<ElfFile> open(ConstByteSpan file, std::string_view name);

  [[nodiscard]] bool is_64_bit() const { return is_64_bit_; }
  // ET_EXEC; modules and objects are ET_REL.
  [[nodiscard]] bool is_executable() const { return is_executable_; }
  [[nodiscard]] bool is_relocatable() const { return is_relocatable_; }
  // A dynamically linked program.
  [[nodiscard]] bool has_interpreter() const;

  // The loaded segments that are not empty, in the file's order. Errors (input): a segment's bytes are not
  // all in the file, or are more than its memory.
  [[nodiscard]] OrError<std::vector<ElfSegment>> segments() const;
  // The entry as a physical address: e_entry, through the mapping of the executable segment that it is a
  // virtual address in (load_elf() in QEMU's include/hw/elf_ops.h).
  [[nodiscard]] PhysAddr entry() const;
  // The contents of the note; nullopt: there is none.
  [[nodiscard]] std::optional<ConstByteSpan> note(std::string_view owner, std::uint32_t type) const;
  // nullopt: there is none, or its bytes are not in the file.
  [[nodiscard]] std::optional<ConstByteSpan> section(std::string_view section_name) const;

 private:
  struct Close {
    void operator()(Elf* elf) const;
  };

  std::unique_ptr<Elf, Close> elf_;
  ConstByteSpan file_;
  std::string name_;
  std::uint64_t entry_ = 0;
  bool is_64_bit_ = false;
  bool is_executable_ = false;
  bool is_relocatable_ = false;
};

}  // namespace cbit::boot
