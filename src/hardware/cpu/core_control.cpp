// Modes, and the registers that make them. APM vol. 2, chapters 3, 5 and 14.
#include <algorithm>

#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

constexpr std::uint64_t cr0_known = cr0::protection | cr0::monitor | cr0::emulation | cr0::task_switched |
                                    cr0::extension_type | cr0::numeric_error | cr0::write_protect |
                                    cr0::alignment_mask | cr0::not_write_through | cr0::cache_disable |
                                    cr0::paging;
constexpr std::uint64_t cr3_no_flush = 1ull << 63;  // with CR4.PCIDE
constexpr std::uint64_t pcid_mask = 0xfff;

// Bits that the system keeps of RFLAGS; status flags and DF are kept elsewhere.
constexpr std::uint64_t system_flags =
    rflags::trap | rflags::interrupt | rflags::iopl | rflags::nested | rflags::resume | rflags::virtual_8086 |
    rflags::alignment_check | rflags::virtual_interrupt | rflags::virtual_pending | rflags::identification;

// A segment that needs no checks: base 0, 4 GiB, all that its kind allows.
bool is_flat(const SegmentRegister& segment, bool code) {
  const SegmentAttributes attributes = segment.attributes;
  if (segment.base != 0 || segment.limit != 0xffff'ffff || !attributes.get<SegmentAttributes::Present>())
    return false;
  if (code) return attributes.get<SegmentAttributes::Readable>();
  return !attributes.get<SegmentAttributes::Code>() && attributes.get<SegmentAttributes::Writable>() &&
         !attributes.get<SegmentAttributes::Down>();
}

}  // namespace

bool Core::is_canonical_address(std::uint64_t linear_at) const {
  return !long_mode() || paging::is_canonical(VirtAddr{linear_at}, 4);
}

bool Core::checks_alignment() const {
  return sys.cpl == 3 && (sys.flags & rflags::alignment_check) != 0 && (sys.cr0 & cr0::alignment_mask) != 0;
}

std::uint64_t Core::read_flags() const {
  return sys.flags | flags.image() | (direction ? rflags::direction : 0) | rflags::always_one;
}

void Core::write_flags(std::uint64_t value, std::uint64_t mask) {
  const std::uint64_t merged = (read_flags() & ~mask) | (value & mask);
  const std::uint64_t changed = sys.flags ^ merged;
  flags.set(static_cast<std::uint32_t>(merged));
  direction = (merged & rflags::direction) != 0;
  sys.flags = merged & system_flags;
  if ((changed & rflags::alignment_check) != 0) update_data_set();
  if ((sys.flags & rflags::trap) != 0) kick();
  if ((changed & sys.flags & rflags::interrupt) != 0 && interrupt_pending()) kick();
}

void Core::set_cpl(unsigned cpl) {
  sys.cpl = cpl;
  update_mode();
}

void Core::update_mode() {
  using isa::Mode;
  const SegmentRegister& cs = sys.segments[static_cast<std::size_t>(isa::Segment::cs)];
  const SegmentRegister& ss = sys.segments[static_cast<std::size_t>(isa::Segment::ss)];
  const bool wide = long_mode() && cs.attributes.get<SegmentAttributes::Long>();
  bool flat = protected_mode() && is_flat(cs, true);
  for (const isa::Segment data : {isa::Segment::es, isa::Segment::ss, isa::Segment::ds})
    flat = flat && is_flat(sys.segments[static_cast<std::size_t>(data)], false);
  mode_ = Mode{}
              .with<Mode::Long64>(wide)
              .with<Mode::Code32>(!wide && cs.attributes.get<SegmentAttributes::Big>())
              .with<Mode::Stack32>(!wide && ss.attributes.get<SegmentAttributes::Big>())
              .with<Mode::Segmented>(!wide && !flat)
              .with<Mode::NotKernel>(sys.cpl != 0)
              .with<Mode::TaskSwitched>((sys.cr0 & cr0::task_switched) != 0)
              .with<Mode::Emulation>((sys.cr0 & cr0::emulation) != 0)
              .with<Mode::Monitor>((sys.cr0 & cr0::monitor) != 0)
              .with<Mode::NoOsfxsr>((sys.cr4 & cr4::osfxsr) == 0)
              .with<Mode::NoOsxsave>((sys.cr4 & cr4::osxsave) == 0);
  rip_mask = wide ? ~std::uint64_t{0} : 0xffff'ffff;
  select_jumps();
  update_data_set();
}

void Core::update_data_set() {
  const bool smap_open = !memory.registers().smap || (sys.flags & rflags::alignment_check) != 0;
  data_set_ = sys.cpl == 3 ? TlbSet::user : smap_open ? TlbSet::kernel_open : TlbSet::kernel;
  const bool closed = checks_alignment() || (sys.dr7 & 0xff) != 0 || !watches_.empty();
  tlb = memory.tlb().entries(closed ? TlbSet::closed : data_set_);
}

void Core::select_jumps() {
  JumpCache& cache = jump_caches_[sys.cpl != 0 ? 1 : 0];
  if (!(cache.mode() == mode_)) cache.begin(mode_);
  jumps = cache.entries();
}

void Core::forget_jumps() {
  for (JumpCache& cache : jump_caches_) cache.forget();
}

void Core::remember_jump(const JumpEntry& entry, const CodeTlb::Entry& page, const CodeTlb::Entry& second) {
  JumpCache& cache = jump_caches_[sys.cpl != 0 ? 1 : 0];
  const bool crosses = entry.block->crosses;
  cache.remember(entry, {page.level, page.global && (!crosses || second.global), crosses, second.level});
}

void Core::update_paging() {
  memory.set_registers({.paging = (sys.cr0 & cr0::paging) != 0,
                        .write_protect = (sys.cr0 & cr0::write_protect) != 0,
                        .long_mode = long_mode(),
                        .pae = (sys.cr4 & cr4::physical_address_extension) != 0,
                        .page_size = (sys.cr4 & cr4::page_size_extensions) != 0,
                        .no_execute = (sys.efer & efer::no_execute) != 0,
                        .smep = (sys.cr4 & cr4::smep) != 0,
                        .smap = (sys.cr4 & cr4::smap) != 0,
                        .global = (sys.cr4 & cr4::page_global) != 0,
                        .cr3 = sys.cr3});
}

void Core::flush_translations(bool global_too) {
  if (global_too) {
    memory.flush_all();
    forget_jumps();
    return;
  }
  memory.flush_non_global();
  for (JumpCache& cache : jump_caches_) cache.forget_non_global();
}

void Core::flush_page(std::uint64_t linear_at) {
  memory.flush_page(linear_at);
  for (JumpCache& cache : jump_caches_) cache.forget_page(linear_at);
}

// APM vol. 2, 3.1.1 and 14.6.
bool Core::write_cr0(std::uint64_t value) {
  if ((value >> 32) != 0) return false;
  value = (value & cr0_known) | cr0::extension_type;
  const bool paging = (value & cr0::paging) != 0;
  if (paging && (value & cr0::protection) == 0) return false;
  if ((value & cr0::not_write_through) != 0 && (value & cr0::cache_disable) == 0) return false;
  const bool enters = paging && (sys.cr0 & cr0::paging) == 0;
  if (enters && (sys.efer & efer::long_mode_enable) != 0) {
    const SegmentRegister& cs = sys.segments[static_cast<std::size_t>(isa::Segment::cs)];
    if ((sys.cr4 & cr4::physical_address_extension) == 0) return false;
    if (cs.attributes.get<SegmentAttributes::Long>()) return false;
    sys.efer |= efer::long_mode_active;
  }
  if (!paging) {
    if (mode_.is_64()) return false;
    if ((sys.cr4 & cr4::process_context) != 0) return false;
    sys.efer &= ~efer::long_mode_active;
  }
  const std::uint64_t changed = sys.cr0 ^ value;
  sys.cr0 = value;
  update_paging();
  if ((changed & (cr0::paging | cr0::write_protect | cr0::protection)) != 0) flush_translations(true);
  update_mode();
  return true;
}

// With PCIDE, bit 63 asks to keep translations; dropping them is allowed.
bool Core::write_cr3(std::uint64_t value) {
  const bool keeps = (value & cr3_no_flush) != 0 && (sys.cr4 & cr4::process_context) != 0;
  if (keeps) value &= ~cr3_no_flush;
  if (long_mode() && (value & ~bit_mask(config.model.phys_bits) & ~config.view.layout.mask()) != 0)
    return false;
  sys.cr3 = value;
  update_paging();
  flush_translations(false);
  return true;
}

bool Core::write_cr4(std::uint64_t value) {
  std::uint64_t known = cr4::virtual_8086_extensions | cr4::protected_virtual_interrupts |
                        cr4::time_stamp_disable | cr4::debugging_extensions | cr4::page_size_extensions |
                        cr4::physical_address_extension | cr4::machine_check | cr4::page_global |
                        cr4::performance_counters | cr4::osfxsr | cr4::osxmmexcpt;
  const isa::FeatureSet& features = config.model.features;
  if (features.has(isa::Feature::fsgsbase)) known |= cr4::fsgsbase;
  if (features.has(isa::Feature::xsave)) known |= cr4::osxsave;
  if (features.has(isa::Feature::smep)) known |= cr4::smep;
  if (features.has(isa::Feature::smap)) known |= cr4::smap;
  if (config.model.pcid) known |= cr4::process_context;
  if ((value & ~known) != 0) return false;
  const std::uint64_t changed = sys.cr4 ^ value;
  if (long_mode() && (value & cr4::physical_address_extension) == 0) return false;
  if ((changed & value & cr4::process_context) != 0 && (!long_mode() || (sys.cr3 & pcid_mask) != 0))
    return false;
  sys.cr4 = value;
  update_paging();
  constexpr std::uint64_t translating = cr4::page_size_extensions | cr4::physical_address_extension |
                                        cr4::page_global | cr4::process_context | cr4::smep | cr4::smap;
  if ((changed & translating) != 0) flush_translations(true);
  update_mode();
  return true;
}

// APM vol. 2, 3.1.7. LMA is the processor's own.
bool Core::write_efer(std::uint64_t value) {
  constexpr std::uint64_t known = efer::syscall | efer::long_mode_enable | efer::long_mode_active |
                                  efer::no_execute | efer::fast_fxsave | efer::automatic_ibrs;
  if ((value & ~known) != 0) return false;
  const std::uint64_t changed = sys.efer ^ value;
  if ((changed & efer::long_mode_enable) != 0 && (sys.cr0 & cr0::paging) != 0) return false;
  sys.efer = (value & ~efer::long_mode_active) | (sys.efer & efer::long_mode_active);
  update_paging();
  if ((changed & efer::no_execute) != 0) flush_translations(true);
  update_mode();
  return true;
}

}  // namespace cbit::cpu
