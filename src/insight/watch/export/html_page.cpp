#include "watch/export/html_page.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/safe_text.hpp"

namespace cbit::watch {
namespace {

constexpr std::string_view style = R"(
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
body { color: #1b1f24; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
pre { background: #f4f5f7; padding: .8rem; overflow-x: auto; font-size: 12px; } code { font-size: 90%; }
.picture { overflow-x: auto; } svg { width: 100%; min-width: 48rem; height: auto; }
code { overflow-wrap: anywhere; }
.bad { color: #b3261e; font-weight: 600; } .good { color: #1a7f37; font-weight: 600; }
.legend span { display: inline-block; white-space: nowrap; margin-right: 1em; }
.legend i { display: inline-block; width: .9em; height: .9em; margin-right: .3em; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e8eb; background: #16181c; } pre { background: #22252b; }
})";

constexpr double chart_width = 1000, chart_height = 160, label_height = 18;

double highest_of(std::span<const ChartSeries> series) {
  double highest = 0;
  for (const ChartSeries& one : series)
    for (const double value : one.values) highest = std::max(highest, value);
  return highest;
}

// Up and across, value by value.
std::string step_path(const std::vector<double>& values, double highest) {
  const double step = chart_width / static_cast<double>(values.size());
  std::string path;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != 0 && values[i] == values[i - 1]) continue;
    const double x = step * static_cast<double>(i), y = chart_height * (1 - values[i] / highest);
    path += i == 0 ? fmt::format("M{:.1f} {:.1f}", x, y + label_height)
                   : fmt::format("H{:.1f}V{:.1f}", x, y + label_height);
  }
  return path + fmt::format("H{}", chart_width);
}

}  // namespace

std::string html_page(std::string_view title, std::string_view body) {
  const std::string text = html_text(title);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{}</title>\n"
      "<style>{}</style></head>\n<body>\n<h1>{}</h1>\n{}</body></html>\n",
      text, style, text, body);
}

std::string html_legend(std::span<const LegendEntry> entries) {
  std::string html = "<p class=\"legend\">";
  for (const LegendEntry& entry : entries)
    html +=
        fmt::format("<span><i style=\"background:{}\"></i>{}</span>\n", entry.colour, html_text(entry.text));
  return html + "</p>\n";
}

std::string html_picture(double width, double height, std::string_view label, std::string_view shapes) {
  return fmt::format(
      "<div class=\"picture\"><svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg></div>\n",
      width, height, html_text(label), shapes);
}

std::string_view series_colour(std::size_t index) {
  constexpr std::string_view colours[] = {"#e0a030", "#2f6fb7", "#1a7f37", "#8a63d2", "#c9372c", "#57606a"};
  return colours[index % std::size(colours)];
}

std::string step_chart(std::span<const ChartSeries> series, double seconds, std::string_view unit,
                       std::string_view clock) {
  const double highest = highest_of(series);
  if (highest == 0) return "<p>None.</p>\n";
  std::vector<LegendEntry> entries;
  std::string lines;
  for (std::size_t i = 0; i < series.size(); ++i) {
    if (series[i].values.empty()) continue;
    entries.push_back({series_colour(i), series[i].name});
    lines += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                         step_path(series[i].values, highest), series_colour(i));
  }
  constexpr std::string_view text =
      "<text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"currentColor\"{}>{}</text>\n";
  std::string svg =
      fmt::format(text, 0, label_height - 6, "", fmt::format("{:.6g} {}", highest, html_text(unit)));
  svg += lines;
  svg += fmt::format(text, chart_width, chart_height + 2 * label_height - 4, " text-anchor=\"end\"",
                     fmt::format("{:.3f} s {}", seconds, clock));
  return html_legend(entries) +
         html_picture(chart_width, chart_height + 2 * label_height, fmt::format("{} over time", unit), svg);
}

}  // namespace cbit::watch
