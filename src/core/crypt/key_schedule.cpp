// The AES-128 key schedule. Section numbers are those of FIPS-197.
#include <algorithm>
#include <bit>
#include <cstring>

#include "crypt/xex.hpp"

namespace cbit::crypt {

namespace {

using Word = std::array<std::uint8_t, 4>;
constexpr std::size_t key_words = 4;  // Nk

constexpr Word operator^(const Word& a, const Word& b) {
  Word sum{};
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = static_cast<std::uint8_t>(a[i] ^ b[i]);
  return sum;
}

// 4.2: multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
constexpr std::uint8_t multiply(unsigned a, unsigned b) {
  unsigned product = 0;
  for (; b != 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = a << 1 ^ (a & 0x80 ? 0x11bu : 0);
  }
  return static_cast<std::uint8_t>(product);
}

// 5.1.1: the inverse in GF(2^8), with 0 for 0, then the affine transformation. The powers of 3 are all
// elements but 0, and 0xf6 is the inverse of 3.
constexpr std::array<std::uint8_t, 256> make_sbox() {
  std::array<std::uint8_t, 256> sbox{0x63};
  std::uint8_t x = 1;
  std::uint8_t inverse = 1;
  for (int power = 0; power < 255; ++power) {
    unsigned y = 0x63;
    for (int i = 0; i < 5; ++i) y ^= std::rotl(inverse, i);
    sbox[x] = static_cast<std::uint8_t>(y);
    x = multiply(x, 3);
    inverse = multiply(inverse, 0xf6);
  }
  return sbox;
}

constexpr auto sbox = make_sbox();
static_assert(sbox[0x00] == 0x63 && sbox[0x53] == 0xed && sbox[0xff] == 0x16);

Word sub_word(const Word& w) { return {sbox[w[0]], sbox[w[1]], sbox[w[2]], sbox[w[3]]}; }
Word rot_word(const Word& w) { return {w[1], w[2], w[3], w[0]}; }

// 5.3.3: one column of InvMixColumns().
Word inv_mix_column(const Word& w) {
  Word mixed{};
  for (std::size_t i = 0; i < 4; ++i) {
    mixed[i] = static_cast<std::uint8_t>(multiply(w[i], 0x0e) ^ multiply(w[(i + 1) % 4], 0x0b) ^
                                         multiply(w[(i + 2) % 4], 0x0d) ^ multiply(w[(i + 3) % 4], 0x09));
  }
  return mixed;
}

using Words = std::array<Word, 4 * 11>;

Words expand(const Key128& key) {
  Words w;
  std::memcpy(w.data(), key.data(), key.size());
  std::uint8_t rcon = 1;
  for (std::size_t i = key_words; i < w.size(); ++i) {
    Word previous = w[i - 1];
    if (i % key_words == 0) {
      const Word round_constant{rcon};
      previous = sub_word(rot_word(previous)) ^ round_constant;
      rcon = multiply(rcon, 2);
    }
    w[i] = w[i - key_words] ^ previous;
  }
  return w;
}

}  // namespace

RoundKeys expand_key(const Key128& key) {
  RoundKeys keys;
  Words w = expand(key);
  static_assert(sizeof w == sizeof keys.encrypt);
  std::memcpy(keys.encrypt.data(), w.data(), sizeof w);

  std::transform(w.begin() + 4, w.end() - 4, w.begin() + 4, inv_mix_column);
  std::memcpy(keys.decrypt.data(), w.data(), sizeof w);
  std::reverse(keys.decrypt.begin(), keys.decrypt.end());
  return keys;
}

}  // namespace cbit::crypt
