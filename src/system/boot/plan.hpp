// What is to be loaded where, and how the processor enters it: the result of every loader, before anything is
// in memory.
//
// A plan refers to the bytes of the kernel and the initrd that it was made from; they outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "boot/entry_state.hpp"
#include "cbit/addr.hpp"
#include "mem/memory.hpp"
#include "spec/linux_boot.hpp"

namespace cbit::boot {

// Bytes, then zeros, at one address.
struct Piece {
  std::string_view what;  // "initrd": a name for messages and listings
  PhysAddr at;
  ConstByteSpan bytes;
  std::uint64_t zeros = 0;

  [[nodiscard]] std::uint64_t size() const { return bytes.size() + zeros; }
  [[nodiscard]] PhysAddr end() const { return at + size(); }
};

// A range of the map that the image is given.
struct MapEntry {
  PhysAddr first;
  std::uint64_t bytes = 0;
  spec::E820Type type{};

  friend bool operator==(const MapEntry&, const MapEntry&) = default;
};

class LoadPlan {
 public:
  explicit LoadPlan(std::vector<mem::PhysRange> ram) : ram_{std::move(ram)} {}
  LoadPlan(LoadPlan&&) = default;
  LoadPlan& operator=(LoadPlan&&) = default;
  LoadPlan(const LoadPlan&) = delete;
  LoadPlan& operator=(const LoadPlan&) = delete;

  // Errors (input): not inside one range of RAM; another piece is there. An empty piece is left out.
  OrError<void> add(const Piece& piece);
  // The same, of bytes that the plan keeps.
  OrError<void> add_owned(std::string_view what, PhysAddr at, Bytes bytes, std::uint64_t zeros = 0);
  // Keeps a range free of what find_room() places: memory that the image uses without loading it.
  OrError<void> reserve(std::string_view what, PhysAddr at, std::uint64_t bytes);

  // The highest free, page-aligned place for so many bytes that ends at or below `limit`; nullopt: none.
  [[nodiscard]] std::optional<PhysAddr> find_room(std::uint64_t bytes, PhysAddr limit) const;

  [[nodiscard]] const std::vector<mem::PhysRange>& ram() const { return ram_; }
  [[nodiscard]] PhysAddr end_of_low_ram() const { return ram_.front().end(); }
  // In order of address, without those that are only reserved.
  [[nodiscard]] std::vector<Piece> pieces() const;

  // Each page that holds a part of a piece, ascending; what no piece covers of it is zero. Stops at the first
  // error.
  using PageVisitor = std::function<OrError<void>(PhysAddr, std::span<const std::byte, page_size>)>;
  OrError<void> for_each_page(const PageVisitor& visit) const;

  EntryState entry;
  std::vector<MapEntry> memory_map;
  std::string protocol;  // "Linux 64-bit"

 private:
  struct Taken {
    Piece piece;
    bool loaded = true;
  };
  OrError<void> take(const Taken& taken);

  std::vector<mem::PhysRange> ram_;
  std::vector<Taken> taken_;  // in order of address, disjoint
  std::deque<Bytes> kept_;
};

}  // namespace cbit::boot
