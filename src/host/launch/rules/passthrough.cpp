// Devices of the host's: VFIO, iommufd, vDPA.
#include <set>

#include "base/format.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

constexpr QemuVersion with_iommufd{9, 0}, with_coordinated_discard{10, 1};

void judge_private_dma(Case& guest, const QemuOption& device) {
  if (!guest.has_private_memory()) return;
  if (!guest.qemu_is_at_least(with_coordinated_discard))
    return guest.find(
        rule("vfio-discard"), &device,
        fmt::format("this is QEMU {}.{}", guest.context().qemu->release, guest.context().qemu->update));
  if (!device.value("iommufd"))
    guest.find(rule("vfio-without-iommufd"), &device, {},
               guest.in_language(fmt::format("-object iommufd,id=iommufd0 {}",
                                             Case::with(device, {{"iommufd", "iommufd0"}})),
                                 "<driver iommufd='yes'/>"));
}

void judge_iommufd(Case& guest, const QemuOption& device) {
  const auto id = device.value("iommufd");
  if (!id) return;
  if (!guest.qemu_is_at_least(with_iommufd))
    guest.find(rule("option-newer-than-qemu"), &device,
               fmt::format("iommufd= needs QEMU 9.0, this is {}.{}", guest.context().qemu->release,
                           guest.context().qemu->update));
  const QemuOption* const object = guest.object_of_id(*id);
  if (object == nullptr || object->value("qom-type") != "iommufd")
    guest.find(
        rule("iommufd-missing"), &device,
        object == nullptr ? fmt::format("no -object has id={}", *id)
                          : fmt::format("the object {} is no iommufd", *id),
        object == nullptr ? guest.in_language(fmt::format("-object iommufd,id={}", *id), "") : std::string{});
}

void judge_vdpa(Case& guest, const QemuOption& option) {
  if (guest.has_private_memory()) guest.find(rule("vhost-vdpa-discard"), &option);
}

}  // namespace

void judge_passthrough(Case& guest) {
  std::set<std::string_view> iommufds;
  const QemuOption* last = nullptr;
  for (const QemuOption* const device : guest.all("device")) {
    const std::string_view driver = device->value("driver").value_or("");
    if (driver.starts_with("vhost-vdpa")) judge_vdpa(guest, *device);
    if (!driver.starts_with("vfio-pci")) continue;
    guest.find(rule("passed-through-device"), device);
    judge_private_dma(guest, *device);
    judge_iommufd(guest, *device);
    if (const auto id = device->value("iommufd")) iommufds.insert(*id);
    last = device;
  }
  if (iommufds.size() > 1)
    guest.find(rule("several-iommufds"), last, fmt::format("there are {} of them", iommufds.size()));
  for (const QemuOption* const netdev : guest.all("netdev"))
    if (netdev->value("type") == "vhost-vdpa") judge_vdpa(guest, *netdev);
}

}  // namespace cbit::launch
