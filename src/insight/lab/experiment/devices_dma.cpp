// The programmable DMA device.
#include <fmt/format.h>

#include "lab/experiment/devices.hpp"
#include "lab/experiment/run.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view keys_of_dma[] = {
    "mask",         "coherent-mask", "bus-limit", "min-align-mask", "max-segment-size",
    "seg-boundary", "untrusted",     "trusted",   "address-bits",   "restricted-pool"};

// A power of two less one.
OrError<std::optional<std::uint64_t>> low_mask(const TableReader& keys, std::string_view key,
                                               std::uint64_t max) {
  const auto mask = CBIT_TRY(keys.number(key, 0, max));
  if (mask && (*mask & (*mask + 1)) != 0)
    return keys.error(key, fmt::format("\"{}\" is {:#x}, no power of two less one", key, *mask),
                      "use 511, 4095, \"0xffff\", ...");
  return mask;
}

OrError<void> parse_dma(const TableReader& keys, const ExperimentLimits&, ExperimentDevice& device) {
  Run::DmaDeviceConfig dma;
  testbed::TestDeviceConfig& config = dma.device;
  config.name = device.name;
  config.mask_bits = static_cast<unsigned>(CBIT_TRY(keys.number("mask", 1, 64)).value_or(config.mask_bits));
  config.coherent_mask_bits =
      static_cast<unsigned>(CBIT_TRY(keys.number("coherent-mask", 1, 64)).value_or(config.mask_bits));
  if (const auto bits = CBIT_TRY(keys.number("bus-limit", 1, 64)))
    config.bus_limit = bit_mask(static_cast<unsigned>(*bits));
  config.min_align_mask = static_cast<std::uint32_t>(
      CBIT_TRY(low_mask(keys, "min-align-mask", 65535)).value_or(config.min_align_mask));
  config.max_segment_size = static_cast<std::uint32_t>(
      CBIT_TRY(keys.number("max-segment-size", page_size, bit_mask(32))).value_or(config.max_segment_size));
  dma.seg_boundary_mask = CBIT_TRY(low_mask(keys, "seg-boundary", bit_mask(63))).value_or(0);
  if (dma.seg_boundary_mask != 0 && dma.seg_boundary_mask < page_size - 1)
    return keys.error("seg-boundary", "\"seg-boundary\" is narrower than a page", "use 4095 or more");
  config.untrusted = CBIT_TRY(keys.flag("untrusted")).value_or(false);
  config.trusted = CBIT_TRY(keys.flag("trusted")).value_or(false);
  config.address_bits = static_cast<unsigned>(CBIT_TRY(keys.number("address-bits", 1, 64)).value_or(64));
  dma.restricted_pool = CBIT_TRY(keys.number("restricted-pool", page_size, 64ull << 20)).value_or(0);
  device.install = [dma](Run& run, std::size_t id) { return run.install(id, dma); };
  return {};
}

constexpr DeviceKind dma_device_kinds[] = {{dma_kind, keys_of_dma, parse_dma}};

}  // namespace

std::span<const DeviceKind> dma_devices() { return dma_device_kinds; }

}  // namespace cbit::lab
