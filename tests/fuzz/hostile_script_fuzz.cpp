// Any text as a script of attacks: refused with a line, or acts whose own text gives the same acts again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "guest/hostile.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit::guest;
  const auto acts = parse_hostile_script({reinterpret_cast<const char*>(data), size});
  if (!acts) {
    if (acts.error().message.find("line ") == std::string::npos) std::abort();
    return 0;
  }
  std::string text;
  for (const HostileAct& act : *acts) text += to_string(act) + '\n';
  const auto again = parse_hostile_script(text);
  if (!again || *again != *acts) std::abort();
  return 0;
}
