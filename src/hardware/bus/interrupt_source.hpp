// What a CPU sees of its interrupt controller: the pins INTR, NMI, SMI and INIT, the start-up message, the
// acknowledge cycle, and the registers that instructions reach (CR8, MSRs, one page of physical memory).
// A local APIC implements it (chipset/lapic.hpp); a CPU holds a reference to it.
//
// The CPU reads signals() before each instruction, or knows from its InterruptListener that nothing was
// raised, and decides itself what is blocked (RFLAGS.IF, shadows, NMI in service) and what comes first. INTR
// is a level: it is up while there is something to acknowledge. The others are latched here until taken.
//
// Sources: Intel SDM vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)"; AMD APM vol. 2,
// chapter 16. Threading: one thread, that of the machine.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.hpp"
#include "base/state_stream.hpp"
#include "bus/system_bus.hpp"
#include "cbit/addr.hpp"

namespace cbit::bus {

enum class CpuSignal : std::uint8_t {
  intr = 1 << 0,     // a vector can be acknowledged
  nmi = 1 << 1,      // at most one more NMI is remembered while it waits
  smi = 1 << 2,      // likewise
  init = 1 << 3,     // to be taken before `startup`
  startup = 1 << 4,  // means something only to a CPU that waits for it after INIT; else the CPU drops it
};

class CpuSignals {
 public:
  [[nodiscard]] constexpr bool any() const { return bits_ != 0; }
  [[nodiscard]] constexpr bool has(CpuSignal signal) const { return (bits_ & bit(signal)) != 0; }
  constexpr void set(CpuSignal signal, bool on) {
    bits_ = static_cast<std::uint8_t>(on ? bits_ | bit(signal) : bits_ & ~bit(signal));
  }
  friend constexpr bool operator==(CpuSignals, CpuSignals) = default;
  void transfer(StateStream& s) { s.up_to(bits_, all); }

 private:
  static constexpr std::uint8_t all = 0x1f;
  static constexpr std::uint8_t bit(CpuSignal signal) { return static_cast<std::uint8_t>(signal); }
  std::uint8_t bits_ = 0;
};

// The CPU's side of the pins.
class InterruptListener {
 public:
  virtual ~InterruptListener() = default;
  // A signal went up that was down: look at signals() before the next instruction, and wake from HLT. May be
  // called while the CPU itself accesses a device or advances the clock; it only takes note.
  virtual void signal_raised() = 0;
};

class InterruptSource {
 public:
  virtual ~InterruptSource() = default;

  [[nodiscard]] CpuSignals signals() const { return signals_; }
  void set_listener(InterruptListener* listener) { listener_ = listener; }

  // The acknowledge cycle of INTR: the vector of highest priority moves into service and is returned. If
  // nothing can be acknowledged any more it is the spurious vector.
  virtual std::uint8_t acknowledge() = 0;
  // Take a latched signal; false (nothing) if it was not there. Taking INIT puts the controller itself into
  // the state after INIT.
  virtual bool take_nmi() = 0;
  virtual bool take_smi() = 0;
  virtual bool take_init() = 0;
  virtual std::optional<std::uint8_t> take_startup() = 0;

  // CR8, bits 3:0: the class of the task priority. Works whether or not the controller is enabled.
  [[nodiscard]] virtual std::uint8_t cr8() const = 0;
  virtual void set_cr8(std::uint8_t priority) = 0;

  // IA32_APIC_BASE.EN: CPUID Fn0000_0001 EDX bit 9 follows it.
  [[nodiscard]] virtual bool enabled() const = 0;
  // IA32_APIC_BASE (1Bh), IA32_TSC_DEADLINE (6E0h), x2APIC (800h to 8FFh).
  [[nodiscard]] static constexpr bool owns_msr(std::uint32_t msr) {
    return msr == 0x1b || msr == 0x6e0 || (msr >= 0x800 && msr <= 0x8ff);
  }
  // nullopt, or false, is #GP(0).
  [[nodiscard]] virtual std::optional<std::uint64_t> read_msr(std::uint32_t msr) = 0;
  [[nodiscard]] virtual bool write_msr(std::uint32_t msr, std::uint64_t value) = 0;

  // The page of physical memory in which this CPU's own accesses reach registers() instead of the bus, where
  // a write would be a device's message; none: it has no such page. While the controller is disabled or in
  // x2APIC mode nobody answers in it: reads give ones. It changes only by write_msr(), take_init() and reset.
  [[nodiscard]] virtual std::optional<PhysAddr> page() const = 0;
  // That page: offsets 0 to FFFh.
  [[nodiscard]] virtual MmioRegion& registers() = 0;

  // The CPU's time-stamp counter as of now, which TSC deadlines are compared with. To be told at the start
  // and whenever it is written (TSC, TSC_ADJUST).
  virtual void set_tsc(const TickCounter& tsc) = 0;

 protected:
  // Loading tells no listener.
  void transfer_signals(StateStream& s) { s(signals_); }
  void set_signal(CpuSignal signal, bool on) {
    const bool rises = on && !signals_.has(signal);
    signals_.set(signal, on);
    if (rises && listener_ != nullptr) listener_->signal_raised();
  }

 private:
  CpuSignals signals_;
  InterruptListener* listener_ = nullptr;
};

}  // namespace cbit::bus
