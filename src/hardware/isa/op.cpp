#include "isa/op.hpp"

#include <array>
#include <iterator>

#include "base/format.hpp"

namespace cbit::isa {
namespace {

constexpr OpInfo op_table[] = {
#define CBIT_OP(name, kind, effect, ...) {#name, OpKind::kind, FlagEffect::effect},
    CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP
};
static_assert(std::size(op_table) == static_cast<std::size_t>(OpCode::count));

constexpr HelperInfo helpers[] = {
#define CBIT_HELPER(name, ends) {#name, ends},
    CBIT_ISA_HELPERS(CBIT_HELPER)
#undef CBIT_HELPER
};
static_assert(std::size(helpers) == static_cast<std::size_t>(Helper::count));

constexpr std::array<std::string_view, 16> gpr_names{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr std::array<std::string_view, 6> segment_names{"es", "cs", "ss", "ds", "fs", "gs"};

std::string name_of(Slot slot) {
  if (slot >= slot_of_xmm_temp(0)) return fmt::format("v{}", (slot - slot_of_xmm_temp(0)) / 16);
  if (slot >= slot_of_xmm(0)) return fmt::format("xmm{}", (slot - slot_of_xmm(0)) / 16);
  const std::string_view high = slot % 8 == 1 ? ".h" : "";
  if (slot >= slot_of_temp(0)) return fmt::format("t{}{}", (slot - slot_of_temp(0)) / 8, high);
  if (slot >= slot_of(Segment::es))
    return fmt::format("{}.base", segment_names[(slot - slot_of(Segment::es)) / 8u]);
  if (slot >= slot_page) return "page";
  if (slot >= slot_zero) return "0";
  return fmt::format("{}{}", gpr_names[slot / 8u], high);
}

std::string line_of(const Op& op) {
  const OpInfo& info = info_of(op.code);
  std::string line = fmt::format("{:2} {}", op.instruction, info.name);
  if (info.kind == OpKind::helper) line += fmt::format(".{}", info_of(op.helper).name);
  line += fmt::format(" {}, {}, {}", name_of(op.dst), name_of(op.a), name_of(op.b));
  if (op.base != slot_zero || op.index != slot_zero || op.disp != 0)
    line += fmt::format(" [{} + {}*{} {:+#x}]", name_of(op.base), name_of(op.index), 1 << op.scale, op.disp);
  if (op.imm != 0) line += fmt::format(" #{:#x}", op.imm);
  return line + '\n';
}

}  // namespace

const OpInfo& info_of(OpCode code) { return op_table[static_cast<std::size_t>(code)]; }

std::span<const HelperInfo> helper_table() { return helpers; }

std::string to_text(const Block& block) {
  std::string text;
  for (const Op& op : block.ops) text += line_of(op);
  return text;
}

}  // namespace cbit::isa
