// The report as one page.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "stream/report.hpp"
#include "watch/export/html_page.hpp"
#include "watch/report.hpp"

namespace cbit::stream {
namespace {

constexpr std::string_view private_colour = "#2f6fb7";
constexpr std::string_view shared_colour = "#e0a030";
constexpr std::string_view exposed_colour = "#c9372c";
constexpr std::string_view hidden_colour = "#8a63d2";
constexpr std::string_view empty_colour = "#c8ccd2";

std::string_view colour_of(const watch::PageRun& run) {
  if (run.contents == watch::PageContents::nothing) return empty_colour;
  const bool encrypted = run.contents == watch::PageContents::ciphertext;
  if (run.shared) return encrypted ? hidden_colour : shared_colour;
  return encrypted ? private_colour : exposed_colour;
}

std::string legend() {
  const watch::LegendEntry entries[] = {{private_colour, "private, ciphertext"},
                                        {shared_colour, "shared, plain"},
                                        {exposed_colour, "private, but plain to the host"},
                                        {hidden_colour, "shared, but still ciphertext"},
                                        {empty_colour, "converted, empty"}};
  return watch::html_legend(entries);
}

// All pages of the map in reading order, a cell each where they fit; a row begins with its address. A
// rectangle is drawn per run within a row.
std::string page_picture(const std::vector<watch::PageRun>& runs) {
  constexpr std::uint64_t columns = 96, rows_max = 60;
  constexpr double cell = 8, label = 110;
  std::uint64_t pages = 0;
  for (const watch::PageRun& run : runs) pages += run.pages;
  const std::uint64_t row_pages = std::max<std::uint64_t>(columns, (pages + rows_max - 1) / rows_max);
  const std::uint64_t rows = std::max<std::uint64_t>(1, (pages + row_pages - 1) / row_pages);
  const double scale = static_cast<double>(columns) * cell / static_cast<double>(row_pages);
  std::string svg;
  std::uint64_t at = 0;
  for (const watch::PageRun& run : runs)
    for (std::uint64_t done = 0; done < run.pages;) {
      const std::uint64_t column = at % row_pages;
      const std::uint64_t n = std::min(run.pages - done, row_pages - column);
      if (column == 0)
        svg += fmt::format("<text x=\"0\" y=\"{:.1f}\" font-size=\"{}\" fill=\"currentColor\">{}</text>\n",
                           static_cast<double>(at / row_pages) * (cell + 2) + cell, cell + 2,
                           run.first + done * page_size);
      svg += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\"><title>{}: {} pages, "
          "{}</title></rect>\n",
          label + static_cast<double>(column) * scale, static_cast<double>(at / row_pages) * (cell + 2),
          std::max(static_cast<double>(n) * scale, 0.5), cell, colour_of(run), run.first + done * page_size,
          n, run.shared ? "shared" : "private");
      at += n;
      done += n;
    }
  return fmt::format("<p>A row is {} pages of 4 KiB.</p>\n", row_pages) +
         watch::html_picture(label + static_cast<double>(columns) * cell,
                             static_cast<double>(rows) * (cell + 2), "page states", svg);
}

std::string_view colour_of_slice(std::string_view kind) {
  if (kind == "map") return "#1a7f37";
  if (kind == "unmap") return "#57606a";
  return kind == "bounce" ? shared_colour : private_colour;
}

std::string timeline_picture(const std::vector<Timeline::Slice>& slices) {
  if (slices.empty()) return "<p>No DMA.</p>\n";
  std::vector<std::string> tracks;
  for (const auto& slice : slices)
    if (std::ranges::find(tracks, slice.track) == tracks.end()) tracks.push_back(slice.track);
  const std::uint64_t begin = slices.front().begin_ns;
  const std::uint64_t end = slices.back().begin_ns + slices.back().duration_ns;
  constexpr double width = 1000, label = 110, row = 34;
  const double scale = (width - label) / static_cast<double>(std::max<std::uint64_t>(end - begin, 1));
  std::string svg;
  for (std::size_t i = 0; i < tracks.size(); ++i)
    svg += fmt::format("<text x=\"0\" y=\"{}\" font-size=\"12\" fill=\"currentColor\">{}</text>\n",
                       row * static_cast<double>(i) + 18, html_text(tracks[i]));
  for (const auto& slice : slices) {
    const auto track = static_cast<double>(std::ranges::find(tracks, slice.track) - tracks.begin());
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"22\" fill=\"{}\"><title>{}: "
        "{}</title></rect>\n",
        label + static_cast<double>(slice.begin_ns - begin) * scale, row * track + 3,
        std::max(static_cast<double>(slice.duration_ns) * scale, 0.6), colour_of_slice(slice.kind),
        slice.kind, html_text(slice.detail));
  }
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\" font-size=\"11\" fill=\"currentColor\">{:.1f} µs of virtual "
      "time</text>\n",
      label, row * static_cast<double>(tracks.size()) + 14, static_cast<double>(end - begin) / 1e3);
  return watch::html_picture(width, row * static_cast<double>(tracks.size()) + 20, "DMA timeline", svg);
}

std::string timeline_legend() {
  std::vector<watch::LegendEntry> entries;
  for (const char* kind : {"map", "bounce", "device", "unmap"})
    entries.push_back({colour_of_slice(kind), kind});
  return watch::html_legend(entries);
}

std::string notes(const StreamPass& pass) {
  std::string html;
  for (const std::string& writer : pass.shared_ciphertext)
    html += fmt::format("<p>Shared, but still ciphertext: last written {}.</p>\n", html_text(writer));
  return html;
}

std::string samples(const StreamPass& pass) {
  std::string rows;
  for (const StreamPass::Sample& sample : pass.samples)
    rows += fmt::format("<tr><th>{}</th><td>{}</td><td><code>{}</code></td></tr>\n", html_text(sample.what),
                        sample.at, to_hex(sample.bytes));
  return "<table>\n" + rows + "</table>\n";
}

std::string verdict(bool good) {
  return good ? "<span class=\"good\">equal</span>" : "<span class=\"bad\">different</span>";
}

std::string causes_section(const std::vector<watch::Cause>& causes) {
  if (causes.empty()) return "<p>No causes: nothing went wrong.</p>\n";
  return "<pre>" + html_text(watch::render_causes(causes)) + "</pre>\n";
}

std::string figures(const StreamReport& report) {
  const StreamPass& good = report.correct;
  std::string rows;
  const auto row = [&](std::string_view what, const std::string& value) {
    rows += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", what, value);
  };
  row("Disk", fmt::format("{} MiB, SHA-256 <code>{}</code>", good.bytes >> 20, to_hex(report.source)));
  row("In the guest's memory", verdict(good.intact));
  row("Target image", verdict(report.equal));
  row("Private pages", fmt::format("{}, sectors of the disk readable to the host: {}",
                                   good.scan.private_pages, good.scan.sectors_in_private_pages));
  row("Shared pages", fmt::format("{}, sectors of the disk readable to the host: {}", good.scan.shared_pages,
                                  good.scan.sectors_in_shared_pages));
  row("Bounced",
      fmt::format("{} bytes in {} mappings, at most {} of {} slots", good.swiotlb.bytes_bounced,
                  good.swiotlb.bounces, good.counters.counts().slots_used_max, good.swiotlb.io_tlb_nslabs));
  row("Converted", fmt::format("{} pages, {} TLB flushes, {} hypercalls", good.conversions.pages,
                               good.conversions.tlb_flushes, good.conversions.hypercalls));
  return "<table>\n" + rows + "</table>\n";
}

}  // namespace

std::string to_html(const StreamReport& report, const Timeline& timeline) {
  std::string html = figures(report);
  html += "<h2>A sector of the disk</h2>\n" + samples(report.correct);
  html += "<h2>Page states</h2>\n" + legend() + page_picture(report.correct.pages) + notes(report.correct);
  html += "<details><summary>The same as a table</summary><pre>" + html_text(report.correct.page_table) +
          "</pre></details>\n";
  html +=
      "<h2>DMA timeline: the first requests</h2>\n" + timeline_legend() + timeline_picture(timeline.slices());
  html +=
      "<h2>The same with one bug: physical addresses in the descriptors</h2>\n<p>The image in the guest's "
      "memory: " +
      verdict(report.raw.intact) +
      fmt::format("; sectors of the disk that the host can read in private pages: {}.</p>\n",
                  report.raw.scan.sectors_in_private_pages);
  html += page_picture(report.raw.pages) + causes_section(report.raw.causes);
  return watch::html_page(
      fmt::format("cbit: a {} guest streams a disk", to_string(report.options.bed.machine.platform)), html);
}

}  // namespace cbit::stream
