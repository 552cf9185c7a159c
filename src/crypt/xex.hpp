// The memory encryption engine: AES-128 over 16-byte blocks with a tweak from the physical address.
//
//   XEX   c = AES_K(p ^ T(a)) ^ T(a)      XE   c = AES_K(p ^ T(a))
//   T(a) = XOR of the constants t_i over the set bits i >= 4 of the block's physical address a
//
// A model of AMD's engine as published reverse engineering describes it (Wilke et al., SEVurity, 2020); the
// t_i come from a seed and are no chip's. Equal text at two addresses gives unequal ciphertext; a block that
// moves decrypts to noise; one changed byte changes one block. docs/adr/0003 says why XEX.
//
// Threading: all const members may be called from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/addr.hpp"
#include "base/assert.hpp"
#include "base/bytes.hpp"

namespace cbit {

inline constexpr std::size_t cipher_block_size = 16;
using Block = std::array<std::byte, cipher_block_size>;
using Key128 = std::array<std::byte, 16>;

enum class CipherMode : std::uint8_t { xex, xe };

// The tweaks of one machine: t_i is derive_key(seed, "tweak <i>"), i = 4..63.
//
// T is linear, so it is tabulated by slices of 8 address bits: T(a) is the XOR of one entry per slice, and
// slice 0 (bits 11:4) holds what tells the blocks of a page apart.
class TweakTable {
 public:
  using Slice = std::array<Block, 256>;

  explicit TweakTable(std::uint64_t seed);

  // T(a) of the block at `address`; `address` is 16-byte aligned.
  [[nodiscard]] Block tweak(PhysAddr address) const;

  // T(a) of the page that contains `address`, without bits 11:4, and of each block within a page: the tweak
  // of a block is the XOR of the two.
  [[nodiscard]] Block page_tweak(PhysAddr address) const;
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

// Transforms the blocks that start at the address. The address is 16-byte aligned; `in` and `out` have equal
// size, a multiple of 16, and are the same span or disjoint.
using CipherFunction = void(const RoundKeys&, const TweakTable&, CipherMode, PhysAddr, ConstByteSpan in,
                            ByteSpan out);

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
    implementation_->encrypt(keys_, *tweaks_, mode_, address, in, out);
  }
  void decrypt(PhysAddr address, ConstByteSpan in, ByteSpan out) const {
    check(address, in, out);
    implementation_->decrypt(keys_, *tweaks_, mode_, address, in, out);
  }

 private:
  static void check(PhysAddr address, ConstByteSpan in, ByteSpan out) {
    CBIT_ASSERT(address.is_aligned(cipher_block_size));
    CBIT_ASSERT(in.size() == out.size() && in.size() % cipher_block_size == 0);
  }

  RoundKeys keys_;
  std::shared_ptr<const TweakTable> tweaks_;
  CipherMode mode_;
  const CipherImplementation* implementation_;
};

// A key from a seed and a label ("sme", "asid 1"): the first 16 bytes of HMAC-SHA256(seed, label), the seed as
// 8 little-endian bytes.
[[nodiscard]] Key128 derive_key(std::uint64_t seed, std::string_view label);

}  // namespace cbit
