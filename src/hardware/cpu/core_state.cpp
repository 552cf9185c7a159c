// A processor as others see it: after reset, for loaders and debuggers, in reports.
#include "base/format.hpp"
#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

using isa::Gpr;
using isa::Segment;

// APM vol. 2, table 14-1 and 14-2.
constexpr std::uint64_t cr0_after_reset = cr0::cache_disable | cr0::not_write_through | cr0::extension_type;
constexpr std::uint64_t pat_after_reset = 0x0007'0406'0007'0406;
constexpr std::uint16_t x87_control_after_reset = 0x0040;
constexpr std::uint16_t limit_64k = 0xffff;

SegmentRegister real_mode_segment(std::uint16_t attributes) {
  return {.attributes = SegmentAttributes{{attributes}}, .limit = limit_64k};
}

}  // namespace

Core::Core(Cpu& face, const Cpu::Config& given, const Cpu::Board& connected)
    : self{face},
      config{given},
      board{connected},
      memory{board.memory, *this, {.view = given.view, .phys_bits = given.model.phys_bits}},
      lowerer_{{.features = given.model.features, .intercepts = {}, .atomic = connected.others != nullptr}},
      random_state_{given.seed} {
  if (board.others != nullptr) wanted = &board.others->wanted();
  board.code.add_user(*this);
  enter_translation = board.code.enter_translation();
  board.interrupts.set_listener(&self);
  tsc_ = TickCounter{config.model.tsc_hz};
  set_tsc(0);
  reset();
}

Core::~Core() {
  board.memory.end_leases(*this);
  board.interrupts.set_listener(nullptr);
  board.code.remove_user(*this);
}

void Core::reset() {
  sys = {};
  sys.cr0 = cr0_after_reset;
  sys.pat = pat_after_reset;
  x87 = {};
  x87.state.control.raw = x87_control_after_reset;
  mxcsr = fp::mxcsr_at_reset;
  regs = {};
  flags = {};
  direction = false;
  for (const Segment which : {Segment::es, Segment::ss, Segment::ds, Segment::fs, Segment::gs})
    set_segment(which, real_mode_segment(0x93));
  SegmentRegister cs = real_mode_segment(0x9b);
  cs.selector = 0xf000;
  cs.base = 0xffff'0000;
  set_segment(Segment::cs, cs);
  sys.ldtr = real_mode_segment(0x82);
  sys.tr = real_mode_segment(0x8b);
  sys.gdtr.limit = sys.idtr.limit = limit_64k;
  regs.gpr[static_cast<std::size_t>(Gpr::rdx)] = config.model.signature();
  rip = 0xfff0;
  halted_ = shut_down_ = nmi_blocked_ = false;
  waits_for_startup_ = !config.bootstrap;
  leave_block();
  update_paging();
  flush_translations(true);
  update_mode();
}

Registers Core::registers() const {
  Registers result;
  result.gpr = regs.gpr;
  result.rip = current_rip();
  result.rflags = read_flags();
  for (std::size_t i = 0; i < result.segments.size(); ++i)
    result.segments[i] = segment(static_cast<Segment>(i));
  result.ldtr = sys.ldtr;
  result.tr = sys.tr;
  result.gdtr = sys.gdtr;
  result.idtr = sys.idtr;
  result.cr0 = sys.cr0;
  result.cr2 = sys.cr2;
  result.cr3 = sys.cr3;
  result.cr4 = sys.cr4;
  result.efer = sys.efer;
  return result;
}

void Core::set_registers(const Registers& from) {
  regs.gpr = from.gpr;
  rip = from.rip;
  for (std::size_t i = 0; i < from.segments.size(); ++i)
    set_segment(static_cast<Segment>(i), from.segments[i]);
  sys.ldtr = from.ldtr;
  sys.tr = from.tr;
  sys.gdtr = from.gdtr;
  sys.idtr = from.idtr;
  sys.cr0 = from.cr0;
  sys.cr2 = from.cr2;
  sys.cr3 = from.cr3;
  sys.cr4 = from.cr4;
  sys.efer = from.efer;
  deliveries_.clear();
  sys.cpl = (sys.cr0 & cr0::protection) != 0 ? from.cpl() : 0;
  halted_ = shut_down_ = waits_for_startup_ = false;
  leave_block();
  update_paging();
  flush_translations(true);
  update_mode();
  write_flags(from.rflags, ~std::uint64_t{0});
}

bool Core::inspect(VirtAddr from, ByteSpan to) {
  while (!to.empty()) {
    const auto place = memory.inspect(from.value());
    if (!place) return false;
    const std::size_t part = std::min<std::size_t>(to.size(), page_size - from.page_offset());
    if (!board.memory.read(place->phys, to.first(part), place->key)) return false;
    to = to.subspan(part);
    from += part;
  }
  return true;
}

namespace {

std::string general_registers(const Registers& registers) {
  constexpr std::array<std::string_view, 16> names{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                   "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += fmt::format("{:>3} {:016x}{}", names[i], registers.gpr[i], i % 4 == 3 ? "\n" : "  ");
  return text;
}

std::string segment_registers(const Registers& registers) {
  constexpr std::array<std::string_view, 6> names{"es", "cs", "ss", "ds", "fs", "gs"};
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const SegmentRegister& segment = registers.segments[i];
    text += fmt::format(" {} {:04x} base {:016x} limit {:08x} attributes {:03x}\n", names[i],
                        segment.selector, segment.base, segment.limit, segment.attributes.raw);
  }
  return text;
}

std::string control_registers(const Registers& registers) {
  return fmt::format(
      "cr0 {:08x}  cr2 {:016x}  cr3 {:016x}  cr4 {:08x}  efer {:04x}\n"
      "gdt {:016x} {:04x}  idt {:016x} {:04x}  tr {:04x} {:016x}\n",
      registers.cr0, registers.cr2, registers.cr3, registers.cr4, registers.efer, registers.gdtr.base,
      registers.gdtr.limit, registers.idtr.base, registers.idtr.limit, registers.tr.selector,
      registers.tr.base);
}

}  // namespace

std::string Core::report() const {
  auto& mutable_this = const_cast<Core&>(*this);  // inspect() changes nothing that anybody sees
  const Registers now = registers();
  std::string text = fmt::format("cpu {}: rip {:016x}  rflags {:08x}  cpl {}  {} instructions\n",
                                 config.index, now.rip, now.rflags, sys.cpl, instructions());
  text += general_registers(now) + segment_registers(now) + control_registers(now);

  const std::uint64_t at = linear(Segment::cs, now.rip);
  std::array<std::byte, isa::instruction_bytes_max> code{};
  const auto place = mutable_this.memory.inspect(at);
  if (place && mutable_this.inspect(VirtAddr{at}, code))
    text += fmt::format("code at {}, key {}: {} = {}\n", place->phys, place->key, to_hex(code),
                        isa::disassemble(mode_, code, now.rip).text);
  else
    text += "code: not mapped\n";
  for (const Delivery& delivery : deliveries_)
    text += fmt::format("{} {} at rip {:016x}, error {:#x}, cr2 {:016x}, after {} instructions\n",
                        delivery.external ? "interrupt" : "exception", delivery.vector, delivery.rip,
                        delivery.error, delivery.cr2, delivery.instructions);
  return text;
}

}  // namespace cbit::cpu
