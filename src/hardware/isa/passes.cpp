#include "isa/passes.hpp"

namespace cbit::isa {
namespace {

constexpr unsigned distance_to_twin = 4;

struct Effect {
  bool reads = false;
  bool sets = false;
};

Effect effect_of(FlagEffect effect) {
  switch (effect) {
    case FlagEffect::none: return {};
    case FlagEffect::reads: return {.reads = true};
    case FlagEffect::sets:
    case FlagEffect::sets_or_none: return {.sets = true};
    case FlagEffect::updates:
    case FlagEffect::updates_or_none:
    case FlagEffect::updates_or_reads: return {.reads = true, .sets = true};
  }
  return {};
}

bool has_twin(FlagEffect effect) { return effect >= FlagEffect::sets_or_none; }

// Nothing but flags comes of a comparison.
bool only_sets_flags(OpCode code) {
  return (code >= OpCode::cmp_rr_8 && code <= OpCode::cmp_ri_64) ||
         (code >= OpCode::test_rr_8 && code <= OpCode::test_ri_64);
}

}  // namespace

void drop_dead_flags(Block& block) {
  bool live = true;
  for (auto op = block.ops.rbegin(); op != block.ops.rend(); ++op) {
    const OpInfo* info = &info_of(op->code);
    if (!live && has_twin(info->effect)) {
      op->code = op->code + distance_to_twin;
      info = &info_of(op->code);
    } else if (!live && only_sets_flags(op->code)) {
      op->code = OpCode::nop;
      info = &info_of(op->code);
    }
    const Effect effect = effect_of(info->effect);
    if (effect.sets) live = false;
    // A branch that sets flags, by its comparison, shows nobody the old ones.
    const bool shows_flags = info->kind != OpKind::plain && !(info->kind == OpKind::branch && effect.sets);
    if (effect.reads || shows_flags) live = true;
  }
  std::erase_if(block.ops, [](const Op& op) { return op.code == OpCode::nop; });
}

}  // namespace cbit::isa
