#include "isa/decode.hpp"

#include <Zydis/Zydis.h>

#include <array>

namespace cbit::isa {
namespace {

enum Width : std::uint8_t { width_16, width_32, width_64, widths };

Width width_of(Mode mode) {
  if (mode.is_64()) return width_64;
  return mode.get<Mode::Code32>() ? width_32 : width_16;
}

constexpr std::array<ZydisMachineMode, widths> machine_modes{
    ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_MACHINE_MODE_LONG_64};

ZydisDecoder decoder_for(Width width, bool wide_stack, const FeatureSet& features) {
  const ZydisStackWidth stack = width == width_64 ? ZYDIS_STACK_WIDTH_64
                                : wide_stack      ? ZYDIS_STACK_WIDTH_32
                                                  : ZYDIS_STACK_WIDTH_16;
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, machine_modes[width], stack);
  const auto set = [&](ZydisDecoderMode mode, bool on) {
    ZydisDecoderEnableMode(&decoder, mode, on ? ZYAN_TRUE : ZYAN_FALSE);
  };
  set(ZYDIS_DECODER_MODE_AMD_BRANCHES, true);
  set(ZYDIS_DECODER_MODE_MPX, false);
  set(ZYDIS_DECODER_MODE_CET, false);
  set(ZYDIS_DECODER_MODE_CLDEMOTE, false);
  set(ZYDIS_DECODER_MODE_LZCNT, features.has(Feature::lzcnt));
  set(ZYDIS_DECODER_MODE_TZCNT, features.has(Feature::bmi1));
  set(ZYDIS_DECODER_MODE_WBNOINVD, features.has(Feature::wbnoinvd));
  return decoder;
}

void set_byte_register(ZydisRegister reg, Operand& to) {
  if (reg >= ZYDIS_REGISTER_SPL) {
    to.reg = static_cast<std::uint8_t>(reg - ZYDIS_REGISTER_SPL + 4);
  } else if (reg >= ZYDIS_REGISTER_AH) {
    to.reg = static_cast<std::uint8_t>(reg - ZYDIS_REGISTER_AH);
    to.high = true;
  } else {
    to.reg = static_cast<std::uint8_t>(reg - ZYDIS_REGISTER_AL);
  }
}

OperandKind kind_of(ZydisRegisterClass reg_class) {
  switch (reg_class) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return OperandKind::general;
    case ZYDIS_REGCLASS_X87: return OperandKind::x87;
    case ZYDIS_REGCLASS_MMX: return OperandKind::mmx;
    case ZYDIS_REGCLASS_XMM: return OperandKind::xmm;
    case ZYDIS_REGCLASS_SEGMENT: return OperandKind::segment;
    case ZYDIS_REGCLASS_CONTROL: return OperandKind::control;
    case ZYDIS_REGCLASS_DEBUG: return OperandKind::debug;
    default: return OperandKind::other;
  }
}

void set_register(ZydisRegister reg, Operand& to) {
  const ZydisRegisterClass reg_class = ZydisRegisterGetClass(reg);
  to.kind = kind_of(reg_class);
  if (reg_class == ZYDIS_REGCLASS_GPR8)
    set_byte_register(reg, to);
  else
    to.reg = static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
}

std::uint8_t address_register(ZydisRegister reg) {
  if (reg == ZYDIS_REGISTER_NONE) return no_register;
  if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) return rip_register;
  return static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
}

void set_memory(const ZydisDecodedOperandMem& from, Operand& to) {
  to.kind = OperandKind::memory;
  to.segment = static_cast<Segment>(ZydisRegisterGetId(from.segment));
  to.base = address_register(from.base);
  to.index = address_register(from.index);
  to.scale = static_cast<std::uint8_t>(from.scale > 1 ? std::countr_zero(from.scale) : 0);
  to.value = from.disp.has_displacement ? from.disp.value : 0;
}

void set_operand(const ZydisDecodedOperand& from, Operand& to) {
  to.bytes = static_cast<std::uint8_t>(from.size / 8);
  switch (from.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER: set_register(from.reg.value, to); return;
    case ZYDIS_OPERAND_TYPE_MEMORY: set_memory(from.mem, to); return;
    case ZYDIS_OPERAND_TYPE_POINTER:
      to.kind = OperandKind::far;
      to.selector = from.ptr.segment;
      to.value = from.ptr.offset;
      return;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      to.kind = from.imm.is_relative ? OperandKind::relative : OperandKind::immediate;
      to.value = from.imm.value.s;
      return;
    default: to.kind = OperandKind::none; return;
  }
}

// A form with XMM registers may have MMX or general registers besides; the special registers stand for
// themselves.
Form form_of(const Instruction& instruction) {
  Form form = Form::general;
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    switch (instruction.operands[i].kind) {
      case OperandKind::segment: return Form::segment;
      case OperandKind::control: return Form::control;
      case OperandKind::debug: return Form::debug;
      case OperandKind::xmm: return Form::xmm;
      case OperandKind::mmx: form = Form::mmx; break;
      default: break;
    }
  }
  return form;
}

Repeat repeat_of(ZydisInstructionAttributes attributes) {
  if ((attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0) return Repeat::rep;
  return (attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0 ? Repeat::repne : Repeat::none;
}

void set_segment(ZydisInstructionAttributes attributes, Instruction& to) {
  struct Override {
    ZydisInstructionAttributes attribute;
    Segment segment;
  };
  constexpr Override overrides[] = {
      {ZYDIS_ATTRIB_HAS_SEGMENT_CS, Segment::cs}, {ZYDIS_ATTRIB_HAS_SEGMENT_SS, Segment::ss},
      {ZYDIS_ATTRIB_HAS_SEGMENT_DS, Segment::ds}, {ZYDIS_ATTRIB_HAS_SEGMENT_ES, Segment::es},
      {ZYDIS_ATTRIB_HAS_SEGMENT_FS, Segment::fs}, {ZYDIS_ATTRIB_HAS_SEGMENT_GS, Segment::gs},
  };
  for (const Override& candidate : overrides) {
    if ((attributes & candidate.attribute) == 0) continue;
    to.segment_override = true;
    to.segment = candidate.segment;
  }
}

// 90h with REX.B is XCHG with r8, with a repeat prefix, too; the library takes that for PAUSE. The host's
// processor is the witness.
bool is_exchange(const ZydisDecodedInstruction& from) {
  return from.mnemonic == ZYDIS_MNEMONIC_PAUSE && (from.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 &&
         from.raw.rex.B != 0;
}

// A SIB byte with base 5 and mod 0 has a displacement in place of a base, whatever REX.B says. Behind an
// address-size prefix the library takes it for r13d. The host's processor is the witness.
bool has_displacement_for_base(const ZydisDecodedInstruction& from) {
  return (from.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 && from.raw.modrm.mod == 0 && from.raw.sib.base == 5;
}

void replace_base(std::int64_t displacement, Operand& operand) {
  if (operand.kind != OperandKind::memory) return;
  operand.base = no_register;
  operand.value = displacement;
}

// 0Fh 0Dh with a register: APM vol. 3, PREFETCHlevel. The library takes it for a NOP.
bool is_prefetch_of_register(const ZydisDecodedInstruction& decoded) {
  return decoded.opcode_map == ZYDIS_OPCODE_MAP_0F && decoded.opcode == 0x0d && decoded.raw.modrm.mod == 3;
}

void make_exchange(Instruction& to) {
  to.mnemonic = ZYDIS_MNEMONIC_XCHG;
  to.operand_count = 2;
  to.operands[0] = {.kind = OperandKind::general, .bytes = to.operand_bytes, .reg = 8};
  to.operands[1] = {.kind = OperandKind::general, .bytes = to.operand_bytes, .reg = 0};
}

void translate(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands, Instruction& to) {
  to = Instruction{};
  to.mnemonic = static_cast<std::uint16_t>(from.mnemonic);
  to.length = from.length;
  to.opcode = from.opcode;
  to.modrm = static_cast<std::uint8_t>(from.raw.modrm.mod << 6 | from.raw.modrm.reg << 3 | from.raw.modrm.rm);
  to.operand_bytes = from.operand_width / 8;
  to.address_bytes = from.address_width / 8;
  to.stack_bytes = from.stack_width / 8;
  to.lock = (from.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  to.rex_w = (from.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && from.raw.rex.W != 0;
  to.repeat = repeat_of(from.attributes);
  set_segment(from.attributes, to);
  to.operand_count = from.operand_count_visible;
  for (unsigned i = 0; i < to.operand_count && i < to.operands.size(); ++i)
    set_operand(operands[i], to.operands[i]);
  if (has_displacement_for_base(from))
    for (Operand& operand : to.operands) replace_base(from.raw.disp.value, operand);
  if (is_exchange(from)) make_exchange(to);
  to.form = form_of(to);
}

}  // namespace

struct Decoder::Library {
  std::array<std::array<ZydisDecoder, 2>, widths> decoders;  // by width, by SS.B
};

Decoder::Decoder(const FeatureSet& features) {
  auto library = std::make_shared<Library>();
  for (unsigned width = 0; width < widths; ++width)
    for (const bool wide_stack : {false, true})
      library->decoders[width][wide_stack ? 1 : 0] =
          decoder_for(static_cast<Width>(width), wide_stack, features);
  library_ = std::move(library);
}

DecodeStatus Decoder::decode(Mode mode, ConstByteSpan bytes, Instruction& to) const {
  const ZydisDecoder& decoder = library_->decoders[width_of(mode)][mode.get<Mode::Stack32>() ? 1 : 0];
  ZydisDecodedInstruction decoded;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  const ZyanStatus status =
      ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &decoded, operands.data());
  if (status == ZYDIS_STATUS_NO_MORE_DATA)
    return bytes.size() >= instruction_bytes_max ? DecodeStatus::too_long : DecodeStatus::need_more;
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return DecodeStatus::too_long;
  if (!ZYAN_SUCCESS(status) || is_prefetch_of_register(decoded)) return DecodeStatus::invalid;
  translate(decoded, operands.data(), to);
  return DecodeStatus::ok;
}

Disassembled disassemble(Mode mode, ConstByteSpan bytes, std::uint64_t at) {
  ZydisDisassembledInstruction instruction;
  const ZyanStatus status =
      ZydisDisassembleIntel(machine_modes[width_of(mode)], at, bytes.data(), bytes.size(), &instruction);
  if (!ZYAN_SUCCESS(status)) return {"(bad)", 1};
  return {static_cast<const char*>(instruction.text), instruction.info.length};
}

std::uint16_t mnemonic_count() { return ZYDIS_MNEMONIC_MAX_VALUE + 1; }

std::string_view mnemonic_name(std::uint16_t mnemonic) {
  const char* name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(mnemonic));
  return name != nullptr ? name : "";
}

}  // namespace cbit::isa
