// Expected lines are those of QEMU's monitor (monitor/hmp-cmds-target.c, target/i386/monitor.c, cpu-dump.c)
// for the bytes, tables and registers that the tests put there; tables by APM vol. 2, 5.3, code by vol. 3.
#include "guest/monitor/monitor.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <utility>

#include "guest/run.hpp"
#include "support/guest_images.hpp"

namespace cbit::guest {
namespace {

using isa::Gpr;
using isa::Segment;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

constexpr std::uint64_t c_bit_mask = 1ull << c_bit;
constexpr KeyId guests_key = mem::guest_key(machine::guest_asid);

// A PC in 64-bit mode with tables of its own:
//   400000 → 200000 user, written; 401000 → 201000 shared, no code; 402000 → 300000 kernel
//   ffffffff80000000 → 400000, 2 MiB, global
class MonitorTest : public testing::Test {
 protected:
  static constexpr std::uint64_t pml4 = 0x10'0000;

  Pc& boot(Platform platform, unsigned cpus = 1) {
    pc_ = std::move(*Pc::create({.platform = platform, .memory_bytes = 32 << 20, .cpus = cpus}));
    const Bytes image = test::GuestCode{}.debug("hello").exit(3).multiboot();
    EXPECT_TRUE(pc_->load({.name = "image", .kernel = image, .command_line = ""}));
    return *pc_;
  }

  Pc& boot_paged(Platform platform) {
    boot(platform);
    encrypted_ = platform != Platform::plain;
    constexpr std::uint64_t table = 0x67, no_execute = 1ull << 63;
    // What nobody has written is noise under a guest's key.
    for (std::uint64_t at = pml4; at < pml4 + 6 * page_size; at += page_size)
      put(at, Bytes(page_size), encrypted_ ? guests_key : no_key);
    put_entry(0x10'0000, 0, 0x10'1000 | table | c());
    put_entry(0x10'0000, 511, 0x10'4000 | table | c());
    put_entry(0x10'1000, 0, 0x10'2000 | table | c());
    put_entry(0x10'2000, 2, 0x10'3000 | table | c());
    put_entry(0x10'3000, 0, 0x20'0000 | 0x67 | c());
    put_entry(0x10'3000, 1, 0x20'1000 | 0x01 | no_execute);
    put_entry(0x10'3000, 2, 0x30'0000 | 0x03 | c());
    put_entry(0x10'4000, 510, 0x10'5000 | table | c());
    put_entry(0x10'5000, 0, 0x40'0000 | 0x1e3 | c());
    pc_->cpu().set_registers(paged_registers());
    Bytes counting(16);
    for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::byte>(i);
    put(0x20'0000, counting, encrypted_ ? guests_key : no_key);
    put(0x20'1000, counting, no_key);
    return *pc_;
  }

  static cpu::Registers paged_registers() {
    cpu::Registers registers;
    for (unsigned i = 0; i < 16; ++i) registers.gpr[i] = 0x1111'0000'0000'0000 * (i % 8) + i;
    registers.rip = 0x40'0000;
    registers.rflags = 0x246;
    for (const Segment data : {Segment::es, Segment::ds, Segment::ss, Segment::fs, Segment::gs})
      registers.segment(data) = cpu::flat_data(0x10);
    registers.segment(Segment::cs) = cpu::flat_code_64(0x08);
    registers.segment(Segment::gs).base = 0xffff'8880'0000'0000;
    registers.tr = {0x40, cpu::SegmentAttributes{{0x08b}}, 0x67, 0xffff'fe00'0000'3000};
    registers.gdtr = {0xffff'fe00'0000'1000, 0x7f};
    registers.idtr = {0xffff'fe00'0000'0000, 0xfff};
    registers.cr0 = 0x8005'0033;
    registers.cr2 = 0xdead'beef;
    registers.cr3 = pml4;
    registers.cr4 = 0x6a0;
    registers.efer = 0xd01;
    return registers;
  }

  [[nodiscard]] std::uint64_t c() const { return encrypted_ ? c_bit_mask : 0; }
  void put(std::uint64_t at, ConstByteSpan bytes, KeyId key) {
    EXPECT_TRUE(
        pc_->machine().memory().write(PhysAddr{at}, bytes, {.agent = {AgentKind::cpu, 0}, .key = key}));
  }
  void put_entry(std::uint64_t table, unsigned index, std::uint64_t entry) {
    put(table + index * 8, bytes_of(entry), encrypted_ ? guests_key : no_key);
  }
  [[nodiscard]] std::string dram(std::uint64_t at, std::size_t bytes) const {
    Bytes raw(bytes);
    EXPECT_TRUE(pc_->machine().memory().probe(PhysAddr{at}, raw));
    return to_hex(raw);
  }
  std::string say(std::string_view line) { return Monitor{*pc_}.execute(line); }

  bool encrypted_ = false;
  std::unique_ptr<Pc> pc_;
};

TEST_F(MonitorTest, ShowsRegistersAsQemuDoes) {
  boot_paged(Platform::plain);
  EXPECT_THAT(
      say("info registers"),
      StartsWith("CPU#0\n"
                 "RAX=0000000000000000 RBX=3333000000000003 RCX=1111000000000001 RDX=2222000000000002\n"
                 "RSI=6666000000000006 RDI=7777000000000007 RBP=5555000000000005 RSP=4444000000000004\n"
                 "R8 =0000000000000008 R9 =1111000000000009 R10=222200000000000a R11=333300000000000b\n"
                 "R12=444400000000000c R13=555500000000000d R14=666600000000000e R15=777700000000000f\n"
                 "RIP=0000000000400000 RFL=00000246 [---Z-P-] CPL=0 HLT=0\n"
                 "ES =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
                 "CS =0008 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]\n"
                 "SS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
                 "DS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
                 "FS =0010 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
                 "GS =0010 ffff888000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\n"
                 "LDT=0000 0000000000000000 00000000 00000000\n"
                 "TR =0040 fffffe0000003000 00000067 00008b00 DPL=0 TSS64-busy\n"
                 "GDT=     fffffe0000001000 0000007f\n"
                 "IDT=     fffffe0000000000 00000fff\n"
                 "CR0=80050033 CR2=00000000deadbeef CR3=0000000000100000 CR4=000006a0 CR8=0\n"
                 "DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 \n"));
  EXPECT_THAT(say("info registers"), HasSubstr("\nEFER=0000000000000d01\nFCW="));
}

TEST_F(MonitorTest, ShowsFloatingPointAndVectorRegisters) {
  boot_paged(Platform::plain);
  cpu::Cpu::ExtendedState state = pc_->cpu().extended_state();
  for (std::size_t i = 0; i < 16; ++i) state[160 + i] = static_cast<std::byte>(i + 1);
  pc_->cpu().set_extended_state(state);
  EXPECT_THAT(say("info registers"), HasSubstr("\nXMM00=100f0e0d0c0b0a090807060504030201 XMM01=0000"));
  EXPECT_THAT(say("info registers"), HasSubstr("\nFPR0=0000000000000000 0000 FPR1="));
}

TEST_F(MonitorTest, ShowsTheNarrowRegistersOfA32BitGuest) {
  boot(Platform::plain);
  const std::string text = say("info registers");
  EXPECT_THAT(text, HasSubstr("\nEIP=00400010 EFL=00000002 [-------] CPL=0 HLT=0\n"));
  EXPECT_THAT(text, HasSubstr("CS32 [-RA]"));
  EXPECT_THAT(text, Not(HasSubstr("RAX")));
}

TEST_F(MonitorTest, ShowsRangesOfTheSameRightsAndKeyBits) {
  boot_paged(Platform::sev);
  EXPECT_EQ(say("info mem"),
            "0000000000400000-0000000000401000 0000000000001000 urw encrypted\n"
            "0000000000401000-0000000000402000 0000000000001000 -r- shared\n"
            "0000000000402000-0000000000403000 0000000000001000 -rw encrypted\n"
            "ffffffff80000000-ffffffff80200000 0000000000200000 -rw encrypted\n");
}

TEST_F(MonitorTest, MergesNeighboursAndHasNoColumnWithoutKeys) {
  boot_paged(Platform::plain);
  put_entry(0x10'3000, 3, 0x30'8000 | 0x23);
  EXPECT_EQ(say("info mem"),
            "0000000000400000-0000000000401000 0000000000001000 urw\n"
            "0000000000401000-0000000000402000 0000000000001000 -r-\n"
            "0000000000402000-0000000000404000 0000000000002000 -rw\n"
            "ffffffff80000000-ffffffff80200000 0000000000200000 -rw\n");
}

TEST_F(MonitorTest, ShowsMappedPagesWithTheirFlags) {
  boot_paged(Platform::sev);
  EXPECT_EQ(say("info tlb"),
            "0000000000400000: 0000000000200000 ---DA--UW encrypted\n"
            "0000000000401000: 0000000000201000 X-------- shared\n"
            "0000000000402000: 0000000000300000 --------W encrypted\n"
            "ffffffff80000000: 0000000000400000 -GPDA---W encrypted\n");
  EXPECT_EQ(say("info tlb 0x401000 1"),
            "0000000000401000: 0000000000201000 X-------- shared\n"
            "... there is more: ask for more lines\n");
  EXPECT_EQ(say("info tlb $rip+0x2000 9"),
            "0000000000402000: 0000000000300000 --------W encrypted\n"
            "ffffffff80000000: 0000000000400000 -GPDA---W encrypted\n");
}

TEST_F(MonitorTest, EndsAtTablesThatHaveNoEnd) {
  boot_paged(Platform::plain);
  for (unsigned i = 0; i < 512; ++i) put_entry(pml4, i, pml4 | 0x67);
  EXPECT_THAT(say("info mem"), EndsWith("... the tables go on, as if without end\n"));
  EXPECT_THAT(say("info tlb"), EndsWith("... there is more: ask for more lines\n"));
}

TEST_F(MonitorTest, SaysWhenThereIsNoPaging) {
  boot(Platform::plain);
  EXPECT_EQ(say("info mem"), "PG disabled\n");
  EXPECT_EQ(say("info tlb"), "PG disabled\n");
}

TEST_F(MonitorTest, DumpsMemoryInQemusFormats) {
  boot_paged(Platform::plain);
  EXPECT_EQ(say("xp /4xw 0x200000"), "0000000000200000: 0x03020100 0x07060504 0x0b0a0908 0x0f0e0d0c\n");
  EXPECT_EQ(say("xp/9xb 0x200000"),
            "0000000000200000: 0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07\n"
            "0000000000200008: 0x08\n");
  EXPECT_EQ(say("xp/2gx 0x200000"), "0000000000200000: 0x0706050403020100 0x0f0e0d0c0b0a0908\n");
  EXPECT_EQ(say("xp/2dh 0x200000"), "0000000000200000:   256   770\n");
  EXPECT_EQ(say("xp/1ob 0x200007"), "0000000000200007:  07\n");
  EXPECT_EQ(say("x/1xw $rip + 4"), "0000000000400004: 0x07060504\n");
  EXPECT_EQ(say("x/1xw 0x402000"), "0000000000402000: 0x00000000\n");
}

TEST_F(MonitorTest, ShowsNegativeNumbersCharactersAndWhatIsNone) {
  boot_paged(Platform::plain);
  put(0x20'0000, std::as_bytes(std::span{"A'\n\xff", 4}), no_key);
  EXPECT_EQ(say("xp/4c 0x200000"), "0000000000200000: 'A' '\\'' '\\n' '\\xff'\n");
  EXPECT_EQ(say("xp/1db 0x200003"), "0000000000200003:  -1\n");
  EXPECT_EQ(say("xp/1ub 0x200003"), "0000000000200003: 255\n");
}

TEST_F(MonitorTest, KeepsTheLastFormat) {
  boot_paged(Platform::plain);
  Monitor monitor{*pc_};
  monitor.execute("xp/2xb 0x200000");
  EXPECT_EQ(monitor.execute("xp 0x200001"), "0000000000200001: 0x01\n");
}

TEST_F(MonitorTest, ShowsWhatGuestHostAndDramHaveOfThePrivatePage) {
  boot_paged(Platform::sev);
  const std::string ciphertext = dram(0x20'0000, 8);
  EXPECT_NE(ciphertext, "0001020304050607");
  EXPECT_EQ(say("xp/2xw 0x200000"),
            fmt::format("{:17}{:<22}  {:<16}  {:<16}  key\n"
                        "0000000000200000: 0x03020100 0x07060504  {}  {}  guest\n",
                        "", " under its key", "host", "DRAM", ciphertext, ciphertext));
}

TEST_F(MonitorTest, ShowsThatASharedPageIsPlainToEverybody) {
  boot_paged(Platform::sev);
  EXPECT_THAT(
      say("xp/2xw 0x201000"),
      EndsWith("0000000000201000: 0x03020100 0x07060504  0001020304050607  0001020304050607  none\n"));
  EXPECT_THAT(
      say("x/2xw 0x401000"),
      EndsWith("0000000000401000: 0x03020100 0x07060504  0001020304050607  0001020304050607  none\n"));
}

// The same page by a mapping with the C-bit: what was written without a key is noise with one.
TEST_F(MonitorTest, LooksThroughTheKeyOfTheMapping) {
  boot_paged(Platform::sev);
  put_entry(0x10'3000, 1, 0x20'1000 | 0x03 | c());
  EXPECT_THAT(say("x/1xg 0x401000"), EndsWith("  guest\n"));
  EXPECT_THAT(say("x/1xg 0x401000"), Not(HasSubstr("0x0706050403020100")));
  EXPECT_THAT(say("xp/1xg 0x201000"), HasSubstr("0x0706050403020100"));
}

// As CR3 and page-table entries have it.
TEST_F(MonitorTest, TakesThePhysicalAddressWithItsKeyBits) {
  boot_paged(Platform::sev);
  EXPECT_THAT(say("xp/1xg 0x8000000200000"), HasSubstr("0000000000200000: 0x0706050403020100"));
  EXPECT_THAT(say("xp/1xg 0x8000000201000"), EndsWith("  guest\n")) << "of a page that is shared";
  EXPECT_THAT(say("xp/1xg 0x8000000201000"), Not(HasSubstr("0x0706050403020100")));
}

TEST_F(MonitorTest, DisassemblesFromARegisterOn) {
  boot_paged(Platform::sev);
  // add rax, rbx; syscall; ud2
  constexpr std::array<std::uint8_t, 7> code{0x48, 0x01, 0xd8, 0x0f, 0x05, 0x0f, 0x0b};
  put(0x20'0000, std::as_bytes(std::span{code}), guests_key);
  const auto line = [](std::uint64_t at, std::string_view bytes, std::string_view text) {
    return fmt::format("{:016x}:  {:<30}  {}\n", at, bytes, text);
  };
  EXPECT_EQ(say("x/3i $rip"), line(0x40'0000, "4801d8", "add rax, rbx") + line(0x40'0003, "0f05", "syscall") +
                                  line(0x40'0005, "0f0b", "ud2"));
  EXPECT_EQ(say("xp/1i 0x200000"), line(0x20'0000, "4801d8", "add rax, rbx"));
  EXPECT_THAT(say("x/1wi $rip"), HasSubstr("dec eax")) << "48h in 32-bit code";
}

TEST_F(MonitorTest, DisassemblesUpToWhereNothingIsMapped) {
  boot_paged(Platform::plain);
  constexpr std::array<std::uint8_t, 2> code{0x90, 0x48};  // nop; the beginning of something
  put(0x30'0ffe, std::as_bytes(std::span{code}), no_key);
  EXPECT_THAT(say("x/3i 0x402ffe"), EndsWith("nop\n"
                                             "0000000000402fff:  48                              (bad)\n"
                                             "0000000000403000: Cannot access memory\n"));
}

TEST_F(MonitorTest, NamesCodeWhereSomebodyKnowsTheKernel) {
  struct Known final : KernelKnowledge {
    [[nodiscard]] std::string name_of(VirtAddr at) const override {
      return at == VirtAddr{0x40'0000} ? "start\x1b+0x0" : "";
    }
    [[nodiscard]] std::optional<std::string> dma_text(std::size_t mappings_max) const override {
      return fmt::format("{} at most\n", mappings_max);
    }
    [[nodiscard]] std::string modules_text(std::size_t lines_max) const override {
      return fmt::format("{} modules\x1b\n", lines_max);
    }
    [[nodiscard]] std::optional<KernelForDump> for_dump() const override { return std::nullopt; }
  } known;
  Monitor monitor{boot_paged(Platform::plain), &known};
  EXPECT_THAT(monitor.execute("x/1i $rip"), EndsWith("# start\\x1b+0x0\n"));
  EXPECT_EQ(monitor.execute("info dma 5"), "5 at most\n");
  EXPECT_EQ(monitor.execute("info modules 6"), "6 modules\\x1b\n");
}

TEST_F(MonitorTest, SaysHowToHaveTheDmaApiWatched) {
  boot(Platform::plain);
  EXPECT_EQ(say("info dma"), "nobody watches the kernel's DMA API in this run\nbegin it with --report\n");
  EXPECT_EQ(say("info modules"),
            "nobody knows the kernel in this run\nbegin it with --report, or --gdb-symbols FILE\n");
}

TEST_F(MonitorTest, CannotAccessWhatIsNotThere) {
  boot_paged(Platform::sev);
  EXPECT_THAT(say("x/1xb 0x500000"), EndsWith("0000000000500000: Cannot access memory\n"));
  EXPECT_THAT(say("x/1xb 0x800000000000"), EndsWith("0000800000000000: Cannot access memory\n"));
  EXPECT_THAT(say("xp/1xb 0xfee00000"), EndsWith("00000000fee00000: Cannot access memory\n")) << "a device";
  EXPECT_THAT(say("xp/16xb 0x1fffff8"), EndsWith("0000000002000000: Cannot access memory\n")) << "RAM ends";
  EXPECT_THAT(say("xp/1xb 0x7ffffffff000"), EndsWith("00007ffffffff000: Cannot access memory\n"));
  EXPECT_THAT(say("x/1i 0x500000"), EndsWith(": Cannot access memory\n"));
}

TEST_F(MonitorTest, ShowsWhoWrotePagesWithWhichKey) {
  boot_paged(Platform::sev);
  const std::string text = say("info pages");
  EXPECT_THAT(
      text,
      HasSubstr("0000000000200000-0000000000201000        1 page   private   key guest  written by cpu\n"
                "0000000000201000-0000000000202000        1 page   shared    key none   written by cpu\n"));
  EXPECT_THAT(text, HasSubstr("private   key guest  written by launch\n"));
  EXPECT_THAT(text, HasSubstr("1 pages shared, key none, written by cpu\n"));
  EXPECT_THAT(text, EndsWith("pages never written\n"));
  EXPECT_THAT(say("info pages 0x201000 1"),
              StartsWith("0000000000201000-0000000000202000        1 page   shared"));
  EXPECT_THAT(say("info pages 0 1"), HasSubstr("more: ask for more lines\n"));
}

TEST_F(MonitorTest, CalculatesAndPrints) {
  boot_paged(Platform::plain);
  EXPECT_EQ(say("p $cr3 + 0x10"), "0x100010\n");
  EXPECT_EQ(say("print/d -1"), "-1\n");
  EXPECT_EQ(say("p/c 65"), "'A'\n");
  EXPECT_EQ(say("p/x $gs.base"), "0xffff888000000000\n");
  EXPECT_EQ(say("p $cs"), "0x8\n");
}

TEST_F(MonitorTest, SaysWhatWasMeantAndWhatIsWrong) {
  boot_paged(Platform::plain);
  EXPECT_EQ(say("ifno mem"),
            "unknown command: \"ifno\"\ndid you mean \"info\"? \"help\" lists what there is\n");
  EXPECT_EQ(say("info registres"),
            "unknown topic: \"registres\"\ndid you mean \"registers\"? \"help\" lists what there is\n");
  EXPECT_EQ(say("zzz\x1b"), "unknown command: \"zzz\\x1b\"\n\"help\" lists what there is\n");
  EXPECT_THAT(say("x/4yw 0"), StartsWith("\"/4yw\" is no format\n"));
  EXPECT_THAT(say("x/99999xb 0"), StartsWith("at most 4096 items at a time\n"));
  EXPECT_THAT(say("xp/1xb $rop"), StartsWith("there is no register \"$rop\"\n"));
  EXPECT_EQ(say("x/1xb"), "an address is missing\n");
  EXPECT_EQ(say("info mem 0"), "\"0\" is no number of lines\nuse 1 to 1000000\n");
  EXPECT_EQ(say("quit now"), "\"now\" does not belong to this command\n");
  EXPECT_EQ(say(""), "");
  EXPECT_EQ(say("  "), "");
}

TEST_F(MonitorTest, ListsItsCommands) {
  boot(Platform::plain);
  for (const auto* word : {"help", "?"}) {
    const std::string text = say(word);
    EXPECT_THAT(text, StartsWith("The guest stands still"));
    for (const auto* name : {"info registers", "info mem", "info tlb", "info pages", "info dma",
                             "x/FMT ADDRESS", "xp/FMT ADDRESS", "cont|c", "stop", "quit|q"})
      EXPECT_THAT(text, HasSubstr(name));
  }
}

TEST_F(MonitorTest, TellsWhatTheMachineIsToDo) {
  Monitor monitor{boot(Platform::plain)};
  monitor.execute("stop");
  EXPECT_TRUE(monitor.stopped());
  EXPECT_FALSE(monitor.take_continue());
  monitor.execute("c");
  EXPECT_FALSE(monitor.stopped());
  EXPECT_TRUE(monitor.take_continue());
  EXPECT_FALSE(monitor.take_continue()) << "once";
  EXPECT_FALSE(monitor.quits());
  monitor.execute("q");
  EXPECT_TRUE(monitor.quits());
}

// ---- it changes nothing ---------------------------------------------------------------------------------

class Recorder final : public EventSink {
 public:
  void on_event(const Event& event) override {
    events.push_back(fmt::format("{} {}", event.time_ns, event.payload.index()));
  }
  std::vector<std::string> events;
};

// hmp-commands-info.hx: version; Linux' gdb scripts ask for it, to know the stub (get_gdbserver_type()).
TEST_F(MonitorTest, TellsItsVersion) {
  boot(Platform::plain);
  EXPECT_THAT(say("info version"), MatchesRegex("cbit [0-9.]+\n"));
  EXPECT_THAT(say("info version 2"), Not(StartsWith("cbit")));
}

// All that can be told of a machine.
// Monitor, hmp-commands.hx: cpu; hmp-commands-info.hx: registers [-a|vcpu].
TEST_F(MonitorTest, LooksThroughTheEyesOfTheProcessorThatWasChosen) {
  boot(Platform::plain, 2);
  cpu::Registers registers = pc_->cpu(1).registers();
  registers.rip = 0x1234;
  pc_->cpu(1).set_registers(registers);
  Monitor monitor{*pc_};
  EXPECT_EQ(monitor.execute("info cpus"),
            "* CPU #0: pc=0x0000000000400010\n  CPU #1: pc=0x0000000000001234\n");
  EXPECT_EQ(monitor.execute("cpu 1"), "");
  EXPECT_THAT(monitor.execute("info registers"), StartsWith("CPU#1\n"));
  EXPECT_EQ(monitor.execute("print $rip"), "0x1234\n");
  EXPECT_THAT(monitor.execute("info registers 0"), StartsWith("CPU#0\n"));
  EXPECT_THAT(monitor.execute("info registers -a"), AllOf(HasSubstr("CPU#0\n"), HasSubstr("\nCPU#1\n")));
  for (const std::string_view wrong : {"cpu 2", "cpu", "cpu -1", "info registers 2", "info registers -b"})
    EXPECT_THAT(monitor.execute(wrong), HasSubstr("no processor has the number")) << wrong;
}

TEST_F(MonitorTest, TellsProcessorsThatWaitToBeStartedAsHalted) {
  boot(Platform::plain, 2);
  EXPECT_THAT(say("info cpus"), EndsWith("CPU #1: pc=0x000000000000fff0 (halted)\n"));
}

std::string fingerprint(Pc& pc) {
  const cpu::Registers registers = pc.cpu().registers();
  std::string text = fmt::format("{} {} {} ", pc.clock().now_ns(), pc.cpu().instructions(), registers.rip);
  for (const std::uint64_t gpr : registers.gpr) text += fmt::format("{} ", gpr);
  text += fmt::format("{} {} {}", registers.rflags, registers.cr2, to_hex(pc.cpu().extended_state()));
  const mem::MemoryStats stats = pc.machine().memory().stats();
  text += fmt::format("{} {} {} {}\n", stats.owner_changes, stats.blocks_transformed, stats.hazards,
                      pc.code().stats().blocks);
  pc.machine().memory().for_each_touched([&](PhysAddr at, const mem::PageHistory& page) {
    Bytes raw(page_size);
    EXPECT_TRUE(pc.machine().memory().probe(at, raw));
    text += fmt::format("{} {} {} {} {}\n", at.value(), page.owner, page.writer_key, page.written_ns,
                        std::hash<std::string>{}(to_hex(raw)));
  });
  return text;
}

constexpr const char* every_command[] = {
    "info registers", "info mem",       "info tlb",          "info pages",
    "info dma",       "help",           "x/16xb $rip",       "xp/64xg 0x200000",
    "x/5i $rip",      "xp/5i 0x400000", "xp/8xw 0x201000",   "x/4xg 0x401000",
    "p $rax",         "x/4xb 0x500000", "xp/4xb 0xfee00000", "stop",
    "cont",           "nonsense"};

TEST_F(MonitorTest, ChangesNothingThatCanBeTold) {
  for (const Platform platform : {Platform::plain, Platform::sev}) {
    boot_paged(platform);
    Recorder recorder;
    pc_->machine().tracer().attach(recorder);
    const std::string before = fingerprint(*pc_);
    Monitor monitor{*pc_};
    for (const char* line : every_command) monitor.execute(line);
    EXPECT_EQ(fingerprint(*pc_), before);
    EXPECT_TRUE(recorder.events.empty());
    pc_->machine().tracer().detach(recorder);
  }
}

TEST_F(MonitorTest, LetsARunGoOnAsIfItHadNotBeenThere) {
  for (const Platform platform : {Platform::plain, Platform::sev, Platform::sme}) {
    std::vector<std::string> runs;
    for (const bool looks : {false, true}) {
      boot(platform);
      Recorder recorder;
      pc_->machine().tracer().attach(recorder);
      Monitor monitor{*pc_};
      RunOptions options;
      bool looked = false;
      options.await_input = [](os::PollSet& set) { set.limit(std::chrono::nanoseconds{0}); };
      options.wishes.emplace_back([&] {
        if (looks)
          for (const char* line : every_command) monitor.execute(line);
        return std::exchange(looked, true) ? Wish::go_on : Wish::stand_still;
      });
      const RunReport report = run(*pc_, options);
      EXPECT_EQ(report.ending, Ending::exited);
      if (looks)
        for (const char* line : every_command) monitor.execute(line);
      std::string told = fingerprint(*pc_);
      for (const std::string& event : recorder.events) told += event + '\n';
      runs.push_back(told);
      pc_->machine().tracer().detach(recorder);
    }
    EXPECT_EQ(runs[0], runs[1]);
  }
}

}  // namespace
}  // namespace cbit::guest
