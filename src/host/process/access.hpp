// Why a process's memory may not be read: the checks that Linux makes, in its order, on facts of /proc.
//
// /proc/PID/mem wants the ownership of its file (mode 0600) and PTRACE_MODE_ATTACH_FSCREDS (ptrace(2),
// "Ptrace access mode checking"; kernel/ptrace.c: __ptrace_may_access; security/yama/yama_lsm.c).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace cbit::process {

struct AccessFacts {
  int pid = 0;
  std::string command;
  // The caller.
  std::uint32_t own_uid = 0;
  std::uint32_t own_gid = 0;
  bool own_sys_ptrace = false;  // CAP_SYS_PTRACE is effective
  std::uint64_t own_permitted = 0;
  // The process.
  std::uint32_t uids[3] = {};  // real, effective, saved
  std::uint32_t gids[3] = {};
  std::uint64_t permitted = 0;  // capabilities
  bool dumpable = true;         // its /proc files belong to it, not to root
  bool descendant = false;      // of the caller
  // The system.
  std::optional<int> ptrace_scope;  // Yama's; nullopt: there is no Yama
  std::string security_module;      // the label of the process, "" if there is none
};

// Gathers them; the process must exist.
[[nodiscard]] AccessFacts read_access_facts(int pid);

// The refusal and its remedy (bad_input).
[[nodiscard]] Error explain_refusal(const AccessFacts& facts);

// A field of /proc/PID/status, without blanks around it: "Uid" -> "0\t0\t0\t0". Empty: there is none.
[[nodiscard]] std::string_view status_field(std::string_view status, std::string_view name);

}  // namespace cbit::process
