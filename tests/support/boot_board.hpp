// A board to load images onto, and what a plan puts at an address.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "boot/board.hpp"
#include "boot/plan.hpp"

namespace cbit::test {

// 64 MiB from 0 unless said otherwise, the C-bit 47 where images are loaded encrypted.
inline boot::Board small_board(Platform platform = Platform::plain, std::uint64_t mib = 64) {
  boot::Board board{.platform = platform, .ram = {{PhysAddr{0}, mib << 20}}};
  if (boot::is_loaded_encrypted(platform)) board.encryption_mask = 1ull << 47;
  return board;
}

// A piece whose bytes begin exactly there; fails and returns an empty one if there is none.
inline boot::Piece piece_at(const boot::LoadPlan& plan, std::uint64_t at) {
  for (const boot::Piece& piece : plan.pieces())
    if (piece.at.value() == at) return piece;
  ADD_FAILURE() << "nothing is loaded at " << std::hex << at;
  return {};
}

// Bytes of the plan at any address, zeros where nothing is loaded.
inline Bytes loaded_at(const boot::LoadPlan& plan, std::uint64_t at, std::size_t bytes) {
  Bytes found(bytes);
  const auto visit = [&](PhysAddr page, std::span<const std::byte, page_size> contents) -> OrError<void> {
    for (std::size_t i = 0; i < bytes; ++i)
      if (at + i >= page.value() && at + i < page.value() + page_size)
        found[i] = contents[at + i - page.value()];
    return {};
  };
  EXPECT_TRUE(plan.for_each_page(visit));
  return found;
}
template <class T>
T value_at(const boot::LoadPlan& plan, std::uint64_t at) {
  return load<T>(loaded_at(plan, at, sizeof(T)));
}
inline std::string text_at(const boot::LoadPlan& plan, std::uint64_t at) {
  const Bytes bytes = loaded_at(plan, at, 256);
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return std::string{text.substr(0, text.find('\0'))};
}

}  // namespace cbit::test
