// x2APIC mode. Section numbers are those of the Intel SDM vol. 3, chapter 11.
#include <gtest/gtest.h>

#include <set>

#include "chipset/lapic.hpp"
#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

using test::TestPc;

constexpr std::uint32_t base_msr = 0x1b;
constexpr std::uint64_t disabled = 0xfee0'0100;
constexpr std::uint64_t xapic = 0xfee0'0900;
constexpr std::uint64_t x2apic = 0xfee0'0d00;
constexpr std::uint64_t invalid = 0xfee0'0500;

struct X2apicTest : testing::Test {
  X2apicTest() { EXPECT_TRUE(lapic.write_msr(base_msr, x2apic)); }
  TestPc pc{{.cpus = 3, .virtual_wire = false}};
  Lapic& lapic = pc.pc.lapic(0);
};

// 11.12.5, figure 11-27.
TEST(X2apicMode, IsEnteredAndLeftOnlyByTheAllowedWays) {
  struct Step {
    std::uint64_t from, to;
    bool allowed;
  };
  for (const Step step :
       {Step{xapic, x2apic, true}, Step{xapic, disabled, true}, Step{xapic, invalid, false},
        Step{xapic, xapic, true}, Step{x2apic, xapic, false}, Step{x2apic, disabled, true},
        Step{x2apic, invalid, false}, Step{x2apic, x2apic, true}, Step{disabled, x2apic, false},
        Step{disabled, xapic, true}, Step{disabled, invalid, false}, Step{disabled, disabled, true}}) {
    TestPc pc;
    Lapic& lapic = pc.pc.lapic(0);
    ASSERT_TRUE(lapic.write_msr(base_msr, step.from));
    EXPECT_EQ(lapic.write_msr(base_msr, step.to), step.allowed) << std::hex << step.from << " " << step.to;
    EXPECT_EQ(lapic.read_msr(base_msr), step.allowed ? step.to : step.from);
  }
}

TEST(X2apicMode, DoesNotExistWhereTheProcessorHasNone) {
  TestPc pc{{.lapic = {.x2apic = false}}};
  EXPECT_FALSE(pc.pc.lapic(0).write_msr(base_msr, x2apic));
}

TEST(X2apicMode, HasItsMsrsInThatModeOnly) {
  TestPc pc;
  for (std::uint32_t msr = 0x800; msr <= 0x8ff; ++msr) {
    EXPECT_EQ(pc.pc.lapic(0).read_msr(msr), std::nullopt);
    EXPECT_FALSE(pc.pc.lapic(0).write_msr(msr, 0));
  }
}

// Table 11-6.
TEST_F(X2apicTest, FaultsOnEveryMsrThatCannotBeReadOrWritten) {
  std::set<std::uint32_t> readable{0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x828, 0x830, 0x832,
                                   0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x839, 0x83e};
  for (std::uint32_t msr = 0x810; msr <= 0x827; ++msr) readable.insert(msr);
  const std::set<std::uint32_t> writable{0x808, 0x80b, 0x80f, 0x828, 0x830, 0x832, 0x833,
                                         0x834, 0x835, 0x836, 0x837, 0x838, 0x83e, 0x83f};
  for (std::uint32_t msr = 0x800; msr <= 0x8ff; ++msr) {
    EXPECT_EQ(lapic.read_msr(msr).has_value(), readable.contains(msr)) << std::hex << msr;
    EXPECT_EQ(lapic.write_msr(msr, msr == 0x83f ? 0x41 : 0), writable.contains(msr)) << std::hex << msr;
  }
}

// 11.12.1.
TEST_F(X2apicTest, FaultsOnReservedBits) {
  struct Row {
    std::uint32_t msr;
    std::uint64_t allowed;
  };
  for (const Row row :
       {Row{0x808, 0xff}, Row{0x80b, 0}, Row{0x80f, 0x13ff}, Row{0x828, 0}, Row{0x832, 0x7'10ff},
        Row{0x833, 0x1'17ff}, Row{0x834, 0x1'17ff}, Row{0x835, 0x1'f7ff}, Row{0x836, 0x1'f7ff},
        Row{0x837, 0x1'10ff}, Row{0x838, 0xffff'ffff}, Row{0x83e, 0xb}, Row{0x83f, 0xff}}) {
    for (unsigned bit = 0; bit < 64; ++bit) {
      const std::uint64_t value = std::uint64_t{1} << bit;
      EXPECT_EQ(lapic.write_msr(row.msr, value), (value & row.allowed) != 0)
          << std::hex << row.msr << " " << bit;
    }
  }
  for (const unsigned bit : {13u, 16u, 17u, 20u, 31u})
    EXPECT_FALSE(lapic.write_msr(0x830, std::uint64_t{1} << bit | 0x41)) << bit;
}

TEST_F(X2apicTest, HasAnIdOf32BitsAndALogicalOneThatFollowsFromIt) {
  TestPc big{{.cpus = 36}};
  Lapic& last = big.pc.lapic(35);
  EXPECT_TRUE(last.write_msr(base_msr, 0xfee0'0c00));
  EXPECT_EQ(last.read_msr(0x802), 35u);
  EXPECT_EQ(last.read_msr(0x80d), 0x0002'0008u);  // cluster 2, its fourth
  EXPECT_FALSE(last.write_msr(0x80d, 1));
}

// arch/x86/kvm/lapic.c, apic_mmio_read() and apic_mmio_write(): the hole where the page was.
TEST_F(X2apicTest, LeavesItsPageToNobody) {
  EXPECT_EQ(lapic.page(), PhysAddr{0xfee0'0000});
  EXPECT_EQ(pc.apic(spec::apic_register::version), 0xffff'ffffu);
  pc.set_apic(spec::apic_register::tpr, 0xf0);
  EXPECT_EQ(lapic.cr8(), 0);
  EXPECT_FALSE(pc.intr());
}

TEST_F(X2apicTest, SendsToADestinationOf32Bits) {
  for (const unsigned cpu : {1u, 2u}) {
    EXPECT_TRUE(pc.pc.lapic(cpu).write_msr(base_msr, 0xfee0'0c00));
    EXPECT_TRUE(pc.pc.lapic(cpu).write_msr(0x80f, 0x1ff));
  }
  EXPECT_TRUE(lapic.write_msr(0x830, 2ull << 32 | 0x41));
  EXPECT_EQ(lapic.read_msr(0x830), 2ull << 32 | 0x41);
  EXPECT_FALSE(pc.intr(1));
  EXPECT_EQ(pc.take(2), 0x41);
  EXPECT_TRUE(lapic.write_msr(0x830, 0x0102ull << 32 | 0x42));
  EXPECT_FALSE(pc.intr(1));
  EXPECT_TRUE(lapic.write_msr(0x830, 0x0000'0006ull << 32 | 1 << 11 | 0x61));  // logical: CPUs 1 and 2
  EXPECT_EQ(pc.take(1), 0x61);
  EXPECT_EQ(pc.take(2), 0x61);
  EXPECT_TRUE(lapic.write_msr(0x830, 0x0001'0006ull << 32 | 1 << 11 | 0x71));  // another cluster
  EXPECT_FALSE(pc.intr(1));
  EXPECT_FALSE(pc.intr());
}

TEST_F(X2apicTest, SendsToItselfWithOneWrite) {
  EXPECT_TRUE(lapic.write_msr(0x80f, 0x1ff));
  EXPECT_TRUE(lapic.write_msr(0x83f, 0x41));
  EXPECT_EQ(pc.take(), 0x41);
  EXPECT_TRUE(lapic.write_msr(0x80b, 0));
  EXPECT_EQ(lapic.read_msr(0x830), 0u);
  EXPECT_TRUE(lapic.write_msr(0x83f, 0x05));
  EXPECT_TRUE(lapic.write_msr(0x828, 0));
  EXPECT_EQ(lapic.read_msr(0x828), 0x60u);
}

TEST_F(X2apicTest, StaysInItsModeAfterInit) {
  EXPECT_TRUE(lapic.write_msr(0x80f, 0x1ff));
  EXPECT_TRUE(lapic.write_msr(0x830, 1 << 18 | 5 << 8));
  EXPECT_TRUE(lapic.take_init());
  EXPECT_EQ(lapic.read_msr(base_msr), x2apic);
  EXPECT_EQ(lapic.read_msr(0x80f), 0xffu);
  EXPECT_EQ(lapic.read_msr(0x80d), 1u);
}

TEST_F(X2apicTest, HearsBroadcastsOfBothWidths) {
  EXPECT_TRUE(lapic.write_msr(0x80f, 0x1ff));
  pc.pc.apic_bus().deliver({0xfeef'f000, 0x51});
  EXPECT_EQ(pc.take(), 0x51);
  EXPECT_TRUE(lapic.write_msr(0x830, 0xffff'ffffull << 32 | 0x61));
  EXPECT_EQ(pc.take(), 0x61);
}

}  // namespace
}  // namespace cbit::chipset
