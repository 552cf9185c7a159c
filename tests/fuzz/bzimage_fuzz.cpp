// Headers of bzImages: a kernel is planned soundly or refused.
#include "boot/bzimage.hpp"
#include "boot_input.hpp"
#include "support/boot_images.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cbit::FuzzInput input{data, size};
  const cbit::Bytes file = cbit::changed_file(
      input, cbit::test::FakeBzImage{.pref_address = 0x20'0000, .init_size = 0x10'0000}.file());
  if (const auto image = cbit::boot::read_bzimage(file, "kernel")) {
    cbit::require(image->protected_mode.size() <= file.size());
    static_cast<void>(cbit::boot::compression_of(image->payload));
    static_cast<void>(image->memory_encryption());
    cbit::require(image->version.size() < file.size());
  }
  cbit::try_kernel(file);
  return 0;
}
