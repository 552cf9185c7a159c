// A virtio-iommu, which is in front of all devices of the file.
#include "lab/experiment/devices.hpp"
#include "lab/experiment/run.hpp"
#include "lab/experiment/viommu_part.hpp"
#include "machine/slots.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view keys_of_viommu[] = {
    "access-platform", "packed",          "bypass",     "bypass-config", "boot-bypass",  "probe",
    "msi-region",      "reserved-region", "input-bits", "domains",       "first-domain", "driver"};

// A region of 1 MiB.
iommu::ViommuReserved region(iommu::ViommuReservedType type, std::uint64_t first) {
  return {type, {DmaAddr{first}, DmaAddr{first + 0xf'ffff}}};
}

OrError<void> parse_domains(const TableReader& keys, iommu::ViommuDomains::Config& domains) {
  const auto bits = static_cast<unsigned>(CBIT_TRY(keys.number("input-bits", 32, 64)).value_or(64));
  domains.input.last = DmaAddr{bit_mask(bits)};
  domains.first_domain =
      static_cast<std::uint32_t>(CBIT_TRY(keys.number("first-domain", 0, bit_mask(31))).value_or(1));
  const std::uint64_t count = CBIT_TRY(keys.number("domains", 1, bit_mask(31))).value_or(bit_mask(16));
  domains.last_domain = static_cast<std::uint32_t>(domains.first_domain + count - 1);
  if (const auto at = CBIT_TRY(keys.number("msi-region", 0, bit_mask(52))))
    domains.reserved.push_back(region(iommu::ViommuReservedType::msi, *at));
  if (const auto at = CBIT_TRY(keys.number("reserved-region", 0, bit_mask(52))))
    domains.reserved.push_back(region(iommu::ViommuReservedType::reserved, *at));
  return {};
}

OrError<void> install(Run& run, std::size_t id, const std::string& name,
                      const dev::VirtioIommuOptions& options, bool probes) {
  if (run.bed().machine().iommu_kind() != machine::IommuKind::virtio)
    return bad_input("the machine has no place for a virtio-iommu",
                     "add iommu = \"translated\" and iommu-kind = \"virtio\" to [machine]");
  ViommuPart& part = run.part<ViommuPart>();
  if (part.hardware != nullptr)
    return bad_input("there is a virtio-iommu already", "one is in front of all devices");
  part.parent = &run.kernel().add_device({.name = name});
  run.install(id, *part.parent);
  part.hardware =
      CBIT_TRY(machine::plug<dev::VirtioIommu>(run.bed().machine().bus(), "virtio-iommu",
                                               {.name = name, .requester = part.parent->requester}, options));
  run.at_end([&part] { part.driver.reset(); });
  if (!probes) return {};
  auto driver =
      kernel::VirtioIommuDriver::probe(run.kernel(), *part.hardware, *part.parent, part.driver_options);
  if (driver) part.driver = std::move(*driver);
  return {};
}

OrError<void> parse_viommu(const TableReader& keys, const ExperimentLimits&, ExperimentDevice& device) {
  dev::VirtioIommuOptions options;
  options.virtio.iommu_platform = CBIT_TRY(keys.flag("access-platform")).value_or(true);
  options.virtio.packed = CBIT_TRY(keys.flag("packed")).value_or(false);
  options.bypass_feature = CBIT_TRY(keys.flag("bypass")).value_or(false);
  options.bypass_config = CBIT_TRY(keys.flag("bypass-config")).value_or(true);
  options.boot_bypass = CBIT_TRY(keys.flag("boot-bypass")).value_or(true);
  options.probe = CBIT_TRY(keys.flag("probe")).value_or(true);
  CBIT_TRY(parse_domains(keys, options.domains));
  const bool probes = CBIT_TRY(keys.flag("driver")).value_or(true);
  device.install = [name = device.name, options, probes](Run& run, std::size_t id) {
    return install(run, id, name, options, probes);
  };
  return {};
}

constexpr DeviceKind viommu_device_kinds[] = {{virtio_iommu_kind, keys_of_viommu, parse_viommu}};

}  // namespace

std::span<const DeviceKind> viommu_devices() { return viommu_device_kinds; }

}  // namespace cbit::lab
