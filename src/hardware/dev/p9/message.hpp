// 9P messages as bytes: a reader that nothing in them leads beyond their end, and a writer. spec/p9.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "base/bytes.hpp"

namespace cbit::dev {

// What the server knows a file by.
struct P9Qid {
  std::uint8_t type = 0;
  std::uint32_t version = 0;
  std::uint64_t path = 0;

  static constexpr std::size_t bytes = 13;
  friend bool operator==(const P9Qid&, const P9Qid&) = default;
};

// Of a message that is cut short everything that is missing reads as zero, and is_done() is false.
class P9Reader {
 public:
  explicit P9Reader(ConstByteSpan message) : rest_{message} {}

  template <class T>
  T take() {
    const ConstByteSpan part = take_bytes(sizeof(T));
    return part.size() == sizeof(T) ? load<T>(part) : T{};
  }
  // Refers to the message's bytes.
  std::string_view take_text() {
    const ConstByteSpan part = take_bytes(take<std::uint16_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  P9Qid take_qid() {
    const auto type = take<std::uint8_t>();
    const auto version = take<std::uint32_t>();
    return {type, version, take<std::uint64_t>()};
  }
  ConstByteSpan take_bytes(std::size_t bytes) {
    if (bytes > rest_.size()) {
      is_cut_ = true;
      rest_ = {};
      return {};
    }
    const ConstByteSpan part = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return part;
  }

  // The message had what was taken of it, and no more.
  [[nodiscard]] bool is_done() const { return !is_cut_ && rest_.empty(); }

 private:
  ConstByteSpan rest_;
  bool is_cut_ = false;
};

class P9Writer {
 public:
  // The size is set by finish().
  P9Writer(std::uint8_t type, std::uint16_t tag) {
    put(std::uint32_t{0});
    put(type);
    put(tag);
  }

  template <class T>
  void put(const T& value) {
    put_bytes(bytes_of(value));
  }
  // At most 65535 bytes.
  void put_text(std::string_view text) {
    put(static_cast<std::uint16_t>(text.size()));
    put_bytes(std::as_bytes(std::span{text}));
  }
  void put_qid(const P9Qid& qid) {
    put(qid.type);
    put(qid.version);
    put(qid.path);
  }
  void put_bytes(ConstByteSpan bytes) {
    const std::size_t end = message_.size();
    message_.resize(end + bytes.size());
    std::ranges::copy(bytes, message_.begin() + static_cast<std::ptrdiff_t>(end));
  }

  [[nodiscard]] Bytes finish() && {
    store(message_, 0, static_cast<std::uint32_t>(message_.size()));
    return std::move(message_);
  }

 private:
  Bytes message_;
};

}  // namespace cbit::dev
