// Kernels in miniature: files with the headers of real ones, built field by field from their specifications.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.hpp"

namespace cbit::test {

template <class T>
void put_at(Bytes& file, std::size_t at, T value) {
  if (file.size() < at + sizeof value) file.resize(at + sizeof value);
  std::memcpy(file.data() + at, &value, sizeof value);
}

inline void put_text_at(Bytes& file, std::size_t at, std::string_view text) {
  if (file.size() < at + text.size() + 1) file.resize(at + text.size() + 1);
  std::memcpy(file.data() + at, text.data(), text.size());
}

// A bzImage by Documentation/x86/boot.rst: numbers are the file offsets of its table. The defaults are those
// of Debian's 6.1; the protected-mode code is a pattern.
struct FakeBzImage {
  std::uint16_t version = 0x020f;
  std::uint8_t setup_sects = 4;
  std::uint8_t loadflags = 0x01;
  std::uint16_t xloadflags = 0x007f;
  std::uint32_t initrd_addr_max = 0x7fff'ffff;
  std::uint32_t alignment = 0x20'0000;
  std::uint8_t relocatable = 1;
  std::uint32_t cmdline_size = 2047;
  std::uint64_t pref_address = 0x100'0000;
  std::uint32_t init_size = 0x40'0000;
  std::uint8_t jump = 0x6a;  // the header ends at 0x26c
  std::string release = "6.1.0-13-amd64 (builder@host) #1 SMP";
  std::size_t code_bytes = 0x8000;
  std::string in_code = "SEV-SNP supported indicated by CC blob, but not SEV status MSR.";

  [[nodiscard]] std::size_t setup_bytes() const { return (setup_sects + std::size_t{1}) * 512; }
  [[nodiscard]] Bytes code() const {
    Bytes code = pattern_bytes(code_bytes, 7);
    put_text_at(code, 0x400, in_code);
    put_at<std::uint8_t>(code, 0x1000, 0x02);  // the payload: LZ4
    put_at<std::uint8_t>(code, 0x1001, 0x21);
    return code;
  }
  [[nodiscard]] Bytes file() const {
    Bytes file(setup_bytes());
    put_at<std::uint8_t>(file, 0x1ef, 0xff);  // the sentinel
    put_at<std::uint8_t>(file, 0x1f1, setup_sects);
    put_at<std::uint16_t>(file, 0x1f2, 1);
    put_at<std::uint32_t>(file, 0x1f4, static_cast<std::uint32_t>(code_bytes / 16));
    put_at<std::uint16_t>(file, 0x1fe, 0xaa55);
    put_at<std::uint8_t>(file, 0x200, 0xeb);
    put_at<std::uint8_t>(file, 0x201, jump);
    put_text_at(file, 0x202, "HdrS");
    put_at<std::uint16_t>(file, 0x206, version);
    put_at<std::uint16_t>(file, 0x20e, 0x600);
    put_text_at(file, 0x800, release);
    put_at<std::uint8_t>(file, 0x211, loadflags);
    put_at<std::uint32_t>(file, 0x214, 0x10'0000);
    put_at<std::uint32_t>(file, 0x22c, initrd_addr_max);
    put_at<std::uint32_t>(file, 0x230, alignment);
    put_at<std::uint8_t>(file, 0x234, relocatable);
    put_at<std::uint8_t>(file, 0x235, 21);
    put_at<std::uint16_t>(file, 0x236, xloadflags);
    put_at<std::uint32_t>(file, 0x238, cmdline_size);
    put_at<std::uint32_t>(file, 0x248, 0x1000);
    put_at<std::uint32_t>(file, 0x24c, 0x2000);
    put_at<std::uint64_t>(file, 0x258, pref_address);
    put_at<std::uint32_t>(file, 0x260, init_size);
    const Bytes behind = code();
    file.resize(setup_bytes());
    file.insert(file.end(), behind.begin(), behind.end());
    return file;
  }
};

// An ELF file by the System V gABI: program headers behind the ELF header, then what they hold, then
// sections.
struct FakeElf {
  struct Segment {
    std::uint32_t type = 1;  // PT_LOAD
    std::uint32_t flags = 5;
    std::uint64_t vaddr = 0;
    std::uint64_t paddr = 0;
    Bytes bytes;
    std::uint64_t memory_bytes = 0;  // 0: as many as there are bytes
  };
  struct Section {
    std::string name;
    Bytes bytes;
  };
  bool is_64_bit = true;
  std::uint16_t type = 2;      // ET_EXEC; 1: ET_REL
  std::uint16_t machine = 62;  // EM_X86_64; 3: EM_386
  std::uint64_t entry = 0;
  std::vector<Segment> segments;
  std::vector<Section> sections;

  // The contents of a PT_NOTE.
  static Bytes note(std::string_view owner, std::uint32_t type, const Bytes& contents) {
    Bytes bytes;
    put_at(bytes, 0, static_cast<std::uint32_t>(owner.size() + 1));
    put_at(bytes, 4, static_cast<std::uint32_t>(contents.size()));
    put_at(bytes, 8, type);
    put_text_at(bytes, 12, owner);
    bytes.resize((bytes.size() + 3) / 4 * 4);
    bytes.insert(bytes.end(), contents.begin(), contents.end());
    bytes.resize((bytes.size() + 3) / 4 * 4);
    return bytes;
  }

  [[nodiscard]] Bytes file() const {
    const std::size_t head = is_64_bit ? 64 : 52, row = is_64_bit ? 56 : 32;
    Bytes file(head + segments.size() * row);
    put_text_at(file, 0,
                "\x7f"
                "ELF");
    put_at<std::uint8_t>(file, 4, is_64_bit ? 2 : 1);
    put_at<std::uint8_t>(file, 5, 1);  // little-endian
    put_at<std::uint8_t>(file, 6, 1);
    put_at<std::uint16_t>(file, 16, type);
    put_at<std::uint16_t>(file, 18, machine);
    put_at<std::uint32_t>(file, 20, 1);
    put_word(file, 24, 24, entry);
    put_word(file, 32, 28, segments.empty() ? 0 : head);
    const std::size_t tail = is_64_bit ? 52 : 40;
    put_at<std::uint16_t>(file, tail, static_cast<std::uint16_t>(head));
    put_at<std::uint16_t>(file, tail + 2, static_cast<std::uint16_t>(row));
    put_at<std::uint16_t>(file, tail + 4, static_cast<std::uint16_t>(segments.size()));
    for (std::size_t i = 0; i < segments.size(); ++i) put_segment(file, head + i * row, segments[i]);
    if (!sections.empty()) put_sections(file, tail);
    return file;
  }

 private:
  void put_word(Bytes& file, std::size_t at_64, std::size_t at_32, std::uint64_t value) const {
    if (is_64_bit) return put_at(file, at_64, value);
    put_at(file, at_32, static_cast<std::uint32_t>(value));
  }
  void put_segment(Bytes& file, std::size_t at, const Segment& segment) const {
    const std::size_t offset = file.size();
    file.insert(file.end(), segment.bytes.begin(), segment.bytes.end());
    const std::uint64_t memory = segment.memory_bytes != 0 ? segment.memory_bytes : segment.bytes.size();
    put_at(file, at, segment.type);
    put_at(file, at + (is_64_bit ? 4u : 24u), segment.flags);
    put_word(file, at + 8, at + 4, offset);
    put_word(file, at + 16, at + 8, segment.vaddr);
    put_word(file, at + 24, at + 12, segment.paddr);
    put_word(file, at + 32, at + 16, segment.bytes.size());
    put_word(file, at + 40, at + 20, memory);
  }
  // 64-bit only: a null section, ours, and the names.
  void put_sections(Bytes& file, std::size_t tail) const {
    Bytes names(1);
    std::vector<std::pair<std::size_t, Section>> placed;
    auto all = sections;
    all.push_back({".shstrtab", {}});
    for (Section& section : all) {
      const std::size_t name_at = names.size();
      put_text_at(names, name_at, section.name);
      placed.emplace_back(name_at, std::move(section));
    }
    placed.back().second.bytes = names;
    std::vector<std::size_t> offsets;
    for (const auto& [name_at, section] : placed) {
      offsets.push_back(file.size());
      file.insert(file.end(), section.bytes.begin(), section.bytes.end());
    }
    file.resize((file.size() + 7) / 8 * 8);
    const std::size_t table = file.size();
    file.resize(table + (placed.size() + 1) * 64);
    for (std::size_t i = 0; i < placed.size(); ++i) {
      const std::size_t at = table + (i + 1) * 64;
      put_at(file, at, static_cast<std::uint32_t>(placed[i].first));
      put_at<std::uint32_t>(file, at + 4, i + 1 == placed.size() ? 3 : 1);
      put_at<std::uint64_t>(file, at + 24, offsets[i]);
      put_at<std::uint64_t>(file, at + 32, placed[i].second.bytes.size());
    }
    put_at<std::uint64_t>(file, 40, table);
    put_at<std::uint16_t>(file, tail + 6, 64);
    put_at(file, tail + 8, static_cast<std::uint16_t>(placed.size() + 1));
    put_at(file, tail + 10, static_cast<std::uint16_t>(placed.size()));
  }
};

// A kernel module: NAME=VALUE of its .modinfo.
inline Bytes fake_module(const std::vector<std::string>& info, bool has_crcs = true) {
  Bytes modinfo;
  for (const std::string& entry : info) put_text_at(modinfo, modinfo.size(), entry);
  FakeElf elf{.type = 1, .sections = {{".modinfo", modinfo}}};
  if (has_crcs) elf.sections.push_back({"__versions", Bytes(64)});
  return elf.file();
}

}  // namespace cbit::test
