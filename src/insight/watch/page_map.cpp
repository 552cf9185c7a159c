#include "watch/page_map.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

PageRun run_of(PhysAddr page, const mem::PageHistory& history) {
  const bool written = history.writer.kind != AgentKind::none;
  const PageContents held = history.writer_key == no_key ? PageContents::plain : PageContents::ciphertext;
  return {.first = page,
          .pages = 1,
          .shared = history.shared,
          .contents = written ? held : PageContents::nothing,
          .owner = history.owner,
          .writer_key = history.writer_key,
          .writer = history.writer,
          .writer_site = history.writer_site,
          .first_written_ns = history.written_ns,
          .last_written_ns = history.written_ns,
          .ever_converted = history.ever_converted,
          .conversion_site = history.conversion_site,
          .converted_ns = history.converted_ns,
          .assigned = history.assigned};
}

bool extends(const PageRun& run, const PageRun& next) {
  PageRun alike = next;
  alike.first = run.first;
  alike.pages = run.pages;
  alike.first_written_ns = run.first_written_ns;
  alike.last_written_ns = run.last_written_ns;
  return next.first == run.first + run.pages * page_size && alike == run;
}

// What the kernel's attribute and the bytes say together.
std::string_view state_name(const PageRun& run) {
  switch (run.contents) {
    case PageContents::nothing: return run.shared ? "shared-empty" : "private-empty";
    case PageContents::plain: return run.shared ? "shared" : "plain";
    case PageContents::ciphertext: return run.shared ? "shared-ciphertext" : "private";
  }
  return "?";
}

struct Symbol {
  char symbol;
  std::string_view state;
  std::string_view legend;
};
// What must not be overlooked comes first: it stands for a cell that has several.
constexpr Symbol symbols[] = {
    {'!', "shared-ciphertext", "shared, but last written under a key"},
    {'s', "shared", "shared and readable by everybody"},
    {'o', "shared-empty", "shared, not written since"},
    {'p', "plain", "not shared, yet last written without a key"},
    {'e', "private", "private: encrypted"},
    {'-', "private-empty", "private again, not written since"},
};

const Symbol& symbol_of(const PageRun& run) {
  return *std::ranges::find(symbols, state_name(run), &Symbol::state);
}

std::string key_text(KeyId key) { return key == no_key ? "none" : fmt::format("{}", key); }

std::string times(const PageRun& run) {
  if (run.contents == PageContents::nothing) return "";
  if (run.first_written_ns == run.last_written_ns) return fmt::format("{}", run.last_written_ns);
  return fmt::format("{}..{}", run.first_written_ns, run.last_written_ns);
}

}  // namespace

std::vector<PageRun> page_map(const mem::Memory& memory) {
  std::vector<PageRun> runs;
  memory.for_each_touched([&](PhysAddr page, const mem::PageHistory& history) {
    const PageRun next = run_of(page, history);
    if (runs.empty() || !extends(runs.back(), next)) {
      runs.push_back(next);
      return;
    }
    PageRun& run = runs.back();
    ++run.pages;
    run.first_written_ns = std::min(run.first_written_ns, next.first_written_ns);
    run.last_written_ns = std::max(run.last_written_ns, next.last_written_ns);
  });
  return runs;
}

std::string render_page_table(const std::vector<PageRun>& runs, const Tracer& tracer) {
  std::string text = fmt::format("{:<16}{:>8}  {:<18}{:<5}{:<16}{:<24}{:<20}{}\n", "first", "pages", "state",
                                 "key", "last writer", "in", "at ns", "attribute");
  for (const PageRun& run : runs) {
    std::string attribute = "since boot";
    if (run.ever_converted)
      attribute = fmt::format("made {} by {} at {} ns", run.shared ? "shared" : "private",
                              tracer.name(run.conversion_site), run.converted_ns);
    if (run.assigned) attribute += ", assigned in the RMP";
    const bool written = run.contents != PageContents::nothing;
    fmt::format_to(std::back_inserter(text), "{:<16}{:>8}  {:<18}{:<5}{:<16}{:<24}{:<20}{}\n",
                   fmt::format("{}", run.first), run.pages, state_name(run),
                   written ? key_text(run.writer_key) : "", written ? agent_name(run.writer) : "",
                   written ? tracer.name(run.writer_site) : "", times(run), attribute);
  }
  return text;
}

std::vector<std::string> writers_of_shared_ciphertext(const std::vector<PageRun>& runs,
                                                      const Tracer& tracer) {
  std::map<std::pair<bool, std::string_view>, std::uint64_t> pages;
  for (const PageRun& run : runs)
    if (run.shared && run.contents == PageContents::ciphertext)
      pages[{run.ever_converted && run.last_written_ns <= run.converted_ns, tracer.name(run.writer_site)}] +=
          run.pages;
  std::vector<std::string> texts;
  for (const auto& [what, count] : pages)
    texts.push_back(fmt::format("by {}, {} they were shared: {} pages", what.second,
                                what.first ? "before" : "while", count));
  return texts;
}

std::string render_page_picture(const std::vector<PageRun>& runs, const Tracer& tracer) {
  if (runs.empty()) return "no page was ever written or converted\n";
  constexpr std::uint64_t columns = 64, lines_max = 32;
  const std::uint64_t end = runs.back().first.page_number() + runs.back().pages;
  const std::uint64_t start = runs.front().first.page_number();
  std::uint64_t pages_per_cell = 1;
  while (end - align_down(start, columns * pages_per_cell) > columns * lines_max * pages_per_cell)
    pages_per_cell *= 2;
  const std::uint64_t base = align_down(start, columns * pages_per_cell);

  std::vector<std::size_t> cells((end - base + pages_per_cell - 1) / pages_per_cell, std::size(symbols));
  for (const PageRun& run : runs) {
    const auto rank = static_cast<std::size_t>(&symbol_of(run) - symbols);
    const std::uint64_t first = run.first.page_number() - base;
    for (std::uint64_t cell = first / pages_per_cell; cell <= (first + run.pages - 1) / pages_per_cell;
         ++cell)
      cells[cell] = std::min(cells[cell], rank);
  }

  std::string text = fmt::format("one character is {} KiB\n", pages_per_cell * page_size / 1024);
  auto out = std::back_inserter(text);
  bool gap = false;
  for (std::uint64_t line = 0; line < cells.size(); line += columns) {
    std::string row;
    for (std::uint64_t cell = line; cell < std::min<std::uint64_t>(line + columns, cells.size()); ++cell)
      row += cells[cell] == std::size(symbols) ? '.' : symbols[cells[cell]].symbol;
    const bool empty = row.find_first_not_of('.') == std::string::npos;
    if (!empty)
      fmt::format_to(out, "{:<16}  {}\n",
                     fmt::format("{}", PhysAddr{(base + line * pages_per_cell) * page_size}), row);
    else if (!gap)
      fmt::format_to(out, "{:<16}  (never touched)\n", "…");
    gap = empty;
  }
  for (const Symbol& symbol : symbols) {
    fmt::format_to(out, "  {}  {}\n", symbol.symbol, symbol.legend);
    if (symbol.state != "shared-ciphertext") continue;
    for (const std::string& writer : writers_of_shared_ciphertext(runs, tracer))
      fmt::format_to(out, "     {}\n", writer);
  }
  return text;
}

std::string page_map_json(const std::vector<PageRun>& runs, const Tracer& tracer) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const PageRun& run : runs) {
    Json entry{{"first", fmt::format("{:#x}", run.first.value())},
               {"pages", run.pages},
               {"state", state_name(run)},
               {"shared", run.shared},
               {"owner_key", run.owner},
               {"assigned", run.assigned}};
    if (run.contents != PageContents::nothing)
      entry["written"] = {{"by", agent_name(run.writer)},
                          {"key", run.writer_key},
                          {"site", tracer.name(run.writer_site)},
                          {"first_ns", run.first_written_ns},
                          {"last_ns", run.last_written_ns}};
    if (run.ever_converted)
      entry["converted"] = {{"site", tracer.name(run.conversion_site)}, {"ns", run.converted_ns}};
    list.push_back(std::move(entry));
  }
  return json_text(Json{{"schema", "cbit-pages-1"}, {"runs", std::move(list)}}) + '\n';
}

}  // namespace cbit::watch
