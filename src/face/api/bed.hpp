// The machine behind a public face, from its options.
//
// Options of one name mean the same for all faces; one that a face does not have keeps the model's default.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "api/refusal.hpp"
#include "testbed/testbed.hpp"

namespace cbit::api {

template <class Options>
[[nodiscard]] testbed::TestbedConfig bed_config(const Options& options) {
  testbed::TestbedConfig config;
  if constexpr (requires { options.platform; }) config.machine.platform = options.platform;
  if constexpr (requires { options.c_bit; }) config.machine.c_bit = options.c_bit;
  if constexpr (requires { options.key_id_bits; }) config.machine.key_id_bits = options.key_id_bits;
  if constexpr (requires { options.memory_bytes; }) config.machine.memory_bytes = options.memory_bytes;
  if constexpr (requires { options.cpus; }) config.machine.cpus = options.cpus;
  if constexpr (requires { options.asids; })
    config.machine.sev = {.asids = options.asids, .min_sev_asid = options.min_sev_asid};
  config.machine.seed = options.seed;
  if constexpr (requires { options.kernel; }) config.dma.version = options.kernel;
  if constexpr (requires { options.iommu; }) config.dma.iommu = options.iommu;
  if constexpr (requires { options.dma_debug; }) config.dma.debug = options.dma_debug;
  return config;
}

[[nodiscard]] inline std::unique_ptr<testbed::Testbed> make_bed(const testbed::TestbedConfig& config) {
  return value_or_throw(testbed::Testbed::create(config));
}

// Room for what is read; nullopt where no machine's address range holds so many bytes, so that nothing is
// allocated for what is refused.
[[nodiscard]] inline std::optional<std::vector<std::byte>> room_for(const testbed::Testbed& bed,
                                                                    std::uint64_t bytes) {
  if (bytes > bed.config().machine.memory_bytes) return std::nullopt;
  return std::vector<std::byte>(bytes);
}

}  // namespace cbit::api
