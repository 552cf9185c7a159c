#include "machine/sev/sev_firmware.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "crypt/mac.hpp"
#include "support/sev_host.hpp"

namespace cbit::machine {
namespace {

using test::guest_frame;
using test::GuestOwner;
using test::SevHost;
using enum spec::SevStatusCode;

constexpr spec::SevPolicy no_debug{{0x1}};
constexpr spec::SevPolicy es{{0x4}};
constexpr spec::SevPolicy no_send{{0x8}};
const PtePhys at_guest_frame{test::guest_frame.value()};

class SevFirmwareTest : public testing::Test {
 protected:
  SevFirmwareTest() { host.initialize(); }

  [[nodiscard]] SevFirmware& firmware() { return host.firmware(); }
  // A guest that is being launched, with an ASID.
  std::uint32_t launching(spec::SevPolicy policy = {}, unsigned asid = 3) {
    const std::uint32_t handle = host.start(policy);
    EXPECT_EQ(firmware().activate(handle, asid), success);
    return handle;
  }
  spec::SevMeasurement measure(std::uint32_t handle) {
    spec::SevMeasurement measurement;
    std::uint32_t len = sizeof measurement;
    EXPECT_EQ(firmware().launch_measure(handle, len, measurement), success);
    return measurement;
  }

  test::SevHost host;
  const Bytes image = pattern_bytes(8192, 5);
};

// ---- platform and ASIDs ---------------------------------------------------------------------------------

TEST(SevPlatform, CommandsNeedAnInitializedPlatform) {
  test::SevHost host;
  SevFirmware& firmware = host.firmware();
  SevFirmware::LaunchStart start;
  EXPECT_EQ(firmware.launch_start(start), invalid_platform_state);
  EXPECT_EQ(firmware.df_flush(), invalid_platform_state);
  EXPECT_EQ(firmware.decommission(1), invalid_platform_state);
  ASSERT_EQ(firmware.init({}), success);
  EXPECT_EQ(firmware.init({}), invalid_platform_state);
  // No guest yet: guests' commands need a working platform.
  EXPECT_EQ(firmware.activate(1, 3), invalid_platform_state);
  SevFirmware::PlatformStatus status;
  ASSERT_EQ(firmware.platform_status(status), success);
  EXPECT_EQ(status.state, spec::SevPlatformState::init);
  EXPECT_EQ(status.guest_count, 0u);
}

TEST(SevPlatform, SevEsNeedsAMebibyteOfTrustedMemory) {
  test::SevHost host;
  SevFirmware& firmware = host.firmware();
  EXPECT_EQ(firmware.init({.es = true, .tmr_address = PtePhys{0x10'0000}, .tmr_len = 0xff000}),
            invalid_length);
  EXPECT_EQ(firmware.init({.es = true, .tmr_address = PtePhys{0x18'0000}, .tmr_len = 1 << 20}),
            invalid_address);
  EXPECT_EQ(firmware.init({.es = true, .tmr_address = PtePhys{1ull << 40}, .tmr_len = 1 << 20}),
            invalid_address);
  EXPECT_EQ(firmware.init({.es = true, .tmr_address = PtePhys{0x10'0000}, .tmr_len = 1 << 20}), success);
}

TEST(SevPlatform, AFreshAsidNeedsAFlushAndTheFlushNeedsWbinvdOnEveryCpu) {
  test::SevHost host;
  SevFirmware& firmware = host.firmware();
  ASSERT_EQ(firmware.init({}), success);
  const std::uint32_t handle = host.start();
  EXPECT_EQ(firmware.activate(handle, 3), dfflush_required);
  EXPECT_EQ(firmware.df_flush(), wbinvd_required);
  firmware.wbinvd_executed(0);
  EXPECT_EQ(firmware.df_flush(), wbinvd_required);
  firmware.wbinvd_executed(1);
  EXPECT_EQ(firmware.df_flush(), success);
  EXPECT_EQ(firmware.activate(handle, 3), success);
}

TEST_F(SevFirmwareTest, AnAsidIsTakenOnceAndOnlyInItsRange) {
  const std::uint32_t first = host.start();
  const std::uint32_t second = host.start();
  EXPECT_EQ(firmware().activate(first, 0), invalid_asid);
  EXPECT_EQ(firmware().activate(first, 7), invalid_asid);
  EXPECT_EQ(firmware().activate(first, 2), invalid_asid) << "SEV-ES' range";
  EXPECT_EQ(firmware().activate(first, 3), success);
  EXPECT_EQ(firmware().activate(first, 4), active);
  EXPECT_EQ(firmware().activate(second, 3), asid_owned);
  const std::uint32_t third = host.start(es);
  EXPECT_EQ(firmware().activate(third, 4), invalid_asid);
  EXPECT_EQ(firmware().activate(third, 1), success);
}

TEST_F(SevFirmwareTest, AnAsidOfAGuestThatRanIsDirtyAndOneThatNeverRanIsNot) {
  const std::uint32_t first = launching();
  EXPECT_FALSE(firmware().asid_is_valid(3));
  EXPECT_EQ(firmware().deactivate(first), success);
  EXPECT_EQ(firmware().deactivate(first), inactive);
  EXPECT_EQ(firmware().activate(first, 3), success);

  const std::uint32_t second = host.running(image, 4);
  EXPECT_TRUE(firmware().asid_is_valid(4));
  EXPECT_EQ(firmware().decommission(second), active);
  EXPECT_EQ(firmware().deactivate(second), success);
  EXPECT_FALSE(firmware().asid_is_valid(4));
  EXPECT_EQ(firmware().activate(second, 4), dfflush_required);
  EXPECT_EQ(firmware().df_flush(), wbinvd_required);
  host.flush();
  EXPECT_EQ(firmware().activate(second, 4), success);
  EXPECT_TRUE(firmware().asid_is_valid(4)) << "the guest is running still";
}

TEST_F(SevFirmwareTest, TheLastDecommissionedGuestLeavesThePlatformInitialized) {
  const std::uint32_t handle = host.start();
  EXPECT_EQ(handle, 1u);
  EXPECT_EQ(host.start(), 2u);
  EXPECT_EQ(firmware().decommission(1), success);
  EXPECT_EQ(firmware().decommission(1), invalid_guest);
  EXPECT_EQ(host.start(), 1u) << "the lowest free handle";
  EXPECT_EQ(firmware().decommission(1), success);
  EXPECT_EQ(firmware().decommission(2), success);
  SevFirmware::PlatformStatus status;
  ASSERT_EQ(firmware().platform_status(status), success);
  EXPECT_EQ(status.state, spec::SevPlatformState::init);
}

TEST_F(SevFirmwareTest, AnUnknownGuestHasTheStateInvalid) {
  EXPECT_EQ(host.state(9), spec::SevGuestState::invalid);
}

TEST_F(SevFirmwareTest, ShutdownForgetsGuestsAndMakesAsidsDirty) {
  host.running(image);
  EXPECT_EQ(firmware().shutdown(), success);
  EXPECT_FALSE(firmware().asid_is_valid(3));
  ASSERT_EQ(firmware().init({}), success);
  EXPECT_EQ(host.state(1), spec::SevGuestState::invalid);
  EXPECT_EQ(firmware().activate(host.start(), 3), dfflush_required);
}

// ---- launch ---------------------------------------------------------------------------------------------

TEST_F(SevFirmwareTest, LaunchUpdateEncryptsInPlace) {
  const std::uint32_t handle = launching();
  host.put(test::guest_frame, image);
  ASSERT_EQ(firmware().launch_update_data(handle, at_guest_frame, 8192), success);
  EXPECT_EQ(host.seen(test::guest_frame, 8192, mem::guest_key(3)), image);
  EXPECT_NE(host.seen(test::guest_frame, 8192, no_key), image);
}

TEST_F(SevFirmwareTest, GuestsHaveKeysOfTheirOwnUnlessTheyShareOne) {
  host.running(image, 3);
  const Bytes first = host.seen(test::guest_frame, 8192, no_key);
  host.running(image, 4);  // the same bytes in the same frames
  EXPECT_NE(host.seen(test::guest_frame, 8192, no_key), first);
  EXPECT_EQ(host.seen(test::guest_frame, 8192, mem::guest_key(4)), image);

  SevFirmware::LaunchStart request{.handle = 1};
  ASSERT_EQ(firmware().launch_start(request), success);
  ASSERT_EQ(firmware().activate(request.handle, 5), success);
  host.put(test::guest_frame, image);
  ASSERT_EQ(firmware().launch_update_data(request.handle, at_guest_frame, 8192), success);
  EXPECT_EQ(host.seen(test::guest_frame, 8192, no_key), first);
}

TEST_F(SevFirmwareTest, KeysAreSharedOnlyWithAnEqualPolicyThatAllowsIt) {
  const std::uint32_t open = host.start();
  const std::uint32_t closed = host.start(spec::SevPolicy{{0x2}});
  SevFirmware::LaunchStart request{.handle = open, .policy = no_debug};
  EXPECT_EQ(firmware().launch_start(request), policy_failure);
  request = {.handle = closed, .policy = spec::SevPolicy{{0x2}}};
  EXPECT_EQ(firmware().launch_start(request), policy_failure);
  request = {.handle = 77};
  EXPECT_EQ(firmware().launch_start(request), invalid_guest);
  EXPECT_EQ(request.handle, 77u) << "a refused command returns nothing";
}

TEST(SevLaunch, SevEsGuestsNeedAPlatformThatHasIt) {
  test::SevHost host;
  ASSERT_EQ(host.firmware().init({}), success);
  SevFirmware::LaunchStart request{.policy = es};
  EXPECT_EQ(host.firmware().launch_start(request), unsupported);
}

TEST_F(SevFirmwareTest, LaunchUpdateChecksStateActivationAddressAndLength) {
  const std::uint32_t handle = host.start();
  EXPECT_EQ(firmware().launch_update_data(9, at_guest_frame, 16), invalid_guest);
  EXPECT_EQ(firmware().launch_update_data(handle, at_guest_frame, 16), inactive);
  ASSERT_EQ(firmware().activate(handle, 3), success);
  EXPECT_EQ(firmware().launch_update_data(handle, PtePhys{0x20'0008}, 16), invalid_address);
  EXPECT_EQ(firmware().launch_update_data(handle, at_guest_frame, 0), invalid_length);
  EXPECT_EQ(firmware().launch_update_data(handle, at_guest_frame, 24), invalid_length);
  EXPECT_EQ(firmware().launch_update_data(handle, PtePhys{64 << 20}, 16), invalid_address);
  EXPECT_EQ(firmware().launch_update_vmsa(handle, at_guest_frame, 64), invalid_length);
  EXPECT_EQ(firmware().launch_update_vmsa(handle, at_guest_frame, 4096), unsupported);
  measure(handle);
  EXPECT_EQ(firmware().launch_update_data(handle, at_guest_frame, 16), invalid_guest_state);
  EXPECT_EQ(host.seen(test::guest_frame, 64, no_key), Bytes(64)) << "nothing was written";
}

TEST_F(SevFirmwareTest, MeasureTellsTheLengthThatItNeeds) {
  const std::uint32_t handle = launching();
  spec::SevMeasurement measurement;
  std::uint32_t len = 0;
  EXPECT_EQ(firmware().launch_measure(handle, len, measurement), invalid_length);
  EXPECT_EQ(len, 48u);
  EXPECT_EQ(host.state(handle), spec::SevGuestState::launching);
  EXPECT_EQ(firmware().launch_finish(handle), invalid_guest_state);
  EXPECT_EQ(firmware().launch_measure(handle, len, measurement), success);
  EXPECT_EQ(firmware().launch_measure(handle, len, measurement), invalid_guest_state);
  EXPECT_EQ(firmware().launch_finish(handle), success);
  EXPECT_EQ(host.state(handle), spec::SevGuestState::running);
}

// The expected value was made with Python's hmac and hashlib.
TEST(SevLaunch, TheMeasurementFormulaIsThePublishedOne) {
  Bytes guest_image;
  for (int i = 0; i < 100; ++i)
    for (const char c : std::string_view{"guest image"}) guest_image.push_back(static_cast<std::byte>(c));
  crypt::Key128 tik;
  crypt::Block nonce;
  for (unsigned i = 0; i < 16; ++i) {
    tik[i] = std::byte(i);
    nonce[i] = std::byte(0x40 + i);
  }
  EXPECT_EQ(to_hex(launch_measure(tik, spec::SevVersion{}, spec::SevPolicy{{0x37010005}},
                                  crypt::sha256(guest_image), nonce)),
            "cae8d57fb923f8a5d3ecd0b211d2089a595a1baa96aa5b68b1f6ea966a394456");
}

TEST_F(SevFirmwareTest, TheOwnerVerifiesTheMeasurementWithOpenSslAlone) {
  const test::GuestOwner owner;
  const spec::SevSession session = owner.session(firmware(), no_debug);
  const spec::SevCertificate certificate = owner.certificate();
  SevFirmware::LaunchStart request{
      .policy = no_debug, .dh_cert = bytes_of(certificate), .session = bytes_of(session)};
  ASSERT_EQ(firmware().launch_start(request), success);
  ASSERT_EQ(firmware().activate(request.handle, 3), success);
  host.put(test::guest_frame, image);
  // In two pieces: the digest is of the bytes, not of the commands.
  ASSERT_EQ(firmware().launch_update_data(request.handle, at_guest_frame, 4096), success);
  ASSERT_EQ(firmware().launch_update_data(request.handle, PtePhys{0x20'1000}, 4096), success);
  const spec::SevMeasurement found = measure(request.handle);

  Bytes message{std::byte{4}, std::byte{1}, std::byte{55}, std::byte{8},
                std::byte{1}, std::byte{0}, std::byte{0},  std::byte{0}};
  std::array<unsigned char, 32> digest;
  unsigned size = 0;
  ASSERT_EQ(EVP_Digest(image.data(), image.size(), digest.data(), &size, EVP_sha256(), nullptr), 1);
  for (const unsigned char b : digest) message.push_back(std::byte{b});
  message.insert(message.end(), found.nonce.begin(), found.nonce.end());
  std::array<unsigned char, 32> expected;
  HMAC(EVP_sha256(), owner.random.keys.integrity.data(), 16,
       reinterpret_cast<const unsigned char*>(message.data()), message.size(), expected.data(), &size);
  EXPECT_EQ(to_hex(found.measure), to_hex(std::as_bytes(std::span{expected})));
}

TEST_F(SevFirmwareTest, ASessionThatWasTamperedWithIsRefused) {
  const test::GuestOwner owner;
  const spec::SevSession good = owner.session(firmware(), no_debug);
  const spec::SevCertificate certificate = owner.certificate();
  const auto launch = [&](const spec::SevSession& session, const spec::SevCertificate& cert,
                          spec::SevPolicy policy) {
    SevFirmware::LaunchStart request{
        .policy = policy, .dh_cert = bytes_of(cert), .session = bytes_of(session)};
    return firmware().launch_start(request);
  };
  EXPECT_EQ(launch(good, certificate, spec::SevPolicy{{0}}), bad_measurement)
      << "the host weakened the policy";
  spec::SevSession session = good;
  session.wrapped_keys[3] ^= std::byte{1};
  EXPECT_EQ(launch(session, certificate, no_debug), bad_measurement);
  session = good;
  session.nonce[0] ^= std::byte{1};
  EXPECT_EQ(launch(session, certificate, no_debug), bad_measurement);
  spec::SevCertificate other = certificate;
  other.x[0] ^= std::byte{1};
  EXPECT_EQ(launch(good, other, no_debug), invalid_certificate);
  other = certificate;
  other.usage = 0x1002;
  EXPECT_EQ(launch(good, other, no_debug), invalid_certificate);
  other = certificate;
  other.x[71] = std::byte{1};
  EXPECT_EQ(launch(good, other, no_debug), invalid_certificate);
  SevFirmware::LaunchStart request{.dh_cert = bytes_of(certificate), .session = ConstByteSpan{}};
  EXPECT_EQ(firmware().launch_start(request), invalid_length);
  SevFirmware::PlatformStatus status;
  ASSERT_EQ(firmware().platform_status(status), success);
  EXPECT_EQ(status.guest_count, 0u);
}

TEST_F(SevFirmwareTest, APolicyForANewerFirmwareOrWithReservedBitsIsRefused) {
  const test::GuestOwner owner;
  const spec::SevCertificate certificate = owner.certificate();
  for (const std::uint32_t raw : {0x38'01'00'00u, 0x00'02'00'00u, 0x40u}) {
    const spec::SevSession session = owner.session(firmware(), spec::SevPolicy{{raw}});
    SevFirmware::LaunchStart request{
        .policy = spec::SevPolicy{{raw}}, .dh_cert = bytes_of(certificate), .session = bytes_of(session)};
    EXPECT_EQ(firmware().launch_start(request), policy_failure) << raw;
  }
}

class SevSecretTest : public SevFirmwareTest {
 protected:
  SevSecretTest() {
    const spec::SevSession session = owner.session(firmware(), no_debug);
    const spec::SevCertificate certificate = owner.certificate();
    SevFirmware::LaunchStart request{
        .policy = no_debug, .dh_cert = bytes_of(certificate), .session = bytes_of(session)};
    EXPECT_EQ(firmware().launch_start(request), success);
    handle = request.handle;
    EXPECT_EQ(firmware().activate(handle, 3), success);
    measurement = measure(handle);
    sealed = seal_packet(owner.random.keys, spec::SevMacContext::secret, crypt::derive_key(9, "iv"), secret,
                         measurement.measure);
  }
  [[nodiscard]] SevFirmware::Packet packet() const {
    return {.header = bytes_of(sealed.header),
            .guest_address = at_guest_frame,
            .guest_len = static_cast<std::uint32_t>(sealed.data.size()),
            .data = sealed.data};
  }

  const test::GuestOwner owner;
  const Bytes secret = pattern_bytes(64, 8);
  std::uint32_t handle = 0;
  spec::SevMeasurement measurement;
  SevPacket sealed;
};

TEST_F(SevSecretTest, ReachesTheGuestAndNobodyElse) {
  ASSERT_EQ(firmware().launch_secret(handle, packet()), success);
  EXPECT_EQ(host.seen(test::guest_frame, 64, mem::guest_key(3)), secret);
  EXPECT_NE(host.seen(test::guest_frame, 64, no_key), secret);
}

// AES with `openssl enc -aes-128-ctr`, the MAC with Python's hmac.
TEST(SevSecret, PacketsAgreeWithIndependentOnes) {
  SevTransportKeys keys;
  crypt::Sha256Digest measure;
  for (unsigned i = 0; i < 16; ++i) {
    keys.encryption[i] = std::byte(0x10 + i);
    keys.integrity[i] = std::byte(i);
  }
  for (unsigned i = 0; i < 32; ++i) measure[i] = std::byte(i);
  crypt::Block iv{};
  iv[0] = std::byte{0xff};
  const std::string_view plain = "a packet of 32 bytes, no compres";
  const SevPacket packet =
      seal_packet(keys, spec::SevMacContext::secret, iv, std::as_bytes(std::span{plain}), measure);
  EXPECT_EQ(to_hex(packet.data), "58a2029773d6541aa7aa01cfc9e40b2a42bdb2bbf166f792364ec60d66218907");
  EXPECT_EQ(to_hex(packet.header.mac), "ab4e937bbfb73c657d957f90ea38f2df0dd9c9f7200b2afbeadaa4e5e6441132");
}

TEST_F(SevSecretTest, IsBoundToTheMeasurementAndRefusedWhenChanged) {
  spec::SevMeasurement other = measurement;
  other.measure[0] ^= std::byte{1};
  const SevPacket good = sealed;
  sealed = seal_packet(owner.random.keys, spec::SevMacContext::secret, crypt::derive_key(9, "iv"), secret,
                       other.measure);
  EXPECT_EQ(firmware().launch_secret(handle, packet()), bad_measurement);
  sealed = seal_packet(owner.random.keys, spec::SevMacContext::data, crypt::derive_key(9, "iv"), secret,
                       measurement.measure);
  EXPECT_EQ(firmware().launch_secret(handle, packet()), bad_measurement) << "a packet of another command";
  sealed = good;
  sealed.data[1] ^= std::byte{1};
  EXPECT_EQ(firmware().launch_secret(handle, packet()), bad_measurement);
  sealed = good;
  sealed.header.flags = {{1}};
  EXPECT_EQ(firmware().launch_secret(handle, packet()), bad_measurement) << "the flags are covered, too";
  EXPECT_EQ(host.seen(test::guest_frame, 64, no_key), Bytes(64));
}

TEST_F(SevSecretTest, LengthsAndAddressAreChecked) {
  auto bad = packet();
  bad.guest_len = 48;
  EXPECT_EQ(firmware().launch_secret(handle, bad), invalid_length);
  bad = packet();
  bad.header = bad.header.first(51);
  EXPECT_EQ(firmware().launch_secret(handle, bad), invalid_length);
  bad = packet();
  bad.guest_address = PtePhys{0x20'0001};
  EXPECT_EQ(firmware().launch_secret(handle, bad), invalid_address);
  bad = packet();
  bad.guest_address = PtePhys{(64ull << 20) - 16};
  EXPECT_EQ(firmware().launch_secret(handle, bad), invalid_address);
  ASSERT_EQ(firmware().deactivate(handle), success);
  EXPECT_EQ(firmware().launch_secret(handle, packet()), inactive);
  ASSERT_EQ(firmware().launch_finish(handle), success);
  EXPECT_EQ(firmware().launch_secret(handle, packet()), invalid_guest_state);
}

// ---- debugging ------------------------------------------------------------------------------------------

TEST_F(SevFirmwareTest, DebugDecryptGivesTheHostThePlainBytesIfThePolicyLetsIt) {
  const std::uint32_t handle = host.running(image);
  const PtePhys target{0x40'0000};
  ASSERT_EQ(firmware().dbg_decrypt(handle, at_guest_frame, target, 4096), success);
  EXPECT_EQ(host.seen(PhysAddr{0x40'0000}, 4096, no_key), Bytes(image.begin(), image.begin() + 4096));
  const Bytes patch = pattern_bytes(16, 3);
  host.put(PhysAddr{0x40'0000}, patch);
  ASSERT_EQ(firmware().dbg_encrypt(handle, target, at_guest_frame, 16), success);
  EXPECT_EQ(host.seen(test::guest_frame, 16, mem::guest_key(3)), patch);

  const std::uint32_t secretive = host.running(image, 4, no_debug, PhysAddr{0x30'0000});
  EXPECT_EQ(firmware().dbg_decrypt(secretive, PtePhys{0x30'0000}, target, 16), policy_failure);
  EXPECT_EQ(firmware().dbg_encrypt(secretive, target, PtePhys{0x30'0000}, 16), policy_failure);
}

TEST_F(SevFirmwareTest, DebugCommandsWorkOnBlocksOfAnActiveGuest) {
  const std::uint32_t handle = host.running(image);
  const PtePhys target{0x40'0000};
  EXPECT_EQ(firmware().dbg_decrypt(handle, PtePhys{0x20'0001}, target, 16), invalid_address);
  EXPECT_EQ(firmware().dbg_decrypt(handle, at_guest_frame, PtePhys{0x40'0008}, 16), invalid_address);
  EXPECT_EQ(firmware().dbg_decrypt(handle, at_guest_frame, target, 8), invalid_length);
  EXPECT_EQ(firmware().dbg_decrypt(99, at_guest_frame, target, 8), invalid_length) << "lengths come first";
  EXPECT_EQ(firmware().dbg_decrypt(99, at_guest_frame, target, 16), invalid_guest);
  ASSERT_EQ(firmware().deactivate(handle), success);
  EXPECT_EQ(firmware().dbg_decrypt(handle, at_guest_frame, target, 16), inactive);
}

// ---- migration ------------------------------------------------------------------------------------------

class SevMigrationTest : public SevFirmwareTest {
 protected:
  SevMigrationTest() : receiver{2} { receiver.initialize(); }

  // SEND_START on the sender, RECEIVE_START and ACTIVATE on the receiver.
  std::uint32_t connect(std::uint32_t handle) {
    spec::SevCertificate to;
    spec::SevCertificate from;
    EXPECT_EQ(receiver.firmware().pdh_cert_export(to), success);
    EXPECT_EQ(firmware().pdh_cert_export(from), success);
    SevFirmware::SendStart send{.pdh_cert = bytes_of(to), .session_len = sizeof(spec::SevSession)};
    EXPECT_EQ(firmware().send_start(handle, send), success);
    SevFirmware::ReceiveStart receive{
        .policy = send.policy, .pdh_cert = bytes_of(from), .session = bytes_of(send.session)};
    EXPECT_EQ(receiver.firmware().receive_start(receive), success);
    EXPECT_EQ(receiver.firmware().activate(receive.handle, 5), success);
    return receive.handle;
  }
  SevPacket send(std::uint32_t handle, PtePhys from = at_guest_frame) {
    SevFirmware::SendUpdate update{.hdr_len = sizeof(spec::SevPacketHeader),
                                   .guest_address = from,
                                   .guest_len = 4096,
                                   .trans_len = 4096};
    EXPECT_EQ(firmware().send_update_data(handle, update), success);
    return update.packet;
  }
  spec::SevStatusCode receive(std::uint32_t handle, const SevPacket& packet, PtePhys to) {
    return receiver.firmware().receive_update_data(
        handle,
        {.header = bytes_of(packet.header), .guest_address = to, .guest_len = 4096, .data = packet.data});
  }

  test::SevHost receiver;
};

TEST_F(SevMigrationTest, TheGuestsBytesArriveUnderAnotherKeyInAnotherFrame) {
  const std::uint32_t handle = host.running(image);
  const std::uint32_t arrived = connect(handle);
  EXPECT_EQ(host.state(handle), spec::SevGuestState::sending);
  EXPECT_EQ(receiver.state(arrived), spec::SevGuestState::receiving);
  const SevPacket packet = send(handle);
  const Bytes page{image.begin(), image.begin() + 4096};
  EXPECT_NE(packet.data, page);
  EXPECT_NE(packet.data, host.seen(test::guest_frame, 4096, no_key));
  ASSERT_EQ(receive(arrived, packet, PtePhys{0x30'0000}), success);
  EXPECT_EQ(receiver.seen(PhysAddr{0x30'0000}, 4096, mem::guest_key(5)), page);
  EXPECT_NE(receiver.seen(PhysAddr{0x30'0000}, 4096, no_key), page);
  EXPECT_EQ(firmware().send_finish(handle), success);
  EXPECT_EQ(receiver.firmware().receive_finish(arrived), success);
  EXPECT_EQ(host.state(handle), spec::SevGuestState::sent);
  EXPECT_EQ(receiver.state(arrived), spec::SevGuestState::running);
  EXPECT_TRUE(receiver.firmware().asid_is_valid(5));
  // A guest that was sent never runs here again.
  EXPECT_EQ(firmware().deactivate(handle), success);
  host.flush();
  EXPECT_EQ(firmware().activate(handle, 3), invalid_guest_state);
  EXPECT_EQ(firmware().decommission(handle), success);
}

TEST_F(SevMigrationTest, CopiedCiphertextIsWorthNothingOnTheOtherMachine) {
  host.running(image);
  const Bytes cipher = host.seen(test::guest_frame, 4096, no_key);
  receiver.running(image, 5);
  receiver.put(test::guest_frame, cipher);
  EXPECT_NE(receiver.seen(test::guest_frame, 4096, mem::guest_key(5)),
            Bytes(image.begin(), image.begin() + 4096));
}

TEST_F(SevMigrationTest, PacketsAreAuthenticAndNotForOtherGuests) {
  const std::uint32_t handle = host.running(image);
  const std::uint32_t arrived = connect(handle);
  SevPacket packet = send(handle);
  packet.data[100] ^= std::byte{1};
  EXPECT_EQ(receive(arrived, packet, PtePhys{0x30'0000}), bad_measurement);
  packet.data[100] ^= std::byte{1};
  packet.header.flags = {{1}};
  EXPECT_EQ(receive(arrived, packet, PtePhys{0x30'0000}), unsupported);
  packet.header.flags = {};
  EXPECT_EQ(receive(arrived, packet, PtePhys{0x30'0004}), invalid_address);
  EXPECT_EQ(receiver.seen(PhysAddr{0x30'0000}, 4096, no_key), Bytes(4096));
  EXPECT_EQ(receive(arrived, packet, PtePhys{0x30'0000}), success);
}

TEST_F(SevMigrationTest, SendingIsRefusedByPolicyStateAndLength) {
  spec::SevCertificate to;
  ASSERT_EQ(receiver.firmware().pdh_cert_export(to), success);
  SevFirmware::SendStart request{.pdh_cert = bytes_of(to)};
  const std::uint32_t fixed = host.running(image, 3, no_send);
  EXPECT_EQ(firmware().send_start(fixed, request), invalid_length);
  EXPECT_EQ(request.session_len, 128u);
  EXPECT_EQ(firmware().send_start(fixed, request), policy_failure);
  EXPECT_EQ(firmware().send_start(launching({}, 4), request), invalid_guest_state);
  const std::uint32_t at_home = host.running(image, 5, spec::SevPolicy{{0x10}}, PhysAddr{0x30'0000});
  EXPECT_EQ(firmware().send_start(at_home, request), invalid_certificate);
  const std::uint32_t handle = host.running(image, 6, {}, PhysAddr{0x38'0000});
  EXPECT_EQ(firmware().send_cancel(handle), invalid_guest_state);
  ASSERT_EQ(firmware().send_start(handle, request), success);
  SevFirmware::SendUpdate update{.guest_address = PtePhys{0x38'0000}, .guest_len = 32, .trans_len = 16};
  EXPECT_EQ(firmware().send_update_data(handle, update), invalid_length);
  EXPECT_EQ(update.hdr_len, 52u);
  EXPECT_EQ(firmware().send_update_data(handle, update), invalid_length) << "the buffer is too short";
  update.trans_len = 32;
  EXPECT_EQ(firmware().send_update_vmsa(handle, update), unsupported);
  EXPECT_EQ(firmware().send_update_data(handle, update), success);
  EXPECT_EQ(firmware().send_cancel(handle), success);
  EXPECT_EQ(host.state(handle), spec::SevGuestState::running);
}

TEST_F(SevMigrationTest, AReceiverThatIsNotMeantCannotOpenTheSession) {
  const std::uint32_t handle = host.running(image);
  spec::SevCertificate to;
  spec::SevCertificate from;
  ASSERT_EQ(receiver.firmware().pdh_cert_export(to), success);
  ASSERT_EQ(firmware().pdh_cert_export(from), success);
  SevFirmware::SendStart send{.pdh_cert = bytes_of(to), .session_len = sizeof(spec::SevSession)};
  ASSERT_EQ(firmware().send_start(handle, send), success);
  test::SevHost third{3};
  third.initialize();
  SevFirmware::ReceiveStart receive{.pdh_cert = bytes_of(from), .session = bytes_of(send.session)};
  EXPECT_EQ(third.firmware().receive_start(receive), bad_measurement);
}

// ---- SME hosts, RMP -------------------------------------------------------------------------------------

TEST(SevOnSme, TheCBitOfAnAddressSaysUnderWhichKeyTheHostsDataLies) {
  test::SevHost host{1, Platform::sme};
  host.initialize();
  const std::uint32_t handle = host.start();
  ASSERT_EQ(host.firmware().activate(handle, 3), success);
  const Bytes image = pattern_bytes(4096, 1);
  ASSERT_TRUE(
      host.machine->memory().write(test::guest_frame, image, {{AgentKind::cpu, 0}, mem::host_key, 0}));
  ASSERT_EQ(host.firmware().launch_update_data(handle, PtePhys{1ull << 47 | test::guest_frame.value()}, 4096),
            success);
  EXPECT_EQ(host.seen(test::guest_frame, 4096, mem::guest_key(3)), image);
}

TEST(SevWithRmp, TheFirmwareDoesNotWriteAPageOfAnotherGuest) {
  test::SevHost host{1, Platform::plain, true};
  host.initialize();
  const std::uint32_t handle = host.start();
  ASSERT_EQ(host.firmware().activate(handle, 3), success);
  host.machine->memory().rmp_update(test::guest_frame + 4096, mem::assigned_page(4, 0x10));
  EXPECT_EQ(host.firmware().launch_update_data(handle, at_guest_frame, 8192), invalid_address);
  EXPECT_EQ(host.firmware().launch_update_data(handle, at_guest_frame, 4096), success);
}

TEST_F(SevFirmwareTest, EveryCommandIsReported) {
  host.log.clear();
  const std::uint32_t handle = host.running(image);
  std::vector<std::string_view> names;
  for (const SevCommand& command : host.log.all<SevCommand>()) {
    names.push_back(command.command);
    EXPECT_EQ(command.status, 0u);
    EXPECT_EQ(command.handle, handle);
  }
  const std::vector<std::string_view> expected{"LAUNCH_START", "ACTIVATE", "LAUNCH_UPDATE_DATA",
                                               "LAUNCH_MEASURE", "LAUNCH_FINISH"};
  EXPECT_EQ(names, expected);
}

}  // namespace
}  // namespace cbit::machine
