// The implementations of the cipher, one file each, and what they share: how a run of blocks is cut into pages.
// Internal to the room.
#pragma once

#include <algorithm>

#include "crypt/xex.hpp"

namespace cbit {

namespace portable {
bool available();
CipherFunction encrypt, decrypt;
}  // namespace portable

namespace aes_ni {
bool available();
CipherFunction encrypt, decrypt;
}  // namespace aes_ni

namespace vaes_avx2 {
bool available();
CipherFunction encrypt, decrypt;
}  // namespace vaes_avx2

namespace vaes_avx512 {
bool available();
CipherFunction encrypt, decrypt;
}  // namespace vaes_avx512

[[nodiscard]] inline Block operator^(Block a, const Block& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] ^= b[i];
  return a;
}

// What is XORed into the blocks of a run: block i takes page ^ blocks[i].
struct Whitening {
  Block page{};
  std::span<const Block> blocks;
};

// Blocks of one page, with what goes into them before AES and after it.
struct PageRun {
  ConstByteSpan in;
  ByteSpan out;
  Whitening before;
  Whitening after;

  [[nodiscard]] std::size_t blocks() const { return in.size() / cipher_block_size; }
};

// XE leaves out the XOR on the side of the ciphertext. That side takes zeros instead of tweaks, so that
// both modes are the same computation.
inline constexpr TweakTable::Slice no_tweaks{};

template <bool inverse, class Function>
void for_each_page_run(const TweakTable& tweaks, CipherMode mode, PhysAddr address, ConstByteSpan in, ByteSpan out,
                       Function&& transform) {
  while (!in.empty()) {
    const std::size_t size = std::min<std::size_t>(in.size(), page_size - address.page_offset());
    const std::size_t first = address.page_offset() / cipher_block_size;
    const std::size_t blocks = size / cipher_block_size;
    const Whitening plain_side{tweaks.page_tweak(address), std::span{tweaks.block_tweaks()}.subspan(first, blocks)};
    const Whitening cipher_side =
        mode == CipherMode::xex ? plain_side : Whitening{{}, std::span{no_tweaks}.first(blocks)};
    transform(PageRun{in.first(size), out.first(size), inverse ? cipher_side : plain_side,
                      inverse ? plain_side : cipher_side});
    address += size;
    in = in.subspan(size);
    out = out.subspan(size);
  }
}

}  // namespace cbit
