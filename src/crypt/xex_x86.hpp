// The XEX loop of the x86 implementations, generic in the register that holds AES states side by side.
// Internal to the room.
//
// A compiler inlines an intrinsic only into a function with the same target attribute, so the loop carries it
// too: each implementation defines CBIT_TARGET, includes this header once and names its register:
//
//   struct Lanes {
//     using Vector = ...;                        one register
//     static constexpr std::size_t blocks = ...; AES states in it
//     Vector load(const std::byte*, All), load(const std::byte*, First);
//     void store(std::byte*, Vector, All), store(std::byte*, Vector, First);
//     Vector repeat(const Block&);               a block in every place
//     Vector round<inverse>(Vector, Vector key), last_round<inverse>(Vector, Vector key);
//   };
//
// Attributes rather than compiler options per file: code of the standard library that is compiled here with
// wider instructions could be the copy that the linker keeps for everybody.
#pragma once

#include <immintrin.h>

#include "crypt/implementations.hpp"

namespace cbit {
namespace {

// Which of a register's blocks to load or store: all, or the first few (at least one, not all).
struct All {};
struct First {
  std::size_t blocks;
};

// The rounds that need no tweak are 1..9. T(a) joins the keys of the first and the last AddRoundKey, which
// are XORs: XEX then costs two XORs per register more than AES alone.
template <class Lanes>
struct PageKeys {
  typename Lanes::Vector first;
  typename Lanes::Vector last;
  const std::array<Block, 11>& rounds;
};

// A round waits several cycles for the one before: `n` registers in flight hide that.
template <class Lanes, bool inverse, std::size_t n, class Part>
CBIT_TARGET inline void transform_registers(const PageKeys<Lanes>& keys, const PageRun& run,
                                            std::size_t block, Part part) {
  constexpr std::size_t step = Lanes::blocks * cipher_block_size;
  const std::byte* const in = run.in.data() + block * cipher_block_size;
  std::byte* const out = run.out.data() + block * cipher_block_size;
  const auto* const before = reinterpret_cast<const std::byte*>(run.before.blocks + block);
  const auto* const after = reinterpret_cast<const std::byte*>(run.after.blocks + block);

  typename Lanes::Vector state[n];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < n; ++i) {
    state[i] = Lanes::load(in + i * step, part) ^ Lanes::load(before + i * step, part) ^ keys.first;
  }
#pragma GCC unroll 9
  for (std::size_t r = 1; r < 10; ++r) {
    const auto key = Lanes::repeat(keys.rounds[r]);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < n; ++i) state[i] = Lanes::template round<inverse>(state[i], key);
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < n; ++i) {
    const auto key = Lanes::load(after + i * step, part) ^ keys.last;
    Lanes::store(out + i * step, Lanes::template last_round<inverse>(state[i], key), part);
  }
}

// The blocks of `run` from `block` on, `n` registers at a time, then half as many, down to part of one.
template <class Lanes, bool inverse, std::size_t n>
CBIT_TARGET inline void transform_from(const PageKeys<Lanes>& keys, const PageRun& run, std::size_t block) {
  constexpr std::size_t step = n * Lanes::blocks;
  for (; run.blocks() - block >= step; block += step) {
    transform_registers<Lanes, inverse, n>(keys, run, block, All{});
  }
  if constexpr (n > 1) {
    transform_from<Lanes, inverse, n / 2>(keys, run, block);
  } else if constexpr (Lanes::blocks > 1) {
    if (block < run.blocks()) {
      transform_registers<Lanes, inverse, 1>(keys, run, block, First{run.blocks() - block});
    }
  }
}

template <class Lanes, bool inverse>
CBIT_TARGET void transform_page(const RoundKeys& round_keys, const PageRun& run) {
  const std::array<Block, 11>& rounds = inverse ? round_keys.decrypt : round_keys.encrypt;
  const PageKeys<Lanes> keys{Lanes::repeat(rounds[0] ^ run.before.page),
                             Lanes::repeat(rounds[10] ^ run.after.page), rounds};
  transform_from<Lanes, inverse, 8>(keys, run, 0);
}

template <class Lanes, bool inverse>
void transform(const CipherKey& key, PhysAddr address, ConstByteSpan in, ByteSpan out) {
  for_each_page_run<inverse>(key, address, in, out,
                             [&](const PageRun& run) { transform_page<Lanes, inverse>(key.rounds, run); });
}

}  // namespace
}  // namespace cbit
