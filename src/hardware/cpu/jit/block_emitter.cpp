#include "cpu/jit/block_emitter.hpp"

#include <algorithm>
#include <limits>

#include "cpu/jit/conditions.hpp"
#include "cpu/jit/handlers.hpp"
#include "cpu/memory_access.hpp"
#include "cpu/ops_branch.hpp"

namespace cbit::cpu::jit {
namespace {

namespace x86 = asmjit::x86;
using asmjit::Imm;
using asmjit::Label;
using x86::rax;
using x86::rcx;
using x86::rdx;

constexpr auto offset_kind = offset_flags + offsetof(Flags, kind);
constexpr auto offset_block = offsetof(State, block);
constexpr auto offset_jumps = offsetof(State, jumps);
constexpr auto offset_mxcsr = offsetof(State, mxcsr) + offsetof(fp::Mxcsr, raw);
constexpr auto offset_host_mxcsr = offsetof(State, host_mxcsr);
constexpr auto offset_page = std::size_t{isa::slot_page};

constexpr std::size_t offset_translation = offsetof(CodeBlock, translation);
constexpr std::size_t offset_entry = offset_translation + offsetof(Translation, entry);
constexpr std::size_t offset_exits = offset_translation + offsetof(Translation, exits);

// tlb_index() times an entry's size, straight from the address.
constexpr unsigned tlb_shift = 12 - std::countr_zero(sizeof(TlbEntry));
constexpr std::uint32_t tlb_offset_mask = (tlb_entries - 1) * sizeof(TlbEntry);
constexpr unsigned jump_shift = std::countr_zero(sizeof(JumpEntry));

std::uint64_t number_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

bool fits_32(std::uint64_t value) {
  const auto number = static_cast<std::int64_t>(value);
  return number >= std::numeric_limits<std::int32_t>::min() &&
         number <= std::numeric_limits<std::int32_t>::max();
}

// An immediate operand as its signed value at that width.
std::int64_t signed_immediate(std::uint64_t value, unsigned bytes) {
  switch (bytes) {
    case 1: return static_cast<std::int8_t>(value);
    case 2: return static_cast<std::int16_t>(value);
    case 4: return static_cast<std::int32_t>(value);
    default: return static_cast<std::int64_t>(value);
  }
}

FlagKind kind_of_width(FlagKind kind_of_8, unsigned bytes) {
  return static_cast<FlagKind>(static_cast<unsigned>(kind_of_8) +
                               static_cast<unsigned>(std::countr_zero(bytes)));
}
bool is_difference(FlagKind kind) { return kind <= FlagKind::sub64; }
bool is_sum(FlagKind kind) { return kind >= FlagKind::add8 && kind <= FlagKind::add64; }
unsigned bytes_of(FlagKind kind) { return 1u << (static_cast<unsigned>(kind) & 3); }

// What a comparison of the sign-extended words decides, whatever their width was.
bool is_decided_by_words(Cond cond) {
  switch (cond) {
    case Cond::o:
    case Cond::no:
    case Cond::s:
    case Cond::ns:
    case Cond::p:
    case Cond::np: return false;
    default: return true;
  }
}

Cond negated(Cond cond) { return static_cast<Cond>(static_cast<unsigned>(cond) ^ 1); }
bool is_negation(Cond cond) { return (static_cast<unsigned>(cond) & 1) != 0; }

template <Cond cond>
bool ask(const State& s) {
  return holds<cond>(s.flags);
}
using Question = bool (*)(const State&);
constexpr std::array<Question, 16> questions{ask<Cond::o>, ask<Cond::no>, ask<Cond::b>,  ask<Cond::nb>,
                                             ask<Cond::z>, ask<Cond::nz>, ask<Cond::be>, ask<Cond::nbe>,
                                             ask<Cond::s>, ask<Cond::ns>, ask<Cond::p>,  ask<Cond::np>,
                                             ask<Cond::l>, ask<Cond::nl>, ask<Cond::le>, ask<Cond::nle>};

}  // namespace

// --- Out of line.

void BlockEmitter::settle(const RegisterCache::Snapshot& snapshot, const KnownFlags& known) {
  cache.store_all(snapshot);
  if (!known.kind_is_stored) as.mov(in_state(offset_kind, 1), Imm{static_cast<unsigned>(*known.kind)});
  as.mov(rcx, Imm{number_of(block_)});
  as.mov(in_state(offset_block, 8), rcx);
  if (known.floats) {
    as.stmxcsr(in_state(offset_mxcsr, 4));
    as.ldmxcsr(in_state(offset_host_mxcsr, 4));
  }
}

void BlockEmitter::unsettle(const RegisterCache::Snapshot& snapshot, const KnownFlags& known) {
  cache.load_all(snapshot);
  if (known.floats) as.ldmxcsr(in_state(offset_mxcsr, 4));
}

void BlockEmitter::call(const void* function) {
  // A call of its own, which the host's processor foretells.
  as.mov(in_state(offsetof(State, budget), 8), reg_budget);
  as.mov(rax, Imm{number_of(function)});
  as.call(rax);
  as.mov(reg_budget, in_state(offsetof(State, budget), 8));
  as.mov(reg_tlb, in_state(offsetof(State, tlb), 8));
}

void BlockEmitter::call_for(const isa::Op& op, const void* function) {
  as.mov(x86::rdi, reg_state);
  as.mov(x86::rsi, Imm{number_of(&op)});
  call(function);
}

void BlockEmitter::call_slowly(const isa::Op& op, const void* function) {
  as.mov(rdx, rax);
  call_for(op, function);
}

void BlockEmitter::call_handler_and_leave(const isa::Op& op, Handler handler) {
  call_for(op, reinterpret_cast<const void*>(handler));
  leave_with_rax();
}

void BlockEmitter::finish() {
  onward_.reset();
  // Code out of line may have some of its own.
  for (std::size_t i = 0; i < colds_.size(); ++i) {
    as.bind(colds_[i].from);
    block_ = colds_[i].block;
    const auto emit = std::move(colds_[i].emit);
    emit();
  }
}

// --- Starts, and whole operations.

void BlockEmitter::leave_for_others(Label to) {
  if (shared_->wanted == nullptr) return;
  as.mov(rcx, Imm{number_of(shared_->wanted)});
  as.cmp(x86::dword_ptr(rcx), Imm{0});
  as.jne(to);
}

void BlockEmitter::enter(const PathStep& first, const LoopState* loop) {
  first_ = block_ = first.block;
  onward_ = first.onward;
  if (shared_->wanted != nullptr) {
    const Label others = as.newLabel();
    leave_for_others(others);
    cold(others, [this] {
      settle({}, {});
      call_handler_and_leave(block_->ops[0], &ops::stop_for_others);
    });
  }
  count_instructions();
  if (loop == nullptr) return;
  loop_ = loop;
  loop_start_ = as.newLabel();
  if (loop->floats) load_guest_mxcsr(block_->ops[1]);
  cache.load_all(loop->registers);
  cache.start_with(loop->registers);
  flags.floats = loop->floats;
  as.bind(loop_start_);
}

void BlockEmitter::count_instructions() {
  const Label used_up = as.newLabel();
  as.sub(reg_budget, Imm{block_->ops[0].disp});
  as.js(used_up);
  cold(used_up, [this, snapshot = cache.snapshot(), known = flags] {
    as.add(reg_budget, Imm{block_->ops[0].disp});
    settle(snapshot, known);
    call_handler_and_leave(block_->ops[0], &ops::stop_for_budget);
  });
}

// Unless the next block's bytes have changed; then its exit leads elsewhere.
void BlockEmitter::go_on_with(const PathStep& next) {
  const Label stale = as.newLabel();
  cache.start_with(cache.without_temporaries());
  jump_if_stale(*next.block, stale);
  cold(stale, [this, exit = *onward_, snapshot = cache.snapshot(), known = flags] {
    settle(snapshot, known);
    jump_by_exit(exit);
  });
  block_ = next.block;
  onward_ = next.onward;
  goes_on_ = false;
  count_instructions();
}

void BlockEmitter::call_handler(Handler handler) {
  const isa::OpInfo& info = isa::info_of(op().code);
  cache.store_all();
  store_flag_kind();
  end_floats();
  settle({}, {});
  call_for(op(), reinterpret_cast<const void*>(handler));
  cache.forget_all();
  const bool changes_flags = info.effect != isa::FlagEffect::none && info.effect != isa::FlagEffect::reads;
  if (changes_flags) flags_are_unknown();
  if (info.kind == isa::OpKind::branch) {
    leave_with_rax();
  } else if (info.kind != isa::OpKind::plain) {
    const Label ended = as.newLabel();
    as.test(rax, rax);
    as.jz(ended);
    cold(ended, [this] { leave_with_rax(); });
  }
}

// --- Values.

Imm BlockEmitter::immediate() const { return Imm{static_cast<std::int64_t>(op().imm)}; }
Imm BlockEmitter::immediate_at(unsigned bytes) const { return Imm{signed_immediate(op().imm, bytes)}; }
bool BlockEmitter::immediate_fits() const { return fits_32(op().imm); }

void BlockEmitter::put(Slot dst, Gp from, unsigned bytes) {
  if (bytes >= 4)
    as.mov(narrow(cache.define(dst), bytes), narrow(from, bytes));
  else
    as.mov(narrow(cache.change(dst), bytes), narrow(from, bytes));
}

void BlockEmitter::sign_extend(Gp to, Gp from, unsigned bytes) {
  if (bytes == 8)
    as.mov(to, from);
  else if (bytes == 4)
    as.movsxd(to, from.r32());
  else
    as.movsx(to, narrow(from, bytes));
}

void BlockEmitter::extend(Gp to, const asmjit::Operand& from, Extension extension) {
  if (extension.bytes == extension.result)
    as.emit(x86::Inst::kIdMov, narrow(to, extension.bytes), from);
  else if (!extension.is_signed)
    as.emit(x86::Inst::kIdMovzx, narrow(to, std::min<unsigned>(extension.result, 4)), from);
  else
    as.emit(extension.bytes == 4 ? x86::Inst::kIdMovsxd : x86::Inst::kIdMovsx, narrow(to, extension.result),
            from);
}

// --- Flags.

void BlockEmitter::set_flags_of_difference(Gp a, Gp b, unsigned bytes) {
  sign_extend(cache.define(slot_flag_a), a, bytes);
  sign_extend(cache.define(slot_flag_b), b, bytes);
  set_flag_kind(kind_of_width(FlagKind::sub8, bytes));
}

void BlockEmitter::store_flag_b_immediate(unsigned bytes) {
  const std::int64_t value = signed_immediate(op().imm, bytes);
  if (fits_32(static_cast<std::uint64_t>(value))) {
    cache.forget(slot_flag_b);
    as.mov(in_state(slot_flag_b, 8), Imm{value});
  } else {
    as.mov(cache.define(slot_flag_b), Imm{value});
  }
}

void BlockEmitter::set_flags_of_difference_with_immediate(Gp a, unsigned bytes) {
  sign_extend(cache.define(slot_flag_a), a, bytes);
  store_flag_b_immediate(bytes);
  set_flag_kind(kind_of_width(FlagKind::sub8, bytes));
}

void BlockEmitter::set_flags_of_sum(Gp sum, Gp addend, unsigned bytes) {
  sign_extend(cache.define(slot_flag_a), sum, bytes);
  sign_extend(cache.define(slot_flag_b), addend, bytes);
  set_flag_kind(kind_of_width(FlagKind::add8, bytes));
}

void BlockEmitter::set_flags_of_sum_with_immediate(Gp sum, unsigned bytes) {
  sign_extend(cache.define(slot_flag_a), sum, bytes);
  store_flag_b_immediate(bytes);
  set_flag_kind(kind_of_width(FlagKind::add8, bytes));
}

void BlockEmitter::set_flags_of_logic(Gp result, unsigned bytes) {
  sign_extend(cache.define(slot_flag_a), result, bytes);
  cache.forget(slot_flag_b);
  as.mov(in_state(slot_flag_b, 8), Imm{0});
  set_flag_kind(kind_of_width(FlagKind::sub8, bytes));
}

void BlockEmitter::set_flags_of_result(Gp result, unsigned bytes) {
  sign_extend(cache.define(slot_flag_a), result, bytes);
  as.mov(cache.define(slot_flag_b), rcx);
  set_flag_kind(FlagKind::result);
}

void BlockEmitter::set_flags_to_image() {
  as.mov(cache.define(slot_flag_b), rcx);
  set_flag_kind(FlagKind::flags);
}

void BlockEmitter::store_flag_kind() {
  if (flags.kind_is_stored) return;
  as.mov(in_state(offset_kind, 1), Imm{static_cast<unsigned>(*flags.kind)});
  flags.kind_is_stored = true;
}

void BlockEmitter::carry_to_host() {
  const Gp a = cache.use(slot_flag_a);
  const Gp b = cache.use(slot_flag_b);
  if (!flags.kind) {
    const Label words = as.newLabel();
    const Label done = as.newLabel();
    as.cmp(in_state(offset_kind, 1), Imm{static_cast<unsigned>(FlagKind::add64)});
    as.jbe(words);
    as.bt(b, Imm{0});
    as.jmp(done);
    as.bind(words);
    as.cmp(a, b);
    as.bind(done);
  } else if (*flags.kind <= FlagKind::add64) {
    as.cmp(a, b);
  } else {
    as.bt(b, Imm{0});
  }
}

Cond BlockEmitter::test_image_bit(unsigned bit, Cond cond) {
  as.bt(cache.use(slot_flag_b), Imm{bit});
  return is_negation(cond) ? Cond::nb : Cond::b;
}

Cond BlockEmitter::ask_interpreter(Cond cond, bool of_comparison_first) {
  const Gp a = cache.use(slot_flag_a);
  const Gp b = cache.use(slot_flag_b);
  const Label slow = as.newLabel();
  const Label resume = as.newLabel();
  const Cond base = is_negation(cond) ? negated(cond) : cond;
  if (of_comparison_first) {
    as.cmp(in_state(offset_kind, 1), Imm{static_cast<unsigned>(FlagKind::sub64)});
    as.ja(slow);
    as.cmp(a, b);
    as.emit(setcc_of(base), x86::al);
    as.test(x86::al, x86::al);
  } else {
    as.jmp(slow);
  }
  as.bind(resume);
  cold(slow, [this, base, resume, snapshot = cache.snapshot(), known = flags] {
    settle(snapshot, known);
    as.mov(x86::rdi, reg_state);
    call(reinterpret_cast<const void*>(questions[static_cast<unsigned>(base)]));
    unsettle(snapshot, known);
    as.test(x86::al, x86::al);
    as.jmp(resume);
  });
  return is_negation(cond) ? Cond::z : Cond::nz;
}

Cond BlockEmitter::test(Cond cond) {
  if (!flags.kind) return ask_interpreter(cond, is_decided_by_words(cond));
  const FlagKind kind = *flags.kind;
  if (is_difference(kind)) {
    const unsigned bytes = bytes_of(kind);
    as.cmp(narrow(cache.use(slot_flag_a), bytes), narrow(cache.use(slot_flag_b), bytes));
    return cond;
  }
  if (is_sum(kind)) {
    const unsigned bytes = bytes_of(kind);
    const Gp addend = narrow(cache.use(slot_flag_b), bytes);
    as.mov(rax, cache.use(slot_flag_a));
    as.sub(narrow(rax, bytes), addend);
    as.add(narrow(rax, bytes), addend);
    return cond;
  }
  const Cond base = is_negation(cond) ? negated(cond) : cond;
  if (base == Cond::b) return test_image_bit(0, cond);
  if (base == Cond::o) return test_image_bit(11, cond);
  if (kind == FlagKind::flags) {
    if (base == Cond::z) return test_image_bit(6, cond);
    if (base == Cond::s) return test_image_bit(7, cond);
    if (base == Cond::p) return test_image_bit(2, cond);
  } else if (base == Cond::z || base == Cond::s || base == Cond::p) {
    const Gp a = cache.use(slot_flag_a);
    as.test(a, a);
    return cond;
  }
  return ask_interpreter(cond, false);
}

// --- Floats.

// Out of line, the interpreter goes on from `op`.
void BlockEmitter::load_guest_mxcsr(const isa::Op& op) {
  constexpr auto masks = static_cast<std::uint32_t>(fp::mxcsr_at_reset.raw);
  const Label wants_exceptions = as.newLabel();
  as.mov(x86::eax, in_state(offset_mxcsr, 4));
  as.and_(x86::eax, Imm{masks});
  as.cmp(x86::eax, Imm{masks});
  as.jne(wants_exceptions);
  as.ldmxcsr(in_state(offset_mxcsr, 4));
  cold(wants_exceptions, [this, op = &op, snapshot = cache.snapshot(), known = flags] {
    settle(snapshot, known);
    as.mov(rax, Imm{number_of(op)});
    leave_with_rax();
  });
}

void BlockEmitter::begin_floats() {
  if (flags.floats) return;
  load_guest_mxcsr(op());
  flags.floats = true;
}

void BlockEmitter::end_floats() {
  if (!flags.floats) return;
  as.stmxcsr(in_state(offset_mxcsr, 4));
  as.ldmxcsr(in_state(offset_host_mxcsr, 4));
  flags.floats = false;
}

// --- Memory.

void BlockEmitter::address_to(Gp to) {
  const isa::Op& at = op();
  const bool has_base = at.base != isa::slot_zero;
  const bool has_index = at.index != isa::slot_zero;
  if (!has_base && !has_index) {
    as.mov(to, Imm{std::int64_t{at.disp}});
    return;
  }
  if (!has_index) {
    as.lea(to, x86::Mem{cache.use(at.base), at.disp});
    return;
  }
  const Gp index = cache.use(at.index);
  if (has_base) {
    as.lea(to, x86::Mem{cache.use(at.base), index, at.scale, at.disp});
    return;
  }
  as.mov(to, index);
  if (at.scale != 0) as.shl(to, Imm{at.scale});
  if (at.disp != 0) as.add(to, Imm{at.disp});
}

// The registers that the address is of may be the destination's.
void BlockEmitter::address_to_slot(Slot dst) {
  const isa::Op& at = op();
  if (at.base != isa::slot_zero) (void)cache.use(at.base);
  if (at.index != isa::slot_zero) (void)cache.use(at.index);
  if (at.base == isa::slot_zero && at.index == dst && at.disp != 0) {
    address_to_rax();
    as.mov(cache.define(dst), rax);
    return;
  }
  address_to(cache.define(dst));
}

void BlockEmitter::probe_tlb(unsigned bytes, Access access, Label miss, bool aligned) {
  const std::int32_t tag =
      access == Access::read ? offsetof(TlbEntry, read_tag) : offsetof(TlbEntry, write_tag);
  as.mov(x86::ecx, x86::eax);
  if (bytes == 1)
    as.mov(rdx, rax);
  else
    as.lea(rdx, x86::Mem{rax, static_cast<std::int32_t>(bytes - 1)});
  as.shr(x86::ecx, Imm{tlb_shift});
  as.and_(rdx, Imm{-4096});
  as.and_(x86::ecx, Imm{tlb_offset_mask});
  as.cmp(rdx, x86::Mem{reg_tlb, rcx, 0, tag});
  as.jne(miss);
  if (aligned) {
    as.test(x86::al, Imm{15});
    as.jnz(miss);
  }
  as.mov(rdx, x86::Mem{reg_tlb, rcx, 0, offsetof(TlbEntry, addend)});
}

// RAX: the address.
void BlockEmitter::slow_load(Label miss, Label resume, Slow slow, unsigned bytes,
                             const RegisterCache::Snapshot& snapshot, std::function<void()> behind) {
  cold(miss, [this, resume, slow, bytes, behind = std::move(behind), op = &op(), snapshot, known = flags] {
    settle(snapshot, known);
    as.mov(x86::ecx, Imm{bytes});
    call_slowly(*op, slow == Slow::load ? reinterpret_cast<const void*>(&load_slowly)
                                        : reinterpret_cast<const void*>(&load_to_modify_slowly));
    leave_if_zero(x86::dl);
    unsettle(snapshot, known);
    if (behind) behind();
    as.jmp(resume);
  });
}

// `argument` puts the value into R8.
void BlockEmitter::slow_store(Label miss, Label resume, Slow slow, unsigned bytes,
                              std::function<void()> argument) {
  cold(miss, [this, resume, slow, bytes, argument = std::move(argument), op = &op(),
              snapshot = cache.snapshot(), known = flags] {
    settle(snapshot, known);
    argument();
    as.mov(x86::ecx, Imm{bytes});
    call_slowly(*op, slow == Slow::store ? reinterpret_cast<const void*>(&store_slowly)
                                         : reinterpret_cast<const void*>(&store_alone_slowly));
    leave_if_zero(x86::al);
    unsettle(snapshot, known);
    as.jmp(resume);
  });
}

void BlockEmitter::leave_if_zero(Gp ok) {
  const Label goes_on = as.newLabel();
  as.test(ok, ok);
  as.jnz(goes_on);
  as.xor_(x86::eax, x86::eax);
  leave_with_rax();
  as.bind(goes_on);
}

// The destination's register is chosen behind the probe: out of line it still has what it had before.
void BlockEmitter::load_to(Slot dst, Extension extension, Slow slow) {
  const bool merges = extension.result < 4;
  if (merges) (void)cache.change(dst);
  const Label miss = as.newLabel();
  const Label resume = as.newLabel();
  probe_tlb(extension.bytes, slow == Slow::load ? Access::read : Access::write, miss, false);
  const RegisterCache::Snapshot before = cache.snapshot();
  const Gp to = merges ? cache.change(dst) : cache.define(dst);
  extend(to, x86::Mem{rax, rdx, 0, 0, extension.bytes}, extension);
  as.bind(resume);
  slow_load(miss, resume, slow, extension.bytes, before,
            [this, to, extension] { extend(to, narrow(rax, extension.bytes), extension); });
}

void BlockEmitter::load(unsigned bytes, Slow slow) {
  const Label miss = as.newLabel();
  const Label resume = as.newLabel();
  probe_tlb(bytes, slow == Slow::load ? Access::read : Access::write, miss, false);
  x86::Mem memory{rax, rdx, 0, 0, bytes};
  if (bytes >= 4)
    as.mov(narrow(rax, bytes), memory);
  else
    as.movzx(x86::eax, memory);
  as.bind(resume);
  slow_load(miss, resume, slow, bytes, cache.snapshot(), {});
}

void BlockEmitter::store(unsigned bytes, Gp value, Slow slow) {
  const Label miss = as.newLabel();
  const Label resume = as.newLabel();
  probe_tlb(bytes, Access::write, miss, false);
  as.mov(x86::Mem{rax, rdx, 0, 0, bytes}, narrow(value, bytes));
  as.bind(resume);
  slow_store(miss, resume, slow, bytes, [this, value] {
    if (value != x86::r8) as.mov(x86::r8, value);
  });
}

void BlockEmitter::store_immediate(unsigned bytes, Slow slow) {
  const std::int64_t value = signed_immediate(op().imm, bytes);
  if (!fits_32(static_cast<std::uint64_t>(value))) {
    const Gp held = cache.scratch();
    as.mov(held, Imm{value});
    store(bytes, held, slow);
    return;
  }
  const Label miss = as.newLabel();
  const Label resume = as.newLabel();
  probe_tlb(bytes, Access::write, miss, false);
  as.mov(x86::Mem{rax, rdx, 0, 0, bytes}, Imm{value});
  as.bind(resume);
  slow_store(miss, resume, slow, bytes, [this, value] { as.mov(x86::r8, Imm{value}); });
}

void BlockEmitter::slow_128(Slow slow, Slot slot, Label miss, Label resume) {
  cold(miss, [this, resume, slow, slot, op = &op(), snapshot = cache.snapshot(), known = flags] {
    settle(snapshot, known);
    as.lea(rcx, in_state(slot, 16));
    call_slowly(*op, slow == Slow::load_128 ? reinterpret_cast<const void*>(&load_128_slowly)
                                            : reinterpret_cast<const void*>(&store_128_slowly));
    leave_if_zero(x86::al);
    unsettle(snapshot, known);
    as.jmp(resume);
  });
}

void BlockEmitter::load_128(Slot to) {
  const Label miss = as.newLabel();
  const Label resume = as.newLabel();
  probe_tlb(16, Access::read, miss, op().aligned);
  as.movups(x86::xmm0, x86::Mem{rax, rdx, 0, 0, 16});
  as.movups(in_state(to, 16), x86::xmm0);
  as.bind(resume);
  slow_128(Slow::load_128, to, miss, resume);
}

void BlockEmitter::store_128(Slot from) {
  const Label miss = as.newLabel();
  const Label resume = as.newLabel();
  probe_tlb(16, Access::write, miss, op().aligned);
  as.movups(x86::xmm0, in_state(from, 16));
  as.movups(x86::Mem{rax, rdx, 0, 0, 16}, x86::xmm0);
  as.bind(resume);
  slow_128(Slow::store_128, from, miss, resume);
}

// --- Ends.

void BlockEmitter::store_everything() {
  cache.store_at_end();
  store_flag_kind();
  end_floats();
}

void BlockEmitter::jump_by_exit(unsigned number) {
  as.mov(rax, Imm{number_of(block_)});
  as.jmp(x86::Mem{rax, static_cast<std::int32_t>(offset_exits + number * sizeof(void*)), 8});
}

void BlockEmitter::jump_if_stale(const CodeBlock& block, Label to) {
  as.mov(rax, Imm{number_of(&block)});
  as.cmp(x86::Mem{rax, static_cast<std::int32_t>(offsetof(CodeBlock, stale)), 1}, Imm{0});
  as.jne(to);
}

void BlockEmitter::go_to_exit(unsigned number) {
  const isa::Op& exit = block_->exits[number];
  if (exit.code == isa::OpCode::exit_page) {
    as.mov(rax, in_state(offset_page, 8));
    as.mov(rcx, Imm{isa::place_of_exit(exit)});
    as.add(rax, rcx);
    as.and_(rax, in_state(offsetof(State, rip_mask), 8));
    op_ = &exit;
    find_code(handler_of(isa::OpCode::exit_page));
    return;
  }
  jump_by_exit(number);
}

bool BlockEmitter::leads_back(unsigned number) const { return leads_to(block_->exits[number], *first_); }

void BlockEmitter::store_before_branch() {
  if (!leads_back(0) && !leads_back(1) && !onward_) store_everything();
}

void BlockEmitter::branch(Cond host) {
  const unsigned aside = onward_ ? 1 - *onward_ : 1;
  const Label leaves = as.newLabel();
  as.emit(jcc_of(aside == 1 ? host : negated(host)), leaves);
  const auto leave_aside = [this, aside, values = cache.snapshot(), known = flags] {
    cache.start_with(values);
    flags = known;
    leave_by(aside);
  };
  if (onward_) cold(leaves, leave_aside);
  leave_by(1 - aside);
  if (onward_) return;
  as.bind(leaves);
  leave_aside();
}

void BlockEmitter::leave_by(unsigned exit) {
  if (onward_ == exit) {
    goes_on_ = true;
    return;
  }
  if (leads_back(exit)) {
    loop_end_ = LoopState{cache.without_temporaries(), flags.floats};
    if (loop_ != nullptr) {
      go_back(exit);
      return;
    }
  }
  store_everything();
  go_to_exit(exit);
}

// Another turn of the loop, unless the counter is used up or the first block's bytes have changed: then by
// the exit, behind which all of that is asked again.
void BlockEmitter::go_back(unsigned exit) {
  const Label ends = as.newLabel();
  const Label used_up = as.newLabel();
  store_flag_kind();
  cache.become(loop_->registers);
  if (!loop_->floats) end_floats();
  jump_if_stale(*first_, ends);
  leave_for_others(ends);
  as.sub(reg_budget, Imm{first_->ops[0].disp});
  as.js(used_up);
  as.jmp(loop_start_);
  cold(used_up, [this, exit, ends, snapshot = cache.snapshot(), floats = flags.floats] {
    as.add(reg_budget, Imm{first_->ops[0].disp});
    as.bind(ends);
    settle(snapshot, {.floats = floats});
    jump_by_exit(exit);
  });
}

void BlockEmitter::probe_jump_cache(Handler otherwise) {
  const Label miss = as.newLabel();
  as.mov(rcx, rax);
  as.shr(rcx, Imm{12});
  as.xor_(rcx, rax);
  as.and_(x86::ecx, Imm{jump_entries - 1});
  as.shl(x86::ecx, Imm{jump_shift});
  as.add(rcx, in_state(offset_jumps, 8));
  as.cmp(x86::Mem{rcx, offsetof(JumpEntry, rip), 8}, rax);
  as.jne(miss);
  cold(miss, [this, otherwise, op = &op(), snapshot = cache.snapshot(), known = flags] {
    settle(snapshot, known);
    call_handler_and_leave(*op, otherwise);
  });
}

void BlockEmitter::jump_by_cache_entry() {
  as.mov(rdx, x86::Mem{rcx, offsetof(JumpEntry, page), 8});
  as.mov(in_state(offset_page, 8), rdx);
  as.mov(rax, x86::Mem{rcx, offsetof(JumpEntry, block), 8});
  as.jmp(x86::Mem{rax, static_cast<std::int32_t>(offset_entry), 8});
}

void BlockEmitter::find_code(Handler otherwise) {
  probe_jump_cache(otherwise);
  jump_by_cache_entry();
}

}  // namespace cbit::cpu::jit
