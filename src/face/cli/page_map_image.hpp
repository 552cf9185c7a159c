// A picture of memory: PNG, one pixel per page, the colour says what the page looks like.
//
// A row is 512 pixels: 2 MiB, a huge page, beginning at a multiple of 2 MiB. Each mapped segment begins in a
// row of its own; pixels before its start and behind its end are transparent. The image names its rows in a
// text chunk. docs/peek-process.md has the legend.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.hpp"
#include "process/survey.hpp"

namespace cbit::cli {

struct Colour {
  std::uint8_t red, green, blue;
};
[[nodiscard]] Colour colour_of(watch::PageLooks looks);

class PageMapImage {
 public:
  // Segments without a mapping have no row. Errors: the file cannot be written (output_failed), there is
  // nothing to show or it has more than a million rows (usage).
  static OrError<PageMapImage> create(const std::string& path, std::span<const process::Segment> segments);
  PageMapImage(PageMapImage&&) noexcept;
  ~PageMapImage();

  // The next segment that has a mapping, and then its pages in ascending order.
  void begin_segment();
  void add(const process::PagesSeen& seen);
  // Pages that were not added stay transparent. Errors (output_failed).
  OrError<void> commit();

 private:
  struct State;
  explicit PageMapImage(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cbit::cli
