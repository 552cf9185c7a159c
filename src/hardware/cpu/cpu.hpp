// An x86-64 processor: it runs code of the machine's memory, decoded to blocks of operations.
//
//   rip ─ fetch translation ─ CodeCache (physical address, key, mode) ─ isa::Lowerer on a miss ─ interpreter
//   data ─ TlbEntry (host bytes) ─ AddressSpace on a miss ─ paging::walk ─ PhysicalSpace
//
// Time is virtual: each instruction advances the machine's clock by a nanosecond, each access to a port by
// a microsecond more. Exceptions are delivered to the guest; a triple fault, and what the guest can not see,
// ends run(). Nothing that a guest does ends the host.
//
// Deterministic: the same memory, devices and calls give the same run. Threading: one thread, that of the
// machine; with Board::others run() may be called by a thread of its own, and then time is not only the
// processor's: the clock shows that of the one that is farthest.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/state_stream.hpp"
#include "bus/interrupt_source.hpp"
#include "bus/port_io.hpp"
#include "cpu/code_cache.hpp"
#include "cpu/model.hpp"
#include "cpu/physical_space.hpp"
#include "cpu/registers.hpp"
#include "isa/mode.hpp"
#include "paging/pte.hpp"

namespace cbit::cpu {

class Core;
class Cpu;
class Standstill;

inline constexpr std::uint64_t never = ~std::uint64_t{0};

// What only the machine can answer. Each has a default.
class Supervisor {
 public:
  virtual ~Supervisor() = default;
  // VMMCALL, at CPL 0 to 3: arguments and results are in the registers. False: there is no hypervisor (#UD).
  virtual bool vmmcall(Cpu&) { return false; }
  // WBINVD, INVD, or CLFLUSH of a line.
  virtual void flush_caches(Cpu&) {}
  virtual void flush_line(Cpu&, PhysAddr) {}
  // An MSR that the processor does not know; nullopt, or false, is #GP(0).
  virtual std::optional<std::uint64_t> read_msr(Cpu&, std::uint32_t) { return std::nullopt; }
  virtual bool write_msr(Cpu&, std::uint32_t, std::uint64_t) { return false; }
  // An instruction that this processor does not have, by CPUID or because nobody has written it yet: `name`
  // is its mnemonic. It is #UD.
  virtual void missing_instruction(Cpu&, std::string_view) {}
  // An access that memory's protection refuses, or that reaches a device with the encryption bit.
  virtual void refused(Cpu&, const Fault&) {}
  // Generated code did not do what the interpreter does (Config::check_translations): `what` is for a human.
  virtual void translation_differs(Cpu&, const std::string&) {}
  // The bootstrap processor has had an INIT, and is at the reset vector, F000h:FFF0h.
  virtual void initialized(Cpu&) {}
  // Its interrupt controller has something for it; and it waits for another processor (PAUSE).
  virtual void signal_raised(Cpu&) {}
  virtual void spin_wait(Cpu&) {}
};

// Told when code that was asked for is about to run.
class ProbeSink {
 public:
  virtual ~ProbeSink() = default;
  // At the address of a probe, before its instruction. It may add and remove probes.
  virtual void on_probe(Cpu& cpu, VirtAddr at) = 0;
};

enum class Stop : std::uint8_t {
  deadline,   // the time that was asked for has come
  halted,     // HLT: nothing happens here until an interrupt
  shutdown,   // triple fault: report()
  requested,  // request_stop()
  debugger,   // take_debug_stop() says why
};

// Bytes that a debugger wants to know accesses of: linear addresses.
struct DataWatch {
  VirtAddr first;
  std::uint64_t bytes = 0;
  bool reads = false;
  bool writes = false;

  friend bool operator==(const DataWatch&, const DataWatch&) = default;
};

struct DebugStop {
  VirtAddr at;                     // a breakpoint, or the first byte of the watch that was accessed
  std::optional<DataWatch> watch;  // nullopt: a breakpoint
};

// One exception or interrupt as it was delivered, or failed to be.
struct Delivery {
  std::uint64_t instructions = 0;  // executed before it
  std::uint64_t rip = 0;
  std::uint64_t cr2 = 0;  // of #PF
  std::uint32_t error = 0;
  std::uint8_t vector = 0;
  bool external = false;
};

class Cpu final : public bus::InterruptListener {
 public:
  struct Config {
    std::uint16_t index = 0;  // number in the machine, and APIC ID
    std::uint16_t cpus = 1;   // in the machine: cores of one package
    bool bootstrap = true;    // else it waits for INIT and a startup interrupt after reset
    Model model;
    mem::KeyView view;       // whose keys the C-bit selects
    std::uint64_t seed = 1;  // of RDRAND and RDSEED
    // Each block is translated at once and judged by the interpreter at each run: many times slower.
    bool check_translations = false;
  };
  // What the processor is connected to; all outlive it. `supervisor` may be nullptr.
  struct Board {
    PhysicalSpace& memory;
    bus::PortSpace& ports;
    bus::InterruptSource& interrupts;
    Clock& clock;
    CodeCache& code;
    Supervisor* supervisor = nullptr;
    // Of processors on threads of the host (cpu/crew.hpp): all of a machine have the same, its code, too.
    Standstill* others = nullptr;
  };
  // In the state after reset (APM vol. 2, table 14-1).
  Cpu(const Config& config, const Board& board);
  ~Cpu() override;
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  [[nodiscard]] std::uint16_t index() const;
  [[nodiscard]] const Model& model() const;

  void reset();
  // Asked while an instruction executes, by a device, a probe or a Supervisor, RIP is that instruction's.
  [[nodiscard]] Registers registers() const;
  // Sets them all, with what follows from them (modes, translations); they are taken as they are.
  void set_registers(const Registers& registers);
  // x87, MMX and SSE state, as FXSAVE64 has it; what MXCSR cannot hold is left out.
  using ExtendedState = std::array<std::byte, 512>;
  [[nodiscard]] ExtendedState extended_state() const;
  void set_extended_state(const ExtendedState& state);
  [[nodiscard]] DebugRegisters debug_registers() const;
  [[nodiscard]] std::uint64_t& gpr(isa::Gpr reg);
  [[nodiscard]] std::uint64_t rip() const;
  // Whether the last instruction was HLT, and nothing has woken the processor.
  [[nodiscard]] bool halted() const;
  // Halted, or waiting for a startup interrupt, and nothing has been raised since: run() would do nothing.
  [[nodiscard]] bool idle() const;

  // Runs until the clock shows `until_ns`, advancing it, or until something else ends it. A halted processor
  // returns at once unless an interrupt wakes it; the clock is left to the caller then.
  Stop run(std::uint64_t until_ns);
  // From a device or a Supervisor: run() returns before the next block.
  void request_stop();
  // How far it has come: instructions executed since construction, and exceptions and interrupts delivered,
  // but for those that an instruction brings along (INT, a trap). With the same inputs the same position is
  // the same state, and each is passed.
  [[nodiscard]] std::uint64_t position() const;
  // run() ends there, as for a debugger whom take_debug_stop() tells of nothing, and goes on as if it had
  // not. `never`: nowhere.
  void pause_at(std::uint64_t position);
  // Exactly one instruction, or one delivery of an exception or interrupt. With `hold_interrupts` interrupts
  // wait. No breakpoint of a debugger counts.
  Stop step(bool hold_interrupts = false);

  [[nodiscard]] std::uint64_t instructions() const;  // executed since construction
  void signal_raised() override;
  // Between runs. No breakpoints, nor probes. Loading forgets translations; it comes after the chipset's.
  void transfer(StateStream& s);

  // How linear addresses are translated now; nullopt: they are not, CR0.PG is clear.
  [[nodiscard]] std::optional<paging::PagingConfig> paging() const;
  // How code is decoded now.
  [[nodiscard]] isa::Mode mode() const;

  // Linear addresses, as the guest's tables have them now; without effect on tables and translations. False
  // where nothing is mapped. Reads go by read() of the physical space.
  [[nodiscard]] std::optional<std::pair<PhysAddr, KeyId>> translate(VirtAddr at) const;
  [[nodiscard]] bool read_memory(VirtAddr from, ByteSpan to) const;
  bool write_memory(VirtAddr to, ConstByteSpan from);

  // MSRs as RDMSR and WRMSR see them; nullopt, or false, is what #GP(0) would be.
  [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr) const;
  bool write_msr(std::uint32_t msr, std::uint64_t value);
  // CPUID, for leaf and subleaf: EAX, EBX, ECX, EDX.
  [[nodiscard]] std::array<std::uint32_t, 4> cpuid(std::uint32_t leaf, std::uint32_t subleaf) const;

  void set_probe_sink(ProbeSink* sink);
  void add_probe(VirtAddr at);
  void remove_probe(VirtAddr at);

  // A debugger's, between runs; the guest sees nothing of them, and its debug registers are its own. run()
  // ends before the instruction at a breakpoint, and behind the instruction that accesses what is watched;
  // an interrupt's or exception's frame and table entries count as accesses, page tables do not. Code of
  // all CPUs that share a CodeCache is decoded once, so each has the same breakpoints.
  void add_breakpoint(VirtAddr at);
  void remove_breakpoint(VirtAddr at);
  void set_watches(std::vector<DataWatch> watches);
  // The next instruction runs although there is a breakpoint at it.
  void pass_breakpoint();
  // Of the last run() or step(), once.
  [[nodiscard]] std::optional<DebugStop> take_debug_stop();

  // The last deliveries since set_registers(), oldest first.
  [[nodiscard]] std::vector<Delivery> deliveries() const;
  // For a human: registers, the last deliveries, the code at RIP, and the key that it was fetched under.
  [[nodiscard]] std::string report() const;

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace cbit::cpu
