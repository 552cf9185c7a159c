// Helpers of system instructions. APM vol. 3, chapter 4; vol. 2, chapter 3.
#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::Choose;
using isa::Gpr;
using isa::Segment;

unsigned iopl_of(const Core& core) { return static_cast<unsigned>((core.sys.flags & rflags::iopl) >> 12); }

// What POPF may change: APM vol. 3, POPF.
std::uint64_t changeable_flags(const Core& core, unsigned bytes) {
  std::uint64_t mask = isa::status_flags | rflags::trap | rflags::direction | rflags::nested;
  if (bytes != 2) mask |= rflags::alignment_check | rflags::identification | rflags::resume;
  if (core.sys.cpl <= iopl_of(core)) mask |= rflags::interrupt;
  if (core.sys.cpl == 0) mask |= rflags::iopl;
  return mask;
}

constexpr unsigned general_detect = 13;           // DR7.GD
constexpr std::uint64_t dr6_fixed = 0xffff'0ff0;  // bits that read as ones: APM vol. 2, 13.1.1.3
constexpr std::uint64_t dr6_writable = 0xe00f;
constexpr std::uint64_t dr7_fixed = 0x400;
constexpr std::uint64_t dr7_writable = 0xffff'23ff;
constexpr std::uint64_t dr6_debug_access = 1 << 13;

}  // namespace

Outcome missing(Core& core, const isa::Op& op) {
  if (core.board.supervisor != nullptr)
    core.board.supervisor->missing_instruction(core.self,
                                               isa::mnemonic_name(static_cast<std::uint16_t>(op.imm)));
  return core.raise(vector::ud);
}

Outcome probe(Core& core, const isa::Op& op) { return core.take_probe(op); }

Outcome check_segment(Core& core, const isa::Op& op) {
  const auto which = static_cast<Segment>(op.imm & 0xff);
  const auto bytes = static_cast<unsigned>(op.imm >> 8 & 0xff);
  const auto offset = static_cast<std::uint32_t>(get<std::uint64_t>(core, op.a));
  return core.check_limit(which, offset, bytes, (op.imm >> 16 & 1) != 0) ? Outcome::next : Outcome::fault;
}

Outcome spin_wait(Core& core, const isa::Op&) {
  if (core.board.supervisor != nullptr) core.board.supervisor->spin_wait(core.self);
  return Outcome::next;
}

Outcome halt(Core& core, const isa::Op& op) {
  const Outcome left = core.leave_behind(op);
  core.halt();
  return left;
}

// CLI and STI: CPL against IOPL; the virtual interrupt flags of CR4.VME and PVI are not modelled.
Outcome clear_interrupt(Core& core, const isa::Op&) {
  if (core.sys.cpl > iopl_of(core)) return core.raise(vector::gp, 0);
  core.sys.flags &= ~rflags::interrupt;
  return Outcome::next;
}

Outcome set_interrupt(Core& core, const isa::Op& op) {
  if (core.sys.cpl > iopl_of(core)) return core.raise(vector::gp, 0);
  if ((core.sys.flags & rflags::interrupt) == 0) {
    core.sys.flags |= rflags::interrupt;
    core.shadow_interrupts(op);
  }
  return Outcome::next;
}

Outcome push_flags(Core& core, const isa::Op& op) {
  put<std::uint64_t>(core, op.dst, core.read_flags() & ~(rflags::resume | rflags::virtual_8086));
  return Outcome::next;
}

Outcome pop_flags(Core& core, const isa::Op& op) {
  const auto bytes = static_cast<unsigned>(op.imm);
  std::uint64_t value = get_sized(core, op.a, bytes);
  // RF is cleared, whatever the image has.
  value &= ~rflags::resume;
  core.write_flags(value, changeable_flags(core, bytes));
  return Outcome::next;
}

// imm: the register, and the bytes of a POP, or 0.
Outcome load_segment(Core& core, const isa::Op& op) {
  const auto which = static_cast<Segment>(op.imm & 0xff);
  if (which == Segment::cs) return core.raise(vector::ud);
  const auto selector = get<std::uint16_t>(core, op.a);
  if (!core.load_data_segment(which, selector)) return Outcome::fault;
  const auto popped = op.imm >> 8 & 0xff;
  if (popped != 0) {
    const unsigned stack_bytes = core.mode().stack_bytes();
    put_sized(core, isa::slot_of(Gpr::rsp), stack_bytes, gpr(core, Gpr::rsp) + popped);
  }
  if (which == Segment::ss) core.shadow_traps(op);
  if (core.mode().is_64()) return Outcome::next;
  const Outcome left = core.leave_behind(op);
  core.update_mode();
  return left;
}

Outcome store_segment(Core& core, const isa::Op& op) {
  put<std::uint64_t>(core, op.dst, core.segment(static_cast<Segment>(op.imm)).selector);
  return Outcome::next;
}

Outcome load_pointer(Core& core, const isa::Op& op) {
  const auto with = Choose<Segment>::unpacked(op.imm);
  const std::uint64_t at = address_of(core, &op);
  std::uint64_t offset = 0;
  std::uint16_t selector = 0;
  if (!core.read(core.data_set(), at, &offset, with.bytes, op.stack_fault) ||
      !core.read(core.data_set(), at + with.bytes, &selector, sizeof selector, op.stack_fault))
    return Outcome::fault;
  if (!core.load_data_segment(with.choice, selector)) return Outcome::fault;
  put_sized(core, op.dst, with.bytes, offset);
  const Outcome left = core.leave_behind(op);
  core.update_mode();
  return left;
}

// Segment bases from user space: APM vol. 3, RDFSBASE.
Outcome read_base(Core& core, const isa::Op& op) {
  if ((core.sys.cr4 & cr4::fsgsbase) == 0) return core.raise(vector::ud);
  const auto bytes = static_cast<unsigned>(op.imm >> 8);
  put_sized(core, op.dst, bytes, core.regs.segment_base[op.imm & 0xff]);
  return Outcome::next;
}

Outcome write_base(Core& core, const isa::Op& op) {
  if ((core.sys.cr4 & cr4::fsgsbase) == 0) return core.raise(vector::ud);
  const auto bytes = static_cast<unsigned>(op.imm >> 8);
  const std::uint64_t value = get_sized(core, op.a, bytes);
  if (!core.is_canonical_address(value)) return core.raise(vector::gp, 0);
  core.regs.segment_base[op.imm & 0xff] = value;
  return Outcome::next;
}

Outcome swapgs(Core& core, const isa::Op&) {
  std::swap(core.regs.segment_base[static_cast<std::size_t>(Segment::gs)], core.sys.kernel_gs_base);
  return Outcome::next;
}

// It serializes, and so orders accesses, too: APM vol. 1, 3.9.2 (Forcing Memory Order). What runs alone does
// so by itself.
Outcome cpuid(Core& core, const isa::Op&) {
  core.order_accesses();
  const auto result = core.cpuid(static_cast<std::uint32_t>(gpr(core, Gpr::rax)),
                                 static_cast<std::uint32_t>(gpr(core, Gpr::rcx)));
  gpr(core, Gpr::rax) = result[0];
  gpr(core, Gpr::rbx) = result[1];
  gpr(core, Gpr::rcx) = result[2];
  gpr(core, Gpr::rdx) = result[3];
  return Outcome::next;
}

// imm = 1: RDTSCP, which also tells TSC_AUX.
Outcome rdtsc(Core& core, const isa::Op& op) {
  if ((core.sys.cr4 & cr4::time_stamp_disable) != 0 && core.sys.cpl != 0) return core.raise(vector::gp, 0);
  core.sync_clock(op);
  put_pair_32(core, core.tsc());
  if ((op.imm & 0xff) == 1) gpr(core, Gpr::rcx) = core.sys.tsc_aux & 0xffff'ffff;
  return Outcome::next;
}

// Counters read as zero; there are six.
Outcome rdpmc(Core& core, const isa::Op&) {
  if ((core.sys.cr4 & cr4::performance_counters) == 0 && core.sys.cpl != 0) return core.raise(vector::gp, 0);
  if (static_cast<std::uint32_t>(gpr(core, Gpr::rcx)) > 5) return core.raise(vector::gp, 0);
  put_pair_32(core, 0);
  return Outcome::next;
}

Outcome rdpid(Core& core, const isa::Op& op) {
  put<std::uint64_t>(core, op.dst, core.sys.tsc_aux);
  return Outcome::next;
}

Outcome rdmsr(Core& core, const isa::Op& op) {
  core.sync_clock(op);
  const auto value = core.read_msr(static_cast<std::uint32_t>(gpr(core, Gpr::rcx)));
  if (!value) return core.raise(vector::gp, 0);
  put_pair_32(core, *value);
  return Outcome::next;
}

Outcome wrmsr(Core& core, const isa::Op& op) {
  core.sync_clock(op);
  if (!core.write_msr(static_cast<std::uint32_t>(gpr(core, Gpr::rcx)), get_pair_32(core)))
    return core.raise(vector::gp, 0);
  core.after_device();
  return core.leave_behind(op);
}

Outcome read_control(Core& core, const isa::Op& op) {
  std::uint64_t value = 0;
  switch (op.imm) {
    case 0: value = core.sys.cr0; break;
    case 2: value = core.sys.cr2; break;
    case 3: value = core.sys.cr3; break;
    case 4: value = core.sys.cr4; break;
    case 8: value = core.board.interrupts.cr8(); break;
    default: return core.raise(vector::ud);
  }
  put_sized(core, op.dst, core.mode().is_64() ? 8 : 4, value);
  return Outcome::next;
}

Outcome write_control(Core& core, const isa::Op& op) {
  const std::uint64_t value = get_sized(core, op.a, core.mode().is_64() ? 8 : 4);
  bool ok = true;
  const std::uint64_t next = core.next_rip(op);
  switch (op.imm) {
    case 0: ok = core.write_cr0(value); break;
    case 2: core.sys.cr2 = value; break;
    case 3: ok = core.write_cr3(value); break;
    case 4: ok = core.write_cr4(value); break;
    case 8:
      ok = value < 16;
      core.sync_clock(op);
      if (ok) core.board.interrupts.set_cr8(static_cast<std::uint8_t>(value));
      break;
    default: return core.raise(vector::ud);
  }
  if (!ok) return core.raise(vector::gp, 0);
  return core.leave_to(op, next);
}

Outcome clts(Core& core, const isa::Op& op) {
  core.sys.cr0 &= ~cr0::task_switched;
  const Outcome left = core.leave_behind(op);
  core.update_mode();
  return left;
}

Outcome smsw(Core& core, const isa::Op& op) {
  put<std::uint64_t>(core, op.dst, core.sys.cr0);
  return Outcome::next;
}

// PE, MP, EM and TS; PE can be set, but not cleared.
Outcome lmsw(Core& core, const isa::Op& op) {
  const std::uint64_t value = get<std::uint16_t>(core, op.a);
  const std::uint64_t mask = cr0::protection | cr0::monitor | cr0::emulation | cr0::task_switched;
  const std::uint64_t kept = core.sys.cr0 & ~(mask & ~cr0::protection);
  if (!core.write_cr0(kept | (value & mask))) return core.raise(vector::gp, 0);
  return core.leave_behind(op);
}

Outcome read_debug(Core& core, const isa::Op& op) {
  if ((core.sys.dr7 >> general_detect & 1) != 0) {
    core.report_in_dr6(dr6_debug_access);
    return core.raise(vector::db);
  }
  unsigned number = static_cast<unsigned>(op.imm);
  if (number == 4 || number == 5) {
    if ((core.sys.cr4 & cr4::debugging_extensions) != 0) return core.raise(vector::ud);
    number += 2;
  }
  if (number > 7) return core.raise(vector::ud);
  const std::uint64_t value = number < 4    ? core.sys.breakpoints[number]
                              : number == 6 ? core.sys.dr6 | dr6_fixed
                                            : core.sys.dr7 | dr7_fixed;
  put_sized(core, op.dst, core.mode().is_64() ? 8 : 4, value);
  return Outcome::next;
}

Outcome write_debug(Core& core, const isa::Op& op) {
  if ((core.sys.dr7 >> general_detect & 1) != 0) {
    core.report_in_dr6(dr6_debug_access);
    return core.raise(vector::db);
  }
  unsigned number = static_cast<unsigned>(op.imm);
  const std::uint64_t value = get_sized(core, op.a, core.mode().is_64() ? 8 : 4);
  if (number == 4 || number == 5) {
    if ((core.sys.cr4 & cr4::debugging_extensions) != 0) return core.raise(vector::ud);
    number += 2;
  }
  if (number > 7) return core.raise(vector::ud);
  if (number > 5 && value >> 32 != 0) return core.raise(vector::gp, 0);
  if (number < 4) core.sys.breakpoints[number] = value;
  if (number == 6) core.sys.dr6 = value & dr6_writable;
  if (number == 7) core.sys.dr7 = value & dr7_writable;
  const Outcome left = core.leave_behind(op);
  core.update_mode();
  core.kick();
  return left;
}

// LGDT, LIDT: a limit of 16 bits, and a base of 64, 32 or 24.
Outcome load_table(Core& core, const isa::Op& op) {
  const auto with = Choose<isa::Table>::unpacked(op.imm);
  const bool wide = core.mode().is_64();
  const std::uint64_t at = address_of(core, &op);
  core.order_accesses();
  TableRegister value;
  if (!core.read(core.data_set(), at, &value.limit, 2, op.stack_fault) ||
      !core.read(core.data_set(), at + 2, &value.base, wide ? 8 : 4, op.stack_fault))
    return Outcome::fault;
  if (!wide && with.bytes == 2) value.base &= 0xff'ffff;
  if (wide && !core.is_canonical_address(value.base)) return core.raise(vector::gp, 0);
  (with.choice == isa::Table::gdt ? core.sys.gdtr : core.sys.idtr) = value;
  return core.leave_behind(op);
}

Outcome store_table(Core& core, const isa::Op& op) {
  const auto with = Choose<isa::Table>::unpacked(op.imm);
  const TableRegister& value = with.choice == isa::Table::gdt ? core.sys.gdtr : core.sys.idtr;
  const unsigned base_bytes = core.mode().is_64() ? 8 : 4;
  std::array<std::byte, 10> raw{};
  std::memcpy(raw.data(), &value.limit, 2);
  std::memcpy(raw.data() + 2, &value.base, base_bytes);
  return core.write(core.data_set(), address_of(core, &op), raw.data(), 2 + base_bytes, op.stack_fault)
             ? Outcome::next
             : Outcome::fault;
}

Outcome load_system(Core& core, const isa::Op& op) {
  if (!core.protected_mode()) return core.raise(vector::ud);
  const auto selector = get<std::uint16_t>(core, op.a);
  const bool ldt = static_cast<isa::SystemSegment>(op.imm & 0xff) == isa::SystemSegment::ldt;
  if (!(ldt ? core.load_ldt(selector) : core.load_task(selector))) return Outcome::fault;
  return core.leave_behind(op);
}

Outcome store_system(Core& core, const isa::Op& op) {
  if (!core.protected_mode()) return core.raise(vector::ud);
  const bool ldt = static_cast<isa::SystemSegment>(op.imm & 0xff) == isa::SystemSegment::ldt;
  put<std::uint64_t>(core, op.dst, (ldt ? core.sys.ldtr : core.sys.tr).selector);
  return Outcome::next;
}

namespace {

// Whether a program may see the descriptor: APM vol. 3, LAR. Types of system segments by their numbers.
bool is_visible(const Core& core, const Descriptor& descriptor, std::uint32_t system_types) {
  const SegmentAttributes attributes = descriptor.attributes;
  const unsigned dpl = attributes.get<SegmentAttributes::Dpl>();
  const bool memory = attributes.get<SegmentAttributes::Memory>();
  if (!memory && (system_types >> attributes.get<SegmentAttributes::Type>() & 1) == 0) return false;
  if (memory && attributes.get<SegmentAttributes::Code>() && attributes.get<SegmentAttributes::Conforming>())
    return true;
  return dpl >= core.sys.cpl && dpl >= (descriptor.selector & 3u);
}

void set_zero_flag(Core& core, bool zero) {
  core.flags.set((core.flags.image() & ~isa::flag_zf) | (zero ? isa::flag_zf : 0));
}

// LDT, available and busy TSS; LAR also sees call gates (and, outside of long mode, the 16-bit kinds and task
// gates).
constexpr std::uint32_t lsl_types_long = 1u << 2 | 1u << 9 | 1u << 11;
constexpr std::uint32_t lar_types_long = lsl_types_long | 1u << 12;
constexpr std::uint32_t lsl_types_legacy = lsl_types_long | 1u << 1 | 1u << 3;
constexpr std::uint32_t lar_types_legacy = lsl_types_legacy | 1u << 4 | 1u << 5 | 1u << 12;

}  // namespace

Outcome load_access(Core& core, const isa::Op& op) {
  if (!core.protected_mode()) return core.raise(vector::ud);
  const bool limit = (op.imm & 0xff) == 1;
  const auto bytes = static_cast<unsigned>(op.imm >> 8);
  std::optional<Descriptor> descriptor;
  if (!core.look_up(get<std::uint16_t>(core, op.a), descriptor)) return Outcome::fault;
  const std::uint32_t types = core.long_mode() ? (limit ? lsl_types_long : lar_types_long)
                                               : (limit ? lsl_types_legacy : lar_types_legacy);
  const bool visible = descriptor && is_visible(core, *descriptor, types);
  set_zero_flag(core, visible);
  if (visible) {
    const std::uint64_t access = descriptor->raw >> 32 & 0x00ff'ff00;
    put_sized(core, op.dst, bytes, limit ? descriptor->limit : access);
  }
  return Outcome::next;
}

Outcome verify_access(Core& core, const isa::Op& op) {
  if (!core.protected_mode()) return core.raise(vector::ud);
  std::optional<Descriptor> descriptor;
  if (!core.look_up(get<std::uint16_t>(core, op.a), descriptor)) return Outcome::fault;
  bool allowed = false;
  if (descriptor && descriptor->attributes.get<SegmentAttributes::Memory>() &&
      is_visible(core, *descriptor, 0)) {
    const bool code = descriptor->attributes.get<SegmentAttributes::Code>();
    const bool second_bit = descriptor->attributes.get<SegmentAttributes::Writable>();
    allowed = (op.imm & 0xff) == 1 ? !code && second_bit : !code || second_bit;
  }
  set_zero_flag(core, allowed);
  return Outcome::next;
}

Outcome adjust_rpl(Core& core, const isa::Op& op) {
  const auto target = get<std::uint16_t>(core, op.dst);
  const unsigned rpl = get<std::uint16_t>(core, op.a) & 3;
  const bool raises = (target & 3u) < rpl;
  const auto raised = static_cast<std::uint16_t>((target & ~3u) | rpl);
  if (const auto memory = Choose<Segment>::unpacked(op.imm); raises && memory.bytes != 0) {
    const SegmentAttributes attributes = core.segment(memory.choice).attributes;
    if (attributes.get<SegmentAttributes::Code>() || !attributes.get<SegmentAttributes::Writable>())
      return core.raise(vector::gp, 0);
    if (!core.write(core.data_set(), address_of(core, &op), &raised, sizeof raised, op.stack_fault))
      return Outcome::fault;
  } else if (raises) {
    put(core, op.dst, raised);
  }
  set_zero_flag(core, raises);
  return Outcome::next;
}

Outcome invlpg(Core& core, const isa::Op& op) {
  core.order_accesses();
  const std::uint64_t at = address_of(core, &op);
  if (core.is_canonical_address(at)) core.flush_page(at);
  return core.leave_behind(op);
}

// APM vol. 3, INVPCID. Translations are not told apart by their PCID, so more go than need to.
Outcome invpcid(Core& core, const isa::Op& op) {
  std::array<std::uint64_t, 2> descriptor{};
  if (!core.read(core.data_set(), address_of(core, &op), descriptor.data(), sizeof descriptor,
                 op.stack_fault))
    return Outcome::fault;
  const std::uint64_t type = get_sized(core, op.a, core.mode().is_64() ? 8 : 4);
  const bool uses_pcid = type < 2;
  if (type > 3 || (uses_pcid && descriptor[0] >> 12 != 0)) return core.raise(vector::gp, 0);
  if (uses_pcid && descriptor[0] != 0 && (core.sys.cr4 & cr4::process_context) == 0)
    return core.raise(vector::gp, 0);
  if (type == 0) {
    if (!core.is_canonical_address(descriptor[1])) return core.raise(vector::gp, 0);
    core.flush_page(descriptor[1]);
  } else {
    core.flush_translations(type == 2);
  }
  return core.leave_behind(op);
}

Outcome flush_cache(Core& core, const isa::Op& op) {
  core.sync_clock(op);
  if (core.board.supervisor != nullptr) core.board.supervisor->flush_caches(core.self);
  return core.leave_behind(op);
}

// CLFLUSH is checked as a load of a byte.
Outcome flush_line(Core& core, const isa::Op& op) {
  const std::uint64_t at = address_of(core, &op);
  const auto page = core.memory.page_for(core.data_set(), at, false);
  if (!page) {
    core.raise_memory_fault(page.error(), op.stack_fault);
    return Outcome::fault;
  }
  if (core.board.supervisor != nullptr)
    core.board.supervisor->flush_line(core.self, (*page)->page + (at & ~page_mask));
  return Outcome::next;
}

// STAC and CLAC.
Outcome access_check(Core& core, const isa::Op& op) {
  if (core.sys.cpl != 0) return core.raise(vector::ud);
  core.sys.flags =
      (core.sys.flags & ~rflags::alignment_check) | ((op.imm & 0xff) != 0 ? rflags::alignment_check : 0);
  core.update_data_set();
  return Outcome::next;
}

Outcome in(Core& core, const isa::Op& op) {
  const auto port = get<std::uint16_t>(core, op.a);
  const auto bytes = static_cast<unsigned>(op.imm);
  if (!core.may_use_port(port, bytes)) return Outcome::fault;
  put_sized(core, isa::slot_of(Gpr::rax), bytes, core.read_port(op, port, bytes));
  return Outcome::next;
}

Outcome out(Core& core, const isa::Op& op) {
  const auto port = get<std::uint16_t>(core, op.a);
  const auto bytes = static_cast<unsigned>(op.imm);
  if (!core.may_use_port(port, bytes)) return Outcome::fault;
  core.write_port(op, port, bytes, static_cast<std::uint32_t>(gpr(core, Gpr::rax) & mask_of(bytes)));
  return Outcome::next;
}

// RDRAND and RDSEED always deliver.
Outcome random(Core& core, const isa::Op& op) {
  put_sized(core, op.dst, static_cast<unsigned>(op.imm >> 8), core.random());
  core.flags.set(isa::flag_cf);
  return Outcome::next;
}

Outcome vmmcall(Core& core, const isa::Op& op) {
  core.sync_clock(op);
  const std::uint64_t next = core.next_rip(op);
  core.rip = core.rip_of(op);
  if (core.board.supervisor == nullptr || !core.board.supervisor->vmmcall(core.self))
    return core.raise(vector::ud);
  core.after_device();
  return core.leave_to(op, next);
}

Outcome xgetbv(Core& core, const isa::Op&) {
  if ((core.sys.cr4 & cr4::osxsave) == 0) return core.raise(vector::ud);
  const auto number = static_cast<std::uint32_t>(gpr(core, Gpr::rcx));
  const bool in_use = number == 1 && core.config.model.features.has(isa::Feature::xgetbv1);
  if (number != 0 && !in_use) return core.raise(vector::gp, 0);
  put_pair_32(core, core.sys.xcr0);
  return Outcome::next;
}

// XCR0: x87 always, SSE if one likes. APM vol. 2, 11.5.2.
Outcome xsetbv(Core& core, const isa::Op& op) {
  if ((core.sys.cr4 & cr4::osxsave) == 0) return core.raise(vector::ud);
  const std::uint64_t value = get_pair_32(core);
  if (core.sys.cpl != 0 || static_cast<std::uint32_t>(gpr(core, Gpr::rcx)) != 0 || (value & 1) == 0 ||
      value > 3)
    return core.raise(vector::gp, 0);
  core.sys.xcr0 = value;
  return core.leave_behind(op);
}

}  // namespace cbit::cpu::helpers
