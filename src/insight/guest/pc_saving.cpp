#include <fmt/format.h>

#include "guest/pc.hpp"

namespace cbit::guest {
namespace {

constexpr std::size_t protocol_bytes_max = 64;
constexpr std::size_t ram_ranges_max = 256;

struct SavedRange {
  mem::PhysRange* range;
  void transfer(StateStream& s) {
    std::uint64_t first = range->first.value();
    s(first, range->bytes);
    range->first = PhysAddr{first};
  }
};

}  // namespace

// Interrupt lines lead from devices to controllers, and from those to processors: whoever is told something
// while he is loaded is loaded after the teller.
void Pc::transfer(StateStream& s) {
  s.section("image", [&] { transfer_launch(s); });
  s(*machine_);
  s(pci_, chipset_);
  for (Socket& socket : cpus_) s.section(fmt::format("cpu {}", socket.cpu.index()), [&] { s(socket.cpu); });
  s.section("turns", [&] { s(turns_); });
  if (kvm_) s.section("hypercalls", [&] { s(*kvm_); });
}

void Pc::transfer_launch(StateStream& s) {
  s.text(protocol_, protocol_bytes_max);
  const std::size_t ranges = s.count(usable_ram_.size(), ram_ranges_max);
  if (s.loads()) usable_ram_.resize(ranges);
  for (mem::PhysRange& range : usable_ram_) {
    SavedRange saved{&range};
    s(saved);
  }
  bool launched = launch_.has_value();
  s(launched);
  s.require(launched == machine_->traits().launched_by_firmware, "it is that of another platform");
  if (!launched || !s.good()) return;
  if (s.loads()) launch_.emplace();
  s(launch_->handle, launch_->asid, launch_->policy, launch_->pages, launch_->digest,
    launch_->measurement.measure, launch_->measurement.nonce);
}

}  // namespace cbit::guest
