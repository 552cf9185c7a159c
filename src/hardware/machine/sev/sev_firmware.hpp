// The AMD secure processor: SEV's firmware, which owns the guests' keys. AMD, "SEV API" (55766), chapters 5
// and 6; names and numbers as in include/linux/psp-sev.h.
//
// Contract: every command checks in the firmware's order (platform state, handle, guest state, activation,
// lengths, addresses, policy; where a command has another order its comment says so), and a command that does
// not succeed changes nothing, but for the lengths that it returns on invalid_length. Addresses are system
// physical, with the C-bit of the host (SME) where they point to the host's data; a guest's data is reached
// under the guest's key whatever the bit. Certificates, sessions and packets are given as the bytes that the
// kernel's driver copies for the firmware (psp_copy_user_blob).
//
// ASIDs: dirty after INIT and after a guest that ran; clean after WBINVD on all CPUs and DF_FLUSH; allocated
// to a guest that does not run yet; in use by one that does.
//
// Not here: signatures. Certificates are bare keys, so a guest whose policy demands a certificate chain of
// the receiver (SEV, DOMAIN) cannot be sent: invalid_certificate.
//
// Deterministic: keys, nonces and IVs come from the machine's seed. Threading: one thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/state_stream.hpp"
#include "base/trace.hpp"
#include "crypt/ecdh.hpp"
#include "machine/sev/sev_session.hpp"
#include "mem/key_layout.hpp"
#include "mem/memory.hpp"
#include "spec/sev.hpp"

namespace cbit::machine {

// CPUID 8000001F: what the processor can.
struct SevCapability {
  unsigned asids = 0;         // ECX: highest ASID; 0: no SEV. At most 1023
  unsigned min_sev_asid = 1;  // EDX: SEV-ES guests take 1 .. min_sev_asid - 1, the others the rest
};

class SevFirmware {
 public:
  struct Config {
    SevCapability capability;
    unsigned c_bit = 47;
    unsigned cpus = 1;
    std::uint64_t seed = 1;
  };
  SevFirmware(const Config& config, mem::Memory& memory, Tracer& tracer);

  [[nodiscard]] const SevCapability& capability() const { return config_.capability; }

  // ---- the platform ----
  struct Init {
    bool es = false;  // SEV_INIT_FLAGS_SEV_ES: needs a trusted memory region
    PtePhys tmr_address;
    std::uint32_t tmr_len = 0;
  };
  spec::SevStatusCode init(const Init& request);
  spec::SevStatusCode shutdown();  // from any state; all guests are gone
  struct PlatformStatus {
    spec::SevVersion version;
    spec::SevPlatformState state{};
    bool es = false;
    std::uint32_t guest_count = 0;
  };
  spec::SevStatusCode platform_status(PlatformStatus& status);
  spec::SevStatusCode df_flush();
  spec::SevStatusCode pdh_cert_export(spec::SevCertificate& certificate);

  // ---- guests ----
  spec::SevStatusCode decommission(std::uint32_t handle);
  spec::SevStatusCode activate(std::uint32_t handle, std::uint32_t asid);
  spec::SevStatusCode deactivate(std::uint32_t handle);
  struct GuestStatus {
    spec::SevPolicy policy;
    std::uint32_t asid = 0;
    spec::SevGuestState state{};
  };
  // An unknown handle is no error: its state is `invalid`.
  spec::SevStatusCode guest_status(std::uint32_t handle, GuestStatus& status);

  // ---- launch ----
  struct LaunchStart {
    std::uint32_t handle = 0;  // in: a guest to share the key with, 0: none; out: the new guest
    spec::SevPolicy policy;
    ConstByteSpan dh_cert;  // empty: no session; then the transport keys are zeros and the policy unchecked
    ConstByteSpan session;
  };
  spec::SevStatusCode launch_start(LaunchStart& request);
  spec::SevStatusCode launch_update_data(std::uint32_t handle, PtePhys address, std::uint32_t len);
  spec::SevStatusCode launch_update_vmsa(std::uint32_t handle, PtePhys address, std::uint32_t len);
  // `len`: in, the size of the caller's buffer; out, the size that is needed.
  spec::SevStatusCode launch_measure(std::uint32_t handle, std::uint32_t& len,
                                     spec::SevMeasurement& measurement);
  struct Packet {
    ConstByteSpan header;
    PtePhys guest_address;
    std::uint32_t guest_len = 0;
    ConstByteSpan data;
  };
  // Checks address and lengths before the guest's state.
  spec::SevStatusCode launch_secret(std::uint32_t handle, const Packet& packet);
  spec::SevStatusCode launch_finish(std::uint32_t handle);

  // ---- migration ----
  struct SendStart {
    ConstByteSpan pdh_cert;         // the receiver's
    std::uint32_t session_len = 0;  // in: of the caller's buffer; out: what is needed
    spec::SevPolicy policy;         // out
    spec::SevSession session;       // out
  };
  spec::SevStatusCode send_start(std::uint32_t handle, SendStart& request);
  struct SendUpdate {
    std::uint32_t hdr_len = 0;  // in: of the caller's buffer; out: what is needed
    PtePhys guest_address;
    std::uint32_t guest_len = 0;
    std::uint32_t trans_len = 0;  // of the caller's buffer
    SevPacket packet;             // out
  };
  spec::SevStatusCode send_update_data(std::uint32_t handle, SendUpdate& request);
  spec::SevStatusCode send_update_vmsa(std::uint32_t handle, SendUpdate& request);
  spec::SevStatusCode send_finish(std::uint32_t handle);
  spec::SevStatusCode send_cancel(std::uint32_t handle);
  struct ReceiveStart {
    std::uint32_t handle = 0;  // as in LaunchStart
    spec::SevPolicy policy;
    ConstByteSpan pdh_cert;  // the sender's
    ConstByteSpan session;
  };
  spec::SevStatusCode receive_start(ReceiveStart& request);
  spec::SevStatusCode receive_update_data(std::uint32_t handle, const Packet& packet);
  spec::SevStatusCode receive_update_vmsa(std::uint32_t handle, const Packet& packet);
  spec::SevStatusCode receive_finish(std::uint32_t handle);

  // ---- debugging ----
  // Whole 16-byte blocks. Addresses and length are checked before the handle.
  spec::SevStatusCode dbg_decrypt(std::uint32_t handle, PtePhys source, PtePhys target, std::uint32_t len);
  spec::SevStatusCode dbg_encrypt(std::uint32_t handle, PtePhys source, PtePhys target, std::uint32_t len);

  // ---- what the processor tells the firmware, and the firmware the processor ----
  // A CPU executed WBINVD.
  void wbinvd_executed(unsigned cpu);
  // VMRUN with this ASID enters a guest: it is bound to one that runs.
  [[nodiscard]] bool asid_is_valid(unsigned asid) const;

  // Of a firmware between commands, whose guests run: not one that is being launched.
  void transfer(StateStream& s);

 private:
  enum class AsidState : std::uint8_t { dirty, clean, allocated, in_use };
  struct Guest {
    spec::SevPolicy policy;
    spec::SevGuestState state{};
    crypt::Key128 key{};  // VEK
    unsigned asid = 0;    // 0: not activated
    SevTransportKeys transport;
    std::unique_ptr<crypt::Sha256> launch_digest;
    crypt::Sha256Digest measure{};
    void transfer(StateStream& s);
  };
  using Done = Result<void, spec::SevStatusCode>;

  // Runs the command and reports it.
  template <class Body>
  spec::SevStatusCode command(std::string_view name, const std::uint32_t& handle, Body&& body);
  [[nodiscard]] Result<Guest*, spec::SevStatusCode> find(std::uint32_t handle);
  [[nodiscard]] Done check_working() const;
  // A handle of a guest in that state.
  [[nodiscard]] Result<Guest*, spec::SevStatusCode> find(std::uint32_t handle, spec::SevGuestState state);
  // The key of a new guest that may share that of another; then it is admitted under the next handle.
  [[nodiscard]] Result<crypt::Key128, spec::SevStatusCode> key_for(std::uint32_t shared_with,
                                                                   spec::SevPolicy policy);
  // Reserved bits are zero and the firmware is new enough.
  [[nodiscard]] static Done check_version(spec::SevPolicy policy);
  [[nodiscard]] Done check_es(spec::SevPolicy policy) const;
  Result<std::uint32_t, spec::SevStatusCode> admit(Guest guest);
  void start_running(Guest& guest);

  // The host's data, under the key that the C-bit selects, and a guest's.
  [[nodiscard]] Done check_range(PtePhys address, std::uint64_t bytes) const;
  // The same for memory that the command writes under `key`: the RMP may keep it.
  [[nodiscard]] Done check_writable(PtePhys address, std::uint64_t bytes, KeyId key) const;
  [[nodiscard]] Bytes read_host(PtePhys address, std::uint64_t bytes);
  [[nodiscard]] Bytes read_guest(const Guest& guest, PtePhys address, std::uint64_t bytes);
  void write_host(PtePhys address, ConstByteSpan bytes);
  void write_guest(const Guest& guest, PtePhys address, ConstByteSpan bytes);
  [[nodiscard]] PhysAddr phys(PtePhys address) const { return view_.layout.split(address).first; }
  [[nodiscard]] KeyId host_key_of(PtePhys address) const { return view_.resolve(address).second; }

  Done activate_guest(std::uint32_t handle, std::uint32_t asid);
  Done launch_update(std::uint32_t handle, PtePhys address, std::uint32_t len, bool vmsa);
  Done put_secret(std::uint32_t handle, const Packet& packet);
  Done start_sending(std::uint32_t handle, SendStart& request);
  Done send_update(std::uint32_t handle, SendUpdate& request, bool vmsa);
  Done start_receiving(ReceiveStart& request);
  Done receive_update(std::uint32_t handle, const Packet& packet, bool vmsa);
  Result<Guest*, spec::SevStatusCode> check_debug(std::uint32_t handle, PtePhys source, PtePhys target,
                                                  std::uint32_t len);

  [[nodiscard]] crypt::Key128 random();

  Config config_;
  mem::Memory* memory_;
  Tracer* tracer_;
  mem::KeyView view_;   // of the addresses that the host gives
  crypt::EcdhKey pdh_;  // platform Diffie-Hellman key
  SiteId site_;
  std::uint64_t random_drawn_ = 0;

  spec::SevPlatformState state_ = spec::SevPlatformState::uninit;
  bool es_ = false;
  std::map<std::uint32_t, Guest> guests_;
  std::vector<AsidState> asids_;   // by ASID; 0 is nobody's
  std::vector<bool> wbinvd_done_;  // by CPU
};

template <class Body>
spec::SevStatusCode SevFirmware::command(std::string_view name, const std::uint32_t& handle, Body&& body) {
  const Done done = body();
  const spec::SevStatusCode status = done ? spec::SevStatusCode::success : done.error();
  const auto guest = guests_.find(handle);
  tracer_->emit({AgentKind::host, 0},
                SevCommand{name, handle, guest == guests_.end() ? 0 : guest->second.asid,
                           static_cast<std::uint32_t>(status)});
  return status;
}

}  // namespace cbit::machine
