// Helpers of MMX and SSE: registers and memory around the operations of cpu/fp/sse.hpp.
#include <algorithm>
#include <bit>
#include <unordered_map>

#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::Gpr;
using isa::VectorParameters;

// The operations' names here, where they are not the instructions' own.
struct Alias {
  std::string_view mnemonic;
  std::string_view operation;
};
constexpr Alias aliases[] = {{"andps", "pand"}, {"andpd", "pand"}, {"andnps", "pandn"}, {"andnpd", "pandn"},
                             {"orps", "por"},   {"orpd", "por"},   {"xorps", "pxor"},   {"xorpd", "pxor"}};

// By mnemonic; with REX.W in the second half, where an operation differs then.
using Operations = std::vector<const fp::SseRow*>;

// Of two operations with one name, the first is of 32 bits, the second of 64.
Operations find_operations() {
  using ByName = std::unordered_map<std::string_view, const fp::SseRow*>;
  ByName narrow;
  ByName wide;
  for (std::size_t op = 0; op < static_cast<std::size_t>(fp::SseOp::count); ++op) {
    const fp::SseRow& row = fp::sse_row(static_cast<fp::SseOp>(op));
    (narrow.contains(row.name) ? wide : narrow).emplace(row.name, &row);
  }
  for (const Alias& alias : aliases) narrow.emplace(alias.mnemonic, narrow.at(alias.operation));
  const std::size_t count = isa::mnemonic_count();
  Operations operations(2 * count);
  for (std::uint16_t mnemonic = 0; mnemonic < count; ++mnemonic) {
    const auto found = narrow.find(isa::mnemonic_name(mnemonic));
    const auto found_wide = wide.find(isa::mnemonic_name(mnemonic));
    if (found == narrow.end()) continue;
    operations[mnemonic] = found->second;
    operations[count + mnemonic] = found_wide != wide.end() ? found_wide->second : found->second;
  }
  return operations;
}

// nullptr: no such operation.
const fp::SseRow* operation_of(const VectorParameters& with) {
  static const Operations operations = find_operations();
  return operations[with.mnemonic + (with.wide ? isa::mnemonic_count() : 0u)];
}

fp::Vec128 vector_at(const Core& core, isa::Slot slot) {
  return std::bit_cast<fp::Vec128>(get<isa::Xmm>(core, slot));
}
void put_vector(Core& core, isa::Slot slot, const fp::Vec128& value) {
  put(core, slot, std::bit_cast<isa::Xmm>(value));
}

fp::SseContext context_of(Core& core, const VectorParameters& with) {
  const auto length = [&](Gpr reg) {
    const std::uint64_t value = gpr(core, reg);
    return with.wide ? static_cast<std::int64_t>(value)
                     : std::int64_t{static_cast<std::int32_t>(static_cast<std::uint32_t>(value))};
  };
  return {.mxcsr = core.mxcsr,
          .xmm0 = vector_at(core, isa::slot_of_xmm(0)),
          .first_length = length(Gpr::rax),
          .second_length = length(Gpr::rdx)};
}

// #XF, or #UD where the system does not know of it: APM vol. 1, 4.10.
Outcome raise_simd_exception(Core& core) {
  return core.raise((core.sys.cr4 & cr4::osxmmexcpt) != 0 ? vector::xf : vector::ud);
}

void put_result(Core& core, const isa::Op& op, const VectorParameters& with, const fp::SseRow& row,
                const fp::Vec128& result, std::uint32_t flags) {
  switch (row.result) {
    case fp::SseResult::vector: put_vector(core, op.dst, result); return;
    case fp::SseResult::general: put_sized(core, op.dst, with.result_bytes, result.quads[0]); return;
    case fp::SseResult::flags: core.flags.set(flags); return;
    case fp::SseResult::vector_and_flags:
      put_vector(core, isa::slot_of_xmm(0), result);
      core.flags.set(flags);
      return;
    case fp::SseResult::general_and_flags:
      put<std::uint64_t>(core, isa::slot_of(Gpr::rcx), result.quads[0]);
      core.flags.set(flags);
      return;
  }
}

// A waiting exception of x87 comes first, and then the registers are MMX's.
bool enter_mmx(Core& core) {
  if (core.x87.pending()) return core.refuse(vector::mf);
  core.x87.enter_mmx();
  return true;
}

}  // namespace

Outcome sse(Core& core, const isa::Op& op) {
  const VectorParameters with = VectorParameters::unpacked(op.imm);
  const fp::SseRow* const row = operation_of(with);
  if (row == nullptr || row->xmm == nullptr) return core.raise(vector::ud);
  fp::SseContext context = context_of(core, with);
  const bool general = row->result != fp::SseResult::vector;
  const fp::Vec128 target = general && op.dst < isa::slot_of_xmm(0) ? fp::Vec128{} : vector_at(core, op.dst);
  const fp::Vec128 result = row->xmm(target, vector_at(core, op.a), with.immediate, context);
  core.mxcsr = context.mxcsr;
  if (context.exception) return raise_simd_exception(core);
  put_result(core, op, with, *row, result, context.flags);
  return Outcome::next;
}

// Both registers of MMX, or one of either kind: conversions (row.xmm), PINSRW, PEXTRW, PMOVMSKB.
Outcome mmx(Core& core, const isa::Op& op) {
  const VectorParameters with = VectorParameters::unpacked(op.imm);
  const fp::SseRow* const row = operation_of(with);
  if (row == nullptr) return core.raise(vector::ud);
  if (!enter_mmx(core)) return Outcome::fault;
  fp::SseContext context = context_of(core, with);
  const fp::Vec128 source = with.mmx_source ? fp::zero_extended(core.x87.mmx(op.a)) : vector_at(core, op.a);
  if (row->mmx == nullptr) {
    if (row->xmm == nullptr) return core.raise(vector::ud);
    const fp::Vec128 target = with.mmx_target ? fp::Vec128{} : vector_at(core, op.dst);
    const fp::Vec128 result = row->xmm(target, source, with.immediate, context);
    core.mxcsr = context.mxcsr;
    if (context.exception) return raise_simd_exception(core);
    if (with.mmx_target)
      core.x87.set_mmx(op.dst, fp::low_half(result));
    else
      put_vector(core, op.dst, result);
    return Outcome::next;
  }
  const fp::Vec64 target = with.mmx_target ? core.x87.mmx(op.dst) : fp::Vec64{};
  const fp::Vec64 result = row->mmx(target, fp::low_half(source), with.immediate, context);
  if (with.mmx_target)
    core.x87.set_mmx(op.dst, result);
  else
    put_sized(core, op.dst, with.result_bytes, result.quads[0]);
  return Outcome::next;
}

Outcome move_mmx(Core& core, const isa::Op& op) {
  const VectorParameters with = VectorParameters::unpacked(op.imm);
  if (!enter_mmx(core)) return Outcome::fault;
  const std::uint64_t value =
      with.mmx_source ? core.x87.mmx(op.a).quads[0] : get_sized(core, op.a, with.result_bytes);
  if (with.mmx_target)
    core.x87.set_mmx(op.dst, {{value}});
  else
    put<std::uint64_t>(core, op.dst, value);
  return Outcome::next;
}

// A waiting exception of x87, before an instruction of MMX accesses memory.
Outcome check_x87(Core& core, const isa::Op&) {
  return core.x87.pending() ? core.raise(vector::mf) : Outcome::next;
}

Outcome empty_mmx(Core& core, const isa::Op&) {
  if (core.x87.pending()) return core.raise(vector::mf);
  core.x87.emms();
  return Outcome::next;
}

Outcome load_mxcsr(Core& core, const isa::Op& op) {
  const auto value = get<std::uint32_t>(core, op.a);
  if ((value & ~fp::mxcsr_mask) != 0) return core.raise(vector::gp, 0);
  core.mxcsr.raw = value;
  return Outcome::next;
}

Outcome store_mxcsr(Core& core, const isa::Op& op) {
  put<std::uint32_t>(core, op.dst, core.mxcsr.raw);
  return Outcome::next;
}

// The bytes whose mask has its top bit set. With any of them, all of the operand has to be writable.
Outcome masked_store(Core& core, const isa::Op& op) {
  const VectorParameters with = VectorParameters::unpacked(op.imm);
  if (with.mmx_source && !enter_mmx(core)) return Outcome::fault;
  const auto operand = [&](isa::Slot from) {
    return with.mmx_source ? fp::zero_extended(core.x87.mmx(from)) : vector_at(core, from);
  };
  const auto data = operand(op.a).as<std::uint8_t>();
  const auto mask = operand(op.b).as<std::uint8_t>();
  const std::uint64_t at = address_of(core, &op);
  const auto selects = [](std::uint8_t byte) { return byte >> 7 != 0; };
  if (std::ranges::none_of(mask, selects)) return Outcome::next;
  if (!core.probe_write(core.data_set(), at, with.result_bytes)) return Outcome::fault;
  for (unsigned i = 0; i < with.result_bytes; ++i)
    if (selects(mask[i]) && !core.write(core.data_set(), at + i, &data[i], 1)) return Outcome::fault;
  return Outcome::next;
}

}  // namespace cbit::cpu::helpers
