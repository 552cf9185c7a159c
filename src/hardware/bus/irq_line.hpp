// A wire from devices to the inputs of interrupt controllers. Each device that may drive it has an IrqDriver;
// the line is asserted while at least one of them asserts it (wired or), and leads to any number of inputs:
// an ISA interrupt to the PIC and to the IOAPIC.
//
// Devices assert, controllers see a voltage: a line that is active low (PCI's INTx#) is high while nobody
// asserts it. What a controller programmed for the other polarity makes of it is what it would make of it in
// hardware. Threading: one thread, that of the machine. Drivers end before their line, lines before the
// controllers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/state_stream.hpp"

namespace cbit::bus {

// The inputs of an interrupt controller, numbered by it.
class IrqInput {
 public:
  virtual ~IrqInput() = default;
  // The input's voltage from now on; may be what it was.
  virtual void set_input(unsigned input, bool high) = 0;
};

enum class ActiveLevel : bool { low, high };

class IrqDriver;

class IrqLine {
 public:
  explicit IrqLine(std::string name, ActiveLevel active = ActiveLevel::high)
      : name_{std::move(name)}, active_{active} {}
  IrqLine(const IrqLine&) = delete;
  IrqLine& operator=(const IrqLine&) = delete;
  ~IrqLine() { CBIT_ASSERT(drivers_.empty()); }

  // The input is told the present level.
  void connect(IrqInput& controller, unsigned input);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] ActiveLevel active_level() const { return active_; }
  [[nodiscard]] bool asserted() const { return asserting_ != 0; }
  [[nodiscard]] bool high() const { return asserted() == (active_ == ActiveLevel::high); }
  // All that may drive it, in the order in which they came.
  [[nodiscard]] const std::vector<const IrqDriver*>& drivers() const { return drivers_; }

 private:
  friend class IrqDriver;
  struct End {
    IrqInput* controller;
    unsigned input;
  };
  void count(bool asserts);

  std::string name_;
  ActiveLevel active_;
  unsigned asserting_ = 0;
  std::vector<End> ends_;
  std::vector<const IrqDriver*> drivers_;
};

// A device's end of a line. Asserts nothing at first, and no longer when it ends.
class IrqDriver {
 public:
  IrqDriver(IrqLine& line, std::string device);
  IrqDriver(const IrqDriver&) = delete;
  IrqDriver& operator=(const IrqDriver&) = delete;
  ~IrqDriver();

  void set(bool asserted);
  void raise() { set(true); }
  void lower() { set(false); }
  // One active edge, whatever it drove before; asserts nothing after.
  void pulse();
  [[nodiscard]] bool asserted() const { return asserted_; }
  [[nodiscard]] const std::string& device() const { return device_; }
  [[nodiscard]] IrqLine& line() const { return *line_; }
  // Loading tells no controller: those have states of their own.
  void transfer(StateStream& s);

 private:
  IrqLine* line_;
  std::string device_;
  bool asserted_ = false;
};

}  // namespace cbit::bus
