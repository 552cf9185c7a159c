#include "linux/debug_info.hpp"

#include <dwarf.h>
#include <elfutils/libdwfl.h>

#include <algorithm>
#include <string_view>

#include "linux/elf.hpp"

namespace cbit::linux {
namespace {

constexpr std::size_t code_ranges_max = 1 << 16;
constexpr std::size_t inlining_max = 64;
constexpr std::size_t name_bytes_max = 255;

int find_no_other_file(Dwfl_Module*, void**, const char*, Dwarf_Addr, const char*, const char*, GElf_Word,
                       char**) {
  return -1;
}

constexpr Dwfl_Callbacks callbacks{.find_elf = nullptr,
                                   .find_debuginfo = find_no_other_file,
                                   .section_address = dwfl_offline_section_address,
                                   .debuginfo_path = nullptr};

// What elfutils would look for in another file, on this host, is not read.
bool is_whole(const ElfFile& elf) {
  return elf.section(".debug_line") != nullptr && elf.section(".gnu_debugaltlink") == nullptr;
}

std::string name_of(const char* name) {
  return name != nullptr ? std::string{std::string_view{name}.substr(0, name_bytes_max)} : std::string{};
}

std::string file_of(const char* path) {
  const std::string_view whole = path != nullptr ? path : "";
  return std::string{whole.substr(whole.rfind('/') + 1).substr(0, name_bytes_max)};
}

std::optional<Dwarf_Word> number(Dwarf_Die& die, unsigned attribute) {
  Dwarf_Attribute found;
  Dwarf_Word value = 0;
  if (dwarf_attr(&die, attribute, &found) == nullptr || dwarf_formudata(&found, &value) != 0)
    return std::nullopt;
  return value;
}

bool has_code(Dwarf_Die& die) {
  switch (dwarf_tag(&die)) {
    case DW_TAG_subprogram:
    case DW_TAG_inlined_subroutine:
    case DW_TAG_lexical_block: return true;
    default: return false;
  }
}

// What of a unit, a function or a block has the code at `pc`.
std::optional<Dwarf_Die> part_at(Dwarf_Die whole, Dwarf_Addr pc) {
  Dwarf_Die part;
  if (dwarf_child(&whole, &part) != 0) return std::nullopt;
  for (;;) {
    if (has_code(part) && dwarf_haspc(&part, pc) == 1) return part;
    const Dwarf_Off before = dwarf_dieoffset(&part);
    Dwarf_Die next;
    // A file may say that what follows is what came before.
    if (dwarf_siblingof(&part, &next) != 0 || dwarf_dieoffset(&next) <= before) return std::nullopt;
    part = next;
  }
}

// Where the function that was put in here is called from.
std::optional<SourceLine> call_of(Dwarf_Die& inlined, Dwarf_Files* files) {
  const auto file = number(inlined, DW_AT_call_file);
  const auto line = number(inlined, DW_AT_call_line);
  if (files == nullptr || !file || !line || *line == 0 || *line > INT32_MAX) return std::nullopt;
  std::string name = file_of(dwarf_filesrc(files, *file, nullptr, nullptr));
  if (name.empty()) return std::nullopt;
  return SourceLine{{}, std::move(name), static_cast<int>(*line)};
}

std::vector<SourceLine> lines_in(Dwarf_Die unit, Dwarf_Addr pc) {
  Dwarf_Line* const row = dwarf_getsrc_die(&unit, pc);
  SourceLine last;
  if (row == nullptr || dwarf_lineno(row, &last.line) != 0 || last.line <= 0) return {};
  last.file = file_of(dwarf_linesrc(row, nullptr, nullptr));
  if (last.file.empty()) return {};

  Dwarf_Files* files = nullptr;
  std::size_t count = 0;
  if (dwarf_getsrcfiles(&unit, &files, &count) != 0) files = nullptr;
  std::vector<SourceLine> found;
  auto part = part_at(unit, pc);
  for (std::size_t depth = 0; part && depth < inlining_max; part = part_at(*part, pc), ++depth) {
    if (dwarf_tag(&*part) == DW_TAG_lexical_block) continue;
    if (dwarf_tag(&*part) == DW_TAG_inlined_subroutine) {
      auto call = call_of(*part, files);
      if (!call) break;
      call->function = std::move(last.function);
      found.push_back(*std::move(call));
    }
    last.function = name_of(dwarf_diename(&*part));
  }
  found.push_back(std::move(last));
  return found;
}

}  // namespace

void DebugInfo::Close::operator()(Dwfl* dwfl) const { dwfl_end(dwfl); }

std::optional<DebugInfo> DebugInfo::open(Bytes file) {
  const auto elf = ElfFile::open(file, "the module");
  if (!elf || !elf->relocatable() || !is_whole(*elf)) return std::nullopt;
  DebugInfo made;
  made.file_ = std::make_unique<Bytes>(std::move(file));
  made.dwfl_.reset(dwfl_begin(&callbacks));
  if (!made.dwfl_) return std::nullopt;
  made.module_ = dwfl_report_offline_memory(made.dwfl_.get(), "module", "module",
                                            reinterpret_cast<char*>(made.file_->data()), made.file_->size());
  if (made.module_ == nullptr || dwfl_report_end(made.dwfl_.get(), nullptr, nullptr) != 0)
    return std::nullopt;
  if (!made.lay_out() || !made.index_units()) return std::nullopt;
  return made;
}

bool DebugInfo::lay_out() {
  GElf_Addr bias = 0;
  Elf* const elf = dwfl_module_getelf(module_, &bias);
  std::size_t count = 0;
  if (elf == nullptr || elf_getshdrnum(elf, &count) != 0) return false;
  sections_.resize(count);
  for (std::size_t i = 1; i < count; ++i) {
    GElf_Shdr header;
    if (gelf_getshdr(elf_getscn(elf, i), &header) != nullptr && (header.sh_flags & SHF_ALLOC) != 0)
      sections_[i] = header.sh_addr + bias;
  }
  return true;
}

bool DebugInfo::index_units() {
  Dwarf_Addr bias = 0;
  for (Dwarf_Die* unit = nullptr; (unit = dwfl_module_nextcu(module_, unit, &bias)) != nullptr;) {
    Dwarf_Addr base = 0, first = 0, end = 0;
    for (std::ptrdiff_t at = 0; (at = dwarf_ranges(unit, at, &base, &first, &end)) > 0;) {
      if (code_.size() == code_ranges_max) return true;
      code_.push_back({first + bias, end + bias, dwarf_dieoffset(unit)});
    }
  }
  return !code_.empty();
}

std::vector<SourceLine> DebugInfo::lines_at(std::size_t section, std::uint64_t offset) const {
  if (section >= sections_.size() || !sections_[section]) return {};
  const std::uint64_t at = *sections_[section] + offset;
  const auto code =
      std::ranges::find_if(code_, [at](const Code& each) { return at >= each.first && at < each.end; });
  Dwarf_Addr bias = 0;
  Dwarf* const dwarf = dwfl_module_getdwarf(module_, &bias);
  Dwarf_Die unit;
  if (code == code_.end() || dwarf == nullptr || dwarf_offdie(dwarf, code->unit, &unit) == nullptr) return {};
  return lines_in(unit, at - bias);
}

}  // namespace cbit::linux
