#include "cli/safe_stream.hpp"

#include <algorithm>
#include <optional>

#include "base/safe_text.hpp"

namespace cbit::cli {
namespace {

constexpr char escape = '\x1b';
// What watch/report.cpp and doctor/text.cpp write: bold, faint, red, green, yellow, and their end.
constexpr std::string_view colours[] = {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"};

// The length of the colour that the text begins with; 0: none. nullopt: it may become one.
std::optional<std::size_t> colour_at(std::string_view text) {
  for (const std::string_view colour : colours) {
    if (text.starts_with(colour)) return colour.size();
    if (colour.starts_with(text)) return std::nullopt;
  }
  return 0;
}

}  // namespace

SafeBuffer::~SafeBuffer() { write_held(true); }

bool SafeBuffer::write(std::string_view text) {
  const auto bytes = static_cast<std::streamsize>(text.size());
  return next_->sputn(text.data(), bytes) == bytes;
}

// Up to what may go on in the next write; `all`: nothing goes on.
bool SafeBuffer::write_held(bool all) {
  std::string_view rest = held_;
  if (!all) rest = rest.substr(0, whole_characters(rest));
  bool good = true;
  std::size_t done = 0;
  while (!rest.empty() && good) {
    const std::size_t plain = std::min(rest.find(escape), rest.size());
    good = write(safe_text(rest.substr(0, plain)));
    rest.remove_prefix(plain);
    done += plain;
    if (rest.empty()) break;
    const auto colour = colour_at(rest);
    if (!colour && !all) break;
    const std::size_t bytes = std::max<std::size_t>(colour.value_or(0), 1);
    good = good &&
           write(colour.value_or(0) != 0 ? std::string{rest.substr(0, bytes)} : safe_text(rest.substr(0, 1)));
    rest.remove_prefix(bytes);
    done += bytes;
  }
  held_.erase(0, done);
  return good;
}

SafeBuffer::int_type SafeBuffer::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  const char one = traits_type::to_char_type(c);
  return xsputn(&one, 1) == 1 ? c : traits_type::eof();
}

std::streamsize SafeBuffer::xsputn(const char* text, std::streamsize bytes) {
  const std::string_view all{text, static_cast<std::size_t>(bytes)};
  if (held_.empty() && is_safe_text(all)) return write(all) ? bytes : 0;
  held_ += all;
  return write_held(false) ? bytes : 0;
}

int SafeBuffer::sync() { return next_->pubsync(); }

}  // namespace cbit::cli
