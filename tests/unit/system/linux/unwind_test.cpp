// Stacks of a kernel: by ORC tables in their three dialects, and by looking for return addresses.
#include "linux/unwind.hpp"

#include <gtest/gtest.h>

#include <set>

#include "support/linux/fake_guest.hpp"

namespace cbit::linux {
namespace {

using test::ByteWriter;
using test::FakeGuest;

constexpr VirtAddr text{0xffff'ffff'8100'0000};
constexpr VirtAddr offsets_at{0xffff'ffff'82c0'0000};
constexpr VirtAddr stack_at{0xffff'c900'0001'0000};

// One entry as a dialect has it. In the numbers of orc_types.h; `end` and `signal` where a dialect has them.
struct Entry {
  std::uint64_t at = 0;  // from `text` on
  std::int16_t sp_offset = 0, bp_offset = 0;
  unsigned sp = 0, bp = 0, type = 0, high = 0;
};

OrcTable orc_table(const std::vector<Entry>& entries, OrcDialect dialect, bool told = true) {
  ByteWriter offsets, words;
  for (const Entry& entry : entries) {
    offsets.put(static_cast<std::uint32_t>((text + entry.at) - (offsets_at + offsets.size())));
    words.put(entry.sp_offset).put(entry.bp_offset);
    words.put(static_cast<std::uint16_t>(entry.sp | entry.bp << 4 | entry.type << 8 | entry.high));
  }
  return OrcTable::create(offsets.bytes(), offsets_at, words.bytes(),
                          told ? std::optional{dialect} : std::nullopt)
      .value_or(OrcTable{});
}

struct FakeCode : CodeMap {
  explicit FakeCode(OrcTable table) : orc{std::move(table)} {}
  [[nodiscard]] bool is_text(VirtAddr at) const override { return at >= text && at - text < 0x10000; }
  [[nodiscard]] bool is_function_start(VirtAddr at) const override { return starts.contains(at); }
  [[nodiscard]] std::optional<OrcRule> rule_at(VirtAddr ip) const override { return orc.find(ip); }
  OrcTable orc;
  std::set<VirtAddr> starts;
};

CpuView cpu_at(std::uint64_t rip, VirtAddr rsp, const FakeGuest& guest) {
  CpuView cpu{.rip = (text + rip).value(), .memory = &guest};
  cpu.gpr[CpuView::rsp] = rsp.value();
  return cpu;
}

std::vector<std::uint64_t> offsets_of(const std::vector<Frame>& frames) {
  std::vector<std::uint64_t> found;
  for (const Frame& frame : frames) found.push_back(frame.ip - text);
  return found;
}
using Offsets = std::vector<std::uint64_t>;

TEST(OrcTable, ReadsTheSameRulesInEveryDialect) {
  // type:2 of 6.1 counts from CALL; 6.4 has UNDEFINED, END_OF_STACK, CALL, REGS, REGS_PARTIAL; bit 10 of 6.1
  // is `end`, bit 11 is `signal` since 6.4.
  const OrcTable first = orc_table({{0x00, 8, 0, 5, 0, 0},
                                    {0x10, 16, -16, 4, 1, 0},
                                    {0x20, 0, 0, 9, 0, 1},
                                    {0x30, 0, 0, 0, 0, 0, 1 << 10},
                                    {0x40}},
                                   OrcDialect::v6_1);
  const OrcTable second = orc_table({{0x00, 8, 0, 5, 0, 2},
                                     {0x10, 16, -16, 4, 1, 2},
                                     {0x20, 0, 0, 9, 0, 3, 1 << 11},
                                     {0x30, 0, 0, 0, 0, 1},
                                     {0x40}},
                                    OrcDialect::v6_4);
  const OrcTable third = orc_table({{0x00, 8, 0, 3, 0, 2},
                                    {0x10, 16, -16, 4, 8, 2},
                                    {0x20, 0, 0, 9, 0, 3, 1 << 11},
                                    {0x30, 0, 0, 0, 0, 1},
                                    {0x40}},
                                   OrcDialect::v7);
  for (const OrcTable* orc : {&first, &second, &third}) {
    EXPECT_EQ(orc->find(text + 0x0f),
              (OrcRule{8, 0, OrcBase::sp, OrcBase::undefined, OrcFrame::call, false}));
    EXPECT_EQ(orc->find(text + 0x10),
              (OrcRule{16, -16, OrcBase::bp, OrcBase::prev_sp, OrcFrame::call, false}));
    EXPECT_EQ(orc->find(text + 0x20),
              (OrcRule{0, 0, OrcBase::sp_indirect, OrcBase::undefined, OrcFrame::regs, true}));
    EXPECT_EQ(orc->find(text + 0x30)->frame, OrcFrame::end_of_stack);
    EXPECT_EQ(orc->find(text + 0x40), std::nullopt) << "ORC knows nothing here";
    EXPECT_EQ(orc->find(text - 1), std::nullopt);
  }
}

TEST(OrcTable, TellsItsDialectByWhatIsCommon) {
  for (const auto& [dialect, sp, type] :
       {std::tuple{OrcDialect::v6_1, 5u, 0u}, {OrcDialect::v6_4, 5u, 2u}, {OrcDialect::v7, 3u, 2u}}) {
    std::vector<Entry> entries(10, {0, 8, 0, sp, 0, type});
    entries.push_back({0, 16, 0, 4, 0, type});
    entries.push_back({});
    const OrcTable orc = orc_table(entries, dialect, false);
    EXPECT_EQ(orc.size(), entries.size());
    EXPECT_EQ(orc.dialect(), dialect);
  }
  EXPECT_EQ(orc_table(std::vector<Entry>(10, {0, 8, 0, 7, 0, 2}), {}, false).size(), 0u);
}

TEST(OrcTable, IsNotMadeOfTablesThatDoNotBelongTogether) {
  EXPECT_FALSE(OrcTable::create(Bytes(8), offsets_at, Bytes(6), OrcDialect::v6_1));
  EXPECT_FALSE(OrcTable::create(Bytes(7), offsets_at, Bytes(6), OrcDialect::v6_1));
  EXPECT_FALSE(OrcTable::create({}, offsets_at, {}, OrcDialect::v6_1));
}

// A function without a frame, called by one with a frame pointer, called by the end of the stack.
std::vector<Entry> plain_calls() {
  return {{0x000, 8, 0, 5, 0, 2}, {0x100, 16, -16, 4, 1, 2}, {0x200, 0, 0, 0, 0, 1}, {0x300}};
}

TEST(Unwind, FollowsCallsToTheEndOfTheStack) {
  const FakeCode code{orc_table(plain_calls(), OrcDialect::v6_4)};
  FakeGuest guest;
  guest.put(stack_at, (text + 0x108).value());        // the caller of the first
  guest.put(stack_at + 0x40, std::uint64_t{0x1234});  // its caller's rbp
  guest.put(stack_at + 0x48, (text + 0x208).value());
  CpuView cpu = cpu_at(0x0, stack_at, guest);
  cpu.gpr[CpuView::rbp] = (stack_at + 0x40).value();
  const auto frames = unwind(cpu, code, 10);
  EXPECT_EQ(offsets_of(frames), (Offsets{0x0, 0x108, 0x208}));
  EXPECT_FALSE(frames[0].called);
  EXPECT_TRUE(frames[1].called);
  EXPECT_TRUE(frames[2].reliable);
  EXPECT_EQ(offsets_of(unwind(cpu, code, 2)), (Offsets{0x0, 0x108}));
}

TEST(Unwind, AsksForTheCallAndNotForWhatFollowsIt) {
  // A call that does not return is the last instruction of its function.
  const FakeCode code{orc_table(
      {{0x000, 8, 0, 5, 0, 2}, {0x100, 24, 0, 5, 0, 2}, {0x110, 0, 0, 0, 0, 0}, {0x200, 0, 0, 0, 0, 1}},
      OrcDialect::v6_4)};
  FakeGuest guest;
  guest.put(stack_at, (text + 0x110).value());
  guest.put(stack_at + 0x18, (text + 0x201).value());
  EXPECT_EQ(offsets_of(unwind(cpu_at(0x4, stack_at, guest), code, 10)), (Offsets{0x4, 0x110, 0x201}));
}

TEST(Unwind, PassesAnInterruptToWhatWasInterrupted) {
  const FakeCode code{orc_table({{0x000, 8, 0, 5, 0, 2},
                                 {0x100, 0, 0, 5, 0, 3, 1 << 11},
                                 {0x200, 16, -16, 4, 1, 2},
                                 {0x300, 0, 0, 0, 0, 1}},
                                OrcDialect::v6_4)};
  FakeGuest guest;
  const VirtAddr other = stack_at + 0x8000;
  guest.put(stack_at, (text + 0x108).value());
  const VirtAddr regs = stack_at + 8;
  guest.put(regs + 32, (other + 0x40).value());   // rbp
  guest.put(regs + 128, (text + 0x200).value());  // exactly the first instruction of its rule
  guest.put(regs + 136, std::uint64_t{0x10});     // cs
  guest.put(regs + 152, other.value());           // rsp
  guest.put(other + 0x40, std::uint64_t{0});
  guest.put(other + 0x48, (text + 0x301).value());
  const auto frames = unwind(cpu_at(0x0, stack_at, guest), code, 10);
  EXPECT_EQ(offsets_of(frames), (Offsets{0x0, 0x108, 0x200, 0x301}));
  EXPECT_FALSE(frames[2].called);
  guest.put(regs + 136, std::uint64_t{0x33});
  EXPECT_EQ(offsets_of(unwind(cpu_at(0x0, stack_at, guest), code, 10)), (Offsets{0x0, 0x108})) << "user code";
}

TEST(Unwind, FindsTheStackThroughARegisterOnlyWhereItIsKnown) {
  const FakeCode code{
      orc_table({{0x000, 0, 0, 6, 0, 2}, {0x100, 0, 0, 6, 0, 2}, {0x200, 0, 0, 0, 0, 1}}, OrcDialect::v6_4)};
  FakeGuest guest;
  guest.put(stack_at + 0x38, (text + 0x108).value());
  CpuView cpu = cpu_at(0x0, stack_at, guest);
  cpu.gpr[CpuView::r10] = (stack_at + 0x40).value();
  EXPECT_EQ(offsets_of(unwind(cpu, code, 10)), (Offsets{0x0, 0x108})) << "R10 of the caller is gone";
}

TEST(Unwind, EndsWhereTheStackDoesNotRiseOrCannotBeRead) {
  const FakeCode code{orc_table({{0x000, 0, 0, 5, 0, 2}, {0x100, 8, 0, 5, 0, 2}}, OrcDialect::v6_4)};
  FakeGuest guest;
  guest.put(stack_at - 8, (text + 0x8).value());
  EXPECT_EQ(offsets_of(unwind(cpu_at(0x0, stack_at, guest), code, 1000)), (Offsets{0x0}));
  EXPECT_EQ(offsets_of(unwind(cpu_at(0x100, stack_at + 0x10'0000, guest), code, 10)), (Offsets{0x100}));
}

TEST(ScanStack, KeepsWordsThatACallPutThere) {
  FakeCode code{OrcTable{}};
  FakeGuest guest;
  const auto call_before = [&](std::uint64_t at, std::initializer_list<unsigned> bytes) {
    ByteWriter writer;
    for (const unsigned byte : bytes) writer.put(static_cast<std::uint8_t>(byte));
    guest.write(text + at - writer.size(), writer.bytes());
  };
  guest.write(text, Bytes(0x1000));
  call_before(0x105, {0xe8, 1, 2, 3, 4});
  call_before(0x202, {0xff, 0xd0});                    // call *%rax
  call_before(0x307, {0xff, 0x14, 0xc5, 0, 0, 0, 0});  // call *0x0(,%rax,8)
  code.starts.insert(text + 0x400);
  call_before(0x400, {0xe8, 1, 2, 3, 4});
  call_before(0x502, {0xff, 0xe0});  // jmp *%rax
  std::uint64_t at = 0;
  for (const std::uint64_t word :
       {(text + 0x105).value(), std::uint64_t{17}, (text + 0x600).value(), (text + 0x400).value(),
        (text + 0x502).value(), (text + 0x202).value(), stack_at.value(), (text + 0x307).value()})
    guest.put(stack_at + 8 * at++, word);
  const auto frames = scan_stack(cpu_at(0x50, stack_at, guest), code, 10);
  EXPECT_EQ(offsets_of(frames), (Offsets{0x50, 0x105, 0x202, 0x307}));
  EXPECT_FALSE(frames[1].reliable);
  EXPECT_EQ(scan_stack(cpu_at(0x50, stack_at, guest), code, 2).size(), 2u);
}

TEST(GuestMemory, GivesTextThatIsSafeToPrint) {
  FakeGuest guest;
  guest.put_text(VirtAddr{0x1ff0}, "0000:00:02.0");
  guest.write(VirtAddr{0x2ffc}, test::bytes_from("a\x1b\nb"));
  EXPECT_EQ(guest.text(VirtAddr{0x1ff0}, 64), "0000:00:02.0");
  EXPECT_EQ(guest.text(VirtAddr{0x1ff0}, 4), "0000");
  EXPECT_EQ(guest.text(VirtAddr{0x2ffc}, 4), "a??b") << "up to the end of what is mapped";
  EXPECT_EQ(guest.text(VirtAddr{0x2ffc}, 5), std::nullopt);
}

}  // namespace
}  // namespace cbit::linux
