// virtio devices without a disk: network, entropy.
#include <fmt/format.h>

#include <iterator>

#include "lab/experiment/devices.hpp"
#include "lab/experiment/run.hpp"
#include "lab/experiment/virtio_net_part.hpp"
#include "machine/slots.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view keys_of_virtio[] = {"access-platform", "acks-access-platform", "legacy", "packed",
                                               "restricted-check"};

struct Options {
  dev::VirtioOptions device;
  kernel::VirtioDriverOptions driver;
};

OrError<Options> parse_options(const TableReader& keys) {
  Options options;
  options.device.iommu_platform = CBIT_TRY(keys.flag("access-platform")).value_or(true);
  options.device.legacy = CBIT_TRY(keys.flag("legacy")).value_or(false);
  options.device.packed = CBIT_TRY(keys.flag("packed")).value_or(false);
  options.driver.restricted_access_check = CBIT_TRY(keys.flag("restricted-check")).value_or(true);
  if (!CBIT_TRY(keys.flag("acks-access-platform")).value_or(true))
    options.driver.refused_features = spec::virtio_feature::access_platform;
  if (const auto fits = dev::check(options.device); !fits)
    return keys.error("legacy", fits.error().message, fits.error().hint);
  return options;
}

// Network devices are wired in pairs, in the order of the file; one without a partner is looped.
void wire(std::map<std::size_t, VirtioNetPart::Nic>& nics) {
  for (auto at = nics.begin(); at != nics.end();) {
    auto& first = *at->second.hardware;
    if (++at == nics.end()) return first.connect(&first);
    first.connect(at->second.hardware.get());
    at->second.hardware->connect(&first);
    ++at;
  }
}

OrError<void> install_net(Run& run, std::size_t id, const std::string& name, const Options& options) {
  auto& nics = run.part<VirtioNetPart>().nics;
  VirtioNetPart::Nic& nic = nics[id];
  nic.parent = &run.kernel().add_device({.name = name});
  nic.driver_options = options.driver;
  run.install(id, *nic.parent);
  nic.hardware = CBIT_TRY(machine::plug<dev::VirtioNet>(run.bed().machine().bus(), "virtio-net",
                                                        {.name = name, .requester = nic.parent->requester},
                                                        dev::VirtioNetOptions{.virtio = options.device}));
  wire(nics);
  run.at_end([&nic] { nic.driver.reset(); });
  return {};
}

OrError<void> install_rng(Run& run, std::size_t id, const std::string& name, const Options& options) {
  VirtioNetPart::Rng& rng = run.part<VirtioNetPart>().rngs[id];
  rng.parent = &run.kernel().add_device({.name = name});
  rng.driver_options = options.driver;
  run.install(id, *rng.parent);
  rng.hardware = CBIT_TRY(machine::plug<dev::VirtioRng>(run.bed().machine().bus(), "virtio-rng",
                                                        {.name = name, .requester = rng.parent->requester},
                                                        dev::VirtioRngOptions{.virtio = options.device}));
  run.at_end([&rng] { rng.driver.reset(); });
  return {};
}

template <auto install>
OrError<void> parse_virtio_net(const TableReader& keys, const ExperimentLimits&, ExperimentDevice& device) {
  const Options options = CBIT_TRY(parse_options(keys));
  device.install = [name = device.name, options](Run& run, std::size_t id) {
    return install(run, id, name, options);
  };
  return {};
}

constexpr DeviceKind virtio_net_device_kinds[] = {
    {virtio_net_kind, keys_of_virtio, parse_virtio_net<install_net>},
    {virtio_rng_kind, keys_of_virtio, parse_virtio_net<install_rng>}};

}  // namespace

std::span<const DeviceKind> virtio_net_devices() { return virtio_net_device_kinds; }

}  // namespace cbit::lab
