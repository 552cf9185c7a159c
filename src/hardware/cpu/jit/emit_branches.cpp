// Code of what ends a block.
#include "cpu/jit/conditions.hpp"
#include "cpu/jit/forms.hpp"

namespace cbit::cpu::jit {
namespace {

void emit_jump(BlockEmitter& e, const Op&, const Form&) { e.leave_by(0); }

void emit_jump_if(BlockEmitter& e, const Op&, const Form& form) {
  const Cond host = e.test(form.cond);
  e.store_before_branch();
  e.branch(host);
}

void emit_jump_if_compared(BlockEmitter& e, const Op&, const Form& form) {
  e.as.cmp(e.cache.use(slot_flag_a), e.cache.use(slot_flag_b));
  e.store_before_branch();
  e.branch(form.cond);
}

void emit_jump_if_result(BlockEmitter& e, const Op&, const Form& form) {
  const Gp result = e.cache.use(slot_flag_a);
  e.as.test(result, result);
  e.store_before_branch();
  e.branch(form.cond);
}

// A comparison decides by the host's own, of the same values.
void emit_cmp_rr_jump(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp a = e.cache.use(op.a);
  const Gp b = e.cache.use(op.b);
  e.set_flags_of_difference(a, b, form.bytes);
  e.store_before_branch();
  e.as.cmp(narrow(a, form.bytes), narrow(b, form.bytes));
  e.branch(form.cond);
}

void emit_cmp_ri_jump(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp a = e.cache.use(op.a);
  e.set_flags_of_difference_with_immediate(a, form.bytes);
  e.store_before_branch();
  if (form.bytes == 8 && !e.immediate_fits())
    e.as.cmp(a, e.cache.use(slot_flag_b));
  else
    e.as.cmp(narrow(a, form.bytes), e.immediate_at(form.bytes));
  e.branch(form.cond);
}

void emit_test_jump(BlockEmitter& e, const Form& form) {
  e.set_flags_of_logic(rax, form.bytes);
  e.store_before_branch();
  e.as.test(narrow(rax, form.bytes), narrow(rax, form.bytes));
  e.branch(form.cond);
}

void emit_test_rr_jump(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.a));
  if (op.a != op.b) e.as.and_(narrow(rax, form.bytes), narrow(e.cache.use(op.b), form.bytes));
  emit_test_jump(e, form);
}

void emit_test_ri_jump(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.a));
  if (form.bytes == 8 && !e.immediate_fits()) {
    e.as.mov(rcx, e.immediate());
    e.as.and_(rax, rcx);
  } else {
    e.as.and_(narrow(rax, form.bytes), e.immediate_at(form.bytes));
  }
  emit_test_jump(e, form);
}

void emit_jump_if_zero(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp a = narrow(e.cache.use(op.a), form.bytes);
  e.store_before_branch();
  e.as.test(a, a);
  e.branch(Cond::z);
}

void push_return_address(BlockEmitter& e, const Op& op) {
  const Gp back = e.cache.scratch();
  e.as.lea(back, x86::Mem{e.cache.use(isa::slot_page), static_cast<std::int32_t>(op.imm)});
  const Gp pointer = e.cache.change(slot_rsp);
  e.as.lea(rax, x86::Mem{pointer, -8});
  e.store(8, back, Slow::store);
  e.as.lea(pointer, x86::Mem{pointer, -8});
}

void emit_call_direct(BlockEmitter& e, const Op& op, const Form&) {
  push_return_address(e, op);
  e.leave_by(0);
}

// Where the jump cache does not know the target, the interpreter reads it again, from a temporary, too.
void go_to_register(BlockEmitter& e, const Op& op) {
  e.as.mov(rax, e.cache.use(op.a));
  e.cache.store_all();
  e.store_everything();
  e.find_code(handler_of(OpCode::jump_indirect));
}

// A target that the jump cache has needs no check, and is looked up again behind the push, which may have
// changed what is known.
void emit_call_indirect(BlockEmitter& e, const Op& op, const Form&) {
  if (op.a == slot_rsp) {
    e.call_handler(handler_of(op.code));
    return;
  }
  const Gp to = e.cache.use(op.a);
  e.as.mov(rax, to);
  e.probe_jump_cache(handler_of(op.code));
  push_return_address(e, op);
  go_to_register(e, op);
}

void emit_jump_indirect(BlockEmitter& e, const Op& op, const Form&) { go_to_register(e, op); }

void emit_return_near(BlockEmitter& e, const Op& op, const Form&) {
  const Gp pointer = e.cache.change(slot_rsp);
  e.as.mov(rax, pointer);
  e.load(8);
  e.probe_jump_cache(handler_of(op.code));
  e.as.lea(pointer, x86::Mem{pointer, 8 + op.disp});
  e.store_everything();
  e.jump_by_cache_entry();
}

}  // namespace

void add_branches(FormTable& table) {
  table.one(OpCode::jump, {emit_jump});
  table.one(OpCode::jump_indirect, {emit_jump_indirect});
  table.one(OpCode::call_direct, {emit_call_direct});
  table.one(OpCode::call_indirect, {emit_call_indirect});
  table.one(OpCode::return_near, {emit_return_near});
  table.conditions(OpCode::jump_o, {emit_jump_if});
  table.comparisons(OpCode::jump_compared_b, {emit_jump_if_compared});
  table.signs(OpCode::jump_result_z, {emit_jump_if_result});
  for (unsigned size = 0; size < 4; ++size) {
    const auto bytes = static_cast<std::uint8_t>(1u << size);
    table.comparisons(OpCode::cmp_rr_jump_8_b + size * FormTable::comparisons_count,
                      {emit_cmp_rr_jump, bytes});
    table.comparisons(OpCode::cmp_ri_jump_8_b + size * FormTable::comparisons_count,
                      {emit_cmp_ri_jump, bytes});
    table.signs(OpCode::test_rr_jump_8_z + size * FormTable::signs_count, {emit_test_rr_jump, bytes});
    table.signs(OpCode::test_ri_jump_8_z + size * FormTable::signs_count, {emit_test_ri_jump, bytes});
  }
  for (unsigned i = 0; i < 3; ++i)
    table.one(OpCode::jump_if_zero_16 + i, {emit_jump_if_zero, static_cast<std::uint8_t>(2u << i)});
}

}  // namespace cbit::cpu::jit
