// What our tables say about QEMU, held to what the QEMU that is installed says about itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "launch/qemu_options.hpp"
#include "launch/rules.hpp"
#include "support/launch_cases.hpp"

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

json call(std::string_view command, json arguments = json::object()) {
  json result = json::object();
  result["execute"] = command;
  result["arguments"] = std::move(arguments);
  return result;
}

// The answers to these QMP commands, in their order.
std::vector<json> ask(std::vector<json> commands) {
  commands.insert(commands.begin(), call("qmp_capabilities"));
  commands.push_back(call("quit"));
  std::array<char, 32> path{"/tmp/cbit-qmp-XXXXXX"};
  std::FILE* const file = fdopen(mkstemp(path.data()), "w");
  for (const json& command : commands) std::fputs((command.dump() + "\n").c_str(), file);
  std::fclose(file);
  std::istringstream lines{output_of("cat " + std::string{path.data()} +
                                     " | timeout 20 qemu-system-x86_64 -M none -display none -qmp stdio")};
  std::remove(path.data());
  std::vector<json> answers;
  for (std::string line; std::getline(lines, line);)
    if (json answer = json::parse(line, nullptr, false);
        answer.contains("return") || answer.contains("error"))
      answers.push_back(std::move(answer));
  EXPECT_EQ(answers.size(), commands.size());
  answers.resize(commands.size());
  return {answers.begin() + 1, answers.end() - 1};
}

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
    for (const Finding& finding : judge(config, {.host = &host, .qemu = example.qemu}))
      if (finding.write.starts_with('-')) texts.insert(finding.write);
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
          properties.insert(property.key);
    }
  }
  return result;
}

TEST_F(RealQemu, KnowsEveryPropertyThatTheRulesTellToWrite) {
  const std::set<std::string> newer_than_7_2{"sev-snp-guest", "tdx-guest"};
  const std::map<std::string, std::string> alias{{"virtio-blk", "virtio-blk-pci"}};
  const auto recommended = recommended_properties();
  EXPECT_TRUE(recommended.at("virtio-blk-pci").contains("iommu_platform"));
  EXPECT_TRUE(recommended.at("sev-guest").contains("kernel-hashes"));
  std::vector<json> commands;
  for (const auto& [type, properties] : recommended) {
    const auto other = alias.find(type);
    json arguments = json::object();
    arguments["typename"] = other == alias.end() ? type : other->second;
    commands.push_back(call("qom-list-properties", std::move(arguments)));
  }
  const auto answers = ask(commands);
  auto answer = answers.begin();
  for (const auto& [type, properties] : recommended) {
    const json& list = *answer++;
    if (list.contains("error")) {
      EXPECT_TRUE(newer_than_7_2.contains(type)) << type << ": " << list;
      continue;
    }
    std::set<std::string> known;
    for (const json& property : list["return"]) known.insert(property["name"].get<std::string>());
    for (const std::string& property : properties)
      // -machine names a property of the accelerator as well (vl.c: machine_merge_property).
      if (property != "kernel-irqchip" && property != "accel") {
        EXPECT_TRUE(known.contains(property)) << type << "." << property;
      }
  }
}

TEST_F(RealQemu, HasRdrandInTheModelsThatTheRuleDoesNotName) {
  const json definitions = ask(std::vector<json>(1, call("query-cpu-definitions")))[0];
  std::vector<std::string> models;
  std::vector<json> commands;
  for (const json& model : definitions["return"]) {
    models.push_back(model["name"].get<std::string>());
    json arguments = json::object();
    arguments["type"] = "full";
    arguments["model"]["name"] = models.back();
    commands.push_back(call("query-cpu-model-expansion", std::move(arguments)));
  }
  const auto answers = ask(commands);
  unsigned compared = 0;
  for (std::size_t n = 0; n < models.size(); ++n) {
    if (!answers[n].contains("return") || models[n] == "base") continue;  // base has no features at all
    const bool has = answers[n]["return"]["model"]["props"]["rdrand"].get<bool>();
    GuestConfig config;
    config.command = *parse_qemu_command(*shell_words(edit(sev, "EPYC-v4", models[n])));
    const auto findings = judge(config, {});
    const bool named = std::ranges::any_of(
        findings, [](const Finding& finding) { return finding.rule->name == "cpu-without-rdrand"; });
    EXPECT_EQ(named, !has) << models[n];
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
