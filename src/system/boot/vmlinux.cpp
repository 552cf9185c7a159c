#include "boot/vmlinux.hpp"

#include <fmt/format.h>

#include <cstring>

#include "boot/board.hpp"
#include "boot/entry_mode.hpp"
#include "boot/layout.hpp"
#include "boot/linux_params.hpp"
#include "spec/pvh.hpp"

namespace cbit::boot {
namespace {

constexpr std::uint32_t linux_build_salt = 0x100;  // LINUX_ELFNOTE_BUILD_SALT, include/linux/build-salt.h
constexpr std::uint32_t linux_command_line_bytes = 2047;  // COMMAND_LINE_SIZE of arch/x86, less the zero
constexpr std::size_t pvh_modules_max = 64;

template <class T>
void append_value(Bytes& to, const T& value) {
  const ConstByteSpan bytes = bytes_of(value);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// hvm_start_info, and behind it what it points to.
Bytes start_info(const LoadPlan& plan, std::span<const spec::HvmModule> modules) {
  const PhysAddr modules_at = layout::hvm_start_info + sizeof(spec::HvmStartInfo);
  const PhysAddr map_at = modules_at + modules.size_bytes();
  Bytes bytes;
  append_value(bytes,
               spec::HvmStartInfo{.nr_modules = static_cast<std::uint32_t>(modules.size()),
                                  .modlist_paddr = modules.empty() ? 0 : modules_at.value(),
                                  .cmdline_paddr = layout::command_line.value(),
                                  .rsdp_paddr = rsdp_address().value(),
                                  .memmap_paddr = map_at.value(),
                                  .memmap_entries = static_cast<std::uint32_t>(plan.memory_map.size())});
  for (const spec::HvmModule& module : modules) append_value(bytes, module);
  for (const MapEntry& entry : plan.memory_map)
    append_value(bytes, spec::HvmMemmapEntry{.addr = entry.first.value(),
                                             .size = entry.bytes,
                                             .type = static_cast<std::uint32_t>(entry.type)});
  return bytes;
}

OrError<void> add_start_info(LoadPlan& plan, const BootImage& image) {
  if (image.modules.size() > pvh_modules_max)
    return usage_error(fmt::format("{} modules are too many", image.modules.size()), "use 64 at most");
  if (image.command_line.size() >= layout::command_line_bytes_max)
    return bad_input("the kernel's command line has more than 65535 characters",
                     "make it shorter (--append)");
  std::vector<spec::HvmModule> modules;
  for (const BootModule& module : image.modules) {
    const PhysAddr at = CBIT_TRY(add_module(plan, module, plan.end_of_low_ram()));
    modules.push_back({.paddr = at.value(), .size = module.bytes.size()});
  }
  const ConstByteSpan line = std::as_bytes(std::span{image.command_line});
  CBIT_TRY(plan.add_owned("command line", layout::command_line, {line.begin(), line.end()}, 1));
  return plan.add_owned("hvm_start_info", layout::hvm_start_info, start_info(plan, modules));
}

OrError<void> check_kernel_encrypts(const Board& board, const BootImage& image) {
  // print_mem_encrypt_feature_info() of arch/x86/mm/mem_encrypt.c
  constexpr std::string_view sentence = "Memory Encryption Features active";
  if (!is_encrypted(board.platform) ||
      memmem(image.kernel.data(), image.kernel.size(), sentence.data(), sentence.size()) != nullptr)
    return {};
  return bad_input(
      fmt::format("{} cannot use encrypted memory: it was built without CONFIG_AMD_MEM_ENCRYPT", image.name),
      "build it with that option; without encryption it runs on platform plain");
}

// What the kernel proper reads of a header that the stub has passed on.
spec::LinuxSetupHeader least_header(const Board& board, const BootImage& image) {
  const bool host = machine::traits_of(board.platform).cc.has(spec::CcAttr::host_mem_encrypt);
  const bool encrypt = host && early_option(image.command_line, "mem_encrypt") == "on";
  return {.boot_flag = spec::linux_boot_flag,
          .header = spec::linux_header_magic,
          .version = spec::linux_protocol_2_15,
          .loadflags = spec::LinuxLoadFlags{}.with<spec::LinuxLoadFlags::LoadedHigh>(true),
          .xloadflags = spec::LinuxXLoadFlags{}
                            .with<spec::LinuxXLoadFlags::Kernel64>(true)
                            .with<spec::LinuxXLoadFlags::MemEncryption>(encrypt)
                            .raw};
}

}  // namespace

std::optional<PhysAddr> pvh_entry(const ElfFile& elf) {
  const auto note = elf.note("Xen", spec::xen_elfnote_phys32_entry);
  if (!note) return std::nullopt;
  if (note->size() >= sizeof(std::uint64_t)) return PhysAddr{load<std::uint64_t>(*note)};
  if (note->size() >= sizeof(std::uint32_t)) return PhysAddr{load<std::uint32_t>(*note)};
  return std::nullopt;
}

bool is_linux(const ElfFile& elf) { return elf.note("Linux", linux_build_salt).has_value(); }

OrError<void> add_segments(LoadPlan& plan, const ElfFile& elf, std::string_view name) {
  for (const ElfSegment& segment : CBIT_TRY(elf.segments())) {
    const auto added = plan.add({"kernel", segment.at, segment.bytes, segment.zeros});
    if (!added) return bad_input(fmt::format("{}: {}", name, added.error().message), added.error().hint);
  }
  return {};
}

OrError<LoadPlan> plan_pvh(const Board& board, const BootImage& image) {
  const ElfFile elf = CBIT_TRY(ElfFile::open(image.kernel, image.name));
  const auto entry = pvh_entry(elf);
  if (!entry)
    return bad_input(fmt::format("{} has no PVH note (Xen, {})", image.name, spec::xen_elfnote_phys32_entry),
                     "build it with CONFIG_PVH, or give a bzImage");
  LoadPlan plan = CBIT_TRY(begin_plan(board));
  plan.protocol = "PVH";
  CBIT_TRY(enter_protected_mode(plan));
  CBIT_TRY(add_segments(plan, elf, image.name));
  CBIT_TRY(add_start_info(plan, image));
  plan.entry.rip = static_cast<std::uint32_t>(entry->value());
  plan.entry.rbx = layout::hvm_start_info.value();
  return plan;
}

OrError<LoadPlan> plan_vmlinux(const Board& board, const BootImage& image) {
  const ElfFile elf = CBIT_TRY(ElfFile::open(image.kernel, image.name));
  if (!elf.is_64_bit() || !elf.is_executable())
    return bad_input(fmt::format("{} is no 64-bit kernel", image.name),
                     "give a vmlinux or bzImage for x86-64");
  CBIT_TRY(check_kernel_encrypts(board, image));
  LoadPlan plan = CBIT_TRY(begin_plan(board));
  plan.protocol = "Linux, without its stub";
  CBIT_TRY(enter_long_mode(plan, board.encryption_mask));
  CBIT_TRY(add_segments(plan, elf, image.name));
  CBIT_TRY(add_linux_params(plan, image,
                            {.header = least_header(board, image),
                             .command_line_bytes_max = linux_command_line_bytes,
                             .initrd_limit = plan.end_of_low_ram(),
                             .initrd_above_4g = true}));
  plan.entry.rip = elf.entry().value();
  return plan;
}

}  // namespace cbit::boot
