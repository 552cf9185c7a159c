// Model-specific registers: one row each. APM vol. 2, appendix A; what Linux looks for besides is named with
// it.
#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

using Read = std::uint64_t (*)(Core& core, std::uint32_t msr);
using Write = bool (*)(Core& core, std::uint32_t msr, std::uint64_t value);

// A value in SystemRegisters that anything may be written to.
template <std::uint64_t SystemRegisters::* member>
std::uint64_t read_value(Core& core, std::uint32_t) {
  return core.sys.*member;
}
template <std::uint64_t SystemRegisters::* member>
bool write_value(Core& core, std::uint32_t, std::uint64_t value) {
  core.sys.*member = value;
  return true;
}
template <std::uint64_t SystemRegisters::* member>
bool write_address(Core& core, std::uint32_t, std::uint64_t value) {
  if (!paging::is_canonical(VirtAddr{value}, 4)) return false;
  core.sys.*member = value;
  return true;
}

template <isa::Segment segment>
std::uint64_t read_segment_base(Core& core, std::uint32_t) {
  return core.regs.segment_base[static_cast<std::size_t>(segment)];
}
template <isa::Segment segment>
bool write_segment_base(Core& core, std::uint32_t, std::uint64_t value) {
  if (!paging::is_canonical(VirtAddr{value}, 4)) return false;
  core.regs.segment_base[static_cast<std::size_t>(segment)] = value;
  return true;
}

std::uint64_t read_zero(Core&, std::uint32_t) { return 0; }
bool ignore(Core&, std::uint32_t, std::uint64_t) { return true; }
bool refuse(Core&, std::uint32_t, std::uint64_t) { return false; }

// Registers that keep what is written, and mean nothing here.
std::uint64_t read_kept(Core& core, std::uint32_t msr) { return core.kept_msr(msr); }
bool write_kept(Core& core, std::uint32_t msr, std::uint64_t value) {
  core.keep_msr(msr, value);
  return true;
}

std::uint64_t read_tsc(Core& core, std::uint32_t) { return core.tsc(); }
bool write_tsc(Core& core, std::uint32_t, std::uint64_t value) {
  core.set_tsc(value);
  return true;
}

bool write_tsc_aux(Core& core, std::uint32_t, std::uint64_t value) {
  if (value >> 32 != 0) return false;
  core.sys.tsc_aux = value;
  return true;
}

bool write_sfmask(Core& core, std::uint32_t, std::uint64_t value) {
  core.sys.sfmask = value & 0xffff'ffff;
  return true;
}

std::uint64_t read_efer(Core& core, std::uint32_t) { return core.sys.efer; }
bool write_efer(Core& core, std::uint32_t, std::uint64_t value) { return core.write_efer(value); }

// Eight fields of three bits: APM vol. 2, 7.8. Types 2 and 3 are reserved.
bool write_pat(Core& core, std::uint32_t, std::uint64_t value) {
  for (unsigned field = 0; field < 8; ++field) {
    const auto type = value >> (8 * field) & 0xff;
    if (type > 7 || type == 2 || type == 3) return false;
  }
  core.sys.pat = value;
  return true;
}

// MTRRcap: eight variable ranges, fixed ranges, write-combining. APM vol. 2, 7.7.2.
std::uint64_t read_mtrr_cap(Core&, std::uint32_t) { return 8 | 1u << 8 | 1u << 10; }

// SEV_STATUS: APM vol. 2, 15.34.10.
std::uint64_t read_sev_status(Core& core, std::uint32_t) {
  const EncryptionModel& model = core.config.model.encryption;
  return (model.active_sev ? 1u : 0) | (model.active_sev_es ? 1u << 1 : 0) |
         (model.active_sev_snp ? 1u << 2 : 0);
}

// SYSCFG: MtrrFixDramEn and its like (18 to 22) and SMEE (23). APM vol. 2, 7.9 and 7.10.1.
std::uint64_t read_syscfg(Core& core, std::uint32_t msr) {
  constexpr std::uint64_t smee = 1u << 23;
  const std::uint64_t kept = core.kept_msr(msr) & ~smee;
  return kept | (core.config.model.encryption.smee ? smee : 0);
}

// HWCR: TscFreqSel (24), the TSC counts at the frequency of P0, is read-only. PPR for family 19h (55898),
// MSRC001_0015.
std::uint64_t read_hwcr(Core& core, std::uint32_t msr) {
  constexpr std::uint64_t tsc_freq_sel = 1u << 24;
  return core.kept_msr(msr) | tsc_freq_sel;
}

// The microcode's revision, as family 19h has it.
std::uint64_t read_patch_level(Core&, std::uint32_t) { return 0x0a00'11d1; }

struct Row {
  std::uint32_t first;
  std::uint32_t last;
  Read read;
  Write write;
};

// In ascending order.
constexpr Row rows[] = {
    {0x0000'0010, 0x0000'0010, read_tsc, write_tsc},
    {0x0000'0017, 0x0000'0017, read_zero, refuse},  // platform ID
    {0x0000'008b, 0x0000'008b, read_patch_level, ignore},
    {0x0000'00e7, 0x0000'00e8, read_zero, ignore},  // MPERF, APERF
    {0x0000'00fe, 0x0000'00fe, read_mtrr_cap, refuse},
    {0x0000'0174, 0x0000'0174, read_value<&SystemRegisters::sysenter_cs>,
     write_value<&SystemRegisters::sysenter_cs>},
    {0x0000'0175, 0x0000'0175, read_value<&SystemRegisters::sysenter_esp>,
     write_address<&SystemRegisters::sysenter_esp>},
    {0x0000'0176, 0x0000'0176, read_value<&SystemRegisters::sysenter_eip>,
     write_address<&SystemRegisters::sysenter_eip>},
    {0x0000'0179, 0x0000'0179, read_zero, refuse},      // MCG_CAP: no banks
    {0x0000'017a, 0x0000'017a, read_kept, write_kept},  // MCG_STATUS
    {0x0000'017b, 0x0000'017b, read_kept, write_kept},  // MCG_CTL
    {0x0000'01a0, 0x0000'01a0, read_kept, write_kept},  // MISC_ENABLE, which KVM gives AMD's guests, too
    {0x0000'01d9, 0x0000'01d9, read_kept, write_kept},  // DebugCtl
    {0x0000'01db, 0x0000'01de, read_zero, ignore},      // last branch and exception
    {0x0000'0200, 0x0000'020f, read_kept, write_kept},  // variable MTRRs
    {0x0000'0250, 0x0000'0250, read_kept, write_kept},  // fixed MTRRs
    {0x0000'0258, 0x0000'0259, read_kept, write_kept},
    {0x0000'0268, 0x0000'026f, read_kept, write_kept},
    {0x0000'0277, 0x0000'0277, read_value<&SystemRegisters::pat>, write_pat},
    {0x0000'02ff, 0x0000'02ff, read_kept, write_kept},  // MTRRdefType
    {0xc000'0080, 0xc000'0080, read_efer, write_efer},
    {0xc000'0081, 0xc000'0081, read_value<&SystemRegisters::star>, write_value<&SystemRegisters::star>},
    {0xc000'0082, 0xc000'0082, read_value<&SystemRegisters::lstar>, write_address<&SystemRegisters::lstar>},
    {0xc000'0083, 0xc000'0083, read_value<&SystemRegisters::cstar>, write_address<&SystemRegisters::cstar>},
    {0xc000'0084, 0xc000'0084, read_value<&SystemRegisters::sfmask>, write_sfmask},
    {0xc000'0100, 0xc000'0100, read_segment_base<isa::Segment::fs>, write_segment_base<isa::Segment::fs>},
    {0xc000'0101, 0xc000'0101, read_segment_base<isa::Segment::gs>, write_segment_base<isa::Segment::gs>},
    {0xc000'0102, 0xc000'0102, read_value<&SystemRegisters::kernel_gs_base>,
     write_address<&SystemRegisters::kernel_gs_base>},
    {0xc000'0103, 0xc000'0103, read_value<&SystemRegisters::tsc_aux>, write_tsc_aux},
    {0xc001'0000, 0xc001'0007, read_kept, write_kept},  // performance counters
    {0xc001'0010, 0xc001'0010, read_syscfg, write_kept},
    {0xc001'0015, 0xc001'0015, read_hwcr, write_kept},
    {0xc001'0016, 0xc001'0019, read_kept, write_kept},  // IORRs
    {0xc001'001a, 0xc001'001a, read_kept, write_kept},  // TOP_MEM
    {0xc001'001d, 0xc001'001d, read_kept, write_kept},  // TOP_MEM2
    {0xc001'001f, 0xc001'001f, read_kept, write_kept},  // NB_CFG
    {0xc001'0055, 0xc001'0055, read_zero, ignore},      // interrupt pending message
    {0xc001'0058, 0xc001'0058, read_zero, refuse},      // MMIO configuration base: none
    {0xc001'0114, 0xc001'0114, read_zero, refuse},      // VM_CR
    {0xc001'0131, 0xc001'0131, read_sev_status, refuse},
    {0xc001'0140, 0xc001'0141, read_zero, refuse},      // OSVW: no errata
    {0xc001'0200, 0xc001'020b, read_kept, write_kept},  // performance counters, extended
    {0xc001'1020, 0xc001'1020, read_kept, write_kept},  // LS_CFG
    {0xc001'1022, 0xc001'1023, read_kept, write_kept},  // DC_CFG, BU_CFG
    {0xc001'1028, 0xc001'102d, read_kept, write_kept},  // FP_CFG, DE_CFG and on
};

const Row* find(std::uint32_t msr) {
  for (const Row& row : rows)
    if (msr >= row.first && msr <= row.last) return &row;
  return nullptr;
}

}  // namespace

std::optional<std::uint64_t> Core::read_msr(std::uint32_t msr) {
  if (bus::InterruptSource::owns_msr(msr)) return board.interrupts.read_msr(msr);
  if (const Row* row = find(msr)) return row->read(*this, msr);
  return board.supervisor != nullptr ? board.supervisor->read_msr(self, msr) : std::nullopt;
}

bool Core::write_msr(std::uint32_t msr, std::uint64_t value) {
  if (bus::InterruptSource::owns_msr(msr)) {
    return board.interrupts.write_msr(msr, value);
  }
  if (const Row* row = find(msr)) return row->write(*this, msr, value);
  return board.supervisor != nullptr && board.supervisor->write_msr(self, msr, value);
}

std::uint64_t Core::kept_msr(std::uint32_t msr) const {
  const auto found = kept_msrs_.find(msr);
  return found != kept_msrs_.end() ? found->second : 0;
}

void Core::keep_msr(std::uint32_t msr, std::uint64_t value) { kept_msrs_[msr] = value; }

std::uint64_t Core::tsc() const { return tsc_.at(board.clock.now_ns()); }

void Core::set_tsc(std::uint64_t value) {
  tsc_.set(board.clock.now_ns(), value);
  board.interrupts.set_tsc(tsc_);
}

// splitmix64: the same sequence for the same seed.
std::uint64_t Core::random() {
  random_state_ += 0x9e37'79b9'7f4a'7c15;
  std::uint64_t value = random_state_;
  value = (value ^ value >> 30) * 0xbf58'476d'1ce4'e5b9;
  value = (value ^ value >> 27) * 0x94d0'49bb'1331'11eb;
  return value ^ value >> 31;
}

}  // namespace cbit::cpu
