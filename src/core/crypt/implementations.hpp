// The implementations of the cipher, one file each, and what they share: how a run of blocks is cut into
// pages. Internal to the room.
#pragma once

#include <algorithm>

#include "crypt/xex.hpp"

namespace cbit::crypt {

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

// What is XORed into the blocks of a run: block i takes page ^ blocks[i].
struct Whitening {
  Block page;
  const Block* blocks;
};

// Blocks of one page, with what goes into them before AES and after it.
struct PageRun {
  ConstByteSpan in;
  ByteSpan out;
  Whitening before;
  Whitening after;

  [[nodiscard]] std::size_t blocks() const { return in.size() / cipher_block_size; }
};

// XE leaves out the XOR on the side of the ciphertext. That side takes zeros instead of tweaks, so that both
// modes are the same computation.
inline constexpr TweakTable::Slice no_tweaks{};

template <bool inverse, class Function>
void for_each_page_run(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out,
                       Function&& transform) {
  const bool both = key.mode == CipherMode::xex;
  while (!in.empty()) {
    const std::size_t size = std::min<std::size_t>(in.size(), page_size - address.page_offset());
    const Block page = key.tweaks->page_tweak(address);
    const Block* const blocks = &key.tweaks->block_tweaks()[address.page_offset() / cipher_block_size];
    const auto whitening = [&](bool used) {
      return used ? Whitening{page, blocks} : Whitening{{}, no_tweaks.data()};
    };
    transform(
        PageRun{in.first(size), out.first(size), whitening(both || !inverse), whitening(both || inverse)});
    address += size;
    in = in.subspan(size);
    out = out.subspan(size);
  }
}

}  // namespace cbit::crypt
