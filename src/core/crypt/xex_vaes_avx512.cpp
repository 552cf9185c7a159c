// The cipher with VAES on 512-bit registers: four blocks per register.
#if defined(__x86_64__)

#define CBIT_TARGET __attribute__((target("vaes,avx512f")))
#include "crypt/xex_x86.inc"

namespace cbit::crypt::vaes_avx512 {

namespace {

struct Lanes {
  using Vector = __m512i;
  static constexpr std::size_t blocks = 4;

  // A block is two 64-bit elements of the mask.
  CBIT_TARGET static __mmask8 mask(First part) { return static_cast<__mmask8>((1u << 2 * part.blocks) - 1); }

  CBIT_TARGET static Vector load(const std::byte* from, All) { return _mm512_loadu_si512(from); }
  CBIT_TARGET static Vector load(const std::byte* from, First part) {
    return _mm512_maskz_loadu_epi64(mask(part), from);
  }
  CBIT_TARGET static void store(std::byte* to, Vector v, All) { _mm512_storeu_si512(to, v); }
  CBIT_TARGET static void store(std::byte* to, Vector v, First part) {
    _mm512_mask_storeu_epi64(to, mask(part), v);
  }
  // All elements are taken; without the mask, g++ 12's header warns of its own undefined operand.
  CBIT_TARGET static Vector repeat(const Block& block) {
    const __m128i one = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.data()));
    return _mm512_maskz_broadcast_i32x4(0xffff, one);
  }

  template <bool inverse>
  CBIT_TARGET static Vector round(Vector v, Vector key) {
    return inverse ? _mm512_aesdec_epi128(v, key) : _mm512_aesenc_epi128(v, key);
  }
  template <bool inverse>
  CBIT_TARGET static Vector last_round(Vector v, Vector key) {
    return inverse ? _mm512_aesdeclast_epi128(v, key) : _mm512_aesenclast_epi128(v, key);
  }
};

}  // namespace

bool available() { return __builtin_cpu_supports("vaes") && __builtin_cpu_supports("avx512f"); }

void encrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<Lanes, false>(key, address, in, out);
}

void decrypt(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  transform<Lanes, true>(key, address, in, out);
}

}  // namespace cbit::crypt::vaes_avx512

#endif
