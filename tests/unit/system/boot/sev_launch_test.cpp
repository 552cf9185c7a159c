#include "boot/sev_launch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/kernel_file.hpp"
#include "boot/load.hpp"
#include "crypt/mac.hpp"
#include "machine/sev/sev_session.hpp"
#include "support/boot_board.hpp"
#include "support/boot_images.hpp"
#include "support/small_machine.hpp"

namespace cbit::boot {
namespace {

using testing::HasSubstr;

std::unique_ptr<machine::Machine> machine_of(Platform platform, machine::GuestKeySource key_source,
                                             unsigned cpus = 1,
                                             mem::CacheModel cache = mem::CacheModel::coherent) {
  auto machine = machine::Machine::create({.platform = platform,
                                           .memory_bytes = 64 << 20,
                                           .cpus = cpus,
                                           .cache = cache,
                                           .key_source = key_source});
  EXPECT_TRUE(machine) << machine.error().message;
  return machine ? std::move(*machine) : nullptr;
}

// A machine with a kernel to load.
struct Loaded {
  explicit Loaded(Platform platform = Platform::sev,
                  machine::GuestKeySource key_source = machine::GuestKeySource::firmware, unsigned cpus = 1,
                  mem::CacheModel cache = mem::CacheModel::coherent)
      : machine{machine_of(platform, key_source, cpus, cache)},
        plan{*plan_image(board_of(*machine, {}), {.name = "vmlinuz",
                                                  .kernel = kernel,
                                                  .modules = {{"initrd", initrd}},
                                                  .command_line = "quiet"})} {}

  Bytes kernel = test::FakeBzImage{}.file();
  Bytes initrd = pattern_bytes(0x2345, 11);
  std::unique_ptr<machine::Machine> machine;
  LoadPlan plan;

  [[nodiscard]] Bytes seen(PhysAddr at, std::size_t bytes, KeyId key) const {
    Bytes data(bytes);
    EXPECT_TRUE(machine->memory().peek(at, data, key));
    return data;
  }
};

constexpr PhysAddr kernel_at{0x100'0000};

TEST(LoadPlain, PutsEveryPageIntoPlainMemory) {
  for (const Platform platform : {Platform::plain, Platform::sme}) {
    const Loaded loaded{platform, machine::GuestKeySource::derived};
    ASSERT_TRUE(load_plain(*loaded.machine, loaded.plan));
    EXPECT_EQ(loaded.seen(kernel_at, 0x8000, no_key), test::FakeBzImage{}.code());
    EXPECT_EQ(loaded.machine->memory().history(kernel_at).writer.kind, AgentKind::loader);
  }
}

TEST(Machine, HasAFirmwareBelowItOnlyWhereItIsLaunched) {
  const auto derived = machine_of(Platform::sev, machine::GuestKeySource::derived);
  EXPECT_EQ(derived->launch_firmware(), nullptr);
  EXPECT_TRUE(derived->keys().installed(mem::guest_key(machine::guest_asid)));
  const auto launched = machine_of(Platform::sev, machine::GuestKeySource::firmware);
  ASSERT_NE(launched->launch_firmware(), nullptr);
  EXPECT_EQ(launched->sev_firmware(), nullptr) << "a guest's processor has no SEV for guests of its own";
  EXPECT_FALSE(launched->keys().installed(mem::guest_key(machine::guest_asid)));
}

TEST(Machine, IsLaunchedOnPlatformSevOnly) {
  for (const Platform platform : platforms) {
    const auto machine =
        machine::Machine::create({.platform = platform, .key_source = machine::GuestKeySource::firmware});
    EXPECT_EQ(machine.has_value(), platform == Platform::sev) << to_string(platform);
  }
}

TEST(SevLaunch, EncryptsWhatIsLoadedUnderAKeyOfTheFirmwares) {
  const Loaded loaded;
  const auto report = launch(*loaded.machine, loaded.plan, {});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->asid, machine::guest_asid);
  const Bytes code = test::FakeBzImage{}.code();
  EXPECT_EQ(loaded.seen(kernel_at, code.size(), mem::guest_key(machine::guest_asid)), code);
  // Nobody else reads it, not in a single block.
  const Bytes host = loaded.seen(kernel_at, code.size(), no_key);
  Bytes raw(code.size());
  ASSERT_TRUE(loaded.machine->memory().probe(kernel_at, raw));
  EXPECT_EQ(host, raw);
  for (std::size_t block = 0; block < code.size(); block += 16)
    EXPECT_NE(Bytes(host.begin() + static_cast<std::ptrdiff_t>(block),
                    host.begin() + static_cast<std::ptrdiff_t>(block) + 16),
              Bytes(code.begin() + static_cast<std::ptrdiff_t>(block),
                    code.begin() + static_cast<std::ptrdiff_t>(block) + 16));
  EXPECT_TRUE(loaded.machine->launch_firmware()->asid_is_valid(machine::guest_asid));
}

TEST(SevLaunch, LeavesWhatIsNotLoadedAsNoiseToTheGuest) {
  const Loaded loaded;
  ASSERT_TRUE(launch(*loaded.machine, loaded.plan, {}));
  EXPECT_NE(loaded.seen(PhysAddr{0x300'0000}, 64, mem::guest_key(machine::guest_asid)), Bytes(64));
  EXPECT_EQ(loaded.seen(PhysAddr{0x9'f000}, page_size, mem::guest_key(machine::guest_asid)), Bytes(page_size))
      << "where an EBDA would be zeros are loaded";
}

// The measurement as docs/sev-launch.md has it, without a session: a key of zeros.
TEST(SevLaunch, MeasuresThePagesInOrderOfAddress) {
  const Loaded loaded;
  Bytes image;
  std::uint64_t pages = 0;
  ASSERT_TRUE(loaded.plan.for_each_page([&](PhysAddr, auto contents) -> OrError<void> {
    image.insert(image.end(), contents.begin(), contents.end());
    ++pages;
    return {};
  }));
  const auto report = launch(*loaded.machine, loaded.plan, {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->pages, pages);
  EXPECT_EQ(report->digest, crypt::sha256(image));
  const std::uint8_t head[] = {4, 1, 55, 8, 1, 0, 0, 0};
  const crypt::Key128 zeros{};
  EXPECT_EQ(
      report->measurement.measure,
      crypt::hmac_sha256(zeros, {std::as_bytes(std::span{head}), report->digest, report->measurement.nonce}));
}

TEST(SevLaunch, GivesTheSameDigestAndCiphertextForTheSameImageAndSeed) {
  const Loaded first, second;
  const auto one = launch(*first.machine, first.plan, {}), two = launch(*second.machine, second.plan, {});
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->digest, two->digest);
  EXPECT_EQ(one->measurement.measure, two->measurement.measure);
  EXPECT_EQ(first.seen(kernel_at, 0x1000, no_key), second.seen(kernel_at, 0x1000, no_key));
}

TEST(SevLaunch, HasADigestThatChangesWithEveryPartOfTheImage) {
  const Bytes kernel = test::FakeBzImage{}.file(),
              other_kernel = test::FakeBzImage{.in_code = "SEV-SNP supported indicated by CC blob!"}.file();
  const Bytes initrd = pattern_bytes(100, 1), other_initrd = pattern_bytes(100, 2);
  const auto digest = [](const Bytes& image, const Bytes& ramdisk, const char* line, unsigned cpus) {
    Board board = test::small_board(Platform::sev);
    board.pc.cpus = cpus;
    return launch_digest(*plan_image(
        board, {.name = "k", .kernel = image, .modules = {{"i", ramdisk}}, .command_line = line}));
  };
  const crypt::Sha256Digest base = digest(kernel, initrd, "quiet", 1);
  EXPECT_EQ(digest(kernel, initrd, "quiet", 1), base);
  EXPECT_NE(digest(other_kernel, initrd, "quiet", 1), base);
  EXPECT_NE(digest(kernel, other_initrd, "quiet", 1), base);
  EXPECT_NE(digest(kernel, initrd, "quieu", 1), base);
  EXPECT_NE(digest(kernel, initrd, "quiet", 2), base);
}

TEST(SevLaunch, WaitsForTheOwnersSecretBetweenMeasurementAndEnd) {
  const Loaded loaded;
  const crypt::EcdhKey owner{crypt::Key128{std::byte{9}}};
  machine::SevFirmware& firmware = *loaded.machine->launch_firmware();
  ASSERT_EQ(firmware.init({}), spec::SevStatusCode::success);
  spec::SevCertificate pdh;
  ASSERT_EQ(firmware.pdh_cert_export(pdh), spec::SevStatusCode::success);
  const spec::SevPolicy policy{{0x1}};
  machine::SevSessionRandom random{.keys = {.encryption = {std::byte{1}}, .integrity = {std::byte{2}}}};
  const auto session = machine::open_session(owner, pdh, policy, random);
  ASSERT_TRUE(session);
  const spec::SevCertificate certificate = machine::make_certificate(owner);
  auto begun =
      SevLaunch::begin(*loaded.machine, loaded.plan,
                       {.policy = policy, .dh_cert = bytes_of(certificate), .session = bytes_of(*session)});
  ASSERT_TRUE(begun) << begun.error().message;
  const SevLaunchReport& report = begun->report();
  EXPECT_EQ(report.measurement.measure,
            machine::launch_measure(random.keys.integrity, spec::SevVersion{}, policy,
                                    launch_digest(loaded.plan), report.measurement.nonce));
  const Bytes secret = pattern_bytes(32, 77);
  const PhysAddr at{0x200'0000};
  const machine::SevPacket packet = machine::seal_packet(random.keys, spec::SevMacContext::secret,
                                                         crypt::Block{}, secret, report.measurement.measure);
  Bytes changed = packet.data;
  changed[0] ^= std::byte{1};
  const auto refused = begun->put_secret(at, bytes_of(packet.header), changed);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("LAUNCH_SECRET: the firmware says BAD_MEASUREMENT"));
  ASSERT_TRUE(begun->put_secret(at, bytes_of(packet.header), packet.data));
  EXPECT_EQ(loaded.seen(at, secret.size(), mem::guest_key(machine::guest_asid)), secret);
  ASSERT_TRUE(begun->finish());
  EXPECT_FALSE(begun->put_secret(at, bytes_of(packet.header), packet.data));
}

TEST(SevLaunch, FlushesEveryCpuBeforeTheAsidIsUsed) {
  const Loaded loaded{Platform::sev, machine::GuestKeySource::firmware, 4};
  EXPECT_TRUE(launch(*loaded.machine, loaded.plan, {}));
}

TEST(SevLaunch, LeavesNoHazardInCachesThatAreNotCoherent) {
  const Loaded loaded{Platform::sev, machine::GuestKeySource::firmware, 1, mem::CacheModel::bite};
  ASSERT_TRUE(launch(*loaded.machine, loaded.plan, {}));
  EXPECT_EQ(loaded.seen(kernel_at, 0x8000, mem::guest_key(machine::guest_asid)), test::FakeBzImage{}.code());
  EXPECT_EQ(loaded.machine->memory().stats().hazards, 0u);
}

TEST(SevLaunch, GoesThroughTheFirmwaresCommandsPageByPage) {
  const Loaded loaded;
  test::EventLog log;
  loaded.machine->tracer().attach(log);
  const auto report = launch(*loaded.machine, loaded.plan, {});
  loaded.machine->tracer().detach(log);
  ASSERT_TRUE(report);
  std::vector<std::string> commands;
  std::uint64_t updates = 0;
  for (const SevCommand& command : log.all<SevCommand>()) {
    EXPECT_EQ(command.status, 0u);
    if (command.command == "LAUNCH_UPDATE_DATA")
      ++updates;
    else
      commands.emplace_back(command.command);
  }
  EXPECT_EQ(commands, (std::vector<std::string>{"PLATFORM_STATUS", "INIT", "DF_FLUSH", "LAUNCH_START",
                                                "ACTIVATE", "LAUNCH_MEASURE", "LAUNCH_FINISH"}));
  EXPECT_EQ(updates, report->pages);
}

TEST(SevLaunch, SaysWhatTheFirmwareRefuses) {
  const Loaded loaded;
  const auto too_new =
      launch(*loaded.machine, loaded.plan, {.policy = spec::SevPolicy{{0x1}}, .dh_cert = Bytes(3)});
  ASSERT_FALSE(too_new);
  EXPECT_THAT(too_new.error().message, HasSubstr("LAUNCH_START: the firmware says INVALID_LEN"));
  ASSERT_TRUE(launch(*loaded.machine, loaded.plan, {}));
  const auto again = launch(*loaded.machine, loaded.plan, {});
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("ACTIVATE: the firmware says ASID_OWNED"));
  const Loaded plain{Platform::plain, machine::GuestKeySource::derived};
  const auto none = launch(*plain.machine, plain.plan, {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ExitCode::usage);
}

}  // namespace
}  // namespace cbit::boot
