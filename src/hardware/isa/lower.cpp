#include "isa/lower.hpp"

#include <algorithm>

#include "cbit/addr.hpp"
#include "isa/builder.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

// Long enough for straight-line code; short enough to look at interrupts in time.
constexpr std::uint8_t vector_vc = 29;

// The exception that an instruction raises whatever its operands are; 0: none.
std::uint8_t unit_exception(Rule rules, Mode mode) {
  const bool emulated = mode.get<Mode::Emulation>();
  const bool switched = mode.get<Mode::TaskSwitched>();
  if (has(rules, Rule::xsave) && mode.get<Mode::NoOsxsave>()) return vector_ud;
  if (has(rules, Rule::sse) && (emulated || mode.get<Mode::NoOsfxsr>())) return vector_ud;
  if (has(rules, Rule::mmx) && emulated) return vector_ud;
  if (has(rules, Rule::x87) && (emulated || switched)) return vector_nm;
  if (has(rules, Rule::sse | Rule::mmx | Rule::xsave) && switched) return vector_nm;
  if (has(rules, Rule::wait) && mode.get<Mode::Monitor>() && switched) return vector_nm;
  return 0;
}

bool is_there(const Row* row, const FeatureSet& features) {
  return row != nullptr && features.has(row->feature) && row->lower != nullptr;
}

bool is_undefined(const Row& row, const Instruction& instruction, Mode mode) {
  if (has(row.rules, mode.is_64() ? Rule::not_64 : Rule::only_64)) return true;
  return instruction.lock && !(has(row.rules, Rule::lockable) && instruction.operands[0].is_memory());
}

void lower_one(Builder& builder, const Instruction& instruction, const Lowerer::Options& options) {
  const Row* row = find_row(instruction);
  const Mode mode = builder.mode();
  if (!is_there(row, options.features)) {
    builder.call(Helper::missing, instruction.mnemonic);
    return;
  }
  if (is_undefined(*row, instruction, mode)) {
    builder.raise(vector_ud);
    return;
  }
  if (const std::uint8_t vector = unit_exception(row->rules, mode)) {
    builder.raise(vector);
    return;
  }
  if (has(row->rules, Rule::kernel) && mode.get<Mode::NotKernel>()) {
    builder.raise_general_protection();
    return;
  }
  if (row->exit != no_exit && std::ranges::find(options.intercepts, row->exit) != options.intercepts.end()) {
    builder.call(Helper::raise, vector_vc | 1u << 8 | std::uint64_t{row->exit} << 16);
    return;
  }
  row->lower(builder, instruction);
}

}  // namespace

Lowerer::Lowerer(const Options& options) : options_{options}, decoder_{options.features} {}

bool Lowerer::lower(const Code& code, Block& to, const Probed& probed) const {
  to.ops.clear();
  to.marks.clear();
  const std::size_t in_page = page_size - code.place;
  to.crosses = false;
  Builder builder{code.mode, to, options_.atomic};
  std::size_t done = 0;
  while (done < in_page && to.marks.size() < block_instructions_max && !builder.ended()) {
    const auto place = static_cast<std::uint16_t>(code.place + done);
    const bool first = to.marks.empty();
    const bool probe = probed && probed(place);
    if (probe && !first) break;
    Instruction instruction;
    const DecodeStatus status = decoder_.decode(code.mode, code.bytes.subspan(done), instruction);
    if (status == DecodeStatus::need_more) {
      if (first) return false;
      break;
    }
    if (status != DecodeStatus::ok) instruction.length = 1;
    if (done + instruction.length > in_page) {
      if (!first) break;
      to.crosses = true;
    }
    builder.begin(instruction, place);
    if (probe) builder.call(Helper::probe);
    if (status == DecodeStatus::ok)
      lower_one(builder, instruction, options_);
    else if (status == DecodeStatus::too_long)
      builder.raise_general_protection();
    else
      builder.raise(vector_ud);
    done += instruction.length;
    if (code.mode.get<Mode::OneStep>()) builder.end_block();
  }
  builder.finish();
  return true;
}

}  // namespace cbit::isa
