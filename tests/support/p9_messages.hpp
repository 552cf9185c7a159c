// 9P messages as a client writes them, and what it makes of the answers.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "dev/p9/message.hpp"
#include "spec/p9.hpp"

namespace cbit::test {

inline constexpr std::uint16_t p9_tag = 7;

// Numbers go in as wide as they are, text with its length.
template <class... Fields>
Bytes p9_ask(std::uint8_t type, const Fields&... fields) {
  dev::P9Writer out{type, p9_tag};
  const auto put = [&out](const auto& field) {
    if constexpr (std::is_integral_v<std::decay_t<decltype(field)>>)
      out.put(field);
    else
      out.put_text(field);
  };
  (put(fields), ...);
  return std::move(out).finish();
}

inline Bytes p9_ask_version(std::uint32_t msize = 8192, std::string_view version = spec::p9_version) {
  return p9_ask(spec::p9_type::tversion, msize, version);
}
inline Bytes p9_ask_attach(std::uint32_t fid) {
  return p9_ask(spec::p9_type::tattach, fid, spec::p9_no_fid, "root", "", std::uint32_t{0});
}
inline Bytes p9_ask_walk(std::uint32_t fid, std::uint32_t new_fid,
                         const std::vector<std::string_view>& names) {
  dev::P9Writer out{spec::p9_type::twalk, p9_tag};
  out.put(fid);
  out.put(new_fid);
  out.put(static_cast<std::uint16_t>(names.size()));
  for (const std::string_view name : names) out.put_text(name);
  return std::move(out).finish();
}
inline Bytes p9_ask_open(std::uint32_t fid, std::uint32_t flags = spec::p9_open::read_only) {
  return p9_ask(spec::p9_type::tlopen, fid, flags);
}
inline Bytes p9_ask_read(std::uint32_t fid, std::uint64_t offset, std::uint32_t count) {
  return p9_ask(spec::p9_type::tread, fid, offset, count);
}

struct P9Answer {
  explicit P9Answer(Bytes answer) : bytes{std::move(answer)} {
    dev::P9Reader in{bytes};
    size = in.take<std::uint32_t>();
    type = in.take<std::uint8_t>();
    tag = in.take<std::uint16_t>();
    if (type == spec::p9_type::rlerror) error = static_cast<int>(in.take<std::uint32_t>());
  }
  [[nodiscard]] dev::P9Reader body() const {
    return dev::P9Reader{ConstByteSpan{bytes}.subspan(std::min<std::size_t>(bytes.size(), 7))};
  }
  // The data of Rread.
  [[nodiscard]] std::string data() const {
    dev::P9Reader in = body();
    const ConstByteSpan part = in.take_bytes(in.take<std::uint32_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  Bytes bytes;
  std::uint32_t size = 0;
  std::uint8_t type = 0;
  std::uint16_t tag = 0;
  int error = 0;  // of Rlerror
};

}  // namespace cbit::test
