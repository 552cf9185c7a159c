// A file that is given as a kernel: whatever it holds, it is refused with a message or opened, and what is
// asked of it lies in it.
#include <cstdlib>

#include "fuzz_input.hpp"
#include "linux/kernel.hpp"
#include "patched_file.hpp"
#include "support/linux/file_writer.hpp"

namespace {

using namespace cbit;

void require(bool holds) {
  if (!holds) std::abort();
}

Bytes valid_image() {
  const Bytes rodata =
      test::ByteWriter{}
          .text("Linux version 6.1.0-fuzz (a@b) #1 SMP\n")
          .put('\0')
          .text("IKCFG_ST")
          .append(test::pack(test::bytes_from("CONFIG_X=y\n"), archive_write_add_filter_gzip))
          .text("IKCFG_ED")
          .bytes();
  const Bytes kernel = test::write_elf({{.name = ".text", .at = 0xffff'ffff'8100'0000, .bytes = Bytes(64)},
                                        {.name = ".rodata", .at = 0xffff'ffff'8200'0000, .bytes = rodata}});
  return test::write_bzimage(kernel);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Bytes image = valid_image();
  FuzzInput input{data, size};
  Bytes file = input.flag() ? patched(image, input) : [&] {
    Bytes raw(size);
    for (std::byte& byte : raw) byte = std::byte{input.byte()};
    return raw;
  }();
  const auto opened = linux::KernelImage::open(std::move(file), "fuzz");
  if (!opened) {
    require(!opened.error().message.empty());
    return 0;
  }
  for (const linux::ElfPart& section : opened->elf().sections())
    require(section.bytes.empty() || section.bytes.size() == section.size);
  require(opened->release().size() <= opened->banner().size());
  require(opened->banner().empty() || opened->elf().at(opened->banner_at()));
  (void)opened->config();
  (void)opened->elf().symbols();
  return 0;
}
