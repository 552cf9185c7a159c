// The two 8259A interrupt controllers of a PC: the master with its INT output at the CPU (LINT0 of the local
// APIC), the slave at the master's input 2, and the edge/level control registers (ELCR) beside them.
//
//   20h, 21h    master: ICW1, OCW2, OCW3 · ICW2-4, OCW1 (the mask)
//   A0h, A1h    slave
//   4D0h, 4D1h  ELCR: a set bit makes the input level-triggered
//
// An edge asks for an interrupt only while its line stays up: if that drops before the acknowledge cycle, the
// request is gone, and a cycle that finds none is answered with input 7 (a spurious interrupt), which is not
// in service afterwards.
//
// Sources: Intel 8259A (231468); ELCR: Intel ICH9 datasheet (316972), 13.4. LTIM of ICW1 has no effect, as
// in every chip that has an ELCR. Buffered and 8080 mode do not exist. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"
#include "chipset/ext_int_source.hpp"

namespace cbit::chipset {

// One 8259A.
class Pic8259 {
 public:
  explicit Pic8259(std::uint8_t elcr_settable) : elcr_settable_{elcr_settable} {}

  // As firmware leaves it: initialised, with the vectors from this one on, and all inputs masked. The inputs
  // keep their levels.
  void reset(std::uint8_t vector_base);

  void set_input(unsigned input, bool high);
  // The INT output.
  [[nodiscard]] bool requests() const { return next().has_value(); }
  // The acknowledge cycle: the input that is served now; 7 if there is none.
  unsigned acknowledge();
  [[nodiscard]] std::uint8_t vector(unsigned input) const {
    return static_cast<std::uint8_t>(vector_base_ | input);
  }

  void write_command(std::uint8_t value);  // A0 = 0
  void write_data(std::uint8_t value);     // A0 = 1
  [[nodiscard]] std::uint8_t read_command();
  [[nodiscard]] std::uint8_t read_data();
  void write_elcr(std::uint8_t value);
  [[nodiscard]] std::uint8_t elcr() const { return elcr_; }
  void transfer(StateStream& s);

 private:
  enum class Expects : std::uint8_t { nothing, icw2, icw3, icw4 };

  // Of a set of inputs the one that comes first in the present order of priority, and its place in it.
  [[nodiscard]] std::optional<unsigned> first_of(std::uint8_t inputs) const;
  [[nodiscard]] unsigned place(unsigned input) const { return (input - lowest_ - 1) & 7; }
  // The input that would be served now.
  [[nodiscard]] std::optional<unsigned> next() const;
  void icw1(std::uint8_t value);
  void ocw2(std::uint8_t value);
  void ocw3(std::uint8_t value);
  [[nodiscard]] std::uint8_t poll();

  std::uint8_t elcr_settable_;
  std::uint8_t lines_ = 0;  // levels of the inputs
  std::uint8_t irr_ = 0;
  std::uint8_t isr_ = 0;
  std::uint8_t imr_ = 0;
  std::uint8_t elcr_ = 0;
  std::uint8_t vector_base_ = 0;
  unsigned lowest_ = 7;  // the input of lowest priority
  Expects expects_ = Expects::nothing;
  bool single_ = false;      // ICW1.SNGL: no ICW3
  bool wants_icw4_ = false;  // ICW1.IC4
  bool auto_eoi_ = false;
  bool rotates_on_auto_eoi_ = false;
  bool special_mask_ = false;
  bool special_fully_nested_ = false;
  bool reads_isr_ = false;
  bool polled_ = false;
};

class PicPair final : public bus::IrqInput, public ExtIntSource {
 public:
  // `output` leads to the CPU.
  explicit PicPair(bus::IrqLine& output);

  void reset();
  // Inputs 0 to 15; 2 is the slave's.
  void set_input(unsigned input, bool high) override;
  std::uint8_t acknowledge() override;
  void transfer(StateStream& s);

  // Two ports each.
  [[nodiscard]] bus::PioRegion& master_ports() { return master_ports_; }
  [[nodiscard]] bus::PioRegion& slave_ports() { return slave_ports_; }
  [[nodiscard]] bus::PioRegion& elcr_ports() { return elcr_ports_; }

 private:
  class ChipPorts final : public bus::PioRegion {
   public:
    ChipPorts(PicPair& pair, Pic8259& chip) : pair_{&pair}, chip_{&chip} {}
    std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
    void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

   private:
    PicPair* pair_;
    Pic8259* chip_;
  };
  class ElcrPorts final : public bus::PioRegion {
   public:
    explicit ElcrPorts(PicPair& pair) : pair_{&pair} {}
    std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
    void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

   private:
    PicPair* pair_;
  };

  void update();

  Pic8259 master_{0xf8};  // the timer, the keyboard and the slave are edges
  Pic8259 slave_{0xde};   // so are the clock and the coprocessor
  bus::IrqDriver output_;
  ChipPorts master_ports_{*this, master_};
  ChipPorts slave_ports_{*this, slave_};
  ElcrPorts elcr_ports_{*this};
};

}  // namespace cbit::chipset
