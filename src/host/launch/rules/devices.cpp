#include <algorithm>
#include <array>

#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

// PCI devices of QEMU whose Linux drivers go through the DMA API, as all but virtio drivers do.
bool is_bounced(std::string_view driver) {
  constexpr std::array devices{
      "nvme",      "e1000",        "e1000e",     "igb",       "rtl8139",    "vmxnet3",       "pcnet",
      "ne2k_pci",  "tulip",        "i82550",     "i82557b",   "i82559er",   "ich9-ahci",     "ahci",
      "megasas",   "megasas-gen2", "mptsas1068", "pvscsi",    "lsi53c895a", "lsi",           "am53c974",
      "qemu-xhci", "nec-usb-xhci", "usb-ehci",   "sdhci-pci", "ufs",        "e1000-82544gc", "e1000-82545em"};
  return std::ranges::find(devices, driver) != devices.end();
}

bool is_network_card(std::string_view driver) {
  return driver.starts_with("virtio-net") || driver.starts_with("e1000") || driver == "igb" ||
         driver == "rtl8139" || driver == "vmxnet3";
}

bool passes_iommu(const Case& guest) {
  return std::ranges::any_of(guest.kernel_words(), [](std::string_view word) {
    return word == "iommu=pt" || word == "iommu.passthrough=1" || word == "iommu.passthrough=on" ||
           word == "iommu.passthrough=y";
  });
}

// Its device table, page tables and command rings are private memory, which QEMU reads as ciphertext.
void judge_emulated_iommu(Case& guest, const QemuOption& option) {
  guest.find(rule("emulated-iommu"), &option, passes_iommu(guest) ? "iommu=pt does not change it" : "");
}

// Maps and unmaps are requests on a virtqueue, which is shared memory.
void judge_virtio_iommu(Case& guest, const QemuOption& option) {
  if (passes_iommu(guest)) return;
  const bool has_kernel = guest.last("append") != nullptr;
  guest.find(rule("guest-iommu-skips-bounce"), &option,
             has_kernel ? "" : "the guest kernel's command line is not known");
}

void judge_device(Case& guest, const QemuOption& device, std::string_view driver) {
  if (driver == "intel-iommu" || driver == "amd-iommu") judge_emulated_iommu(guest, device);
  if (driver.starts_with("virtio-iommu")) judge_virtio_iommu(guest, device);
  if (driver.starts_with("ivshmem")) guest.find(rule("ivshmem"), &device);
  if (is_bounced(driver)) guest.find(rule("bounced-device"), &device);
  if (is_network_card(driver) && !device.value("romfile") && device.value("rombar") != "0")
    guest.find(rule("option-rom-before-encryption"), &device, {},
               guest.in_language(Case::with(device, {{"romfile", ""}}), "<rom enabled='no'/>"));
}

}  // namespace

void judge_devices(Case& guest) {
  for (const QemuOption* const device : guest.all("device"))
    if (const auto driver = device->value("driver")) judge_device(guest, *device, *driver);
  // The machine property of QEMU before 4.0 and its relatives.
  if (is_on(guest.machine("iommu"))) judge_emulated_iommu(guest, *guest.machine_with("iommu"));
}

}  // namespace cbit::launch
