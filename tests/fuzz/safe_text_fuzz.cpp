// Text from anywhere on its way to a terminal: what comes out of safe_line() and safe_text() is harmless,
// says the same when it is made safe again, and is all of what was harmless before; and the stream before a
// terminal lets through what they would, however the text is cut into writes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>

#include "base/safe_text.hpp"
#include "cli/safe_stream.hpp"
#include "fuzz_input.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool has_control(std::string_view text, bool lines) {
  return std::ranges::any_of(text, [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && !(lines && (c == '\n' || c == '\t'))) || byte == 0x7f;
  });
}

// ESC passes as the beginning of a colour only.
void check_stream(std::string_view text, cbit::FuzzInput& cuts) {
  std::ostringstream out;
  {
    cbit::cli::SafeBuffer buffer{*out.rdbuf()};
    std::ostream stream{&buffer};
    while (!text.empty()) {
      const std::size_t n = std::min<std::size_t>(text.size(), 1 + cuts.below(7));
      stream << text.substr(0, n);
      if (cuts.flag()) stream.flush();
      text.remove_prefix(n);
    }
  }
  std::string got = out.str();
  for (const std::string_view colour : {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"})
    for (std::size_t at = 0; (at = got.find(colour, at)) != std::string::npos;) got.erase(at, colour.size());
  require(cbit::is_safe_text(got));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const std::string line = cbit::safe_line(text), lines = cbit::safe_text(text);
  require(!has_control(line, false) && !has_control(lines, true));
  require(cbit::is_safe_text(line) && cbit::is_safe_text(lines));
  require(cbit::safe_line(line) == line && cbit::safe_text(lines) == lines);
  require(cbit::is_safe_text(text) == (lines == text));
  require(cbit::whole_characters(text) <= size && size - cbit::whole_characters(text) <= 3);
  const std::string html = cbit::html_text(text);
  require(html.find_first_of("<>\"'") == std::string::npos);
  cbit::FuzzInput cuts{data, size};
  check_stream(text, cuts);
  return 0;
}
