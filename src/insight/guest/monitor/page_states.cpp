#include "guest/monitor/page_states.hpp"

#include <fmt/format.h>

#include <map>
#include <string_view>

namespace cbit::guest {
namespace {

struct State {
  std::string_view kind;  // "private", "shared", "plain"
  std::string_view key;
  AgentKind writer = AgentKind::none;

  friend auto operator<=>(const State&, const State&) = default;
};

std::string_view kind_of(const Inspector& inspector, KeyId key) {
  if (!inspector.encrypts()) return "plain";
  if (key == no_key) return inspector.view().walks_private ? "shared" : "plain";
  return inspector.view().walks_private ? "private" : "encrypted";
}

std::string_view writer_word(AgentKind writer) {
  return writer == AgentKind::loader ? "launch" : to_string(writer);
}

std::string line_of(PhysAddr first, std::uint64_t pages, const State& state) {
  return fmt::format("{:016x}-{:016x} {:>8} {}  {:<9} key {:<5}  written by {}\n", first.value(),
                     (first + pages * page_size).value(), pages, pages == 1 ? "page " : "pages", state.kind,
                     state.key, writer_word(state.writer));
}

}  // namespace

std::string page_states_text(const Inspector& inspector, PhysAddr from, std::size_t lines_max) {
  std::string text;
  std::size_t lines = 0, left_out = 0;
  std::map<State, std::uint64_t> sums;
  PhysAddr first;
  std::uint64_t pages = 0;
  State state;
  const auto end_range = [&] {
    if (pages == 0) return;
    if (lines++ < lines_max)
      text += line_of(first, pages, state);
    else
      ++left_out;
    pages = 0;
  };
  inspector.memory().for_each_touched([&](PhysAddr at, const mem::PageHistory& page) {
    const KeyId key = Inspector::key_of_page(page);
    const State now{kind_of(inspector, key), inspector.key_name(key), page.writer.kind};
    ++sums[now];
    if (at < from.page()) return;
    if (pages == 0 || first + pages * page_size != at || now != state) {
      end_range();
      first = at;
      state = now;
    }
    ++pages;
  });
  end_range();
  if (left_out != 0) text += fmt::format("... and {} more: ask for more lines\n", left_out);
  for (const auto& [one, count] : sums)
    text += fmt::format("{} pages {}, key {}, written by {}\n", count, one.kind, one.key,
                        writer_word(one.writer));
  std::uint64_t ram = 0, touched = 0;
  for (const mem::PhysRange& range : inspector.memory().ram()) ram += range.bytes / page_size;
  for (const auto& [one, count] : sums) touched += count;
  return text + fmt::format("{} pages never written\n", ram - touched);
}

}  // namespace cbit::guest
