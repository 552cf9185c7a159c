#include "linux/unwind.hpp"

#include <algorithm>

namespace cbit::linux {
namespace {

// struct pt_regs, arch/x86/include/asm/ptrace.h: r15 … r12, bp, bx, r11 … r8, ax, cx, dx, si, di, orig_ax,
// then what the processor pushed.
namespace pt_regs {
constexpr std::uint64_t r13 = 16;
constexpr std::uint64_t bp = 32;
constexpr std::uint64_t r10 = 56;
constexpr std::uint64_t ax = 80;
constexpr std::uint64_t dx = 96;
constexpr std::uint64_t di = 112;
constexpr std::uint64_t ip = 128;
constexpr std::uint64_t cs = 136;
constexpr std::uint64_t sp = 152;
}  // namespace pt_regs

class Walk {
 public:
  Walk(const CpuView& cpu, const CodeMap& code)
      : cpu_{&cpu}, code_{&code}, ip_{cpu.rip}, sp_{cpu.stack()}, bp_{cpu.gpr[CpuView::rbp]} {}

  [[nodiscard]] Frame frame() const { return {ip_, !exact_, true}; }

  // To the caller; false: there is none, or it cannot be told.
  bool step() {
    const auto rule = code_->rule_at(exact_ ? ip_ : ip_ - 1);
    if (!rule || rule->frame == OrcFrame::end_of_stack) return false;
    const auto cfa = previous_sp(*rule);
    if (!cfa) return false;
    const VirtAddr before = sp_;
    if (!take_frame(*rule, *cfa) || !take_bp(*rule, *cfa)) return false;
    exact_ = rule->signal;
    const bool same_stack = before.value() / kernel_stack_bytes == sp_.value() / kernel_stack_bytes;
    return code_->is_text(ip_) && !(same_stack && sp_ <= before);
  }

 private:
  [[nodiscard]] std::optional<VirtAddr> previous_sp(const OrcRule& rule) const {
    const auto apart = static_cast<std::uint64_t>(std::int64_t{rule.sp_offset});
    switch (rule.sp_base) {
      case OrcBase::sp: return sp_ + apart;
      case OrcBase::bp: return VirtAddr{bp_} + apart;
      case OrcBase::sp_indirect: {
        const auto found = word(sp_);
        return found ? std::optional{VirtAddr{*found} + apart} : std::nullopt;
      }
      case OrcBase::bp_indirect: return address(word(VirtAddr{bp_} + apart));
      case OrcBase::ax: return address(saved(CpuView::rax, pt_regs::ax));
      case OrcBase::dx: return address(saved(CpuView::rdx, pt_regs::dx));
      case OrcBase::di: return address(saved(CpuView::rdi, pt_regs::di));
      case OrcBase::r10: return address(saved(CpuView::r10, pt_regs::r10));
      case OrcBase::r13: return address(saved(CpuView::r13, pt_regs::r13));
      case OrcBase::prev_sp:
      case OrcBase::undefined: return std::nullopt;
    }
    return std::nullopt;
  }

  bool take_frame(const OrcRule& rule, VirtAddr cfa) {
    if (rule.frame == OrcFrame::call) {
      const auto returns_to = word(cfa - 8);
      if (!returns_to) return false;
      ip_ = VirtAddr{*returns_to};
      sp_ = cfa;
      live_ = false;
      has_regs_ = false;
      return true;
    }
    // A partial frame has what the processor pushed: the registers are those of the frame inside, if it had
    // them.
    const bool whole = rule.frame == OrcFrame::regs;
    const VirtAddr regs = whole ? cfa : cfa - pt_regs::ip;
    const auto ip = word(regs + pt_regs::ip), cs = word(regs + pt_regs::cs), sp = word(regs + pt_regs::sp);
    if (!ip || !cs || !sp || (*cs & 3) != 0) return false;
    ip_ = VirtAddr{*ip};
    sp_ = VirtAddr{*sp};
    if (whole) {
      live_ = false;
      has_regs_ = true;
      regs_ = regs;
    }
    return true;
  }

  bool take_bp(const OrcRule& rule, VirtAddr cfa) {
    const auto apart = static_cast<std::uint64_t>(std::int64_t{rule.bp_offset});
    std::optional<std::uint64_t> found = bp_;
    if (rule.bp_base == OrcBase::prev_sp) found = word(cfa + apart);
    if (rule.bp_base == OrcBase::bp) found = word(VirtAddr{bp_} + apart);
    if (rule.bp_base == OrcBase::undefined && has_regs_) found = word(regs_ + pt_regs::bp);
    bp_ = found.value_or(0);
    return found.has_value();
  }

  [[nodiscard]] std::optional<std::uint64_t> word(VirtAddr at) const {
    return cpu_->memory->load<std::uint64_t>(at);
  }
  [[nodiscard]] static std::optional<VirtAddr> address(std::optional<std::uint64_t> value) {
    return value ? std::optional{VirtAddr{*value}} : std::nullopt;
  }
  // A register that calls do not preserve: known in the CPU's own frame, and in one that was interrupted.
  [[nodiscard]] std::optional<std::uint64_t> saved(CpuView::Register live, std::uint64_t offset) const {
    if (live_) return cpu_->gpr[live];
    return has_regs_ ? word(regs_ + offset) : std::nullopt;
  }

  const CpuView* cpu_;
  const CodeMap* code_;
  VirtAddr ip_;
  VirtAddr sp_;
  std::uint64_t bp_;
  bool exact_ = true;  // ip_ is an instruction that has not been executed
  bool live_ = true;   // the CPU's registers are this frame's
  bool has_regs_ = false;
  VirtAddr regs_;  // the last struct pt_regs that was passed, and all frames since were interrupted ones
};

// An instruction that ends here calls: E8 rel32, or FF /2 with the lengths that compilers make.
bool follows_call(const GuestMemory& memory, VirtAddr at) {
  std::array<std::byte, 7> bytes{};
  if (!memory.read(at - bytes.size(), bytes)) return false;
  const auto before = [&](std::size_t distance) {
    return std::to_integer<unsigned>(bytes[bytes.size() - distance]);
  };
  if (before(5) == 0xe8) return true;
  constexpr std::size_t lengths[] = {2, 3, 6, 7};
  return std::ranges::any_of(lengths, [&](std::size_t length) {
    return before(length) == 0xff && (before(length - 1) >> 3 & 7) == 2;
  });
}

}  // namespace

void walk_stack(const CpuView& cpu, const CodeMap& code, std::size_t frames_max, const FrameVisitor& visit) {
  Walk walk{cpu, code};
  for (std::size_t i = 0; i < frames_max; ++i)
    if (!visit(walk.frame()) || !walk.step()) return;
}

std::vector<Frame> unwind(const CpuView& cpu, const CodeMap& code, std::size_t frames_max) {
  std::vector<Frame> frames;
  walk_stack(cpu, code, frames_max, [&](const Frame& frame) {
    frames.push_back(frame);
    return true;
  });
  return frames;
}

std::vector<Frame> scan_stack(const CpuView& cpu, const CodeMap& code, std::size_t frames_max) {
  std::vector<Frame> frames{{VirtAddr{cpu.rip}, false, true}};
  const std::uint64_t end = align_down(cpu.stack().value(), kernel_stack_bytes) + kernel_stack_bytes;
  for (VirtAddr at{align_up(cpu.stack().value(), 8)}; at.value() < end && frames.size() < frames_max;
       at += 8) {
    const auto word = cpu.memory->load<std::uint64_t>(at);
    if (!word) break;
    const VirtAddr candidate{*word};
    if (code.is_text(candidate) && !code.is_function_start(candidate) && follows_call(*cpu.memory, candidate))
      frames.push_back({candidate, true, false});
  }
  return frames;
}

}  // namespace cbit::linux
