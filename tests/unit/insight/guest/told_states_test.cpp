// What a guest tells the hypervisor of its pages, against what is written to them.
#include "guest/told_states.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine/machine.hpp"

namespace cbit::guest {
namespace {

using ::testing::ElementsAre;

constexpr PhysAddr base{0x10'0000};

struct ToldStatesTest : ::testing::Test {
  std::unique_ptr<machine::Machine> machine =
      std::move(*machine::Machine::create({.platform = Platform::sev, .memory_bytes = 32 << 20}));
  ToldStates told;
  ToldStatesTest() { machine->tracer().attach(told); }
  ~ToldStatesTest() override { machine->tracer().detach(told); }

  [[nodiscard]] KeyId key() const { return machine->paging().view.encrypted_key; }
  void tell(std::uint64_t page, std::uint64_t pages, bool encrypted) {
    machine->hypervisor().note_page_state({AgentKind::cpu, 0},
                                          {.call = "KVM_HC_MAP_GPA_RANGE",
                                           .range = {base + page * page_size, pages * page_size},
                                           .encrypted = encrypted});
  }
  void write(std::uint64_t page, KeyId with) {
    const Bytes bytes(page_size);
    machine->clock().advance(1);
    EXPECT_TRUE(machine->memory().write(base + page * page_size, bytes, {{AgentKind::cpu, 0}, with, 0}));
  }
  [[nodiscard]] ToldReport judge() const { return told.judge(machine->memory(), key()); }
};

TEST_F(ToldStatesTest, AgreeWhereTheGuestDoesAsItSays) {
  tell(0, 4, false);
  tell(8, 4, true);
  write(1, no_key);
  write(9, key());
  const ToldReport report = judge();
  EXPECT_EQ(report.calls, 2u);
  EXPECT_EQ(report.pages_shared, 4u);
  EXPECT_EQ(report.pages_private, 4u);
  EXPECT_EQ(report.pages_judged, 2u);
  EXPECT_EQ(report.disagreements, 0u);
}

TEST_F(ToldStatesTest, DisagreeWhereAPageIsWrittenOtherwise) {
  tell(0, 4, false);
  tell(8, 4, true);
  write(2, key());
  write(8, no_key);
  EXPECT_THAT(judge().places, ElementsAre(base + 2 * page_size, base + 8 * page_size));
}

TEST_F(ToldStatesTest, JudgeNothingThatWasWrittenBefore) {
  write(0, key());
  tell(0, 1, false);
  EXPECT_EQ(judge().pages_judged, 0u);
}

TEST_F(ToldStatesTest, KeepTheLastOfWhatWasTold) {
  tell(0, 10, true);
  tell(3, 4, false);
  tell(5, 1, true);
  EXPECT_EQ(judge().pages_shared, 3u);
  EXPECT_EQ(judge().pages_private, 7u);
  tell(0, 10, false);
  EXPECT_EQ(judge().pages_shared, 10u);
  EXPECT_EQ(judge().pages_private, 0u);
  tell(9, 2, true);
  EXPECT_EQ(judge().pages_shared, 9u);
  EXPECT_EQ(judge().pages_private, 2u);
}

}  // namespace
}  // namespace cbit::guest
