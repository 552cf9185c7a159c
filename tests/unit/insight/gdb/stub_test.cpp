// A stub and a machine, by the protocol's packets. Expected replies: GDB's manual, "Packets", "Stop Reply
// Packets", "General Query Packets"; QEMU's, docs/system/gdb.rst.
#include "gdb/stub.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "gdb/packets.hpp"
#include "support/guest_images.hpp"

namespace cbit::gdb {
namespace {

using State = Stub::State;
using test::GuestCode;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// mov al, 'h'; out 0xe9, al; mov dword [500000h], 1234; ...; HLT is never reached.
constexpr std::uint64_t entry = GuestCode::base + 16;
constexpr std::uint32_t variable = 0x50'0000;

class StubTest : public testing::TestWithParam<Platform> {
 protected:
  StubTest() {
    pc_ = std::move(*guest::Pc::create({.platform = GetParam(), .memory_bytes = 16 << 20}));
    const Bytes image = GuestCode{}.debug("h").store(variable, 0x1234).debug("i").exit(3).multiboot();
    EXPECT_TRUE(pc_->load({.name = "image", .kernel = image, .command_line = ""}));
    stub_ =
        std::make_unique<Stub>(*pc_, nullptr, [this](std::string_view data) { sent_.emplace_back(data); });
    stub_->attach();
  }

  std::string say(std::string_view packet) { return stub_->execute(packet).value_or("(later)"); }
  // Lets it do what it was told, until it stops by itself.
  std::string run() {
    for (;;) {
      if (stub_->state() == State::steps) {
        if (const auto stop = stub_->step(1'000'000)) return *stop;
      } else {
        const guest::Pc::Progress done = pc_->run(pc_->clock().now_ns() + 1'000'000);
        if (done.ending) return "(ended)";
        if (const auto stop = stub_->look_for_stop()) return *stop;
      }
    }
  }
  std::string go(std::string_view packet) {
    EXPECT_EQ(say(packet), "(later)");
    return run();
  }
  [[nodiscard]] std::uint64_t rip() const { return pc_->cpu().rip(); }
  std::uint32_t stored() {
    std::uint32_t value = 0;
    EXPECT_TRUE(pc_->cpu().read_memory(VirtAddr{variable}, std::as_writable_bytes(std::span{&value, 1})));
    return value;
  }

  std::unique_ptr<guest::Pc> pc_;
  std::unique_ptr<Stub> stub_;
  std::vector<std::string> sent_;
};

INSTANTIATE_TEST_SUITE_P(Platforms, StubTest, testing::Values(Platform::plain, Platform::sev, Platform::sme));

TEST_P(StubTest, HasTheMachineStandStillForWhoAttaches) {
  EXPECT_EQ(stub_->state(), State::stopped);
  EXPECT_EQ(say("?"), "T05thread:1;");
  EXPECT_EQ(say("qAttached"), "1");
  EXPECT_EQ(say("qC"), "QC1");
  EXPECT_EQ(say("qfThreadInfo"), "m1");
  EXPECT_EQ(say("qsThreadInfo"), "l");
  EXPECT_EQ(say("T1"), "OK");
  EXPECT_EQ(say("T2"), "E22");
  EXPECT_EQ(say("qThreadExtraInfo,1"), to_hex("CPU#0 [running]"));
  EXPECT_EQ(say("vCont?"), "vCont;c;C;s;S");
  EXPECT_THAT(say("qSupported:swbreak+;hwbreak+"), HasSubstr("qXfer:features:read+"));
}

TEST_P(StubTest, AnswersWhatItDoesNotKnowWithNothing) {
  for (const char* packet : {"", "qCRC:0,1", "qOffsets", "vMustReplyEmpty", "!", "b", "qTStatus", "\xff"})
    EXPECT_EQ(say(packet), "") << packet;
}

TEST_P(StubTest, StepsAnInstruction) {
  EXPECT_EQ(rip(), entry);
  EXPECT_EQ(go("s"), "T05thread:1;");
  EXPECT_EQ(rip(), entry + 2);
  EXPECT_EQ(pc_->cpu().instructions(), 1u);
  EXPECT_EQ(go("vCont;s:1;c"), "T05thread:1;");
  EXPECT_EQ(rip(), entry + 4);
  EXPECT_EQ(say("vCont;x"), "E22");
  EXPECT_EQ(say("vCont;s:2"), "E22");
  EXPECT_EQ(stub_->state(), State::stopped);
}

TEST_P(StubTest, StopsAtBreakpointsOfBothKindsWithoutChangingMemory) {
  for (const bool hardware : {false, true}) {
    (void)say("qSupported:swbreak+;hwbreak+");
    const std::string before = say(fmt::format("m{:x},4", entry + 4));
    const std::string place = fmt::format("{},{:x},1", hardware ? 1 : 0, entry + (hardware ? 14 : 4));
    EXPECT_EQ(say("Z" + place), "OK");
    EXPECT_EQ(say(fmt::format("m{:x},4", entry + 4)), before);
    EXPECT_EQ(go("c"), hardware ? "T05thread:1;hwbreak:;" : "T05thread:1;swbreak:;");
    EXPECT_EQ(rip(), entry + (hardware ? 14 : 4));
    EXPECT_EQ(stored(), hardware ? 0x1234u : stored());
    EXPECT_EQ(say("z" + place), "OK");
  }
  EXPECT_EQ(go("c"), "(ended)");
}

TEST_P(StubTest, StopsBehindAWriteThatIsWatched) {
  EXPECT_EQ(say(fmt::format("Z2,{:x},4", variable + 2)), "OK");
  EXPECT_EQ(go("c"), fmt::format("T05thread:1;watch:{:x};", variable + 2));
  EXPECT_EQ(rip(), entry + 14);
  EXPECT_EQ(stored(), 0x1234u);
  EXPECT_EQ(say(fmt::format("z2,{:x},4", variable + 2)), "OK");
  EXPECT_EQ(say(fmt::format("Z3,{:x},4", variable)), "OK");
  EXPECT_EQ(go("c"), "(ended)") << "it is written only";
}

TEST_P(StubTest, RefusesPointsThatAreNone) {
  for (const char* packet :
       {"Z2,1000,0", "Z4,ffffffffffffffff,2", "Z5,1000,1", "Z0,x,1", "Z0", "Z", "Z0,1000"})
    EXPECT_EQ(say(packet), "E22") << packet;
  EXPECT_EQ(say("z0,1000,1"), "OK") << "there is none";
  for (std::size_t i = 0; i < Target::points_max; ++i) EXPECT_EQ(say(fmt::format("Z1,{:x},1", i)), "OK");
  EXPECT_EQ(say("Z1,ffff,1"), "E22");
}

TEST_P(StubTest, ReadsAndWritesRegisters) {
  const std::string all = say("g");
  std::size_t bytes = 0;
  for (std::size_t number = 0; number < register_count(); ++number) {
    EXPECT_EQ(say(fmt::format("p{:x}", number)), all.substr(2 * bytes, 2 * register_bytes(number)));
    bytes += register_bytes(number);
  }
  EXPECT_EQ(all.size(), 2 * bytes);
  EXPECT_EQ(say(fmt::format("p{:x}", register_count())), "E22");
  EXPECT_EQ(say("p10"), cbit::to_hex(bytes_of(entry))) << "RIP";
  EXPECT_EQ(say("P0=8877665544332211"), "OK");
  EXPECT_EQ(pc_->cpu().registers()[isa::Gpr::rax], 0x1122334455667788u);
  EXPECT_EQ(say("P0=88776655"), "E22");
  EXPECT_EQ(say("P12=0800000000000000"), "E22") << "a selector has four bytes";
  EXPECT_EQ(say("P12=33000000"), "E22") << "a descriptor would have to be loaded";
  EXPECT_EQ(say("G" + say("g")), "OK");
  EXPECT_EQ(say("G00"), "E22");
}

TEST_P(StubTest, HasTheX87TagsOfItsRegisters) {
  cpu::Cpu::ExtendedState state = pc_->cpu().extended_state();
  state[cpu::fxsave::tags_at] = std::byte{0xc0};                // registers 6 and 7
  state[cpu::fxsave::status_at + 1] = std::byte{6 << 3};        // the top is 6
  store<std::uint64_t>(state, cpu::fxsave::st_at, 1ull << 63);  // 1.0
  store<std::uint16_t>(state, cpu::fxsave::st_at + 8, 0x3fff);
  pc_->cpu().set_extended_state(state);
  EXPECT_EQ(say("p22"), "ff4f0000") << "6 is valid, 7 is zero, the others are empty: APM vol. 1, 6.2.4";
  EXPECT_EQ(say("p18"), "0000000000000080ff3f");
  EXPECT_EQ(say("P22=ffff0000"), "OK");
  EXPECT_EQ(pc_->cpu().extended_state()[cpu::fxsave::tags_at], std::byte{0});
}

TEST_P(StubTest, DescribesItsRegisters) {
  std::string text;
  for (;;) {
    const std::string part = say(fmt::format("qXfer:features:read:target.xml:{:x},400", text.size()));
    text += part.substr(1);
    if (part[0] == 'l') break;
    ASSERT_EQ(part[0], 'm');
  }
  EXPECT_EQ(text, target_xml());
  for (const char* feature : {"org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse", "org.gnu.gdb.i386.segments"})
    EXPECT_THAT(text, HasSubstr(feature));
  for (const char* name :
       {"rax", "xmm15", "mxcsr", "fs_base", "k_gs_base", "cr0", "cr3", "cr8", "efer", "st7"})
    EXPECT_THAT(text, HasSubstr(fmt::format("name=\"{}\"", name)));
  EXPECT_EQ(say("qXfer:features:read:target.xml:ffffff,10"), "E22");
  EXPECT_EQ(say("qXfer:features:read:other.xml:0,10"), "");
}

TEST_P(StubTest, ReadsAndWritesMemoryByTheProcessorsAddresses) {
  EXPECT_EQ(say(fmt::format("M{:x},4:78563412", variable)), "OK");
  EXPECT_EQ(say(fmt::format("m{:x},4", variable)), "78563412");
  EXPECT_EQ(stored(), 0x12345678u);
  EXPECT_EQ(say(fmt::format("X{:x},3:abc", variable)), "OK");
  EXPECT_EQ(say(fmt::format("m{:x},4", variable)), "61626312");
  EXPECT_EQ(say("m1000000,4"), "E14") << "RAM ends";
  EXPECT_EQ(say("mfee00000,4"), "E14") << "a device";
  EXPECT_EQ(say("mfffff0,20").size(), 32u) << "as much as there is";
  EXPECT_EQ(say("Mfffff8,10:00000000000000000000000000000000"), "E14");
  for (const char* packet : {"m", "m0", "m0,", "m0,100000", "M0,2:00", "M0,1:0", "X0,2:a", "M0,1"})
    EXPECT_EQ(say(packet), "E22") << packet;
}

TEST_P(StubTest, ReadsPhysicalMemoryByThePagesKeyOrTheCBit) {
  EXPECT_EQ(say("qqemu.PhyMemMode"), "0");
  EXPECT_EQ(say("Qqemu.PhyMemMode:1"), "OK");
  EXPECT_EQ(say("qqemu.PhyMemMode"), "1");
  (void)go("s");
  EXPECT_EQ(say(fmt::format("m{:x},2", entry)), "b068") << "mov al, 'h'";
  const std::string with_c_bit = say(fmt::format("m{:x},2", entry | 1ull << guest::c_bit));
  if (GetParam() == Platform::sev) {
    EXPECT_EQ(with_c_bit, "b068");
  } else if (GetParam() == Platform::sme) {
    EXPECT_NE(with_c_bit, "b068") << "it is plain, and would be deciphered";
  }
  EXPECT_EQ(say("Qqemu.PhyMemMode:2"), "E22");
}

TEST_P(StubTest, HasWhatItWritesExecuted) {
  (void)go("s");
  EXPECT_EQ(say(fmt::format("M{:x},1:90", entry + 2)), "OK");  // nop
  (void)go("s");
  EXPECT_EQ(rip(), entry + 3);
}

TEST_P(StubTest, PassesCommandsToTheMonitor) {
  EXPECT_EQ(say("qRcmd," + to_hex("info registers")), "OK");
  ASSERT_FALSE(sent_.empty());
  EXPECT_THAT(sent_.front(), StartsWith("O" + to_hex("CPU#0\n")));
  EXPECT_EQ(say("qRcmd,0"), "E22");
  sent_.clear();
  EXPECT_EQ(say("qRcmd," + to_hex("cont")), "OK");
  EXPECT_EQ(sent_.size(), 1u);
  EXPECT_EQ(stub_->state(), State::stopped);
  EXPECT_EQ(say("qRcmd," + to_hex("quit")), "OK");
  EXPECT_EQ(stub_->state(), State::killed);
}

TEST_P(StubTest, SplitsLongOutputOfTheMonitor) {
  EXPECT_EQ(say("qRcmd," + to_hex("xp/4096xb 0")), "OK");
  EXPECT_GT(sent_.size(), 1u);
  for (const std::string& packet : sent_) EXPECT_LE(packet.size(), packet_bytes_max);
}

TEST_P(StubTest, IsInterruptedWhileItRuns) {
  EXPECT_EQ(stub_->interrupt(), std::nullopt) << "it stands still";
  EXPECT_EQ(say("c"), "(later)");
  EXPECT_EQ(stub_->interrupt(), "T02thread:1;");
  EXPECT_EQ(say("?"), "T02thread:1;");
}

TEST_P(StubTest, LeavesNothingBehindWhereItIsDetached) {
  EXPECT_EQ(say(fmt::format("Z0,{:x},1", entry + 4)), "OK");
  EXPECT_EQ(say(fmt::format("Z2,{:x},4", variable)), "OK");
  EXPECT_EQ(say("D"), "OK");
  EXPECT_EQ(stub_->state(), State::runs);
  EXPECT_EQ(run(), "(ended)");
}

TEST_P(StubTest, EndsTheRunWhereItIsKilled) {
  EXPECT_EQ(say("vKill;1"), "OK");
  EXPECT_EQ(stub_->state(), State::killed);
}

TEST_P(StubTest, HasNoWayBackWhereNothingIsReplayed) {
  EXPECT_THAT(say("qSupported:swbreak+"), Not(HasSubstr("Reverse")));
  EXPECT_EQ(say("bs"), "");
  EXPECT_EQ(say("bc"), "");
  EXPECT_EQ(stub_->state(), State::stopped);
}

TEST_P(StubTest, HasAWayBackInAReplayButNotBeforeItsBeginning) {
  stub_->replay();
  EXPECT_THAT(say("qSupported:swbreak+"), HasSubstr(";ReverseStep+;ReverseContinue+"));
  EXPECT_EQ(say("bs"), "T05thread:1;replaylog:begin;");
  EXPECT_EQ(say("bc"), "T05thread:1;replaylog:begin;");
  EXPECT_EQ(say("Z1,1000,1"), "OK");
  EXPECT_EQ(go("s"), "T05thread:1;");
  EXPECT_EQ(go("vCont;s:1"), "T05thread:1;");
  EXPECT_EQ(pc_->position(), 2u);
  EXPECT_EQ(say("bs"), "(later)");
  EXPECT_EQ(stub_->state(), State::goes_back);
  EXPECT_EQ(stub_->journey().kind, Journey::Kind::of_a_processor);
  EXPECT_EQ(stub_->journey().position, 1u);
  const auto carried = Journey::from_bytes(stub_->journey().to_bytes());
  ASSERT_TRUE(carried);
  EXPECT_EQ(carried->position, 1u);
  ASSERT_EQ(carried->debugger.points.size(), 1u);
  EXPECT_EQ(carried->debugger.points[0], (Point{PointKind::hardware_break, VirtAddr{0x1000}, 0}));
}

TEST_P(StubTest, ArrivesWithWhatTheDebuggerHadSet) {
  stub_->replay();
  Journey journey{.kind = Journey::Kind::to_position, .reason = "replaylog:begin;", .debugger = {}};
  journey.debugger.acknowledges = false;
  journey.debugger.points = {{PointKind::hardware_break, VirtAddr{entry + 2}, 0}};
  EXPECT_EQ(stub_->arrive(journey), "T05thread:1;replaylog:begin;");
  EXPECT_FALSE(stub_->acknowledges());
  EXPECT_THAT(go("c"), StartsWith("T05thread:1;"));
  EXPECT_EQ(rip(), entry + 2);
  EXPECT_EQ(stub_->end_of_recording(), "T05thread:1;replaylog:end;");
}

// The step counts although there is a breakpoint at the instruction, and changes nothing.
TEST_P(StubTest, StepsInAReplayAsItWouldRun) {
  stub_->replay();
  EXPECT_EQ(say(fmt::format("Z1,{:x},1", entry)), "OK");
  EXPECT_EQ(go("s"), "T05thread:1;");
  EXPECT_EQ(rip(), entry + 2);
}

TEST_P(StubTest, SaysAndTakesHowItSteps) {
  EXPECT_EQ(say("qqemu.sstepbits"), "ENABLE=1,NOIRQ=2");
  EXPECT_EQ(say("qqemu.sstep"), "0x3");
  EXPECT_EQ(say("Qqemu.sstep=1"), "OK");
  EXPECT_EQ(say("qqemu.sstep"), "0x1");
  EXPECT_EQ(say("Qqemu.sstep=7"), "E22");
}

TEST_P(StubTest, LeavesTheRunAsItWouldHaveBeen) {
  (void)say(fmt::format("Z0,{:x},1", entry + 4));
  (void)say(fmt::format("Z4,{:x},4", variable));
  EXPECT_EQ(go("c"), "T05thread:1;");
  EXPECT_EQ(go("s"), fmt::format("T05thread:1;awatch:{:x};", variable));
  EXPECT_EQ(go("c"), "(ended)");
  const auto alone = std::move(*guest::Pc::create({.platform = GetParam(), .memory_bytes = 16 << 20}));
  const Bytes image = GuestCode{}.debug("h").store(variable, 0x1234).debug("i").exit(3).multiboot();
  ASSERT_TRUE(alone->load({.name = "image", .kernel = image, .command_line = ""}));
  EXPECT_TRUE(alone->run(1'000'000'000).ending);
  EXPECT_EQ(pc_->cpu().instructions(), alone->cpu().instructions());
  EXPECT_EQ(pc_->clock().now_ns(), alone->clock().now_ns());
  EXPECT_EQ(pc_->exit_status(), alone->exit_status());
}

}  // namespace
}  // namespace cbit::gdb
