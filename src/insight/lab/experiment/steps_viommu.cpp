// Requests to the virtio-iommu, past Linux's DMA layer: what a driver of user space (vfio) asks for, and
// what a hostile or careless guest may try.
#include <fmt/format.h>

#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"
#include "lab/experiment/viommu_part.hpp"

namespace cbit::lab {
namespace {

Result<kernel::VirtioIommuDriver*, StepTrouble> driver_of(Run& run) {
  kernel::VirtioIommuDriver* const driver = run.part<ViommuPart>().driver.get();
  if (driver == nullptr) return trouble_in_step("no driver is bound to the virtio-iommu");
  return driver;
}

StepResult answered(const Result<void, kernel::Errno>& done) {
  if (!done) return trouble_in_step(std::string{kernel::errno_name(done.error())});
  return std::string{"OK"};
}

OrError<std::uint32_t> parse_domain(const StepParser& step) {
  const auto domain = CBIT_TRY(step.keys.need("domain", step.keys.number("domain", 0, bit_mask(32))));
  return static_cast<std::uint32_t>(domain);
}

// ---- probe ----

constexpr std::string_view endpoint_probe_keys[] = {"device"};

OrError<Action> parse_endpoint_probe(StepParser& step) {
  CBIT_TRY(step.device(virtio_iommu_kind));
  return [](Run& run) -> StepResult {
    ViommuPart& part = run.part<ViommuPart>();
    if (part.driver != nullptr) return trouble_in_step("-EBUSY: a driver is bound to the device");
    auto driver =
        kernel::VirtioIommuDriver::probe(run.kernel(), *part.hardware, *part.parent, part.driver_options);
    if (!driver) return trouble_in_step(std::string{kernel::errno_name(driver.error())});
    part.driver = std::move(*driver);
    return std::string{"devices that are added from now on are behind it"};
  };
}

// ---- attach, detach ----

constexpr std::string_view attach_keys[] = {"endpoint", "domain", "bypass"};
constexpr std::string_view detach_keys[] = {"endpoint", "domain"};

OrError<Action> parse_attach(StepParser& step) {
  const std::size_t endpoint = CBIT_TRY(step.names.devices.get(step.keys, "endpoint"));
  const std::uint32_t domain = CBIT_TRY(parse_domain(step));
  const bool bypass = CBIT_TRY(step.keys.flag("bypass")).value_or(false);
  return [=](Run& run) -> StepResult {
    return answered(CBIT_TRY(driver_of(run))
                        ->send_attach(domain, run.device(endpoint).requester,
                                      bypass ? iommu::viommu_flag::attach_bypass : 0));
  };
}

OrError<Action> parse_detach(StepParser& step) {
  const std::size_t endpoint = CBIT_TRY(step.names.devices.get(step.keys, "endpoint"));
  const auto domain = CBIT_TRY(step.keys.number("domain", 0, bit_mask(32)));
  return [=](Run& run) -> StepResult {
    kernel::VirtioIommuDriver& driver = *CBIT_TRY(driver_of(run));
    const kernel::Device& device = run.device(endpoint);
    const auto from = domain ? static_cast<std::uint32_t>(*domain) : driver.domain_of(device);
    return answered(driver.send_detach(from, device.requester));
  };
}

// ---- map, unmap ----

constexpr std::string_view map_keys[] = {"domain", "buffer", "iova", "offset", "length", "rights"};
constexpr std::string_view unmap_keys[] = {"domain", "iova", "length"};

constexpr Word<std::uint32_t> rights_words[] = {
    {"read", iommu::viommu_flag::map_read},
    {"write", iommu::viommu_flag::map_write},
    {"read-write", iommu::viommu_flag::map_read | iommu::viommu_flag::map_write},
};

OrError<iommu::ViommuRange> parse_range(const StepParser& step, std::uint64_t bytes) {
  const auto iova = CBIT_TRY(step.keys.need("iova", step.keys.number("iova", 0, bit_mask(63))));
  return iommu::ViommuRange{DmaAddr{iova}, DmaAddr{iova + (bytes - 1)}};
}

OrError<Action> parse_map(StepParser& step) {
  const std::uint32_t domain = CBIT_TRY(parse_domain(step));
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const Range part = CBIT_TRY(step.range(step.names.buffers[buffer].bytes));
  const iommu::ViommuRange range = CBIT_TRY(parse_range(step, part.bytes));
  const auto rights = CBIT_TRY(step.keys.word("rights", rights_words))
                          .value_or(iommu::viommu_flag::map_read | iommu::viommu_flag::map_write);
  return [=](Run& run) -> StepResult {
    const Run::Buffer& memory = *CBIT_TRY(run.live_buffer(buffer));
    return answered(CBIT_TRY(driver_of(run))->send_map(domain, range, memory.phys(part.offset), rights));
  };
}

OrError<Action> parse_unmap(StepParser& step) {
  const std::uint32_t domain = CBIT_TRY(parse_domain(step));
  const auto bytes = CBIT_TRY(step.keys.need("length", step.keys.number("length", 1, bit_mask(63))));
  const iommu::ViommuRange range = CBIT_TRY(parse_range(step, bytes));
  return
      [=](Run& run) -> StepResult { return answered(CBIT_TRY(driver_of(run))->send_unmap(domain, range)); };
}

constexpr StepKind viommu_step_kinds[] = {
    {"viommu-probe", endpoint_probe_keys, parse_endpoint_probe},
    {"viommu-attach", attach_keys, parse_attach},
    {"viommu-detach", detach_keys, parse_detach},
    {"viommu-map", map_keys, parse_map},
    {"viommu-unmap", unmap_keys, parse_unmap},
};

}  // namespace

std::span<const StepKind> viommu_steps() { return viommu_step_kinds; }

}  // namespace cbit::lab
