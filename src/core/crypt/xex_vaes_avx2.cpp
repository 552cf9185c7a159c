// The cipher with VAES on 256-bit registers: two blocks per register.
#if defined(__x86_64__)

#define CBIT_TARGET __attribute__((target("vaes,avx2")))
#include "crypt/xex_x86.inc"

namespace cbit::crypt::vaes_avx2 {

namespace {

struct Lanes {
  using Vector = __m256i;
  static constexpr std::size_t blocks = 2;

  CBIT_TARGET static Vector load(const std::byte* from, All) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  CBIT_TARGET static Vector load(const std::byte* from, First) {
    return _mm256_zextsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  CBIT_TARGET static void store(std::byte* to, Vector v, All) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v);
  }
  CBIT_TARGET static void store(std::byte* to, Vector v, First) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(v));
  }
  CBIT_TARGET static Vector repeat(const Block& block) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block.data())));
  }

  template <bool inverse>
  CBIT_TARGET static Vector round(Vector v, Vector key) {
    return inverse ? _mm256_aesdec_epi128(v, key) : _mm256_aesenc_epi128(v, key);
  }
  template <bool inverse>
  CBIT_TARGET static Vector last_round(Vector v, Vector key) {
    return inverse ? _mm256_aesdeclast_epi128(v, key) : _mm256_aesenclast_epi128(v, key);
  }
};

}  // namespace

bool available() { return __builtin_cpu_supports("vaes") && __builtin_cpu_supports("avx2"); }

void encrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<Lanes, false>(key, address, in, out);
}

void decrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<Lanes, true>(key, address, in, out);
}

}  // namespace cbit::crypt::vaes_avx2

#endif
