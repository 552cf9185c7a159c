// The parts of a report that come from events and from memory.
#include "guest/watch_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "machine/machine.hpp"

namespace cbit::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view told_secret = "forty-two words";

KeyId key_of(machine::Machine& machine) { return machine.paging().view.encrypted_key; }

std::unique_ptr<machine::Machine> machine_with(std::string_view text, PhysAddr at, bool encrypted) {
  auto made = machine::Machine::create({.platform = Platform::sev, .memory_bytes = 32 << 20});
  const KeyId key = (*made)->paging().view.key(encrypted ? 1 : 0);
  const mem::Access access{.agent = {AgentKind::cpu, 0}, .key = key};
  EXPECT_TRUE((*made)->memory().write(at, std::as_bytes(std::span{text}), access));
  return std::move(*made);
}

TEST(SecretSearch, FindsWhatStandsInSharedMemoryAcrossTwoPages) {
  const PhysAddr at{0x10'0000 + page_size - 7};
  const auto machine = machine_with(told_secret, at, false);
  const auto found =
      search_secrets(machine->memory(), key_of(*machine), {std::string{told_secret}, "another"});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].host, 1u);
  EXPECT_EQ(found[0].dram, 1u);
  EXPECT_THAT(found[0].places, ElementsAre(at));
  EXPECT_EQ(found[1].host, 0u);
}

TEST(SecretSearch, FindsNothingOfWhatIsEncrypted) {
  const auto machine = machine_with(told_secret, PhysAddr{0x10'0000}, true);
  const auto found = search_secrets(machine->memory(), key_of(*machine), {std::string{told_secret}});
  EXPECT_EQ(found[0].host + found[0].dram, 0u);
}

TEST(SecretSearch, FindsUnderTheGuestsKeyWhatNobodyElseSees) {
  const PhysAddr at{0x10'0000 + 32};
  const auto machine = machine_with(told_secret, at, true);
  const auto found = search_secrets(machine->memory(), key_of(*machine), {std::string{told_secret}});
  EXPECT_EQ(found[0].guest, 1u);
  ASSERT_TRUE(found[0].views);
  EXPECT_EQ(found[0].views->at, at);
  const auto expected = std::as_bytes(std::span{told_secret}).first(SecretViews::bytes_max - 1);
  EXPECT_TRUE(std::ranges::equal(std::span{found[0].views->guest}.first(expected.size()), expected));
  EXPECT_EQ(found[0].views->host, found[0].views->dram) << "without a key one sees what is in the chips";
  EXPECT_NE(found[0].views->host, found[0].views->guest);
}

TEST(SecretSearch, CountsEveryPlaceAndNamesTheFirst) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "ab";
  const auto machine = machine_with(text, PhysAddr{0x10'0000}, false);
  const auto found = search_secrets(machine->memory(), key_of(*machine), {"ab", ""});
  EXPECT_EQ(found[0].host, 20u);
  EXPECT_EQ(found[0].places.size(), SecretFound::places_max);
  EXPECT_EQ(found[1].host, 0u) << "nothing is no secret";
}

struct TrafficTest : ::testing::Test {
  Clock clock;
  Tracer tracer{clock};
  Traffic traffic{tracer};
  TrafficTest() { tracer.attach(traffic); }
  ~TrafficTest() override { tracer.detach(traffic); }
};

TEST_F(TrafficTest, CountsMappingsAndAccessesByDevice) {
  const NameId disk = tracer.intern("0000:00:03.0"), nic = tracer.intern("0000:00:02.0");
  tracer.emit({}, DmaMapped{.device = disk, .bytes = 512, .path = DmaPath::swiotlb});
  tracer.emit({}, DmaMapped{.device = disk, .bytes = 4096, .path = DmaPath::direct});
  tracer.emit({}, DmaMapFailed{.device = nic});
  tracer.emit({}, DeviceAccess{.device = disk, .bytes = 100, .write = true});
  tracer.emit({}, DeviceAccess{.device = disk, .bytes = 10});
  const auto devices = traffic.by_device();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[0].device, "0000:00:02.0");
  EXPECT_EQ(devices[0].refused, 1u);
  EXPECT_EQ(devices[1].mappings, 2u);
  EXPECT_EQ(devices[1].bounced, 1u);
  EXPECT_EQ(devices[1].mapped_bytes, 4608u);
  EXPECT_EQ(devices[1].bytes_written, 100u);
  EXPECT_EQ(devices[1].bytes_read, 10u);
}

TEST_F(TrafficTest, TellsWhatTheIommuTranslatedAndRefused) {
  const NameId disk = tracer.intern("0000:00:03.0");
  tracer.emit({}, DmaMapped{.device = disk, .bytes = 512, .path = DmaPath::iommu});
  tracer.emit({}, DmaMapped{.device = disk, .bytes = 512, .path = DmaPath::direct});
  tracer.emit({}, DeviceFault{.device = disk, .fault = {FaultKind::iommu_not_present, 0x5000}});
  tracer.emit({}, DeviceFault{.device = disk, .fault = {FaultKind::bus_master_off, 0x5000}});
  const auto devices = traffic.by_device();
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].translated, 1u);
  EXPECT_EQ(devices[0].iommu_faults, 1u);
}

TEST_F(TrafficTest, TellsWhoConvertedTheMostPages) {
  const SiteId few = tracer.intern("few+0x1"), many = tracer.intern("many+0x2");
  tracer.emit({}, PageConversion{.pages = 2, .encrypted = false, .site = few});
  tracer.emit({}, PageConversion{.pages = 64, .encrypted = false, .site = many});
  tracer.emit({}, PageConversion{.pages = 16, .encrypted = true, .site = many});
  const auto callers = traffic.by_caller();
  ASSERT_EQ(callers.size(), 2u);
  EXPECT_EQ(callers[0].caller, "many+0x2");
  EXPECT_EQ(callers[0].pages_shared, 64u);
  EXPECT_EQ(callers[0].pages_made_private, 16u);
  EXPECT_EQ(callers[0].calls, 2u);
}

TEST_F(TrafficTest, IsBoundedHoweverManyCallersThereAre) {
  for (unsigned i = 0; i < 2 * Traffic::callers_max; ++i)
    tracer.emit({}, PageConversion{.pages = 1, .site = tracer.intern(std::to_string(i))});
  EXPECT_LE(traffic.by_caller().size(), Traffic::callers_max + 1);
}

TEST(WatchReport, SaysWhenTheKernelWasNotTheOneOfTheFile) {
  const WatchReport report{.platform = "sev", .kernel = "6.1.0"};
  EXPECT_THAT(to_text(report), HasSubstr("the image that ran is not the one in the file"));
  EXPECT_THAT(to_text(report), Not(HasSubstr("Pages:")));
}

TEST(WatchReport, SaysWhatTheKernelLacksAndThatLessIsSeen) {
  WatchReport report{.platform = "sev", .kernel = "6.1.0", .found = true};
  EXPECT_THAT(to_text(report), Not(HasSubstr("Built without")));
  EXPECT_THAT(to_text(report), Not(HasSubstr("Not watched")));
  report.lacks = {"types (CONFIG_DEBUG_INFO_BTF)"};
  report.not_watched = {"dma_map_page_attrs: the kernel's types do not describe it"};
  EXPECT_THAT(to_text(report), HasSubstr("Built without types (CONFIG_DEBUG_INFO_BTF)\n"));
  EXPECT_THAT(to_text(report), HasSubstr("Not watched: 1 of its functions, for instance dma_map_page_attrs"));
}

TEST(WatchReport, ShowsASecretWithoutItsControlCharacters) {
  const WatchReport report{.platform = "sev", .kernel = "6.1.0", .secrets = {{.secret = "a\x1b[31m"}}};
  EXPECT_THAT(to_text(report), HasSubstr("\\x1b[31m"));
}

}  // namespace
}  // namespace cbit::guest
