// A StreamReport as text for the terminal, as JSON, and as one self-contained HTML page.
#pragma once

#include <string>
#include <vector>

#include "stream/stream.hpp"

namespace cbit::stream {

[[nodiscard]] std::string to_text(const StreamReport& report);
// The object of schema/stream.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string to_json(const StreamReport& report);

// What the DMA timeline of the page shows: the beginning of a run.
class Timeline final : public EventSink {
 public:
  struct Slice {
    std::string track;  // "cpu0", a device's name
    std::string_view kind;
    std::string detail;
    std::uint64_t begin_ns = 0;
    std::uint64_t duration_ns = 0;
  };

  // Keeps the first `slices_max` slices from the first mapping on.
  explicit Timeline(std::size_t slices_max = 400) : slices_max_{slices_max} {}

  void on_attach(const Tracer& tracer) override { tracer_ = &tracer; }
  void on_event(const Event& event) override;
  [[nodiscard]] const std::vector<Slice>& slices() const { return slices_; }

 private:
  std::size_t slices_max_;
  const Tracer* tracer_ = nullptr;
  std::vector<Slice> slices_;
  bool mapped_ = false;
};

// The page-state map as a picture, the timeline, the figures, the causes. No scripts, no outside references.
[[nodiscard]] std::string to_html(const StreamReport& report, const Timeline& timeline);

}  // namespace cbit::stream
