// What a guest's owner relies on: the measurement, the secret, and that the host sees ciphertext.
#include <gtest/gtest.h>

#include <cbit/sev.hpp>
#include <cerrno>
#include <string_view>
#include <vector>

namespace {

using Bytes = std::vector<std::byte>;

Bytes text(std::string_view from, std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(from[i % from.size()]);
  return bytes;
}

const Bytes firmware = text("OVMF ", 8192);
const Bytes disk_key = text("0123456789abcdef", 32);

cbit::SevHost::GuestId launched(cbit::SevHost& host, std::uint32_t policy = 1) {
  const auto guest = host.create_guest({.policy = policy});
  host.launch_start(guest);
  host.launch_update(guest, 0, firmware);
  const auto measured = host.launch_measure(guest);
  if (host.owner_accepts(guest, measured, firmware)) host.launch_secret(guest, 0x8000, disk_key);
  host.launch_finish(guest);
  return guest;
}

TEST(SevLaunch, TheGuestGetsItsSecretAndTheHostCiphertext) {
  cbit::SevHost host;
  const auto guest = launched(host);
  EXPECT_EQ(host.guest_read(guest, 0x8000, 32), disk_key);
  EXPECT_NE(host.host_read(guest, 0x8000, 32), disk_key);
  EXPECT_NE(host.host_read(guest, 0, firmware.size()), firmware);
}

TEST(SevLaunch, ASevEsGuestIsMeasuredWithItsRegistersAndGetsItsSecret) {
  cbit::SevHost host{{.min_sev_asid = 4}};
  const auto guest = launched(host, 5);
  EXPECT_EQ(host.guest_read(guest, 0x8000, 32), disk_key);
}

TEST(SevLaunch, TheOwnerNoticesAnotherFirmware) {
  cbit::SevHost host;
  const auto guest = host.create_guest({});
  host.launch_start(guest);
  host.launch_update(guest, 0, text("OVMF with a back door ", 8192));
  EXPECT_FALSE(host.owner_accepts(guest, host.launch_measure(guest), firmware));
}

TEST(SevLaunch, ThePolicyDecidesAboutTheDebugger) {
  cbit::SevHost host;
  const auto open = launched(host, 0);
  EXPECT_EQ(host.debug_read(open, 0x8000, 32), disk_key);
  const auto closed = launched(host, 1);
  try {
    static_cast<void>(host.debug_read(closed, 0x8000, 32));
    FAIL() << "the firmware must refuse";
  } catch (const cbit::SevRefused& refused) {
    EXPECT_EQ(refused.error, EIO);
    EXPECT_EQ(refused.firmware, 7u);  // POLICY_FAILURE
  }
  EXPECT_EQ(host.problems(), std::vector<std::string>{"policy-forbids-debug"});
}

TEST(SevLaunch, SharedPagesAreTheWayToTalkToTheHost) {
  cbit::SevHost host;
  const auto guest = launched(host);
  const Bytes request = text("read sector 7", 64);
  host.guest_write(guest, 0xc000, request, /*encrypted=*/false);
  EXPECT_EQ(host.host_read(guest, 0xc000, 64), request);
  host.host_write(guest, 0xd000, request);
  EXPECT_NE(host.guest_read(guest, 0xd000, 64), request)
      << "a private mapping decrypts what was never encrypted";
  EXPECT_EQ(host.guest_read(guest, 0xd000, 64, /*encrypted=*/false), request);
}

TEST(SevLaunch, AGuestMovesWithTheHelpOfBothFirmwares) {
  cbit::SevHost here;
  cbit::SevHost there{{.seed = 2}};
  const auto guest = launched(here);
  const auto arrived = here.migrate(guest, there);
  EXPECT_EQ(there.guest_read(arrived, 0x8000, 32), disk_key);
  EXPECT_NE(there.host_read(arrived, 0x8000, 32), disk_key);
}

TEST(SevLaunch, AsidsAreFewAndComeBack) {
  cbit::SevHost host{{.asids = 1}};
  const auto first = launched(host);
  EXPECT_THROW(static_cast<void>(host.create_guest({})), cbit::SevRefused);
  host.destroy(first);
  EXPECT_EQ(host.guest_read(launched(host), 0x8000, 32), disk_key);
}

}  // namespace
