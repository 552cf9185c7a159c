// Platform and ASIDs. Launch, debugging and migration have files of their own.
#include "machine/sev/sev_firmware.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::machine {
namespace {

constexpr std::uint32_t guests_max = 1024;

crypt::Key128 pdh_seed(std::uint64_t seed) { return crypt::derive_key(seed, "sev pdh"); }

}  // namespace

SevFirmware::SevFirmware(const Config& config, mem::Memory& memory, Tracer& tracer)
    : config_{config},
      memory_{&memory},
      tracer_{&tracer},
      view_{.layout = mem::KeyLayout::amd(config.c_bit), .encrypted_key = mem::host_key},
      pdh_{pdh_seed(config.seed)},
      site_{tracer.intern("sev firmware")},
      asids_(config.capability.asids + 1, AsidState::dirty),
      wbinvd_done_(config.cpus) {}

crypt::Key128 SevFirmware::random() {
  return crypt::derive_key(config_.seed, fmt::format("sev random {}", random_drawn_++));
}

// ---- lookups and checks ---------------------------------------------------------------------------------

SevFirmware::Done SevFirmware::check_working() const {
  if (state_ != spec::SevPlatformState::working)
    return spec::refused(spec::SevStatusCode::invalid_platform_state);
  return {};
}

Result<SevFirmware::Guest*, spec::SevStatusCode> SevFirmware::find(std::uint32_t handle) {
  CBIT_TRY(check_working());
  const auto found = guests_.find(handle);
  if (found == guests_.end()) return spec::refused(spec::SevStatusCode::invalid_guest);
  return &found->second;
}

Result<SevFirmware::Guest*, spec::SevStatusCode> SevFirmware::find(std::uint32_t handle,
                                                                   spec::SevGuestState state) {
  Guest* const guest = CBIT_TRY(find(handle));
  if (guest->state != state) return spec::refused(spec::SevStatusCode::invalid_guest_state);
  return guest;
}

Result<crypt::Key128, spec::SevStatusCode> SevFirmware::key_for(std::uint32_t shared_with,
                                                                spec::SevPolicy policy) {
  if (shared_with == 0) return random();
  const auto found = guests_.find(shared_with);
  if (found == guests_.end()) return spec::refused(spec::SevStatusCode::invalid_guest);
  const Guest& other = found->second;
  if (other.policy.raw != policy.raw || other.policy.get<spec::SevPolicy::NoKeySharing>())
    return spec::refused(spec::SevStatusCode::policy_failure);
  return other.key;
}

SevFirmware::Done SevFirmware::check_version(spec::SevPolicy policy) {
  const spec::SevVersion version;
  const auto wanted =
      std::pair{policy.get<spec::SevPolicy::ApiMajor>(), policy.get<spec::SevPolicy::ApiMinor>()};
  if (wanted > std::pair{version.major, version.minor} || policy.get<spec::SevPolicy::Reserved>() != 0)
    return spec::refused(spec::SevStatusCode::policy_failure);
  return {};
}

SevFirmware::Done SevFirmware::check_es(spec::SevPolicy policy) const {
  if (policy.get<spec::SevPolicy::Es>() && !es_) return spec::refused(spec::SevStatusCode::unsupported);
  return {};
}

Result<std::uint32_t, spec::SevStatusCode> SevFirmware::admit(Guest guest) {
  std::uint32_t handle = 1;
  for (const auto& [used, other] : guests_) {
    if (used != handle) break;
    ++handle;
  }
  if (handle > guests_max) return spec::refused(spec::SevStatusCode::resource_limit);
  guests_.emplace(handle, std::move(guest));
  state_ = spec::SevPlatformState::working;
  return handle;
}

// ---- memory ---------------------------------------------------------------------------------------------

SevFirmware::Done SevFirmware::check_range(PtePhys address, std::uint64_t bytes) const {
  if (!memory_->contains(phys(address), bytes)) return spec::refused(spec::SevStatusCode::invalid_address);
  return {};
}

SevFirmware::Done SevFirmware::check_writable(PtePhys address, std::uint64_t bytes, KeyId key) const {
  CBIT_TRY(check_range(address, bytes));
  const PhysAddr end = phys(address) + bytes;
  for (PhysAddr page = phys(address).page(); page < end; page += page_size) {
    const mem::RmpEntry entry = memory_->rmp(page);
    if (entry.assigned() && entry.owner() != key) return spec::refused(spec::SevStatusCode::invalid_address);
  }
  return {};
}

// The ranges were checked: these accesses cannot fail.
Bytes SevFirmware::read_host(PtePhys address, std::uint64_t bytes) {
  Bytes data(bytes);
  static_cast<void>(
      memory_->read(phys(address), data, {{AgentKind::loader, 0}, host_key_of(address), site_}));
  return data;
}

Bytes SevFirmware::read_guest(const Guest& guest, PtePhys address, std::uint64_t bytes) {
  Bytes data(bytes);
  static_cast<void>(
      memory_->read(phys(address), data, {{AgentKind::loader, 0}, mem::guest_key(guest.asid), site_}));
  return data;
}

void SevFirmware::write_host(PtePhys address, ConstByteSpan bytes) {
  static_cast<void>(
      memory_->write(phys(address), bytes, {{AgentKind::loader, 0}, host_key_of(address), site_}));
}

void SevFirmware::write_guest(const Guest& guest, PtePhys address, ConstByteSpan bytes) {
  static_cast<void>(
      memory_->write(phys(address), bytes, {{AgentKind::loader, 0}, mem::guest_key(guest.asid), site_}));
}

// ---- the platform ---------------------------------------------------------------------------------------

spec::SevStatusCode SevFirmware::init(const Init& request) {
  return command("INIT", 0, [&]() -> Done {
    if (state_ != spec::SevPlatformState::uninit)
      return spec::refused(spec::SevStatusCode::invalid_platform_state);
    if (request.es) {
      if (request.tmr_len < spec::sev_tmr_bytes) return spec::refused(spec::SevStatusCode::invalid_length);
      if (!phys(request.tmr_address).is_aligned(spec::sev_tmr_bytes))
        return spec::refused(spec::SevStatusCode::invalid_address);
      CBIT_TRY(check_range(request.tmr_address, request.tmr_len));
    }
    es_ = request.es;
    state_ = spec::SevPlatformState::init;
    std::ranges::fill(asids_, AsidState::dirty);
    wbinvd_done_.assign(config_.cpus, false);
    return {};
  });
}

spec::SevStatusCode SevFirmware::shutdown() {
  return command("SHUTDOWN", 0, [&]() -> Done {
    guests_.clear();
    state_ = spec::SevPlatformState::uninit;
    es_ = false;
    std::ranges::fill(asids_, AsidState::dirty);
    return {};
  });
}

spec::SevStatusCode SevFirmware::platform_status(PlatformStatus& status) {
  return command("PLATFORM_STATUS", 0, [&]() -> Done {
    status = {spec::SevVersion{}, state_, es_, static_cast<std::uint32_t>(guests_.size())};
    return {};
  });
}

spec::SevStatusCode SevFirmware::df_flush() {
  return command("DF_FLUSH", 0, [&]() -> Done {
    if (state_ == spec::SevPlatformState::uninit)
      return spec::refused(spec::SevStatusCode::invalid_platform_state);
    if (std::ranges::count(wbinvd_done_, false) != 0)
      return spec::refused(spec::SevStatusCode::wbinvd_required);
    std::ranges::replace(asids_, AsidState::dirty, AsidState::clean);
    return {};
  });
}

spec::SevStatusCode SevFirmware::pdh_cert_export(spec::SevCertificate& certificate) {
  return command("PDH_CERT_EXPORT", 0, [&]() -> Done {
    if (state_ == spec::SevPlatformState::uninit)
      return spec::refused(spec::SevStatusCode::invalid_platform_state);
    certificate = make_certificate(pdh_);
    return {};
  });
}

void SevFirmware::wbinvd_executed(unsigned cpu) {
  if (cpu < wbinvd_done_.size()) wbinvd_done_[cpu] = true;
}

bool SevFirmware::asid_is_valid(unsigned asid) const {
  return asid != 0 && asid < asids_.size() && asids_[asid] == AsidState::in_use;
}

// ---- guests ---------------------------------------------------------------------------------------------

spec::SevStatusCode SevFirmware::decommission(std::uint32_t handle) {
  return command("DECOMMISSION", handle, [&]() -> Done {
    const Guest* const guest = CBIT_TRY(find(handle));
    if (guest->asid != 0) return spec::refused(spec::SevStatusCode::active);
    guests_.erase(handle);
    if (guests_.empty()) state_ = spec::SevPlatformState::init;
    return {};
  });
}

spec::SevStatusCode SevFirmware::activate(std::uint32_t handle, std::uint32_t asid) {
  return command("ACTIVATE", handle, [&] { return activate_guest(handle, asid); });
}

SevFirmware::Done SevFirmware::activate_guest(std::uint32_t handle, std::uint32_t asid) {
  Guest* const guest = CBIT_TRY(find(handle));
  if (asid == 0 || asid > config_.capability.asids) return spec::refused(spec::SevStatusCode::invalid_asid);
  if (asids_[asid] == AsidState::in_use || asids_[asid] == AsidState::allocated)
    return spec::refused(spec::SevStatusCode::asid_owned);
  if (guest->asid != 0) return spec::refused(spec::SevStatusCode::active);
  if (guest->state == spec::SevGuestState::sent)
    return spec::refused(spec::SevStatusCode::invalid_guest_state);
  if (asids_[asid] == AsidState::dirty) return spec::refused(spec::SevStatusCode::dfflush_required);
  if (guest->policy.get<spec::SevPolicy::Es>() != (asid < config_.capability.min_sev_asid))
    return spec::refused(spec::SevStatusCode::invalid_asid);
  memory_->rekey(mem::guest_key(asid), guest->key);
  guest->asid = asid;
  asids_[asid] = AsidState::allocated;
  if (guest->state == spec::SevGuestState::running || guest->state == spec::SevGuestState::sending)
    start_running(*guest);
  return {};
}

// From here on VMRUN takes the ASID, and what the guest does leaves traces in caches.
void SevFirmware::start_running(Guest& guest) {
  if (guest.asid != 0) asids_[guest.asid] = AsidState::in_use;
}

spec::SevStatusCode SevFirmware::deactivate(std::uint32_t handle) {
  return command("DEACTIVATE", handle, [&]() -> Done {
    Guest* const guest = CBIT_TRY(find(handle));
    if (guest->asid == 0) return spec::refused(spec::SevStatusCode::inactive);
    const bool ran = asids_[guest->asid] == AsidState::in_use;
    asids_[guest->asid] = ran ? AsidState::dirty : AsidState::clean;
    if (ran) wbinvd_done_.assign(config_.cpus, false);
    guest->asid = 0;
    return {};
  });
}

spec::SevStatusCode SevFirmware::guest_status(std::uint32_t handle, GuestStatus& status) {
  return command("GUEST_STATUS", handle, [&]() -> Done {
    if (state_ == spec::SevPlatformState::uninit)
      return spec::refused(spec::SevStatusCode::invalid_platform_state);
    const auto found = guests_.find(handle);
    status = {};
    if (found != guests_.end()) status = {found->second.policy, found->second.asid, found->second.state};
    return {};
  });
}

}  // namespace cbit::machine
