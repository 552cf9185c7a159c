// One instruction of the table: all that this project knows of it, in the manual's words.
#pragma once

#include <cstdint>
#include <string_view>

#include "isa/feature.hpp"
#include "isa/instruction.hpp"

namespace cbit::isa {

class Builder;
using LowerFunction = void (*)(Builder& builder, const Instruction& instruction);

// What holds for an instruction besides what it does. A set.
enum class Rule : std::uint16_t {
  none = 0,
  kernel = 1 << 0,      // CPL 0, or #GP(0)
  not_64 = 1 << 1,      // #UD in 64-bit mode
  only_64 = 1 << 2,     // #UD outside of it
  lockable = 1 << 3,    // takes LOCK with a memory destination
  x87 = 1 << 4,         // CR0.EM or TS: #NM
  wait = 1 << 5,        // CR0.MP and TS: #NM (FWAIT)
  mmx = 1 << 6,         // CR0.EM: #UD; TS: #NM
  sse = 1 << 7,         // CR0.EM or no CR4.OSFXSR: #UD; TS: #NM
  xsave = 1 << 8,       // no CR4.OSXSAVE: #UD
  protected_ = 1 << 9,  // #UD in real and virtual-8086 mode
};
[[nodiscard]] constexpr Rule operator|(Rule a, Rule b) {
  return static_cast<Rule>(static_cast<std::uint16_t>(a) | static_cast<std::uint16_t>(b));
}
[[nodiscard]] constexpr bool has(Rule rules, Rule rule) {
  return (static_cast<std::uint16_t>(rules) & static_cast<std::uint16_t>(rule)) != 0;
}

// How a test may run an instruction.
enum class Trial : std::uint8_t {
  none,    // only where it means something: it is the system's, or asks the machine
  user,    // anywhere, with random operands: it does the same on every processor that has it
  repeat,  // likewise, with a count that is kept small
};

// SVM's exit code of an instruction (APM vol. 2, appendix C), which is the error code of its #VC under
// SEV-ES.
inline constexpr std::uint16_t no_exit = 0xffff;

struct Row {
  std::string_view mnemonic;  // as the decoder spells it
  Form form = Form::any;
  Feature feature = Feature::base;
  Rule rules = Rule::none;
  LowerFunction lower = nullptr;  // null: missing
  Trial trial = Trial::none;
  std::uint32_t undefined = 0;  // status flags that are undefined afterwards: APM vol. 3
  std::uint16_t exit = no_exit;

  // Tables read: row("bsf", lower_count<OpCode::bsf_8>).tried().leaving(all_but_zero)
  [[nodiscard]] constexpr Row as(Form value) const {
    Row copy = *this;
    copy.form = value;
    return copy;
  }
  [[nodiscard]] constexpr Row needs(Feature value) const {
    Row copy = *this;
    copy.feature = value;
    return copy;
  }
  [[nodiscard]] constexpr Row under(Rule value) const {
    Row copy = *this;
    copy.rules = copy.rules | value;
    return copy;
  }
  [[nodiscard]] constexpr Row tried(Trial value = Trial::user) const {
    Row copy = *this;
    copy.trial = value;
    return copy;
  }
  [[nodiscard]] constexpr Row leaving(std::uint32_t undefined_flags) const {
    Row copy = *this;
    copy.undefined = undefined_flags;
    return copy;
  }
  [[nodiscard]] constexpr Row exits(std::uint16_t code) const {
    Row copy = *this;
    copy.exit = code;
    return copy;
  }
};

[[nodiscard]] constexpr Row row(std::string_view mnemonic, LowerFunction lower) {
  return {.mnemonic = mnemonic, .lower = lower};
}
// Nobody has written it yet.
[[nodiscard]] constexpr Row missing(std::string_view mnemonic) { return {.mnemonic = mnemonic}; }

}  // namespace cbit::isa
