// An 8042 keyboard controller without a keyboard and without a port for a mouse: enough for software that
// resets the machine through it or looks for a keyboard, and answers at once, so that the search is short.
//
//   60h  data · 64h  status; written: command · IRQ 1
//
// A byte for the keyboard comes back as FEh with the time-out flag, as from a socket with nothing in it. What
// is meant for the mouse port (D3h) comes back at the keyboard's side, and the test of that port fails, by
// which i8042_check_aux() in Linux's drivers/input/serio/i8042.c sees that there is none.
//
// Sources: IBM PC/AT Technical Reference, "Keyboard Controller"; Intel UPI-42 8042AH as programmed there.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <optional>

#include "base/reg.hpp"
#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"
#include "chipset/platform_control.hpp"

namespace cbit::chipset {

class KeyboardController final {
 public:
  struct Status : Register<Status, std::uint8_t> {
    using Parity = Field<7, 7, bool>;
    using Timeout = Field<6, 6, bool>;
    using NotLocked = Field<4, 4, bool>;
    using Command = Field<3, 3, bool>;  // what was written last
    using SelfTestPassed = Field<2, 2, bool>;
    using InputFull = Field<1, 1, bool>;
    using OutputFull = Field<0, 0, bool>;
  };
  // The controller's byte 0.
  struct Mode : Register<Mode, std::uint8_t> {
    using Translate = Field<6, 6, bool>;
    using MouseOff = Field<5, 5, bool>;
    using KeyboardOff = Field<4, 4, bool>;
    using SelfTestPassed = Field<2, 2, bool>;
    using Interrupt = Field<0, 0, bool>;
  };
  struct OutputPort : Register<OutputPort, std::uint8_t> {
    using OutputFull = Field<4, 4, bool>;
    using A20 = Field<1, 1, bool>;
    using NoReset = Field<0, 0, bool>;
  };

  KeyboardController(bus::IrqLine& irq, PlatformControl& platform);

  void reset();
  // One port each.
  [[nodiscard]] bus::PioRegion& data_port() { return data_port_; }
  [[nodiscard]] bus::PioRegion& command_port() { return command_port_; }
  void transfer(StateStream& s);

 private:
  class DataPort final : public bus::PioRegion {
   public:
    explicit DataPort(KeyboardController& controller) : controller_{&controller} {}
    std::uint32_t read(std::uint16_t, unsigned) override { return controller_->read_data(); }
    void write(std::uint16_t, unsigned, std::uint32_t value) override {
      controller_->write_data(static_cast<std::uint8_t>(value));
    }

   private:
    KeyboardController* controller_;
  };
  class CommandPort final : public bus::PioRegion {
   public:
    explicit CommandPort(KeyboardController& controller) : controller_{&controller} {}
    std::uint32_t read(std::uint16_t, unsigned) override { return controller_->status_.raw; }
    void write(std::uint16_t, unsigned, std::uint32_t value) override {
      controller_->write_command(static_cast<std::uint8_t>(value));
    }

   private:
    KeyboardController* controller_;
  };

  [[nodiscard]] std::uint8_t read_data();
  void write_data(std::uint8_t value);
  void write_command(std::uint8_t command);
  // With the parameter that it needs.
  void finish_command(std::uint8_t command, std::uint8_t parameter);
  void answer(std::uint8_t value, bool timeout = false);
  void set_mode(Mode mode);
  void update();

  bus::IrqDriver irq_;
  PlatformControl* platform_;
  DataPort data_port_{*this};
  CommandPort command_port_{*this};
  Status status_{};
  Mode mode_{};
  std::uint8_t output_ = 0;
  bool a20_ = true;
  std::optional<std::uint8_t> waits_for_parameter_;  // the command that does
};

static_assert(KeyboardController::Status{{0x40}}.get<KeyboardController::Status::Timeout>());
static_assert(KeyboardController::Mode{{0x10}}.get<KeyboardController::Mode::KeyboardOff>());

}  // namespace cbit::chipset
