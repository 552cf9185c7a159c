// String comparison of SSE4.2, and CRC32.
#include <algorithm>
#include <bit>

#include "cpu/fp/sse_rows.hpp"

namespace cbit::cpu::fp {
namespace {

// The immediate: SDM vol. 2, 4.1.
struct StringControl : Register<StringControl, std::uint8_t> {
  using MostSignificant = Field<6, 6, bool>;  // of PCMPxSTRI; of PCMPxSTRM: a mask of lanes, not of bits
  using Negative = Field<4, 4, bool>;
  using Masked = Field<5, 5, bool>;  // negates valid elements only
  using Aggregation = Field<3, 2>;
  using Signed = Field<1, 1, bool>;
  using Words = Field<0, 0, bool>;
};
enum Aggregation : U8 { equal_any, ranges, equal_each, equal_ordered };

struct String {
  std::array<int, 16> elements{};
  unsigned length = 0;
};

struct Strings {
  String first;
  String second;
  unsigned size = 0;  // elements that a register holds
};

template <class T>
void take_elements(String& string, const Vec128& value) {
  const auto lanes = value.as<T>();
  std::copy(lanes.begin(), lanes.end(), string.elements.begin());
}

String string_of(const Vec128& value, StringControl control) {
  String string;
  const bool is_signed = control.get<StringControl::Signed>();
  if (control.get<StringControl::Words>()) {
    is_signed ? take_elements<I16>(string, value) : take_elements<U16>(string, value);
  } else {
    is_signed ? take_elements<I8>(string, value) : take_elements<U8>(string, value);
  }
  return string;
}

unsigned implicit_length(const String& string, unsigned size) {
  const auto end = string.elements.begin() + size;
  return static_cast<unsigned>(std::find(string.elements.begin(), end, 0) - string.elements.begin());
}

unsigned explicit_length(std::int64_t length, unsigned size) {
  const auto bits = static_cast<U64>(length);
  return static_cast<unsigned>(std::min<U64>(length < 0 ? 0 - bits : bits, size));
}

// Whether element j of the second string matches; element i of the first is what it is compared with.
// Elements beyond a string's end: SDM vol. 2, 4.1.6.
bool is_in_set(const Strings& s, unsigned j) {
  const auto& set = s.first.elements;
  const auto end = set.begin() + s.first.length;
  return j < s.second.length && std::find(set.begin(), end, s.second.elements[j]) != end;
}

bool is_in_ranges(const Strings& s, unsigned j) {
  if (j >= s.second.length) return false;
  const int element = s.second.elements[j];
  for (unsigned i = 0; i + 1 < s.first.length; i += 2) {
    if (s.first.elements[i] <= element && element <= s.first.elements[i + 1]) return true;
  }
  return false;
}

bool is_equal_here(const Strings& s, unsigned j) {
  if (j >= s.first.length || j >= s.second.length) return j >= s.first.length && j >= s.second.length;
  return s.first.elements[j] == s.second.elements[j];
}

bool begins_here(const Strings& s, unsigned j) {
  for (unsigned i = 0; i < s.first.length && i + j < s.size; ++i) {
    if (i + j >= s.second.length || s.first.elements[i] != s.second.elements[i + j]) return false;
  }
  return true;
}

U32 matches(const Strings& s, StringControl control) {
  using Test = bool (*)(const Strings&, unsigned);
  constexpr Test tests[] = {is_in_set, is_in_ranges, is_equal_here, begins_here};
  const Test test = tests[control.get<StringControl::Aggregation>()];
  U32 result = 0;
  for (unsigned j = 0; j < s.size; ++j) result |= test(s, j) ? 1u << j : 0u;
  if (!control.get<StringControl::Negative>()) return result;
  const unsigned negated = control.get<StringControl::Masked>() ? s.second.length : s.size;
  return result ^ ((1u << negated) - 1);
}

// Compares, and sets the flags.
U32 compare_strings(const Strings& s, StringControl control, SseContext& context) {
  const U32 result = matches(s, control);
  context.flags = (result != 0 ? carry_flag : 0u) | (s.second.length < s.size ? zero_flag : 0u) |
                  (s.first.length < s.size ? sign_flag : 0u) | ((result & 1) != 0 ? overflow_flag : 0u);
  return result;
}

Strings strings_of(const Vec128& dst, const Vec128& src, StringControl control) {
  return {string_of(dst, control), string_of(src, control), control.get<StringControl::Words>() ? 8u : 16u};
}

Strings with_implicit_lengths(Strings s, SseContext&) {
  s.first.length = implicit_length(s.first, s.size);
  s.second.length = implicit_length(s.second, s.size);
  return s;
}
Strings with_explicit_lengths(Strings s, SseContext& context) {
  s.first.length = explicit_length(context.first_length, s.size);
  s.second.length = explicit_length(context.second_length, s.size);
  return s;
}

template <auto WithLengths>
Vec128 string_index(const Vec128& dst, const Vec128& src, U8 imm, SseContext& context) {
  const StringControl control{{imm}};
  const Strings s = WithLengths(strings_of(dst, src, control), context);
  const U32 result = compare_strings(s, control, context);
  if (result == 0) return general(s.size);
  const bool most_significant = control.get<StringControl::MostSignificant>();
  return general(static_cast<U64>(most_significant ? std::bit_width(result) - 1 : std::countr_zero(result)));
}

template <class T>
Vec128 lanes_of_mask(U32 mask) {
  Vec128::Lanes<T> lanes{};
  for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = static_cast<T>((mask >> i & 1) != 0 ? -1 : 0);
  return Vec128::of(lanes);
}

template <auto WithLengths>
Vec128 string_mask(const Vec128& dst, const Vec128& src, U8 imm, SseContext& context) {
  const StringControl control{{imm}};
  const Strings s = WithLengths(strings_of(dst, src, control), context);
  const U32 result = compare_strings(s, control, context);
  if (!control.get<StringControl::MostSignificant>()) return general(result);
  return control.get<StringControl::Words>() ? lanes_of_mask<U16>(result) : lanes_of_mask<U8>(result);
}

constexpr SseRow string_rows[] = {
    {SseOp::pcmpestri, "pcmpestri", string_index<with_explicit_lengths>, nullptr,
     SseResult::general_and_flags},
    {SseOp::pcmpestrm, "pcmpestrm", string_mask<with_explicit_lengths>, nullptr, SseResult::vector_and_flags},
    {SseOp::pcmpistri, "pcmpistri", string_index<with_implicit_lengths>, nullptr,
     SseResult::general_and_flags},
    {SseOp::pcmpistrm, "pcmpistrm", string_mask<with_implicit_lengths>, nullptr, SseResult::vector_and_flags},
};

// CRC-32C, reflected: SDM vol. 2, CRC32.
constexpr U32 crc_polynomial = 0x82f63b78;

constexpr auto crc_of_byte = [] {
  std::array<U32, 256> table{};
  for (U32 byte = 0; byte < table.size(); ++byte) {
    U32 crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? crc_polynomial : 0);
    table[byte] = crc;
  }
  return table;
}();

}  // namespace

std::span<const SseRow> sse_string_rows() { return string_rows; }

std::uint32_t crc32(std::uint32_t crc, std::uint64_t data, unsigned bytes) {
  for (unsigned n = 0; n < bytes; ++n, data >>= 8) crc = crc >> 8 ^ crc_of_byte[(crc ^ data) & 0xff];
  return crc;
}

}  // namespace cbit::cpu::fp
