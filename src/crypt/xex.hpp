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
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/addr.hpp"
#include "base/bytes.hpp"

namespace cbit {

inline constexpr std::size_t cipher_block_size = 16;
using Block = std::array<std::byte, cipher_block_size>;
using Key128 = std::array<std::byte, 16>;

enum class CipherMode : std::uint8_t { xex, xe };

// The constants t_i of one machine, with T(a) of the 256 blocks of a page tabulated.
class TweakTable {
 public:
  explicit TweakTable(std::uint64_t seed);

  // T(a) of the block at `address`; `address` is 16-byte aligned.
  [[nodiscard]] Block tweak(PhysAddr address) const;

  // T(a) of the page that contains `address`, without bits 11:4, and of each block within a page: the tweak
  // of a block is the XOR of the two.
  [[nodiscard]] Block page_tweak(PhysAddr address) const;
  [[nodiscard]] const std::array<Block, 256>& block_tweaks() const { return in_page_; }

 private:
  std::array<Block, 64> constants_{};
  alignas(64) std::array<Block, 256> in_page_{};
};

// AES-128 round keys for both directions, in the layout that every implementation reads: 11 keys of
// 16 bytes; `decrypt` is for the equivalent inverse cipher (FIPS-197 5.3.5).
struct RoundKeys {
  alignas(64) std::array<Block, 11> encrypt;
  alignas(64) std::array<Block, 11> decrypt;
  Key128 key;  // the portable implementation hands it to OpenSSL
};

// One way to run the cipher. The table of them is in xex.cpp; `available()` asks the CPU.
struct CipherImplementation {
  std::string_view name;  // "portable", "aes-ni", "vaes-avx2", "vaes-avx512"
  bool (*available)();
  // `in` and `out` have equal size, a multiple of 16, and are the same span or disjoint.
  void (*encrypt)(const RoundKeys&, const TweakTable&, CipherMode, PhysAddr, ConstByteSpan in, ByteSpan out);
  void (*decrypt)(const RoundKeys&, const TweakTable&, CipherMode, PhysAddr, ConstByteSpan in, ByteSpan out);
};

// All implementations of this build, slowest first. "portable" is always there and always available.
[[nodiscard]] std::span<const CipherImplementation> cipher_implementations();

// The fastest available one; CBIT_CIPHER=name in the environment overrides it where it is available.
[[nodiscard]] const CipherImplementation& best_cipher();

// A key, ready to use at any address of one machine.
class Cipher {
 public:
  Cipher(const Key128& key, std::shared_ptr<const TweakTable> tweaks, CipherMode mode,
         const CipherImplementation& implementation = best_cipher());

  // Encrypts or decrypts the blocks that start at `address`. `address` is 16-byte aligned; `in` and `out`
  // have equal size, a multiple of 16, and are the same span or disjoint.
  void encrypt(PhysAddr address, ConstByteSpan in, ByteSpan out) const {
    implementation_->encrypt(keys_, *tweaks_, mode_, address, in, out);
  }
  void decrypt(PhysAddr address, ConstByteSpan in, ByteSpan out) const {
    implementation_->decrypt(keys_, *tweaks_, mode_, address, in, out);
  }

 private:
  RoundKeys keys_;
  std::shared_ptr<const TweakTable> tweaks_;
  CipherMode mode_;
  const CipherImplementation* implementation_;
};

// A key from a seed and a label ("sme", "asid 1"): the first 16 bytes of HMAC-SHA256(seed, label).
[[nodiscard]] Key128 derive_key(std::uint64_t seed, std::string_view label);

}  // namespace cbit
