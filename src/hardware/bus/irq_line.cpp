#include "bus/irq_line.hpp"

namespace cbit::bus {

void IrqLine::connect(IrqInput& controller, unsigned input) {
  ends_.push_back({&controller, input});
  controller.set_input(input, high());
}

void IrqLine::count(bool asserts) {
  const bool before = asserted();
  asserts ? ++asserting_ : --asserting_;
  if (asserted() == before) return;
  for (const End& end : ends_) end.controller->set_input(end.input, high());
}

IrqDriver::IrqDriver(IrqLine& line, std::string device) : line_{&line}, device_{std::move(device)} {
  line_->drivers_.push_back(this);
}

IrqDriver::~IrqDriver() {
  lower();
  std::erase(line_->drivers_, this);
}

void IrqDriver::set(bool asserted) {
  if (asserted == asserted_) return;
  asserted_ = asserted;
  line_->count(asserted);
}

void IrqDriver::pulse() {
  lower();
  raise();
  lower();
}

void IrqDriver::transfer(StateStream& s) {
  bool asserted = asserted_;
  s(asserted);
  if (asserted == asserted_) return;
  asserted_ = asserted;
  asserted ? ++line_->asserting_ : --line_->asserting_;
}

}  // namespace cbit::bus
