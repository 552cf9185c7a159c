// Calls of functions that are watched: which one returns when an instruction is about to execute, and inside
// which other call it was made.
//
// A call is known by its return address and the stack pointer behind it, never by CPU or task: a kernel's
// stacks have addresses of their own, tasks sleep inside calls, and another CPU may finish them. It has
// returned when the instruction at the return address is about to execute with that stack pointer; so does a
// call that its callee's tail call ends, and the inner of the two is told first.
//
// The guest is not trusted: all tables are bounded, and what falls out is told as lost.
// Threading: that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "linux/guest_memory.hpp"

namespace cbit::linux {

using PointId = std::uint16_t;

// The arguments of a call as the System V ABI passes them: RDI RSI RDX RCX R8 R9, then the stack.
inline constexpr std::size_t arguments_max = 8;

// What a client keeps with each call.
struct CallNotes {
  virtual ~CallNotes() = default;
};

struct Call {
  PointId point = 0;
  VirtAddr returns_to;
  VirtAddr stack;  // RSP once it has returned
  std::array<std::uint64_t, arguments_max> arguments{};
  std::uint64_t serial = 0;  // in order of entry
  bool rare = false;
  std::unique_ptr<CallNotes> notes;
};

class CallTracker {
 public:
  static constexpr std::size_t pending_max = 4096;
  static constexpr std::size_t return_addresses_max = 1 << 16;

  // Told of addresses that have to be reported from now on, or not any more.
  class Processor {
   public:
    virtual ~Processor() = default;
    virtual void add_probe(VirtAddr at) = 0;
    virtual void remove_probe(VirtAddr at) = 0;
  };
  class Client {
   public:
    virtual ~Client() = default;
    // Asked first, of functions that are watched as `rare`.
    virtual bool wants(PointId, const CpuView&) { return true; }
    // false: the call is of no interest, and its return will not be told.
    virtual bool on_entry(Call& call, const CpuView& cpu) = 0;
    // `outside` are the calls that it was made in, the outermost first. RAX is the CPU's.
    virtual void on_return(Call& call, std::span<Call> outside, const CpuView& cpu) = 0;
    // It will not return: the stack was unwound, or too many calls are pending.
    virtual void on_lost(Call&) {}
  };

  CallTracker(Processor& processor, Client& client) : processor_{&processor}, client_{&client} {}

  // Watches a function. `arguments` of it are taken at its entry. `rare`: it is called all the time, and
  // seldom of interest; where it returns to is watched no longer than for such a call.
  void watch(VirtAddr entry, PointId point, std::size_t arguments, bool rare = false);
  void forget(VirtAddr entry);
  // Everything, as after a reset.
  void clear();

  // The instruction at RIP, which is one of those that were asked for, is about to execute: after pending
  // interrupts have been taken, so that each execution is told once.
  void on_execute(const CpuView& cpu);

  [[nodiscard]] std::size_t pending() const { return pending_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  // The innermost pending call of a function on the stack that a CPU is on; nullptr: there is none.
  [[nodiscard]] Call* innermost(const CpuView& cpu, PointId point);

 private:
  struct Watch {
    bool entry = false;
    bool returns = false;
    PointId point = 0;
    std::uint8_t arguments = 0;
    bool rare = false;
    std::uint32_t waiting = 0;  // rare calls that return here

    [[nodiscard]] bool is_needed() const { return entry || returns || waiting != 0; }
  };
  using Stack = std::vector<Call>;  // in order of entry; the last is the innermost

  void enter(const CpuView& cpu, const Watch& watch);
  void leave(const CpuView& cpu);
  // Calls that are deeper than the stack pointer are over, told or not.
  void drop_below(std::uint64_t stack, VirtAddr rsp);
  void drop_last(std::uint64_t stack);
  void drop_oldest();
  [[nodiscard]] bool watch_return(const Call& call);
  void forget_return(const Call& call);

  Processor* processor_;
  Client* client_;
  std::unordered_map<VirtAddr, Watch> watches_;
  std::unordered_map<std::uint64_t, Stack> stacks_;  // by stack number: address / kernel_stack_bytes
  std::size_t pending_ = 0;
  std::size_t return_addresses_ = 0;
  std::uint64_t serial_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace cbit::linux
