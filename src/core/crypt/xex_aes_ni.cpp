// The cipher with AES-NI: one block per register.
#if defined(__x86_64__)

#define CBIT_TARGET __attribute__((target("aes,sse4.1")))
#include "crypt/xex_x86.inc"

namespace cbit::crypt::aes_ni {

namespace {

struct Lanes {
  using Vector = __m128i;
  static constexpr std::size_t blocks = 1;

  CBIT_TARGET static Vector load(const std::byte* from, All) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  CBIT_TARGET static void store(std::byte* to, Vector v, All) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), v);
  }
  CBIT_TARGET static Vector repeat(const Block& block) { return load(block.data(), All{}); }

  template <bool inverse>
  CBIT_TARGET static Vector round(Vector v, Vector key) {
    return inverse ? _mm_aesdec_si128(v, key) : _mm_aesenc_si128(v, key);
  }
  template <bool inverse>
  CBIT_TARGET static Vector last_round(Vector v, Vector key) {
    return inverse ? _mm_aesdeclast_si128(v, key) : _mm_aesenclast_si128(v, key);
  }
};

}  // namespace

bool available() { return __builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1"); }

void encrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<Lanes, false>(key, address, in, out);
}

void decrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<Lanes, true>(key, address, in, out);
}

}  // namespace cbit::crypt::aes_ni

#endif
