#include "boot/elf.hpp"

#include <fmt/format.h>
#include <gelf.h>

#include <cstring>

namespace cbit::boot {
namespace {

// nullopt: not all in the file.
std::optional<ConstByteSpan> part(ConstByteSpan file, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset) return std::nullopt;
  return file.subspan(offset, bytes);
}

tl::unexpected<Error> bad_elf(std::string_view name, std::string_view why) {
  return bad_input(fmt::format("{} {}", name, why), "the file is damaged, or not for this machine");
}

template <class Visit>
void for_each_program_header(Elf* elf, Visit&& visit) {
  std::size_t count = 0;
  if (elf_getphdrnum(elf, &count) != 0) return;
  for (std::size_t i = 0; i < count && i < PN_XNUM; ++i) {
    GElf_Phdr header;
    if (gelf_getphdr(elf, static_cast<int>(i), &header) != nullptr) visit(header);
  }
}

// In the contents of one PT_NOTE. gABI, "Note Section": sizes of name and contents, type, both padded to 4
// bytes.
std::optional<ConstByteSpan> find_note(ConstByteSpan notes, std::string_view owner, std::uint32_t type) {
  constexpr std::size_t head = 3 * sizeof(std::uint32_t);
  while (notes.size() >= head) {
    const std::uint64_t owner_bytes = load<std::uint32_t>(notes, 0);
    const std::uint64_t bytes = load<std::uint32_t>(notes, 4);
    const std::uint64_t contents_at = head + align_up(owner_bytes, 4);
    const auto contents = part(notes, contents_at, bytes);
    if (!contents) return std::nullopt;
    const auto named = part(notes, head, owner.size() + 1);
    if (owner_bytes == owner.size() + 1 && load<std::uint32_t>(notes, 8) == type && named &&
        std::memcmp(named->data(), owner.data(), owner.size()) == 0 && named->back() == std::byte{0})
      return contents;
    notes = notes.subspan(std::min<std::uint64_t>(contents_at + align_up(bytes, 4), notes.size()));
  }
  return std::nullopt;
}

}  // namespace

void ElfFile::Close::operator()(Elf* elf) const { elf_end(elf); }

bool is_elf(ConstByteSpan file) {
  return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

OrError<ElfFile> ElfFile::open(ConstByteSpan file, std::string_view name) {
  if (!is_elf(file)) return bad_elf(name, "is no ELF file");
  ElfFile made;
  made.file_ = file;
  made.name_ = name;
  elf_version(EV_CURRENT);
  // elf_memory() takes a pointer to what it could write, and does not write.
  auto* const bytes = const_cast<char*>(reinterpret_cast<const char*>(file.data()));
  made.elf_.reset(elf_memory(bytes, file.size()));
  GElf_Ehdr header;
  if (made.elf_ == nullptr || elf_kind(made.elf_.get()) != ELF_K_ELF ||
      gelf_getehdr(made.elf_.get(), &header) == nullptr)
    return bad_elf(name, "has no readable ELF header");
  if (header.e_ident[EI_DATA] != ELFDATA2LSB || (header.e_machine != EM_X86_64 && header.e_machine != EM_386))
    return bad_elf(name, fmt::format("is for another processor (ELF machine {})", header.e_machine));
  made.entry_ = header.e_entry;
  made.is_64_bit_ = header.e_ident[EI_CLASS] == ELFCLASS64;
  made.is_executable_ = header.e_type == ET_EXEC || header.e_type == ET_DYN;
  made.is_relocatable_ = header.e_type == ET_REL;
  return made;
}

bool ElfFile::has_interpreter() const {
  bool found = false;
  for_each_program_header(elf_.get(), [&](const GElf_Phdr& header) { found |= header.p_type == PT_INTERP; });
  return found;
}

OrError<std::vector<ElfSegment>> ElfFile::segments() const {
  std::vector<ElfSegment> found;
  std::string_view wrong;
  for_each_program_header(elf_.get(), [&](const GElf_Phdr& header) {
    if (header.p_type != PT_LOAD || header.p_memsz == 0) return;
    const auto bytes = part(file_, header.p_offset, header.p_filesz);
    if (!bytes)
      wrong = "is cut off: a segment lies beyond its end";
    else if (header.p_paddr > ~header.p_memsz)
      wrong = "has a segment that runs over the end of all addresses";
    else if (header.p_filesz > header.p_memsz)
      wrong = "has a segment with more bytes in the file than in memory";
    else
      found.push_back({PhysAddr{header.p_paddr}, *bytes, header.p_memsz - header.p_filesz});
  });
  if (!wrong.empty()) return bad_elf(name_, wrong);
  if (found.empty()) return bad_elf(name_, "has nothing to load");
  return found;
}

PhysAddr ElfFile::entry() const {
  std::uint64_t entry = entry_;
  for_each_program_header(elf_.get(), [&](const GElf_Phdr& header) {
    if (header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0 && entry_ >= header.p_vaddr &&
        entry_ - header.p_vaddr < header.p_filesz)
      entry = entry_ - header.p_vaddr + header.p_paddr;
  });
  return PhysAddr{entry};
}

std::optional<ConstByteSpan> ElfFile::note(std::string_view owner, std::uint32_t type) const {
  std::optional<ConstByteSpan> found;
  for_each_program_header(elf_.get(), [&](const GElf_Phdr& header) {
    const auto notes = part(file_, header.p_offset, header.p_filesz);
    if (header.p_type == PT_NOTE && notes && !found) found = find_note(*notes, owner, type);
  });
  return found;
}

std::optional<ConstByteSpan> ElfFile::section(std::string_view section_name) const {
  std::size_t names = 0;
  if (elf_getshdrstrndx(elf_.get(), &names) != 0) return std::nullopt;
  for (Elf_Scn* scn = elf_nextscn(elf_.get(), nullptr); scn != nullptr; scn = elf_nextscn(elf_.get(), scn)) {
    GElf_Shdr header;
    if (gelf_getshdr(scn, &header) == nullptr || header.sh_type == SHT_NOBITS) continue;
    const char* const found = elf_strptr(elf_.get(), names, header.sh_name);
    if (found != nullptr && section_name == found) return part(file_, header.sh_offset, header.sh_size);
  }
  return std::nullopt;
}

}  // namespace cbit::boot
