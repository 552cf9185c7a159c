#include "launch/rules.hpp"

#include <fmt/format.h>

#include <iterator>

#include "base/safe_text.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {

std::span<const RuleInfo> rule_table() { return all_rules; }

const RuleInfo* find_rule(std::string_view name) {
  const auto* const found = std::ranges::find(all_rules, name, &RuleInfo::name);
  return found == all_rules.end() ? nullptr : found;
}

std::string_view Finding::remedy(GuestLanguage language) const {
  if (language == GuestLanguage::libvirt && !rule->libvirt_remedy.empty()) return rule->libvirt_remedy;
  if (language == GuestLanguage::kata && !rule->kata_remedy.empty()) return rule->kata_remedy;
  return rule->remedy;
}

std::string rules_markdown() {
  std::string text =
      "# What `cbit launch` finds in a guest's configuration\n\n"
      "Every finding about a configuration for a guest with encrypted memory, by its stable name. An *error* "
      "keeps QEMU, the guest or a device from working; a *warning* is something that works less well than it "
      "seems; a *note* is worth knowing. Names that are also in [causes](causes.md) are the same thing, seen "
      "before it happens.\n";
  auto out = std::back_inserter(text);
  std::string_view topic;
  for (const RuleInfo& info : all_rules) {
    if (info.topic != topic) fmt::format_to(out, "\n## {}\n", topic = info.topic);
    fmt::format_to(out, "\n### {}\n\n*{}*: {}\n\n{}\n\n", info.name, to_string(info.severity),
                   markdown_text(info.title), markdown_text(info.why));
    fmt::format_to(out, "- Remedy: {}\n", markdown_text(info.remedy));
    if (!info.libvirt_remedy.empty())
      fmt::format_to(out, "- libvirt: {}\n", markdown_text(info.libvirt_remedy));
    if (!info.kata_remedy.empty()) fmt::format_to(out, "- Kata: {}\n", markdown_text(info.kata_remedy));
    fmt::format_to(out, "- Source: {}\n", markdown_text(info.source));
  }
  return text;
}

std::vector<Finding> judge(const GuestConfig& config, const JudgeContext& context) {
  if (!context.encrypted && protection_of(config.command) == Protection::none) return {};
  Case guest{config, context};
  for (const auto judge_topic :
       {judge_protection, judge_attestation, judge_firmware, judge_machine, judge_memory, judge_virtio,
        judge_devices, judge_passthrough, judge_kernel, judge_kata})
    judge_topic(guest);
  return guest.take();
}

}  // namespace cbit::launch
