// What a guest writes to a raw terminal: however it is cut into pieces, what comes out is text with the
// control characters and sequences that may pass, and nothing else; and made fit once more, it says the
// same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/safe_text.hpp"
#include "base/terminal_text.hpp"
#include "fuzz_input.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// A sequence of those that pass, without its ESC; 0: none.
std::size_t sequence_at(std::string_view text) {
  constexpr std::string_view finals = "@ABCDEFGHJKLMPXadefmsu`", digits = "0123456789;";
  if (text.empty()) return 0;
  if (text.front() != '[') return std::string_view{"DEM78"}.find(text.front()) != text.npos ? 1 : 0;
  const std::size_t last = text.find_first_not_of(digits, 1);
  return last != text.npos && finals.find(text[last]) != finals.npos ? last + 1 : 0;
}

void check(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '\x1b') {
      const std::size_t bytes = sequence_at(text);
      require(bytes != 0);
      text.remove_prefix(bytes);
    } else if (c != '\r' && c != '\b' && c != '\a') {
      plain += c;
    }
  }
  require(cbit::is_safe_text(plain));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const std::string whole = cbit::TerminalText{}.take(text);
  check(whole);
  require(cbit::TerminalText{}.take(whole) == whole);
  cbit::TerminalText pieces;
  cbit::FuzzInput cuts{data, size};
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t n = std::min<std::size_t>(rest.size(), 1 + cuts.below(7));
    out += pieces.take(rest.substr(0, n));
    rest.remove_prefix(n);
  }
  require(out == whole);
  return 0;
}
