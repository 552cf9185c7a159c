// Kernel files for fuzzers of loaders, and what must hold of whatever a loader makes of them.
//
// The first byte of an input says what the rest is: a file (0), or changes to a file that is fine: each an
// offset of two bytes and a byte.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "boot/kernel_file.hpp"
#include "fuzz_input.hpp"

namespace cbit {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline Bytes changed_file(FuzzInput& input, Bytes file) {
  if (input.byte() == 0) {
    file.clear();
    while (!input.empty()) file.push_back(std::byte{input.byte()});
    return file;
  }
  while (!input.empty()) {
    const auto at = input.take<std::uint16_t>();
    const std::byte value{input.byte()};
    if (at < file.size()) file[at] = value;
  }
  return file;
}

inline boot::Board fuzz_board(Platform platform) {
  boot::Board board{.platform = platform, .ram = {{PhysAddr{0}, 24 << 20}, {PhysAddr{1ull << 32}, 1 << 20}}};
  if (boot::is_loaded_encrypted(platform)) board.encryption_mask = 1ull << 47;
  return board;
}

// Pieces are in RAM and apart; pages come in order, each once, and hold every piece.
inline void require_sound(const boot::LoadPlan& plan) {
  PhysAddr end{0};
  std::uint64_t bytes = 0;
  for (const boot::Piece& piece : plan.pieces()) {
    require(piece.at >= end && piece.size() != 0);
    require(std::ranges::any_of(plan.ram(),
                                [&](mem::PhysRange ram) { return ram.contains(piece.at, piece.size()); }));
    end = piece.end();
    bytes += piece.size();
  }
  PhysAddr next{0};
  std::uint64_t page_bytes = 0;
  const auto visit = [&](PhysAddr page, auto) -> OrError<void> {
    require(page.is_aligned(page_size) && page >= next);
    next = page + page_size;
    page_bytes += page_size;
    return {};
  };
  require(plan.for_each_page(visit).has_value());
  require(page_bytes >= bytes);
}

// A plan that is sound, or an error that says something.
inline void try_kernel(ConstByteSpan file) {
  const Bytes initrd(5000, std::byte{1});
  for (const Platform platform : {Platform::plain, Platform::sme, Platform::sev}) {
    const auto plan = boot::plan_image(fuzz_board(platform), {.name = "kernel",
                                                              .kernel = file,
                                                              .modules = {{"initrd", initrd}},
                                                              .command_line = "quiet mem_encrypt=on"});
    if (plan)
      require_sound(*plan);
    else
      require(!plan.error().message.empty());
  }
}

}  // namespace cbit
