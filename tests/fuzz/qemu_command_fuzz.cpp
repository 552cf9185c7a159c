// A QEMU command line from anywhere: whatever the text, it is taken apart and judged, or refused with a
// message and a remedy; and what was taken apart comes back from its own words and from a shell.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launch/rules.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void judge_all(const cbit::launch::GuestConfig& config) {
  cbit::facts::GuestSupport host{.c_bit = 51, .asids = 1, .first_sev_asid = 1, .memory_bytes = 1};
  host.memlock_bytes = 0;
  for (const auto version : {cbit::launch::QemuVersion{5, 0}, cbit::launch::QemuVersion{10, 1}})
    for (const cbit::launch::Finding& finding : cbit::launch::judge(config, {.host = &host, .qemu = version}))
      require(finding.rule != nullptr && !finding.remedy(config.language).empty());
  (void)cbit::launch::judge(config, {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto words = cbit::launch::shell_words({reinterpret_cast<const char*>(data), size});
  if (!words) {
    require(!words.error().message.empty() && !words.error().hint.empty());
    return 0;
  }
  require(cbit::launch::shell_words(cbit::launch::to_shell(*words)) == *words);
  const auto command = cbit::launch::parse_qemu_command(*words);
  if (!command) {
    require(!command.error().message.empty() && !command.error().hint.empty());
    return 0;
  }
  require(cbit::launch::parse_qemu_command(cbit::launch::to_words(*command)) == *command);
  cbit::launch::GuestConfig config;
  config.command = *command;
  judge_all(config);
  return 0;
}
