#include "launch/plan_strings.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::launch {
namespace {

// The length of the UTF-8 character that the text begins with (RFC 3629); 0: it begins with none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((at(i) & 0xc0) != 0x80) return 0;
  const bool overlong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xf0 && at(1) < 0x90);
  const bool beyond = (first == 0xed && at(1) > 0x9f) || (first == 0xf4 && at(1) > 0x8f);
  return overlong || beyond ? 0 : length;
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool noncharacter = text.starts_with("\xef\xbf\xbe") || text.starts_with("\xef\xbf\xbf");
    if (length == 0 || first < 0x20 || first == 0x7f || noncharacter) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::vector<std::pair<std::string_view, std::string>> paths_of(const LaunchPlan& plan) {
  std::vector<std::pair<std::string_view, std::string>> paths;
  if (plan.firmware) paths.emplace_back("the firmware", plan.firmware->path);
  if (!plan.request.kernel.empty()) paths.emplace_back("the kernel", plan.request.kernel);
  if (!plan.request.initrd.empty()) paths.emplace_back("the initrd", plan.request.initrd);
  for (const DiskRequest& disk : plan.request.disks) paths.emplace_back("the disk", disk.file);
  const std::string& console = plan.request.console;
  if (console != "stdio" && console != "pty" && console != "none") paths.emplace_back("the console", console);
  return paths;
}

OrError<void> check_text(const LaunchPlan& plan, std::string_view language) {
  std::vector<std::string> texts{plan.request.name, plan.append, plan.cpu_model, plan.program};
  for (const auto& [what, path] : paths_of(plan)) texts.push_back(path);
  for (const NetRequest& net : plan.request.nets) texts.push_back(net.ifname);
  for (const QemuOption& option : plan.request.extra)
    for (const std::string& word : to_words(option)) texts.push_back(word);
  const auto bad = std::ranges::find_if_not(texts, is_plain_text);
  if (bad == texts.end()) return {};
  return usage_error(fmt::format("{} cannot hold {}", language, to_shell(std::vector{*bad})),
                     "use names of UTF-8 without control characters");
}

std::string letters(std::size_t index) {
  std::string text;
  for (++index; index > 0; index = (index - 1) / 26)
    text.insert(text.begin(), static_cast<char>('a' + (index - 1) % 26));
  return text;
}

}  // namespace cbit::launch
