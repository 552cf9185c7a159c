// Multiboot headers and what they say of a file: planned soundly or refused.
#include "boot/multiboot.hpp"
#include "boot_input.hpp"
#include "support/boot_images.hpp"

namespace {

// The flags are the input's; the checksum is right whatever they are.
cbit::Bytes kernel(std::uint32_t flags) {
  cbit::Bytes file = cbit::pattern_bytes(0x1000, 1);
  const std::uint32_t words[] = {
      0x1bad'b002, flags,    static_cast<std::uint32_t>(0u - 0x1bad'b002u - flags), 0x20'0100, 0x20'0000, 0,
      0,           0x20'0000};
  for (std::size_t i = 0; i < std::size(words); ++i) cbit::test::put_at(file, 0x200 + i * 4, words[i]);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cbit::FuzzInput input{data, size};
  const std::uint32_t flags = input.flag() ? input.take<std::uint32_t>() : 1u << 16;
  const cbit::Bytes file = cbit::changed_file(input, kernel(flags));
  if (const auto found = cbit::boot::find_multiboot_header(file))
    cbit::require(found->header_at % 4 == 0 && found->header_at + 12 <= file.size());
  cbit::try_kernel(file);
  return 0;
}
