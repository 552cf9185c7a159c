// What straight-line code leaves to the processor: helpers, by number, and what a caller must know of each.
//
// Only the declarations are here; the processor has the functions (cpu/helpers.hpp). A helper may always
// fault, and then has changed nothing but what its instruction says (a string instruction has done some of
// its turns). It may read and change the status flags and all registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace cbit::isa {

// HELPER(name, ends): `ends` says whether the instruction ends its block, because it may change what comes
// next: RIP, the mode, or how code is found.
#define CBIT_ISA_HELPERS(HELPER)       \
  HELPER(raise, true)                  \
  HELPER(missing, true)                \
  HELPER(probe, false)                 \
  HELPER(check_segment, false)         \
  HELPER(halt, true)                   \
  HELPER(spin_wait, false)             \
  HELPER(clear_interrupt, false)       \
  HELPER(set_interrupt, false)         \
  HELPER(push_flags, false)            \
  HELPER(pop_flags, false)             \
  HELPER(interrupt, true)              \
  HELPER(overflow, true)               \
  HELPER(bound, false)                 \
  HELPER(enter_frame, false)           \
  HELPER(return_interrupt, true)       \
  HELPER(load_segment, true)           \
  HELPER(store_segment, false)         \
  HELPER(load_pointer, true)           \
  HELPER(jump_far, true)               \
  HELPER(call_far, true)               \
  HELPER(return_far, true)             \
  HELPER(sysenter, true)               \
  HELPER(syscall, true)                \
  HELPER(sysret, true)                 \
  HELPER(swapgs, false)                \
  HELPER(read_base, false)             \
  HELPER(write_base, false)            \
  HELPER(cpuid, false)                 \
  HELPER(rdtsc, false)                 \
  HELPER(rdpmc, false)                 \
  HELPER(rdpid, false)                 \
  HELPER(rdmsr, false)                 \
  HELPER(wrmsr, true)                  \
  HELPER(read_control, false)          \
  HELPER(write_control, true)          \
  HELPER(clts, true)                   \
  HELPER(smsw, false)                  \
  HELPER(lmsw, true)                   \
  HELPER(read_debug, false)            \
  HELPER(write_debug, true)            \
  HELPER(load_table, true)             \
  HELPER(store_table, false)           \
  HELPER(load_system, true)            \
  HELPER(store_system, false)          \
  HELPER(load_access, false)           \
  HELPER(verify_access, false)         \
  HELPER(adjust_rpl, false)            \
  HELPER(invlpg, true)                 \
  HELPER(invpcid, true)                \
  HELPER(flush_cache, true)            \
  HELPER(flush_line, false)            \
  HELPER(access_check, false)          \
  HELPER(in, false)                    \
  HELPER(out, false)                   \
  HELPER(input_string, true)           \
  HELPER(output_string, true)          \
  HELPER(move_string, false)           \
  HELPER(store_string, false)          \
  HELPER(load_string, false)           \
  HELPER(compare_string, false)        \
  HELPER(scan_string, false)           \
  HELPER(compare_exchange_pair, false) \
  HELPER(atomic, false)                \
  HELPER(fence, false)                 \
  HELPER(random, false)                \
  HELPER(vmmcall, true)                \
  HELPER(xgetbv, false)                \
  HELPER(xsetbv, true)                 \
  HELPER(save_state, false)            \
  HELPER(restore_state, false)         \
  HELPER(decimal_adjust, false)        \
  HELPER(decimal_multiply, false)      \
  HELPER(crc32, false)                 \
  HELPER(sse, false)                   \
  HELPER(mmx, false)                   \
  HELPER(load_mxcsr, false)            \
  HELPER(store_mxcsr, false)           \
  HELPER(masked_store, false)          \
  HELPER(check_x87, false)             \
  HELPER(move_mmx, false)              \
  HELPER(empty_mmx, false)             \
  HELPER(x87, false)

enum class Helper : std::uint8_t {
#define CBIT_HELPER(name, ends) name,
  CBIT_ISA_HELPERS(CBIT_HELPER)
#undef CBIT_HELPER
      count
};

struct HelperInfo {
  std::string_view name;
  bool ends = false;
};

[[nodiscard]] std::span<const HelperInfo> helper_table();
[[nodiscard]] inline const HelperInfo& info_of(Helper helper) {
  return helper_table()[static_cast<std::size_t>(helper)];
}

}  // namespace cbit::isa
