#include "facts/command_line.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace cbit::facts {
namespace {

char dash(char c) { return c == '-' ? '_' : c; }

bool same_name(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, dash, dash); }

// The end of the parameter that begins at `at`: the first space outside quotes.
std::size_t end_of_parameter(std::string_view text, std::size_t at) {
  bool quoted = false;
  for (; at < text.size(); ++at) {
    if (text[at] == '"') quoted = !quoted;
    if (!quoted && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\0')) break;
  }
  return at;
}

std::string without_quotes(std::string_view text) {
  if (text.starts_with('"')) text.remove_prefix(1);
  if (text.ends_with('"')) text.remove_suffix(1);
  return std::string{text};
}

}  // namespace

KernelCommandLine::KernelCommandLine(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = end_of_parameter(text, at);
    const std::string_view word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    if (word == "--") break;
    const std::size_t equals = word.find('=');
    KernelParameter parameter{.name = without_quotes(word.substr(0, equals))};
    if (equals != std::string_view::npos) parameter.value = without_quotes(word.substr(equals + 1));
    parameters_.push_back(std::move(parameter));
  }
}

const KernelParameter* KernelCommandLine::last(std::string_view name) const {
  const auto found =
      std::find_if(parameters_.rbegin(), parameters_.rend(),
                   [&](const KernelParameter& parameter) { return same_name(parameter.name, name); });
  return found == parameters_.rend() ? nullptr : &*found;
}

bool KernelCommandLine::has_word(std::string_view name, std::string_view word) const {
  return std::ranges::any_of(parameters_, [&](const KernelParameter& parameter) {
    if (!same_name(parameter.name, name) || !parameter.value) return false;
    std::string_view rest = *parameter.value;
    while (!rest.empty()) {
      const std::string_view first = rest.substr(0, rest.find(','));
      if (first == word) return true;
      rest.remove_prefix(std::min(rest.size(), first.size() + 1));
    }
    return false;
  });
}

std::string KernelCommandLine::shown(std::string_view name) const {
  const KernelParameter* const parameter = last(name);
  if (parameter == nullptr) return {};
  return printable(parameter->value ? parameter->name + "=" + *parameter->value : parameter->name);
}

}  // namespace cbit::facts
