// Random commands never bring the firmware into a state that its rules forbid.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/sev_host.hpp"

namespace cbit::machine {
namespace {

using test::guest_frame;
using test::SevHost;

std::map<std::uint32_t, SevFirmware::GuestStatus> guests_of(SevFirmware& firmware) {
  std::map<std::uint32_t, SevFirmware::GuestStatus> guests;
  for (std::uint32_t handle = 1; handle <= 6; ++handle) {
    SevFirmware::GuestStatus status;
    if (firmware.guest_status(handle, status) == spec::SevStatusCode::success &&
        status.state != spec::SevGuestState::invalid)
      guests[handle] = status;
  }
  return guests;
}

void check_invariants(SevFirmware& firmware) {
  const auto guests = guests_of(firmware);
  SevFirmware::PlatformStatus platform;
  RC_ASSERT(firmware.platform_status(platform) == spec::SevStatusCode::success);
  RC_ASSERT(platform.guest_count >= guests.size());
  RC_ASSERT((platform.state == spec::SevPlatformState::working) == (platform.guest_count != 0));
  std::set<unsigned> asids;
  for (const auto& [handle, guest] : guests) {
    if (guest.asid == 0) continue;
    RC_ASSERT(asids.insert(guest.asid).second);  // nobody shares one
    RC_ASSERT(guest.policy.get<spec::SevPolicy::Es>() == (guest.asid < 3));
    const bool runs = guest.state == spec::SevGuestState::running ||
                      guest.state == spec::SevGuestState::sending || guest.state == spec::SevGuestState::sent;
    RC_ASSERT(firmware.asid_is_valid(guest.asid) == runs);
  }
  for (unsigned asid = 0; asid < 10; ++asid)
    if (!asids.contains(asid)) RC_ASSERT(!firmware.asid_is_valid(asid));
}

// One command with arguments that are right or wrong.
void random_command(test::SevHost& host, const spec::SevCertificate& certificate) {
  SevFirmware& firmware = host.firmware();
  const auto handle = *rc::gen::inRange(0u, 6u);
  const PtePhys address{test::guest_frame.value() + *rc::gen::element(0u, 16u, 8u, 1u << 30)};
  const auto len = *rc::gen::element(0u, 16u, 24u, 4096u, 1u << 20);
  switch (*rc::gen::inRange(0, 22)) {
    case 0:
      static_cast<void>(firmware.init(
          {.es = *rc::gen::arbitrary<bool>(), .tmr_address = PtePhys{0x10'0000}, .tmr_len = 1 << 20}));
      break;
    case 1:
      if (*rc::gen::inRange(0, 8) == 0) static_cast<void>(firmware.shutdown());
      break;
    case 2: static_cast<void>(firmware.df_flush()); break;
    case 3: firmware.wbinvd_executed(*rc::gen::inRange(0u, 3u)); break;
    case 4: static_cast<void>(firmware.decommission(handle)); break;
    case 5:
    case 6: static_cast<void>(firmware.activate(handle, *rc::gen::inRange(0u, 8u))); break;
    case 7: static_cast<void>(firmware.deactivate(handle)); break;
    case 8:
    case 9: {
      SevFirmware::LaunchStart start{.handle = *rc::gen::element(0u, 0u, handle),
                                     .policy = spec::SevPolicy{{*rc::gen::inRange(0u, 16u)}}};
      static_cast<void>(firmware.launch_start(start));
      break;
    }
    case 10: static_cast<void>(firmware.launch_update_data(handle, address, len)); break;
    case 11: static_cast<void>(firmware.launch_update_vmsa(handle, address, len)); break;
    case 12: {
      spec::SevMeasurement measurement;
      std::uint32_t size = *rc::gen::element(0u, 48u);
      static_cast<void>(firmware.launch_measure(handle, size, measurement));
      break;
    }
    case 13: {
      const Bytes header(*rc::gen::element(52u, 51u, 0u));
      const Bytes data(*rc::gen::element(0u, 16u, 4096u));
      const SevFirmware::Packet packet{header, address, static_cast<std::uint32_t>(data.size()), data};
      static_cast<void>(firmware.launch_secret(handle, packet));
      static_cast<void>(firmware.receive_update_data(handle, packet));
      static_cast<void>(firmware.receive_update_vmsa(handle, packet));
      break;
    }
    case 14:
    case 15: static_cast<void>(firmware.launch_finish(handle)); break;
    case 16: {
      SevFirmware::SendStart send{.pdh_cert = bytes_of(certificate),
                                  .session_len = *rc::gen::element(0u, 128u)};
      if (firmware.send_start(handle, send) != spec::SevStatusCode::success) break;
      SevFirmware::ReceiveStart receive{
          .policy = send.policy, .pdh_cert = bytes_of(certificate), .session = bytes_of(send.session)};
      static_cast<void>(firmware.receive_start(receive));  // to itself
      break;
    }
    case 17: {
      SevFirmware::SendUpdate update{
          .hdr_len = 52, .guest_address = address, .guest_len = len, .trans_len = len};
      static_cast<void>(firmware.send_update_data(handle, update));
      static_cast<void>(firmware.send_update_vmsa(handle, update));
      break;
    }
    case 18: static_cast<void>(firmware.send_finish(handle)); break;
    case 19: static_cast<void>(firmware.send_cancel(handle)); break;
    case 20: static_cast<void>(firmware.receive_finish(handle)); break;
    case 21:
      static_cast<void>(firmware.dbg_decrypt(handle, address, PtePhys{0x40'0000}, len));
      static_cast<void>(firmware.dbg_encrypt(handle, PtePhys{0x40'0000}, address, len));
      break;
  }
}

TEST(SevFirmwareProperty, RandomCommandsKeepTheRules) {
  rc::check([] {
    test::SevHost host;
    host.initialize();
    spec::SevCertificate certificate;
    RC_ASSERT(host.firmware().pdh_cert_export(certificate) == spec::SevStatusCode::success);
    const auto commands = *rc::gen::inRange(1, 60);
    for (int i = 0; i < commands; ++i) {
      random_command(host, certificate);
      check_invariants(host.firmware());
    }
  });
}

// A refused command leaves states and memory as they were.
TEST(SevFirmwareProperty, ARefusedCommandChangesNothing) {
  rc::check([] {
    test::SevHost host;
    host.initialize();
    spec::SevCertificate certificate;
    RC_ASSERT(host.firmware().pdh_cert_export(certificate) == spec::SevStatusCode::success);
    const auto commands = *rc::gen::inRange(1, 40);
    for (int i = 0; i < commands; ++i) {
      const auto states = guests_of(host.firmware());
      const Bytes memory = host.seen(test::guest_frame, 8192, no_key);
      host.log.clear();
      random_command(host, certificate);
      const auto done = host.log.all<SevCommand>();
      if (std::ranges::any_of(done, [](const SevCommand& c) { return c.status == 0; })) continue;
      RC_ASSERT(host.seen(test::guest_frame, 8192, no_key) == memory);
      const auto now = guests_of(host.firmware());
      RC_ASSERT(now.size() == states.size());
      for (const auto& [handle, guest] : now)
        RC_ASSERT(states.at(handle).state == guest.state && states.at(handle).asid == guest.asid);
    }
  });
}

}  // namespace
}  // namespace cbit::machine
