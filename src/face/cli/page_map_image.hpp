// A picture of memory: PNG, a square per page, the colour says what the page looks like; below it a legend.
//
// A row is a power of two pages, beginning at a multiple of its bytes: as many as give the picture a shape
// near four to three, 512 to 4096 pixels wide. Each mapped segment begins in a row of its own; squares before
// its start and behind its end are transparent. The image names its rows in a text chunk. See
// docs/peek-process.md.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.hpp"
#include "process/survey.hpp"

namespace cbit::cli {

class PageMapImage {
 public:
  // Segments without a mapping have no row. Errors: the file cannot be written (output_failed), there is
  // nothing to show or it has more than 999,000 rows (usage).
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
