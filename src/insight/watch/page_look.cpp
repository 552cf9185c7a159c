#include "watch/page_look.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace cbit::watch {
namespace {

constexpr std::size_t word_size = sizeof(std::uint64_t);

std::uint64_t word_at(PageBytes page, std::size_t index) {
  std::uint64_t word = 0;
  std::memcpy(&word, page.data() + index * word_size, word_size);
  return word;
}

bool is_one_word(PageBytes page) {
  return std::memcmp(page.data(), page.data() + word_size, page_size - word_size) == 0;
}

constexpr bool is_ascii_text(unsigned char c) {
  return (c >= 0x20 && c < 0x7f) || c == '\t' || c == '\n' || c == '\r';
}

// Bytes of the character that begins at `at`; 0: none of UTF-8 (RFC 3629, overlong forms not looked for), or
// cut off by the page's end.
std::size_t character_at(PageBytes page, std::size_t at) {
  const auto byte = [&](std::size_t i) { return std::to_integer<unsigned char>(page[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return is_ascii_text(first) ? 1 : 0;
  const std::size_t size = first >= 0xc2 && first <= 0xdf   ? 2
                           : first >= 0xe0 && first <= 0xef ? 3
                           : first >= 0xf0 && first <= 0xf4 ? 4
                                                            : 0;
  if (size == 0 || at + size > page_size) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  return size;
}

// How many bytes lie in runs of `min` or more bytes of text.
std::size_t bytes_in_text(PageBytes page, std::size_t min) {
  std::size_t found = 0;
  std::size_t run = 0;
  for (std::size_t at = 0; at <= page_size;) {
    const std::size_t size = at < page_size ? character_at(page, at) : 0;
    run += size;
    if (size == 0) {
      if (run >= min) found += run;
      run = 0;
    }
    at += std::max<std::size_t>(size, 1);
  }
  return found;
}

bool is_text(PageBytes page, const ByteCounts& counts) {
  constexpr std::size_t run_min = 8;
  constexpr std::size_t percent = 90;
  std::size_t candidates = 0;
  for (std::size_t c = 0; c < counts.size(); ++c)
    if (c >= 0x80 || is_ascii_text(static_cast<unsigned char>(c))) candidates += counts[c];
  const std::size_t there = page_size - counts[0];
  return candidates * 100 >= there * percent && bytes_in_text(page, run_min) * 100 >= there * percent;
}

// Marks of compressed formats. What is shorter than six bytes counts at the page's start only, where a file's
// first page has it.
struct Magic {
  std::string_view bytes;
  std::string_view name;
};
constexpr std::size_t anywhere_size = 6;
constexpr Magic magics[] = {
    {{"\x1f\x8b\x08", 3}, "gzip magic"},
    {{"\x28\xb5\x2f\xfd", 4}, "zstd magic"},
    {{"\x04\x22\x4d\x18", 4}, "lz4 magic"},
    {{"PK\x03\x04", 4}, "zip magic"},
    {{"\xff\xd8\xff", 3}, "jpeg magic"},
    {{"\xfd"
      "7zXZ\0",
      6},
     "xz magic"},
    {{"7z\xbc\xaf\x27\x1c", 6}, "7z magic"},
    {{"\x89PNG\r\n\x1a\n", 8}, "png magic"},
    {{"1AY&SY", 6}, "bzip2 block magic"},
};

std::string_view find_magic(PageBytes page) {
  const std::string_view text{reinterpret_cast<const char*>(page.data()), page_size};
  for (const Magic& magic : magics)
    if (magic.bytes.size() >= anywhere_size ? text.find(magic.bytes) != text.npos
                                            : text.starts_with(magic.bytes))
      return magic.name;
  return {};
}

// In JPEG's entropy-coded segments 0xff is followed by 0x00 or a restart marker (T.81, B.1.1.5). A random
// page has 16 of them on average, so the accident takes 4 or more: 5e-10.
bool is_jpeg_stuffed(PageBytes page) {
  std::size_t stuffed = 0;
  for (std::size_t i = 0; i + 1 < page_size; ++i) {
    if (page[i] != std::byte{0xff}) continue;
    const auto next = std::to_integer<unsigned>(page[i + 1]);
    if (next != 0 && (next < 0xd0 || next > 0xd7)) return false;
    ++stuffed;
  }
  return stuffed >= 4;
}

// Whether `length` bytes in a row are ASCII text. Looks at a stretch's last byte first, as Boyer and Moore.
bool has_text_run(PageBytes page, std::size_t length) {
  for (std::size_t begin = 0; begin + length <= page_size;) {
    std::size_t at = begin + length;
    while (at > begin && is_ascii_text(std::to_integer<unsigned char>(page[at - 1]))) --at;
    if (at == begin) return true;
    begin = at;
  }
  return false;
}

// Whether `length` bytes in a row are the same. Such a run has length - 1 equal pairs, one of them sampled.
bool has_byte_run(PageBytes page, std::size_t length) {
  for (std::size_t at = 0; at + 1 < page_size; at += length - 1) {
    if (page[at] != page[at + 1]) continue;
    std::size_t begin = at;
    std::size_t end = at + 2;
    while (begin > 0 && page[begin - 1] == page[at]) --begin;
    while (end < page_size && page[end] == page[at]) ++end;
    if (end - begin >= length) return true;
  }
  return false;
}

// Whether two of the 8-byte words are equal. A page that passes the tests of uniformity spreads them evenly
// over the table.
bool has_equal_words(PageBytes page) {
  constexpr std::size_t words = page_size / word_size;
  constexpr std::size_t slots = 4 * words;
  std::array<std::uint16_t, slots> table{};  // 1 + a word's index; 0: free
  for (std::size_t i = 0; i < words; ++i) {
    const std::uint64_t word = word_at(page, i);
    std::size_t slot = word * 0x9e3779b97f4a7c15 >> 53;  // 11 bits
    static_assert(slots == std::size_t{1} << 11);
    for (; table[slot] != 0; slot = (slot + 1) % slots)
      if (word_at(page, table[slot] - 1u) == word) return true;
    table[slot] = static_cast<std::uint16_t>(i + 1);
  }
  return false;
}

// What uniform bytes do not show by accident. The figures are the probabilities on a random page.
std::string_view find_structure(PageBytes page) {
  if (has_byte_run(page, 6)) return "a run of one byte";  // 4e-9
  if (has_text_run(page, 28)) return "a run of text";     // 6e-9
  if (has_equal_words(page)) return "a repeated word";    // 7e-15
  return {};
}

// A page of high entropy.
PageLook judge_dense(PageBytes page, const ByteCounts& counts, double bits) {
  PageLook look{.looks = PageLooks::compressed, .entropy = bits};
  look.uniformity = Uniformity::of(page, counts);
  look.why = find_magic(page);
  if (look.why.empty() && is_jpeg_stuffed(page)) look.why = "jpeg stuffing";
  if (look.why.empty()) look.why = look.uniformity.refused_by();
  if (!look.why.empty()) return look;
  look.why = find_structure(page);
  look.looks = look.why.empty() ? PageLooks::ciphertext : PageLooks::data;
  return look;
}

}  // namespace

std::string_view to_string(PageLooks looks) {
  constexpr std::string_view names[] = {"ciphertext", "compressed", "text",   "data",
                                        "fill",       "zeros",      "absent", "unreadable"};
  static_assert(std::size(names) == page_looks_count);
  return names[static_cast<std::size_t>(looks)];
}

PageLook look_at(PageBytes page) {
  if (is_one_word(page)) {
    if (word_at(page, 0) == 0) return {.looks = PageLooks::zeros};
    return {.looks = PageLooks::fill, .entropy = entropy(count_bytes(page))};
  }
  const ByteCounts counts = count_bytes(page);
  const double bits = entropy(counts);
  if (bits >= compressed_entropy) return judge_dense(page, counts, bits);
  return {.looks = is_text(page, counts) ? PageLooks::text : PageLooks::data, .entropy = bits};
}

}  // namespace cbit::watch
