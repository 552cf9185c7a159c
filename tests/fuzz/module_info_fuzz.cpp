// Kernel modules as files, packed or not, and the texts beside them: read, or refused with a message.
#include "boot/initramfs/module_info.hpp"
#include "boot/initramfs/module_tree.hpp"
#include "boot/kernel_source/debian_kernel.hpp"
#include "boot_input.hpp"
#include "support/boot_images.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  for (const auto& [name, needs] : cbit::boot::parse_modules_dep(text)) cbit::require(name.size() <= size);
  for (const auto& [key, value] : cbit::boot::parse_stanza(text))
    cbit::require(key.size() + value.size() <= size);
  for (const std::string& part : cbit::boot::kernel_parts(text)) cbit::require(part.starts_with("linux-"));

  cbit::FuzzInput input{data, size};
  const cbit::Bytes file = cbit::changed_file(
      input, cbit::test::fake_module({"name=a", "depends=b,c", "vermagic=6.1.0-13-amd64 SMP preempt "}));
  const auto unpacked = cbit::boot::unpack_module(file, "a.ko");
  if (!unpacked) return 0;
  const auto info = cbit::boot::read_module_info(*unpacked, "a.ko");
  if (!info) {
    cbit::require(!info.error().message.empty() && !info.error().hint.empty());
    return 0;
  }
  cbit::require(!info->vermagic.empty() && info->name.size() <= unpacked->size());
  static_cast<void>(cbit::boot::check_vermagic(*info, "6.1.0-13-amd64 SMP preempt "));
  static_cast<void>(cbit::boot::check_release(*info, "6.1.0-13-amd64"));
  return 0;
}
