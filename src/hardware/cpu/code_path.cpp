#include "cpu/code_path.hpp"

#include <algorithm>

#include "isa/lower.hpp"

namespace cbit::cpu {
namespace {

// As many as a block may have, so that code has the same bounds.
constexpr std::size_t instructions_max = isa::block_instructions_max;

unsigned runs_of(const CodeBlock& block, const PathRule& rule) {
  return rule.runs_wanted - std::min(block.ops[0].b, rule.runs_wanted);
}

bool is_on(const CodePath& path, const CodeBlock& block) {
  return std::ranges::any_of(path, [&](const PathStep& step) { return step.block == &block; });
}

// The exit that was taken most often, as far as its block's own count tells.
std::optional<unsigned> favourite_exit(const CodeBlock& block, const PathRule& rule) {
  std::optional<unsigned> best;
  unsigned most = 0;
  for (unsigned i = 0; block.exits + i != block.end; ++i) {
    const CodeBlock* const target = target_of(block.exits[i]);
    if (target == nullptr) continue;
    const unsigned runs = runs_of(*target, rule);
    if (!best || runs > most) best = i;
    most = std::max(most, runs);
  }
  return best;
}

// Rare blocks and those that have code already are left to their exits; where the way comes back to its
// start, it is a loop and ends.
std::optional<unsigned> exit_onward(const CodePath& path, const CodeBlock& from, const PathRule& rule) {
  for (const isa::Op* exit = from.exits; exit != from.end; ++exit)
    if (leads_to(*exit, *path.front().block)) return std::nullopt;
  const auto exit = favourite_exit(from, rule);
  if (!exit) return std::nullopt;
  const CodeBlock& next = *target_of(from.exits[*exit]);
  const bool runs_often = 2 * runs_of(next, rule) >= rule.runs_wanted;
  const bool is_free = rule.may_repeat || !next.translation.exists();
  const bool fits = instructions_of(path) + next.instructions <= instructions_max;
  return runs_often && is_free && fits && !is_on(path, next) ? exit : std::nullopt;
}

}  // namespace

bool leads_to(const isa::Op& exit, const CodeBlock& block) {
  return exit.code == isa::OpCode::exit && isa::place_of_exit(exit) == block.place();
}

CodePath path_from(CodeBlock& first, const PathRule& rule) {
  CodePath path{{&first, std::nullopt}};
  while (const auto onward = exit_onward(path, *path.back().block, rule)) {
    path.back().onward = onward;
    path.push_back({target_of(path.back().block->exits[*onward]), std::nullopt});
  }
  return path;
}

std::uint16_t instructions_of(const CodePath& path) {
  unsigned sum = 0;
  for (const PathStep& step : path) sum += step.block->instructions;
  return static_cast<std::uint16_t>(sum);
}

}  // namespace cbit::cpu
