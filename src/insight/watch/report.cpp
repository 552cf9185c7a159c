#include "watch/report.hpp"

#include <iterator>
#include <string_view>

#include "base/format.hpp"

namespace cbit::watch {
namespace {

constexpr std::string_view red = "31", green = "32", bold = "1", faint = "2";

std::string paint(std::string_view text, std::string_view code, const ReportStyle& style) {
  return style.colour ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string{text};
}

constexpr std::size_t text_width = 96;

// Breaks at blanks; the first line follows what stands before it.
std::string wrapped(std::string_view text, std::size_t indent) {
  std::string result;
  std::size_t column = indent;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string_view word = text.substr(at, end - at);
    if (at != 0) {
      const bool fits = column + 1 + word.size() <= text_width;
      result += fits ? std::string{' '} : '\n' + std::string(indent, ' ');
      column = fits ? column + 1 : indent;
    }
    result += word;
    column += word.size();
    at = end + 1;
  }
  return result;
}

}  // namespace

std::string render_steps(const std::vector<StepTaken>& steps, const ReportStyle& style) {
  std::string text;
  std::size_t number = 0;
  for (const StepTaken& step : steps)
    fmt::format_to(std::back_inserter(text), "{:>4}. {}\n      {}\n", ++number, wrapped(step.rule, 6),
                   paint(step.source, faint, style));
  return text;
}

std::string render_range(const CauseRange& range) {
  switch (range.space) {
    case CauseRange::Space::none: return {};
    case CauseRange::Space::physical: {
      const std::uint64_t pages = range.bytes / page_size;
      return fmt::format("{}, {} page{}", PhysAddr{range.first}, pages, pages == 1 ? "" : "s");
    }
    case CauseRange::Space::bus:
      if (range.bytes <= 1) return fmt::format("{}", DmaAddr{range.first});
      return fmt::format("{}, {} bytes", DmaAddr{range.first}, range.bytes);
  }
  return {};
}

std::string render_causes(const std::vector<Cause>& causes, const ReportStyle& style) {
  constexpr std::size_t label_width = 18;
  std::string text;
  auto out = std::back_inserter(text);
  const auto line = [&](std::string_view label, std::string_view value) {
    fmt::format_to(out, "    {:<{}}{}\n", label, label_width, wrapped(value, 4 + label_width));
  };
  for (const Cause& cause : causes) {
    if (!text.empty()) text += '\n';
    fmt::format_to(out, "  {}: {}\n", paint(cause.info->name, red, style),
                   paint(cause.info->title, bold, style));
    if (!cause.device.empty()) line("device", cause.device);
    if (const std::string where = render_range(cause.where); !where.empty()) line("where", where);
    for (const Evidence& evidence : cause.evidence) line(evidence.label, evidence.text);
    line("when", cause.count == 1 ? fmt::format("at {} ns", cause.time_ns)
                                  : fmt::format("{} times, first at {} ns", cause.count, cause.time_ns));
    if (!cause.kernel_message.empty()) line("Linux says", cause.kernel_message);
    line("why", cause.info->meaning);
    for (const Remedy& remedy : cause.remedies)
      line(paint("remedy", green, style) + (style.colour ? std::string(label_width - 6, ' ') : ""),
           to_text(remedy));
    line("source", cause.info->source);
  }
  return text;
}

}  // namespace cbit::watch
