#include "process/access.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "process/proc_file.hpp"

namespace cbit::process {
namespace {

constexpr std::uint64_t cap_sys_ptrace = std::uint64_t{1} << 19;  // linux/capability.h

template <class T>
T to_number(std::string_view text, int base = 10) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

void read_ids(std::string_view field, std::uint32_t (&ids)[3]) {
  for (std::uint32_t& id : ids) {
    id = to_number<std::uint32_t>(field);
    const std::size_t tab = field.find('\t');
    field = tab == field.npos ? std::string_view{} : field.substr(tab + 1);
  }
}

bool is_descendant(int pid) {
  // A chain of parents is short; the bound is against a table that changes under us.
  for (int hops = 0; pid > 1 && hops < 1000; ++hops) {
    if (pid == getpid()) return true;
    pid = to_number<int>(
        status_field(read_proc_file(fmt::format("/proc/{}/status", pid)).value_or(""), "PPid"));
  }
  return false;
}

std::string ids_text(const std::uint32_t (&ids)[3]) {
  return fmt::format("{} (real), {} (effective), {} (saved)", ids[0], ids[1], ids[2]);
}

bool all_are(const std::uint32_t (&ids)[3], std::uint32_t id) {
  return std::ranges::all_of(ids, [&](std::uint32_t other) { return other == id; });
}

// Yama's rules apply to the caller without CAP_SYS_PTRACE, and the last one to everybody.
std::string yama_refusal(const AccessFacts& facts) {
  const int scope = facts.ptrace_scope.value_or(0);
  if (scope >= 3) return "kernel.yama.ptrace_scope is 3: nobody may, until the next boot";
  if (facts.own_sys_ptrace) return {};
  if (scope == 2)
    return "kernel.yama.ptrace_scope is 2: CAP_SYS_PTRACE is needed even for one's own processes";
  if (scope == 1 && !facts.descendant)
    return "kernel.yama.ptrace_scope is 1: only a process's ancestors may, and it is no descendant of this "
           "one";
  return {};
}

}  // namespace

std::string_view status_field(std::string_view status, std::string_view name) {
  while (!status.empty()) {
    std::string_view line = status.substr(0, status.find('\n'));
    status.remove_prefix(std::min(line.size() + 1, status.size()));
    if (!line.starts_with(name) || !line.substr(name.size()).starts_with(':')) continue;
    line.remove_prefix(name.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return line;
  }
  return {};
}

AccessFacts read_access_facts(int pid) {
  AccessFacts facts{.pid = pid};
  const std::string own = read_proc_file("/proc/self/status").value_or("");
  facts.own_uid = geteuid();
  facts.own_gid = getegid();
  facts.own_sys_ptrace = (to_number<std::uint64_t>(status_field(own, "CapEff"), 16) & cap_sys_ptrace) != 0;
  facts.own_permitted = to_number<std::uint64_t>(status_field(own, "CapPrm"), 16);

  const std::string folder = fmt::format("/proc/{}", pid);
  const std::string status = read_proc_file(folder + "/status").value_or("");
  facts.command = status_field(status, "Name");
  read_ids(status_field(status, "Uid"), facts.uids);
  read_ids(status_field(status, "Gid"), facts.gids);
  facts.permitted = to_number<std::uint64_t>(status_field(status, "CapPrm"), 16);
  // fs/proc/base.c, task_dump_owner(): the files of a process that is not dumpable belong to root.
  struct stat file{};
  if (stat((folder + "/mem").c_str(), &file) == 0)
    facts.dumpable = file.st_uid == facts.uids[1] && file.st_gid == facts.gids[1];
  facts.descendant = is_descendant(pid);

  if (const auto scope = read_proc_file("/proc/sys/kernel/yama/ptrace_scope"))
    facts.ptrace_scope = to_number<int>(*scope);
  std::string label = read_proc_file(folder + "/attr/current").value_or("");
  label.resize(std::min(label.find_first_of(std::string_view{"\n\0", 2}), label.size()));
  if (label != "unconfined") facts.security_module = label;
  return facts;
}

Error explain_refusal(const AccessFacts& facts) {
  const std::string what =
      fmt::format("the memory of process {} ({}) may not be read", facts.pid, facts.command);
  const auto refuse = [&](const std::string& why, std::string hint) {
    return Error{fmt::format("{}: {}", what, why), std::move(hint), ExitCode::bad_input};
  };
  if (facts.ptrace_scope.value_or(0) >= 3)
    return refuse(yama_refusal(facts), "no privilege helps; boot with another setting (sysctl.d)");
  constexpr std::string_view as_root = "run as root, or give CAP_SYS_PTRACE";
  const bool same_user = all_are(facts.uids, facts.own_uid) && all_are(facts.gids, facts.own_gid);
  if (!same_user && !facts.own_sys_ptrace)
    return refuse(
        all_are(facts.uids, facts.own_uid)
            ? fmt::format("its group ids are {}, this user's is {}", ids_text(facts.gids), facts.own_gid)
            : fmt::format("its user ids are {}, this user's is {}", ids_text(facts.uids), facts.own_uid),
        fmt::format("run as that user, or {}", as_root.substr(4)));
  if (!facts.dumpable && !facts.own_sys_ptrace)
    return refuse("it is not dumpable (prctl(PR_SET_DUMPABLE), or it has changed its privileges)",
                  std::string{as_root});
  if (!facts.own_sys_ptrace && (facts.permitted & ~facts.own_permitted) != 0)
    return refuse(fmt::format("it has capabilities that this process lacks ({:#x})",
                              facts.permitted & ~facts.own_permitted),
                  std::string{as_root});
  if (const std::string why = yama_refusal(facts); !why.empty())
    return refuse(why, fmt::format("{}, or sysctl kernel.yama.ptrace_scope=0", as_root));
  if (!facts.security_module.empty())
    return refuse(
        fmt::format("none of the common reasons holds; its security label is \"{}\"", facts.security_module),
        "look for a denial in the audit log, or run outside the container");
  return refuse("none of the common reasons holds",
                "in a container or another user namespace: look from the host, with CAP_SYS_PTRACE");
}

}  // namespace cbit::process
