#include "linux/probes/calls.hpp"

#include <algorithm>

#include "linux/unwind.hpp"

namespace cbit::linux {
namespace {

constexpr std::array<CpuView::Register, 6> argument_registers = {CpuView::rdi, CpuView::rsi, CpuView::rdx,
                                                                 CpuView::rcx, CpuView::r8,  CpuView::r9};

// The word at the stack pointer belongs to the stack, also where what is behind it does not.
std::uint64_t stack_number(VirtAddr last_word) { return last_word.value() / kernel_stack_bytes; }

bool is_kernel_address(VirtAddr at) { return at.value() >> 63 != 0; }

}  // namespace

void CallTracker::watch(VirtAddr entry, PointId point, std::size_t arguments, bool rare) {
  Watch& watch = watches_[entry];
  watch.entry = true;
  watch.rare = rare;
  watch.point = point;
  watch.arguments = static_cast<std::uint8_t>(std::min(arguments, arguments_max));
  processor_->add_probe(entry);
}

void CallTracker::forget(VirtAddr entry) {
  const auto found = watches_.find(entry);
  if (found == watches_.end()) return;
  found->second.entry = false;
  if (found->second.is_needed()) return;
  watches_.erase(found);
  processor_->remove_probe(entry);
}

void CallTracker::clear() {
  for (const auto& [at, watch] : watches_) processor_->remove_probe(at);
  for (auto& [number, stack] : stacks_)
    for (Call& call : stack) client_->on_lost(call);
  watches_.clear();
  stacks_.clear();
  pending_ = return_addresses_ = 0;
}

void CallTracker::on_execute(const CpuView& cpu) {
  const auto found = watches_.find(VirtAddr{cpu.rip});
  if (found == watches_.end()) return;
  const Watch watch = found->second;  // a client may watch more
  if (watch.returns || watch.waiting != 0) leave(cpu);
  if (watch.entry) enter(cpu, watch);
}

// A return address stays watched once it was seen: there are a few dozen, and they come and go all the time.
bool CallTracker::watch_return(const Call& call) {
  if (!is_kernel_address(call.returns_to)) return false;
  Watch& watch = watches_[call.returns_to];
  const bool known = watch.is_needed();
  if (call.rare) {
    ++watch.waiting;
  } else if (!watch.returns) {
    if (return_addresses_ == return_addresses_max) {
      if (!known) watches_.erase(call.returns_to);
      return false;
    }
    ++return_addresses_;
    watch.returns = true;
  }
  if (!known) processor_->add_probe(call.returns_to);
  return true;
}

void CallTracker::forget_return(const Call& call) {
  const auto found = call.rare ? watches_.find(call.returns_to) : watches_.end();
  if (found == watches_.end()) return;
  --found->second.waiting;
  if (found->second.is_needed()) return;
  watches_.erase(found);
  processor_->remove_probe(call.returns_to);
}

void CallTracker::enter(const CpuView& cpu, const Watch& watch) {
  if (watch.rare && !client_->wants(watch.point, cpu)) return;
  const auto returns_to = cpu.memory->load<std::uint64_t>(cpu.stack());
  if (!returns_to) return;
  Call call{.point = watch.point,
            .returns_to = VirtAddr{*returns_to},
            .stack = cpu.stack() + 8,
            .rare = watch.rare};
  for (std::size_t i = 0; i < watch.arguments; ++i)
    call.arguments[i] =
        i < argument_registers.size()
            ? cpu.gpr[argument_registers[i]]
            : cpu.memory->load<std::uint64_t>(call.stack + 8 * (i - argument_registers.size())).value_or(0);
  const std::uint64_t number = stack_number(cpu.stack());
  drop_below(number, call.stack);
  // An interrupt at the entry returns to it: the same call again.
  const auto stack = stacks_.find(number);
  if (stack != stacks_.end()) {
    const Call& last = stack->second.back();
    if (last.point == call.point && last.stack == call.stack && last.returns_to == call.returns_to) return;
  }
  if (!client_->on_entry(call, cpu)) return;
  if (!watch_return(call)) {
    ++lost_;
    client_->on_lost(call);
    return;
  }
  if (pending_ == pending_max) drop_oldest();
  call.serial = serial_++;
  stacks_[number].push_back(std::move(call));
  ++pending_;
}

void CallTracker::leave(const CpuView& cpu) {
  const std::uint64_t number = stack_number(cpu.stack() - 8);
  drop_below(number, cpu.stack());
  for (;;) {
    const auto stack = stacks_.find(number);
    if (stack == stacks_.end() || stack->second.back().stack != cpu.stack()) return;
    Call call = std::move(stack->second.back());
    stack->second.pop_back();
    --pending_;
    forget_return(call);
    const std::span<Call> outside = stack->second;
    if (call.returns_to == VirtAddr{cpu.rip}) {
      client_->on_return(call, outside, cpu);
    } else {
      ++lost_;
      client_->on_lost(call);
    }
    if (stack->second.empty()) stacks_.erase(stack);
  }
}

void CallTracker::drop_below(std::uint64_t number, VirtAddr rsp) {
  for (;;) {
    const auto stack = stacks_.find(number);
    if (stack == stacks_.end() || stack->second.back().stack >= rsp) return;
    drop_last(number);
  }
}

void CallTracker::drop_last(std::uint64_t number) {
  const auto stack = stacks_.find(number);
  ++lost_;
  client_->on_lost(stack->second.back());
  forget_return(stack->second.back());
  stack->second.pop_back();
  --pending_;
  if (stack->second.empty()) stacks_.erase(stack);
}

// With the calls that were made in it, which have nothing to return to.
void CallTracker::drop_oldest() {
  const auto oldest =
      std::ranges::min_element(stacks_, {}, [](const auto& entry) { return entry.second.front().serial; });
  const std::uint64_t number = oldest->first;
  for (std::size_t calls = oldest->second.size(); calls > 0; --calls) drop_last(number);
}

Call* CallTracker::innermost(const CpuView& cpu, PointId point) {
  const auto stack = stacks_.find(stack_number(cpu.stack()));
  if (stack == stacks_.end()) return nullptr;
  const auto found = std::ranges::find(stack->second.rbegin(), stack->second.rend(), point, &Call::point);
  return found != stack->second.rend() ? &*found : nullptr;
}

}  // namespace cbit::linux
