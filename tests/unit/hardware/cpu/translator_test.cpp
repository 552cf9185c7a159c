// Blocks that became code of the host: they change when their bytes do, end in time, and are never writable.
#include <sys/resource.h>

#include <fstream>
#include <set>
#include <string>

#include "cpu_box.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t handler = 0x2'0000;

// A block is translated when it runs for the first time.
struct TranslatedBox : CpuBox {
  explicit TranslatedBox(unsigned runs = 1, std::size_t bytes = cpu::CodeCache::translation_bytes_max)
      : CpuBox{cpu::default_model(), nullptr, runs, bytes} {}

  [[nodiscard]] bool translates() const { return code.enter_translation() != nullptr; }
  // Of a loop that counts ECX down and RAX up.
  void run_turns(unsigned turns) {
    cpu::Registers r = CpuBox::kernel_registers();
    r[Gpr::rcx] = turns;
    use(r);
    EXPECT_EQ(run(), cpu::Stop::halted);
    EXPECT_EQ((*this)[Gpr::rax], turns);
  }
  // As a device does.
  void write(std::uint64_t at, std::uint8_t value) {
    ASSERT_TRUE(memory.write(PhysAddr{at}, std::as_bytes(std::span{&value, 1}), no_key));
  }
};

class CpuTranslator : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!TranslatedBox{}.translates()) GTEST_SKIP() << "no x86-64 host that runs what a program wrote";
  }
};

const Code counts_turns = {
    0x48, 0x83, 0xc0, 0x01,  // 1: add rax, 1
    0xff, 0xc9,              // dec ecx
    0x75, 0xf8,              // jnz 1b
    0xf4                     // hlt
};
constexpr std::uint64_t addend = CpuBox::code_at + 3;

// A loop of two blocks, the second of which adds to RBX.
const Code two_blocks = {
    0x83, 0xc0, 0x01,  // 1: add eax, 1
    0xeb, 0x00,        // jmp 2f
    0x83, 0xc3, 0x02,  // 2: add ebx, 2
    0xff, 0xc9,        // dec ecx
    0x75, 0xf4,        // jnz 1b
    0xf4               // hlt
};
constexpr std::uint64_t second_addend = CpuBox::code_at + 7;

// A mixture of what has code of its own and what calls for help, with a loop in a loop.
const Code mixture = {
    0xb9, 0x28, 0x00, 0x00, 0x00,                    // mov ecx, 40
    0x89, 0x0c, 0x25, 0x00, 0x00, 0x03, 0x00,        // 1: mov [0x30000], ecx
    0x83, 0x04, 0x25, 0x00, 0x00, 0x03, 0x00, 0x07,  // add dword ptr [0x30000], 7
    0x03, 0x04, 0x25, 0x00, 0x00, 0x03, 0x00,        // add eax, [0x30000]
    0x0f, 0xa2,                                      // cpuid
    0x01, 0xda,                                      // add edx, ebx
    0xb9, 0x05, 0x00, 0x00, 0x00,                    // mov ecx, 5
    0x48, 0x0f, 0xa5, 0xd8,                          // 2: shld rax, rbx, cl
    0x11, 0xd0,                                      // adc eax, edx
    0xe2, 0xf8,                                      // loop 2b
    0xff, 0xc5,                                      // inc ebp
    0x83, 0xfd, 0x1e,                                // cmp ebp, 30
    0x89, 0xe9,                                      // mov ecx, ebp
    0x75, 0xd0,                                      // jne 1b
    0xf4                                             // hlt
};

TEST_F(CpuTranslator, ABlockThatChangesItsOwnBytesIsTranslatedAnew) {
  TranslatedBox box;
  // The loop increments its own addend, which is 1 at first: 1 + 2 + ... + 5.
  box.put_code({
      0xb9, 0x05, 0x00, 0x00, 0x00,        // mov ecx, 5
      0x83, 0xc0, 0x01,                    // 1: add eax, 1
      0xfe, 0x05, 0xf9, 0xff, 0xff, 0xff,  // inc byte ptr [rip - 7]
      0xff, 0xc9,                          // dec ecx
      0x75, 0xf3,                          // jnz 1b
      0xf4                                 // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 1u + 2 + 3 + 4 + 5);
  EXPECT_EQ(box.memory.load<std::uint8_t>(CpuBox::code_at + 7), 6u);
  EXPECT_GE(box.code.stats().invalidated, 5u);
  EXPECT_GE(box.code.stats().translated, 5u);
}

TEST_F(CpuTranslator, ALinkToABlockWhoseBytesChangedIsUndone) {
  TranslatedBox box;
  constexpr std::uint64_t second = CpuBox::code_at + 0x1000;
  const Code first = {
      0x83, 0xc0, 0x01,              // add eax, 1
      0xe9, 0xf8, 0x0f, 0x00, 0x00,  // jmp second
  };
  const Code other = {
      0x83, 0xc3, 0x02,                    // add ebx, 2
      0xff, 0xc9,                          // dec ecx
      0x0f, 0x85, 0xf5, 0xef, 0xff, 0xff,  // jnz first
      0xf4                                 // hlt
  };
  box.put_code(first);
  box.put_code(other, second);
  box.run_turns(10);
  EXPECT_EQ(box[Gpr::rbx], 20u);
  const std::uint64_t translated = box.code.stats().translated;
  box.run_turns(10);
  EXPECT_EQ(box.code.stats().translated, translated);  // nothing has changed
  box.write(second + 2, 7);
  EXPECT_EQ(box.code.stats().invalidated, 1u);
  box.run_turns(10);
  EXPECT_EQ(box[Gpr::rbx], 70u);
  EXPECT_EQ(box.code.stats().translated, translated + 1);
}

TEST_F(CpuTranslator, ALoopThatADeviceWritesIsAnotherAtItsNextTurn) {
  constexpr std::uint64_t turns = 1000, written_ns = 500, instructions_per_turn = 3;
  std::set<std::uint64_t> sums;
  for (const unsigned runs : {0u, 1u, 4u}) {
    TranslatedBox box{runs};
    box.put_code(counts_turns);
    cpu::Registers r = CpuBox::kernel_registers();
    r[Gpr::rcx] = turns;
    box.use(r);
    box.clock.schedule(written_ns, [&] { box.write(addend, 10); });
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    const std::uint64_t by_ten = (box[Gpr::rax] - turns) / 9;
    const std::uint64_t by_one = turns - by_ten;
    EXPECT_EQ(box[Gpr::rax], by_one + 10 * by_ten);
    EXPECT_GE(by_one, written_ns / instructions_per_turn);
    EXPECT_LE(by_one, written_ns / instructions_per_turn + 1);
    sums.insert(box[Gpr::rax]);
  }
  EXPECT_EQ(sums.size(), 1u);
}

TEST_F(CpuTranslator, AnInterruptEndsALoopInTime) {
  TranslatedBox box;
  box.put_code({
      0xff, 0xc0,  // 1: inc eax
      0xeb, 0xfc   // jmp 1b
  });
  box.put_code({0xf4}, handler);
  box.set_gate(0x41, handler);
  cpu::Registers r = CpuBox::kernel_registers();
  r.rflags |= cpu::rflags::interrupt;
  box.use(r);
  box.clock.schedule(1001, [&] { box.interrupts.raise(0x41); });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  ASSERT_EQ(box.cpu.deliveries().size(), 1u);
  EXPECT_EQ(box.cpu.deliveries().front().vector, 0x41u);
  EXPECT_GE(box.cpu.deliveries().front().instructions, 1001u);
  EXPECT_LE(box.cpu.deliveries().front().instructions, 1002u);
  EXPECT_GT(box.code.stats().translated, 0u);
}

// Both tiers look at the time between blocks; this one is an instruction.
TEST_F(CpuTranslator, ALoopWithoutEndStopsAtTheDeadline) {
  constexpr std::uint64_t deadline_ns = 12'345, block_ns = 1;
  std::set<std::uint64_t> ends;
  for (const unsigned runs : {0u, 1u}) {
    TranslatedBox box{runs};
    box.put_code({0xeb, 0xfe});  // jmp .
    EXPECT_EQ(box.cpu.run(deadline_ns), cpu::Stop::deadline);
    EXPECT_GE(box.clock.now_ns(), deadline_ns);
    EXPECT_LE(box.clock.now_ns(), deadline_ns + block_ns);
    EXPECT_EQ(box.cpu.instructions(), box.clock.now_ns());
    ends.insert(box.clock.now_ns());
  }
  EXPECT_EQ(ends.size(), 1u);
}

class CpuTranslatorAfter : public CpuTranslator, public ::testing::WithParamInterface<unsigned> {};

TEST_P(CpuTranslatorAfter, TakesAsManyInstructionsAndAsMuchTimeAsTheInterpreter) {
  TranslatedBox interpreted{0};
  TranslatedBox translated{GetParam()};
  for (auto* box : {&interpreted, &translated}) box->put_code(mixture);
  cpu::Stop stop = cpu::Stop::deadline;
  for (std::uint64_t ns = 1; stop == cpu::Stop::deadline; ns = ns % 61 + 1) {
    stop = interpreted.cpu.run(interpreted.clock.now_ns() + ns);
    ASSERT_EQ(translated.cpu.run(translated.clock.now_ns() + ns), stop);
    ASSERT_EQ(translated.cpu.instructions(), interpreted.cpu.instructions());
    ASSERT_EQ(translated.clock.now_ns(), interpreted.clock.now_ns());
    ASSERT_EQ(translated.cpu.registers(), interpreted.cpu.registers());
  }
  EXPECT_EQ(stop, cpu::Stop::halted);
  EXPECT_EQ(interpreted[Gpr::rbp], 30u);
  EXPECT_EQ(interpreted.code.stats().translated, 0u);
  EXPECT_GT(translated.code.stats().translated, 0u);
}

TEST_F(CpuTranslator, TranslatesABlockThatHasRunAsOftenAsItWasAsked) {
  TranslatedBox box{5};
  box.put_code(counts_turns);
  const auto translated_after = [&](unsigned turns) {
    box.run_turns(turns);
    return box.code.stats().translated;
  };
  EXPECT_EQ(translated_after(4), 0u);
  EXPECT_EQ(translated_after(40), 1u);
  EXPECT_FALSE(TranslatedBox{0}.translates());
  EXPECT_FALSE(TranslatedBox{65'536}.translates());
}

INSTANTIATE_TEST_SUITE_P(Runs, CpuTranslatorAfter, ::testing::Values(1u, 2u, 4u, 20u),
                         ::testing::PrintToStringParamName());

TEST_F(CpuTranslator, BlocksThatFollowEachOtherBecomeCodeTogether) {
  TranslatedBox box{4};
  box.put_code(two_blocks);
  box.run_turns(3);
  EXPECT_EQ(box.code.stats().translated, 0u);
  box.run_turns(40);
  EXPECT_EQ(box[Gpr::rbx], 80u);
  EXPECT_EQ(box.code.stats().translated, 1u);
  // The first block's bytes are as they were, and its code leaves where the second one's used to begin.
  box.write(second_addend, 7);
  box.run_turns(40);
  EXPECT_EQ(box[Gpr::rbx], 280u);
}

TEST_F(CpuTranslator, ABlockInTheMiddleThatADeviceWritesIsAnotherAtItsNextTurn) {
  std::set<std::uint64_t> sums;
  for (const unsigned runs : {0u, 1u, 4u}) {
    TranslatedBox box{runs};
    box.put_code(two_blocks);
    cpu::Registers r = CpuBox::kernel_registers();
    r[Gpr::rcx] = 1000;
    box.use(r);
    box.clock.schedule(500, [&] { box.write(second_addend, 10); });
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    sums.insert(box[Gpr::rbx]);
  }
  ASSERT_EQ(sums.size(), 1u);
  // An instruction takes a nanosecond; a turn has five.
  EXPECT_NEAR(static_cast<double>(*sums.begin()), 100 * 2 + 900 * 10, 10);
}

TEST_F(CpuTranslator, ABlockThatWritesTheNextIsFollowedByAnother) {
  const Code code = {
      0xfe, 0x05, 0x04, 0x00, 0x00, 0x00,  // 1: inc byte ptr [rip + 4]: the addend
      0xeb, 0x00,                          // jmp 2f
      0x83, 0xc0, 0x00,                    // 2: add eax, 0
      0xff, 0xc9,                          // dec ecx
      0x75, 0xf1,                          // jnz 1b
      0xf4                                 // hlt
  };
  for (const unsigned runs : {0u, 1u, 3u, 8u}) {
    TranslatedBox box{runs};
    box.put_code(code);
    cpu::Registers r = CpuBox::kernel_registers();
    r[Gpr::rcx] = 20;
    box.use(r);
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    EXPECT_EQ(box[Gpr::rax], 20u * 21 / 2);
  }
}

TEST_F(CpuTranslator, FullMemoryIsClearedAndEverythingGoesOn) {
  // Room for a fraction of the blocks: each adds its number, and jumps to the next.
  constexpr std::size_t bytes = 512u << 10;
  constexpr unsigned blocks = 8192, block_bytes = 16, turns = 3;
  TranslatedBox box{1, bytes};
  for (unsigned i = 0; i < blocks; ++i) {
    const std::uint64_t at = handler + i * block_bytes;
    const auto low = static_cast<std::uint8_t>(i);
    const auto high = static_cast<std::uint8_t>(i >> 8);
    box.memory.store(at, std::array<std::uint8_t, 7>{0x05, low, high, 0, 0, 0xeb, block_bytes - 7});
  }
  box.put_code(
      {
          0xff, 0xc9,                          // dec ecx
          0x0f, 0x85, 0xf8, 0xff, 0xfd, 0xff,  // jnz handler
          0xf4                                 // hlt
      },
      handler + blocks * block_bytes);
  cpu::Registers r = CpuBox::kernel_registers();
  r[Gpr::rcx] = turns;
  r.rip = handler;
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], turns * (blocks * (blocks - 1) / 2));
  EXPECT_EQ(box.cpu.instructions(), turns * (2 * blocks + 2) + 1);
  EXPECT_GT(box.code.stats().translations_cleared, 0u);
  EXPECT_EQ(box.code.stats().flushes, 1u);  // by put_code(): decoded blocks stay
  EXPECT_EQ(box.code.stats().blocks, blocks + 2);
  // Cleared blocks have been translated again.
  EXPECT_GT(box.code.stats().translated, box.code.stats().blocks);
}

std::multiset<std::string> rights_of_code() {
  std::multiset<std::string> rights;
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);)
    if (line.find("cbit-code") != std::string::npos) rights.insert(line.substr(line.find(' ') + 1, 4));
  return rights;
}

TEST_F(CpuTranslator, GeneratedCodeIsNeverWritableWhereItIsExecuted) {
  EXPECT_TRUE(rights_of_code().empty());
  {
    TranslatedBox box;
    EXPECT_EQ(rights_of_code(), (std::multiset<std::string>{"r-xs", "rw-s"}));
    box.put_code(mixture);
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    EXPECT_EQ(rights_of_code(), (std::multiset<std::string>{"r-xs", "rw-s"}));
  }
  EXPECT_TRUE(rights_of_code().empty());
}

// Linux with vm.memfd_noexec = 2 has no memfd_create() for code; here a limit refuses it.
TEST_F(CpuTranslator, WhereTheHostRefusesMemoryForCodeEverythingIsInterpreted) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit none{0, files.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  TranslatedBox box;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_FALSE(box.translates());
  box.put_code(mixture);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbp], 30u);
  EXPECT_EQ(box.code.stats().translated, 0u);
}

}  // namespace
}  // namespace cbit::test
