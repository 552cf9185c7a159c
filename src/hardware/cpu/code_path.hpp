// Which blocks become code of the host together: from one block on, the way that has been gone most often.
//
// All blocks of a way lie in one page, for an exit is linked only to a block of its page.
#pragma once

#include <optional>
#include <vector>

#include "cpu/code_cache.hpp"

namespace cbit::cpu {

struct PathStep {
  CodeBlock* block = nullptr;
  std::optional<unsigned> onward;  // the exit that leads to the next step; nullopt: this is the last
};
using CodePath = std::vector<PathStep>;

// What a way is chosen by.
struct PathRule {
  isa::Slot runs_wanted = 0;  // how often a block runs before it is translated: it counts down from there
  bool may_repeat = false;    // blocks that have code of their own are put into another's, too
};

// Whether the exit leads to the block, which lies in its page, be it linked to it yet or not.
[[nodiscard]] bool leads_to(const isa::Op& exit, const CodeBlock& block);
[[nodiscard]] CodePath path_from(CodeBlock& first, const PathRule& rule);
[[nodiscard]] std::uint16_t instructions_of(const CodePath& path);

}  // namespace cbit::cpu
