#include "chipset/keyboard_controller.hpp"

#include <utility>

namespace cbit::chipset {
namespace {

// IBM PC/AT Technical Reference; those of A7h to A9h, D3h and D4h: PS/2 Hardware Interface Technical
// Reference.
namespace kbc_command {
constexpr std::uint8_t read_ram = 0x20;   // to 3Fh
constexpr std::uint8_t write_ram = 0x60;  // to 7Fh
constexpr std::uint8_t test_mouse_port = 0xa9;
constexpr std::uint8_t self_test = 0xaa;
constexpr std::uint8_t test_keyboard_port = 0xab;
constexpr std::uint8_t keyboard_off = 0xad;
constexpr std::uint8_t keyboard_on = 0xae;
constexpr std::uint8_t read_input_port = 0xc0;
constexpr std::uint8_t read_output_port = 0xd0;
constexpr std::uint8_t write_output_port = 0xd1;
constexpr std::uint8_t write_output = 0xd2;
constexpr std::uint8_t write_mouse_output = 0xd3;
constexpr std::uint8_t write_mouse = 0xd4;
constexpr std::uint8_t read_test_inputs = 0xe0;
constexpr std::uint8_t pulse = 0xf0;  // to FFh: a clear bit pulses that line of the output port
}  // namespace kbc_command

constexpr std::uint8_t self_test_passed = 0x55;
constexpr std::uint8_t port_works = 0x00;
constexpr std::uint8_t port_clock_stuck_high = 0x02;
constexpr std::uint8_t not_inhibited = 0x80;
constexpr std::uint8_t resend = 0xfe;  // also what the controller itself says after a time-out

}  // namespace

KeyboardController::KeyboardController(bus::IrqLine& irq, PlatformControl& platform)
    : irq_{irq, "i8042"}, platform_{&platform} {
  reset();
}

// As firmware leaves it that found no keyboard.
void KeyboardController::reset() {
  status_ = Status{}.with<Status::NotLocked>(true);
  set_mode(Mode{}
               .with<Mode::Translate>(true)
               .with<Mode::MouseOff>(true)
               .with<Mode::KeyboardOff>(true)
               .with<Mode::SelfTestPassed>(true));
  output_ = 0;
  a20_ = true;
  waits_for_parameter_.reset();
  update();
}

std::uint8_t KeyboardController::read_data() {
  status_ = status_.with<Status::OutputFull>(false).with<Status::Timeout>(false);
  update();
  return output_;
}

void KeyboardController::write_data(std::uint8_t value) {
  status_ = status_.with<Status::Command>(false);
  if (const auto command = std::exchange(waits_for_parameter_, std::nullopt))
    return finish_command(*command, value);
  set_mode(mode_.with<Mode::KeyboardOff>(false));
  answer(resend, true);
}

void KeyboardController::write_command(std::uint8_t command) {
  status_ = status_.with<Status::Command>(true);
  waits_for_parameter_.reset();
  if (command >= kbc_command::pulse) {
    if ((command & 1) == 0) platform_->reset(ResetKind::cpu);
    return;
  }
  if (command >= kbc_command::write_ram && command < kbc_command::write_ram + 0x20) {
    waits_for_parameter_ = command;
    return;
  }
  if (command >= kbc_command::read_ram && command < kbc_command::read_ram + 0x20)
    return answer(command == kbc_command::read_ram ? mode_.raw : std::uint8_t{0});
  switch (command) {
    case kbc_command::test_mouse_port: return answer(port_clock_stuck_high);
    case kbc_command::self_test:
      set_mode(mode_.with<Mode::SelfTestPassed>(true));
      return answer(self_test_passed);
    case kbc_command::test_keyboard_port: return answer(port_works);
    case kbc_command::keyboard_off: return set_mode(mode_.with<Mode::KeyboardOff>(true));
    case kbc_command::keyboard_on: return set_mode(mode_.with<Mode::KeyboardOff>(false));
    case kbc_command::read_input_port: return answer(not_inhibited);
    case kbc_command::read_output_port:
      return answer(OutputPort{}
                        .with<OutputPort::OutputFull>(status_.get<Status::OutputFull>())
                        .with<OutputPort::A20>(a20_)
                        .with<OutputPort::NoReset>(true)
                        .raw);
    case kbc_command::write_output_port:
    case kbc_command::write_output:
    case kbc_command::write_mouse_output:
    case kbc_command::write_mouse: waits_for_parameter_ = command; return;
    case kbc_command::read_test_inputs: return answer(0);
    default: return;
  }
}

void KeyboardController::finish_command(std::uint8_t command, std::uint8_t parameter) {
  switch (command) {
    case kbc_command::write_ram: return set_mode(Mode{{parameter}});
    case kbc_command::write_output_port:
      a20_ = OutputPort{{parameter}}.get<OutputPort::A20>();
      if (!OutputPort{{parameter}}.get<OutputPort::NoReset>()) platform_->reset(ResetKind::cpu);
      return;
    case kbc_command::write_output:
    case kbc_command::write_mouse_output: return answer(parameter);
    default: return;
  }
}

// One byte fits; one that nobody read is lost.
void KeyboardController::answer(std::uint8_t value, bool timeout) {
  output_ = value;
  status_ = status_.with<Status::OutputFull>(true).with<Status::Timeout>(timeout);
  irq_.lower();
  update();
}

void KeyboardController::set_mode(Mode mode) {
  mode_ = mode;
  status_ = status_.with<Status::SelfTestPassed>(mode.get<Mode::SelfTestPassed>());
  update();
}

void KeyboardController::update() {
  irq_.set(status_.get<Status::OutputFull>() && mode_.get<Mode::Interrupt>());
}

void KeyboardController::transfer(StateStream& s) {
  s(irq_, status_, mode_, output_, a20_, waits_for_parameter_);
}

}  // namespace cbit::chipset
