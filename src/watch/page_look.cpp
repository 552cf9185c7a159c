#include "watch/page_look.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace cbit {
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

struct TextRuns {
  std::size_t bytes = 0;  // in runs of `min` or more
  std::size_t longest = 0;
};

TextRuns find_text(PageBytes page, std::size_t min) {
  TextRuns found;
  std::size_t run = 0;
  for (std::size_t at = 0; at <= page_size;) {
    const std::size_t size = at < page_size ? character_at(page, at) : 0;
    run += size;
    if (size == 0) {
      if (run >= min) found.bytes += run;
      found.longest = std::max(found.longest, run);
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
  return candidates * 100 >= there * percent && find_text(page, run_min).bytes * 100 >= there * percent;
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

// What uniform bytes do not show by accident. The figures are the probabilities on a random page.
std::string_view find_structure(PageBytes page) {
  constexpr std::size_t text_run = 28;  // 6e-9
  constexpr std::size_t byte_run = 6;   // 4e-9
  std::size_t run = 1;
  for (std::size_t i = 1; i < page_size; ++i) {
    run = page[i] == page[i - 1] ? run + 1 : 1;
    if (run == byte_run) return "a run of one byte";
  }
  if (find_text(page, text_run).bytes != 0) return "a run of text";
  std::array<std::uint64_t, page_size / word_size> words;  // two equal ones: 7e-15
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = word_at(page, i);
  std::ranges::sort(words);
  if (std::ranges::adjacent_find(words) != words.end()) return "a repeated word";
  return {};
}

// A page of high entropy.
PageLook judge_dense(PageBytes page, const ByteCounts& counts, double bits) {
  PageLook look{.looks = PageLooks::compressed, .entropy = bits};
  look.uniformity = Uniformity::of(page, counts);
  look.why = find_magic(page);
  if (!look.why.empty()) return look;
  if (is_jpeg_stuffed(page)) return look.why = "jpeg stuffing", look;
  look.why = look.uniformity.refused_by();
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
  if (is_one_word(page))
    return {.looks = word_at(page, 0) == 0 ? PageLooks::zeros : PageLooks::fill,
            .entropy = entropy(count_bytes(page))};
  const ByteCounts counts = count_bytes(page);
  const double bits = entropy(counts);
  if (bits >= compressed_entropy) return judge_dense(page, counts, bits);
  return {.looks = is_text(page, counts) ? PageLooks::text : PageLooks::data, .entropy = bits};
}

}  // namespace cbit
