// Code of operations that move data.
#include "cpu/jit/conditions.hpp"
#include "cpu/jit/forms.hpp"

namespace cbit::cpu::jit {
namespace {

void emit_mov_rr(BlockEmitter& e, const Op& op, const Form& form) {
  e.put(op.dst, e.cache.use(op.a), form.bytes);
}

void emit_mov_ri(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp to = form.bytes >= 4 ? e.cache.define(op.dst) : e.cache.change(op.dst);
  e.as.mov(narrow(to, form.bytes), e.immediate_at(form.bytes));
}

void emit_load(BlockEmitter& e, const Op& op, const Form& form) {
  e.address_to_rax();
  e.load_to(op.dst, {form.bytes, form.bytes, false});
}

void emit_load_to_modify(BlockEmitter& e, const Op& op, const Form& form) {
  e.address_to_rax();
  e.load_to(op.dst, {form.bytes, form.bytes, false}, Slow::load_to_modify);
}

void emit_store_r(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp value = e.cache.use(op.a);
  e.address_to_rax();
  e.store(form.bytes, value, Slow::store_alone);
}

void emit_store_i(BlockEmitter& e, const Op&, const Form& form) {
  e.address_to_rax();
  e.store_immediate(form.bytes, Slow::store_alone);
}

void emit_load_extended(BlockEmitter& e, const Op& op, const Form& form) {
  e.address_to_rax();
  e.load_to(op.dst, {form.bytes, form.result, form.is_signed});
}

void emit_mov_extended(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp from = e.cache.use(op.a);
  const Gp to = form.result >= 4 ? e.cache.define(op.dst) : e.cache.change(op.dst);
  e.extend(to, narrow(from, form.bytes), {form.bytes, form.result, form.is_signed});
}

void emit_lea(BlockEmitter& e, const Op& op, const Form& form) {
  if (form.bytes == 8) {
    e.address_to_slot(op.dst);
    return;
  }
  e.address_to_rax();
  e.put(op.dst, rax, form.bytes);
}

void emit_exchange(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.dst));
  e.put(op.dst, e.cache.use(op.a), form.bytes);
  e.put(op.a, rax, form.bytes);
}

void emit_bswap(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.a));
  e.as.bswap(narrow(rax, form.bytes));
  e.put(op.dst, rax, form.bytes);
}

void emit_sign_of(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.a));
  e.as.sar(narrow(rax, form.bytes), Imm{8 * form.bytes - 1});
  e.put(op.dst, rax, form.bytes);
}

void move_stack_pointer(BlockEmitter& e, std::int32_t by) {
  const Gp pointer = e.cache.change(slot_rsp);
  e.as.lea(pointer, x86::Mem{pointer, by});
}

void emit_push_r(BlockEmitter& e, const Op& op, const Form&) {
  const Gp value = e.cache.use(op.a);
  e.as.lea(rax, x86::Mem{e.cache.use(slot_rsp), -8});
  e.store(8, value, Slow::store);
  move_stack_pointer(e, -8);
}

void emit_push_i(BlockEmitter& e, const Op&, const Form&) {
  e.as.lea(rax, x86::Mem{e.cache.use(slot_rsp), -8});
  e.store_immediate(8, Slow::store);
  move_stack_pointer(e, -8);
}

void emit_pop_r(BlockEmitter& e, const Op& op, const Form&) {
  e.as.mov(rax, e.cache.use(slot_rsp));
  e.load(8);
  move_stack_pointer(e, 8);
  e.put(op.dst, rax, 8);
}

void emit_mov_128(BlockEmitter& e, const Op& op, const Form&) {
  e.as.movups(x86::xmm0, in_state(op.a, 16));
  e.as.movups(in_state(op.dst, 16), x86::xmm0);
}

void emit_load_128(BlockEmitter& e, const Op& op, const Form&) {
  e.address_to_rax();
  e.load_128(op.dst);
}

void emit_store_128(BlockEmitter& e, const Op& op, const Form&) {
  e.address_to_rax();
  e.store_128(op.a);
}

void store_low_half(BlockEmitter& e, const Op& op) {
  e.as.mov(in_state(op.dst, 8), rax);
  e.as.mov(in_state(op.dst + 8u, 8), Imm{0});
}

void emit_load_to_128(BlockEmitter& e, const Op& op, const Form& form) {
  e.address_to_rax();
  e.load(form.bytes);
  store_low_half(e, op);
}

void emit_mov_to_128(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(narrow(rax, form.bytes), narrow(e.cache.use(op.a), form.bytes));
  store_low_half(e, op);
}

// --- By conditions.

void set_by(BlockEmitter& e, const Op& op, Cond host) {
  e.as.emit(setcc_of(host), e.cache.change(op.dst).r8());
}

// A move of 32 bits clears the upper half whether or not the condition holds, as the host's does.
void move_by(BlockEmitter& e, const Op& op, unsigned bytes, Cond host) {
  const Gp from = e.cache.use(op.a);
  e.as.emit(cmovcc_of(host), narrow(e.cache.change(op.dst), bytes), narrow(from, bytes));
}

void compare_flag_words(BlockEmitter& e) { e.as.cmp(e.cache.use(slot_flag_a), e.cache.use(slot_flag_b)); }

void emit_set_if(BlockEmitter& e, const Op& op, const Form& form) { set_by(e, op, e.test(form.cond)); }

void emit_set_if_compared(BlockEmitter& e, const Op& op, const Form& form) {
  compare_flag_words(e);
  set_by(e, op, form.cond);
}

void emit_move_if(BlockEmitter& e, const Op& op, const Form& form) {
  move_by(e, op, form.bytes, e.test(form.cond));
}

void emit_move_if_compared(BlockEmitter& e, const Op& op, const Form& form) {
  compare_flag_words(e);
  move_by(e, op, form.bytes, form.cond);
}

void emit_select_if_zero(BlockEmitter& e, const Op& op, const Form&) {
  const Gp test = e.cache.use(op.b);
  e.as.test(test, test);
  move_by(e, op, 8, Cond::z);
}

}  // namespace

void add_moves(FormTable& table) {
  table.sized(OpCode::mov_rr_8, {emit_mov_rr});
  table.sized(OpCode::mov_ri_8, {emit_mov_ri});
  table.sized(OpCode::load_8, {emit_load});
  table.sized(OpCode::load_to_modify_8, {emit_load_to_modify});
  table.sized(OpCode::store_r_8, {emit_store_r});
  table.sized(OpCode::store_i_8, {emit_store_i});
  table.sized(OpCode::sign_of_8, {emit_sign_of});

  const auto extended = [&](OpCode load, OpCode move, std::uint8_t bytes, std::uint8_t result,
                            bool is_signed) {
    table.one(load, {emit_load_extended, bytes, result, false, is_signed});
    table.one(move, {emit_mov_extended, bytes, result, false, is_signed});
  };
  extended(OpCode::load_zx_8, OpCode::mov_zx_8, 1, 8, false);
  extended(OpCode::load_zx_16, OpCode::mov_zx_16, 2, 8, false);
  extended(OpCode::load_sx_8_to_32, OpCode::mov_sx_8_to_32, 1, 4, true);
  extended(OpCode::load_sx_8_to_64, OpCode::mov_sx_8_to_64, 1, 8, true);
  extended(OpCode::load_sx_16_to_32, OpCode::mov_sx_16_to_32, 2, 4, true);
  extended(OpCode::load_sx_16_to_64, OpCode::mov_sx_16_to_64, 2, 8, true);
  extended(OpCode::load_sx_32_to_64, OpCode::mov_sx_32_to_64, 4, 8, true);
  table.one(OpCode::mov_zx_8_to_16, {emit_mov_extended, 1, 2, false, false});
  table.one(OpCode::mov_sx_8_to_16, {emit_mov_extended, 1, 2, false, true});

  const auto two_to_eight = [&](OpCode of_16, Form form) {
    for (unsigned i = 0; i < 3; ++i) {
      form.bytes = static_cast<std::uint8_t>(2u << i);
      table.one(of_16 + i, form);
    }
  };
  two_to_eight(OpCode::lea_16, {emit_lea});
  two_to_eight(OpCode::exchange_16, {emit_exchange});
  table.one(OpCode::bswap_32, {emit_bswap, 4});
  table.one(OpCode::bswap_64, {emit_bswap, 8});
  table.one(OpCode::push_r_64, {emit_push_r});
  table.one(OpCode::push_i_64, {emit_push_i});
  table.one(OpCode::pop_r_64, {emit_pop_r});

  table.one(OpCode::mov_128, {.emit = emit_mov_128, .vector_dst = true, .vector_a = true});
  table.one(OpCode::load_128, {.emit = emit_load_128, .vector_dst = true});
  table.one(OpCode::store_128, {.emit = emit_store_128, .vector_a = true});
  table.one(OpCode::load_64_to_128, {.emit = emit_load_to_128, .bytes = 8, .vector_dst = true});
  table.one(OpCode::load_32_to_128, {.emit = emit_load_to_128, .bytes = 4, .vector_dst = true});
  table.one(OpCode::mov_64_to_128, {.emit = emit_mov_to_128, .bytes = 8, .vector_dst = true});
  table.one(OpCode::mov_32_to_128, {.emit = emit_mov_to_128, .bytes = 4, .vector_dst = true});

  table.conditions(OpCode::set_o, {emit_set_if});
  table.comparisons(OpCode::set_compared_b, {emit_set_if_compared});
  table.conditions(OpCode::move_16_o, {emit_move_if, 2});
  table.conditions(OpCode::move_32_o, {emit_move_if, 4});
  table.conditions(OpCode::move_64_o, {emit_move_if, 8});
  table.comparisons(OpCode::move_32_compared_b, {emit_move_if_compared, 4});
  table.comparisons(OpCode::move_64_compared_b, {emit_move_if_compared, 8});
  table.one(OpCode::select_if_zero, {emit_select_if_zero});
}

}  // namespace cbit::cpu::jit
