// Kata's configuration from anywhere: whatever the bytes, they are read and judged, or refused with a message
// and a remedy; each option has the key that it comes from.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launch/kata_config.hpp"
#include "launch/rules.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = cbit::launch::parse_kata_config({reinterpret_cast<const char*>(data), size});
  if (!config) {
    require(!config.error().message.empty() && !config.error().hint.empty());
    return 0;
  }
  require(config->places.size() == config->command.options.size());
  for (const cbit::launch::Finding& finding : cbit::launch::judge(*config, {}))
    require(finding.rule != nullptr);
  return 0;
}
