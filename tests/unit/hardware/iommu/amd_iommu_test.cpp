// Expected values are written as in AMD's specification 48882: offsets of registers (3.4), bits of device
// table entries (2.2.2), page-table entries (2.2.3), interrupt remapping entries (2.2.5), commands (2.4) and
// events (2.5); flags of events as drivers/iommu/amd/amd_iommu_types.h of Linux has them.
#include "iommu/amd/amd_iommu.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/small_machine.hpp"

namespace cbit::iommu {
namespace {

constexpr RequesterId nic = 0x0018;  // 00:03.0
constexpr std::uint16_t domain = 7;

struct AmdIommuTest : testing::Test {
  explicit AmdIommuTest(test::Encryption encryption = test::Encryption::none) : machine{encryption} {
    set(0x00, dev_table | c_bit());                // one page: 128 entries
    set(0x08, commands | c_bit() | 0x8ull << 56);  // 256 of them
    set(0x10, events | c_bit() | 0x8ull << 56);
    set_control(1 | 1 << 2 | 1 << 3 | 1 << 12);
  }

  // ---- registers
  void set(std::uint64_t offset, std::uint64_t value) { iommu.write(offset, bytes_of(value)); }
  [[nodiscard]] std::uint64_t get(std::uint64_t offset) const {
    std::array<std::byte, 8> raw{};
    iommu.read(offset, raw);
    return load<std::uint64_t>(raw);
  }
  void set_control(std::uint64_t bits) { set(0x18, bits); }

  // ---- memory, as the kernel sees it
  [[nodiscard]] std::uint64_t c_bit() const { return machine.cpu_view.layout.mask(); }
  void put(std::uint64_t at, std::uint64_t value) { machine.put_value(PhysAddr{at}, value, machine.key); }
  [[nodiscard]] std::uint64_t look(std::uint64_t at) const {
    return machine.value<std::uint64_t>(PhysAddr{at}, machine.key);
  }
  void put_dte(RequesterId id, std::uint64_t quad0, std::uint64_t quad1 = domain, std::uint64_t quad2 = 0) {
    put(dev_table + id * 32u, quad0);
    put(dev_table + id * 32u + 8, quad1);
    put(dev_table + id * 32u + 16, quad2);
  }
  // V, TV, IR, IW, and a page table of three levels with one path for the first 2 MiB.
  void put_tables() {
    put_dte(nic, 3ull << 61 | root | c_bit() | 3ull << 9 | 3);
    put(root, 3ull << 61 | (root + 0x1000) | c_bit() | 2ull << 9 | 1);
    put(root + 0x1000, 3ull << 61 | (root + 0x2000) | c_bit() | 1ull << 9 | 1);
  }
  void put_leaf(std::uint64_t iova, std::uint64_t raw) { put(root + 0x2000 + (iova >> 12) * 8, raw); }

  // ---- commands and events
  void command(std::uint64_t first, std::uint64_t second = 0) {
    const std::uint64_t tail = get(0x2008);
    put(commands + tail, first);
    put(commands + tail + 8, second);
    set(0x2008, (tail + 16) % 4096);
  }
  struct Logged {
    std::uint64_t first, second;
    friend bool operator==(const Logged&, const Logged&) = default;
  };
  // Takes them from the log.
  std::vector<Logged> logged() {
    std::vector<Logged> found;
    for (; get(0x2010) != get(0x2018); set(0x2010, (get(0x2010) + 16) % 4096))
      found.push_back({look(events + get(0x2010)), look(events + get(0x2010) + 8)});
    return found;
  }
  [[nodiscard]] std::optional<FaultKind> kind(std::uint64_t at, bool write = false) const {
    const auto found = iommu.translate(nic, DmaAddr{at}, write);
    return found ? std::nullopt : std::optional{found.error().kind};
  }
  [[nodiscard]] std::uint64_t phys(std::uint64_t at, bool write = false) const {
    const auto found = iommu.translate(nic, DmaAddr{at}, write);
    EXPECT_TRUE(found) << at;
    return found ? found->phys.value() : 0;
  }

  static constexpr std::uint64_t dev_table = 0x10'0000, commands = 0x10'2000, events = 0x10'4000,
                                 root = 0x20'0000, int_table = 0x30'0000;
  test::SmallMachine machine;
  std::vector<AmdIommuSignal> signals;
  AmdIommu iommu{
      {machine.device_view, 0x10}, *machine.memory, machine.tracer, [this](const AmdIommuSignal& signal) {
        signals.push_back(signal);
      }};
};

struct AmdIommuUnderSmeTest : AmdIommuTest {
  AmdIommuUnderSmeTest() : AmdIommuTest{test::Encryption::sme} {}
};

// ---- registers ------------------------------------------------------------------------------------------

TEST_F(AmdIommuTest, RegistersHaveTheBitsOfTheSpecification) {
  iommu.reset();
  EXPECT_EQ(get(0x08), 0x0800'0000'0000'0000u) << "256 entries";
  EXPECT_EQ(get(0x30) & 0x3ff, 0xc6u) << "GASup, IASup, XTSup, PPRSup";
  EXPECT_EQ(get(0x30) >> 10 & 3, 2u) << "page tables of six levels";
  for (const std::uint64_t offset : {0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x2000, 0x2020})
    set(offset, ~0ull);
  EXPECT_EQ(get(0x00), 0x000f'ffff'ffff'f1ffu);
  EXPECT_EQ(get(0x08), 0x0f0f'ffff'ffff'f000u);
  EXPECT_EQ(get(0x20), 0x000f'ffff'ffff'f003u);
  EXPECT_EQ(get(0x2000), 0x7fff0u);
  EXPECT_EQ(get(0x18) & 1ull << 16, 0u) << "GTEn cannot be set: there is no guest translation";
  EXPECT_EQ(get(0x30) & 0x3ff, 0xc6u);
  EXPECT_EQ(get(0x1234 & ~7u), 0u) << "no register";
}

TEST_F(AmdIommuTest, HalvesOfARegisterAreWrittenOneByOne) {
  iommu.write(0x00, bytes_of(std::uint32_t{0x1234'5001}));
  iommu.write(0x04, bytes_of(std::uint32_t{0x0000'8000}));
  EXPECT_EQ(get(0x00), 0x0000'8000'1234'5001u);
}

// ---- translation ----------------------------------------------------------------------------------------

TEST_F(AmdIommuTest, PassesAddressesUntilItIsEnabled) {
  set_control(0);
  EXPECT_EQ(phys(0x5123), 0x5123u);
}

TEST_F(AmdIommuTest, PassesAddressesOfADeviceWithoutValidEntry) {
  put_dte(nic, 0);
  EXPECT_EQ(phys(0x5123), 0x5123u);
}

TEST_F(AmdIommuTest, BlocksADeviceWhoseEntryHasNoRights) {
  put_dte(nic, 3);  // V and TV, as init_device_table_dma() leaves it
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_no_domain);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x2050'0007'0000'0018, 0x5000})) << "PE and PR";
}

TEST_F(AmdIommuTest, ModeZeroWithRightsIsPassthrough) {
  put_dte(nic, 3ull << 61 | 3);
  EXPECT_EQ(phys(0x5123, true), 0x5123u);
}

TEST_F(AmdIommuTest, TranslatesByThePageTable) {
  put_tables();
  put_leaf(0x5000, 3ull << 61 | 0x44'4000 | 1);
  EXPECT_EQ(phys(0x5123), 0x44'4123u);
  EXPECT_EQ(phys(0x5123, true), 0x44'4123u);
  EXPECT_TRUE(logged().empty());
}

TEST_F(AmdIommuTest, NextLevelSevenIsALargePageWithItsSizeInTheAddress) {
  put_tables();
  for (unsigned i = 0; i < 16; ++i) put_leaf(0x1'0000 + i * 0x1000, 3ull << 61 | 0x45'7000 | 7ull << 9 | 1);
  EXPECT_EQ(phys(0x1'a123), 0x45'a123u) << "64 KiB: bits 14:12 set, bit 15 clear";
}

TEST_F(AmdIommuTest, APageThatIsNotThereIsAPageFault) {
  put_tables();
  EXPECT_EQ(kind(0x6008), FaultKind::iommu_not_present);
  EXPECT_EQ(kind(0x6008, true), FaultKind::iommu_not_present);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x2000'0007'0000'0018, 0x6008},
                                             Logged{0x2020'0007'0000'0018, 0x6008}))
      << "flags 0x0000, and 0x0020 for the write";
}

TEST_F(AmdIommuTest, AWriteToAPageForReadingIsAPageFaultWithPermissionAndPresent) {
  put_tables();
  put_leaf(0x5000, 1ull << 61 | 0x44'4000 | 1);
  EXPECT_EQ(phys(0x5000), 0x44'4000u);
  EXPECT_EQ(kind(0x5000, true), FaultKind::iommu_protection);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x2070'0007'0000'0018, 0x5000})) << "PE, RW, PR";
}

TEST_F(AmdIommuTest, ReservedBitsOfAnEntryAreAnIllegalDeviceTableEntry) {
  put_dte(nic, 1ull << 63 | 3ull << 61 | 3);
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_reserved_bit);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x1080'0007'0000'0018, 0x5000})) << "RZ";
}

TEST_F(AmdIommuTest, ModeSevenIsAnIllegalDeviceTableEntryWithoutReservedBits) {
  put_dte(nic, 3ull << 61 | 7ull << 9 | 3);
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_reserved_bit);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x1000'0007'0000'0018, 0x5000}));
}

TEST_F(AmdIommuTest, ATableThatIsNotInMemoryIsAHardwareError) {
  put_dte(nic, 3ull << 61 | 0x7'0000'0000 | 3ull << 9 | 3);
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_reserved_bit);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x4200'0007'0000'0018, 0x7'0000'0000}))
      << "PAGE_TAB_HARDWARE_ERROR, master abort, at the entry";
  set(0x00, 0x7'0000'0000);
  command(8ull << 60);
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_reserved_bit);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x3200'0000'0000'0018, 0x7'0000'0300}));
}

TEST_F(AmdIommuTest, ADeviceBeyondTheTableHasNoDomain) {
  const auto found = iommu.translate(0x80, DmaAddr{0x5000}, false);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind, FaultKind::iommu_no_domain);
}

TEST_F(AmdIommuTest, EntriesMaySuppressTheirFaults) {
  put_dte(nic, 3, domain | 1ull << 34);  // SA
  EXPECT_TRUE(kind(0x5000));
  EXPECT_TRUE(logged().empty());
  put_dte(nic, 3, domain | 1ull << 33);  // SE
  command(2ull << 60 | nic);
  EXPECT_TRUE(kind(0x5000));
  EXPECT_TRUE(kind(0x5000));
  EXPECT_EQ(logged().size(), 1u);
}

TEST_F(AmdIommuTest, TheExclusionRangePassesUntranslated) {
  put_tables();
  set(0x28, 0x7000);
  set(0x20, 0x6000 | 3);  // for all devices
  EXPECT_EQ(phys(0x6000), 0x6000u);
  EXPECT_EQ(phys(0x7fff), 0x7fffu);
  EXPECT_TRUE(kind(0x8000));
  set(0x20, 0x6000 | 1);
  EXPECT_TRUE(kind(0x6000)) << "the entry does not have EX";
}

TEST_F(AmdIommuTest, ADmaAccessToTheInterruptWindowReachesNothing) {
  put_dte(nic, 3ull << 61 | 3);
  EXPECT_EQ(kind(0xfee0'1000, true), FaultKind::iommu_protection);
}

// ---- encryption -----------------------------------------------------------------------------------------

TEST_F(AmdIommuUnderSmeTest, ReadsItsTablesUnderTheKeyAndGivesItToTheDeviceByTheLeaf) {
  put_tables();
  put_leaf(0x5000, 3ull << 61 | c_bit() | 0x44'4000 | 1);
  put_leaf(0x6000, 3ull << 61 | 0x44'5000 | 1);
  const auto encrypted = iommu.translate(nic, DmaAddr{0x5010}, false);
  const auto plain = iommu.translate(nic, DmaAddr{0x6010}, false);
  ASSERT_TRUE(encrypted && plain);
  EXPECT_EQ(encrypted->phys, PhysAddr{0x44'4010});
  EXPECT_EQ(encrypted->key, machine.key);
  EXPECT_EQ(plain->phys, PhysAddr{0x44'5010});
  EXPECT_EQ(plain->key, no_key);
}

TEST_F(AmdIommuUnderSmeTest, WithoutTheCBitInItsBaseTheDeviceTableIsNoise) {
  put_tables();
  set(0x00, dev_table);
  const auto found = iommu.translate(nic, DmaAddr{0x5010}, false);
  EXPECT_TRUE(!found || !found->translated);
  EXPECT_NE(machine.value<std::uint64_t>(PhysAddr{dev_table + nic * 32}, no_key), look(dev_table + nic * 32));
}

TEST_F(AmdIommuUnderSmeTest, CompletionsAndEventsAreEncryptedByTheirPointers) {
  command(1ull << 60 | 0x40'0000 | c_bit() | 1, 0x1234);
  EXPECT_EQ(look(0x40'0000), 0x1234u);
  EXPECT_NE(machine.value<std::uint64_t>(PhysAddr{0x40'0000}, no_key), 0x1234u);
  put_dte(nic, 3);
  EXPECT_TRUE(kind(0x5000));
  EXPECT_EQ(logged().size(), 1u);
}

TEST_F(AmdIommuUnderSmeTest, PassthroughTakesTheCBitOfTheAddress) {
  put_dte(nic, 3ull << 61 | 3);
  const auto found = iommu.translate(nic, DmaAddr{c_bit() | 0x5010}, false);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x5010});
  EXPECT_EQ(found->key, machine.key);
}

// ---- what is held ---------------------------------------------------------------------------------------

TEST_F(AmdIommuTest, ATranslationIsHeldUntilItsPagesAreInvalidated) {
  put_tables();
  put_leaf(0x5000, 3ull << 61 | 0x44'4000 | 1);
  EXPECT_EQ(phys(0x5000), 0x44'4000u);
  put_leaf(0x5000, 0);
  EXPECT_EQ(phys(0x5000), 0x44'4000u) << "the driver has not said so";
  EXPECT_EQ(iommu.peek(nic, DmaAddr{0x5000}, false).error().kind, FaultKind::iommu_not_present);
  command(3ull << 60 | std::uint64_t{domain + 1} << 32, 0x5000);
  EXPECT_EQ(phys(0x5000), 0x44'4000u) << "another domain's";
  command(3ull << 60 | std::uint64_t{domain} << 32, 0x6000);
  EXPECT_EQ(phys(0x5000), 0x44'4000u) << "another page";
  command(3ull << 60 | std::uint64_t{domain} << 32, 0x4000 | 1);  // S: 0x4000 to 0x5fff
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_not_present);
}

TEST_F(AmdIommuTest, AllPagesOfADomainAreInvalidatedByTheGreatestSize) {
  put_tables();
  put_leaf(0x5000, 3ull << 61 | 0x44'4000 | 1);
  EXPECT_EQ(phys(0x5000), 0x44'4000u);
  put_leaf(0x5000, 0);
  command(3ull << 60 | std::uint64_t{domain} << 32, 0x7fff'ffff'ffff'f003);  // S, PDE
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_not_present);
}

TEST_F(AmdIommuTest, WhatIsNotThereIsNotHeld) {
  put_tables();
  EXPECT_TRUE(kind(0x5000));
  put_leaf(0x5000, 3ull << 61 | 0x44'4000 | 1);
  EXPECT_EQ(phys(0x5000), 0x44'4000u);
}

TEST_F(AmdIommuTest, ADeviceTableEntryIsHeldUntilItIsInvalidated) {
  put_tables();
  put_leaf(0x5000, 3ull << 61 | 0x44'4000 | 1);
  EXPECT_EQ(phys(0x5000), 0x44'4000u);
  put_dte(nic, 3);
  EXPECT_EQ(phys(0x5000), 0x44'4000u);
  command(2ull << 60 | nic);
  EXPECT_EQ(kind(0x5000), FaultKind::iommu_no_domain);
}

// ---- commands and the log -------------------------------------------------------------------------------

TEST_F(AmdIommuTest, ACompletionStoresAndInterrupts) {
  command(1ull << 60 | 0x40'0000 | 3, 0xfeed'0000'0000'0001);
  EXPECT_EQ(look(0x40'0000), 0xfeed'0000'0000'0001u);
  EXPECT_EQ(get(0x2000), get(0x2008));
  EXPECT_EQ(get(0x2020) & 4, 4u);
  EXPECT_TRUE(signals.empty()) << "ComWaitIntEn is clear";
  set_control(get(0x18) | 1 << 4);
  command(1ull << 60 | 2);
  EXPECT_EQ(signals.size(), 1u);
}

TEST_F(AmdIommuTest, AnIllegalCommandStopsTheBufferAtIt) {
  command(9ull << 60);
  command(1ull << 60 | 0x40'0000 | 1, 1);
  EXPECT_EQ(look(0x40'0000), 0u);
  EXPECT_EQ(get(0x2000), 0u);
  EXPECT_EQ(get(0x2020) & 1 << 4, 0u) << "CmdBufRun";
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x5000'0000'0000'0000, commands}));
  // As amd_iommu_reset_cmd_buffer() does.
  set_control(get(0x18) & ~(1ull << 12));
  set(0x2000, 0);
  set(0x2008, 0);
  set_control(get(0x18) | 1 << 12);
  command(1ull << 60 | 0x40'0000 | 1, 2);
  EXPECT_EQ(look(0x40'0000), 2u);
}

TEST_F(AmdIommuTest, ABufferOrACompletionOutsideOfMemoryIsACommandHardwareError) {
  command(1ull << 60 | 0x7'0000'0000 | 1, 1);
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x6200'0000'0000'0000, 0x7'0000'0000}));
  EXPECT_EQ(get(0x2020) & 1 << 4, 0u);
}

TEST_F(AmdIommuTest, AnEventInterruptsOnceUntilSoftwareClearsItsBit) {
  put_dte(nic, 3);
  EXPECT_TRUE(kind(0x5000));
  EXPECT_TRUE(kind(0x6000));
  EXPECT_EQ(signals.size(), 1u);
  EXPECT_EQ(get(0x2020) & 2, 2u);
  set(0x2020, 2);
  EXPECT_EQ(get(0x2020) & 2, 0u);
  EXPECT_TRUE(kind(0x7000));
  EXPECT_EQ(signals.size(), 2u);
  EXPECT_EQ(logged().size(), 3u);
}

TEST_F(AmdIommuTest, AFullLogOverflowsAndRestsUntilItIsEnabledAnew) {
  put_dte(nic, 3);
  for (unsigned i = 0; i < 300; ++i) EXPECT_TRUE(kind(0x5000));
  EXPECT_EQ(get(0x2018), 4096u - 16) << "one entry of 256 stays free";
  EXPECT_EQ(get(0x2020) & 0xb, 3u) << "EventOverflow, EventLogInt, not EventLogRun";
  EXPECT_EQ(signals.size(), 2u);
  EXPECT_EQ(logged().size(), 255u);
  EXPECT_TRUE(kind(0x5000));
  EXPECT_TRUE(logged().empty());
  set_control(get(0x18) & ~(1ull << 2));
  set(0x2020, 3);
  set_control(get(0x18) | 1 << 2);
  EXPECT_TRUE(kind(0x5000));
  EXPECT_EQ(logged().size(), 1u);
}

TEST_F(AmdIommuTest, InterruptsGoWhereTheX2apicRegisterSays) {
  set(0x170, 0x0200'0033'0000'0104);  // destination 02'000001h, vector 33h, logical
  set_control(get(0x18) | 1ull << 51);
  put_dte(nic, 3);
  EXPECT_TRUE(kind(0x5000));
  ASSERT_EQ(signals.size(), 1u);
  ASSERT_TRUE(signals[0].xt);
  EXPECT_EQ(signals[0].xt->destination(), 0x0200'0001u);
  EXPECT_EQ(signals[0].xt->raw >> 32 & 0xff, 0x33u);
}

TEST_F(AmdIommuTest, ABufferThatIsNotEnabledRunsNothing) {
  set_control(1 | 1 << 2);
  command(1ull << 60 | 0x40'0000 | 1, 1);
  EXPECT_EQ(look(0x40'0000), 0u);
  set_control(1 | 1 << 2 | 1 << 12);
  EXPECT_EQ(look(0x40'0000), 1u);
}

// ---- interrupts -----------------------------------------------------------------------------------------

struct RemappingTest : AmdIommuTest {
  // IV, 512 entries, IntCtl 2.
  void put_table() { put_dte(nic, 0, 0, 2ull << 60 | int_table | 9 << 1 | 1); }
  [[nodiscard]] std::optional<RemappedInterrupt> remap(std::uint32_t data) const {
    return iommu.remap(nic, {{{0xfee0'0000}}, {{data}}});
  }
};

TEST_F(RemappingTest, PassesWhatHasNoTable) {
  EXPECT_TRUE(remap(0x41)->untouched);
  put_dte(nic, 0, 0, 1ull << 60 | 1);  // IntCtl 1
  command(2ull << 60 | nic);
  EXPECT_TRUE(remap(0x41)->untouched);
}

TEST_F(RemappingTest, TakesAnEntryOf32BitsByTheMessagesData) {
  put_table();
  machine.put_value(PhysAddr{int_table + 5 * 4}, std::uint32_t{0x0051'0341},
                    no_key);  // vector 51h to 3, logical
  const auto out = remap(5);
  ASSERT_TRUE(out);
  EXPECT_FALSE(out->untouched);
  EXPECT_EQ(out->vector, 0x51);
  EXPECT_EQ(out->destination, 3u);
  EXPECT_TRUE(out->logical);
  EXPECT_FALSE(out->wide);
}

TEST_F(RemappingTest, TakesAnEntryOf128BitsAndA32BitDestinationWhereEnabled) {
  set_control(get(0x18) | 1 << 17 | 1ull << 50);  // GAEn, XTEn
  put_table();
  put(int_table + 5 * 16, 0x0000'0000'0001'0201);
  put(int_table + 5 * 16 + 8, 0x0100'0000'0000'0061);
  const auto out = remap(5);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->vector, 0x61);
  EXPECT_EQ(out->destination, 0x0100'0102u);
  EXPECT_TRUE(out->wide);
}

TEST_F(RemappingTest, AnEntryThatIsNotEnabledIsAPageFaultOfAnInterrupt) {
  put_table();
  EXPECT_FALSE(remap(5));
  EXPECT_THAT(logged(), testing::ElementsAre(Logged{0x2008'0000'0000'0018, 0xfee0'0000})) << "I";
  machine.put_value(PhysAddr{int_table + 5 * 4}, std::uint32_t{2}, no_key);  // SupIOPF
  EXPECT_FALSE(remap(5));
  EXPECT_TRUE(logged().empty());
}

TEST_F(RemappingTest, AnIndexBeyondTheTableIsLost) {
  put_dte(nic, 0, 0, 2ull << 60 | int_table | 2 << 1 | 1);  // four entries
  machine.put_value(PhysAddr{int_table + 4 * 4}, std::uint32_t{0x0051'0001}, no_key);
  EXPECT_FALSE(remap(4));
  EXPECT_EQ(logged().size(), 1u);
}

TEST_F(RemappingTest, NmiPassesWhereTheEntryAllowsIt) {
  put_table();
  EXPECT_FALSE(remap(0x400));
  put_dte(nic, 0, 0, 1ull << 58 | 2ull << 60 | int_table | 9 << 1 | 1);
  command(2ull << 60 | nic);
  EXPECT_TRUE(remap(0x400)->untouched);
}

TEST_F(RemappingTest, IntCtlZeroAborts) {
  put_dte(nic, 0, 0, 1);
  EXPECT_FALSE(remap(5));
  EXPECT_EQ(logged().size(), 1u);
}

}  // namespace
}  // namespace cbit::iommu
