#include "machine/sev/sev_firmware.hpp"

namespace cbit::machine {

void SevFirmware::Guest::transfer(StateStream& s) {
  s.choice(state, spec::SevGuestState::running);
  s.require(state == spec::SevGuestState::running && !launch_digest, "a guest does not run yet");
  s(policy, key, asid, transport.encryption, transport.integrity, measure);
}

void SevFirmware::transfer(StateStream& s) {
  s(random_drawn_, es_);
  s.choice(state_, spec::SevPlatformState::working);
  const std::size_t count = s.count(asids_.size(), asids_.size());
  s.require(count == asids_.size(), "its guests are those of another machine");
  if (!s.good()) return;
  for (AsidState& asid : asids_) s.choice(asid, AsidState::in_use);
  for (std::size_t cpu = 0; cpu < wbinvd_done_.size(); ++cpu) {
    bool done = wbinvd_done_[cpu];
    s(done);
    wbinvd_done_[cpu] = done;
  }
  // A guest has an ASID, or none.
  const std::size_t guests = s.count(guests_.size(), asids_.size());
  if (s.loads() && s.good()) guests_.clear();
  auto next = guests_.begin();
  for (std::size_t n = 0; n < guests && s.good(); ++n) {
    std::uint32_t handle = s.loads() ? 0 : next->first;
    s(handle);
    Guest& guest = s.loads() ? guests_[handle] : next++->second;
    s(guest);
    s.require(guest.asid < asids_.size(), "a guest has an ASID that there is not");
  }
}

}  // namespace cbit::machine
