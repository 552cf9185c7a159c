// A processor's way through time: budgets, interrupts, blocks.
#include <algorithm>
#include <limits>

#include "base/assert.hpp"
#include "cpu/core.hpp"
#include "cpu/helpers.hpp"
#include "cpu/interpreter.hpp"
#include "cpu/ops_branch.hpp"

namespace cbit::cpu {
namespace {

// The clock's nanoseconds per instruction.
constexpr std::uint64_t ns_per_instruction = 1;
// So that a run without deadline looks up now and then.
constexpr std::int64_t budget_max = 10'000'000;
// So that processors that share the clock do not come far apart.
constexpr std::uint64_t shared_clock_slice = 50'000;

// DR6, DR7: APM vol. 2, 13.1.
constexpr std::uint64_t dr6_single_step = 1 << 14;
constexpr std::uint64_t dr7_enables = 0xff;

}  // namespace

std::uint64_t Core::instructions() const {
  return counted_ + static_cast<std::uint64_t>(granted_ - budget - withheld_);
}

std::uint64_t Core::instructions_before(const isa::Op& op) const {
  return instructions() - block->instructions + op.instruction;
}

std::uint64_t Core::position() const { return instructions() + delivered_count_; }

void Core::set_budget(std::int64_t count) {
  counted_ = instructions();
  granted_ = budget = count;
  withheld_ = 0;
}

void Core::kick() {
  attention_ = true;
  if (budget < 0) return;
  withheld_ += budget + 1;
  budget = -1;
}

void Core::request_stop() {
  stop_requested_ = true;
  kick();
}

void Core::advance_clock() {
  const std::uint64_t now = instructions();
  const std::uint64_t passed = now - clocked_;
  clocked_ = now;
  pass_time(passed * ns_per_instruction);
}

void Core::sync_clock(const isa::Op& op) {
  const std::uint64_t now = instructions_before(op);
  if (now <= clocked_) return;
  const std::uint64_t passed = now - clocked_;
  clocked_ = now;
  pass_time(passed * ns_per_instruction);
}

void Core::after_device() {
  std::uint64_t count = static_cast<std::uint64_t>(std::max<std::int64_t>(budget, 0));
  if (current_op_ != nullptr) count += block->instructions - current_op_->instruction;
  const std::uint64_t planned = board.clock.now_ns() + count * ns_per_instruction;
  const auto deadline = board.clock.next_deadline();
  if (planned > until_ns_ || (deadline && *deadline < planned)) kick();
}

std::uint64_t Core::next_rip(const isa::Op& op) const {
  const isa::InstructionMark& mark = block->marks[op.instruction];
  return (regs.page + mark.place + mark.length) & rip_mask;
}

void Core::stop_at(const isa::Op& op) {
  rip = rip_of(op);
  budget += block->instructions - op.instruction;
}

bool Core::stays_in_instruction(const isa::Op& op) {
  if ((&op + 1)->instruction == op.instruction) return true;
  leave_behind(op);
  leave = Leave::lookup;
  return false;
}

Outcome Core::leave_to(const isa::Op& op, std::uint64_t to) {
  rip = to;
  budget += block->instructions - op.instruction - 1;
  return Outcome::leave;
}

void Core::shadow_interrupts(const isa::Op& op) {
  shadow_end_ = instructions_before(op) + 2;
  if (interrupt_pending()) kick();
}

void Core::shadow_traps(const isa::Op& op) {
  shadow_interrupts(op);
  traps_held_at_ = instructions_before(op) + 1;
}

void Core::step_by_new_flags() {
  delivered_ = true;
  step_is_due_ = (sys.flags & rflags::trap) != 0;
}

void Core::halt() {
  halted_ = true;
  kick();
}

namespace {

constexpr HelperRunner runners[] = {
#define CBIT_HELPER(name, ends) run<helpers::name>,
    CBIT_ISA_HELPERS(CBIT_HELPER)
#undef CBIT_HELPER
};

}  // namespace

HelperRunner runner_of(const isa::Op& op) {
  return op.helper == isa::Helper::x87 ? helpers::x87_runner(op)
                                       : runners[static_cast<std::size_t>(op.helper)];
}

namespace ops {

const isa::Op* raise_divide_error(State& s, const isa::Op* op) {
  Core& core = core_of(s);
  if (core.rehearses()) {
    core.give_up_rehearsal();
    return nullptr;
  }
  core.stop_at(*op);
  (void)core.raise(vector::de);
  return nullptr;
}

const isa::Op* stop_for_budget(State& s, const isa::Op*) {
  s.rip = (s.regs.page + s.block->place()) & s.rip_mask;
  s.leave = Leave::budget;
  return nullptr;
}

// From the start of a stale block, or from an exit without a link.
const isa::Op* exit_unlinked(State& s, const isa::Op* op) { return core_of(s).unlinked(op); }

const isa::Op* enter_interpreted(State* s, const void*) {
  const isa::Op* const head = s->block->ops;
  if (s->budget < head->disp) return stop_for_budget(*s, head);
  s->budget -= head->disp;
  return head + 1;
}

bool check_target(State& s, const isa::Op* op, std::uint64_t rip) {
  Core& core = core_of(s);
  if (core.is_canonical_address(rip)) return true;
  if (core.rehearses()) return core.give_up_rehearsal();
  core.stop_at(*op);
  (void)core.raise(vector::gp, 0);
  return false;
}

const isa::Op* run_helper(State& s, const isa::Op* op) {
  return runners[static_cast<std::size_t>(op->helper)](s, op);
}

bool translate(State& s) { return core_of(s).translate_block(); }

const isa::Op* stop_for_others(State& s, const isa::Op*) {
  s.rip = (s.regs.page + s.block->place()) & s.rip_mask;
  s.leave = Leave::lookup;
  return nullptr;
}

}  // namespace ops

bool Core::translate_block() {
  const Alone alone{*this};
  if (block->ops[0].code == isa::OpCode::translated) return true;
  CodeBlock* const found = board.code.find(block->at, block->key, block->mode);
  if (found != block || must_step() || !board.code.translate(*found)) return false;
  return true;
}

const isa::Op* Core::unlinked(const isa::Op* exit) {
  leave = Leave::lookup;
  if (exit->code == isa::OpCode::stale) {
    const auto* const stale = reinterpret_cast<const CodeBlock*>(static_cast<std::uintptr_t>(exit->imm));
    rip = (regs.page + stale->place()) & rip_mask;
    return nullptr;
  }
  rip = ops::rip_of_exit(*this, exit);
  // No exit is linked to a block that crosses, which depends on where its second page is mapped.
  if (const JumpEntry& known = jumps[jump_index(rip)];
      known.rip == rip && known.op != nullptr && known.block->crosses) {
    regs.page = known.page;
    return known.op;
  }
  // Only an exit of the block that runs is asked for; the block is the cache's.
  unlinked_exit_ = {const_cast<CodeBlock*>(block), static_cast<unsigned>(exit - block->exits)};
  unlinked_page_ = regs.page;
  return nullptr;
}

bool Core::must_step() const {
  return (sys.flags & rflags::trap) != 0 || (sys.dr7 & dr7_enables) != 0 || in_shadow();
}

Stop Core::run(std::uint64_t until_ns) {
  until_ns_ = until_ns;
  const Joined joined{*this};
  stop_requested_ = joined_ && board.others->stopping();
  debug_stop_.reset();
  return run_to_stop();
}

Stop Core::run_to_stop() {
  for (;;) {
    if (joined_) let_others();
    if (const auto stop = attend()) return *stop;
    if (must_step())
      execute_one();
    else if (config.check_translations)
      execute_checked();
    else
      execute();
  }
}

Stop Core::step(bool hold_interrupts) {
  until_ns_ = std::numeric_limits<std::uint64_t>::max();
  stop_requested_ = false;
  debug_stop_.reset();
  delivered_ = false;
  stepping_ = true;
  holds_interrupts_ = hold_interrupts;
  const auto stop = attend();
  if (!stop && !delivered_) execute_one();
  stepping_ = holds_interrupts_ = false;
  if (stop) return *stop;
  advance_clock();
  return shut_down_ ? Stop::shutdown : debug_stop_ ? Stop::debugger : Stop::requested;
}

// Time, signals, and how long to go on.
std::optional<Stop> Core::attend() {
  const Alone alone{*this};
  advance_clock();
  if (shut_down_) return Stop::shutdown;
  if (debug_stop_) return Stop::debugger;
  if (!stepping_ && position() >= pause_at_) return Stop::debugger;
  if (stop_requested_) return Stop::requested;
  if (board.clock.now_ns() >= until_ns_) return Stop::deadline;
  attention_ = false;
  if (interrupt_pending() && !in_shadow() && !holds_interrupts_ && take_signals()) {
    if (shut_down_) return Stop::shutdown;
    if (!stepping_ && position() >= pause_at_) return Stop::debugger;
  }
  if (halted_ || waits_for_startup_) return Stop::halted;
  const std::uint64_t now = board.clock.now_ns();
  std::uint64_t next = until_ns_;
  if (const auto deadline = board.clock.next_deadline()) next = std::min(next, *deadline);
  std::uint64_t count = next > now ? (next - now) / ns_per_instruction : 1;
  if (!stepping_) count = std::min(count, pause_at_ - position());
  if (joined_) count = std::min(count, shared_clock_slice);
  set_budget(static_cast<std::int64_t>(std::min<std::uint64_t>(count, budget_max)));
  return std::nullopt;
}

// In the order of APM vol. 2, table 8-8. True: something was delivered.
bool Core::take_signals() {
  const bus::CpuSignals signals = board.interrupts.signals();
  if (signals.has(bus::CpuSignal::init) && board.interrupts.take_init()) take_init();
  if (signals.has(bus::CpuSignal::startup)) {
    const auto start = board.interrupts.take_startup();
    if (start && waits_for_startup_) take_startup(*start);
  }
  if (waits_for_startup_) return false;
  if (signals.has(bus::CpuSignal::smi)) (void)board.interrupts.take_smi();
  if (signals.has(bus::CpuSignal::nmi) && !nmi_blocked_ && board.interrupts.take_nmi()) {
    halted_ = false;
    nmi_blocked_ = true;
    deliver({.vector = vector::nmi, .kind = EventKind::external});
    return true;
  }
  if (!signals.has(bus::CpuSignal::intr) || (sys.flags & rflags::interrupt) == 0) return false;
  halted_ = false;
  deliver({.vector = board.interrupts.acknowledge(), .kind = EventKind::external});
  return true;
}

// APM vol. 2, 14.1.3: as after reset, but caches (CR0.CD and NW), XCR0, MSRs and the FPU stay. Only an
// application processor waits then; the bootstrap processor goes on at the reset vector (Intel SDM vol. 3,
// "MP Initialization Protocol Requirements and Restrictions").
void Core::take_init() {
  const SystemRegisters before = sys;
  const fp::X87 x87_before = x87;
  const fp::Mxcsr mxcsr_before = mxcsr;
  reset();
  x87 = x87_before;
  mxcsr = mxcsr_before;
  constexpr std::uint64_t caching = cr0::cache_disable | cr0::not_write_through;
  sys.cr0 = (sys.cr0 & ~caching) | (before.cr0 & caching);
  sys.xcr0 = before.xcr0;
  for (const auto msr :
       {&SystemRegisters::star, &SystemRegisters::lstar, &SystemRegisters::cstar, &SystemRegisters::sfmask,
        &SystemRegisters::kernel_gs_base, &SystemRegisters::sysenter_cs, &SystemRegisters::sysenter_esp,
        &SystemRegisters::sysenter_eip, &SystemRegisters::pat, &SystemRegisters::tsc_aux})
    sys.*msr = before.*msr;
  if (!waits_for_startup_ && board.supervisor != nullptr) board.supervisor->initialized(self);
}

void Core::take_startup(std::uint8_t start_vector) {
  waits_for_startup_ = false;
  SegmentRegister code = segment(isa::Segment::cs);
  code.selector = static_cast<std::uint16_t>(start_vector << 8);
  code.base = std::uint64_t{start_vector} << 12;
  set_segment(isa::Segment::cs, code);
  rip = 0;
  update_mode();
}

// From block to block, until the budget is used up.
void Core::execute() {
  unlinked_exit_ = {};
  while (budget > 0 && !attention_) {
    if (joined_ && board.others->wanted().load(std::memory_order_relaxed) != 0) {
      let_others();
      continue;
    }
    set_inside(true);
    const isa::Op* op = find_code(false);
    if (op != nullptr) run_block(op);
    set_inside(false);
    if (op == nullptr) {
      deliver_pending();
      return;
    }
    if (leave == Leave::lookup) continue;
    after_leave();
    return;
  }
}

void Core::run_block(const isa::Op* op) {
  interpret(*this, op);
  release_others();
  current_op_ = nullptr;
}

void Core::leave_block() {
  block = nullptr;
  current_op_ = nullptr;
}

void Core::after_leave() {
  switch (leave) {
    case Leave::lookup: return;
    case Leave::budget: execute_rest(); return;
    case Leave::fault: deliver_pending(); return;
    case Leave::retry: execute_one(); return;
  }
}

// A block has more instructions than there is time for: deadlines fall between two instructions, wherever
// blocks begin and end.
void Core::execute_rest() {
  while (budget > 0 && !attention_) execute_one();
}

// What it jumps to may be known, and does not begin.
void Core::run_alone(const isa::Op* op) {
  unlinked_exit_ = {};
  const std::int64_t left = budget;
  const std::uint64_t before = instructions();
  set_budget(1);
  run_block(op);
  unlinked_exit_ = {};
  if (!attention_) set_budget(left - static_cast<std::int64_t>(instructions() - before));
}

void Core::execute_one() {
  const bool trap_flag = (sys.flags & rflags::trap) != 0;
  delivered_ = false;
  if (std::exchange(step_is_due_, false)) return deliver_step();
  if (hits_breakpoint(rip)) return;
  const bool resumed = (sys.flags & rflags::resume) != 0;
  const std::uint64_t before = instructions();
  set_inside(true);
  const isa::Op* op = find_code(true);
  if (op != nullptr) run_alone(op);
  set_inside(false);
  if (op == nullptr) {
    data_hits_ = 0;
    deliver_pending();
    return;
  }
  if (leave == Leave::fault) {
    data_hits_ = 0;
    debug_stop_.reset();  // what it accessed before is undone
    deliver_pending();
    return;
  }
  if (debug_stop_ && !debug_stop_->watch) return;
  // RF is for one instruction; one that sets it (IRET) sets it for the next.
  if (resumed && instructions() != before) sys.flags &= ~rflags::resume;
  take_traps(trap_flag);
}

// The traps that follow an instruction: data breakpoints, and the single step if TF was set before it. One
// that loads SS leaves them to the next, and the single step is lost: APM vol. 3, MOV.
void Core::take_traps(bool trap_flag) {
  if (!delivered_ && instructions() == traps_held_at_) return;
  std::uint64_t hits = std::exchange(data_hits_, 0);
  if (trap_flag && !delivered_) hits |= dr6_single_step;
  if (hits == 0 || shut_down_) return;
  report_in_dr6(hits);
  deliver({.vector = vector::db});
}

void Core::deliver_step() {
  report_in_dr6(dr6_single_step);
  deliver({.vector = vector::db});
}

// Instruction breakpoints: DR7's R/W field is 0, and RF is clear. APM vol. 2, 13.1.1.4.
bool Core::hits_breakpoint(std::uint64_t rip_at) {
  if ((sys.dr7 & dr7_enables) == 0 || (sys.flags & rflags::resume) != 0) return false;
  std::uint64_t hits = 0;
  for (unsigned number = 0; number < sys.breakpoints.size(); ++number) {
    const bool enabled = (sys.dr7 >> (2 * number) & 3) != 0;
    const bool execution = (sys.dr7 >> (16 + 4 * number) & 3) == 0;
    if (enabled && execution && sys.breakpoints[number] == linear(isa::Segment::cs, rip_at))
      hits |= 1ull << number;
  }
  if (hits == 0) return false;
  report_in_dr6(hits);
  deliver({.vector = vector::db, .resume = true});
  return true;
}

// The block at RIP; nullptr: a fault of the fetch is pending.
const isa::Op* Core::find_code(bool one_step) {
  if (is_among_others())
    if (const isa::Op* known = known_code_at_rip(one_step)) return known;
  const Alone alone{*this};
  return look_for_code(one_step);
}

const isa::Op* Core::look_for_code(bool one_step) {
  const BlockExit exit = std::exchange(unlinked_exit_, {});
  const std::uint64_t at = linear(isa::Segment::cs, rip);
  if (!is_canonical_address(at)) {
    (void)raise(vector::gp, 0);
    return nullptr;
  }
  const auto page = memory.page_of_code(sys.cpl == 3, at);
  if (!page) {
    raise_memory_fault(page.error(), false);
    return nullptr;
  }
  const isa::Mode wanted = mode_.with<isa::Mode::OneStep>(one_step);
  CodeBlock* found = board.code.find(page->phys + (at & ~page_mask), page->key, wanted);
  CodeTlb::Entry second;
  if (found != nullptr && found->crosses) {
    if (!second_page_of(at, second)) return nullptr;
    if (found->second_page != second.phys || found->second_key != second.key) {
      board.code.invalidate(found->at, 1);
      found = nullptr;
    }
  }
  const std::uint64_t flushes = board.code.stats().flushes;
  if (found == nullptr) found = decode(*page, at, wanted, second);
  if (found == nullptr) return nullptr;
  regs.page = rip - (at & ~page_mask);
  if (one_step) return found->ops;
  remember_jump({.rip = rip, .page = regs.page, .op = found->ops, .block = found}, *page, second);
  if (found->crosses) return found->ops;
  // A flush has taken the exit, too.
  if (exit.block != nullptr && flushes == board.code.stats().flushes && regs.page == unlinked_page_ &&
      exit.block->exits[exit.number].code == isa::OpCode::exit)
    board.code.link(exit, *found);
  return found->ops;
}

bool Core::second_page_of(std::uint64_t linear_at, CodeTlb::Entry& to) {
  const std::uint64_t next = (linear_at & page_mask) + page_size;
  const std::uint64_t wrapped = mode_.is_64() ? next : next & 0xffff'ffff;
  const auto page = memory.page_of_code(sys.cpl == 3, wrapped);
  if (!page) {
    raise_memory_fault(page.error(), false);
    return false;
  }
  to = *page;
  return true;
}

// Code is read from its lease, which tells of changes by others; without one, what is decoded is a copy.
bool Core::read_code(const CodeTlb::Entry& page, std::uint64_t offset, ByteSpan to) {
  const std::byte* host = board.code.code_bytes(page.phys, page.key);
  if (host != nullptr) {
    std::memcpy(to.data(), host + offset, to.size());
    return true;
  }
  const auto done = board.memory.read(page.phys + offset, to, page.key);
  // What is no memory reads as ones.
  if (!done) std::ranges::fill(to, std::byte{0xff});
  return true;
}

CodeBlock* Core::decode(const CodeTlb::Entry& page, std::uint64_t linear_at, isa::Mode wanted,
                        CodeTlb::Entry& second) {
  std::array<std::byte, page_size + isa::instruction_bytes_max> buffer;
  const std::uint64_t offset = linear_at & ~page_mask;
  const std::size_t in_page = page_size - offset;
  (void)read_code(page, offset, std::span{buffer}.first(in_page));
  const auto place = static_cast<std::uint16_t>(offset);
  const std::uint64_t page_start = linear_at & page_mask;
  isa::Lowerer::Probed probed;
  if (!probes_.empty() || breakpoint_places_.any())
    probed = [this, page_start](std::uint16_t at) {
      return may_break_at(at) || probes_.contains(page_start + at);
    };

  if (!lowerer_.lower({wanted, place, std::span{buffer}.first(in_page)}, lowered_, probed)) {
    if (!second_page_of(linear_at, second)) return nullptr;
    (void)read_code(second, 0, std::span{buffer}.subspan(in_page, isa::instruction_bytes_max));
    const auto bytes = std::span{buffer}.first(in_page + isa::instruction_bytes_max);
    const bool done = lowerer_.lower({wanted, place, bytes}, lowered_, probed);
    CBIT_ASSERT(done);
  }
  return board.code.insert(page.phys + offset, page.key, wanted, lowered_, second.phys, second.key);
}

void Core::add_probe(VirtAddr at) {
  probes_.insert(at.value());
  if (const auto place = memory.inspect(at.value())) board.code.invalidate(place->phys, 1);
}

void Core::remove_probe(VirtAddr at) {
  probes_.erase(at.value());
  if (const auto place = memory.inspect(at.value())) board.code.invalidate(place->phys, 1);
}

Outcome Core::take_probe(const isa::Op& op) {
  const VirtAddr at{linear(isa::Segment::cs, rip_of(op))};
  if (breaks_at(at) && instructions_before(op) + delivered_count_ != passed_at_) {
    debug_stop_ = DebugStop{at, {}};
    kick();
    stop_at(op);
    return Outcome::leave;
  }
  if (probe_sink_ != nullptr && probes_.contains(at.value())) probe_sink_->on_probe(self, at);
  return Outcome::next;
}

void Core::forget_blocks() {
  forget_jumps();
  unlinked_exit_ = {};
  leave_block();
}

}  // namespace cbit::cpu
