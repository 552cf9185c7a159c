#include "base/state_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"

namespace cbit {

void StateStream::refuse(std::string_view why) {
  if (good()) trouble_ = fmt::format("section {}: {}", section_, why);
}

// The name's length in a byte, the name, the section's length in four.
StateStream::Outer StateStream::begin_section(std::string_view name) {
  CBIT_ASSERT(name.size() <= 0xff);
  Outer outer{section_, out_.size(), end_};
  section_ = name;
  auto length = static_cast<std::uint8_t>(name.size());
  number(length);
  std::array<std::byte, 0xff> found;
  std::memcpy(found.data(), name.data(), name.size());
  require(length == name.size(), "another is in its place");
  if (good()) raw(ByteSpan{found}.first(name.size()));
  require(std::memcmp(found.data(), name.data(), name.size()) == 0, "another is in its place");
  std::uint32_t bytes = 0;
  outer.at = out_.size();
  number(bytes);
  if (!loads_ || !good()) return outer;
  require(bytes <= end_ - at_, "it is longer than the file");
  if (good()) end_ = at_ + bytes;
  return outer;
}

void StateStream::end_section(const Outer& outer) {
  if (loads_) {
    require(at_ == end_ || !good(), "more is in it than belongs there");
    end_ = outer.end;
  } else if (good()) {
    const std::size_t bytes = out_.size() - outer.at - sizeof(std::uint32_t);
    require(bytes <= 0xffff'ffff, "it is too long");
    store(out_, outer.at, static_cast<std::uint32_t>(bytes));
  }
  section_ = outer.name;
}

void StateStream::finish() { require(at_ == in_.size() || !good(), "more follows behind the last section"); }

std::size_t StateStream::count(std::size_t size, std::size_t max) {
  auto number_of = static_cast<std::uint64_t>(size);
  number(number_of);
  require(number_of <= max, "there are too many of something");
  if (loads_) require(number_of <= end_ - at_ || !good(), "it ends too early");
  return good() ? static_cast<std::size_t>(number_of) : 0;
}

void StateStream::raw(ByteSpan bytes) {
  if (loads_)
    (void)take(bytes);
  else
    out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void StateStream::text(std::string& text, std::size_t max) {
  const std::size_t size = count(text.size(), max);
  if (!good()) return;
  if (loads_) text.resize(size);
  raw(std::as_writable_bytes(std::span{text}));
}

bool StateStream::take(ByteSpan to) {
  require(to.size() <= end_ - at_, "it ends too early");
  if (!good()) return false;
  std::ranges::copy(in_.subspan(at_, to.size()), to.begin());
  at_ += to.size();
  return true;
}

}  // namespace cbit
