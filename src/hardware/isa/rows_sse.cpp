// MMX, and SSE to SSE4.2. APM vol. 4 and 5.
//
// Moves are operations of the IR; what computes is a helper, which finds the operation by its name.
#include "isa/builder.hpp"
#include "isa/parameters.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

constexpr Slot source_temp = slot_of_xmm_temp(0);

bool is_vector(const Operand& operand) {
  return operand.kind == OperandKind::xmm || operand.kind == OperandKind::mmx;
}

// Memory operands of 16 bytes are aligned, except where an instruction is there to be unaligned.
enum class Alignment : std::uint8_t { natural, none };

void load_vector(Builder& b, Slot to, const Operand& memory, Alignment alignment) {
  const unsigned bytes = memory.bytes;
  const Address at = b.address(memory, bytes, AccessKind::read);
  if (bytes == 16) {
    Op& op = b.emit(OpCode::load_128);
    op.dst = to;
    op.aligned = alignment == Alignment::natural;
    Builder::set_address(op, at);
    return;
  }
  if (bytes >= 4) {
    Op& op = b.emit(bytes == 8 ? OpCode::load_64_to_128 : OpCode::load_32_to_128);
    op.dst = to;
    Builder::set_address(op, at);
    return;
  }
  const Slot value = b.temp();
  Op& load = b.emit(bytes == 2 ? OpCode::load_zx_16 : OpCode::load_zx_8);
  load.dst = value;
  Builder::set_address(load, at);
  Op& widen = b.emit(OpCode::mov_64_to_128);
  widen.dst = to;
  widen.a = value;
}

// The source as a vector: a register's slot, or the temporary.
Slot vector_source(Builder& b, const Operand& source, Alignment alignment) {
  if (source.kind == OperandKind::xmm) return Builder::slot(source);
  if (source.is_memory()) {
    load_vector(b, source_temp, source, alignment);
    return source_temp;
  }
  Slot value = slot_zero;
  if (source.is_general()) {
    value = Builder::slot(source);
  } else {
    value = b.temp();
    b.move_imm(8, value, static_cast<std::uint64_t>(source.value) & 0xff);
  }
  Op& widen = b.emit(source.is_general() && source.bytes < 8 ? OpCode::mov_32_to_128 : OpCode::mov_64_to_128);
  widen.dst = source_temp;
  widen.a = value;
  return source_temp;
}

// Operands: target, source, and an immediate behind them. A target that is no vector register is computed
// first.
template <Alignment alignment>
void lower_compute(Builder& b, const Instruction& i) {
  const Operand& target = i.operands[0];
  const Operand& source = i.operands[1];
  VectorParameters with{.mnemonic = i.mnemonic,
                        .result_bytes = target.bytes,
                        .wide = i.rex_w,
                        .mmx_target = target.kind == OperandKind::mmx,
                        .mmx_source = source.kind == OperandKind::mmx};
  for (unsigned operand = 1; operand < i.operand_count; ++operand)
    if (i.operands[operand].kind == OperandKind::immediate)
      with.immediate = static_cast<std::uint8_t>(i.operands[operand].value);
  if ((with.mmx_target || with.mmx_source) && source.is_memory()) b.call(Helper::check_x87);
  const Slot from = with.mmx_source ? source.reg : vector_source(b, source, alignment);
  Slot to = slot_zero;
  if (with.mmx_target)
    to = target.reg;
  else
    to = target.is_memory() ? b.temp() : Builder::slot(target);
  if (target.is_memory()) with.result_bytes = 8;
  Op& op = b.call(with.mmx_target || with.mmx_source ? Helper::mmx : Helper::sse, with.packed());
  op.dst = to;
  op.a = from;
  if (target.is_memory()) b.store(target.bytes, b.address(target, target.bytes, AccessKind::write), to);
}

// XORPS and its like of a register with itself make zeros.
void lower_exclusive_or(Builder& b, const Instruction& i) {
  const bool same = i.operands[0].kind == OperandKind::xmm && i.operands[1].kind == OperandKind::xmm &&
                    i.operands[0].reg == i.operands[1].reg;
  if (!same) {
    lower_compute<Alignment::natural>(b, i);
    return;
  }
  b.emit(OpCode::mov_64_to_128).dst = Builder::slot(i.operands[0]);
}

template <Alignment alignment>
void lower_move_whole(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  if (from.is_memory()) {
    load_vector(b, Builder::slot(to), from, alignment);
    return;
  }
  if (!to.is_memory()) {
    Op& op = b.emit(OpCode::mov_128);
    op.dst = Builder::slot(to);
    op.a = Builder::slot(from);
    return;
  }
  const Address at = b.address(to, 16, AccessKind::write);
  Op& op = b.emit(OpCode::store_128);
  op.a = Builder::slot(from);
  op.aligned = alignment == Alignment::natural;
  Builder::set_address(op, at);
}

// MOVSS and MOVSD: from memory the rest becomes zero, from a register it stays.
template <unsigned bytes>
void lower_move_scalar(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  if (from.is_memory())
    load_vector(b, Builder::slot(to), from, Alignment::none);
  else if (to.is_memory())
    b.store(bytes, b.address(to, bytes, AccessKind::write), Builder::slot(from));
  else if (bytes == 8)
    b.move(8, Builder::slot(to), Builder::slot(from));
  else
    lower_compute<Alignment::none>(b, i);
}

// MOVLPS and its like: one half; the other stays. From a register it is the other half (MOVHLPS, MOVLHPS).
template <unsigned half, unsigned half_of_register>
void lower_move_half(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  const auto part = [](const Operand& reg, unsigned which) {
    return static_cast<Slot>(Builder::slot(reg) + 8 * which);
  };
  if (from.is_memory())
    b.load(8, part(to, half), b.address(from, 8, AccessKind::read));
  else if (to.is_memory())
    b.store(8, b.address(to, 8, AccessKind::write), part(from, half));
  else
    b.move(8, part(to, half), part(from, half_of_register));
}

// MOVD and MOVQ between vectors and anything else: zero-extended in a vector.
void lower_move_low(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  const unsigned bytes = to.kind == OperandKind::xmm ? (is_vector(from) ? 8 : from.bytes) : to.bytes;
  if (to.kind != OperandKind::xmm) {
    b.write(to, bytes, Builder::slot(from));
  } else if (from.is_memory()) {
    load_vector(b, Builder::slot(to), from, Alignment::none);
  } else {
    Op& op = b.emit(bytes == 8 ? OpCode::mov_64_to_128 : OpCode::mov_32_to_128);
    op.dst = Builder::slot(to);
    op.a = Builder::slot(from);
  }
}

// The same with an MMX register on either side, or on both: a, dst: slots, or numbers of MMX registers.
void lower_move_mmx(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  const unsigned bytes = to.kind == OperandKind::mmx || to.kind == OperandKind::xmm ? from.bytes : to.bytes;
  const VectorParameters with{.result_bytes = static_cast<std::uint8_t>(is_vector(from) ? 8 : bytes),
                              .mmx_target = to.kind == OperandKind::mmx,
                              .mmx_source = from.kind == OperandKind::mmx};
  if (from.is_memory()) b.call(Helper::check_x87);
  Slot source = from.reg;
  if (!with.mmx_source) source = from.kind == OperandKind::xmm ? Builder::slot(from) : b.read(from, bytes);
  Slot target = to.reg;
  if (!with.mmx_target) target = to.kind == OperandKind::xmm ? source_temp : b.temp();
  // A store that faults leaves the unit as it is; an exception that waits comes before.
  Address at;
  if (to.is_memory()) {
    b.call(Helper::check_x87);
    at = b.address(to, bytes, AccessKind::modify);
    b.load_to_modify(bytes, b.temp(), at);
  }
  Op& op = b.call(Helper::move_mmx, with.packed());
  op.dst = target;
  op.a = source;
  if (with.mmx_target) return;
  if (to.kind == OperandKind::xmm) {
    Op& widen = b.emit(OpCode::mov_64_to_128);
    widen.dst = Builder::slot(to);
    widen.a = target;
  } else if (to.is_memory()) {
    b.store(bytes, at, target);
  } else {
    b.move(bytes, Builder::slot(to), target);
  }
}

// INSERTPS takes a lane of a register, but of memory the one there is.
void lower_insertps(Builder& b, const Instruction& i) {
  Instruction adjusted = i;
  if (i.operands[1].is_memory()) adjusted.operands[2].value &= 0x3f;
  lower_compute<Alignment::none>(b, adjusted);
}

void lower_emms(Builder& b, const Instruction&) { b.call(Helper::empty_mmx); }

// MASKMOVQ and MASKMOVDQU: bytes of the first register, by the second, to DS:rDI.
void lower_masked_store(Builder& b, const Instruction& i) {
  const Operand* first = &i.operands[0];
  if (first->is_memory()) ++first;
  const Operand& data = first[0];
  const Operand& mask = first[1];
  const bool mmx = data.kind == OperandKind::mmx;
  const Operand target{
      .kind = OperandKind::memory, .segment = i.segment, .base = static_cast<std::uint8_t>(Gpr::rdi)};
  const Address at = b.address(target, mmx ? 8 : 16, AccessKind::write);
  if (mmx) b.call(Helper::check_x87);
  const VectorParameters with{.result_bytes = static_cast<std::uint8_t>(mmx ? 8 : 16), .mmx_source = mmx};
  Op& op = b.call(Helper::masked_store, with.packed());
  op.a = mmx ? data.reg : Builder::slot(data);
  op.b = mmx ? mask.reg : Builder::slot(mask);
  Builder::set_address(op, at);
}

void lower_ldmxcsr(Builder& b, const Instruction& i) {
  const Slot value = b.read(i.operands[0], 4);
  b.call(Helper::load_mxcsr).a = value;
}
void lower_stmxcsr(Builder& b, const Instruction& i) {
  const Slot value = b.temp();
  b.call(Helper::store_mxcsr).dst = value;
  b.write(i.operands[0], 4, value);
}

constexpr LowerFunction aligned = lower_compute<Alignment::natural>;
constexpr LowerFunction unaligned = lower_compute<Alignment::none>;

constexpr Row sse(std::string_view mnemonic, Feature feature, LowerFunction lower = aligned) {
  return row(mnemonic, lower).as(Form::xmm).needs(feature).under(Rule::sse).tried();
}
constexpr Row mmx(std::string_view mnemonic, Feature feature, LowerFunction lower = aligned) {
  return row(mnemonic, lower).as(Form::mmx).needs(feature).under(Rule::mmx).tried();
}

// Packed integers that MMX has had from its beginning, and SSE2 has with XMM registers.
constexpr std::string_view mmx_names[] = {
    "paddb",     "paddw",     "paddd",    "paddsb",   "paddsw",   "paddusb",   "paddusw",   "psubb",
    "psubw",     "psubd",     "psubsb",   "psubsw",   "psubusb",  "psubusw",   "pmulhw",    "pmullw",
    "pmaddwd",   "pcmpeqb",   "pcmpeqw",  "pcmpeqd",  "pcmpgtb",  "pcmpgtw",   "pcmpgtd",   "psllw",
    "pslld",     "psllq",     "psrlw",    "psrld",    "psrlq",    "psraw",     "psrad",     "pand",
    "pandn",     "por",       "packsswb", "packssdw", "packuswb", "punpcklbw", "punpcklwd", "punpckldq",
    "punpckhbw", "punpckhwd", "punpckhdq"};
// Those that SSE added to MMX, and SSE2 has with XMM registers.
constexpr std::string_view sse_mmx_names[] = {"pavgb",  "pavgw",   "pmaxsw", "pmaxub", "pminsw",
                                              "pminub", "pmulhuw", "psadbw", "pinsrw", "pmovmskb"};
// Those that both have since SSE2, and SSSE3.
constexpr std::string_view sse2_both_names[] = {"paddq", "psubq", "pmuludq"};
constexpr std::string_view ssse3_names[] = {"pshufb", "phaddw",  "phaddd", "phaddsw", "pmaddubsw", "phsubw",
                                            "phsubd", "phsubsw", "psignb", "psignw",  "psignd",    "pmulhrsw",
                                            "pabsb",  "pabsw",   "pabsd",  "palignr"};
// XMM registers only.
constexpr std::string_view sse_names[] = {
    "addps",   "subps", "mulps",  "divps",    "minps",    "maxps",    "sqrtps",   "rcpps",
    "rsqrtps", "cmpps", "shufps", "unpcklps", "unpckhps", "andps",    "andnps",   "orps",
    "addss",   "subss", "mulss",  "divss",    "minss",    "maxss",    "sqrtss",   "rcpss",
    "rsqrtss", "cmpss", "comiss", "ucomiss",  "movmskps", "cvtsi2ss", "cvtss2si", "cvttss2si"};
constexpr std::string_view sse2_names[] = {
    "addpd",      "subpd",      "mulpd",     "divpd",    "minpd",     "maxpd",    "sqrtpd",   "cmppd",
    "shufpd",     "unpcklpd",   "unpckhpd",  "andpd",    "andnpd",    "orpd",     "addsd",    "subsd",
    "mulsd",      "divsd",      "minsd",     "maxsd",    "sqrtsd",    "comisd",   "ucomisd",  "movmskpd",
    "cvtsi2sd",   "cvtsd2si",   "cvttsd2si", "cvtps2pd", "cvtpd2ps",  "cvtss2sd", "cvtsd2ss", "cvtdq2ps",
    "cvtdq2pd",   "cvtps2dq",   "cvttps2dq", "cvtpd2dq", "cvttpd2dq", "pshufd",   "pshufhw",  "pshuflw",
    "punpcklqdq", "punpckhqdq", "pslldq",    "psrldq"};
constexpr std::string_view sse3_names[] = {"addsubps", "addsubpd", "haddps",   "haddpd",  "hsubps",
                                           "hsubpd",   "movddup",  "movsldup", "movshdup"};
constexpr std::string_view sse41_names[] = {
    "blendps",   "blendpd",  "blendvps", "blendvpd", "pblendvb", "pblendw",  "dpps",     "dppd",
    "extractps", "mpsadbw",  "packusdw", "pcmpeqq",  "pextrb",   "pextrd",   "pextrq",   "phminposuw",
    "pinsrb",    "pinsrd",   "pinsrq",   "pmaxsb",   "pmaxsd",   "pmaxud",   "pmaxuw",   "pminsb",
    "pminsd",    "pminud",   "pminuw",   "pmovsxbw", "pmovsxbd", "pmovsxbq", "pmovsxwd", "pmovsxwq",
    "pmovsxdq",  "pmovzxbw", "pmovzxbd", "pmovzxbq", "pmovzxwd", "pmovzxwq", "pmovzxdq", "pmuldq",
    "pmulld",    "ptest",    "roundps",  "roundpd",  "roundss",  "roundsd"};

constexpr Row single_rows[] = {
    // Names that an integer instruction has, too, or that differ in some way.
    sse("pxor", Feature::sse2, lower_exclusive_or),
    mmx("pxor", Feature::mmx),
    sse("xorps", Feature::sse, lower_exclusive_or),
    sse("xorpd", Feature::sse2, lower_exclusive_or),
    sse("cmpsd", Feature::sse2),
    sse("pextrw", Feature::sse2),
    mmx("pextrw", Feature::sse),
    mmx("pshufw", Feature::sse),
    sse("insertps", Feature::sse41, lower_insertps),
    sse("pcmpgtq", Feature::sse42),
    sse("pcmpestri", Feature::sse42, unaligned),
    sse("pcmpestrm", Feature::sse42, unaligned),
    sse("pcmpistri", Feature::sse42, unaligned),
    sse("pcmpistrm", Feature::sse42, unaligned),
    sse("cvtpi2ps", Feature::sse).under(Rule::mmx),
    sse("cvtps2pi", Feature::sse).under(Rule::mmx),
    sse("cvttps2pi", Feature::sse).under(Rule::mmx),
    sse("cvtpi2pd", Feature::sse2).under(Rule::mmx),
    sse("cvtpd2pi", Feature::sse2).under(Rule::mmx),
    sse("cvttpd2pi", Feature::sse2).under(Rule::mmx),

    // Moves.
    sse("movaps", Feature::sse, lower_move_whole<Alignment::natural>),
    sse("movapd", Feature::sse2, lower_move_whole<Alignment::natural>),
    sse("movdqa", Feature::sse2, lower_move_whole<Alignment::natural>),
    sse("movntps", Feature::sse, lower_move_whole<Alignment::natural>),
    sse("movntpd", Feature::sse2, lower_move_whole<Alignment::natural>),
    sse("movntdq", Feature::sse2, lower_move_whole<Alignment::natural>),
    sse("movntdqa", Feature::sse41, lower_move_whole<Alignment::natural>),
    sse("movups", Feature::sse, lower_move_whole<Alignment::none>),
    sse("movupd", Feature::sse2, lower_move_whole<Alignment::none>),
    sse("movdqu", Feature::sse2, lower_move_whole<Alignment::none>),
    sse("lddqu", Feature::sse3, lower_move_whole<Alignment::none>),
    sse("movss", Feature::sse, lower_move_scalar<4>),
    sse("movsd", Feature::sse2, lower_move_scalar<8>),
    sse("movlps", Feature::sse, lower_move_half<0, 0>),
    sse("movlpd", Feature::sse2, lower_move_half<0, 0>),
    sse("movhps", Feature::sse, lower_move_half<1, 1>),
    sse("movhpd", Feature::sse2, lower_move_half<1, 1>),
    sse("movhlps", Feature::sse, lower_move_half<0, 1>),
    sse("movlhps", Feature::sse, lower_move_half<1, 0>),
    sse("movd", Feature::sse2, lower_move_low),
    sse("movq", Feature::sse2, lower_move_low),
    mmx("movd", Feature::mmx, lower_move_mmx),
    mmx("movq", Feature::mmx, lower_move_mmx),
    mmx("movntq", Feature::sse, lower_move_mmx),
    sse("movq2dq", Feature::sse2, lower_move_mmx).under(Rule::mmx),
    sse("movdq2q", Feature::sse2, lower_move_mmx).under(Rule::mmx),
    sse("maskmovdqu", Feature::sse2, lower_masked_store),
    mmx("maskmovq", Feature::sse, lower_masked_store),
    row("emms", lower_emms).needs(Feature::mmx).under(Rule::mmx).tried(),
    row("ldmxcsr", lower_ldmxcsr).needs(Feature::sse).under(Rule::sse),
    row("stmxcsr", lower_stmxcsr).needs(Feature::sse).under(Rule::sse).tried(),

    // What no processor here has.
    missing("aesenc").needs(Feature::aes),
    missing("aesenclast").needs(Feature::aes),
    missing("aesdec").needs(Feature::aes),
    missing("aesdeclast").needs(Feature::aes),
    missing("aesimc").needs(Feature::aes),
    missing("aeskeygenassist").needs(Feature::aes),
    missing("pclmulqdq").needs(Feature::pclmulqdq),
    missing("extrq").needs(Feature::sse4a),
    missing("insertq").needs(Feature::sse4a),
    missing("movntsd").needs(Feature::sse4a),
    missing("movntss").needs(Feature::sse4a),
};

std::vector<Row> all_rows() {
  std::vector<Row> rows{std::begin(single_rows), std::end(single_rows)};
  const auto add_sse = [&](std::span<const std::string_view> names, Feature feature) {
    for (const std::string_view name : names) rows.push_back(sse(name, feature));
  };
  const auto add_mmx = [&](std::span<const std::string_view> names, Feature feature) {
    for (const std::string_view name : names) rows.push_back(mmx(name, feature));
  };
  add_sse(mmx_names, Feature::sse2);
  add_mmx(mmx_names, Feature::mmx);
  add_sse(sse_mmx_names, Feature::sse2);
  add_mmx(sse_mmx_names, Feature::sse);
  add_sse(sse2_both_names, Feature::sse2);
  add_mmx(sse2_both_names, Feature::sse2);
  add_sse(ssse3_names, Feature::ssse3);
  add_mmx(ssse3_names, Feature::ssse3);
  add_sse(sse_names, Feature::sse);
  add_sse(sse2_names, Feature::sse2);
  add_sse(sse3_names, Feature::sse3);
  add_sse(sse41_names, Feature::sse41);
  return rows;
}

}  // namespace

std::span<const Row> sse_rows() {
  static const std::vector<Row> rows = all_rows();
  return rows;
}

}  // namespace cbit::isa
