#include "launch/qemu_options.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace cbit::launch {
namespace {

using enum QemuArgument;

// qemu-options.hx. Options that were removed between 4.2 and 10, or came after 4.2, are all here: what the
// QEMU at hand thinks of them it says itself.
constexpr QemuOptionSpec option_table[] = {
    // Standard options.
    {"h", none, ""},
    {"help", none, ""},
    {"version", none, ""},
    {"machine", properties, "type"},
    {"M", properties, "type"},
    {"cpu", cpu, "model"},
    {"accel", properties, "accel"},
    {"smp", properties, "cpus"},
    {"numa", properties, "type"},
    {"add-fd", properties, ""},
    {"set", text, ""},
    {"global", global, ""},
    {"boot", properties, "order"},
    {"m", properties, "size"},
    {"mem-path", text, ""},
    {"mem-prealloc", none, ""},
    {"k", text, ""},
    {"audio-help", none, ""},
    {"audio", json, "driver"},
    {"audiodev", json, "driver"},
    {"soundhw", text, ""},
    {"device", json, "driver"},
    {"name", properties, "guest"},
    {"uuid", text, ""},
    // Block devices.
    {"fda", text, ""},
    {"fdb", text, ""},
    {"hda", text, ""},
    {"hdb", text, ""},
    {"hdc", text, ""},
    {"hdd", text, ""},
    {"cdrom", text, ""},
    {"blockdev", json, "driver"},
    {"drive", properties, ""},
    {"mtdblock", text, ""},
    {"sd", text, ""},
    {"snapshot", none, ""},
    {"fsdev", properties, "fsdriver"},
    {"virtfs", properties, "fsdriver"},
    {"virtfs_synth", none, ""},
    {"iscsi", properties, ""},
    // USB.
    {"usb", none, ""},
    {"usbdevice", text, ""},
    // Display.
    {"display", json, "type"},
    {"nographic", none, ""},
    {"curses", none, ""},
    {"sdl", none, ""},
    {"alt-grab", none, ""},
    {"ctrl-grab", none, ""},
    {"no-frame", none, ""},
    {"no-quit", none, ""},
    {"show-cursor", none, ""},
    {"spice", properties, ""},
    {"portrait", none, ""},
    {"rotate", text, ""},
    {"vga", text, ""},
    {"full-screen", none, ""},
    {"vnc", text, ""},
    // i386.
    {"win2k-hack", none, ""},
    {"no-fd-bootchk", none, ""},
    {"no-acpi", none, ""},
    {"no-hpet", none, ""},
    {"acpitable", properties, ""},
    {"smbios", properties, ""},
    // Network.
    {"netdev", json, "type"},
    {"nic", properties, "type"},
    {"net", properties, "type"},
    // Character devices and TPM.
    {"chardev", properties, "backend"},
    {"tpmdev", properties, "type"},
    {"bt", text, ""},
    // Boot images.
    {"bios", text, ""},
    {"pflash", text, ""},
    {"kernel", text, ""},
    {"shim", text, ""},
    {"append", text, ""},
    {"initrd", text, ""},
    {"dtb", text, ""},
    // Debugging and expert options.
    {"compat", json, ""},
    {"fw_cfg", properties, "name"},
    {"serial", text, ""},
    {"parallel", text, ""},
    {"monitor", text, ""},
    {"qmp", text, ""},
    {"qmp-pretty", text, ""},
    {"mon", properties, "chardev"},
    {"debugcon", text, ""},
    {"pidfile", text, ""},
    {"singlestep", none, ""},
    {"preconfig", none, ""},
    {"S", none, ""},
    {"overcommit", properties, ""},
    {"realtime", properties, ""},
    {"gdb", text, ""},
    {"s", none, ""},
    {"d", text, ""},
    {"D", text, ""},
    {"dfilter", text, ""},
    {"seed", text, ""},
    {"L", text, ""},
    {"enable-kvm", none, ""},
    {"enable-hax", none, ""},
    {"xen-domid", text, ""},
    {"xen-create", none, ""},
    {"xen-attach", none, ""},
    {"xen-domid-restrict", none, ""},
    {"no-reboot", none, ""},
    {"no-shutdown", none, ""},
    {"action", properties, ""},
    {"loadvm", text, ""},
    {"daemonize", none, ""},
    {"option-rom", properties, "romfile"},
    {"rtc", properties, ""},
    {"icount", properties, "shift"},
    {"watchdog", text, ""},
    {"watchdog-action", text, ""},
    {"echr", text, ""},
    {"virtioconsole", text, ""},
    {"tb-size", text, ""},
    {"incoming", text, ""},
    {"only-migratable", none, ""},
    {"nodefaults", none, ""},
    {"chroot", text, ""},
    {"runas", text, ""},
    {"run-with", properties, ""},
    {"sandbox", properties, "enable"},
    {"readconfig", text, ""},
    {"writeconfig", text, ""},
    {"no-user-config", none, ""},
    {"nouserconfig", none, ""},
    {"trace", properties, "enable"},
    {"plugin", properties, "file"},
    {"semihosting", none, ""},
    {"semihosting-config", properties, "enable"},
    {"enable-fips", none, ""},
    {"async-teardown", none, ""},
    {"msg", properties, ""},
    {"dump-vmstate", text, ""},
    {"enable-sync-profile", none, ""},
    {"perfmap", none, ""},
    {"jitdump", none, ""},
    {"object", json, "qom-type"},
};

// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({replaced, row[j + 1] + 1, row[j] + 1}));
    }
  }
  return row.back();
}

}  // namespace

std::span<const QemuOptionSpec> qemu_option_specs() { return option_table; }

const QemuOptionSpec* find_qemu_option(std::string_view name) {
  const auto* const found = std::ranges::find(option_table, name, &QemuOptionSpec::name);
  return found == std::end(option_table) ? nullptr : found;
}

std::string similar_qemu_options(std::string_view name) {
  constexpr std::size_t length_max = 40, shown_max = 3;
  if (name.size() > length_max) return {};
  std::vector<std::pair<std::size_t, std::string_view>> near;
  for (const QemuOptionSpec& spec : option_table) {
    const std::size_t apart = distance(name, spec.name);
    const bool begins = name.size() >= 3 && spec.name.starts_with(name);
    if (begins || apart <= std::max<std::size_t>(1, name.size() / 3)) near.emplace_back(apart, spec.name);
  }
  std::ranges::sort(near);
  std::string text;
  for (const auto& [apart, option] : std::span{near}.first(std::min(near.size(), shown_max)))
    text.append(text.empty() ? "-" : ", -").append(option);
  return text;
}

}  // namespace cbit::launch
