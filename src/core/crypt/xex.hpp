// The memory encryption engine: AES-128 over 16-byte blocks with a tweak from the physical address.
//
//   XEX   c = AES_K(p ^ T(a)) ^ T(a)      XE   c = AES_K(p ^ T(a))
//   T(a) = XOR of the constants t_i over the set bits i >= 4 of the block's physical address a
//
// A model of AMD's engine as published reverse engineering describes it (Wilke et al., SEVurity, 2020); the
// t_i come from a seed and are no chip's. Equal text at two addresses gives unequal ciphertext; one changed
// byte changes one block. Ciphertext moved from a to b decrypts to noise under XEX, and to p ^ T(a) ^ T(b)
// under XE, so that who knows the t_i can choose it. docs/adr/0003 says why XEX.
//
// Threading: all const members may be called from any thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/assert.hpp"
#include "base/bytes.hpp"
#include "cbit/addr.hpp"
#include "cbit/words.hpp"

namespace cbit::crypt {

inline constexpr std::size_t cipher_block_size = 16;
using Block = std::array<std::byte, cipher_block_size>;
using Key128 = std::array<std::byte, 16>;

// As one vector: compilers differ widely in what they make of 16 bytes, and a single block must be fast.
[[nodiscard]] inline Block operator^(const Block& a, const Block& b) {
  using Vector [[gnu::vector_size(cipher_block_size)]] = std::uint64_t;
  return std::bit_cast<Block>(std::bit_cast<Vector>(a) ^ std::bit_cast<Vector>(b));
}

enum class CipherMode : std::uint8_t { xex, xe };

inline constexpr Word<CipherMode> cipher_mode_words[] = {{"xex", CipherMode::xex}, {"xe", CipherMode::xe}};

// The tweaks of one machine: t_i is derive_key(seed, "tweak <i>"), i = 4..63.
//
// T is linear, so it is tabulated by slices of 8 address bits: T(a) is the XOR of one entry per slice, and
// slice 0 (bits 11:4) holds what tells the blocks of a page apart.
class TweakTable {
 public:
  using Slice = std::array<Block, 256>;

  explicit TweakTable(std::uint64_t seed);

  // T(a) of the block at `address`; `address` is 16-byte aligned.
  [[nodiscard]] Block tweak(PhysAddr address) const {
    return page_tweak(address) ^ slices_[0][address.page_offset() / cipher_block_size];
  }

  // T(a) of the page that contains `address`, without bits 11:4, and of each block within a page: the tweak
  // of a block is the XOR of the two.
  [[nodiscard]] Block page_tweak(PhysAddr address) const {
    Block sum{};
    std::size_t slice = 1;
    for (std::uint64_t bits = address.page_number(); bits != 0; bits >>= 8) {
      sum = sum ^ slices_[slice++][bits & 0xff];
    }
    return sum;
  }
  [[nodiscard]] const Slice& block_tweaks() const { return slices_[0]; }

 private:
  alignas(cache_line_size) std::array<Slice, 8> slices_{};
};

// AES-128 round keys for both directions, in order of use; encrypt[0] is the key itself. `decrypt` is for the
// equivalent inverse cipher (FIPS-197 5.3.5).
struct RoundKeys {
  alignas(cache_line_size) std::array<Block, 11> encrypt;
  alignas(cache_line_size) std::array<Block, 11> decrypt;
};

// FIPS-197 5.2, and 5.3.5 for the inverse.
[[nodiscard]] RoundKeys expand_key(const Key128& key);

// What one key of one machine brings to every call.
struct CipherKey {
  RoundKeys rounds;
  std::shared_ptr<const TweakTable> tweaks;
  CipherMode mode;
};

// Transforms the blocks that start at the address. The address is 16-byte aligned; `in` and `out` have equal
// size, a multiple of 16, and are the same span or disjoint.
using CipherFunction = void(const CipherKey&, PhysAddr, ConstByteSpan in, ByteSpan out);

// One way to run the cipher. All give equal bytes.
struct CipherImplementation {
  std::string_view name;  // "portable", "aes-ni", "vaes-avx2", "vaes-avx512"
  bool (*available)();    // whether this CPU, and the system's XSAVE state, can run it
  CipherFunction* encrypt;
  CipherFunction* decrypt;
};

// All implementations of this build, slowest first. "portable" is always there and always available.
[[nodiscard]] std::span<const CipherImplementation> cipher_implementations();

// The fastest available one; CBIT_CIPHER=name in the environment overrides it where `name` is available.
[[nodiscard]] const CipherImplementation& best_cipher();

// A key, ready to use at any address of one machine.
class Cipher {
 public:
  Cipher(const Key128& key, std::shared_ptr<const TweakTable> tweaks, CipherMode mode,
         const CipherImplementation& implementation = best_cipher());

  // Encrypts or decrypts the blocks that start at `address`. `address` is 16-byte aligned; `in` and `out`
  // have equal size, a multiple of 16, and are the same span or disjoint.
  void encrypt(PhysAddr address, ConstByteSpan in, ByteSpan out) const {
    check(address, in, out);
    implementation_->encrypt(key_, address, in, out);
  }
  void decrypt(PhysAddr address, ConstByteSpan in, ByteSpan out) const {
    check(address, in, out);
    implementation_->decrypt(key_, address, in, out);
  }

 private:
  static void check(PhysAddr address, ConstByteSpan in, ByteSpan out) {
    CBIT_ASSERT(address.is_aligned(cipher_block_size));
    CBIT_ASSERT(in.size() == out.size() && in.size() % cipher_block_size == 0);
  }

  CipherKey key_;
  const CipherImplementation* implementation_;
};

// A key from a seed and a label ("sme", "asid 1"): the first 16 bytes of HMAC-SHA256(seed, label), the seed
// as 8 little-endian bytes.
[[nodiscard]] Key128 derive_key(std::uint64_t seed, std::string_view label);

}  // namespace cbit::crypt
