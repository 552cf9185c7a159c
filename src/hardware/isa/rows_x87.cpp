// x87. APM vol. 5. All are helpers, which find the operation by its name.
#include "isa/builder.hpp"
#include "isa/decode.hpp"
#include "isa/parameters.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

// Of those with an operand in memory.
constexpr bool stores(std::string_view mnemonic) {
  for (const std::string_view begin : {"fst", "fist", "fbst", "fns"})
    if (mnemonic.starts_with(begin)) return true;
  return false;
}

constexpr bool waits(std::string_view mnemonic) { return !mnemonic.starts_with("fn"); }

void lower_x87(Builder& b, const Instruction& i) {
  X87Parameters with{.mnemonic = i.mnemonic,
                     .opcode = static_cast<std::uint16_t>((i.opcode & 7) << 8 | i.modrm)};
  Address at;
  bool first = true;
  for (unsigned number = 0; number < i.operand_count && number < 2; ++number) {
    const Operand& operand = i.operands[number];
    if (operand.is_memory()) {
      with.memory_bytes = operand.bytes;
      // An exception that waits comes before the segment's, too; in 64-bit mode segments have none.
      if (!b.is_64() && waits(mnemonic_name(i.mnemonic))) b.call(Helper::check_x87);
      at = b.address(operand, operand.bytes,
                     stores(mnemonic_name(i.mnemonic)) ? AccessKind::write : AccessKind::read);
    } else if (operand.kind == OperandKind::x87) {
      (first ? with.first : with.second) = operand.reg;
      first = false;
    }
  }
  Op& op = b.call(Helper::x87, with.packed());
  // FNSTSW AX, and FNSTENV's layout.
  op.dst = slot_of(Gpr::rax);
  op.b = i.operand_bytes;
  Builder::set_address(op, at);
}

constexpr Row x87(std::string_view mnemonic) {
  return row(mnemonic, lower_x87).needs(Feature::fpu).under(Rule::x87);
}

// Whose result every processor computes alike are tried; the others are held to their manuals elsewhere.
constexpr std::string_view tried_names[] = {
    "fadd",   "faddp",   "fsub",    "fsubp", "fsubr",  "fsubrp",  "fmul",    "fmulp",  "fdiv",   "fdivp",
    "fdivr",  "fdivrp",  "fiadd",   "fisub", "fisubr", "fimul",   "fidiv",   "fidivr", "fld",    "fst",
    "fstp",   "fild",    "fist",    "fistp", "fisttp", "fld1",    "fldz",    "fldl2t", "fldl2e", "fldpi",
    "fldlg2", "fldln2",  "fchs",    "fabs",  "fsqrt",  "frndint", "fxch",    "fcom",   "fcomp",  "fcompp",
    "fucom",  "fucomp",  "fucompp", "fcomi", "fcomip", "fucomi",  "fucomip", "ficom",  "ficomp", "ftst",
    "ffree",  "fincstp", "fdecstp", "fnop",  "fnstcw", "fnclex",  "fninit",  "fscale", "fxtract"};
constexpr std::string_view other_names[] = {
    "fbld",   "fbstp",  "fxam",   "fprem", "fprem1",       "f2xm1",         "fyl2x",         "fyl2xp1",
    "fptan",  "fpatan", "fsin",   "fcos",  "fsincos",      "ffreep",        "fnstsw",        "fnstenv",
    "fldenv", "fnsave", "frstor", "fldcw", "feni8087_nop", "fdisi8087_nop", "fsetpm287_nop", "fstpnce"};
constexpr std::string_view move_names[] = {"fcmovb",  "fcmove",  "fcmovbe",  "fcmovu",
                                           "fcmovnb", "fcmovne", "fcmovnbe", "fcmovnu"};

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (const std::string_view name : tried_names) rows.push_back(x87(name).tried());
  for (const std::string_view name : other_names) rows.push_back(x87(name));
  for (const std::string_view name : move_names) rows.push_back(x87(name).needs(Feature::cmov).tried());
  rows.push_back(row("fwait", lower_x87).needs(Feature::fpu).under(Rule::wait).tried());
  return rows;
}

}  // namespace

std::span<const Row> x87_rows() {
  static const std::vector<Row> rows = all_rows();
  return rows;
}

}  // namespace cbit::isa
