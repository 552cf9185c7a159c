// What Linux shares for itself, with no device in mind: pages that hold its code, and nothing of anybody.
#pragma once

#include <string_view>

namespace cbit::linux {

// Whether the caller of set_memory_decrypted(), "init_real_mode+0x63", is one that does. Under SME, the
// trampoline by which other processors start: a copy of real_mode_blob, which the kernel has encrypted
// besides. arch/x86/realmode/init.c: setup_real_mode(), which may be inlined into init_real_mode().
[[nodiscard]] constexpr bool shares_for_itself(std::string_view caller) {
  const std::string_view function = caller.substr(0, caller.find('+'));
  const bool is_of_module = caller.ends_with(']');
  return !is_of_module && (function == "setup_real_mode" || function == "init_real_mode");
}

}  // namespace cbit::linux
