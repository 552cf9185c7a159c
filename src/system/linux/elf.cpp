#include "linux/elf.hpp"

#include <elf.h>
#include <fmt/format.h>

#include "linux/parts.hpp"

namespace cbit::linux {
namespace {

tl::unexpected<Error> not_usable(std::string_view name, std::string_view why) {
  return bad_input(fmt::format("{} {}", name, why), "the file is damaged, or not for this machine");
}

// The table of headers; empty if it is not all in the file.
template <class Header>
std::vector<Header> table(ConstByteSpan file, std::uint64_t offset, std::uint64_t count,
                          std::uint64_t entry_bytes) {
  std::vector<Header> headers;
  if (entry_bytes != sizeof(Header)) return headers;
  const auto bytes = part(file, offset, count * sizeof(Header));
  if (!bytes) return headers;
  for (std::uint64_t i = 0; i < count; ++i) headers.push_back(load<Header>(*bytes, i * sizeof(Header)));
  return headers;
}

std::optional<ElfPart> segment(ConstByteSpan file, const Elf64_Phdr& header) {
  const auto bytes = part(file, header.p_offset, header.p_filesz);
  if (header.p_type != PT_LOAD || !bytes) return std::nullopt;
  return ElfPart{{}, VirtAddr{header.p_vaddr}, header.p_memsz, *bytes, (header.p_flags & PF_X) != 0};
}

ElfPart section(ConstByteSpan file, const Elf64_Shdr& header, ConstByteSpan names) {
  ElfPart made{text_at(names, header.sh_name).value_or(std::string_view{}),
               VirtAddr{header.sh_addr},
               0,
               {},
               (header.sh_flags & SHF_EXECINSTR) != 0};
  if (header.sh_type == SHT_NOBITS) {
    made.size = header.sh_size;
  } else if (const auto bytes = part(file, header.sh_offset, header.sh_size)) {
    made.size = header.sh_size;
    made.bytes = *bytes;
  }
  return made;
}

}  // namespace

std::optional<ConstByteSpan> ElfPart::from(VirtAddr address) const {
  if (address < at || address - at >= bytes.size()) return std::nullopt;
  return bytes.subspan(address - at);
}

bool is_elf(ConstByteSpan file) { return as_text(file).starts_with(ELFMAG); }

OrError<ElfFile> ElfFile::open(ConstByteSpan file, std::string_view name) {
  if (!is_elf(file)) return not_usable(name, "is no ELF file");
  const auto header = load_part<Elf64_Ehdr>(file, 0);
  if (!header) return not_usable(name, "is cut off");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
      header->e_machine != EM_X86_64)
    return not_usable(name, "is not for x86-64");
  ElfFile made;
  made.file_ = file;
  made.relocatable_ = header->e_type == ET_REL;
  for (const auto& program : table<Elf64_Phdr>(file, header->e_phoff, header->e_phnum, header->e_phentsize))
    if (const auto found = segment(file, program)) made.segments_.push_back(*found);
  const auto headers = table<Elf64_Shdr>(file, header->e_shoff, header->e_shnum, header->e_shentsize);
  ConstByteSpan names;
  if (header->e_shstrndx < headers.size()) {
    const Elf64_Shdr& strings = headers[header->e_shstrndx];
    names = part(file, strings.sh_offset, strings.sh_size).value_or(ConstByteSpan{});
  }
  for (const Elf64_Shdr& entry : headers) made.sections_.push_back(linux::section(file, entry, names));
  if (made.segments_.empty() && made.sections_.empty())
    return not_usable(name, "is cut off: it has no contents");
  return made;
}

const ElfPart* ElfFile::section(std::string_view name) const {
  for (const ElfPart& section : sections_)
    if (section.name == name) return &section;
  return nullptr;
}

std::vector<ElfSymbol> ElfFile::symbols() const {
  std::vector<ElfSymbol> found;
  const ElfPart* const symtab = section(".symtab");
  const ElfPart* const strtab = section(".strtab");
  if (symtab == nullptr || strtab == nullptr) return found;
  for (std::uint64_t at = 0; at + sizeof(Elf64_Sym) <= symtab->bytes.size(); at += sizeof(Elf64_Sym)) {
    const auto symbol = load<Elf64_Sym>(symtab->bytes, at);
    const auto text = text_at(strtab->bytes, symbol.st_name);
    if (!text || text->empty() || symbol.st_shndx == SHN_UNDEF) continue;
    found.push_back(
        {*text, symbol.st_value, symbol.st_size, symbol.st_shndx, ELF64_ST_TYPE(symbol.st_info) == STT_FUNC});
  }
  return found;
}

std::optional<ConstByteSpan> ElfFile::at(VirtAddr address) const {
  for (const auto* parts : {&segments_, &sections_})
    for (const ElfPart& candidate : *parts)
      if (const auto bytes = candidate.from(address)) return bytes;
  return std::nullopt;
}

}  // namespace cbit::linux
