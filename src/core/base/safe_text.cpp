#include "base/safe_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace cbit {
namespace {

// A character of the text, or a byte that begins none.
struct Glyph {
  std::size_t bytes = 1;
  char32_t code = 0;
  bool valid = false;
};

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

// By its first byte; 0: it begins no character.
std::size_t bytes_of_character(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;  // continuation bytes, and what is longer than needed
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}

Glyph first_glyph(std::string_view text) {
  const unsigned char first = byte_at(text, 0);
  const std::size_t bytes = bytes_of_character(first);
  if (bytes == 1) return {1, first, true};
  if (bytes == 0 || bytes > text.size()) return {};
  char32_t code = first & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    const unsigned char next = byte_at(text, i);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3f);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  if (code < least[bytes] || code > 0x10ffff || surrogate) return {};
  return {bytes, code, true};
}

struct Codes {
  char32_t first, last;
};
// Categories Cc, Cf, Zl and Zp, and the fillers that look like nothing.
constexpr Codes hidden[] = {{0x00, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},
                            {0x600, 0x605},     {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},
                            {0x890, 0x891},     {0x8e2, 0x8e2},     {0x115f, 0x1160},   {0x17b4, 0x17b5},
                            {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
                            {0x3164, 0x3164},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
                            {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
                            {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};

bool is_hidden(char32_t code) {
  const auto* const range = std::ranges::lower_bound(hidden, code, {}, &Codes::last);
  return range != std::end(hidden) && code >= range->first;
}

bool is_shown(const Glyph& glyph, bool lines) {
  if (lines && (glyph.code == U'\n' || glyph.code == U'\t') && glyph.valid) return true;
  return glyph.valid && !is_hidden(glyph.code);
}

void append_escape(std::string& out, const Glyph& glyph, unsigned char first) {
  if (!glyph.valid) return (void)fmt::format_to(std::back_inserter(out), "\\x{:02x}", first);
  switch (glyph.code) {
    case U'\n': out += "\\n"; return;
    case U'\t': out += "\\t"; return;
    case U'\r': out += "\\r"; return;
    default: break;
  }
  const auto code = static_cast<std::uint32_t>(glyph.code);
  if (code < 0x80)
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", code);
  else if (code < 0x10000)
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", code);
  else
    fmt::format_to(std::back_inserter(out), "\\U{:08x}", code);
}

std::string safe(std::string_view text, bool lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Glyph glyph = first_glyph(text);
    if (is_shown(glyph, lines))
      out += text.substr(0, glyph.bytes);
    else
      append_escape(out, glyph, byte_at(text, 0));
    text.remove_prefix(glyph.bytes);
  }
  return out;
}

}  // namespace

std::string safe_line(std::string_view text) { return safe(text, false); }
std::string safe_text(std::string_view text) { return safe(text, true); }

bool is_safe_text(std::string_view text) {
  while (!text.empty()) {
    const Glyph glyph = first_glyph(text);
    if (!is_shown(glyph, true)) return false;
    text.remove_prefix(glyph.bytes);
  }
  return true;
}

std::size_t whole_characters(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const unsigned char byte = byte_at(text, text.size() - back);
    if ((byte & 0xc0) == 0x80) continue;
    return bytes_of_character(byte) > back ? text.size() - back : text.size();
  }
  return text.size();
}

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : safe_text(text)) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : safe_line(text)) {
    if (c == '*' || c == '<' || c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace cbit
