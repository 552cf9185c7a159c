// Exceptions and interrupts: how they are raised, and how they reach their handlers.
//
// APM vol. 2, chapter 8; 8.7 (protected mode), 8.9 (long mode), 8.2.9 (double fault).
#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

constexpr std::size_t deliveries_max = 16;

// Error codes of what goes wrong with a selector: APM vol. 2, 8.4.1.
constexpr std::uint32_t error_external = 1 << 0;
constexpr std::uint32_t error_idt = 1 << 1;

std::uint32_t external_bit(const Event& event) {
  return event.kind == EventKind::software ? 0 : error_external;
}
std::uint32_t idt_error(const Event& event) { return event.vector * 8u | error_idt | external_bit(event); }

enum class Severity : std::uint8_t { benign, contributory, page_fault, double_fault };

Severity severity_of(const Event& event) {
  if (event.kind != EventKind::exception) return Severity::benign;
  switch (event.vector) {
    case vector::de:
    case vector::ts:
    case vector::np:
    case vector::ss:
    case vector::gp: return Severity::contributory;
    case vector::pf: return Severity::page_fault;
    case vector::df: return Severity::double_fault;
    default: return Severity::benign;
  }
}

// Gates. Offsets and fields: APM vol. 2, 4.7.4 and 4.8.4.
constexpr unsigned interrupt_gate_32 = 0xe;
constexpr unsigned trap_gate_32 = 0xf;
constexpr unsigned interrupt_gate_16 = 0x6;
constexpr unsigned trap_gate_16 = 0x7;
// In long mode the types of 32 bits mean 64 bits.
constexpr unsigned interrupt_gate_64 = interrupt_gate_32;
constexpr unsigned trap_gate_64 = trap_gate_32;

unsigned type_of_gate(std::uint64_t gate) { return static_cast<unsigned>(gate >> 40 & 0x1f); }
unsigned dpl_of_gate(std::uint64_t gate) { return static_cast<unsigned>(gate >> 45 & 3); }
bool is_present_gate(std::uint64_t gate) { return (gate >> 47 & 1) != 0; }
std::uint16_t selector_of_gate(std::uint64_t gate) { return static_cast<std::uint16_t>(gate >> 16); }
std::uint64_t offset_of_gate(std::uint64_t gate) { return (gate & 0xffff) | (gate >> 32 & 0xffff'0000); }

}  // namespace

Outcome Core::raise(std::uint8_t vector) {
  leave = Leave::fault;
  pending_ = {.vector = vector, .resume = vector != vector::db};
  return Outcome::fault;
}

Outcome Core::raise(std::uint8_t vector, std::uint32_t error) {
  leave = Leave::fault;
  pending_ = {.vector = vector, .has_error = true, .resume = true, .error = error};
  return Outcome::fault;
}

void Core::raise_memory_fault(const MemoryFault& fault, bool stack) {
  if (!fault.canonical) {
    (void)raise(stack ? vector::ss : vector::gp, 0);
    return;
  }
  (void)raise(vector::pf, fault.error);
  pending_.address = fault.address;
}

void Core::deliver_pending() { deliver(pending_); }

void Core::note_delivery(const Event& event) {
  if (deliveries_.size() == deliveries_max) deliveries_.pop_front();
  deliveries_.push_back({.instructions = instructions(),
                         .rip = rip,
                         .cr2 = event.vector == vector::pf ? event.address : 0,
                         .error = event.error,
                         .vector = event.vector,
                         .external = event.kind == EventKind::external});
}

// Not those that belong to an instruction that counts: traps, and what its delivery becomes.
void Core::count_delivery(const Event& event) {
  const bool is_trap = event.vector == vector::db || event.vector == vector::bp || event.vector == vector::of;
  if (event.kind != EventKind::external && is_trap) return;
  ++delivered_count_;
  if (position() >= pause_at_) kick();
}

// What a fault during the delivery of another event becomes; nullopt: shutdown. APM vol. 2, table 8-5.
std::optional<Event> Core::combined(const Event& first, const Event& second) const {
  const Severity before = severity_of(first);
  const Severity now = severity_of(second);
  if (before == Severity::double_fault && now != Severity::benign) return std::nullopt;
  const bool doubles =
      (before == Severity::contributory && now == Severity::contributory) ||
      (before == Severity::page_fault && (now == Severity::contributory || now == Severity::page_fault));
  if (doubles) return Event{.vector = vector::df, .has_error = true};
  return second;
}

void Core::deliver(const Event& event) {
  Event current = event;
  leave_block();
  count_delivery(event);
  delivered_ = true;
  for (;;) {
    note_delivery(current);
    if (current.vector == vector::pf && current.kind == EventKind::exception) sys.cr2 = current.address;
    if (try_deliver(current)) return;
    const auto next = combined(current, pending_);
    if (!next) {
      shut_down_ = true;
      kick();
      return;
    }
    current = *next;
  }
}

void Core::deliver_software(const Event& event, std::uint64_t at, std::uint64_t next) {
  leave_block();
  rip = next;
  note_delivery(event);
  if (try_deliver(event)) {
    delivered_ = true;
    return;
  }
  rip = at;
  const auto fault = combined(event, pending_);
  if (fault)
    deliver(*fault);
  else
    shut_down_ = true;
}

bool Core::try_deliver(const Event& event) {
  const bool done = long_mode()        ? deliver_long(event)
                    : protected_mode() ? deliver_protected(event)
                                       : deliver_real(event);
  if (!done) return false;
  // APM vol. 2, 13.1.1.4: the handler may use the debug registers.
  constexpr std::uint64_t general_detect = 1 << 13;
  if (event.vector == vector::db && event.kind == EventKind::exception) sys.dr7 &= ~general_detect;
  if (interrupt_pending()) kick();
  return true;
}

// The state that a handler in 64-bit mode begins with is complete before anything of it is set.
bool Core::deliver_long(const Event& event) {
  const std::uint64_t place = std::uint64_t{event.vector} * 16;
  std::array<std::uint64_t, 2> gate{};
  if (place + 15 > sys.idtr.limit) return refuse(vector::gp, idt_error(event));
  if (!read(system_set(), sys.idtr.base + place, gate.data(), sizeof gate)) return false;
  const unsigned type = type_of_gate(gate[0]);
  const bool masks = type == interrupt_gate_64;
  if (!masks && type != trap_gate_64) return refuse(vector::gp, idt_error(event));
  if (event.kind == EventKind::software && dpl_of_gate(gate[0]) < sys.cpl)
    return refuse(vector::gp, idt_error(event));
  if (!is_present_gate(gate[0])) return refuse(vector::np, idt_error(event));

  const std::uint32_t external = external_bit(event);
  auto code = descriptor_at(selector_of_gate(gate[0]), vector::gp, external);
  if (!code) return false;
  const SegmentAttributes attributes = code->attributes;
  const unsigned dpl = attributes.get<SegmentAttributes::Dpl>();
  const std::uint32_t code_error = (code->selector & ~3u) | external;
  if (!attributes.get<SegmentAttributes::Memory>() || !attributes.get<SegmentAttributes::Code>() ||
      !attributes.get<SegmentAttributes::Long>() || attributes.get<SegmentAttributes::Big>() || dpl > sys.cpl)
    return refuse(vector::gp, code_error);
  if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::np, code_error);

  const unsigned new_cpl = attributes.get<SegmentAttributes::Conforming>() ? sys.cpl : dpl;
  return enter_handler_64(event, *code, new_cpl, static_cast<unsigned>(gate[0] >> 32 & 7),
                          offset_of_gate(gate[0]) | gate[1] << 32, masks);
}

bool Core::enter_handler_64(const Event& event, Descriptor& code, unsigned new_cpl, unsigned ist,
                            std::uint64_t handler, bool masks) {
  const std::uint32_t external = external_bit(event);
  const bool inward = new_cpl != sys.cpl;
  std::uint64_t top = regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)];
  if (inward || ist != 0) {
    const auto stack = stack_for(new_cpl, ist, external);
    if (!stack) return false;
    top = stack->rsp;
  }
  top &= ~std::uint64_t{0xf};
  if (!is_canonical_address(handler)) return refuse(vector::gp, external);

  const std::uint64_t saved_flags = read_flags() | (event.resume ? rflags::resume : 0);
  const std::uint64_t frame[] = {segment(isa::Segment::ss).selector,
                                 regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)],
                                 saved_flags,
                                 segment(isa::Segment::cs).selector,
                                 rip,
                                 event.error};
  const std::size_t count = event.has_error ? 6 : 5;
  const TlbSet set = new_cpl == 3 ? TlbSet::user : system_set();
  for (std::size_t i = 0; i < count; ++i) {
    top -= sizeof frame[i];
    if (!is_canonical_address(top)) return refuse(vector::ss, external);
    if (!write(set, top, &frame[i], sizeof frame[i])) return false;
  }
  if (!mark_accessed(code)) return false;

  if (inward) {
    // SS becomes a null selector with the new CPL: APM vol. 2, 8.9.4.
    SegmentRegister ss = flat_data(static_cast<std::uint16_t>(new_cpl));
    ss.attributes = ss.attributes.with<SegmentAttributes::Dpl>(static_cast<std::uint8_t>(new_cpl));
    set_segment(isa::Segment::ss, ss);
  }
  regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)] = top;
  sys.flags &= ~(rflags::trap | rflags::nested | rflags::resume | (masks ? rflags::interrupt : 0));
  load_code_segment(code, new_cpl);
  rip = handler;
  set_cpl(new_cpl);
  return true;
}

bool Core::deliver_protected(const Event& event) {
  const std::uint64_t place = std::uint64_t{event.vector} * 8;
  if (place + 7 > sys.idtr.limit) return refuse(vector::gp, idt_error(event));
  const auto gate = read<std::uint64_t>(system_set(), sys.idtr.base + place);
  if (!gate) return false;
  const unsigned type = type_of_gate(*gate);
  if (type != interrupt_gate_32 && type != trap_gate_32 && type != interrupt_gate_16 && type != trap_gate_16)
    return refuse(vector::gp, idt_error(event));
  if (event.kind == EventKind::software && dpl_of_gate(*gate) < sys.cpl)
    return refuse(vector::gp, idt_error(event));
  if (!is_present_gate(*gate)) return refuse(vector::np, idt_error(event));

  const std::uint32_t external = external_bit(event);
  const auto code = descriptor_at(selector_of_gate(*gate), vector::gp, external);
  if (!code) return false;
  const SegmentAttributes attributes = code->attributes;
  const std::uint32_t code_error = (code->selector & ~3u) | external;
  if (!attributes.get<SegmentAttributes::Memory>() || !attributes.get<SegmentAttributes::Code>() ||
      attributes.get<SegmentAttributes::Dpl>() > sys.cpl)
    return refuse(vector::gp, code_error);
  if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::np, code_error);
  return enter_handler_32(event, *gate, *code);
}

bool Core::enter_handler_32(const Event& event, std::uint64_t gate, const Descriptor& code) {
  const std::uint32_t external = external_bit(event);
  const unsigned dpl = code.attributes.get<SegmentAttributes::Dpl>();
  const unsigned new_cpl = code.attributes.get<SegmentAttributes::Conforming>() ? sys.cpl : dpl;
  const unsigned type = type_of_gate(gate);
  const unsigned size = type == interrupt_gate_32 || type == trap_gate_32 ? 4 : 2;
  const bool inward = new_cpl != sys.cpl;
  SegmentRegister ss = segment(isa::Segment::ss);
  std::uint64_t top = regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)];
  if (inward) {
    const auto stack = stack_for(new_cpl, 0, external);
    if (!stack) return false;
    auto inner = descriptor_at(stack->ss, vector::ts, external);
    if (!inner) return false;
    ss = {stack->ss, inner->attributes, inner->limit, inner->base};
    top = stack->rsp;
  }
  const std::uint64_t flags_now = read_flags() | (event.resume ? rflags::resume : 0);
  std::array<std::uint64_t, 6> frame{};
  std::size_t count = 0;
  if (inward) {
    frame[count++] = segment(isa::Segment::ss).selector;
    frame[count++] = regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)];
  }
  frame[count++] = flags_now;
  frame[count++] = segment(isa::Segment::cs).selector;
  frame[count++] = rip;
  if (event.has_error) frame[count++] = event.error;

  const std::uint64_t mask = ss.attributes.get<SegmentAttributes::Big>() ? 0xffff'ffff : 0xffff;
  const TlbSet set = new_cpl == 3 ? TlbSet::user : system_set();
  std::uint64_t pointer = top;
  for (std::size_t i = 0; i < count; ++i) {
    pointer = (pointer - size) & mask;
    if (!write(set, (ss.base + pointer) & 0xffff'ffff, &frame[i], size)) return false;
  }
  Descriptor marked = code;
  if (!mark_accessed(marked)) return false;
  if (inward) set_segment(isa::Segment::ss, ss);
  auto& rsp = regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)];
  rsp = (top & ~mask) | pointer;
  sys.flags &= ~(rflags::trap | rflags::nested | rflags::resume | rflags::virtual_8086);
  if (type == interrupt_gate_32 || type == interrupt_gate_16) sys.flags &= ~rflags::interrupt;
  load_code_segment(marked, new_cpl);
  rip = offset_of_gate(gate) & (size == 4 ? 0xffff'ffff : 0xffff);
  set_cpl(new_cpl);
  return true;
}

// The interrupt vector table: APM vol. 2, 8.6.
bool Core::deliver_real(const Event& event) {
  const std::uint64_t place = std::uint64_t{event.vector} * 4;
  if (place + 3 > sys.idtr.limit) return refuse(vector::gp);
  const auto entry = read<std::uint32_t>(TlbSet::kernel_open, sys.idtr.base + place);
  if (!entry) return false;
  auto& rsp = regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)];
  std::uint64_t pointer = rsp & 0xffff;
  const std::uint16_t frame[] = {static_cast<std::uint16_t>(read_flags()), segment(isa::Segment::cs).selector,
                                 static_cast<std::uint16_t>(rip)};
  for (const std::uint16_t value : frame) {
    pointer = (pointer - 2) & 0xffff;
    if (!write(TlbSet::kernel_open, linear(isa::Segment::ss, pointer), &value, sizeof value)) return false;
  }
  rsp = (rsp & ~0xffffull) | pointer;
  sys.flags &= ~(rflags::trap | rflags::interrupt | rflags::alignment_check | rflags::resume);
  SegmentRegister cs = segment(isa::Segment::cs);
  cs.selector = static_cast<std::uint16_t>(*entry >> 16);
  cs.base = std::uint64_t{cs.selector} << 4;
  set_segment(isa::Segment::cs, cs);
  rip = *entry & 0xffff;
  update_mode();
  return true;
}

}  // namespace cbit::cpu
