// What all reports as pages have in common. Plain HTML and SVG: it opens anywhere, also years later.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cbit::watch {

// `title` is text; `body` is HTML behind the heading.
[[nodiscard]] std::string html_page(std::string_view title, std::string_view body);
// Coloured squares with their meaning.
struct LegendEntry {
  std::string_view colour;
  std::string text;
};
[[nodiscard]] std::string html_legend(std::span<const LegendEntry> entries);

// Colours that differ for most eyes, in both colour schemes; beyond their number they repeat.
// Shapes of SVG in so many units, with a name for who does not see them. As wide as the page; on a narrow
// screen it keeps a size that can be read, and scrolls by itself.
[[nodiscard]] std::string html_picture(double width, double height, std::string_view label,
                                       std::string_view shapes);

[[nodiscard]] std::string_view series_colour(std::size_t index);

// A value in each of `values.size()` equal pieces of the time from zero to `seconds`.
struct ChartSeries {
  std::string name;
  std::vector<double> values;
};
// Steps over time, from zero to the highest value, which is written beside with `unit`. `clock`: whose time
// it is. Empty: no picture.
[[nodiscard]] std::string step_chart(std::span<const ChartSeries> series, double seconds,
                                     std::string_view unit, std::string_view clock = "of virtual time");

}  // namespace cbit::watch
