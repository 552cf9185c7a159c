// A processor among others on threads of the host: see cpu/standstill.hpp.
#include <algorithm>
#include <bitset>

#include "cpu/core.hpp"
#include "cpu/helpers.hpp"

namespace cbit::cpu {
namespace {

using HelperSet = std::bitset<static_cast<std::size_t>(isa::Helper::count)>;

HelperSet own_affairs() {
  using enum isa::Helper;
  HelperSet set;
  for (const isa::Helper helper : {raise,
                                   check_segment,
                                   halt,
                                   spin_wait,
                                   clear_interrupt,
                                   set_interrupt,
                                   push_flags,
                                   pop_flags,
                                   interrupt,
                                   overflow,
                                   bound,
                                   return_interrupt,
                                   load_segment,
                                   store_segment,
                                   syscall,
                                   sysret,
                                   swapgs,
                                   read_base,
                                   write_base,
                                   cpuid,
                                   rdtsc,
                                   rdpmc,
                                   rdpid,
                                   load_table,
                                   smsw,
                                   invlpg,
                                   access_check,
                                   move_string,
                                   store_string,
                                   load_string,
                                   compare_string,
                                   scan_string,
                                   atomic,
                                   compare_exchange_pair,
                                   fence,
                                   random,
                                   xgetbv,
                                   decimal_adjust,
                                   decimal_multiply,
                                   crc32,
                                   sse,
                                   mmx,
                                   load_mxcsr,
                                   store_mxcsr,
                                   check_x87,
                                   move_mmx,
                                   empty_mmx,
                                   isa::Helper::x87})
    set.set(static_cast<std::size_t>(helper));
  return set;
}

}  // namespace

bool is_own_affair(isa::Helper helper) {
  static const HelperSet set = own_affairs();
  return set.test(static_cast<std::size_t>(helper));
}

void Core::lock_others() { board.others->lock(config.index); }

void Core::join_others() {
  board.others->join();
  joined_ = true;
  own_ns_ = board.clock.now_ns();
}

void Core::leave_others() {
  // Something was thrown in the middle of a block.
  release_others();
  set_inside(false);
  joined_ = false;
  board.others->leave();
}

void Core::let_others() {
  if (board.others->wanted().load() != 0) board.others->stand_aside();
  if (board.code.wants_cleaning()) clean_code();
}

void Core::clean_code() {
  board.others->lock_outside(config.index);
  ++alone_;
  board.code.clean();
  --alone_;
  board.others->unlock();
}

void Core::hold_others() {
  if (!is_among_others()) return;
  ++alone_;
  lock_others();
  holds_others_ = true;
}

void Core::do_release_others() {
  holds_others_ = false;
  if (--alone_ == 0) board.others->unlock();
}

// The clock is that of the processor that is farthest. Whoever has stayed behind goes on from there,
// so that it sees time pass.
void Core::advance_shared_clock(std::uint64_t passed_ns) {
  own_ns_ += passed_ns;
  if (!is_among_others() || !board.clock.reach(own_ns_)) {
    const Alone alone{*this};
    const std::uint64_t now = board.clock.now_ns();
    board.clock.advance(std::max(own_ns_, now) - now);
  }
  own_ns_ = board.clock.now_ns();
}

std::byte* Core::known_bytes(TlbSet set, std::uint64_t linear_at, unsigned bytes, bool write) {
  if (linear_at % page_size + bytes > page_size) return nullptr;
  const TlbInfo* const info = memory.tlb().find(set, linear_at, write);
  return info != nullptr && info->host != nullptr ? info->host + linear_at % page_size : nullptr;
}

// Nothing that others see changes by it: the block is there, and no exit waits to be linked to it.
const isa::Op* Core::known_code_at_rip(bool one_step) {
  if (unlinked_exit_.block != nullptr) return nullptr;
  const std::uint64_t at = linear(isa::Segment::cs, rip);
  if (!is_canonical_address(at)) return nullptr;
  const CodeTlb::Entry* const page = memory.known_page_of_code(sys.cpl == 3, at);
  if (page == nullptr) return nullptr;
  const CodeBlock* const found =
      board.code.find(page->phys + (at & ~page_mask), page->key, mode_.with<isa::Mode::OneStep>(one_step));
  if (found == nullptr || found->crosses) return nullptr;
  regs.page = rip - (at & ~page_mask);
  if (!one_step) remember_jump({.rip = rip, .page = regs.page, .op = found->ops, .block = found}, *page, {});
  return found->ops;
}

}  // namespace cbit::cpu
