#include "launch/rules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "support/launch_cases.hpp"
#include "watch/causes.hpp"

namespace cbit::launch {
namespace {

using namespace launch_cases;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;

GuestConfig config_of(const std::string& line) {
  const auto words = shell_words(line);
  const auto command = words ? parse_qemu_command(*words) : tl::unexpected{words.error()};
  EXPECT_TRUE(command) << line << "\n" << command.error().message;
  GuestConfig config;
  if (command) config.command = *command;
  return config;
}

std::vector<Finding> judged(const std::string& line, const JudgeContext& context) {
  const GuestConfig config = config_of(line);
  return judge(config, context);
}

std::vector<std::string_view> names(const std::vector<Finding>& findings) {
  std::vector<std::string_view> result;
  for (const Finding& finding : findings) result.push_back(finding.rule->name);
  return result;
}

TEST(LaunchRules, FindNothingInCorrectConfigurations) {
  const facts::GuestSupport host = capable_host();
  for (const std::string& line : {sev, es, snp, tdx})
    EXPECT_THAT(names(judged(line, {.host = &host})), IsEmpty()) << line;
  EXPECT_THAT(names(judged(sev, {})), IsEmpty());
}

TEST(LaunchRules, FireOnTheirExampleAndNotOnTheOther) {
  for (const Example& example : examples()) {
    facts::GuestSupport host = capable_host();
    EXPECT_THAT(names(judged(example.good, context_of(example, host))), Not(Contains(example.rule)))
        << example.good;
    if (example.bad_host) example.bad_host(host);
    EXPECT_THAT(names(judged(example.bad, context_of(example, host))), Contains(example.rule)) << example.bad;
  }
}

TEST(LaunchRules, AllHaveAnExample) {
  std::set<std::string_view> seen;
  for (const Example& example : examples()) seen.insert(example.rule);
  for (const RuleInfo& info : rule_table())
    EXPECT_TRUE(seen.contains(info.name) || info.topic == "Kata Containers") << info.name;
  for (const std::string_view name : seen) EXPECT_NE(find_rule(name), nullptr) << name;
}

// Whoever writes what a finding tells to write does not meet the finding again.
TEST(LaunchRules, WhatTheyTellToWriteIsRight) {
  for (const Example& example : examples()) {
    if (example.bad_host) continue;
    const facts::GuestSupport host = capable_host();
    const JudgeContext context = context_of(example, host);
    for (const Finding& finding : judged(example.bad, context)) {
      if (finding.rule->name != example.rule || finding.write.empty()) continue;
      std::string line = example.bad;
      const auto words = shell_words("qemu-system-x86_64 " + finding.write);
      ASSERT_TRUE(words) << finding.write;
      const auto written = parse_qemu_command(*words);
      ASSERT_TRUE(written) << finding.write;
      GuestConfig config = config_of(line);
      const GuestConfig before = config;
      const auto is_replaced = [&](const QemuOption& option) {
        return to_shell(to_words(option)) == finding.where;
      };
      std::erase_if(config.command.options, is_replaced);
      std::erase_if(config.command.options, [&](const QemuOption& option) {
        return option.name == "object" && !written->options.empty() &&
               option.value("id") == written->options.front().value("id");
      });
      for (const QemuOption& option : written->options) config.command.options.push_back(option);
      EXPECT_THAT(names(judge(config, context)), Not(Contains(example.rule)))
          << to_shell(before.command, true) << "\nwrite: " << finding.write;
    }
  }
}

// A remedy that is done to the host, such as a switch in its firmware, is none of them.
TEST(LaunchRules, TellToWriteNothingButOptions) {
  unsigned told = 0;
  for (const Example& example : examples()) {
    facts::GuestSupport host = capable_host();
    if (example.bad_host) example.bad_host(host);
    for (const Finding& finding : judged(example.bad, context_of(example, host))) {
      if (finding.write.empty()) continue;
      const auto words = shell_words(finding.write);
      ASSERT_TRUE(words) << finding.rule->name << ": " << finding.write;
      EXPECT_TRUE(words->front().starts_with('-')) << finding.rule->name << ": " << finding.write;
      ++told;
    }
  }
  EXPECT_GT(told, 30u);
}

TEST(LaunchRules, SayWhatIsToBeDoneToTheHost) {
  facts::GuestSupport host = capable_host();
  host.kvm = {.why_not = "there is no /dev/kvm", .remedy = "switch virtualization on"};
  host.sev = {.why_not = "the processor has no SEV"};
  const auto findings = judged(sev, {.host = &host});
  ASSERT_THAT(names(findings), testing::ElementsAre("technology-not-usable", "technology-not-usable"));
  EXPECT_EQ(findings[0].detail, "KVM: there is no /dev/kvm; switch virtualization on");
  EXPECT_EQ(findings[1].detail, "SEV: the processor has no SEV");
}

TEST(LaunchRules, PutErrorsFirst) {
  const auto findings =
      judged(edit(sev, "q35", "pc,nvdimm=on") + " -device nvdimm -device virtio-balloon", {});
  ASSERT_GE(findings.size(), 4u);
  EXPECT_TRUE(std::ranges::is_sorted(findings, std::ranges::greater{},
                                     [](const Finding& finding) { return finding.rule->severity; }));
}

TEST(LaunchRules, NameTheOptionAsItWasWritten) {
  const auto findings = judged(sev + " -device virtio-balloon,id=b0", {});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].where, "-device virtio-balloon,id=b0");
}

TEST(LaunchRules, SayNothingAboutAGuestThatShallNotBeEncrypted) {
  const std::string plain = "qemu-system-x86_64 -device virtio-balloon disk.img";
  EXPECT_THAT(judged(plain, {.encrypted = false}), IsEmpty());
  EXPECT_THAT(names(judged(plain, {})), Contains("not-encrypted"));
  // One that is encrypted nevertheless is judged.
  EXPECT_THAT(names(judged(sev + " -device virtio-balloon", {.encrypted = false})),
              Contains("flag-not-acked"));
}

TEST(LaunchRules, ProposeWhatTheHostCanDoBest) {
  facts::GuestSupport host = capable_host();
  const std::string plain = "qemu-system-x86_64 -accel kvm -m 4G";
  EXPECT_NE(judged(plain, {.host = &host})[0].write.find("sev-snp-guest,id=sev0,cbitpos=51"),
            std::string::npos);
  host.sev_snp.usable = host.sev_es.usable = false;
  host.c_bit = 47;
  EXPECT_NE(judged(plain, {.host = &host})[0].write.find("sev-guest,id=sev0,cbitpos=47"), std::string::npos);
}

TEST(LaunchRules, ReadTheProtectionFromMachineAndObject) {
  EXPECT_EQ(protection_of(config_of(sev).command), Protection::sev);
  EXPECT_EQ(protection_of(config_of(es).command), Protection::sev_es);
  EXPECT_EQ(protection_of(config_of(snp).command), Protection::sev_snp);
  EXPECT_EQ(protection_of(config_of(tdx).command), Protection::tdx);
  EXPECT_EQ(protection_of(config_of("kvm -object sev-guest,id=sev0").command), Protection::none);
}

TEST(LaunchRuleTable, HasNamesOnceAndTextsEverywhere) {
  std::set<std::string_view> names, topics;
  std::string_view topic;
  for (const RuleInfo& info : rule_table()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    for (const std::string_view text : {info.topic, info.title, info.why, info.remedy, info.source})
      EXPECT_FALSE(text.empty()) << info.name;
    EXPECT_TRUE(info.title.ends_with('.')) << info.name;
    if (info.topic != topic) {
      EXPECT_TRUE(topics.insert(topic = info.topic).second) << topic;
    }
  }
}

TEST(LaunchRuleTable, SharesTheTextsOfCausesWithTheSameName) {
  unsigned shared = 0;
  for (const RuleInfo& info : rule_table()) {
    const watch::CauseInfo* const cause = watch::find_cause(info.name);
    if (cause == nullptr) continue;
    ++shared;
    EXPECT_EQ(info.why, cause->meaning);
    const auto is_the_rules = [&](const watch::Remedy& remedy) {
      return remedy.reader == watch::Reader::system_operator && remedy.text == info.remedy;
    };
    EXPECT_TRUE(std::ranges::any_of(cause->remedies, is_the_rules)) << info.name;
  }
  EXPECT_GE(shared, 7u);
}

// docs/launch-check.md is rules_markdown(); write it again after a change of the table.
TEST(LaunchRuleTable, DocumentIsUpToDate) {
  std::ifstream file{"docs/launch-check.md"};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  EXPECT_EQ(text, rules_markdown());
}

}  // namespace
}  // namespace cbit::launch
