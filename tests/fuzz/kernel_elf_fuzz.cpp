// ELF kernels, with notes of PVH and of Linux: planned soundly or refused.
#include "boot/vmlinux.hpp"
#include "boot_input.hpp"
#include "support/boot_images.hpp"

namespace {

cbit::Bytes kernel(bool is_64_bit) {
  using cbit::test::FakeElf;
  cbit::Bytes text = cbit::pattern_bytes(0x800, 3);
  cbit::test::put_text_at(text, 0x100, "Memory Encryption Features active");
  cbit::Bytes notes = FakeElf::note("Linux", 0x100, cbit::Bytes(1));
  const cbit::Bytes xen = FakeElf::note("Xen", 18, cbit::Bytes(is_64_bit ? 8 : 4));
  notes.insert(notes.end(), xen.begin(), xen.end());
  return FakeElf{.is_64_bit = is_64_bit,
                 .machine = static_cast<std::uint16_t>(is_64_bit ? 62 : 3),
                 .entry = 0x10'0000,
                 .segments = {{.paddr = 0x10'0000, .bytes = text, .memory_bytes = 0x2000},
                              {.paddr = 0x10'3000, .bytes = cbit::pattern_bytes(0x80, 1)},
                              {.type = 4, .bytes = notes}},
                 .sections = is_64_bit ? std::vector<FakeElf::Section>{{".modinfo", cbit::Bytes(8)}}
                                       : std::vector<FakeElf::Section>{}}
      .file();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cbit::FuzzInput input{data, size};
  const bool is_64_bit = input.flag();
  const cbit::Bytes file = cbit::changed_file(input, kernel(is_64_bit));
  if (const auto elf = cbit::boot::ElfFile::open(file, "kernel")) {
    static_cast<void>(elf->entry());
    static_cast<void>(elf->section(".modinfo"));
    if (const auto segments = elf->segments())
      for (const cbit::boot::ElfSegment& segment : *segments)
        cbit::require(segment.bytes.size() <= file.size());
  }
  cbit::try_kernel(file);
  return 0;
}
