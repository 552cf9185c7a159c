#include "watch/causes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/safe_text.hpp"
#include "watch/cause_table.hpp"

namespace cbit::watch {

std::span<const CauseInfo> cause_catalogue() { return cause_table; }

const CauseInfo* find_cause(std::string_view name) {
  const auto* const found = std::ranges::find(cause_table, name, &CauseInfo::name);
  return found == cause_table.end() ? nullptr : found;
}

bool is_about(const CauseInfo& info, std::string_view message) {
  for (std::string_view rest = info.linux_says; !rest.empty();) {
    const std::string_view words = rest.substr(0, rest.find('|'));
    if (message.find(words) != std::string_view::npos) return true;
    rest.remove_prefix(std::min(words.size() + 1, rest.size()));
  }
  return false;
}

std::string linux_words(const CauseInfo& info) {
  if (info.linux_says.empty()) return {};
  std::string text{'"'};
  for (const char c : info.linux_says) c == '|' ? text += "\" or \"" : text += c;
  return text += '"';
}

std::string catalogue_markdown() {
  std::string text =
      "# Causes\n\n"
      "Every cause that cbit can find, by its stable name. `cbit causes --markdown` prints this page.\n";
  auto out = std::back_inserter(text);
  std::string_view topic;
  for (const CauseInfo& info : cause_table) {
    if (info.topic != topic) fmt::format_to(out, "\n## {}\n", topic = info.topic);
    fmt::format_to(out, "\n### {}\n\n{}\n\n{}\n\n", info.name, markdown_text(info.title),
                   markdown_text(info.meaning));
    fmt::format_to(out, "- Remedy: {}\n", markdown_text(info.remedy));
    if (!info.linux_says.empty()) fmt::format_to(out, "- Linux says: {}\n", linux_words(info));
    fmt::format_to(out, "- Source: {}\n", info.source);
  }
  return text;
}

}  // namespace cbit::watch
