#include "facts/limits.hpp"

#include "base/text.hpp"

namespace cbit::facts {
namespace {

constexpr unsigned cap_ipc_lock = 14;  // linux/capability.h

}  // namespace

std::optional<MemlockLimit> parse_limits(std::string_view text) {
  constexpr std::string_view name = "Max locked memory";
  for (const std::string_view line : lines_of(text)) {
    if (!line.starts_with(name)) continue;
    const auto words = words_of(line.substr(name.size()));
    if (words.size() < 2) return std::nullopt;
    MemlockLimit limit;
    for (const auto& [word, value] : {std::pair{words[0], &limit.soft}, std::pair{words[1], &limit.hard}}) {
      if (word == "unlimited") continue;
      *value = decimal(word);
      if (!*value) return std::nullopt;
    }
    return limit;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_effective_capabilities(std::string_view text) {
  for (const std::string_view line : lines_of(text))
    if (line.starts_with("CapEff:")) return hexadecimal(trimmed(line.substr(7)));
  return std::nullopt;
}

Read<MemlockLimit> read_memlock(const HostTree& tree) {
  const std::string text = CBIT_TRY(tree.read("/proc/self/limits"));
  auto limit = parse_limits(text);
  if (!limit) return tl::unexpected{Unread::io_error};
  if (const auto status = tree.read("/proc/self/status"))
    limit->cap_ipc_lock = (parse_effective_capabilities(*status).value_or(0) >> cap_ipc_lock & 1) != 0;
  return *limit;
}

}  // namespace cbit::facts
