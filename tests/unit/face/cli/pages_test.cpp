#include "cli/pages.hpp"

#include <gmock/gmock.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/text.hpp"

namespace cbit::cli {
namespace {

using testing::HasSubstr;

struct Printed {
  ExitCode code;
  std::string out, err;
};

Printed printed(const std::vector<std::string_view>& words) {
  std::ostringstream out, err;
  Streams streams{out, err};
  const ExitCode code = run_command_line(words, streams);
  return {code, out.str(), err.str()};
}

// The man page by its sections, whose names stand in quotes; hyphens as they are read.
std::map<std::string, std::string> sections_of(std::string page) {
  for (std::size_t at; (at = page.find("\\-")) != std::string::npos;) page.erase(at, 1);
  std::map<std::string, std::string> sections;
  std::string* section = nullptr;
  for (const std::string_view line : lines_of(page)) {
    if (line.starts_with(".SH ")) section = &sections[std::string{line.substr(4)}];
    if (section != nullptr) section->append(line) += '\n';
  }
  return sections;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// A value is a word of its own, in italics; a flag has none.
std::string heading_of(const OptionSpec& option) {
  return ".B " + std::string{option.name} +
         (option.metavar.empty() ? "\n" : " \\fI" + std::string{option.metavar} + "\\fR\n");
}

TEST(ManPage, HasEachOptionOfTheTableAsItIsWrittenAndNoOther) {
  std::ostringstream page;
  print_man_page(page);
  const auto sections = sections_of(page.str());
  for (const CommandSpec& command : commands()) {
    const auto found = sections.find("\"CBIT " + std::string{command.name} + "\"");
    ASSERT_NE(found, sections.end()) << command.name;
    EXPECT_EQ(count_of(found->second, "\n.B --"), command.options.size()) << command.name;
    for (const OptionSpec& option : command.options) {
      EXPECT_EQ(count_of(found->second, heading_of(option)), 1u) << command.name << ' ' << option.name;
      for (const std::string_view choice : option.choices)
        EXPECT_THAT(found->second, HasSubstr(std::string{choice})) << command.name << ' ' << option.name;
    }
  }
}

TEST(ManPage, SaysInItsSynopsisWhatMayBeLeftOutAsTheHelpDoes) {
  std::ostringstream page;
  print_man_page(page);
  const std::string synopsis = sections_of(page.str()).at("SYNOPSIS");
  for (const CommandSpec& command : commands()) {
    const std::string usage = usage_words(command);
    EXPECT_THAT(synopsis, HasSubstr(".B cbit " + std::string{command.name} + "\n\\&" +
                                    std::string{trimmed(usage)} + "\n"));
    std::vector<std::string_view> words = words_of(command.name);
    words.emplace_back("--help");
    EXPECT_THAT(printed(words).out, HasSubstr("Usage: cbit " + std::string{command.name} + usage + "\n"));
  }
}

TEST(Usage, MarksWhatIsOptionalAndWhatIsRepeated) {
  std::map<std::string_view, std::string> usage;
  for (const CommandSpec& command : commands()) usage[command.name] = usage_words(command);
  EXPECT_EQ(usage.at("lab show"), " NAME");
  EXPECT_EQ(usage.at("lab run"), " [OPTION]... [FILE...]");
  EXPECT_EQ(usage.at("table"), " [OPTION]... [NAME]");
  EXPECT_EQ(usage.at("run"), " [OPTION]... [KERNEL] [-- COMMAND...]");
  EXPECT_EQ(usage.at("man"), "");
}

TEST(Help, OfACommandIsTheSameEitherWay) {
  for (const CommandSpec& command : commands()) {
    std::vector<std::string_view> name = words_of(command.name);
    std::vector<std::string_view> before = name, behind = name, brief = name;
    before.insert(before.begin(), "help");
    behind.emplace_back("--help");
    brief.emplace_back("-h");
    const Printed help = printed(before);
    EXPECT_EQ(help.code, ExitCode::ok) << command.name;
    EXPECT_THAT(help.out, HasSubstr("Usage: cbit " + std::string{command.name}));
    EXPECT_EQ(help.out, printed(behind).out) << command.name;
    EXPECT_EQ(help.out, printed(brief).out) << command.name;
    EXPECT_EQ(help.err, "") << command.name;
  }
}

TEST(Help, OfAGroupIsTheSameEitherWay) {
  for (const std::string_view group : {"lab", "rdma", "cpu"}) {
    EXPECT_EQ(printed({"help", group}).out, printed({group, "--help"}).out) << group;
    EXPECT_EQ(printed({"help", group}).code, ExitCode::ok) << group;
  }
  EXPECT_EQ(printed({"help"}).out, printed({"--help"}).out);
}

TEST(Help, KeepsToTheColumnsThatThereAre) {
  for (const CommandSpec& command : commands()) {
    std::ostringstream out, err;
    Streams streams{out, err};
    streams.columns = 60;
    print_help(streams, command);
    const std::string help = out.str();
    for (const std::string_view line : lines_of(help)) {
      const bool is_one_word_or_example = words_of(line).size() < 3 || line.starts_with("  cbit ") ||
                                          line.find(" | ") != std::string_view::npos;
      EXPECT_TRUE(line.size() <= 60 || is_one_word_or_example) << command.name << ": " << line;
    }
  }
}

TEST(Completion, KnowsEachOptionOfTheTable) {
  for (const Shell shell : {Shell::bash, Shell::zsh, Shell::fish}) {
    std::ostringstream out;
    print_completion(out, shell);
    for (const CommandSpec& command : commands())
      for (const OptionSpec& option : command.options)
        EXPECT_THAT(out.str(), HasSubstr(std::string{option.name.substr(2)})) << command.name;
  }
}

}  // namespace
}  // namespace cbit::cli
