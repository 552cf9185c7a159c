#include "guest/monitor/register_text.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>

#include "base/bytes.hpp"

namespace cbit::guest {
namespace {

using cpu::Registers;
using cpu::SegmentAttributes;
using cpu::SegmentRegister;
using isa::Gpr;
using isa::Segment;

constexpr std::uint64_t low_32_bits = 0xffff'ffff;
constexpr std::size_t st_bytes = 16;  // of a register in FXSAVE's image

struct NamedGpr {
  std::string_view wide, narrow;
  Gpr reg;
};
// In QEMU's order.
constexpr NamedGpr gprs[] = {{"rax", "eax", Gpr::rax},  {"rbx", "ebx", Gpr::rbx},  {"rcx", "ecx", Gpr::rcx},
                             {"rdx", "edx", Gpr::rdx},  {"rsi", "esi", Gpr::rsi},  {"rdi", "edi", Gpr::rdi},
                             {"rbp", "ebp", Gpr::rbp},  {"rsp", "esp", Gpr::rsp},  {"r8", "r8d", Gpr::r8},
                             {"r9", "r9d", Gpr::r9},    {"r10", "r10d", Gpr::r10}, {"r11", "r11d", Gpr::r11},
                             {"r12", "r12d", Gpr::r12}, {"r13", "r13d", Gpr::r13}, {"r14", "r14d", Gpr::r14},
                             {"r15", "r15d", Gpr::r15}};

struct NamedSegment {
  std::string_view name;
  Segment segment;
};
constexpr NamedSegment segments[] = {{"es", Segment::es}, {"cs", Segment::cs}, {"ss", Segment::ss},
                                     {"ds", Segment::ds}, {"fs", Segment::fs}, {"gs", Segment::gs}};

std::string upper(std::string_view text) {
  std::string result{text};
  for (char& c : result)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return result;
}

bool in_long_mode(const Registers& registers) { return (registers.efer & cpu::efer::long_mode_active) != 0; }
bool in_64_bit_code(const Registers& registers) {
  return in_long_mode(registers) && registers.segment(Segment::cs).attributes.get<SegmentAttributes::Long>();
}

std::string general_text(const Registers& registers, bool wide) {
  std::string text;
  auto out = std::back_inserter(text);
  const std::size_t count = wide ? std::size(gprs) : 8;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = upper(wide ? gprs[i].wide : gprs[i].narrow);
    const std::uint64_t value = registers[gprs[i].reg];
    if (wide)
      fmt::format_to(out, "{:<3}={:016x}", name, value);
    else
      fmt::format_to(out, "{}={:08x}", name, value & low_32_bits);
    text += i % 4 == 3 ? "\n" : " ";
  }
  return text;
}

std::string flags_text(std::uint64_t flags) {
  struct Letter {
    std::uint64_t bit;
    char letter;
  };
  constexpr Letter letters[] = {
      {cpu::rflags::direction, 'D'}, {isa::flag_of, 'O'}, {isa::flag_sf, 'S'}, {isa::flag_zf, 'Z'},
      {isa::flag_af, 'A'},           {isa::flag_pf, 'P'}, {isa::flag_cf, 'C'}};
  std::string text;
  for (const auto& [bit, letter] : letters) text += (flags & bit) != 0 ? letter : '-';
  return text;
}

// APM vol. 2, tables 4-5 (legacy mode) and 4-6 (long mode).
std::string_view system_type(unsigned type, bool long_mode) {
  constexpr std::array<std::string_view, 16> legacy{
      "Reserved", "TSS16-avl", "LDT",      "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
      "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32"};
  constexpr std::array<std::string_view, 16> wide{
      "Reserved", "Reserved",  "LDT",      "Reserved",   "Reserved",   "Reserved", "Reserved",  "Reserved",
      "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64", "TrapGate64"};
  return long_mode ? wide[type & 15] : legacy[type & 15];
}

std::string kind_text(SegmentAttributes attributes, bool long_mode) {
  using A = SegmentAttributes;
  if (!attributes.get<A::Memory>()) return std::string{system_type(attributes.get<A::Type>(), long_mode)};
  const bool code = attributes.get<A::Code>();
  std::string_view kind = attributes.get<A::Big>() || long_mode ? "DS  " : "DS16";
  if (code) kind = attributes.get<A::Long>() ? "CS64" : attributes.get<A::Big>() ? "CS32" : "CS16";
  // Bit 2 is C of code and E of data, bit 1 R and W.
  return fmt::format("{} [{}{}{}]", kind,
                     !attributes.get<A::Conforming>() ? '-'
                     : code                           ? 'C'
                                                      : 'E',
                     !attributes.get<A::Readable>() ? '-'
                     : code                         ? 'R'
                                                    : 'W',
                     attributes.get<A::Accessed>() ? 'A' : '-');
}

std::string segment_text(std::string_view name, const SegmentRegister& segment, const Registers& registers) {
  std::string text = fmt::format("{:<3}={:04x} ", upper(name), segment.selector);
  auto out = std::back_inserter(text);
  if (in_64_bit_code(registers))
    fmt::format_to(out, "{:016x}", segment.base);
  else
    fmt::format_to(out, "{:08x}", segment.base & low_32_bits);
  fmt::format_to(out, " {:08x} {:08x}", segment.limit, in_descriptor(segment.attributes));
  const bool is_protected = (registers.cr0 & cpu::cr0::protection) != 0;
  if (is_protected && segment.attributes.get<SegmentAttributes::Present>())
    fmt::format_to(out, " DPL={} {}", segment.attributes.get<SegmentAttributes::Dpl>(),
                   kind_text(segment.attributes, in_long_mode(registers)));
  return text + '\n';
}

std::string control_text(const Pc& pc, const cpu::Cpu& cpu, const Registers& registers) {
  const int digits = in_long_mode(registers) ? 16 : 8;
  const cpu::DebugRegisters debug = cpu.debug_registers();
  std::string text =
      fmt::format("GDT=     {:0{}x} {:08x}\nIDT=     {:0{}x} {:08x}\n", registers.gdtr.base, digits,
                  registers.gdtr.limit, registers.idtr.base, digits, registers.idtr.limit);
  auto out = std::back_inserter(text);
  fmt::format_to(out, "CR0={:08x} CR2={:0{}x} CR3={:0{}x} CR4={:08x} CR8={:x}\n", registers.cr0,
                 registers.cr2, digits, registers.cr3, digits, registers.cr4,
                 pc.chipset().lapic(cpu.index()).cr8());
  for (std::size_t i = 0; i < debug.breakpoints.size(); ++i)
    fmt::format_to(out, "DR{}={:016x} ", i, debug.breakpoints[i]);
  fmt::format_to(out, "\nDR6={:016x} DR7={:016x}\nEFER={:016x}\n", debug.status, debug.control,
                 registers.efer);
  return text;
}

// FPR0 to FPR7 are the registers themselves, which FXSAVE has as they lie from the top on.
std::string floating_text(const cpu::Cpu& cpu, bool wide) {
  namespace at = cpu::fxsave;
  const cpu::Cpu::ExtendedState state = cpu.extended_state();
  const auto status = load<std::uint16_t>(state, at::status_at);
  const unsigned top = status >> 11 & 7;
  std::string text = fmt::format(
      "FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}\n", load<std::uint16_t>(state, at::control_at),
      status, top, load<std::uint8_t>(state, at::tags_at), load<std::uint32_t>(state, at::mxcsr_at));
  auto out = std::back_inserter(text);
  for (unsigned i = 0; i < 8; ++i) {
    const std::size_t place = at::st_at + st_bytes * ((i - top) & 7);
    fmt::format_to(out, "FPR{}={:016x} {:04x}{}", i, load<std::uint64_t>(state, place),
                   load<std::uint16_t>(state, place + 8), i % 2 == 1 ? "\n" : " ");
  }
  for (unsigned i = 0; i < (wide ? 16u : 8u); ++i) {
    const std::size_t place = at::xmm_at + sizeof(isa::Xmm) * i;
    fmt::format_to(out, "XMM{:02}={:016x}{:016x}{}", i, load<std::uint64_t>(state, place + 8),
                   load<std::uint64_t>(state, place), i % 2 == 1 ? "\n" : " ");
  }
  return text;
}

std::optional<std::uint64_t> segment_value(const Registers& registers, std::string_view name) {
  for (const auto& [prefix, which] : segments) {
    if (!name.starts_with(prefix)) continue;
    const SegmentRegister& segment = registers.segment(which);
    const std::string_view part = name.substr(prefix.size());
    if (part.empty()) return segment.selector;
    if (part == ".base") return segment.base;
    if (part == ".limit") return segment.limit;
  }
  return std::nullopt;
}

}  // namespace

std::uint32_t in_descriptor(cpu::SegmentAttributes attributes) {
  const std::uint32_t raw = attributes.raw;
  return (raw & 0xff) << 8 | (raw & 0xf00) << 12;
}

std::string registers_text(const Pc& pc, const cpu::Cpu& cpu) {
  const Registers registers = cpu.registers();
  const bool wide = in_64_bit_code(registers);
  std::string text = fmt::format("CPU#{}\n", cpu.index()) + general_text(registers, wide);
  auto out = std::back_inserter(text);
  if (wide)
    fmt::format_to(out, "RIP={:016x} RFL={:08x}", registers.rip, registers.rflags);
  else
    fmt::format_to(out, "EIP={:08x} EFL={:08x}", registers.rip & low_32_bits, registers.rflags);
  fmt::format_to(out, " [{}] CPL={} HLT={:d}\n", flags_text(registers.rflags), registers.cpl(), cpu.halted());
  for (const auto& [name, which] : segments) text += segment_text(name, registers.segment(which), registers);
  text += segment_text("ldt", registers.ldtr, registers) + segment_text("tr", registers.tr, registers);
  return text + control_text(pc, cpu, registers) + floating_text(cpu, wide);
}

std::optional<std::uint64_t> register_value(const Pc& pc, const cpu::Cpu& cpu, std::string_view name) {
  const Registers registers = cpu.registers();
  for (const NamedGpr& gpr : gprs) {
    if (name == gpr.wide) return registers[gpr.reg];
    if (name == gpr.narrow) return registers[gpr.reg] & low_32_bits;
  }
  struct Named {
    std::string_view name;
    std::uint64_t value;
  };
  const Named others[] = {{"rip", registers.rip},
                          {"eip", registers.rip & low_32_bits},
                          {"pc", registers.rip + registers.segment(Segment::cs).base},
                          {"sp", registers[Gpr::rsp]},
                          {"fp", registers[Gpr::rbp]},
                          {"rflags", registers.rflags},
                          {"eflags", registers.rflags},
                          {"cr0", registers.cr0},
                          {"cr2", registers.cr2},
                          {"cr3", registers.cr3},
                          {"cr4", registers.cr4},
                          {"cr8", pc.chipset().lapic(cpu.index()).cr8()},
                          {"efer", registers.efer},
                          {"gdtr.base", registers.gdtr.base},
                          {"idtr.base", registers.idtr.base}};
  for (const Named& other : others)
    if (name == other.name) return other.value;
  return segment_value(registers, name);
}

}  // namespace cbit::guest
