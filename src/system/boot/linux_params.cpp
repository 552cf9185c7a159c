#include "boot/linux_params.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/board.hpp"
#include "boot/layout.hpp"

namespace cbit::boot {
namespace {

constexpr std::uint64_t setup_data_alignment = 16;
constexpr std::size_t header_bytes_max =
    offsetof(spec::LinuxBootParams, edd_mbr_sig_buffer) - spec::linux_setup_header_at;

// myisspace(): anything up to a blank separates words.
bool is_separator(char c) { return static_cast<unsigned char>(c) <= ' '; }

OrError<void> check_command_line(const BootImage& image, std::uint64_t bytes_max) {
  const std::string& line = image.command_line;
  if (line.find('\0') != std::string::npos)
    return bad_input("the kernel's command line has a zero byte in it", "leave it out");
  const std::uint64_t most = std::min(bytes_max, layout::command_line_bytes_max - 1);
  if (line.size() <= most) return {};
  return bad_input(
      fmt::format("the kernel's command line has {} characters; {} takes {}", line.size(), image.name, most),
      "make it shorter (--append)");
}

// Returns where the list begins; 0: there is none.
OrError<PhysAddr> add_setup_data(LoadPlan& plan, std::span<const SetupData> nodes) {
  if (nodes.empty()) return PhysAddr{0};
  Bytes list;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Bytes& data = nodes[i].data;
    const std::uint64_t next =
        align_up(list.size() + sizeof(spec::LinuxSetupData) + data.size(), setup_data_alignment);
    const spec::LinuxSetupData node{.next = i + 1 < nodes.size() ? (layout::setup_data + next).value() : 0,
                                    .type = nodes[i].type,
                                    .len = static_cast<std::uint32_t>(data.size())};
    const ConstByteSpan head = bytes_of(node);
    list.insert(list.end(), head.begin(), head.end());
    list.insert(list.end(), data.begin(), data.end());
    list.resize(next);
  }
  if (list.size() > layout::setup_data_bytes_max)
    return bad_input(fmt::format("the loader's setup data have {} bytes", list.size()),
                     "64 KiB are the most");
  CBIT_TRY(plan.add_owned("setup_data", layout::setup_data, std::move(list)));
  return layout::setup_data;
}

struct Initrd {
  PhysAddr at;
  std::uint64_t bytes = 0;
};

OrError<Initrd> add_initrd(LoadPlan& plan, const BootImage& image, const LinuxParams& params) {
  if (image.modules.empty() || image.modules.front().bytes.empty()) return Initrd{};
  if (image.modules.size() > 1)
    return usage_error("a Linux kernel takes one initrd",
                       "put the archives one behind the other in one file");
  const BootModule& module = image.modules.front();
  auto at = add_module(plan, module, params.initrd_limit);
  if (!at && params.initrd_above_4g && plan.ram().size() > 1)
    at = add_module(plan, module, plan.ram().back().end());
  if (!at) return tl::unexpected{at.error()};
  return Initrd{*at, module.bytes.size()};
}

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

void set_memory_map(spec::LinuxBootParams& params, const std::vector<MapEntry>& map) {
  const std::size_t count = std::min(map.size(), spec::LinuxBootParams::e820_entries_max);
  for (std::size_t i = 0; i < count; ++i)
    params.e820_table[i] = {map[i].first.value(), map[i].bytes, map[i].type};
  params.e820_entries = static_cast<std::uint8_t>(count);
}

}  // namespace

OrError<void> add_linux_params(LoadPlan& plan, const BootImage& image, LinuxParams params) {
  CBIT_TRY(check_command_line(image, params.command_line_bytes_max));
  const Initrd initrd = CBIT_TRY(add_initrd(plan, image, params));
  const PhysAddr setup_data = CBIT_TRY(add_setup_data(plan, image.setup_data));
  const ConstByteSpan line = std::as_bytes(std::span{image.command_line});
  CBIT_TRY(plan.add_owned("command line", layout::command_line, {line.begin(), line.end()}, 1));

  spec::LinuxSetupHeader& header = params.header;
  header.vid_mode = spec::linux_vid_mode_normal;
  header.type_of_loader = spec::linux_loader_undefined;
  header.cmd_line_ptr = low(layout::command_line.value());
  header.ramdisk_image = low(initrd.at.value());
  header.ramdisk_size = low(initrd.bytes);
  header.setup_data = setup_data.value();
  spec::LinuxBootParams filled{.acpi_rsdp_addr = rsdp_address().value(),
                               .ext_ramdisk_image = high(initrd.at.value()),
                               .ext_ramdisk_size = high(initrd.bytes)};
  set_memory_map(filled, plan.memory_map);
  Bytes page(sizeof filled);
  store(page, 0, filled);
  const auto at = page.begin() + spec::linux_setup_header_at;
  std::ranges::copy(params.image_header.first(std::min(params.image_header.size(), header_bytes_max)), at);
  std::ranges::copy(bytes_of(header), at);
  plan.entry.rsi = layout::boot_params.value();
  return plan.add_owned("boot_params", layout::boot_params, std::move(page));
}

std::optional<std::string_view> early_option(std::string_view command_line, std::string_view name) {
  std::optional<std::string_view> found;
  while (!command_line.empty()) {
    const auto begin = std::ranges::find_if_not(command_line, is_separator);
    const auto end = std::find_if(begin, command_line.end(), is_separator);
    const std::string_view word{begin, end};
    if (word.starts_with(name) && word.substr(name.size()).starts_with('='))
      found = word.substr(name.size() + 1);
    command_line = {end, command_line.end()};
  }
  return found;
}

std::string with_memory_encryption(std::string command_line) {
  if (early_option(command_line, "mem_encrypt")) return command_line;
  if (!command_line.empty()) command_line += ' ';
  return command_line + "mem_encrypt=on";
}

}  // namespace cbit::boot
