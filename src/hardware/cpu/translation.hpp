// How generated code finds its way: what a translated block has beside its operations.
//
// Generated code never changes once it stands. Where it goes next is read from here, so that blocks are
// linked and unlinked by storing a pointer. Plain data; generated code addresses it by offset.
#pragma once

#include <array>
#include <cstdint>

namespace cbit::cpu {

struct Translation {
  static constexpr unsigned exits_max = 2;

  // Where other blocks enter this one, with the CodeBlock's address in RAX. Of a block that is interpreted:
  // the way back to the interpreter, to its first operation.
  const void* entry = nullptr;
  // Where generated code goes on by each exit, with the CodeBlock's address in RAX, be the code this block's
  // or another's that goes on with it: to the entry of the block it is linked to, or back to the interpreter.
  std::array<const void*, exits_max> exits{};
  // Of all blocks that the code goes through (cpu/code_path.hpp); 0: there is none.
  std::uint16_t path_instructions = 0;

  [[nodiscard]] bool exists() const { return path_instructions != 0; }
};

}  // namespace cbit::cpu
