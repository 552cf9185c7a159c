// The state of a machine as a stream of bytes, written and read by the same functions, so that the two cannot
// drift apart:
//
//   void Pit::transfer(StateStream& s) {
//     s.section("pit", [&] { s(input_, irq_, counters_, timer_); });
//   }
//
// A class with state has such a function; it writes its members, or sets them, as loads() says. What can be
// made again (translations, leases, decoded code) is not in it: loading drops it.
//
// A section has a name and a length. Numbers are little-endian and as wide as their type. What is read may be
// anything: the first thing that is not as it should be is trouble(), which names the section; from there on
// nothing is read, members stay as they are, and count() is 0. Nothing is allocated that the stream has no
// bytes for.
//
// Threading: one thread.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.hpp"

namespace cbit {

class StateStream {
 public:
  // Writes.
  StateStream() = default;
  // Reads; the bytes outlive it.
  explicit StateStream(ConstByteSpan saved) : loads_{true}, in_{saved}, end_{saved.size()} {}
  StateStream(const StateStream&) = delete;
  StateStream& operator=(const StateStream&) = delete;

  [[nodiscard]] bool loads() const { return loads_; }
  // What has been written.
  [[nodiscard]] const Bytes& bytes() const { return out_; }
  // Empty: all is well. Else for a human: "section pit: it ends too early".
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  [[nodiscard]] bool good() const { return trouble_.empty(); }
  // What was read is no state of this machine; what was to be written cannot be. The first trouble stays.
  void refuse(std::string_view why);
  void require(bool condition, std::string_view why) {
    if (!condition) refuse(why);
  }

  // Nothing of it may be left over, and nothing read beyond it.
  template <class Body>
  void section(std::string_view name, Body&& body) {
    const Outer outer = begin_section(name);
    if (good()) body();
    end_section(outer);
  }
  // Reading: all sections have been read.
  void finish();

  template <class... Values>
  void operator()(Values&... values) {
    (value(values), ...);
  }
  // An enumerator from 0 to `last`; a number of at most that.
  template <class Enum>
    requires std::is_enum_v<Enum>
  void choice(Enum& value, Enum last) {
    auto raw = static_cast<std::underlying_type_t<Enum>>(value);
    up_to(raw, static_cast<std::underlying_type_t<Enum>>(last));
    value = static_cast<Enum>(raw);
  }
  template <std::unsigned_integral T>
  void up_to(T& value, T last) {
    T read = value;
    number(read);
    require(read <= last, "a value is out of its range");
    if (good()) value = read;
  }
  // How many elements follow: at most `max`, and as many as the stream can have, each of which has at least
  // a byte. 0 once there is trouble.
  [[nodiscard]] std::size_t count(std::size_t size, std::size_t max);
  void raw(ByteSpan bytes);
  void text(std::string& text, std::size_t max);
  // Elements that operator() knows.
  template <class T>
  void list(T& elements, std::size_t max) {
    const std::size_t size = count(elements.size(), max);
    if (loads_) elements.resize(size);
    for (auto& element : elements) value(element);
  }
  // As many as there are.
  template <class T>
  void same_size(T& elements) {
    require(count(elements.size(), elements.size()) == elements.size() || !good(),
            "it is that of another machine");
    if (good())
      for (auto& element : elements) value(element);
  }

 private:
  struct Outer {
    std::string_view name;
    std::size_t at = 0;   // writing: where the length goes
    std::size_t end = 0;  // reading: of the section around
  };
  Outer begin_section(std::string_view name);
  void end_section(const Outer& outer);
  [[nodiscard]] bool take(ByteSpan to);

  template <std::integral T>
  void number(T& value) {
    std::array<std::byte, sizeof(T)> bytes;
    if (!loads_) {
      store(bytes, 0, value);
      out_.insert(out_.end(), bytes.begin(), bytes.end());
    } else if (take(bytes)) {
      value = load<T>(bytes);
    }
  }

  void value(bool& value) {
    std::uint8_t byte = value ? 1 : 0;
    up_to(byte, std::uint8_t{1});
    value = byte != 0;
  }
  template <std::integral T>
  void value(T& value) {
    number(value);
  }
  // Register<>, and others that are one number.
  template <class T>
    requires std::integral<decltype(T::raw)>
  void value(T& value) {
    number(value.raw);
  }
  template <class T>
    requires requires(T& t, StateStream& s) { t.transfer(s); }
  void value(T& value) {
    value.transfer(*this);
  }
  template <class T, std::size_t size>
  void value(std::array<T, size>& values) {
    if constexpr (std::is_same_v<T, std::byte>)
      raw(values);
    else
      for (T& one : values) value(one);
  }
  template <class T>
  void value(std::optional<T>& maybe) {
    bool there = maybe.has_value();
    value(there);
    if (loads_ && good()) there ? void(maybe.emplace()) : maybe.reset();
    if (maybe && there) value(*maybe);
  }

  bool loads_ = false;
  Bytes out_;
  ConstByteSpan in_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;  // of the section that is being read
  std::string_view section_ = "the beginning";
  std::string trouble_;
};

}  // namespace cbit
