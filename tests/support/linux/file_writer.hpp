// Writes kernels and modules for the tests, by the formats' documents: bytes, ELF, bzImage.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "cbit/addr.hpp"

namespace cbit::test {

class ByteWriter {
 public:
  template <class T>
  ByteWriter& put(const T& value) {
    const ConstByteSpan raw = bytes_of(value);
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return *this;
  }
  ByteWriter& text(std::string_view text) {
    for (const char c : text) put(c);
    return *this;
  }
  ByteWriter& append(ConstByteSpan more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }
  ByteWriter& align(std::size_t alignment) {
    bytes_.resize(align_up(bytes_.size(), alignment));
    return *this;
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] Bytes& bytes() { return bytes_; }

 private:
  Bytes bytes_;
};

inline Bytes bytes_from(std::string_view text) { return ByteWriter{}.text(text).bytes(); }

struct TestSection {
  std::string name;
  std::uint64_t at = 0;
  Bytes bytes;
  std::uint32_t type = SHT_PROGBITS;
  std::uint64_t flags = SHF_ALLOC;
};

// gABI, chapter 4 and 5. Every section with an address is a PT_LOAD of its own.
inline Bytes write_elf(const std::vector<TestSection>& sections, std::uint16_t type = ET_EXEC) {
  std::vector<Elf64_Shdr> headers(1);
  std::vector<Elf64_Phdr> programs;
  Bytes names(1);
  ByteWriter body;
  const auto add = [&](const TestSection& section) {
    body.align(16);
    Elf64_Shdr header{};
    header.sh_name = static_cast<Elf64_Word>(names.size());
    header.sh_type = section.type;
    header.sh_flags = section.flags;
    header.sh_addr = section.at;
    header.sh_offset = sizeof(Elf64_Ehdr) + body.size();
    header.sh_size = section.bytes.size();
    headers.push_back(header);
    if (section.at != 0) {
      Elf64_Phdr program{};
      program.p_type = PT_LOAD;
      program.p_flags = PF_R | ((section.flags & SHF_EXECINSTR) != 0 ? PF_X : 0u);
      program.p_offset = header.sh_offset;
      program.p_vaddr = section.at;
      program.p_filesz = program.p_memsz = section.bytes.size();
      programs.push_back(program);
    }
    body.append(section.bytes);
    names = ByteWriter{}.append(names).text(section.name).put('\0').bytes();
  };
  for (const TestSection& section : sections) add(section);
  const Bytes all_names = ByteWriter{}.append(names).text(".shstrtab").put('\0').bytes();
  add({.name = ".shstrtab", .bytes = all_names, .type = SHT_STRTAB, .flags = 0});
  body.align(16);

  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = type;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof header;
  header.e_phoff = sizeof header + body.size();
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(programs.size());
  header.e_shoff = header.e_phoff + programs.size() * sizeof(Elf64_Phdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = static_cast<Elf64_Half>(headers.size());
  header.e_shstrndx = static_cast<Elf64_Half>(headers.size() - 1);
  ByteWriter file;
  file.put(header).append(body.bytes());
  for (const Elf64_Phdr& program : programs) file.put(program);
  for (const Elf64_Shdr& section : headers) file.put(section);
  return file.bytes();
}

// Documentation/x86/boot.rst: 4 setup sectors, then the protected-mode code, in which the payload lies at
// 40h.
inline Bytes write_bzimage(ConstByteSpan payload, std::uint16_t protocol = 0x020f,
                           std::uint16_t xloadflags = 1) {
  Bytes setup(5 * 512);
  store(setup, 0x1f1, std::uint8_t{4});
  store(setup, 0x1fe, std::uint16_t{0xaa55});
  store(setup, 0x202, std::uint32_t{0x5372'6448});
  store(setup, 0x206, protocol);
  store(setup, 0x236, xloadflags);
  store(setup, 0x248, std::uint32_t{0x40});
  store(setup, 0x24c, static_cast<std::uint32_t>(payload.size()));
  return ByteWriter{}.append(setup).append(Bytes(0x40)).append(payload).append(Bytes(512)).bytes();
}

inline Bytes with_size(Bytes packed, std::size_t size) {
  return ByteWriter{}.append(packed).put(static_cast<std::uint32_t>(size)).bytes();
}

using AddFilter = int (*)(archive*);

inline Bytes pack(ConstByteSpan bytes, AddFilter add_filter) {
  Bytes packed(bytes.size() + 65536);
  std::size_t used = 0;
  archive* const out = archive_write_new();
  archive_write_set_format_raw(out);
  add_filter(out);
  archive_write_set_bytes_in_last_block(out, 1);
  archive_write_open_memory(out, packed.data(), packed.size(), &used);
  archive_entry* const entry = archive_entry_new();
  archive_entry_set_pathname(entry, "vmlinux");
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(out, entry);
  archive_write_data(out, bytes.data(), bytes.size());
  archive_entry_free(entry);
  archive_write_close(out);
  archive_write_free(out);
  packed.resize(used);
  return packed;
}

// "LZ4 Frame Format Description", Legacy frame, and "LZ4 Block Format Description": a block of literals
// alone.
inline Bytes pack_lz4_legacy(ConstByteSpan bytes) {
  ByteWriter block;
  block.put(std::uint8_t{0xf0});
  std::size_t rest = bytes.size() - 15;
  for (; rest >= 255; rest -= 255) block.put(std::uint8_t{255});
  block.put(static_cast<std::uint8_t>(rest)).append(bytes);
  return ByteWriter{}
      .put(std::uint32_t{0x184c'2102})
      .put(static_cast<std::uint32_t>(block.size()))
      .append(block.bytes())
      .bytes();
}

}  // namespace cbit::test
