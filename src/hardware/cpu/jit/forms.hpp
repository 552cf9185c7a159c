// Which function writes the code of an operation; what has none is the interpreter's.
#pragma once

#include <array>

#include "cpu/jit/block_emitter.hpp"
#include "isa/op.hpp"

namespace cbit::cpu::jit {

// What code is written in: emit_*.cpp.
namespace x86 = asmjit::x86;
namespace Inst = asmjit::x86::Inst;
using asmjit::Imm;
using isa::Op;
using isa::OpCode;
using Slow = BlockEmitter::Slow;
using x86::rax;
using x86::rcx;
using x86::rdx;
inline constexpr Slot slot_rsp = isa::slot_of(isa::Gpr::rsp);

// An operation as its family's function sees it.
struct Form {
  using Emit = void (*)(BlockEmitter& e, const isa::Op& op, const Form& form);
  Emit emit = nullptr;      // nullptr: there is none
  std::uint8_t bytes = 0;   // operand size
  std::uint8_t result = 0;  // size of the result of what is extended
  bool flagged = false;     // sets the flags
  bool is_signed = false;
  isa::Cond cond{};
  asmjit::InstId host = 0;  // the host's instruction that does it
  bool vector_dst = false;  // dst, or a, is a vector register
  bool vector_a = false;
};

class FormTable {
 public:
  [[nodiscard]] const Form& operator[](isa::OpCode code) const {
    return forms_[static_cast<std::size_t>(code)];
  }

  // Families, as isa/op_codes.hpp has them.
  void one(isa::OpCode code, Form form) { forms_[static_cast<std::size_t>(code)] = form; }
  void sized(isa::OpCode first, Form form) {
    for (unsigned i = 0; i < 4; ++i) {
      form.bytes = static_cast<std::uint8_t>(1u << i);
      one(first + i, form);
    }
  }
  void flagged(isa::OpCode first, Form form) {
    form.flagged = true;
    sized(first, form);
    form.flagged = false;
    sized(first + 4, form);
  }
  void conditions(isa::OpCode first, Form form) {
    for (unsigned i = 0; i < 16; ++i) {
      form.cond = static_cast<isa::Cond>(i);
      one(first + i, form);
    }
  }
  void comparisons(isa::OpCode first, Form form) { list(first, form, compared); }
  void signs(isa::OpCode first, Form form) { list(first, form, signs_of_result); }

  static constexpr unsigned comparisons_count = 10;
  static constexpr unsigned signs_count = 4;

 private:
  using Cond = isa::Cond;
  static constexpr std::array<Cond, comparisons_count> compared{
      Cond::b, Cond::nb, Cond::z, Cond::nz, Cond::be, Cond::nbe, Cond::l, Cond::nl, Cond::le, Cond::nle};
  static constexpr std::array<Cond, signs_count> signs_of_result{Cond::z, Cond::nz, Cond::s, Cond::ns};

  template <std::size_t count>
  void list(isa::OpCode first, Form form, const std::array<Cond, count>& conds) {
    for (unsigned i = 0; i < count; ++i) {
      form.cond = conds[i];
      one(first + i, form);
    }
  }

  std::array<Form, static_cast<std::size_t>(isa::OpCode::count)> forms_{};
};

void add_moves(FormTable& table);
void add_arithmetic(FormTable& table);
void add_shifts(FormTable& table);
void add_branches(FormTable& table);

[[nodiscard]] const FormTable& form_table();

// Of an operation that is Helper::sse, where the host has the same instruction. False: nothing was emitted.
[[nodiscard]] bool emit_vector(BlockEmitter& e, const isa::Op& op);

}  // namespace cbit::cpu::jit
