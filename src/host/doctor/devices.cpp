#include "doctor/devices.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "doctor/device_models.hpp"
#include "spec/swiotlb.hpp"
#include "spec/virtio.hpp"

namespace cbit::doctor {
namespace {

constexpr std::uint32_t virtio_balloon = 5;
constexpr std::uint64_t virtio_failed = 128;
constexpr std::uint32_t nvme_align_mask = 4095;  // NVME_CTRL_PAGE_SIZE - 1

// A device as the DMA layer sees it, whatever bus it is on.
struct Candidate {
  DeviceReport report;
  const facts::VirtioDeviceFacts* virtio = nullptr;
  bool nvme = false, rdma = false, display = false, untrusted = false;
};

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += " " + name;
  return text;
}

std::string what_is(const facts::PciDevice& device, const facts::VirtioDeviceFacts* virtio) {
  if (virtio != nullptr) return "virtio " + facts::virtio_kind(virtio->id) + joined(device.net);
  if (!device.infiniband.empty()) return "RDMA NIC" + joined(device.infiniband) + joined(device.net);
  if (device.is_nvme()) return "NVMe controller" + joined(device.nvme);
  if (device.is_display()) return "GPU" + joined(device.drm);
  // PCI Code and ID Assignment Specification, 1.
  constexpr Word<std::uint32_t> classes[] = {{"storage controller", 1},  {"network card", 2},
                                             {"multimedia device", 4},   {"memory controller", 5},
                                             {"system peripheral", 8},   {"USB or serial bus", 0xc},
                                             {"wireless card", 0xd},     {"encryption controller", 0x10},
                                             {"signal processor", 0x11}, {"accelerator", 0x12}};
  const std::string_view word = word_of(classes, device.class_code >> 16);
  const std::string kind = word == "?" ? fmt::format("class {:06x}", device.class_code) : std::string{word};
  return kind + joined(device.net) + fmt::format(" {:04x}:{:04x}", device.vendor, device.device);
}

// Drivers whose buffers are TTM's and live in system memory too.
bool uses_ttm(std::string_view driver) {
  constexpr std::string_view drivers[] = {"amdgpu", "radeon", "nouveau", "vmwgfx", "qxl", "xe"};
  return std::ranges::find(drivers, driver) != std::end(drivers);
}

const facts::VirtioDeviceFacts* virtio_of(const facts::HostFacts& host, std::string_view name) {
  const auto found = std::ranges::find_if(host.virtio, [&](const facts::VirtioDeviceFacts& device) {
    return !name.empty() && device.name == name;
  });
  return found == host.virtio.end() ? nullptr : &*found;
}

std::vector<Candidate> candidates(const facts::HostFacts& host) {
  std::vector<Candidate> all;
  for (const facts::PciDevice& device : host.pci) {
    const facts::VirtioDeviceFacts* const virtio = virtio_of(host, device.virtio);
    if (device.is_bridge() && virtio == nullptr) continue;
    Candidate one{.virtio = virtio,
                  .nvme = device.driver == "nvme",
                  .rdma = !device.infiniband.empty(),
                  .display = device.is_display() && uses_ttm(device.driver)};
    one.report = {.name = device.address,
                  .what = what_is(device, virtio),
                  .driver = virtio != nullptr ? virtio->driver : device.driver,
                  .made_for = virtio != nullptr ? facts::virtio_driver(*virtio) : device.driver,
                  .mask_bits = device.mask_bits,
                  .coherent_mask_bits = device.coherent_mask_bits,
                  .iommu = host.ultravisor_guest ? IommuMode::none : host.iommu.mode_of(device.iommu_group)};
    one.untrusted = device.removable && one.report.iommu == IommuMode::translated;
    all.push_back(std::move(one));
  }
  for (const facts::VirtioDeviceFacts& device : host.virtio) {
    const bool on_pci =
        std::ranges::any_of(host.pci, [&](const facts::PciDevice& p) { return p.virtio == device.name; });
    if (on_pci) continue;
    all.push_back({.report = {.name = device.name,
                              .what = "virtio " + facts::virtio_kind(device.id) + ", not on PCI",
                              .driver = device.driver,
                              .made_for = facts::virtio_driver(device)},
                   .virtio = &device});
  }
  return all;
}

// What sysfs lets one conclude. It shows the features that driver and device agreed on, not what was offered:
// Linux accepts ACCESS_PLATFORM wherever it is offered, except for the balloon (virtballoon_validate).
VirtioNegotiated negotiation_of(const facts::VirtioDeviceFacts& virtio) {
  const std::uint64_t accepted = virtio.features.value_or(0);
  std::uint64_t offered = accepted;
  if (virtio.id == virtio_balloon && virtio.has(32)) offered |= spec::virtio_feature::access_platform;
  return {.offered = offered,
          .accepted = accepted,
          .status = static_cast<std::uint8_t>(virtio.status.value_or(virtio.driver.empty() ? 0 : 0xf))};
}

testbed::TestDeviceConfig model_device(const Candidate& candidate) {
  const DeviceReport& report = candidate.report;
  const unsigned mask = report.mask_bits.value_or(64);
  return {.name = report.name,
          .mask_bits = mask,
          .coherent_mask_bits = report.coherent_mask_bits.value_or(mask),
          .min_align_mask = candidate.nvme ? nvme_align_mask : 0,
          .untrusted = candidate.untrusted};
}

void add_causes(std::vector<watch::Cause>& all, const std::vector<watch::Cause>& found) {
  for (const watch::Cause& one : found)
    if (std::ranges::none_of(all, [&](const watch::Cause& known) { return known.info == one.info; }))
      all.push_back(one);
}

std::vector<explain::MapKind> maps_of(const Candidate& candidate) {
  if (candidate.virtio != nullptr && !candidate.virtio->has(33)) return {explain::MapKind::raw_phys};
  std::vector<explain::MapKind> maps{explain::MapKind::streaming, explain::MapKind::coherent};
  if (candidate.rdma) maps.push_back(explain::MapKind::user_mr);
  if (candidate.display) maps.push_back(explain::MapKind::ttm_bo);
  return maps;
}

// Before Linux 6.8 TTM mapped decrypted pages as if they were encrypted ("drm/ttm: Make sure the mapped tt
// pages are decrypted when needed").
TtmPolicy ttm_policy(const facts::KernelFacts& kernel) {
  const bool old = kernel.release && *kernel.release < spec::KernelRelease{6, 8};
  return old ? TtmPolicy::before_fix : TtmPolicy::fixed;
}

// The model of the device's IOMMU domain; a virtio device that was not told to use the platform's way to
// memory goes past any IOMMU.
IommuMode mode_of(const Candidate& candidate) {
  const bool past = candidate.virtio != nullptr && !candidate.virtio->has(33);
  return past ? IommuMode::none : candidate.report.iommu;
}

explain::ExplainOptions options_of(const facts::HostFacts& host, const Candidate& candidate,
                                   explain::MapKind map) {
  explain::ExplainOptions options{.device = model_device(candidate), .map = map};
  if (map != explain::MapKind::ttm_bo) return options;
  options.ttm_policy = ttm_policy(host.kernel);
  options.direction = DmaDirection::bidirectional;
  return options;
}

// Where the repaired TTM would do, its absence is the trouble.
void note_ttm(DeviceModels& models, explain::ExplainOptions options, DeviceReport& report) {
  options.ttm_policy = TtmPolicy::fixed;
  const auto repaired = models.perform(report.iommu, options, {});
  if (repaired && repaired->use.verdict == explain::Verdict::works)
    report.notes.emplace_back(
        "graphics buffers: as before \"drm/ttm: Make sure the mapped tt pages are decrypted when needed\" "
        "(Linux 6.8; Debian's 6.1.192 has it too)");
}

OrError<void> perform(const CheckSubject& subject, DeviceModels& models, Candidate& candidate) {
  DeviceReport& report = candidate.report;
  report.state = CheckState::pass;
  std::optional<VirtioNegotiated> virtio;
  if (candidate.virtio != nullptr) {
    virtio = negotiation_of(*candidate.virtio);
    add_causes(report.causes, CBIT_TRY(models.explain_negotiation(report.iommu, report.name, *virtio)));
  }
  CBIT_TRY(models.of(mode_of(candidate)));
  for (const explain::MapKind map : maps_of(candidate)) {
    const explain::ExplainOptions options = options_of(subject.host, candidate, map);
    const auto done = models.perform(mode_of(candidate), options, virtio);
    if (!done) {  // a mask that this kernel refuses: what sysfs says cannot be
      report.state = CheckState::skip;
      report.notes.push_back(done.error().message);
      return {};
    }
    report.uses.push_back(done->use);
    add_causes(report.causes, done->causes);
    if (done->use.verdict != explain::Verdict::works) {
      report.state = CheckState::fail;
      if (map == explain::MapKind::ttm_bo) note_ttm(models, options, report);
    }
    if (report.uses.size() > 1) continue;
    report.largest_mapping = done->largest_mapping;
    report.limit_unknown_to_driver = done->limit_unknown_to_driver;
  }
  return {};
}

void note_costs(const CheckSubject& subject, DeviceReport& report) {
  if (report.state != CheckState::pass || report.uses.empty()) return;
  const bool bare = !is_guest(subject.system.platform);
  if (report.uses.front().bounced && bare) {
    report.state = CheckState::warn;
    report.notes.push_back(fmt::format(
        "its {} address bits do not reach {}, so every byte is copied; behind an IOMMU that translates it "
        "would not be",
        report.mask_bits.value_or(64),
        encrypts_itself(subject.system.platform) ? fmt::format("the C-bit ({})", subject.system.c_bit)
                                                 : std::string{"all memory"}));
  }
  if (report.limit_unknown_to_driver) {
    report.state = CheckState::warn;
    report.notes.emplace_back("dma_max_mapping_size() does not tell its driver of that limit");
  }
}

// Without a driver nothing is mapped; what a failed negotiation is a cause of is told all the same.
OrError<bool> idle(DeviceModels& models, Candidate& candidate) {
  DeviceReport& report = candidate.report;
  if (report.driver == "vfio-pci") {
    report.notes.emplace_back("its DMA is that of the program that has it (VFIO)");
    return true;
  }
  if (!report.driver.empty()) return false;
  const facts::VirtioDeviceFacts* const virtio = candidate.virtio;
  if (virtio == nullptr || (virtio->status.value_or(0) & virtio_failed) == 0) {
    report.notes.emplace_back("no driver is bound");
    return true;
  }
  report.state = CheckState::fail;
  report.notes.emplace_back(fmt::format("its driver gave up (status {:#x})", *virtio->status));
  add_causes(report.causes,
             CBIT_TRY(models.explain_negotiation(report.iommu, report.name, negotiation_of(*virtio))));
  return true;
}

void add_logged(const CheckSubject& subject, std::vector<DeviceReport>& reports) {
  for (watch::LogCause& found :
       watch::causes_of_full_pool(subject.host.kernel_log(), checks::pool_state(subject))) {
    const auto device = std::ranges::find(reports, found.device, &DeviceReport::name);
    if (device == reports.end()) continue;
    device->state = CheckState::fail;
    device->logged.push_back(std::move(found));
  }
}

}  // namespace

std::string way_of(const DmaUse& use) {
  if (use.verdict == explain::Verdict::fails) return "refused";
  if (use.map == explain::MapKind::raw_phys) return "physical addresses, past the DMA API";
  if (use.bounced) return use.path == DmaPath::iommu ? "bounced, then IOMMU" : "bounced";
  if (use.path == DmaPath::iommu) return use.encryption_bit ? "IOMMU, C-bit in its entry" : "IOMMU";
  if (use.shared && use.map != explain::MapKind::streaming) return "shared memory";
  return use.encryption_bit ? "direct, with the C-bit" : "direct";
}

OrError<std::vector<DeviceReport>> report_devices(const CheckSubject& subject,
                                                  std::vector<std::string>& notes) {
  if (subject.host.only_log) return std::vector<DeviceReport>{};
  if (!subject.system.unjudged.empty()) {
    notes.push_back("the devices are not judged: cbit has no model of " + subject.system.unjudged);
    return std::vector<DeviceReport>{};
  }
  DeviceModels models{subject, notes};
  std::vector<DeviceReport> reports;
  for (Candidate& candidate : candidates(subject.host)) {
    if (!CBIT_TRY(idle(models, candidate))) {
      CBIT_TRY(perform(subject, models, candidate));
      note_costs(subject, candidate.report);
    }
    reports.push_back(std::move(candidate.report));
  }
  add_logged(subject, reports);
  return reports;
}

}  // namespace cbit::doctor
