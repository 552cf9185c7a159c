#include "watch/causes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/safe_text.hpp"
#include "watch/cause_table.hpp"

namespace cbit::watch {
namespace {

// Whether the words stand at the beginning of the message.
bool begins_with(std::string_view message, std::string_view words) {
  constexpr std::string_view digits = "0123456789";
  while (!words.empty()) {
    const std::size_t gap = std::min(words.find('#'), words.size());
    if (!message.starts_with(words.substr(0, gap))) return false;
    message.remove_prefix(gap);
    words.remove_prefix(gap);
    if (words.empty()) break;
    const std::size_t number = std::min(message.find_first_not_of(digits), message.size());
    if (number == 0) return false;
    message.remove_prefix(number);
    words.remove_prefix(1);
  }
  return true;
}

bool says(std::string_view message, std::string_view words) {
  const std::string_view head = words.substr(0, words.find('#'));
  for (std::size_t at = 0; (at = message.find(head, at)) != std::string_view::npos; ++at)
    if (begins_with(message.substr(at), words)) return true;
  return false;
}

}  // namespace

std::span<const CauseInfo> cause_catalogue() { return cause_table; }

const CauseInfo* find_cause(std::string_view name) {
  const auto* const found = std::ranges::find(cause_table, name, &CauseInfo::name);
  return found == cause_table.end() ? nullptr : found;
}

std::vector<std::string_view> cause_names() {
  std::vector<std::string_view> names;
  for (const CauseInfo& info : cause_table) names.push_back(info.name);
  return names;
}

std::vector<std::string_view> messages_of(const CauseInfo& info) {
  std::vector<std::string_view> messages;
  for (std::string_view rest = info.linux_says; !rest.empty();) {
    messages.push_back(rest.substr(0, rest.find('|')));
    rest.remove_prefix(std::min(messages.back().size() + 1, rest.size()));
  }
  return messages;
}

bool is_about(const CauseInfo& info, std::string_view message) {
  for (std::string_view rest = info.linux_says; !rest.empty();) {
    const std::string_view words = rest.substr(0, rest.find('|'));
    if (says(message, words)) return true;
    rest.remove_prefix(std::min(words.size() + 1, rest.size()));
  }
  return false;
}

std::string linux_words(const CauseInfo& info) {
  std::string text;
  for (const std::string_view words : messages_of(info)) {
    text += text.empty() ? "\"" : " or \"";
    for (const char c : words) c == '#' ? text += "..." : text += c;
    text += '"';
  }
  return text;
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
    for (const Remedy& remedy : info.remedies)
      fmt::format_to(out, "- Remedy{}, {}\n", kernels_of(remedy), markdown_text(to_text(remedy)));
    if (!info.linux_says.empty()) fmt::format_to(out, "- Linux says: {}\n", linux_words(info));
    fmt::format_to(out, "- Source: {}\n", info.source);
  }
  return text;
}

}  // namespace cbit::watch
