#include "dev/virtio/virtio_rng.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint64_t bytes_at_once = 4096;  // of a request; the driver is told how many it got

}  // namespace

OrError<std::unique_ptr<VirtioRng>> VirtioRng::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                      const VirtioRngOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size))
    return usage_error(fmt::format("queue size {} is not a power of two", options.queue_size));
  return std::unique_ptr<VirtioRng>{new VirtioRng{bus, std::move(port), options}};
}

VirtioRng::VirtioRng(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioRngOptions& options)
    : VirtioDevice{bus, std::move(port), options.virtio, 0, {options.queue_size}}, random_{options.seed} {}

OrTrouble<void> VirtioRng::kicked(std::uint16_t queue) {
  return serve(queue, [this](const VirtChain& chain) { return fill(chain); });
}

OrTrouble<std::uint32_t> VirtioRng::fill(const VirtChain& chain) {
  if (!chain.readable.empty()) return trouble("a device-readable buffer in the entropy queue");
  Bytes entropy(std::min(chain.writable_bytes(), bytes_at_once));
  for (std::byte& b : entropy) b = std::byte{static_cast<std::uint8_t>(random_.next())};
  CBIT_TRY(write_segments(dma(), chain.writable, entropy));
  return static_cast<std::uint32_t>(entropy.size());
}

}  // namespace cbit::dev
