#include "chipset/pic.hpp"

#include <bit>

#include "base/reg.hpp"
#include "chipset/pc_map.hpp"

namespace cbit::chipset {
namespace {

constexpr unsigned cascade_input = 2;
constexpr unsigned spurious_input = 7;

std::uint8_t bit_of(unsigned input) { return static_cast<std::uint8_t>(1u << input); }

// 8259A, "Initialization Command Words" and "Operation Command Words".
struct Icw1 : Register<Icw1, std::uint8_t> {
  using Icw1Bit = Field<4, 4, bool>;  // else it is an OCW2 or an OCW3
  using Single = Field<1, 1, bool>;
  using Icw4Needed = Field<0, 0, bool>;
};
struct Icw4 : Register<Icw4, std::uint8_t> {
  using SpecialFullyNested = Field<4, 4, bool>;
  using AutoEoi = Field<1, 1, bool>;
};
struct Ocw2 : Register<Ocw2, std::uint8_t> {
  using Rotate = Field<7, 7, bool>;
  using Specific = Field<6, 6, bool>;
  using Eoi = Field<5, 5, bool>;
  using Level = Field<2, 0, unsigned>;
};
struct Ocw3 : Register<Ocw3, std::uint8_t> {
  using SetSpecialMask = Field<6, 6, bool>;  // whether the next one counts
  using SpecialMask = Field<5, 5, bool>;
  using Ocw3Bit = Field<3, 3, bool>;
  using Poll = Field<2, 2, bool>;
  using SetRead = Field<1, 1, bool>;  // whether the next one counts
  using ReadIsr = Field<0, 0, bool>;
};
static_assert(Ocw2{{0x63}}.get<Ocw2::Specific>() && Ocw2{{0x63}}.get<Ocw2::Level>() == 3);
static_assert(Ocw3{{0x0b}}.get<Ocw3::ReadIsr>());

}  // namespace

void Pic8259::reset(std::uint8_t vector_base) {
  irr_ = isr_ = elcr_ = 0;
  imr_ = 0xff;
  vector_base_ = vector_base;
  lowest_ = 7;
  expects_ = Expects::nothing;
  single_ = wants_icw4_ = auto_eoi_ = rotates_on_auto_eoi_ = false;
  special_mask_ = special_fully_nested_ = reads_isr_ = polled_ = false;
}

void Pic8259::set_input(unsigned input, bool high) {
  const std::uint8_t bit = bit_of(input);
  const bool rises = high && (lines_ & bit) == 0;
  lines_ = static_cast<std::uint8_t>(high ? lines_ | bit : lines_ & ~bit);
  if (!high) irr_ &= static_cast<std::uint8_t>(~bit);
  if (rises || (high && (elcr_ & bit) != 0)) irr_ |= bit;
}

std::optional<unsigned> Pic8259::first_of(std::uint8_t inputs) const {
  if (inputs == 0) return std::nullopt;
  const std::uint8_t in_order = std::rotr(inputs, static_cast<int>(lowest_ + 1));
  return (static_cast<unsigned>(std::countr_zero(in_order)) + lowest_ + 1) & 7;
}

std::optional<unsigned> Pic8259::next() const {
  const auto wanted = first_of(irr_ & static_cast<std::uint8_t>(~imr_));
  if (!wanted) return std::nullopt;
  // What is in service holds back its own level and those below: in special mask mode only where it is not
  // masked, and in special fully nested mode not what comes from the slave.
  std::uint8_t holding = isr_;
  if (special_mask_) holding &= static_cast<std::uint8_t>(~imr_);
  if (special_fully_nested_ && *wanted == cascade_input)
    holding &= static_cast<std::uint8_t>(~bit_of(*wanted));
  const auto served = first_of(holding);
  if (served && place(*wanted) >= place(*served)) return std::nullopt;
  return wanted;
}

unsigned Pic8259::acknowledge() {
  const auto input = next();
  if (!input) return spurious_input;
  const std::uint8_t bit = bit_of(*input);
  if ((elcr_ & bit) == 0) irr_ &= static_cast<std::uint8_t>(~bit);
  if (!auto_eoi_)
    isr_ |= bit;
  else if (rotates_on_auto_eoi_)
    lowest_ = *input;
  return *input;
}

void Pic8259::write_command(std::uint8_t value) {
  if (Icw1{{value}}.get<Icw1::Icw1Bit>()) return icw1(value);
  Ocw3{{value}}.get<Ocw3::Ocw3Bit>() ? ocw3(value) : ocw2(value);
}

// Resets the edge sense circuit: a line that is up has to fall and rise to ask again.
void Pic8259::icw1(std::uint8_t value) {
  single_ = Icw1{{value}}.get<Icw1::Single>();
  wants_icw4_ = Icw1{{value}}.get<Icw1::Icw4Needed>();
  expects_ = Expects::icw2;
  irr_ = lines_ & elcr_;
  isr_ = imr_ = 0;
  lowest_ = 7;
  auto_eoi_ = rotates_on_auto_eoi_ = special_mask_ = special_fully_nested_ = false;
  reads_isr_ = polled_ = false;
}

void Pic8259::write_data(std::uint8_t value) {
  switch (expects_) {
    case Expects::nothing: imr_ = value; return;
    case Expects::icw2:
      vector_base_ = value & 0xf8;
      expects_ = !single_ ? Expects::icw3 : wants_icw4_ ? Expects::icw4 : Expects::nothing;
      return;
    case Expects::icw3: expects_ = wants_icw4_ ? Expects::icw4 : Expects::nothing; return;
    case Expects::icw4:
      auto_eoi_ = Icw4{{value}}.get<Icw4::AutoEoi>();
      special_fully_nested_ = Icw4{{value}}.get<Icw4::SpecialFullyNested>();
      expects_ = Expects::nothing;
      return;
  }
}

void Pic8259::ocw2(std::uint8_t value) {
  const Ocw2 word{{value}};
  const bool rotate = word.get<Ocw2::Rotate>();
  if (!word.get<Ocw2::Eoi>()) {
    if (!word.get<Ocw2::Specific>())
      rotates_on_auto_eoi_ = rotate;
    else if (rotate)
      lowest_ = word.get<Ocw2::Level>();
    return;
  }
  std::optional<unsigned> ended = word.get<Ocw2::Level>();
  if (!word.get<Ocw2::Specific>()) {
    const auto masked = special_mask_ ? imr_ : std::uint8_t{0};
    ended = first_of(isr_ & static_cast<std::uint8_t>(~masked));
  }
  if (!ended) return;
  isr_ &= static_cast<std::uint8_t>(~bit_of(*ended));
  if (rotate) lowest_ = *ended;
}

void Pic8259::ocw3(std::uint8_t value) {
  const Ocw3 word{{value}};
  if (word.get<Ocw3::SetSpecialMask>()) special_mask_ = word.get<Ocw3::SpecialMask>();
  polled_ = word.get<Ocw3::Poll>();
  if (!polled_ && word.get<Ocw3::SetRead>()) reads_isr_ = word.get<Ocw3::ReadIsr>();
}

// The read after a poll command is an acknowledge cycle: whether there was a request, and from where.
std::uint8_t Pic8259::poll() {
  polled_ = false;
  if (!requests()) return 0;
  return static_cast<std::uint8_t>(0x80 | acknowledge());
}

std::uint8_t Pic8259::read_command() {
  if (polled_) return poll();
  return reads_isr_ ? isr_ : irr_;
}

std::uint8_t Pic8259::read_data() { return polled_ ? poll() : imr_; }

void Pic8259::write_elcr(std::uint8_t value) {
  elcr_ = value & elcr_settable_;
  irr_ = static_cast<std::uint8_t>((irr_ | (lines_ & elcr_)) & lines_);
}

PicPair::PicPair(bus::IrqLine& output) : output_{output, "pic"} { reset(); }

void PicPair::reset() {
  master_.reset(pc_map::pic_master_vectors);
  slave_.reset(pc_map::pic_slave_vectors);
  update();
}

void PicPair::set_input(unsigned input, bool high) {
  if (input == cascade_input || input > 15) return;
  input < 8 ? master_.set_input(input, high) : slave_.set_input(input - 8, high);
  update();
}

std::uint8_t PicPair::acknowledge() {
  const unsigned input = master_.acknowledge();
  const bool from_slave = input == cascade_input;
  const std::uint8_t vector = from_slave ? slave_.vector(slave_.acknowledge()) : master_.vector(input);
  update();
  return vector;
}

void PicPair::update() {
  // An acknowledge cycle takes the slave's request off its line, and the next one is a new edge.
  master_.set_input(cascade_input, false);
  if (slave_.requests()) master_.set_input(cascade_input, true);
  output_.set(master_.requests());
}

std::uint32_t PicPair::ChipPorts::read(std::uint16_t offset, unsigned) {
  const std::uint8_t value = offset == 0 ? chip_->read_command() : chip_->read_data();
  pair_->update();
  return value;
}

void PicPair::ChipPorts::write(std::uint16_t offset, unsigned, std::uint32_t value) {
  const auto byte = static_cast<std::uint8_t>(value);
  offset == 0 ? chip_->write_command(byte) : chip_->write_data(byte);
  pair_->update();
}

std::uint32_t PicPair::ElcrPorts::read(std::uint16_t offset, unsigned) {
  return offset == 0 ? pair_->master_.elcr() : pair_->slave_.elcr();
}

void PicPair::ElcrPorts::write(std::uint16_t offset, unsigned, std::uint32_t value) {
  Pic8259& chip = offset == 0 ? pair_->master_ : pair_->slave_;
  chip.write_elcr(static_cast<std::uint8_t>(value));
  pair_->update();
}

void Pic8259::transfer(StateStream& s) {
  s(lines_, irr_, isr_, imr_, elcr_, vector_base_);
  s.up_to(lowest_, 7u);
  s.choice(expects_, Expects::icw4);
  s(single_, wants_icw4_, auto_eoi_, rotates_on_auto_eoi_, special_mask_, special_fully_nested_, reads_isr_,
    polled_);
}

void PicPair::transfer(StateStream& s) { s(master_, slave_, output_); }

}  // namespace cbit::chipset
