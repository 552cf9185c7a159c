// Which call returns, and inside which other one it was made.
#include "linux/probes/calls.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "support/linux/fake_guest.hpp"

namespace cbit::linux {
namespace {

constexpr VirtAddr map{0xffff'ffff'8100'0000};
constexpr VirtAddr unmap{0xffff'ffff'8100'1000};
constexpr VirtAddr inner{0xffff'ffff'8100'2000};
constexpr VirtAddr site{0xffff'ffff'c000'0010};
constexpr VirtAddr stack{0xffff'c900'0001'3000};
constexpr VirtAddr other_stack{0xffff'c900'0002'3000};

struct Board : CallTracker::Processor, CallTracker::Client {
  Board() {
    tracker.watch(map, 0, 2);
    tracker.watch(unmap, 1, 7);
    tracker.watch(inner, 2, 0);
    guest.write(stack - 0x2000, Bytes(0x3000));
    guest.write(other_stack - 0x2000, Bytes(0x3000));
  }

  void add_probe(VirtAddr at) override { probed.insert(at); }
  void remove_probe(VirtAddr at) override { probed.erase(at); }
  bool on_entry(Call& call, const CpuView& at) override {
    note("enter", call);
    (void)at;
    return wanted;
  }
  void on_return(Call& call, std::span<Call> outside, const CpuView& at) override {
    note("return", call);
    log.back() += "=" + std::to_string(at.gpr[CpuView::rax]);
    for (const Call& outer : outside) log.back() += " in " + std::string(1, "mui"[outer.point]);
  }
  void on_lost(Call& call) override { note("lost", call); }
  void note(const std::string& what, const Call& call) {
    log.push_back(what + " " + std::string(1, "mui"[call.point]));
  }

  // The first instruction of a function that was called from `from`; the stack pointer is at its return
  // address.
  void enter(VirtAddr function, VirtAddr sp, VirtAddr from = site) {
    guest.put(sp, from.value());
    execute(function, sp);
  }
  void execute(VirtAddr rip, VirtAddr sp, std::uint64_t rax = 0) {
    cpu.rip = rip.value();
    cpu.gpr[CpuView::rsp] = sp.value();
    cpu.gpr[CpuView::rax] = rax;
    if (probed.contains(rip)) tracker.on_execute(cpu);
  }

  test::FakeGuest guest;
  CpuView cpu{.memory = &guest};
  std::set<VirtAddr> probed;
  std::vector<std::string> log;
  bool wanted = true;
  CallTracker tracker{*this, *this};
};
using Log = std::vector<std::string>;

TEST(CallTracker, TellsAReturnByAddressAndStackPointer) {
  Board b;
  EXPECT_FALSE(b.probed.contains(site));
  b.enter(map, stack);
  EXPECT_TRUE(b.probed.contains(site));
  b.execute(site, stack - 0x100);
  b.execute(site, stack);
  b.execute(site, other_stack + 8);
  EXPECT_EQ(b.log, Log{"enter m"}) << "another call passes the same place";
  b.execute(site, stack + 8, 7);
  EXPECT_EQ(b.log, (Log{"enter m", "return m=7"}));
  EXPECT_EQ(b.tracker.pending(), 0u);
  b.execute(site, stack + 8, 8);
  EXPECT_EQ(b.log.size(), 2u) << "once";
  EXPECT_TRUE(b.probed.contains(site)) << "it will be needed again";
}

TEST(CallTracker, TellsTheInnerOfTwoCallsFirstThatATailCallEnds) {
  Board b;
  b.enter(unmap, stack);
  b.execute(inner, stack);
  b.execute(site, stack + 8, 1);
  EXPECT_EQ(b.log, (Log{"enter u", "enter i", "return i=1 in u", "return u=1"}));
}

TEST(CallTracker, SaysWhichCallsACallWasMadeIn) {
  Board b;
  b.enter(map, stack);
  b.enter(unmap, stack - 0x80, site + 0x20);
  b.enter(inner, stack - 0x100, site + 0x40);
  b.execute(site + 0x40, stack - 0xf8);
  b.execute(site + 0x20, stack - 0x78);
  b.execute(site, stack + 8);
  EXPECT_EQ(b.log,
            (Log{"enter m", "enter u", "enter i", "return i=0 in m in u", "return u=0 in m", "return m=0"}));
}

TEST(CallTracker, DoesNotTakeAnInterruptForAPartOfWhatItInterrupts) {
  Board b;
  b.enter(map, stack);
  b.enter(unmap, other_stack, site + 0x20);
  b.execute(site + 0x20, other_stack + 8);
  b.execute(site, stack + 8);
  EXPECT_EQ(b.log, (Log{"enter m", "enter u", "return u=0", "return m=0"}));
}

TEST(CallTracker, CountsACallOnceThatAnInterruptReturnsTo) {
  Board b;
  b.enter(map, stack);
  b.enter(map, stack);
  b.execute(site, stack + 8);
  EXPECT_EQ(b.log, (Log{"enter m", "return m=0"}));
}

TEST(CallTracker, WatchesWhereARareCallReturnsToOnlyForThatCall) {
  Board b;
  b.tracker.watch(inner, 2, 0, true);
  b.enter(inner, stack);
  b.enter(inner, other_stack);
  EXPECT_TRUE(b.probed.contains(site));
  b.execute(site, stack + 8);
  EXPECT_TRUE(b.probed.contains(site)) << "another one is on its way";
  b.execute(site, other_stack + 8);
  EXPECT_FALSE(b.probed.contains(site));
  EXPECT_EQ(b.log, (Log{"enter i", "enter i", "return i=0", "return i=0"}));
  b.enter(map, stack);
  b.enter(inner, other_stack);
  b.execute(site, other_stack + 8);
  EXPECT_TRUE(b.probed.contains(site)) << "the call that is not rare";
}

TEST(CallTracker, GivesUpCallsThatTheStackHasLeft) {
  Board b;
  b.enter(map, stack - 0x100);
  b.enter(unmap, stack - 0x80, site + 0x20);  // the first can not return any more
  EXPECT_EQ(b.log, (Log{"enter m", "lost m", "enter u"}));
  b.execute(site + 0x20, stack);
  EXPECT_EQ(b.log.back(), "lost u");
  EXPECT_EQ(b.tracker.lost(), 2u);
  EXPECT_EQ(b.tracker.pending(), 0u);
}

TEST(CallTracker, TakesArgumentsFromRegistersAndTheStack) {
  struct Taker : Board {
    bool on_entry(Call& call, const CpuView&) override {
      taken = call.arguments;
      return true;
    }
    std::array<std::uint64_t, arguments_max> taken{};
  };
  Taker b;
  b.cpu.gpr = {0, 4, 3, 0, 0, 0, 2, 1, 5, 6};  // rcx, rdx, rsi, rdi, r8, r9
  b.guest.put(stack + 8, std::uint64_t{7});
  b.enter(unmap, stack);
  EXPECT_EQ(b.taken, (std::array<std::uint64_t, arguments_max>{1, 2, 3, 4, 5, 6, 7, 0}));
  b.enter(map, other_stack);
  EXPECT_EQ(b.taken, (std::array<std::uint64_t, arguments_max>{1, 2})) << "no more than were asked for";
}

TEST(CallTracker, IsNotBroughtDownByAGuestThatCallsWithoutEnd) {
  Board b;
  for (std::uint64_t i = 0; i < CallTracker::pending_max + 10; ++i) {
    const VirtAddr sp = VirtAddr{0xffff'c910'0000'1000} + i * 0x4000;
    b.guest.put(sp, site.value());
    b.execute(map, sp);
    b.guest.unmap(sp);
  }
  EXPECT_EQ(b.tracker.pending(), CallTracker::pending_max);
  EXPECT_EQ(b.tracker.lost(), 10u);
  b.tracker.clear();
  EXPECT_EQ(b.tracker.pending(), 0u);
  EXPECT_TRUE(b.probed.empty());
}

TEST(CallTracker, LeavesCallsAloneThatCanNotReturnIntoTheKernel) {
  Board b;
  b.enter(map, stack, VirtAddr{0x401000});
  EXPECT_EQ(b.log, (Log{"enter m", "lost m"}));
  EXPECT_FALSE(b.probed.contains(VirtAddr{0x401000}));
  b.execute(map, VirtAddr{0x1000});  // a stack that is not mapped
  EXPECT_EQ(b.log.size(), 2u);
}

TEST(CallTracker, ForgetsWhatItIsToldTo) {
  Board b;
  b.wanted = false;
  b.enter(map, stack);
  EXPECT_EQ(b.tracker.pending(), 0u);
  EXPECT_FALSE(b.probed.contains(site)) << "nobody waits for its return";
  b.tracker.forget(map);
  EXPECT_FALSE(b.probed.contains(map));
  EXPECT_TRUE(b.probed.contains(unmap));
}

}  // namespace
}  // namespace cbit::linux
