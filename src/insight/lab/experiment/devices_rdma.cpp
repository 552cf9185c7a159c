// RDMA NICs, each with a peer on a plain host.
#include "lab/experiment/devices.hpp"
#include "lab/experiment/rdma_run.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view keys_of_nic[] = {"mask", "coherent-mask", "max-segment-size", "software"};

OrError<void> parse_nic(const TableReader& keys, const ExperimentLimits&, ExperimentDevice& device) {
  kernel::HcaConfig config{.name = device.name};
  config.mask_bits = static_cast<unsigned>(CBIT_TRY(keys.number("mask", 32, 64)).value_or(config.mask_bits));
  config.coherent_mask_bits =
      static_cast<unsigned>(CBIT_TRY(keys.number("coherent-mask", 32, 64)).value_or(config.mask_bits));
  config.max_segment_size = static_cast<std::uint32_t>(
      CBIT_TRY(keys.number("max-segment-size", page_size, 2ull << 30)).value_or(config.max_segment_size));
  const bool software = CBIT_TRY(keys.flag("software")).value_or(false);
  device.install = [config, software](Run& run, std::size_t id) {
    return run.part<RdmaRun>().install(run, id, config, software);
  };
  return {};
}

constexpr DeviceKind rdma_device_kinds[] = {{rdma_kind, keys_of_nic, parse_nic}};

}  // namespace

std::span<const DeviceKind> rdma_devices() { return rdma_device_kinds; }

}  // namespace cbit::lab
