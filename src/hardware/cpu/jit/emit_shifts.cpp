// Code of shifts and rotates of 32 and 64 bits.
#include "cpu/jit/forms.hpp"

namespace cbit::cpu::jit {
namespace {

constexpr Slot slot_rcx = isa::slot_of(isa::Gpr::rcx);

// EDX = the top bit of the value.
void top_bit_to_edx(BlockEmitter& e, Gp value, unsigned bytes) {
  e.as.mov(rdx, value);
  e.as.shr(narrow(rdx, bytes), Imm{8 * bytes - 1});
}

// Of the shift that was just done: CF is the host's. OF: to the left, whether the top bit differs from CF; to
// the right, EDX, the operand's top bit before; none of an arithmetic shift.
void set_shift_flags(BlockEmitter& e, Gp result, const Form& form) {
  const bool left = form.host == Inst::kIdShl;
  e.as.setc(x86::cl);
  if (left) top_bit_to_edx(e, result, form.bytes);
  e.as.movzx(x86::ecx, x86::cl);
  if (left) e.as.xor_(x86::edx, x86::ecx);
  if (form.host != Inst::kIdSar) {
    e.as.shl(x86::edx, Imm{11});
    e.as.or_(x86::ecx, x86::edx);
  }
  e.set_flags_of_result(result, form.bytes);
}

void emit_shift_ri(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp a = e.cache.use(op.a);
  const Gp to = e.cache.define(op.dst);
  if (to != a) e.as.mov(to, a);
  if (form.flagged && form.host == Inst::kIdShr) top_bit_to_edx(e, to, form.bytes);
  e.as.emit(form.host, narrow(to, form.bytes), Imm{op.imm & (8u * form.bytes - 1)});
  if (form.flagged) set_shift_flags(e, to, form);
}

// By zero, the value stays, as the host's does.
void emit_shift_rc(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rcx, e.cache.use(slot_rcx));
  e.as.mov(rax, e.cache.use(op.a));
  e.as.emit(form.host, narrow(rax, form.bytes), x86::cl);
  e.put(op.dst, rax, form.bytes);
}

}  // namespace

void add_shifts(FormTable& table) {
  const auto wide = [&](OpCode code, Form form) {
    for (unsigned i = 2; i < 4; ++i) {
      form.bytes = static_cast<std::uint8_t>(1u << i);
      table.one(code + i, form);
    }
  };
  const auto shift = [&](OpCode ri, OpCode rc, asmjit::InstId host) {
    wide(ri, {.emit = emit_shift_ri, .flagged = true, .host = host});
    wide(ri + 4, {.emit = emit_shift_ri, .host = host});
    wide(rc + 4, {.emit = emit_shift_rc, .host = host});
  };
  shift(OpCode::shl_ri_8, OpCode::shl_rc_8, Inst::kIdShl);
  shift(OpCode::shr_ri_8, OpCode::shr_rc_8, Inst::kIdShr);
  shift(OpCode::sar_ri_8, OpCode::sar_rc_8, Inst::kIdSar);
  const auto rotate = [&](OpCode ri, OpCode rc, asmjit::InstId host) {
    wide(ri + 4, {.emit = emit_shift_ri, .host = host});
    wide(rc + 4, {.emit = emit_shift_rc, .host = host});
  };
  rotate(OpCode::rol_ri_8, OpCode::rol_rc_8, Inst::kIdRol);
  rotate(OpCode::ror_ri_8, OpCode::ror_rc_8, Inst::kIdRor);
}

}  // namespace cbit::cpu::jit
