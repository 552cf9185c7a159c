#include "launch/plan_strings.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/safe_text.hpp"

namespace cbit::launch {
namespace {

// What XML and TOML hold as it is: UTF-8 without control characters.
bool is_plain_text(std::string_view text) {
  const auto has = [&](std::string_view noncharacter) {
    return text.find(noncharacter) != std::string_view::npos;
  };
  return safe_line(text) == text && !has("\xef\xbf\xbe") && !has("\xef\xbf\xbf");
}

}  // namespace

std::vector<std::pair<std::string_view, std::string>> paths_of(const LaunchPlan& plan) {
  std::vector<std::pair<std::string_view, std::string>> paths;
  if (plan.firmware) paths.emplace_back("the firmware", plan.firmware->path);
  if (!plan.request.igvm.empty()) paths.emplace_back("the IGVM file", plan.request.igvm);
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
  const AttestationRequest& wish = plan.request.attestation;
  for (const std::string& text : {wish.id_block, wish.id_auth, wish.host_data, wish.mr_config_id,
                                  wish.mr_owner, wish.mr_owner_config, wish.quote_socket})
    texts.push_back(text);
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
