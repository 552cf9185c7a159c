#include "guest/kvm_interface.hpp"

#include <cstring>

#include "spec/kvm.hpp"

namespace cbit::guest {
namespace {

using isa::Gpr;
namespace kvm = spec::kvm;

// The caller, and its registers as wide as its mode has them.
struct Caller {
  unsigned privilege = 0;
  bool is_64_bit = false;

  explicit Caller(const cpu::Cpu& cpu) {
    constexpr unsigned privilege_mask = 3;
    const cpu::SegmentRegister code = cpu.registers().segment(isa::Segment::cs);
    privilege = code.selector & privilege_mask;
    is_64_bit = code.attributes.get<cpu::SegmentAttributes::Long>();
  }
  [[nodiscard]] std::uint64_t wide(std::uint64_t value) const {
    return is_64_bit ? value : static_cast<std::uint32_t>(value);
  }
};

std::int64_t map_gpa_range(machine::Machine& machine, const cpu::Cpu& cpu, PhysAddr first,
                           std::uint64_t pages, std::uint64_t attributes) {
  constexpr std::uint64_t pages_max = ~std::uint64_t{0} / page_size;
  if (!first.is_aligned(page_size) || pages == 0 || pages > pages_max) return -kvm::einval;
  const mem::PhysRange range{first, pages * page_size};
  if (!machine.memory().contains(range.first, range.bytes)) return -kvm::einval;
  machine.hypervisor().note_page_state({AgentKind::cpu, cpu.index()},
                                       {.call = "KVM_HC_MAP_GPA_RANGE",
                                        .range = range,
                                        .encrypted = (attributes & kvm::map_gpa_encrypted) != 0});
  return 0;
}

}  // namespace

std::vector<std::array<std::uint32_t, 4>> KvmInterface::leaves() {
  std::array<std::uint32_t, 4> identity{kvm::leaf_features};
  std::memcpy(&identity[1], kvm::signature.data(), kvm::signature.size());
  return {identity, {kvm::feature_hc_map_gpa_range | kvm::feature_migration_control, 0, 0, 0}};
}

void KvmInterface::hypercall(cpu::Cpu& cpu) {
  const Caller caller{cpu};
  const auto argument = [&](Gpr reg) { return caller.wide(cpu.gpr(reg)); };
  std::int64_t result = -kvm::enosys;
  if (caller.privilege != 0)
    result = -kvm::eperm;
  else if (argument(Gpr::rax) == kvm::hc_map_gpa_range)
    result =
        map_gpa_range(*machine_, cpu, PhysAddr{argument(Gpr::rbx)}, argument(Gpr::rcx), argument(Gpr::rdx));
  cpu.gpr(Gpr::rax) = caller.wide(static_cast<std::uint64_t>(result));
}

std::optional<std::uint64_t> KvmInterface::read_msr(std::uint32_t msr) const {
  if (msr != kvm::msr_migration_control) return std::nullopt;
  return migration_control_;
}

bool KvmInterface::write_msr(std::uint32_t msr, std::uint64_t value) {
  if (msr != kvm::msr_migration_control || (value & ~kvm::migration_ready) != 0) return false;
  migration_control_ = value;
  return true;
}

}  // namespace cbit::guest
