// A local APIC: xAPIC by its page, x2APIC by MSRs, both with the timer of lapic_timer.hpp. It is what a CPU
// sees of interrupts (bus/interrupt_source.hpp), a target of messages (chipset/apic_bus.hpp), and has two
// input pins: LINT0, where a PC has its PIC, and LINT1, where it has NMI.
//
// Interrupts are accepted at once, so delivery status always reads as idle. Register accesses never fault: in
// the page, what is reserved reads as 0 and is an error in ESR, accesses that are not four aligned bytes are
// lost (SDM 11.4.1); as MSRs, what is reserved is #GP (11.12.1).
//
// Sources: Intel SDM vol. 3, 11 (all sections named here are its); AMD APM vol. 2, 16. Model: version 14h,
// six LVT entries (no CMCI), suppression of EOI broadcasts; lowest-priority IPIs exist, remote read and focus
// checking do not. Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/state_stream.hpp"
#include "bus/interrupt_source.hpp"
#include "bus/irq_line.hpp"
#include "chipset/apic_bus.hpp"
#include "chipset/ext_int_source.hpp"
#include "chipset/lapic_timer.hpp"
#include "chipset/vector_set.hpp"
#include "spec/apic.hpp"

namespace cbit::chipset {

struct LapicConfig {
  std::uint32_t id = 0;        // as the CPU's CPUID tells it; the xAPIC's initial ID is its low byte
  bool bootstrap = true;       // IA32_APIC_BASE.BSP
  unsigned address_bits = 48;  // physical; bits of IA32_APIC_BASE above are reserved
  std::uint64_t timer_hz = 1'000'000'000;
  bool x2apic = true;
  bool tsc_deadline = true;
};

class Lapic final : public bus::InterruptSource, public bus::IrqInput, public ApicTarget {
 public:
  static constexpr unsigned lint0 = 0;  // numbers of the inputs
  static constexpr unsigned lint1 = 1;

  Lapic(Clock& clock, ApicBus& apic_bus, LapicConfig config);

  // Power-up (11.4.7.1). The pins keep their levels.
  void reset();
  // What firmware leaves behind: enabled, the PIC's interrupts through LINT0, NMI through LINT1. Intel
  // MultiProcessor Specification 1.4, 3.6.2.2 (virtual wire mode).
  void enter_virtual_wire_mode();
  void set_ext_int_source(ExtIntSource* source) { ext_int_source_ = source; }

  // For the CPU.
  std::uint8_t acknowledge() override;
  bool take_nmi() override;
  bool take_smi() override;
  bool take_init() override;
  std::optional<std::uint8_t> take_startup() override;
  [[nodiscard]] std::uint8_t cr8() const override { return static_cast<std::uint8_t>(tpr_ >> 4); }
  void set_cr8(std::uint8_t priority) override;
  [[nodiscard]] bool enabled() const override { return base_.get<spec::ApicBase::En>(); }
  [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr) override;
  [[nodiscard]] bool write_msr(std::uint32_t msr, std::uint64_t value) override;
  [[nodiscard]] std::optional<PhysAddr> page() const override;
  [[nodiscard]] bus::MmioRegion& registers() override { return page_registers_; }
  void set_tsc(const TickCounter& tsc) override { timer_.set_tsc(tsc); }

  // For the board and the bus.
  void set_input(unsigned input, bool high) override;
  [[nodiscard]] bool is_destination(const ApicMessage& message) const override;
  [[nodiscard]] bool accepts_fixed() const override { return enabled() && software_enabled(); }
  [[nodiscard]] std::uint8_t arbitration_priority() const override;
  bool accept(const ApicMessage& message) override;
  // Before the CPU's, which asks it where its page is.
  void transfer(StateStream& s);

  [[nodiscard]] bool x2apic_mode() const { return enabled() && base_.get<spec::ApicBase::Extd>(); }
  [[nodiscard]] std::uint32_t id() const { return x2apic_mode() ? config_.id : xapic_id_; }

 private:
  enum Lvt : std::uint8_t { timer_lvt, thermal_lvt, perf_lvt, lint0_lvt, lint1_lvt, error_lvt, lvt_count };

  // The page as a region of the bus.
  class Page final : public bus::MmioRegion {
   public:
    explicit Page(Lapic& lapic) : lapic_{&lapic} {}
    Result<void> read(std::uint64_t offset, ByteSpan to) override;
    Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

   private:
    Lapic* lapic_;
  };

  // Else nobody answers in the page: KVM, arch/x86/kvm/lapic.c, apic_mmio_read().
  [[nodiscard]] bool has_page_registers() const { return enabled() && !x2apic_mode(); }
  [[nodiscard]] bool software_enabled() const { return svr_.get<spec::ApicSvr::Enabled>(); }
  // 11.12.10.2: the cluster in the upper half, one bit in the lower.
  [[nodiscard]] std::uint32_t x2apic_logical_id() const {
    return (config_.id >> 4) << 16 | 1u << (config_.id & 0xf);
  }
  // The state after INIT: everything but the base, the ID and the pins. 11.4.7.3.
  void reset_registers();

  // Registers by their offset in the page; what may be accessed how has been checked.
  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset);
  void write_register(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] std::uint32_t read_page(std::uint32_t offset);
  void write_page(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] std::optional<std::uint64_t> read_x2apic(std::uint32_t offset);
  [[nodiscard]] bool write_x2apic(std::uint32_t offset, std::uint64_t value);
  [[nodiscard]] bool write_base(std::uint64_t value);
  void write_svr(std::uint32_t value);
  void write_lvt(Lvt lvt, std::uint32_t value);

  void send_ipi();
  void send_self_ipi(std::uint8_t vector);
  [[nodiscard]] bool matches_logical(const ApicMessage& message) const;
  void accept_vector(std::uint8_t vector, bool level);
  void latch(spec::ApicDelivery delivery, std::uint8_t vector);
  void end_of_interrupt();

  // An interrupt of the APIC's own: by its LVT entry, if that is not masked.
  void local_interrupt(Lvt lvt);
  void lint_changed(unsigned input, bool rose);
  [[nodiscard]] bool lint_active(unsigned input) const;
  // Level-triggered LINT0: an interrupt while it is active and none is under way.
  void retrigger_lint0();
  [[nodiscard]] bool ext_int_requested() const;

  void log_error(spec::ApicEsr error);
  [[nodiscard]] std::uint8_t processor_priority() const;
  [[nodiscard]] std::optional<std::uint8_t> deliverable() const;
  // INTR follows the state, and the timer whether its interrupt would be noticed.
  void update();

  LapicConfig config_;
  ApicBus* apic_bus_;
  ExtIntSource* ext_int_source_ = nullptr;
  Page page_registers_{*this};
  LapicTimer timer_;

  spec::ApicBase base_{};
  std::uint8_t xapic_id_ = 0;
  std::uint8_t tpr_ = 0;
  std::uint32_t ldr_ = 0;
  std::uint32_t dfr_ = 0;
  spec::ApicSvr svr_{};
  spec::ApicEsr esr_{};
  spec::ApicEsr errors_{};  // since the last write to ESR
  std::uint32_t icr_low_ = 0;
  std::uint32_t icr_high_ = 0;
  std::uint32_t divide_ = 0;
  std::array<spec::ApicLvt, lvt_count> lvt_{};
  VectorSet irr_, isr_, tmr_;
  std::array<bool, 2> lint_{};
  bool ext_int_latched_ = false;
  std::optional<std::uint8_t> startup_;
};

}  // namespace cbit::chipset
