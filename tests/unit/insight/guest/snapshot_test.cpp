// A guest of a few instructions, which asks for its command as the initramfs's init does.
#include "guest/snapshot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/state_stream.hpp"
#include "guest/run.hpp"
#include "support/guest_images.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::guest {
namespace {

using test::GuestCode;
using testing::HasSubstr;

constexpr std::uint64_t saved_limit_ns = 50'000'000;
constexpr std::uint32_t kept_at = 0x60'0000;
const SnapshotFacts facts{{"the memory", "16 MiB"}, {"the kernel", "one"}};
const std::string remedy = "remove it";

// Keeps a word in memory, asks at COM2, and writes what it is given there to port E9h, up to an exclamation
// mark; then the word's first byte.
Bytes asking_image() {
  return GuestCode{}
      .store(kept_at, 0x4b)  // 'K'
      .debug("boot ")
      .serial("\x03", 0x2fc)  // DTR and RTS, and the receiver's interrupt: the other side may send
      .serial("\x01", 0x2f9)
      .serial("\x05", 0x2f8)
      .bytes({0x66, 0xba, 0xfd, 0x02, 0xec, 0xa8, 0x01, 0x74, 0xfb})  // mov dx, 2fdh; in; test al, 1; jz
      .bytes({0x66, 0xba, 0xf8, 0x02, 0xec, 0xe6, 0xe9})              // mov dx, 2f8h; in al, dx; out e9h, al
      .bytes({0x3c, 0x21, 0x75, 0xec})                                // cmp al, '!'; jne to the first
      .bytes({0xa0})
      .dword(kept_at)
      .bytes({0xe6, 0xe9})  // mov al, [kept_at]; out e9h, al
      .exit(1)
      .multiboot();
}

struct RunOutcome {
  RunReport report;
  std::string debug;
  std::uint64_t instructions = 0;
};

class Snapshots : public testing::TestWithParam<PcConfig> {
 protected:
  [[nodiscard]] std::string path(std::string_view name) const { return folder_.file(std::string{name}); }
  [[nodiscard]] std::unique_ptr<Pc> made() const {
    auto pc = Pc::create(GetParam());
    EXPECT_TRUE(pc) << pc.error().message;
    for (const auto& [kind, slot] : {std::pair{"virtio-rng", 3u}, {"virtio-console", 4u}, {"test-dma", 5u}}) {
      const auto plugged = (*pc)->plug(*machine::parse_device(kind), slot);
      EXPECT_TRUE(plugged) << plugged.error().message;
    }
    return std::move(*pc);
  }
  // Boots, saves, and goes on.
  RunOutcome boot(std::string_view command, const std::string& to) {
    const auto pc = made();
    const Bytes image = asking_image();
    EXPECT_TRUE(pc->load({.name = "image", .kernel = image, .command_line = ""}));
    Handover handover{command, [&] { return save_snapshot(*pc, facts, to); }};
    return run_with(*pc, handover);
  }
  RunOutcome go_on(std::string_view command, const std::string& from) {
    const auto pc = made();
    const auto loaded = load_snapshot(*pc, facts, from, remedy);
    EXPECT_TRUE(loaded) << loaded.error().message;
    Handover handover{command, {}};
    return run_with(*pc, handover);
  }
  static RunOutcome run_with(Pc& pc, Handover& handover) {
    RunOutcome outcome;
    RunOptions options;
    options.limits.virtual_ns = saved_limit_ns;
    options.handover = &handover;
    options.debug_console.output = [&](std::string_view text) { outcome.debug += text; };
    outcome.report = run(pc, options);
    outcome.instructions = pc.instructions();
    return outcome;
  }
  static Bytes contents(const std::string& file) {
    std::ifstream in{file, std::ios::binary};
    Bytes bytes(std::filesystem::file_size(file));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<long>(bytes.size()));
    return bytes;
  }
  std::string refusal(const std::string& file, const SnapshotFacts& wanted = facts) {
    const auto pc = made();
    const auto loaded = load_snapshot(*pc, wanted, file, remedy);
    if (loaded) return "loaded";
    EXPECT_EQ(loaded.error().code, ExitCode::bad_input);
    EXPECT_EQ(loaded.error().hint, remedy);
    return loaded.error().message;
  }

  test::TemporaryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(
    Machines, Snapshots,
    testing::Values(PcConfig{.memory_bytes = 16 << 20},
                    PcConfig{.platform = Platform::sev, .memory_bytes = 16 << 20, .kvm_interface = true},
                    PcConfig{.platform = Platform::sme, .memory_bytes = 16 << 20},
                    PcConfig{.memory_bytes = 16 << 20, .cpus = 2}));

TEST_P(Snapshots, GoOnAsTheRunDidThatMadeThem) {
  const RunOutcome first = boot("ab!", path("s"));
  EXPECT_EQ(first.debug, "boot 3\nab!K");
  EXPECT_EQ(first.report.ending, Ending::exited);
  const RunOutcome again = go_on("ab!", path("s"));
  EXPECT_EQ(again.debug, "3\nab!K");
  EXPECT_EQ(again.report.exit_status, first.report.exit_status);
  EXPECT_EQ(again.report.virtual_ns, first.report.virtual_ns);
  EXPECT_EQ(again.instructions, first.instructions);
  EXPECT_LT(again.report.instructions, first.report.instructions);
}

TEST_P(Snapshots, AreGivenTheCommandOfTheRunThatGoesOn) {
  boot("ab!", path("s"));
  EXPECT_EQ(go_on("another!", path("s")).debug, "8\nanother!K");
  EXPECT_EQ(go_on("!", path("s")).debug, "1\n!K");
}

// All that is in a file comes back, or the second would differ.
TEST_P(Snapshots, AreTheSameToTheByteWhenSavedAgain) {
  boot("!", path("s"));
  const auto pc = made();
  ASSERT_TRUE(load_snapshot(*pc, facts, path("s"), remedy));
  ASSERT_TRUE(save_snapshot(*pc, facts, path("again")));
  const Bytes first = contents(path("s"));
  const Bytes again = contents(path("again"));
  ASSERT_EQ(first.size(), again.size());
  EXPECT_EQ(std::memcmp(first.data(), again.data(), first.size()), 0);
}

TEST_P(Snapshots, HaveMemoryAsDramHasItAndAreForNobodyElse) {
  boot("!", path("s"));
  const auto pc = made();
  ASSERT_TRUE(load_snapshot(*pc, facts, path("s"), remedy));
  std::array<std::byte, 16> dram;
  ASSERT_TRUE(pc->machine().memory().probe(PhysAddr{kept_at}, dram));
  const Bytes file = contents(path("s"));
  const std::size_t memory = file.size() - GetParam().memory_bytes;
  EXPECT_TRUE(std::equal(dram.begin(), dram.end(), file.begin() + static_cast<long>(memory + kept_at)));
  const bool is_plain = dram[0] == std::byte{'K'};
  EXPECT_EQ(is_plain, GetParam().platform != Platform::sev);
  struct stat info{};
  ASSERT_EQ(stat(path("s").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_LT(static_cast<std::uint64_t>(info.st_blocks) * 512, GetParam().memory_bytes / 2);  // sparse
}

TEST_P(Snapshots, OfAnotherMachineAreToldWhatDiffers) {
  boot("!", path("s"));
  EXPECT_THAT(refusal(path("s"), {{"the memory", "16 MiB"}, {"the kernel", "two"}}),
              HasSubstr("another machine: the kernel was one, and is two"));
  EXPECT_THAT(refusal(path("s"), {{"the memory", "16 MiB"}}),
              HasSubstr("the kernel was one, and is not there"));
  EXPECT_THAT(refusal(path("s"), {{"the memory", "16 MiB"}, {"the kernel", "one"}, {"a disk", "new"}}),
              HasSubstr("a disk was not there, and is new"));
}

TEST_P(Snapshots, ThatAreNoneAreRefused) {
  EXPECT_THAT(refusal(path("nothing")), HasSubstr("No such file"));
  EXPECT_THAT(refusal(path("")), HasSubstr("it is no regular file"));
  std::ofstream{path("text")} << std::string(10'000, 'x');
  EXPECT_THAT(refusal(path("text")), HasSubstr("it does not begin as one does"));
  std::ofstream{path("short")} << "cbitsnap";
  EXPECT_THAT(refusal(path("short")), HasSubstr("it is too short"));
}

TEST_P(Snapshots, ThatAreDamagedOrCutShortAreRefused) {
  boot("!", path("s"));
  const Bytes whole = contents(path("s"));
  const auto with = [&](std::size_t at, unsigned value) {
    Bytes bytes = whole;
    bytes[at] = static_cast<std::byte>(value);
    std::ofstream out{path("damaged"), std::ios::binary};
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    out.close();
    return refusal(path("damaged"));
  };
  EXPECT_THAT(with(8, 99), HasSubstr("it is of version 99, and this cbit has version 1"));
  EXPECT_THAT(with(page_size + 100, 0xee), HasSubstr("its state is damaged (SHA-256)"));
  EXPECT_THAT(with(21, 0xff), HasSubstr("it is cut short"));  // the state's length
  for (const std::size_t size : {page_size - 1, page_size + 5, whole.size() - page_size, whole.size() - 1}) {
    std::filesystem::copy_file(path("s"), path("cut"), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path("cut"), size);
    EXPECT_NE(refusal(path("cut")), "loaded") << size;
  }
}

TEST_P(Snapshots, ThatCannotBeWrittenEndTheRun) {
  const RunOutcome outcome = boot("!", path("no/such/folder"));
  ASSERT_TRUE(outcome.report.trouble);
  EXPECT_EQ(outcome.report.trouble->code, ExitCode::output_failed);
  EXPECT_EQ(outcome.debug, "boot ");
}

TEST(Snapshot, OfADeviceThatCannotBeSavedIsRefusedAndLeavesNothing) {
  const test::TemporaryFolder folder;
  auto pc = std::move(*Pc::create({.memory_bytes = 16 << 20}));
  ASSERT_TRUE(pc->plug(*machine::parse_device("virtio-net"), 3));
  const Bytes image = asking_image();
  ASSERT_TRUE(pc->load({.name = "image", .kernel = image, .command_line = ""}));
  const auto saved = save_snapshot(*pc, facts, folder.file("s"));
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("section PCI device 3: the device cannot be saved"));
  EXPECT_FALSE(snapshot_exists(folder.file("s")));
}

}  // namespace
}  // namespace cbit::guest
