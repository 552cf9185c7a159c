#include "boot/plan.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::boot {
namespace {

bool overlap(const Piece& a, const Piece& b) { return a.at < b.end() && b.at < a.end(); }

// The part of a piece that lies in the page.
void copy_part(const Piece& piece, PhysAddr page, std::span<std::byte, page_size> to) {
  const PhysAddr first = std::max(piece.at, page);
  const PhysAddr end = std::min(piece.at + piece.bytes.size(), page + page_size);
  if (first >= end) return;
  std::ranges::copy(piece.bytes.subspan(first - piece.at, end - first), to.begin() + (first - page));
}

}  // namespace

OrError<void> LoadPlan::take(const Taken& taken) {
  const Piece& piece = taken.piece;
  if (piece.size() == 0) return {};
  if (std::ranges::none_of(ram_, [&](mem::PhysRange ram) { return ram.contains(piece.at, piece.size()); }))
    return bad_input(
        fmt::format("{} needs {:#x} bytes at {:#x}, where the machine has no RAM", piece.what, piece.size(),
                    piece.at.value()),
        fmt::format("RAM below 4 GiB ends at {:#x}; use more --memory", end_of_low_ram().value()));
  const auto after =
      std::ranges::find_if(taken_, [&](const Taken& other) { return other.piece.end() > piece.at; });
  if (after != taken_.end() && overlap(after->piece, piece))
    return bad_input(fmt::format("{} at {:#x} and {} at {:#x} overlap", piece.what, piece.at.value(),
                                 after->piece.what, after->piece.at.value()),
                     after->piece.what == piece.what
                         ? "the file is damaged: its parts lie over each other"
                         : "the loader keeps parts of the first megabyte and the top of low RAM for itself");
  taken_.insert(after, taken);
  return {};
}

OrError<void> LoadPlan::add(const Piece& piece) { return take({piece}); }

OrError<void> LoadPlan::add_owned(std::string_view what, PhysAddr at, Bytes bytes, std::uint64_t zeros) {
  kept_.push_back(std::move(bytes));
  return take({{what, at, kept_.back(), zeros}});
}

OrError<void> LoadPlan::reserve(std::string_view what, PhysAddr at, std::uint64_t bytes) {
  return take({{what, at, {}, bytes}, false});
}

std::optional<PhysAddr> LoadPlan::find_room(std::uint64_t bytes, PhysAddr limit) const {
  for (auto ram = ram_.rbegin(); ram != ram_.rend(); ++ram) {
    PhysAddr end = std::min(ram->end(), limit);
    // Downwards over what is taken: a gap that is too small is skipped with its lower neighbour.
    for (auto taken = taken_.rbegin();; ++taken) {
      while (taken != taken_.rend() && taken->piece.at >= end) ++taken;
      const bool last = taken == taken_.rend() || taken->piece.end() <= ram->first;
      const PhysAddr floor = last ? ram->first : std::max(ram->first, taken->piece.end());
      if (end > floor && end - floor >= bytes) {
        const PhysAddr at = (end - bytes).page();
        if (at >= floor) return at;
      }
      if (last) break;
      end = std::min(end, taken->piece.at);
    }
  }
  return std::nullopt;
}

std::vector<Piece> LoadPlan::pieces() const {
  std::vector<Piece> loaded;
  for (const Taken& taken : taken_)
    if (taken.loaded) loaded.push_back(taken.piece);
  return loaded;
}

OrError<void> LoadPlan::for_each_page(const PageVisitor& visit) const {
  const std::vector<Piece> loaded = pieces();
  PhysAddr next{0};
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    for (PhysAddr page = std::max(next, loaded[i].at.page()); page < loaded[i].end(); page += page_size) {
      std::array<std::byte, page_size> contents{};
      for (std::size_t k = i; k < loaded.size() && loaded[k].at < page + page_size; ++k)
        copy_part(loaded[k], page, contents);
      CBIT_TRY(visit(page, contents));
      next = page + page_size;
    }
  }
  return {};
}

}  // namespace cbit::boot
