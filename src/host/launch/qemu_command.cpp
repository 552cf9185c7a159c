#include "launch/qemu_command.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ranges>

#include "base/format.hpp"
#include "launch/qemu_options.hpp"

namespace cbit::launch {
namespace {

using Json = nlohmann::ordered_json;
using Properties = std::vector<QemuProperty>;

constexpr std::size_t properties_max = 100'000;
constexpr std::size_t key_bytes_max = 256;  // of a nested member with the names that it lies in
constexpr unsigned json_depth_max = 16;
constexpr const char* too_many_properties = "an option has more than 100000 properties";

// A value up to the next comma that is not doubled; `at` is left behind that comma.
std::string take_value(std::string_view text, std::size_t& at) {
  std::string value;
  for (; at < text.size(); ++at) {
    if (text[at] == ',') {
      const bool doubled = at + 1 < text.size() && text[at + 1] == ',';
      ++at;
      if (!doubled) break;
    }
    value += text[at];
  }
  return value;
}

// QEMU: util/qemu-option.c, get_opt_name_value().
OrError<Properties> parse_properties(std::string_view text, std::string_view implied_key) {
  Properties result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of("=,", at), text.size());
    QemuProperty property;
    if (end < text.size() && text[end] == '=') {
      property.key = text.substr(at, end - at);
      at = end + 1;
      property.value = take_value(text, at);
    } else if (result.empty() && !implied_key.empty()) {
      property = {std::string{implied_key}, take_value(text, at)};
    } else {
      // A key alone is a flag, and one that begins with "no" switches off.
      std::string_view key = text.substr(at, end - at);
      const bool off = key.starts_with("no");
      if (off) key.remove_prefix(2);
      property = {std::string{key}, off ? "off" : "on"};
      at = end + 1;
    }
    result.push_back(std::move(property));
    if (result.size() > properties_max) return bad_input(too_many_properties, "check the command line");
  }
  return result;
}

// The members of a JSON object as properties, while it is read: no tree is built, whose objects would look
// for each key among all before it.
class PropertyReader : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return put({}); }
  bool boolean(bool value) override { return put(value ? "on" : "off"); }
  bool number_integer(number_integer_t value) override { return put(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return put(text); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return enter(false); }
  bool start_array(std::size_t) override { return enter(true); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override {
    if (name.empty() || name.find_first_of("=,") != std::string::npos)
      return refuse(fmt::format("JSON with the member \"{}\", which is no property's name", name),
                    "check the quotes of the option");
    levels_.back().member = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return refuse("an argument that begins with { and is no JSON object", "check its quotes and brackets");
  }

  OrError<Properties> take() && {
    if (error_) return tl::unexpected{*std::move(error_)};
    return std::move(properties_);
  }

 private:
  struct Level {
    std::string prefix;  // with the dot behind it
    bool array = false;
    std::size_t index = 0;  // of the next element
    std::string member;
  };

  bool refuse(std::string message, std::string hint) {
    if (!error_) error_ = Error{std::move(message), std::move(hint)};
    return false;
  }
  std::string take_key() {
    Level& level = levels_.back();
    return level.prefix + (level.array ? std::to_string(level.index++) : level.member);
  }
  bool put(std::string value) {
    std::string key = take_key();
    if (key.size() > key_bytes_max)
      return refuse("JSON with a member whose name is longer than 256 bytes", "QEMU has no such property");
    properties_.push_back({std::move(key), std::move(value)});
    if (properties_.size() <= properties_max) return true;
    return refuse(too_many_properties, "check the command line");
  }
  bool enter(bool array) {
    if (levels_.size() > json_depth_max)
      return refuse("JSON that is nested more than 16 levels deep", "QEMU has no such option");
    std::string prefix = levels_.empty() ? "" : take_key() + '.';
    if (prefix.size() > key_bytes_max)
      return refuse("JSON with a member whose name is longer than 256 bytes", "QEMU has no such property");
    levels_.push_back({.prefix = std::move(prefix), .array = array});
    return true;
  }
  bool leave() {
    levels_.pop_back();
    return true;
  }

  Properties properties_;
  std::vector<Level> levels_;
  std::optional<Error> error_;
};

OrError<Properties> parse_json(std::string_view text) {
  PropertyReader reader;
  (void)Json::sax_parse(text, &reader);
  return std::move(reader).take();
}

// target/i386/cpu.c: x86_cpu_parse_featurestr(). Underscores of old names are dashes.
OrError<Properties> parse_cpu(std::string_view text) {
  if (text.empty()) return Properties{{"model", {}}};
  Properties result;
  for (const auto part : std::views::split(text, ',')) {
    std::string_view item{part.begin(), part.end()};
    if (result.empty()) {
      result.push_back({"model", std::string{item}});
      continue;
    }
    if (item.empty()) continue;
    const bool sign = item.front() == '+' || item.front() == '-';
    const auto equals = item.find('=');
    if (sign && equals != std::string_view::npos)
      return bad_input(fmt::format("the CPU feature {} has a sign and a value", item), "write one of them");
    QemuProperty feature{std::string{item.substr(0, equals)}, "on"};
    if (equals != std::string_view::npos) feature.value = item.substr(equals + 1);
    if (sign) {
      feature.key.erase(0, 1);
      if (item.front() == '-') feature.value = "off";
    }
    std::ranges::replace(feature.key, '_', '-');
    if (feature.key.starts_with('+') || feature.key.starts_with('-'))
      return bad_input(
          fmt::format("the CPU feature {} begins with {}", item, sign ? "two signs" : "an underscore"),
          "write its name, with one sign at most");
    result.push_back(std::move(feature));
  }
  return result;
}

// softmmu/vl.c: qemu_global_option().
OrError<Properties> parse_global(std::string_view text) {
  const auto dot = text.find_first_of(".=");
  if (dot != std::string_view::npos && dot > 0 && text[dot] == '.') {
    const auto equals = text.find('=', dot);
    if (equals == std::string_view::npos)
      return bad_input("a global property without a value", "write driver.property=value");
    if (equals > dot + 1)
      return Properties{{"driver", std::string{text.substr(0, dot)}},
                        {"property", std::string{text.substr(dot + 1, equals - dot - 1)}},
                        {"value", std::string{text.substr(equals + 1)}}};
  }
  return parse_properties(text, "");
}

OrError<void> parse_argument(const QemuOptionSpec& spec, const std::string& text, QemuOption& option) {
  switch (spec.argument) {
    case QemuArgument::none: break;
    case QemuArgument::text: option.text = text; break;
    case QemuArgument::cpu: option.properties = CBIT_TRY(parse_cpu(text)); break;
    case QemuArgument::global: option.properties = CBIT_TRY(parse_global(text)); break;
    case QemuArgument::json:
    case QemuArgument::properties:
      option.properties = spec.argument == QemuArgument::json && text.starts_with('{')
                              ? CBIT_TRY(parse_json(text))
                              : CBIT_TRY(parse_properties(text, spec.implied_key));
      break;
  }
  return {};
}

constexpr std::string_view system_emulator = "qemu-system-";

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_qemu(std::string_view word) {
  const std::string_view name = file_name(word);
  return name.starts_with(system_emulator) || name == "qemu-kvm" || name == "kvm" || name == "qemu";
}

// kvm and qemu-kvm are those of the host.
bool is_x86(std::string_view program) {
  std::string_view name = file_name(program);
  if (!name.starts_with(system_emulator)) return true;
  name.remove_prefix(system_emulator.size());
  return name.starts_with("x86_64") || name.starts_with("i386");
}

tl::unexpected<Error> unknown_option(const std::string& word, std::string_view name) {
  const std::string similar = similar_qemu_options(name);
  return bad_input(fmt::format("QEMU has no option {}", word),
                   similar.empty()
                       ? "the options of QEMU 4.2 to 10 for x86 are known: qemu-system-x86_64 -help"
                       : "similar ones are " + similar);
}

std::string doubled_commas(std::string_view value) {
  std::string text;
  for (const char c : value) text.append(c == ',' ? 2 : 1, c);
  return text;
}

// Whether a first property can do without its key.
bool may_leave_out_key(const QemuOptionSpec& spec, const QemuProperty& property) {
  if (spec.implied_key.empty() || property.key != spec.implied_key) return false;
  if (spec.argument == QemuArgument::cpu) return true;
  if (property.value.empty()) return false;
  const bool looks_like_json = spec.argument == QemuArgument::json && property.value.front() == '{';
  return property.value.find('=') == std::string::npos && !looks_like_json;
}

std::string argument_text(const QemuOptionSpec& spec, const QemuOption& option) {
  if (spec.argument == QemuArgument::text) return option.text;
  std::string text;
  for (const QemuProperty& property : option.properties) {
    const bool first = &property == option.properties.data();
    if (!first) text += ',';
    if (!first || !may_leave_out_key(spec, property)) text.append(property.key).append("=");
    text += spec.argument == QemuArgument::cpu ? property.value : doubled_commas(property.value);
  }
  return text;
}

}  // namespace

std::optional<std::string_view> QemuOption::value(std::string_view key) const {
  for (const QemuProperty& property : std::views::reverse(properties))
    if (property.key == key) return property.value;
  return std::nullopt;
}

const QemuOption* QemuCommand::last(std::string_view option) const {
  const auto found = std::ranges::find(options.rbegin(), options.rend(), option, &QemuOption::name);
  return found == options.rend() ? nullptr : &*found;
}

std::optional<std::string_view> QemuCommand::value(std::string_view option, std::string_view key) const {
  for (const QemuOption& candidate : std::views::reverse(options))
    if (candidate.name == option)
      if (const auto found = candidate.value(key)) return found;
  return std::nullopt;
}

std::vector<const QemuOption*> QemuCommand::all(std::string_view option) const {
  std::vector<const QemuOption*> found;
  for (const QemuOption& candidate : options)
    if (candidate.name == option) found.push_back(&candidate);
  return found;
}

OrError<QemuCommand> parse_qemu_command(std::span<const std::string> words) {
  const auto program = std::ranges::find_if(words, is_qemu);
  if (program == words.end())
    return bad_input("the command line names no QEMU", "it begins with qemu-system-x86_64, or a path of it");
  if (!is_x86(*program))
    return bad_input(fmt::format("{} is not QEMU for x86", *program), "cbit knows qemu-system-x86_64");
  QemuCommand command{*program, {}};
  for (auto word = program + 1; word != words.end(); ++word) {
    QemuOption option{"hda", {}, *word};
    if (word->starts_with('-')) {
      const std::string_view name = std::string_view{*word}.substr(word->starts_with("--") ? 2 : 1);
      const QemuOptionSpec* const spec = find_qemu_option(name);
      if (spec == nullptr) return unknown_option(*word, name);
      option = {std::string{name == "M" ? "machine" : name}, {}, {}};
      if (spec->argument != QemuArgument::none) {
        if (++word == words.end())
          return bad_input(fmt::format("the argument of -{} is missing", name),
                           "the command line ends there");
        auto parsed = parse_argument(*spec, *word, option);
        if (!parsed)
          return bad_input(fmt::format("-{}: {}", name, parsed.error().message),
                           std::move(parsed.error().hint));
      }
    }
    command.options.push_back(std::move(option));
  }
  return command;
}

std::vector<std::string> to_words(const QemuOption& option) {
  std::vector<std::string> words{'-' + option.name};
  const QemuOptionSpec* const spec = find_qemu_option(option.name);
  if (spec != nullptr && spec->argument != QemuArgument::none) words.push_back(argument_text(*spec, option));
  return words;
}

std::vector<std::string> to_words(const QemuCommand& command) {
  std::vector<std::string> words{command.program};
  for (const QemuOption& option : command.options)
    std::ranges::move(to_words(option), std::back_inserter(words));
  return words;
}

}  // namespace cbit::launch
