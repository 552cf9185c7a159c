// What our tables say about QEMU, held to what the QEMU that is installed says about itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "launch/qemu_options.hpp"
#include "launch/rules.hpp"
#include "support/launch_cases.hpp"
#include "support/qmp.hpp"

namespace cbit::launch {
namespace {

using nlohmann::json;
using namespace launch_cases;

std::string output_of(const std::string& command) {
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string out;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  pclose(pipe);
  return out;
}

constexpr const char* qemu = "qemu-system-x86_64";

class RealQemu : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("qemu-system-x86_64 --version >/dev/null 2>&1") != 0)
      GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  }
};

// Every text that a finding tells to write, on all examples.
std::set<std::string> written_texts() {
  std::set<std::string> texts;
  for (const Example& example : examples()) {
    GuestConfig config;
    config.command = *parse_qemu_command(*shell_words(example.bad));
    const facts::GuestSupport host = capable_host();
    for (const Finding& finding : judge(config, context_of(example, host)))
      if (!finding.write.empty()) texts.insert(finding.write);
  }
  return texts;
}

// Type of a device, an object or a machine -> properties.
std::map<std::string, std::set<std::string>> recommended_properties() {
  std::map<std::string, std::set<std::string>> result;
  for (const std::string& text : written_texts()) {
    const auto command = parse_qemu_command(*shell_words("qemu-system-x86_64 " + text));
    EXPECT_TRUE(command) << text;
    for (const QemuOption& option : command->options) {
      const bool machine = option.name == "machine";
      if (!machine && option.name != "device" && option.name != "object") continue;
      const auto type = option.value(option.name == "device" ? "driver" : "qom-type");
      auto& properties = result[machine ? "pc-q35-7.2-machine" : std::string{type.value_or("")}];
      for (const QemuProperty& property : option.properties)
        if (property.key != "driver" && property.key != "qom-type" && property.key != "id" &&
            property.key != "type")
          properties.insert(property.key.substr(0, property.key.find('.')));  // a member of its value
    }
  }
  return result;
}

TEST_F(RealQemu, KnowsEveryPropertyThatTheRulesTellToWrite) {
  const std::set<std::string> newer_than_7_2{"sev-snp-guest", "tdx-guest", "iommufd", "igvm-cfg"};
  const std::set<std::string> newer_properties{"igvm-cfg", "legacy-vm-type", "iommufd"};
  const std::map<std::string, std::string> alias{{"virtio-blk", "virtio-blk-pci"}};
  const auto recommended = recommended_properties();
  EXPECT_TRUE(recommended.at("virtio-blk-pci").contains("iommu_platform"));
  EXPECT_TRUE(recommended.at("sev-guest").contains("kernel-hashes"));
  test::Qmp qmp{qemu};
  for (const auto& [type, properties] : recommended) {
    const auto other = alias.find(type);
    const json list =
        qmp.ask("qom-list-properties", {{"typename", other == alias.end() ? type : other->second}});
    if (list.contains("error")) {
      EXPECT_TRUE(newer_than_7_2.contains(type)) << type << ": " << list;
      continue;
    }
    ASSERT_TRUE(list.contains("return")) << type << ": QEMU is gone";
    std::set<std::string> known;
    for (const json& property : list["return"]) known.insert(property["name"].get<std::string>());
    for (const std::string& property : properties)
      // -machine names a property of the accelerator as well (vl.c: machine_merge_property), and
      // some properties are newer than 7.2.
      if (property != "kernel-irqchip" && property != "accel" && !newer_properties.contains(property)) {
        EXPECT_TRUE(known.contains(property)) << type << "." << property;
      }
  }
}

TEST_F(RealQemu, HasRdrandInTheModelsThatTheRuleDoesNotName) {
  test::Qmp qmp{qemu};
  const json definitions = qmp.ask("query-cpu-definitions");
  ASSERT_TRUE(definitions.contains("return")) << definitions;
  unsigned compared = 0;
  for (const json& definition : definitions["return"]) {
    const std::string model = definition["name"].get<std::string>();
    if (model == "base") continue;  // it has no features at all
    json arguments = {{"type", "full"}};
    arguments["model"]["name"] = model;
    const json answer = qmp.ask("query-cpu-model-expansion", std::move(arguments));
    if (answer.contains("error")) continue;  // "host" needs KVM
    ASSERT_TRUE(answer.contains("return")) << model << ": QEMU is gone";
    const bool has = answer["return"]["model"]["props"]["rdrand"].get<bool>();
    GuestConfig config;
    config.command = *parse_qemu_command(*shell_words(edit(sev, "EPYC-v4", model)));
    const auto findings = judge(config, {});
    const bool named = std::ranges::any_of(
        findings, [](const Finding& finding) { return finding.rule->name == "cpu-without-rdrand"; });
    EXPECT_EQ(named, !has) << model;
    ++compared;
  }
  EXPECT_GT(compared, 50u);
}

TEST_F(RealQemu, HasNoOptionThatTheTableLacks) {
  // One space before the description, too.
  const std::set<std::string> longer_than_its_column{"h", "audio-help", "async-teardown"};
  std::istringstream help{output_of("qemu-system-x86_64 -help")};
  unsigned seen = 0;
  for (std::string line; std::getline(help, line);) {
    if (!line.starts_with('-')) continue;
    const std::string word = line.substr(0, line.find_first_of(" \t["));
    std::istringstream names{word};
    for (std::string name; std::getline(names, name, '/');) {
      name.erase(0, name.find_first_not_of('-'));
      const QemuOptionSpec* const spec = find_qemu_option(name);
      EXPECT_NE(spec, nullptr) << name;
      // "-bios file      set the filename", but "-usb            enable"
      const bool takes_one = line.size() > word.size() + 1 && line[word.size()] == ' ' &&
                             line[word.size() + 1] != ' ' && !longer_than_its_column.contains(name);
      if (spec != nullptr && takes_one) {
        EXPECT_NE(spec->argument, QemuArgument::none) << name;
      }
      ++seen;
    }
  }
  EXPECT_GT(seen, 100u);
}

}  // namespace
}  // namespace cbit::launch
