// Code of shifts and rotates of 32 and 64 bits.
#include "cpu/jit/forms.hpp"

namespace cbit::cpu::jit {
namespace {

namespace x86 = asmjit::x86;
using asmjit::Imm;
using isa::Op;
using isa::OpCode;
namespace Inst = x86::Inst;
using x86::rax;
using x86::rcx;
using x86::rdx;

constexpr Slot slot_rcx = isa::slot_of(isa::Gpr::rcx);

// RCX = CF and OF. RDX: the bit that OF is, or that it is when it differs from CF.
void combine_carry_and_overflow(BlockEmitter& e, bool differs_from_carry) {
  e.as.setc(x86::cl);
  e.as.movzx(x86::ecx, x86::cl);
  if (differs_from_carry) e.as.xor_(x86::edx, x86::ecx);
  e.as.shl(x86::edx, Imm{11});
  e.as.or_(x86::ecx, x86::edx);
}

// EDX = the top bit of the value.
void top_bit_to_edx(BlockEmitter& e, Gp value, unsigned bytes) {
  e.as.mov(rdx, value);
  e.as.shr(narrow(rdx, bytes), Imm{8 * bytes - 1});
}

// RCX = CF and OF of the shift that was just done, in the host's CF; RDX: the operand's top bit before.
void set_shift_flags(BlockEmitter& e, Gp result, const Form& form) {
  if (form.host == Inst::kIdShl) {
    e.as.setc(x86::cl);
    top_bit_to_edx(e, result, form.bytes);
    e.as.movzx(x86::ecx, x86::cl);
    e.as.xor_(x86::edx, x86::ecx);
    e.as.shl(x86::edx, Imm{11});
    e.as.or_(x86::ecx, x86::edx);
  } else if (form.host == Inst::kIdShr) {
    combine_carry_and_overflow(e, false);
  } else {
    e.as.setc(x86::cl);
    e.as.movzx(x86::ecx, x86::cl);
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
