// Processors on threads of the host: what they do to the same memory at the same time. In both tiers.
#include "cpu/crew.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <tuple>
#include <vector>

#include "bus/system_bus.hpp"
#include "cpu/system_space.hpp"
#include "cpu_box.hpp"
#include "mem/memory.hpp"

namespace cbit::cpu {
namespace {

using test::CpuBox;
using test::FakeInterrupts;

constexpr KeyId foreign_key = 2;

// Places in memory.
constexpr std::uint32_t programs = 0x2'0000;  // 4 KiB for each processor
constexpr std::uint32_t stacks = 0x4'0000;    // likewise
constexpr std::uint32_t handler = 0x6'0000;
constexpr std::uint32_t counters = 0x7'0000;
constexpr std::uint32_t torn = 0x7'1ffc;  // an operand of eight bytes here lies in two pages
constexpr std::uint32_t patched = 0x8'0000;
constexpr std::uint32_t window = CpuBox::small_pages;                         // a page that is mapped anew
constexpr std::uint32_t window_entry = CpuBox::pt;                            // its entry
constexpr std::uint32_t front = window + 0x1'0000, back = front + page_size;  // what it shows
constexpr std::uint8_t ipi_port = 0x80, device_port = 0x81, vector = 0x40;

// A program, instruction after instruction.
class Program {
 public:
  Program& bytes(std::initializer_list<int> from) {
    for (const int byte : from) code_.push_back(static_cast<std::uint8_t>(byte));
    return *this;
  }
  Program& dword(std::uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) code_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return *this;
  }
  // With an operand [at]: ModRM of the register (or the opcode's extension), SIB, displacement.
  Program& with_memory(std::initializer_list<int> opcode, unsigned reg, std::uint32_t at) {
    return bytes(opcode).bytes({static_cast<int>(reg << 3 | 4), 0x25}).dword(at);
  }
  [[nodiscard]] std::size_t here() const { return code_.size(); }
  // A short jump, by its opcode, back to a place.
  Program& back_to(int opcode, std::size_t place) {
    bytes({opcode});
    return bytes({static_cast<int>(static_cast<std::uint8_t>(place - (code_.size() + 1)))});
  }
  Program& then(const Program& next) {
    code_.insert(code_.end(), next.code_.begin(), next.code_.end());
    return *this;
  }
  Program& halt() { return bytes({0xfa, 0xf4}); }  // cli; hlt
  [[nodiscard]] const std::vector<std::uint8_t>& code() const { return code_; }

 private:
  std::vector<std::uint8_t> code_;
};

class Port final : public bus::PioRegion {
 public:
  std::uint32_t read(std::uint16_t, unsigned) override { return 0; }
  void write(std::uint16_t, unsigned, std::uint32_t value) override { written(value); }
  std::function<void(std::uint32_t)> written = [](std::uint32_t) {};
};

// Memory and bus, which are to be used by one processor at a time: a sanitizer sees it by the counter.
class CountedSpace final : public PhysicalSpace {
 public:
  CountedSpace(mem::Memory& memory, bus::SystemBus& bus, std::uint16_t number, std::uint64_t& count)
      : space_{memory, bus, number}, count_{&count} {}
  std::byte* lease(PhysAddr page, KeyId key, mem::LeaseIntent intent, mem::LeaseHolder& holder) override {
    ++*count_;
    return space_.lease(page, key, intent, holder);
  }
  void end_leases(PhysAddr page, mem::LeaseHolder& holder) override {
    ++*count_;
    space_.end_leases(page, holder);
  }
  void end_leases(mem::LeaseHolder& holder) override {
    ++*count_;
    space_.end_leases(holder);
  }
  Result<void> read(PhysAddr from, ByteSpan to, KeyId key) override {
    ++*count_;
    return space_.read(from, to, key);
  }
  Result<void> write(PhysAddr to, ConstByteSpan from, KeyId key) override {
    ++*count_;
    return space_.write(to, from, key);
  }
  [[nodiscard]] bool is_memory(PhysAddr at, std::uint64_t bytes) const override {
    return space_.is_memory(at, bytes);
  }

 private:
  SystemSpace space_;
  std::uint64_t* count_;
};

// How many processors, and after how many runs blocks become code of the host.
class CpuCrew : public testing::TestWithParam<std::tuple<unsigned, unsigned>>, private Supervisor {
 protected:
  static unsigned cpus() { return std::get<0>(GetParam()); }

  CpuCrew() {
    keys_.set_derived(foreign_key, "asid 1");
    mem::MemoryConfig config;
    config.ram = {{PhysAddr{0}, CpuBox::memory_bytes}};
    memory_ = mem::Memory::create(config, keys_, tracer_).value();
    bus_.emplace(*memory_, tracer_, mem::KeyView{});
    code_space_.emplace(*memory_, *bus_, std::uint16_t{0}, uses_);
    code_.emplace(*code_space_, std::get<1>(GetParam()), CodeCache::translation_bytes_max, &crew_.others());
    ports_.add({ipi_port, 1}, ipi_);
    ports_.add({device_port, 1}, device_);
    ipi_.written = [this](std::uint32_t target) { seats_[target].interrupts.raise(vector); };
    // Tables, GDT and gates are those that the box makes.
    CpuBox box;
    box.set_gate(vector, handler);
    for (std::uint64_t page = CpuBox::pml4; page < CpuBox::code_at; page += page_size)
      put(static_cast<std::uint32_t>(page), {box.memory.at(page), page_size});
    for (unsigned number = 0; number < cpus(); ++number) add(static_cast<std::uint16_t>(number));
  }

  // Two are one to memory, as in a machine; four take pages that they write from each other.
  struct Seat {
    Seat(CpuCrew& box, std::uint16_t number)
        : space{*box.memory_, *box.bus_, cpus() == 2 ? std::uint16_t{0} : number, box.uses_},
          cpu{{.index = number, .cpus = static_cast<std::uint16_t>(cpus()), .model = default_model()},
              {space, box.ports_, interrupts, box.clock_, *box.code_, &box, &box.crew_.others()}} {}
    CountedSpace space;
    FakeInterrupts interrupts;
    Cpu cpu;
  };

  void add(std::uint16_t number) {
    Cpu& cpu = seats_.emplace_back(*this, number).cpu;
    Registers registers = CpuBox::kernel_registers();
    registers.rip = programs + number * page_size;
    registers[isa::Gpr::rsp] = stacks + (number + 1) * page_size;
    registers.rflags |= rflags::interrupt;
    cpu.set_registers(registers);
    crew_.add(cpu);
  }

  void put(std::uint32_t at, ConstByteSpan bytes) { EXPECT_TRUE(memory_->write(PhysAddr{at}, bytes, {})); }
  void put(std::uint32_t at, const Program& program) { put(at, std::as_bytes(std::span{program.code()})); }
  void put_program(unsigned number, const Program& program) { put(programs + number * 0x1000, program); }
  void put_word(std::uint32_t at, std::uint64_t value) { put(at, bytes_of(value)); }
  [[nodiscard]] std::uint64_t word(std::uint32_t at) {
    std::uint64_t value = 0;
    EXPECT_TRUE(memory_->read(PhysAddr{at}, {reinterpret_cast<std::byte*>(&value), sizeof value}, {}));
    return value;
  }
  // Until all have halted for good.
  void run() { EXPECT_EQ(crew_.run(100'000'000'000), Stop::halted) << seats_[0].cpu.report(); }

  Clock clock_;
  Tracer tracer_{clock_};
  mem::KeyTable keys_{7, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory_;
  std::optional<bus::SystemBus> bus_;
  bus::PortSpace ports_;
  Port ipi_, device_;
  Crew crew_{clock_};
  std::uint64_t uses_ = 0;
  std::optional<CountedSpace> code_space_;
  std::optional<CodeCache> code_;
  std::deque<Seat> seats_;

 private:
  void signal_raised(Cpu& cpu) override { crew_.signal_raised(cpu); }
  void spin_wait(Cpu&) override { crew_.spin_wait(); }
};

// `each`, so many times: the counter is rBP.
Program turns(std::uint32_t times, const std::function<void(Program&)>& each) {
  Program program;
  program.bytes({0xbd}).dword(times);  // mov ebp, times
  const std::size_t start = program.here();
  each(program);
  program.bytes({0xff, 0xcd});  // dec ebp
  program.bytes({0x0f, 0x85});  // jnz start
  return program.dword(static_cast<std::uint32_t>(start - (program.here() + 4)));
}
Program repeated(std::uint32_t times, const std::function<void(Program&)>& each) {
  return turns(times, each).halt();
}

// Goes on when so many have come here, in any program.
Program meet(std::uint8_t comers) {
  Program p;
  p.with_memory({0xf0, 0xff}, 0, counters + 0x400);  // lock inc dword
  const std::size_t wait = p.here();
  p.bytes({0xf3, 0x90}).with_memory({0x83}, 7, counters + 0x400).bytes({comers});  // pause; cmp dword, comers
  return p.back_to(0x72, wait);                                                    // jb
}

TEST_P(CpuCrew, ThreadsCountTogetherByLockedInstructionsOfEachKind) {
  constexpr std::uint32_t times = 5'000;
  const Program program = repeated(times, [](Program& p) {
    p.with_memory({0xf0, 0x48, 0xff}, 0, counters);             // lock inc qword
    p.with_memory({0xf0, 0x83}, 0, counters + 8).bytes({3});    // lock add dword, 3
    p.bytes({0xb8}).dword(2);                                   // mov eax, 2
    p.with_memory({0xf0, 0x66, 0x0f, 0xc1}, 0, counters + 16);  // lock xadd, ax
    p.with_memory({0xf0, 0x48, 0xff}, 1, counters + 24);        // lock dec qword
    p.bytes({0xf9});                                            // stc
    p.with_memory({0xf0, 0x83}, 2, counters + 32).bytes({0});   // lock adc dword, 0
    p.with_memory({0xf0, 0x80}, 6, counters + 40).bytes({1});   // lock xor byte, 1
    p.with_memory({0xf0, 0xf6}, 2, counters + 41);              // lock not byte
    p.with_memory({0xf0, 0x48, 0xff}, 0, torn);                 // lock inc qword, in two pages
    p.with_memory({0x48, 0x8b}, 0, counters + 48);              // mov rax, [counters + 48]
    const std::size_t again = p.here();
    p.bytes({0x48, 0x8d, 0x50, 0x01});                          // lea rdx, [rax + 1]
    p.with_memory({0xf0, 0x48, 0x0f, 0xb1}, 2, counters + 48);  // lock cmpxchg, rdx
    p.back_to(0x75, again);                                     // jnz
  });
  for (unsigned number = 0; number < cpus(); ++number) put_program(number, program);
  run();
  const std::uint64_t all = std::uint64_t{times} * cpus();
  EXPECT_EQ(word(counters), all);
  EXPECT_EQ(word(counters + 8), 3 * all);
  EXPECT_EQ(word(counters + 16), 2 * all & 0xffff);
  EXPECT_EQ(word(counters + 24), 0 - all);
  EXPECT_EQ(word(counters + 32), all);
  EXPECT_EQ(word(counters + 40), (all % 2) | (all % 2 != 0 ? 0xff00u : 0));
  EXPECT_EQ(word(torn), all);
  EXPECT_EQ(word(counters + 48), all);
}

TEST_P(CpuCrew, ThreadsCountBy16BytesAtOnce) {
  constexpr std::uint32_t times = 2'000;
  const Program program = repeated(times, [](Program& p) {
    p.with_memory({0x48, 0x8b}, 0, counters);      // mov rax, [counters]
    p.with_memory({0x48, 0x8b}, 2, counters + 8);  // mov rdx, [counters + 8]
    const std::size_t again = p.here();
    p.bytes({0x48, 0x8d, 0x58, 0x01});                     // lea rbx, [rax + 1]
    p.bytes({0x48, 0x8d, 0x4a, 0x03});                     // lea rcx, [rdx + 3]
    p.with_memory({0xf0, 0x48, 0x0f, 0xc7}, 1, counters);  // lock cmpxchg16b
    p.back_to(0x75, again);                                // jnz
  });
  for (unsigned number = 0; number < cpus(); ++number) put_program(number, program);
  run();
  EXPECT_EQ(word(counters), std::uint64_t{times} * cpus());
  EXPECT_EQ(word(counters + 8), std::uint64_t{3 * times} * cpus());
}

TEST_P(CpuCrew, ThreadsKeepEachOtherOutByALockOfXchg) {
  constexpr std::uint32_t times = 300;
  const Program program = repeated(times, [](Program& p) {
    const std::size_t again = p.here();
    p.bytes({0xf3, 0x90, 0xb8}).dword(1);          // pause; mov eax, 1
    p.with_memory({0x87}, 0, counters);            // xchg [counters], eax
    p.bytes({0x85, 0xc0}).back_to(0x75, again);    // test eax, eax; jnz
    p.with_memory({0x48, 0xff}, 0, counters + 8);  // inc qword, which is not locked
    p.with_memory({0xc7}, 0, counters).dword(0);   // mov dword [counters], 0
  });
  for (unsigned number = 0; number < cpus(); ++number) put_program(number, program);
  run();
  EXPECT_EQ(word(counters + 8), std::uint64_t{times} * cpus());
}

// Data, then a flag; the flag, then data: stores are ordered among stores, and loads among loads. APM vol. 2,
// 7.2.
TEST_P(CpuCrew, ThreadsSeeWhatWasStoredBeforeTheFlagTheySaw) {
  constexpr std::uint32_t times = 20'000;
  put_program(0, repeated(times, [](Program& p) {
                p.with_memory({0x48, 0xff}, 0, counters);          // inc qword: the data
                p.with_memory({0x48, 0x8b}, 0, counters);          // mov rax, [data]
                p.with_memory({0x48, 0x89}, 0, counters + 0x800);  // mov [flag], rax
              }));
  Program reader;
  const std::size_t again = reader.here();
  reader.with_memory({0x48, 0x8b}, 0, counters + 0x800);  // mov rax, [flag]
  reader.with_memory({0x48, 0x8b}, 2, counters);          // mov rdx, [data]
  reader.bytes({0x48, 0x39, 0xc2, 0x73, 0x09});           // cmp rdx, rax; jae behind
  reader.with_memory({0xf0, 0x48, 0xff}, 0, counters + 0x400);
  reader.bytes({0x48, 0x3d}).dword(times);  // cmp rax, times
  reader.back_to(0x75, again).halt();
  for (unsigned number = 1; number < cpus(); ++number) put_program(number, reader);
  run();
  EXPECT_EQ(word(counters + 0x400), 0u) << "stale data seen";
}

// Each stores a number of its own and then loads the other's. Of two such turns one sees the other's store:
// the other's turn behind the one that was seen has not been seen, and so sees this one. Without the fence a
// load may come before the store: APM vol. 1, 3.9.2 (Forcing Memory Order). A first time makes all
// translations known.
TEST_P(CpuCrew, ThreadsSeeStoresOfOthersBehindAFence) {
  constexpr std::uint32_t times = 200'000;
  constexpr std::array<std::uint32_t, 2> numbers{counters, counters + 0x800}, seen{0x40'0000, 0x60'0000};
  for (unsigned number = 0; number < cpus(); ++number) put_program(number, Program{}.halt());
  for (const unsigned number : {0u, 1u}) {
    const auto part = [&](std::uint32_t turns_before) {
      return turns(times, [&](Program& p) {
        p.bytes({0x48, 0xff, 0xc3});                                         // inc rbx
        p.with_memory({0x48, 0x89}, 3, numbers[number]);                     // mov [its own], rbx
        p.bytes({0x0f, 0xae, 0xf0});                                         // mfence
        p.with_memory({0x48, 0x8b}, 0, numbers[1 - number]);                 // mov rax, [the other's]
        p.bytes({0x89, 0x04, 0x9d}).dword(seen[number] - 4 * turns_before);  // mov [4 * rbx + its], eax
      });
    };
    put_program(number, meet(2).then(part(0)).then(meet(4)).then(part(times)).halt());
  }
  run();
  std::array<std::vector<std::uint32_t>, 2> by_turn;
  for (const unsigned number : {0u, 1u}) {
    by_turn[number].resize(times + 1);
    const auto bytes = std::as_writable_bytes(std::span{by_turn[number]});
    ASSERT_TRUE(memory_->read(PhysAddr{seen[number]}, bytes, {}));
  }
  unsigned unseen = 0;
  for (std::uint32_t turn = 1; turn <= times; ++turn) {
    const std::uint32_t behind = by_turn[0][turn] - times + 1;
    if (behind >= 1 && behind <= times && by_turn[1][behind] < times + turn) ++unseen;
  }
  EXPECT_EQ(unseen, 0u);
}

// The handler: INVLPG of the window, and an acknowledgement.
Program shoot_down_handler() {
  Program p;
  p.with_memory({0x0f, 0x01}, 7, window);                 // invlpg [window]
  p.with_memory({0xf0, 0x48, 0xff}, 0, counters + 0x10);  // lock inc qword
  return p.bytes({0x48, 0xcf});                           // iretq
}

// Interrupts all others and waits for them, who have acknowledged rBX times before.
void interrupt_others(Program& p, unsigned cpus) {
  for (unsigned number = 1; number < cpus; ++number)
    p.bytes({0xb0, static_cast<int>(number), 0xe6, ipi_port});  // mov al, number; out
  p.bytes({0x48, 0x81, 0xc3}).dword(cpus - 1);                  // add rbx, others
  const std::size_t wait = p.here();
  p.bytes({0xf3, 0x90}).with_memory({0x48, 0x3b}, 3, counters + 0x10);  // pause; cmp rbx, [acks]
  p.back_to(0x75, wait);                                                // jne
}

constexpr std::uint32_t ends_at = counters + 0x20, errors_at = counters + 0x30;

// Whoever is interrupted: `look`, until it is told that it is the end.
Program until_the_end(const std::function<void(Program&)>& look) {
  Program p;
  const std::size_t again = p.here();
  look(p);
  p.with_memory({0x48, 0x83}, 7, ends_at).bytes({0});                               // cmp qword [end], 0
  p.bytes({0x0f, 0x84}).dword(static_cast<std::uint32_t>(again - (p.here() + 4)));  // je
  return p.halt();
}

TEST_P(CpuCrew, ThreadsLoseTranslationsByAnInterruptBeforeThePageIsUsedOtherwise) {
  constexpr std::uint32_t times = 15;
  put(handler, shoot_down_handler());
  put_word(front, 1);
  put_word(window_entry, front | 3);
  const unsigned all = cpus();
  Program first = repeated(times, [all](Program& p) {
    for (const auto& [now, before] : {std::pair{back, front}, std::pair{front, back}}) {
      p.with_memory({0x48, 0xc7}, 0, now).dword(1);                 // good
      p.with_memory({0x48, 0xc7}, 0, window_entry).dword(now | 3);  // the window shows it
      interrupt_others(p, all);
      p.with_memory({0x48, 0xc7}, 0, before).dword(2);  // bad: nobody sees it
    }
  });
  // In place of the halt: the end for all.
  Program ending = first;
  Program tail;
  tail.with_memory({0x48, 0xc7}, 0, ends_at).dword(1).halt();
  std::vector<std::uint8_t> bytes{first.code().begin(), first.code().end() - 2};
  bytes.insert(bytes.end(), tail.code().begin(), tail.code().end());
  put(programs, std::as_bytes(std::span{bytes}));
  const Program others = until_the_end([](Program& p) {
    p.with_memory({0x48, 0x83}, 7, window).bytes({2, 0x75, 0x09});  // cmp qword [window], 2; jne
    p.with_memory({0xf0, 0x48, 0xff}, 0, errors_at);
  });
  for (unsigned number = 1; number < cpus(); ++number) put_program(number, others);
  run();
  EXPECT_EQ(word(errors_at), 0u) << "a page seen behind its shoot-down";
  EXPECT_EQ(word(counters + 0x10), std::uint64_t{2 * times} * (cpus() - 1));
}

// Cross-modifying code: the others are interrupted before they count on it.
TEST_P(CpuCrew, ThreadsRunCodeThatOneOfThemChanges) {
  constexpr std::uint32_t times = 15;
  put(handler, shoot_down_handler());
  put_word(window_entry, front | 3);
  Program function;
  function.bytes({0xb8}).dword(0).bytes({0xc3});  // mov eax, 0; ret
  put(patched + 3, function);                     // so that the operand is aligned
  const unsigned all = cpus();
  Program first = repeated(times, [all](Program& p) {
    p.with_memory({0xff}, 0, patched + 4);  // inc dword: the operand
    interrupt_others(p, all);
    p.with_memory({0x8b}, 0, patched + 4).with_memory({0x89}, 0, counters + 0x40);  // the version
    p.bytes({0xbe}).dword(patched + 3).bytes({0xff, 0xd6});                         // call it itself
    p.with_memory({0x3b}, 0, counters + 0x40).bytes({0x74, 0x09});                  // cmp eax, it; je
    p.with_memory({0xf0, 0x48, 0xff}, 0, errors_at);
  });
  Program tail;
  tail.with_memory({0x48, 0xc7}, 0, ends_at).dword(1).halt();
  std::vector<std::uint8_t> bytes{first.code().begin(), first.code().end() - 2};
  bytes.insert(bytes.end(), tail.code().begin(), tail.code().end());
  put(programs, std::as_bytes(std::span{bytes}));
  const Program others = until_the_end([](Program& p) {
    p.with_memory({0x44, 0x8b}, 0, counters + 0x40);         // mov r8d, [version]
    p.bytes({0xbe}).dword(patched + 3).bytes({0xff, 0xd6});  // mov esi, function; call rsi
    p.bytes({0x44, 0x39, 0xc0, 0x73, 0x09});                 // cmp eax, r8d; jae
    p.with_memory({0xf0, 0x48, 0xff}, 0, errors_at);
  });
  for (unsigned number = 1; number < cpus(); ++number) put_program(number, others);
  run();
  EXPECT_EQ(word(errors_at), 0u) << "old code run";
  EXPECT_EQ(word(counters + 0x40), times);
}

// Another key's access takes the page from those who have leased it, in the middle of what they do.
TEST_P(CpuCrew, ThreadsCountOnInAPageThatChangesItsOwner) {
  constexpr std::uint32_t times = 500;
  std::uint64_t foreign = 0;
  device_.written = [&](std::uint32_t) {
    Bytes block(foreign % 2 == 0 ? page_size : 16);
    const PhysAddr page{counters};
    if (block.size() == page_size) {
      EXPECT_TRUE(memory_->read(page, block, {{AgentKind::device, 8}, foreign_key}));
      EXPECT_TRUE(memory_->write(page, block, {{AgentKind::device, 8}, foreign_key}));
    } else {
      EXPECT_TRUE(memory_->write(page + 0x800, block, {{AgentKind::device, 8}, foreign_key}));
      memory_->convert(page, 1, foreign % 4 == 1, 0);
    }
    ++foreign;
  };
  put_program(0, repeated(times, [](Program& p) {
                p.bytes({0xe6, device_port});
                p.with_memory({0xf0, 0x48, 0xff}, 0, counters);
              }));
  for (unsigned number = 1; number < cpus(); ++number)
    put_program(number,
                repeated(20 * times, [](Program& p) { p.with_memory({0xf0, 0x48, 0xff}, 0, counters); }));
  run();
  EXPECT_EQ(foreign, times);
  EXPECT_EQ(word(counters), times + std::uint64_t{20 * times} * (cpus() - 1));
}

// What goes wrong with the host is for whoever runs the machine, and the others end.
TEST_P(CpuCrew, ThreadsHandOverWhatIsThrown) {
  device_.written = [](std::uint32_t) { throw std::bad_alloc{}; };
  Program for_ever;
  for_ever.back_to(0xeb, 0);
  put_program(0, Program{}.bytes({0xe6, device_port}).halt());
  for (unsigned number = 1; number < cpus(); ++number) put_program(number, for_ever);
  EXPECT_THROW((void)crew_.run(never), std::bad_alloc);
}

TEST_P(CpuCrew, ThreadsStopAtTheTimeAndGoOnFromThere) {
  Program for_ever;
  for_ever.with_memory({0xf0, 0x48, 0xff}, 0, counters).back_to(0xeb, 0);
  for (unsigned number = 0; number < cpus(); ++number) put_program(number, for_ever);
  std::uint64_t before = 0;
  for (std::uint64_t until = 100'000; until <= 2'000'000; until += 100'000) {
    EXPECT_EQ(crew_.run(until), Stop::deadline);
    EXPECT_GE(clock_.now_ns(), until);
    EXPECT_LT(clock_.now_ns(), until + 100'000);
    EXPECT_GT(word(counters), before);
    before = word(counters);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiers, CpuCrew, testing::Combine(testing::Values(2u, 4u), testing::Values(0u, 2u)),
                         [](const auto& info) {
                           return std::to_string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == 0 ? "Interpreted" : "Translated");
                         });

}  // namespace
}  // namespace cbit::cpu
