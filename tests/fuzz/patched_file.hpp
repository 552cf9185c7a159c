// An input for parsers of files that random bytes never look like: a valid file, with bytes of it changed.
#pragma once

#include "fuzz_input.hpp"

namespace cbit {

// Takes the rest of the input: where, and what instead. One in eight files is also cut off.
inline Bytes patched(Bytes file, FuzzInput& input) {
  if (input.below(8) == 0) file.resize(file.size() - input.take<std::uint32_t>() % (file.size() + 1));
  while (!input.empty() && !file.empty()) {
    const std::size_t at = input.take<std::uint32_t>() % file.size();
    const std::uint8_t count = input.below(9);
    for (std::size_t i = 0; i < count && at + i < file.size(); ++i) file[at + i] = std::byte{input.byte()};
  }
  return file;
}

}  // namespace cbit
