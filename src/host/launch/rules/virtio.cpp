#include <algorithm>
#include <array>

#include "base/format.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

// hw/core/machine.c, machine_run_board_init(): with confidential-guest-support= all virtio devices have
// iommu_platform=on and virtio-pci disable-legacy=on, unless their options say otherwise.
constexpr QemuVersion with_defaults{6, 0};

bool is_virtio(std::string_view driver) {
  return driver.starts_with("virtio-") || driver.starts_with("vhost-");
}
bool is_pci(std::string_view driver) { return !driver.ends_with("-device"); }

// A property as -device or -global sets it.
std::optional<std::string_view> property(const Case& guest, const QemuOption& device, std::string_view driver,
                                         std::string_view key) {
  if (const auto own = device.value(key)) return own;
  for (const std::string_view type :
       {driver, std::string_view{is_pci(driver) ? "virtio-pci" : ""}, std::string_view{"virtio-device"}})
    if (const auto value = guest.global(type, key)) return value;
  return std::nullopt;
}

std::string right_device(const Case& guest, const QemuOption& device, std::string_view driver) {
  if (guest.language() != GuestLanguage::qemu)
    return guest.in_language("", "<driver iommu='on'/>", "enable_iommu_platform = true");
  QemuOption changed = device;
  for (QemuProperty& property : changed.properties)
    for (const std::string_view suffix : {"-non-transitional", "-transitional"})
      if (property.key == "driver" && property.value.ends_with(suffix))
        property.value.resize(property.value.size() - suffix.size());
  if (!is_pci(driver)) return Case::with(changed, {{"iommu_platform", "on"}});
  return Case::with(changed, {{"iommu_platform", "on"}, {"disable-legacy", "on"}}, {"disable-modern"});
}

bool lacks_flag(const Case& guest, const QemuOption& device, std::string_view driver) {
  const auto flag = property(guest, device, driver, "iommu_platform");
  return is_off(flag) || (!guest.qemu_is_at_least(with_defaults) && !is_on(flag));
}

// virtio_features_ok() of the guest: VERSION_1 first, then ACCESS_PLATFORM.
void judge_flags(Case& guest, const QemuOption& device, std::string_view driver) {
  const bool defaults = guest.qemu_is_at_least(with_defaults);
  const auto legacy = property(guest, device, driver, "disable-legacy");
  const bool has_legacy = is_pci(driver) && (is_off(legacy) || (!defaults && !is_on(legacy)));
  const bool transitional = driver.ends_with("-transitional") && !driver.ends_with("-non-transitional");
  const bool legacy_only = is_on(property(guest, device, driver, "disable-modern"));
  const bool modern_only = driver.ends_with("-non-transitional");
  if (transitional || legacy_only || (has_legacy && !modern_only))
    return guest.find(rule("legacy-virtio"), &device, {},
                      guest.is_libvirt() ? "model='virtio'" : right_device(guest, device, driver));
  if (lacks_flag(guest, device, driver))
    guest.find(rule("flag-not-offered"), &device, {}, right_device(guest, device, driver));
}

// Options that make a virtio device without saying how.
void judge_implicit(Case& guest) {
  if (guest.qemu_is_at_least(with_defaults)) return;
  for (const QemuOption& option : guest.command().options) {
    const auto& name = option.name;
    const bool virtio_drive = name == "drive" && option.value("if") == "virtio";
    const bool virtio_nic =
        (name == "nic" || name == "net") && option.value("model").value_or("").starts_with("virtio");
    const bool virtio_vga = name == "vga" && option.text == "virtio";
    if (virtio_drive || virtio_nic || virtio_vga || name == "virtfs")
      guest.find(rule("flag-not-offered"), &option, "write a -device, which can have properties");
  }
}

// virtiofsd does not know the flag. QEMU 7.0 and later offer it to the guest for it (hw/virtio/virtio-bus.c:
// virtio_bus_device_plugged()); where they are told not to, another device is the remedy, not the flag.
bool is_hopeless_file_system(const Case& guest, const QemuOption& device, std::string_view driver) {
  if (!driver.starts_with("vhost-user-fs")) return false;
  const bool dax = parse_qemu_size(device.value("cache-size").value_or("0"), 1).value_or(1) != 0;
  return guest.has_private_memory() || dax || lacks_flag(guest, device, driver);
}

void judge_vhost_user(Case& guest, const QemuOption& device) {
  if (!guest.has_shared_memory())
    guest.find(rule("vhost-user-without-shared-memory"), &device, {},
               guest.in_language(
                   fmt::format(
                       "-object memory-backend-memfd,id=mem,size={}M,share=on -machine {},memory-backend=mem",
                       guest.memory_bytes() >> 20, guest.machine_type()),
                   "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"));
  guest.find(rule("vhost-user-back-end-must-know-the-flag"), &device);
}

void judge_virtio_device(Case& guest, const QemuOption& device, std::string_view driver) {
  if (driver.starts_with("virtio-balloon"))
    return guest.find(rule("flag-not-acked"), &device, {},
                      guest.in_language("", "<memballoon model='none'/>"));
  if (is_hopeless_file_system(guest, device, driver))
    return guest.find(rule("virtiofs"), &device, {}, guest.in_language("", "", "shared_fs = \"none\""));
  judge_flags(guest, device, driver);
  if (driver.starts_with("vhost-user-")) return judge_vhost_user(guest, device);
  if (driver.starts_with("vhost-")) guest.find(rule("vhost-sees-shared-pages-only"), &device);
  if (driver.starts_with("virtio-rng")) guest.find(rule("host-provided-entropy"), &device);
}

}  // namespace

void judge_virtio(Case& guest) {
  for (const QemuOption* const device : guest.all("device"))
    if (const auto driver = device->value("driver"); driver && is_virtio(*driver))
      judge_virtio_device(guest, *device, *driver);
  judge_implicit(guest);
  for (const QemuOption* const netdev : guest.all("netdev")) {
    const auto type = netdev->value("type");
    if (type == "vhost-user") judge_vhost_user(guest, *netdev);
    if ((type == "tap" && is_on(netdev->value("vhost"))) || type == "vhost-vdpa")
      guest.find(rule("vhost-sees-shared-pages-only"), netdev);
  }
}

}  // namespace cbit::launch
