// System instructions, and those that ask the processor or the machine for something. APM vol. 3, chapter 4;
// exit codes: APM vol. 2, appendix C.
#include "isa/builder.hpp"
#include "isa/parameters.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

void lower_nothing(Builder&, const Instruction&) {}

// Accesses that happen one after the other need none, and hosts order as much as LFENCE and SFENCE do.
void lower_mfence(Builder& b, const Instruction&) {
  if (b.runs_among_others()) b.call(Helper::fence);
}
void lower_undefined(Builder& b, const Instruction&) { b.raise(vector_ud); }

template <Helper helper, std::uint64_t imm = 0>
void lower_call(Builder& b, const Instruction&) {
  b.call(helper, imm);
}

// dst: the register that is written; a: the register that is read.
template <Helper helper, std::uint64_t imm = 0>
void lower_to_register(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  b.call(helper, imm | std::uint64_t{to.bytes} << 8).dst = Builder::slot(to);
}
template <Helper helper, std::uint64_t imm = 0>
void lower_from_register(Builder& b, const Instruction& i) {
  const Operand& from = i.operands[0];
  b.call(helper, imm | std::uint64_t{from.bytes} << 8).a = Builder::slot(from);
}

// A 16-bit selector or status word as the source.
template <Helper helper, std::uint64_t imm = 0>
void lower_from_word(Builder& b, const Instruction& i) {
  const Slot from = b.read(i.operands[0], 2);
  b.call(helper, imm).a = from;
}
// Likewise as the destination: 16 bits in memory, zero-extended in a register.
template <Helper helper, std::uint64_t imm = 0>
void lower_to_word(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Slot value = b.temp();
  b.call(helper, imm).dst = value;
  b.write(to, to.is_memory() ? 2 : to.bytes, value);
}

template <Helper helper, std::uint64_t imm = 0>
void lower_with_address(Builder& b, const Instruction& i) {
  const Operand& memory = i.operands[0];
  const Address at = b.address(memory, 1, AccessKind::read);
  Builder::set_address(b.call(helper, imm | std::uint64_t{i.operand_bytes} << 8), at);
}

template <std::uint64_t which>
void lower_load_access(Builder& b, const Instruction& i) {
  const Slot selector = b.read(i.operands[1], 2);
  Op& op = b.call(Helper::load_access, which | std::uint64_t{i.operands[0].bytes} << 8);
  op.dst = Builder::slot(i.operands[0]);
  op.a = selector;
}

// Memory is written only where there is something to change.
void lower_arpl(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Slot value = to.is_memory() ? b.temp() : Builder::slot(to);
  Address at;
  if (to.is_memory()) {
    at = b.address(to, 2, AccessKind::read);
    b.load(2, value, at);
  }
  Op& op = b.call(Helper::adjust_rpl, Choose<Segment>{to.segment, to.is_memory() ? 2u : 0u}.packed());
  op.dst = value;
  op.a = Builder::slot(i.operands[1]);
  Builder::set_address(op, at);
}

void lower_load_pointer(Builder& b, const Instruction& i, Segment segment) {
  const unsigned bytes = i.operand_bytes;
  const Address at = b.address(i.operands[1], bytes + 2, AccessKind::read);
  Op& op = b.call(Helper::load_pointer, Choose<Segment>{segment, bytes}.packed());
  op.dst = Builder::slot(i.operands[0]);
  Builder::set_address(op, at);
}
template <Segment segment>
void lower_load_pointer_of(Builder& b, const Instruction& i) {
  lower_load_pointer(b, i, segment);
}

void lower_sysret(Builder& b, const Instruction& i) { b.call(Helper::sysret, i.rex_w ? 8 : 4); }

void lower_invpcid(Builder& b, const Instruction& i) {
  const Address at = b.address(i.operands[1], 16, AccessKind::read);
  Op& op = b.call(Helper::invpcid);
  op.a = Builder::slot(i.operands[0]);
  Builder::set_address(op, at);
}

// imm: the operand's size; a: the port.
template <Helper helper>
void lower_port(Builder& b, const Instruction& i) {
  constexpr bool input = helper == Helper::in;
  const Operand& data = i.operands[input ? 0 : 1];
  const Operand& port = i.operands[input ? 1 : 0];
  Slot at = slot_of(Gpr::rdx);
  if (port.kind == OperandKind::immediate) {
    at = b.temp();
    b.move_imm(8, at, static_cast<std::uint64_t>(port.value) & 0xff);
  }
  b.call(helper, data.bytes).a = at;
}

template <SavedState which, Helper helper>
void lower_state(Builder& b, const Instruction& i) {
  const Address at = b.address(i.operands[0], 1, AccessKind::read);
  const unsigned bytes = i.rex_w ? 8 : 4;
  Builder::set_address(b.call(helper, Choose<SavedState>{which, bytes}.packed()), at);
}
template <SavedState which>
constexpr LowerFunction lower_save = lower_state<which, Helper::save_state>;
template <SavedState which>
constexpr LowerFunction lower_restore = lower_state<which, Helper::restore_state>;

template <Table table>
constexpr LowerFunction lower_lgdt =
    lower_with_address<Helper::load_table, static_cast<std::uint64_t>(table)>;
template <Table table>
constexpr LowerFunction lower_sgdt =
    lower_with_address<Helper::store_table, static_cast<std::uint64_t>(table)>;
constexpr std::uint64_t ldt = static_cast<std::uint64_t>(SystemSegment::ldt);
constexpr std::uint64_t tss = static_cast<std::uint64_t>(SystemSegment::tss);

constexpr Row rows[] = {
    // Nothing to see.
    row("nop", lower_nothing).tried(),
    row("pause", lower_call<Helper::spin_wait>).tried().exits(0x77),
    row("lfence", lower_nothing).needs(Feature::sse2).tried(),
    row("mfence", lower_mfence).needs(Feature::sse2).tried(),
    row("sfence", lower_nothing).needs(Feature::sse).tried(),
    row("prefetch", lower_nothing).needs(Feature::prefetchw).tried(),
    row("prefetchw", lower_nothing).needs(Feature::prefetchw).tried(),
    row("prefetchwt1", lower_nothing).needs(Feature::prefetchw),
    row("prefetchnta", lower_nothing).needs(Feature::sse).tried(),
    row("prefetcht0", lower_nothing).needs(Feature::sse).tried(),
    row("prefetcht1", lower_nothing).needs(Feature::sse).tried(),
    row("prefetcht2", lower_nothing).needs(Feature::sse).tried(),
    row("ud0", lower_undefined).tried(),
    row("ud1", lower_undefined).tried(),
    row("ud2", lower_undefined).tried(),

    // The processor's identity, time and chance.
    row("cpuid", lower_call<Helper::cpuid>).exits(0x72),
    row("rdtsc", lower_call<Helper::rdtsc, 0>).exits(0x6e),
    row("rdtscp", lower_call<Helper::rdtsc, 1>).needs(Feature::rdtscp).exits(0x87),
    row("rdpmc", lower_call<Helper::rdpmc>).exits(0x6f),
    row("rdpid", lower_to_register<Helper::rdpid>).needs(Feature::rdpid),
    row("rdrand", lower_to_register<Helper::random, 0>).needs(Feature::rdrand),
    row("rdseed", lower_to_register<Helper::random, 1>).needs(Feature::rdseed),

    // Registers of the system.
    row("rdmsr", lower_call<Helper::rdmsr>).under(Rule::kernel).exits(0x7c),
    row("wrmsr", lower_call<Helper::wrmsr>).under(Rule::kernel).exits(0x7c),
    row("clts", lower_call<Helper::clts>).under(Rule::kernel),
    row("smsw", lower_to_word<Helper::smsw>),
    row("lmsw", lower_from_word<Helper::lmsw>).under(Rule::kernel),
    row("lgdt", lower_lgdt<Table::gdt>).under(Rule::kernel).exits(0x6b),
    row("lidt", lower_lgdt<Table::idt>).under(Rule::kernel).exits(0x6a),
    row("sgdt", lower_sgdt<Table::gdt>).exits(0x67),
    row("sidt", lower_sgdt<Table::idt>).exits(0x66),
    row("lldt", lower_from_word<Helper::load_system, ldt>).under(Rule::kernel | Rule::protected_).exits(0x6c),
    row("ltr", lower_from_word<Helper::load_system, tss>).under(Rule::kernel | Rule::protected_).exits(0x6d),
    row("sldt", lower_to_word<Helper::store_system, ldt>).under(Rule::protected_).exits(0x68),
    row("str", lower_to_word<Helper::store_system, tss>).under(Rule::protected_).exits(0x69),
    row("lar", lower_load_access<0>).under(Rule::protected_),
    row("lsl", lower_load_access<1>).under(Rule::protected_),
    row("verr", lower_from_word<Helper::verify_access, 0>).under(Rule::protected_),
    row("verw", lower_from_word<Helper::verify_access, 1>).under(Rule::protected_),
    row("arpl", lower_arpl).under(Rule::not_64 | Rule::protected_).tried(),
    row("lds", lower_load_pointer_of<Segment::ds>).under(Rule::not_64),
    row("les", lower_load_pointer_of<Segment::es>).under(Rule::not_64),
    row("lss", lower_load_pointer_of<Segment::ss>),
    row("lfs", lower_load_pointer_of<Segment::fs>),
    row("lgs", lower_load_pointer_of<Segment::gs>),
    row("rdfsbase", lower_to_register<Helper::read_base, 4>).needs(Feature::fsgsbase).under(Rule::only_64),
    row("rdgsbase", lower_to_register<Helper::read_base, 5>).needs(Feature::fsgsbase).under(Rule::only_64),
    row("wrfsbase", lower_from_register<Helper::write_base, 4>).needs(Feature::fsgsbase).under(Rule::only_64),
    row("wrgsbase", lower_from_register<Helper::write_base, 5>).needs(Feature::fsgsbase).under(Rule::only_64),
    row("swapgs", lower_call<Helper::swapgs>).needs(Feature::long_mode).under(Rule::only_64 | Rule::kernel),
    row("syscall", lower_call<Helper::syscall>).needs(Feature::syscall),
    row("sysret", lower_sysret).needs(Feature::syscall).under(Rule::kernel),
    row("sysenter", lower_call<Helper::sysenter>).under(Rule::protected_),
    row("sysexit", lower_call<Helper::sysenter, 1>).under(Rule::kernel | Rule::protected_),
    row("stac", lower_call<Helper::access_check, 1>).needs(Feature::smap),
    row("clac", lower_call<Helper::access_check, 0>).needs(Feature::smap),
    row("hlt", lower_call<Helper::halt>).under(Rule::kernel).exits(0x78),

    // Translation and caches.
    row("invlpg", lower_with_address<Helper::invlpg>).under(Rule::kernel).exits(0x79),
    row("invpcid", lower_invpcid).needs(Feature::invpcid).under(Rule::kernel).exits(0xa2),
    row("invd", lower_call<Helper::flush_cache, 0>).under(Rule::kernel).exits(0x76),
    row("wbinvd", lower_call<Helper::flush_cache, 1>).under(Rule::kernel).exits(0x89),
    row("clflush", lower_with_address<Helper::flush_line>).needs(Feature::clflush).tried(),
    row("clflushopt", lower_with_address<Helper::flush_line>).needs(Feature::clflushopt).tried(),
    row("clwb", lower_with_address<Helper::flush_line>).needs(Feature::clwb),
    missing("clzero").needs(Feature::clzero),

    // Ports, the hypervisor, monitors.
    row("in", lower_port<Helper::in>).exits(0x7b),
    row("out", lower_port<Helper::out>).exits(0x7b),
    row("vmmcall", lower_call<Helper::vmmcall, 1>).exits(0x81),
    row("vmcall", lower_undefined),
    missing("monitor").needs(Feature::monitor).under(Rule::kernel).exits(0x8a),
    missing("mwait").needs(Feature::monitor).under(Rule::kernel).exits(0x8b),
    missing("rdpru").needs(Feature::rdpru).exits(0x8e),
    missing("mcommit").needs(Feature::mcommit).exits(0xa3),
    missing("pvalidate").needs(Feature::snp).under(Rule::kernel | Rule::only_64),
    missing("rmpadjust").needs(Feature::snp).under(Rule::kernel | Rule::only_64),
    row("rsm", lower_undefined).exits(0x73),

    // The extended state.
    row("fxsave", lower_save<SavedState::fxsave>).needs(Feature::fxsr).under(Rule::x87),
    row("fxsave64", lower_save<SavedState::fxsave>).needs(Feature::fxsr).under(Rule::x87),
    row("fxrstor", lower_restore<SavedState::fxsave>).needs(Feature::fxsr).under(Rule::x87),
    row("fxrstor64", lower_restore<SavedState::fxsave>).needs(Feature::fxsr).under(Rule::x87),
    row("xsave", lower_save<SavedState::xsave>).needs(Feature::xsave).under(Rule::xsave),
    row("xsave64", lower_save<SavedState::xsave>).needs(Feature::xsave).under(Rule::xsave),
    row("xsaveopt", lower_save<SavedState::xsaveopt>).needs(Feature::xsaveopt).under(Rule::xsave),
    row("xsaveopt64", lower_save<SavedState::xsaveopt>).needs(Feature::xsaveopt).under(Rule::xsave),
    row("xsavec", lower_save<SavedState::xsavec>).needs(Feature::xsavec).under(Rule::xsave),
    row("xsavec64", lower_save<SavedState::xsavec>).needs(Feature::xsavec).under(Rule::xsave),
    row("xrstor", lower_restore<SavedState::xsave>).needs(Feature::xsave).under(Rule::xsave),
    row("xrstor64", lower_restore<SavedState::xsave>).needs(Feature::xsave).under(Rule::xsave),
    missing("xsaves").needs(Feature::xsaves).under(Rule::xsave | Rule::kernel),
    missing("xsaves64").needs(Feature::xsaves).under(Rule::xsave | Rule::kernel),
    missing("xrstors").needs(Feature::xsaves).under(Rule::xsave | Rule::kernel),
    missing("xrstors64").needs(Feature::xsaves).under(Rule::xsave | Rule::kernel),
    row("xgetbv", lower_call<Helper::xgetbv>).needs(Feature::xsave),
    row("xsetbv", lower_call<Helper::xsetbv>).needs(Feature::xsave).exits(0x8d),
};

}  // namespace

std::span<const Row> system_rows() { return rows; }

}  // namespace cbit::isa
