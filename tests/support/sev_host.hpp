// A machine with SEV's firmware, and a guest's owner: what tests of the host side need.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "machine/machine.hpp"
#include "support/small_machine.hpp"

namespace cbit::test {

inline constexpr PhysAddr guest_frame{0x20'0000};

// ASIDs 1 and 2 are SEV-ES', 3 to 6 the others'.
struct SevHost {
  explicit SevHost(std::uint64_t seed = 1, Platform platform = Platform::plain, bool rmp = false) {
    auto created = machine::Machine::create({.platform = platform,
                                             .memory_bytes = 64 << 20,
                                             .cpus = 2,
                                             .seed = seed,
                                             .sev = {.asids = 6, .min_sev_asid = 3},
                                             .rmp = rmp});
    EXPECT_TRUE(created);
    machine = std::move(*created);
    machine->tracer().attach(log);
  }
  SevHost(const SevHost&) = delete;
  ~SevHost() { machine->tracer().detach(log); }

  [[nodiscard]] machine::SevFirmware& firmware() const { return *machine->sev_firmware(); }

  // INIT with SEV-ES, WBINVD on both CPUs, DF_FLUSH.
  void initialize() {
    ASSERT_EQ(firmware().init({.es = true, .tmr_address = PtePhys{0x10'0000}, .tmr_len = 1 << 20}),
              spec::SevStatusCode::success);
    flush();
  }
  void flush() {
    for (unsigned cpu = 0; cpu < 2; ++cpu) firmware().wbinvd_executed(cpu);
    ASSERT_EQ(firmware().df_flush(), spec::SevStatusCode::success);
  }

  std::uint32_t start(spec::SevPolicy policy = {}) {
    machine::SevFirmware::LaunchStart request{.policy = policy};
    EXPECT_EQ(firmware().launch_start(request), spec::SevStatusCode::success);
    return request.handle;
  }
  // A guest that runs, with these contents at guest_frame.
  std::uint32_t running(ConstByteSpan image, unsigned asid = 3, spec::SevPolicy policy = {},
                        PhysAddr at = guest_frame) {
    const std::uint32_t handle = start(policy);
    EXPECT_EQ(firmware().activate(handle, asid), spec::SevStatusCode::success);
    put(at, image);
    EXPECT_EQ(
        firmware().launch_update_data(handle, PtePhys{at.value()}, static_cast<std::uint32_t>(image.size())),
        spec::SevStatusCode::success);
    spec::SevMeasurement measurement;
    std::uint32_t len = sizeof measurement;
    EXPECT_EQ(firmware().launch_measure(handle, len, measurement), spec::SevStatusCode::success);
    EXPECT_EQ(firmware().launch_finish(handle), spec::SevStatusCode::success);
    return handle;
  }

  void put(PhysAddr at, ConstByteSpan bytes) {
    ASSERT_TRUE(machine->memory().write(at, bytes, {{AgentKind::host, 0}, no_key, 0}));
  }
  [[nodiscard]] Bytes seen(PhysAddr at, std::size_t bytes, KeyId key) const {
    Bytes data(bytes);
    EXPECT_TRUE(machine->memory().peek(at, data, key));
    return data;
  }
  [[nodiscard]] spec::SevGuestState state(std::uint32_t handle) const {
    machine::SevFirmware::GuestStatus status;
    EXPECT_EQ(firmware().guest_status(handle, status), spec::SevStatusCode::success);
    return status.state;
  }

  EventLog log;
  std::unique_ptr<machine::Machine> machine;
};

// The person whose guest it is: chooses the transport keys.
struct GuestOwner {
  crypt::EcdhKey key{std::as_bytes(std::span{std::string_view{"owner"}})};
  machine::SevSessionRandom random{.keys = {crypt::derive_key(7, "tek"), crypt::derive_key(7, "tik")},
                                   .nonce = crypt::derive_key(7, "nonce"),
                                   .iv = crypt::derive_key(7, "iv")};

  [[nodiscard]] spec::SevCertificate certificate() const { return machine::make_certificate(key); }
  [[nodiscard]] spec::SevSession session(machine::SevFirmware& firmware, spec::SevPolicy policy) const {
    spec::SevCertificate platform;
    EXPECT_EQ(firmware.pdh_cert_export(platform), spec::SevStatusCode::success);
    const auto session = machine::open_session(key, platform, policy, random);
    EXPECT_TRUE(session);
    return *session;
  }
};

}  // namespace cbit::test
