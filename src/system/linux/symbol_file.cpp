#include "linux/symbol_file.hpp"

#include <elf.h>

#include <string>
#include <vector>

#include "linux/elf_header.hpp"

namespace cbit::linux {
namespace {

// Bounds: include/asm-generic/sections.h of Linux.
struct SectionRow {
  std::string_view name, first, end;
  std::uint64_t flags;
};
constexpr SectionRow section_rows[] = {
    {".text", "_stext", "_etext", SHF_ALLOC | SHF_EXECINSTR},
    {".data", "_etext", "_sinittext", SHF_ALLOC | SHF_WRITE},
    {".init.text", "_sinittext", "_einittext", SHF_ALLOC | SHF_EXECINSTR},
    {".bss", "_einittext", "_end", SHF_ALLOC | SHF_WRITE},
};

struct Section {
  std::string_view name;
  VirtAddr first;
  std::uint64_t bytes = 0;
  std::uint64_t flags = 0;
};

// Those that the kernel has symbols for, in order of address, and apart.
std::vector<Section> sections_of(const SymbolTable& symbols) {
  std::vector<Section> sections;
  VirtAddr behind{0};
  for (const SectionRow& row : section_rows) {
    const auto first = symbols.find(row.first), end = symbols.find(row.end);
    if (!first || !end || first->at < behind || end->at <= first->at) continue;
    sections.push_back({row.name, first->at, end->at - first->at, row.flags});
    behind = end->at;
  }
  return sections;
}

class Strings {
 public:
  std::uint32_t add(std::string_view text) {
    const auto at = static_cast<std::uint32_t>(bytes_.size());
    bytes_.append(text);
    bytes_ += '\0';
    return at;
  }
  [[nodiscard]] ConstByteSpan bytes() const { return std::as_bytes(std::span{bytes_}); }

 private:
  std::string bytes_ = std::string(1, '\0');
};

bool is_global(char type) { return type >= 'A' && type <= 'Z'; }

Elf64_Sym symbol_of(const Symbol& symbol, const std::vector<Section>& sections, Strings& names) {
  Elf64_Sym entry{};
  entry.st_name = names.add(symbol.name);
  entry.st_value = symbol.at.value();
  entry.st_shndx = SHN_ABS;
  unsigned type = STT_NOTYPE;
  for (std::size_t i = 0; i < sections.size() && !symbol.is_absolute(); ++i)
    if (symbol.at >= sections[i].first && symbol.at - sections[i].first < sections[i].bytes) {
      entry.st_shndx = static_cast<std::uint16_t>(i + 1);
      type = (sections[i].flags & SHF_EXECINSTR) != 0 ? STT_FUNC : STT_OBJECT;
    }
  entry.st_info =
      static_cast<unsigned char>(ELF64_ST_INFO(is_global(symbol.type) ? STB_GLOBAL : STB_LOCAL, type));
  return entry;
}

void append(Bytes& to, ConstByteSpan bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

// System V gABI, chapter 4.
class FileWriter {
 public:
  FileWriter() : file_(sizeof(Elf64_Ehdr)), headers_(1) {}

  void add(const Section& section) {
    Elf64_Shdr header = named(section.name, SHT_NOBITS);
    header.sh_flags = section.flags;
    header.sh_addr = section.first.value();
    header.sh_offset = file_.size();
    header.sh_size = section.bytes;
    headers_.push_back(header);
  }
  Elf64_Shdr& add(std::string_view name, std::uint32_t type, ConstByteSpan bytes) {
    file_.resize(align_up(file_.size(), alignof(Elf64_Sym)));
    Elf64_Shdr header = named(name, type);
    header.sh_offset = file_.size();
    header.sh_size = bytes.size();
    append(file_, bytes);
    headers_.push_back(header);
    return headers_.back();
  }
  [[nodiscard]] std::size_t count() const { return headers_.size(); }

  Bytes finish() {
    const std::uint32_t own_name = names_.add(".shstrtab");
    Elf64_Shdr& own = add("", SHT_STRTAB, {});
    own.sh_name = own_name;
    own.sh_size = names_.bytes().size();
    append(file_, names_.bytes());
    file_.resize(align_up(file_.size(), alignof(Elf64_Shdr)));
    Elf64_Ehdr header = elf_header(ET_EXEC);
    header.e_shoff = file_.size();
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<std::uint16_t>(headers_.size());
    header.e_shstrndx = static_cast<std::uint16_t>(headers_.size() - 1);
    store(file_, 0, header);
    append(file_, std::as_bytes(std::span{headers_}));
    return std::move(file_);
  }

 private:
  Elf64_Shdr named(std::string_view name, std::uint32_t type) {
    Elf64_Shdr header{};
    header.sh_name = name.empty() ? 0 : names_.add(name);
    header.sh_type = type;
    header.sh_addralign = 1;
    return header;
  }

  Bytes file_;
  std::vector<Elf64_Shdr> headers_;
  Strings names_;
};

}  // namespace

Bytes to_symbol_file(const Kernel& kernel) {
  const SymbolTable& symbols = kernel.symbols();
  const std::vector<Section> sections = sections_of(symbols);
  Strings names;
  std::vector<Elf64_Sym> entries(1);
  std::size_t locals = 1;
  for (const bool global : {false, true}) {
    for (std::size_t i = 0; i < symbols.size(); ++i)
      if (is_global(symbols.at(i).type) == global)
        entries.push_back(symbol_of(symbols.at(i), sections, names));
    if (!global) locals = entries.size();
  }
  FileWriter file;
  for (const Section& section : sections) file.add(section);
  Elf64_Shdr& table = file.add(".symtab", SHT_SYMTAB, std::as_bytes(std::span{entries}));
  table.sh_entsize = sizeof(Elf64_Sym);
  table.sh_info = static_cast<std::uint32_t>(locals);
  table.sh_link = static_cast<std::uint32_t>(file.count());
  file.add(".strtab", SHT_STRTAB, names.bytes());
  return file.finish();
}

}  // namespace cbit::linux
