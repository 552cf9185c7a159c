// Any command line is taken apart and put together again without a loss, and any text is cut into words as
// the system's shell cuts it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdio>
#include <string>

#include "launch/libvirt_xml.hpp"
#include "launch/qemu_options.hpp"
#include "launch/rules.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::launch {
namespace {

// Characters that mean something to one of the parsers come often.
rc::Gen<std::string> any_text(const std::string& alphabet) {
  return rc::gen::container<std::string>(rc::gen::elementOf(alphabet));
}
const std::string option_alphabet = "ab=,.no+-{}[]\":'\\ 01_/";

rc::Gen<QemuOption> any_option() {
  const auto specs = qemu_option_specs();
  std::vector<QemuOptionSpec> all;
  for (const QemuOptionSpec& spec : specs)
    if (spec.name != "M") all.push_back(spec);  // an alias, which comes back as -machine
  return rc::gen::exec([all] {
    const QemuOptionSpec spec = all[*rc::gen::inRange<std::size_t>(0, all.size())];
    QemuOption option{std::string{spec.name}, {}, {}};
    const auto value = [] { return *any_text(option_alphabet); };
    const auto key = [] { return "k" + *any_text("ab-_.01"); };
    switch (spec.argument) {
      case QemuArgument::none: break;
      case QemuArgument::text: option.text = value(); break;
      case QemuArgument::cpu:
        option.properties = {{"model", *any_text("ab-_.01=")}, {"feature", *any_text("ab=+-")}};
        break;
      case QemuArgument::global:
        option.properties = {{"driver", value()}, {"property", value()}, {"value", value()}};
        break;
      case QemuArgument::json:
      case QemuArgument::properties:
        if (!spec.implied_key.empty() && *rc::gen::arbitrary<bool>())
          option.properties.push_back({std::string{spec.implied_key}, value()});
        for (int count = *rc::gen::inRange(0, 4); count > 0; --count)
          option.properties.push_back({key(), value()});
    }
    return option;
  });
}

RC_GTEST_PROP(QemuCommandProperty, ComesBackFromItsWords, ()) {
  const QemuCommand command{"qemu-system-x86_64", *rc::gen::container<std::vector<QemuOption>>(any_option())};
  const auto again = parse_qemu_command(to_words(command));
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->options == command.options);
}

RC_GTEST_PROP(QemuCommandProperty, ComesBackFromAShell, (bool lines)) {
  const QemuCommand command{"qemu-system-x86_64", *rc::gen::container<std::vector<QemuOption>>(any_option())};
  const auto words = shell_words(to_shell(command, lines));
  RC_ASSERT(words.has_value());
  RC_ASSERT(*words == to_words(command));
}

RC_GTEST_PROP(QemuCommandProperty, IsStableFromAnyWords, ()) {
  std::vector<std::string> words{"kvm"};
  for (int count = *rc::gen::inRange(0, 6); count > 0; --count) {
    const auto specs = qemu_option_specs();
    const auto index = *rc::gen::inRange<std::size_t>(0, specs.size());
    words.push_back("-" + std::string{specs[index].name});
    if (specs[index].argument != QemuArgument::none) words.push_back(*any_text(option_alphabet));
  }
  const auto command = parse_qemu_command(words);
  if (!command) return;
  const auto again = parse_qemu_command(to_words(*command));
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == *command);
  GuestConfig config;
  config.command = *command;
  for (const Finding& finding : judge(config, {})) RC_ASSERT(finding.rule != nullptr);
}

std::vector<std::string> words_of_shell(const std::string& text, int& status) {
  // The text goes by a file, so that nothing but the shell under test reads it.
  const test::TemporaryFolder folder;
  const std::string path = folder.file("script");
  std::FILE* const script = std::fopen(path.c_str(), "w");
  const std::string whole = "printf '%s\\0' " + text + "\n";
  std::fwrite(whole.data(), 1, whole.size(), script);
  std::fclose(script);
  std::FILE* const pipe = popen(("sh '" + path + "' 2>/dev/null").c_str(), "r");
  std::string out;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  status = pclose(pipe);
  std::vector<std::string> words;
  for (std::size_t at = 0; at < out.size();) {
    const std::size_t end = out.find('\0', at);
    words.push_back(out.substr(at, end - at));
    at = end == std::string::npos ? out.size() : end + 1;
  }
  return words;
}

RC_GTEST_PROP(ShellWordsProperty, AgreeWithTheShell, ()) {
  const std::string text = "x" + *any_text(std::string{"ab '\"\\\n\t#=,:}~!%^@-\xc3\xa9"});
  const auto ours = shell_words(text);
  if (!ours) return;
  int status = 0;
  const auto theirs = words_of_shell(text, status);
  RC_ASSERT(status == 0);
  RC_ASSERT(*ours == theirs);
}

}  // namespace
}  // namespace cbit::launch
