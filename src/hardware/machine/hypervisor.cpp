#include "machine/hypervisor.hpp"

#include "base/assert.hpp"
#include "base/cost.hpp"
#include "machine/platform_traits.hpp"

namespace cbit::machine {

void Hypervisor::exit(Agent agent, std::string_view reason, std::uint64_t argument) {
  tracer_->emit(agent, GuestExit{reason, argument}, cost::hypercall_ns);
}

void Hypervisor::terminate(Agent agent, std::uint8_t reason_set, std::uint8_t reason) {
  exit(agent, "terminate", std::uint64_t{reason_set} << 8 | reason);
  terminated_ = true;
}

void Hypervisor::note_page_state(Agent agent, const PageState& told) {
  const mem::PhysRange& range = told.range;
  CBIT_ASSERT(range.first.is_aligned(page_size) && range.bytes % page_size == 0);
  tracer_->emit(agent,
                PageStateRequest{told.call, range.first, range.bytes / page_size, told.encrypted, told.site});
}

Result<void> Hypervisor::change_page_state(Agent agent, const PageState& wanted) {
  note_page_state(agent, wanted);
  const mem::PhysRange& range = wanted.range;
  const PlatformTraits& traits = traits_of(platform_);
  if (!traits.state_below_guest) return {};
  memory_->convert(range.first, range.bytes / page_size, wanted.encrypted, wanted.site);
  if (!traits.conversion_zeroes) return {};
  const KeyId key = view_.key(wanted.encrypted ? 1 : 0);
  return memory_->fill(range.first, range.bytes, std::byte{0}, {agent, key, tracer_->intern(wanted.call)});
}

}  // namespace cbit::machine
