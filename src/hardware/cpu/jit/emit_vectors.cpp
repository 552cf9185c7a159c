// Code of SSE: the host's own instruction, on the guest's registers in the State.
//
// Left to the helper: approximations, which differ from processor to processor, and what sets flags in ways
// of its own (strings, PTEST) or takes XMM0 besides.
#include <unordered_map>

#include "cpu/jit/forms.hpp"
#include "isa/decode.hpp"
#include "isa/parameters.hpp"

namespace cbit::cpu::jit {
namespace {

using isa::VectorParameters;
using x86::xmm0;
using x86::xmm1;

enum class VectorKind : std::uint8_t {
  packed,        // target, source
  packed_by,     // target, source, immediate
  by,            // target, immediate
  insert,        // target, general register, immediate
  mask,          // general register, source
  floats,        // as packed, by MXCSR
  floats_by,     // as packed_by, by MXCSR
  compare,       // EFLAGS
  to_general,    // general register, source, by MXCSR
  from_general,  // target, general register, by MXCSR
  none
};

struct VectorForm {
  VectorKind kind = VectorKind::none;
  asmjit::InstId host = 0;
};

struct NamesOfKind {
  VectorKind kind;
  std::vector<std::string_view> names;
};

std::vector<NamesOfKind> names_by_kind() {
  return {
      {VectorKind::packed,
       {"paddb",      "paddw",     "paddd",     "paddq",      "paddsb",    "paddsw",    "paddusb",
        "paddusw",    "psubb",     "psubw",     "psubd",      "psubq",     "psubsb",    "psubsw",
        "psubusb",    "psubusw",   "pmulhw",    "pmullw",     "pmulhuw",   "pmuludq",   "pmaddwd",
        "pmaddubsw",  "pmulhrsw",  "pmulld",    "pmuldq",     "pavgb",     "pavgw",     "psadbw",
        "pmaxub",     "pmaxsw",    "pmaxsb",    "pmaxuw",     "pmaxud",    "pmaxsd",    "pminub",
        "pminsw",     "pminsb",    "pminuw",    "pminud",     "pminsd",    "pcmpeqb",   "pcmpeqw",
        "pcmpeqd",    "pcmpeqq",   "pcmpgtb",   "pcmpgtw",    "pcmpgtd",   "pcmpgtq",   "psignb",
        "psignw",     "psignd",    "pabsb",     "pabsw",      "pabsd",     "phaddw",    "phaddd",
        "phaddsw",    "phsubw",    "phsubd",    "phsubsw",    "psllw",     "pslld",     "psllq",
        "psrlw",      "psrld",     "psrlq",     "psraw",      "psrad",     "pand",      "pandn",
        "por",        "pxor",      "pshufb",    "packsswb",   "packssdw",  "packuswb",  "packusdw",
        "punpcklbw",  "punpcklwd", "punpckldq", "punpcklqdq", "punpckhbw", "punpckhwd", "punpckhdq",
        "punpckhqdq", "unpcklps",  "unpckhps",  "unpcklpd",   "unpckhpd",  "andps",     "andpd",
        "andnps",     "andnpd",    "orps",      "orpd",       "xorps",     "xorpd",     "pmovsxbw",
        "pmovsxbd",   "pmovsxbq",  "pmovsxwd",  "pmovsxwq",   "pmovsxdq",  "pmovzxbw",  "pmovzxbd",
        "pmovzxbq",   "pmovzxwd",  "pmovzxwq",  "pmovzxdq",   "movddup",   "movsldup",  "movshdup"}},
      {VectorKind::packed_by,
       {"pshufd", "pshufhw", "pshuflw", "shufps", "shufpd", "palignr", "blendps", "blendpd", "pblendw"}},
      {VectorKind::by, {"pslldq", "psrldq"}},
      {VectorKind::insert, {"pinsrb", "pinsrw", "pinsrd", "pinsrq"}},
      {VectorKind::mask, {"pmovmskb", "movmskps", "movmskpd"}},
      {VectorKind::floats,
       {"addps",    "addpd",     "addss",    "addsd",    "subps",    "subpd",    "subss",    "subsd",
        "mulps",    "mulpd",     "mulss",    "mulsd",    "divps",    "divpd",    "divss",    "divsd",
        "minps",    "minpd",     "minss",    "minsd",    "maxps",    "maxpd",    "maxss",    "maxsd",
        "sqrtps",   "sqrtpd",    "sqrtss",   "sqrtsd",   "addsubps", "addsubpd", "haddps",   "haddpd",
        "hsubps",   "hsubpd",    "cvtps2pd", "cvtpd2ps", "cvtss2sd", "cvtsd2ss", "cvtdq2ps", "cvtdq2pd",
        "cvtps2dq", "cvttps2dq", "cvtpd2dq", "cvttpd2dq"}},
      {VectorKind::floats_by,
       {"cmpps", "cmppd", "cmpss", "cmpsd", "roundps", "roundpd", "roundss", "roundsd"}},
      {VectorKind::compare, {"comiss", "comisd", "ucomiss", "ucomisd"}},
      {VectorKind::to_general, {"cvtss2si", "cvttss2si", "cvtsd2si", "cvttsd2si"}},
      {VectorKind::from_general, {"cvtsi2ss", "cvtsi2sd"}},
  };
}

bool host_has_all() {
  using Feature = asmjit::CpuFeatures::X86;
  const asmjit::CpuInfo& host = asmjit::CpuInfo::host();
  return host.hasFeature(Feature::kSSE3) && host.hasFeature(Feature::kSSSE3) &&
         host.hasFeature(Feature::kSSE4_1) && host.hasFeature(Feature::kSSE4_2);
}

// By mnemonic.
std::vector<VectorForm> make_forms() {
  std::vector<VectorForm> forms(isa::mnemonic_count());
  if (!host_has_all()) return forms;
  std::unordered_map<std::string_view, VectorForm> by_name;
  for (const auto& [kind, names] : names_by_kind())
    for (const std::string_view name : names)
      by_name[name] = {kind, asmjit::InstAPI::stringToInstId(asmjit::Arch::kX64, name.data(), name.size())};
  for (std::uint16_t mnemonic = 0; mnemonic < forms.size(); ++mnemonic)
    if (const auto found = by_name.find(isa::mnemonic_name(mnemonic)); found != by_name.end())
      forms[mnemonic] = found->second;
  return forms;
}

// XMM0 and XMM1: the target's and the source's values.
void load_operands(BlockEmitter& e, const Op& op) {
  e.as.movups(xmm0, in_state(op.dst, 16));
  e.as.movups(xmm1, in_state(op.a, 16));
}
void store_target(BlockEmitter& e, const Op& op) { e.as.movups(in_state(op.dst, 16), xmm0); }

// The unordered flags are the host's; OF, SF and AF are zero.
void emit_compare(BlockEmitter& e, const Op& op, asmjit::InstId host) {
  load_operands(e, op);
  e.as.emit(host, xmm0, xmm1);
  e.as.lahf();
  e.as.movzx(x86::ecx, x86::ah);
  e.as.and_(x86::ecx, Imm{isa::flag_cf | isa::flag_pf | isa::flag_zf});
  e.set_flags_to_image();
}

void emit_to_general(BlockEmitter& e, const Op& op, asmjit::InstId host, const VectorParameters& with) {
  e.as.movups(xmm1, in_state(op.a, 16));
  e.as.emit(host, with.wide ? Gp{rax} : Gp{x86::eax}, xmm1);
  e.put(op.dst, rax, with.result_bytes);
}

void emit_from_general(BlockEmitter& e, const Op& op, asmjit::InstId host, const VectorParameters& with) {
  e.as.movups(xmm0, in_state(op.dst, 16));
  e.as.mov(rax, in_state(op.a, 8));
  e.as.emit(host, xmm0, with.wide ? Gp{rax} : Gp{x86::eax});
  store_target(e, op);
}

void emit_insert(BlockEmitter& e, const Op& op, asmjit::InstId host, const VectorParameters& with) {
  e.as.movups(xmm0, in_state(op.dst, 16));
  e.as.mov(rax, in_state(op.a, 8));
  const bool quad = host == x86::Inst::kIdPinsrq;
  e.as.emit(host, xmm0, quad ? Gp{rax} : Gp{x86::eax}, Imm{with.immediate});
  store_target(e, op);
}

bool is_vector_slot(Slot slot) { return slot >= isa::slot_of_xmm(0); }

}  // namespace

bool emit_vector(BlockEmitter& e, const Op& op) {
  static const std::vector<VectorForm> forms = make_forms();
  if (op.code != isa::OpCode::helper || op.helper != isa::Helper::sse) return false;
  const VectorParameters with = VectorParameters::unpacked(op.imm);
  const VectorForm form = forms[with.mnemonic];
  const bool general = form.kind == VectorKind::mask || form.kind == VectorKind::to_general;
  if (form.kind == VectorKind::none || !is_vector_slot(op.a)) return false;
  if (form.kind != VectorKind::compare && is_vector_slot(op.dst) == general) return false;
  switch (form.kind) {
    case VectorKind::floats: e.begin_floats(); [[fallthrough]];
    case VectorKind::packed:
      load_operands(e, op);
      e.as.emit(form.host, xmm0, xmm1);
      store_target(e, op);
      return true;
    case VectorKind::floats_by: e.begin_floats(); [[fallthrough]];
    case VectorKind::packed_by:
      load_operands(e, op);
      e.as.emit(form.host, xmm0, xmm1, Imm{with.immediate});
      store_target(e, op);
      return true;
    case VectorKind::by:
      e.as.movups(xmm0, in_state(op.dst, 16));
      e.as.emit(form.host, xmm0, Imm{with.immediate});
      store_target(e, op);
      return true;
    case VectorKind::insert: emit_insert(e, op, form.host, with); return true;
    case VectorKind::mask:
      e.as.movups(xmm1, in_state(op.a, 16));
      e.as.emit(form.host, x86::eax, xmm1);
      e.put(op.dst, rax, with.result_bytes);
      return true;
    case VectorKind::compare:
      e.begin_floats();
      emit_compare(e, op, form.host);
      return true;
    case VectorKind::to_general:
      e.begin_floats();
      emit_to_general(e, op, form.host, with);
      return true;
    case VectorKind::from_general:
      e.begin_floats();
      emit_from_general(e, op, form.host, with);
      return true;
    case VectorKind::none: return false;
  }
  return false;
}

}  // namespace cbit::cpu::jit
