// A processor's state, saved and loaded between two instructions.
#include <algorithm>

#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

// More MSRs than the processor keeps for anybody.
constexpr std::size_t kept_msrs_max = 1024;
constexpr unsigned cpl_max = 3;

}  // namespace

void SystemRegisters::transfer(StateStream& s) {
  s(cr0, cr2, cr3, cr4, efer, xcr0, flags, segments, ldtr, tr, gdtr, idtr);
  s.up_to(cpl, cpl_max);
  s(breakpoints, dr6, dr7);
  s(star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, pat, tsc_aux);
}

void Core::transfer(StateStream& s) {
  s(sys);
  transfer_straight_line_state(s);
  std::uint64_t executed = instructions();
  s(executed, shadow_end_, traps_held_at_, attention_, halted_, waits_for_startup_, shut_down_, nmi_blocked_,
    delivered_, step_is_due_, data_hits_, tsc_, random_state_);
  transfer_kept_msrs(s);
  if (!s.loads() || !s.good()) return;
  counted_ = clocked_ = executed;
  granted_ = budget = withheld_ = 0;
  forget_what_follows();
}

// Temporaries live within a block.
void Core::transfer_straight_line_state(StateStream& s) {
  s(regs.gpr, regs.segment_base);
  for (isa::Xmm& xmm : regs.xmm) s(xmm.quads);
  s(flags.a, flags.b);
  s.choice(flags.kind, FlagKind::flags);
  s(rip, direction, mxcsr);
  mxcsr.raw &= fp::mxcsr_mask;
  for (fp::Float80& value : x87.state.registers) s(value.significand, value.sign_exponent);
  s(x87.state.control, x87.state.status, x87.state.in_use, x87.state.opcode, x87.state.code_segment,
    x87.state.data_segment, x87.state.instruction_pointer, x87.state.data_pointer);
}

void Core::transfer_kept_msrs(StateStream& s) {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> kept{kept_msrs_.begin(), kept_msrs_.end()};
  std::ranges::sort(kept);
  const std::size_t count = s.count(kept.size(), kept_msrs_max);
  if (!s.good()) return;
  kept.resize(count);
  for (auto& [msr, value] : kept) s(msr, value);
  kept_msrs_ = {kept.begin(), kept.end()};
}

void Core::forget_what_follows() {
  pending_ = {};
  leave = Leave::lookup;
  debug_stop_.reset();
  deliveries_.clear();
  forget_blocks();
  update_paging();
  flush_translations(true);
  update_mode();
}

}  // namespace cbit::cpu
