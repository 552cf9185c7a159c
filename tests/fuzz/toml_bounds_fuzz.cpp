// TOML that is made to exhaust a parser's stack: pieces of the grammar, each up to some ten thousand times.
// Whatever the scanner of bounds lets through, the parser behind it must survive.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include "base/toml_bounds.hpp"
#include "fuzz_input.hpp"
#include "lab/experiment.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view pieces[] = {"[",   "]",     "{",      "}",        "a",      ".",
                                         "=",   ",",     "\"",     "'",        "\"\"\"", "'''",
                                         "\\",  "\n",    "#",      " ",        "1",      "a.",
                                         "[[",  "{a=",   "\"a\".", "[{a=",     "a=1\n",  "]]\n",
                                         "1.5", "x=[\n", "\\\"",   "\"\"\"\"", "'''''",  "\r\n"};
  constexpr std::size_t bytes_max = 20'000;
  cbit::FuzzInput input{data, size};
  std::string text;
  while (!input.empty() && text.size() < bytes_max) {
    const std::string_view piece = pieces[input.below(static_cast<unsigned>(std::size(pieces)))];
    const unsigned times =
        input.below(8) == 0 ? 1u + input.take<std::uint16_t>() % 20'000u : 1u + input.below(3);
    for (unsigned i = 0; i < times && text.size() < bytes_max; ++i) text += piece;
  }
  const auto deep = cbit::find_too_deep(text);
  const auto loaded =
      cbit::lab::load_experiment(text, "fuzz.toml", {.steps = 4, .devices = 1, .bytes = 1 << 16});
  if (deep && loaded) std::abort();
  return 0;
}
