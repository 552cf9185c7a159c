// The bounce pool: whether there should be one, how large it should be (the model kernel's formula), and how
// full it is.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "doctor/check.hpp"
#include "spec/swiotlb.hpp"
#include "watch/cause_table.hpp"

namespace cbit::doctor::checks {
namespace {

constexpr std::uint64_t nearly_full_percent = 75, full_percent = 95;

std::string slots_text(std::uint64_t slots) {
  return fmt::format("{} MiB, {} slots", slots * kernel::io_tlb_size >> 20, slots);
}

struct RealPool {
  std::uint64_t slots = 0;
  HostEvidence evidence;
};

// debugfs, or else what the kernel said when it made the pool, or found it full.
std::optional<RealPool> real_pool(const facts::HostFacts& host) {
  if (host.pool.nslabs)
    return RealPool{
        *host.pool.nslabs,
        {fmt::format("{}/io_tlb_nslabs", facts::swiotlb_debugfs), fmt::format("{}", *host.pool.nslabs)}};
  if (const auto& mapped = host.kernel_log().pool)
    return RealPool{(mapped->last - mapped->first + 1) / kernel::io_tlb_size,
                    {"kernel log", mapped->line.text}};
  for (const watch::PoolFull& full : host.kernel_log().pool_full)
    if (full.slots_total) return RealPool{*full.slots_total, {"kernel log", full.line.text}};
  return std::nullopt;
}

// Without a pool: `missing` where the kernel's formula wants one.
Outcome no_pool(const CheckSubject& s, bool wanted, std::vector<HostEvidence> evidence) {
  const auto& said = s.host.kernel_log().no_pool;
  if (!encrypted_guest(s) && !wanted && !said)
    return {.says = "none, and none is needed", .evidence = std::move(evidence)};
  if (said) evidence.push_back({"kernel log", said->text});
  return {.state = encrypted_guest(s) ? CheckState::fail : CheckState::warn,
          .says = "there is none although this kernel wants one",
          .evidence = std::move(evidence),
          .causes = {&watch::cause("pool-not-allocated-low-memory")}};
}

// The formula counts memblock's memory, of which MemTotal lacks what the kernel took for itself; so a pool
// that differs by less than the kernel's halving is no finding.
bool halved(std::uint64_t real, std::uint64_t wanted) { return real <= wanted / 2; }

struct WantedPool {
  std::uint64_t slots = 0;
  std::string_view by;
};

// What the kernel said that it wanted, which knows more than its formula does: firmware, memory that was hot
// plugged. swiotlb= counts before either.
std::optional<WantedPool> wanted_pool(const CheckSubject& s) {
  const watch::KernelLog& log = s.host.kernel_log();
  const auto said = log.pool_roundup_mib ? log.pool_roundup_mib : log.pool_adjusted_mib;
  constexpr std::uint64_t mib_max = 1 << 20;
  if (said && *said <= mib_max && !asks_pool_size(s))
    return WantedPool{(*said << 20) / kernel::io_tlb_size, "the kernel wanted"};
  const auto formula = expected_pool(s);
  if (!formula) return std::nullopt;
  return WantedPool{formula->slots, asks_pool_size(s) ? "swiotlb= asks for" : "the formula gives"};
}

}  // namespace

watch::PoolState pool_state(const CheckSubject& s) {
  const facts::PoolCounters& pool = s.host.pool;
  return {.can_grow =
              spec::has_dynamic_swiotlb(spec::nearest_version(s.host.kernel.release)) && s.host.kernel.config,
          .grows = swiotlb_options(s.host).dynamic,
          .slots_used = pool.used ? std::optional{*pool.used} : std::nullopt};
}

std::optional<kernel::SwiotlbSizing> expected_pool(const CheckSubject& s) {
  const kernel::SwiotlbOptions options = swiotlb_options(s.host);
  if (options.no_force || !s.host.cpu.info || !s.host.cpu.info->x86) return std::nullopt;
  const kernel::CcPlatform cc{s.system.platform, mem::KeyLayout::none()};
  auto sizing =
      kernel::size_swiotlb(cc, s.host.memory.ram().value_or(4ull << 30),
                           s.host.memory.above_4g().value_or(true), std::max(1u, s.host.cpu.cpus), options);
  if (sizing && !sizing->enabled && !options.force) return std::nullopt;
  return sizing;
}

Outcome pool(const CheckSubject& s) {
  const facts::KernelCommandLine& line = s.host.kernel.line();
  std::vector<HostEvidence> evidence;
  if (line.has("swiotlb")) evidence.push_back({"/proc/cmdline", line.shown("swiotlb")});
  if (swiotlb_options(s.host).no_force) {
    if (!encrypted_guest(s))
      return {.says = "none: swiotlb=noforce; a device with a narrow mask could not reach all memory",
              .evidence = std::move(evidence)};
    return {.state = CheckState::fail,
            .says = "none: swiotlb=noforce in an encrypted guest",
            .evidence = std::move(evidence),
            .causes = {&watch::cause("noforce-in-guest")}};
  }
  const auto real = real_pool(s.host);
  const auto wanted = expected_pool(s);
  if (real && real->slots != 0) {
    evidence.push_back(real->evidence);
    return {.state = CheckState::pass, .says = slots_text(real->slots), .evidence = std::move(evidence)};
  }
  if (real) evidence.push_back(real->evidence);
  if (s.host.only_log && !real && !s.host.kernel_log().no_pool)
    return {.says = "not told", .evidence = std::move(evidence), .denied = true};
  if (real || s.host.kernel_log().no_pool || !wanted)
    return no_pool(s, wanted.has_value(), std::move(evidence));
  return {.says = fmt::format("{} by the kernel's formula; its real size is not to be read",
                              slots_text(wanted->slots)),
          .evidence = {{fmt::format("{}/io_tlb_nslabs", facts::swiotlb_debugfs),
                        std::string{to_string(s.host.pool.nslabs.error())}}},
          .remedy = "run as root, with debugfs mounted (mount -t debugfs none /sys/kernel/debug)",
          .denied = true};
}

Outcome pool_size(const CheckSubject& s) {
  const auto real = real_pool(s.host);
  if (!real || real->slots == 0) return {.says = "there is none"};
  const auto wanted = wanted_pool(s);
  if (!wanted)
    return {.state = CheckState::pass, .says = "more than the formula gives", .evidence = {real->evidence}};
  const std::string who = fmt::format("{} {}", wanted->by, slots_text(wanted->slots));
  if (!halved(real->slots, wanted->slots))
    return {.state = CheckState::pass, .says = who, .evidence = {real->evidence}};
  return {.state = CheckState::warn,
          .says = fmt::format("it has {}, {}", slots_text(real->slots), who),
          .evidence = {real->evidence},
          .remedy =
              "the kernel halves a pool that does not fit below 4 GiB: ask for that size with swiotlb=, or "
              "give the guest more memory below 4 GiB",
          .causes = {&watch::cause("pool-not-allocated-low-memory")}};
}

Outcome pool_usage(const CheckSubject& s) {
  const facts::PoolCounters& pool = s.host.pool;
  if (!pool.used || !pool.nslabs || *pool.nslabs == 0)
    return {.says = fmt::format("{}/io_tlb_used: {}", facts::swiotlb_debugfs,
                                pool.used ? "of no pool" : to_string(pool.used.error())),
            .remedy = "run as root, with debugfs mounted"};
  const auto percent = [&](std::uint64_t slots) {
    return std::min(slots, *pool.nslabs) * 100 / *pool.nslabs;
  };
  const std::uint64_t now = percent(*pool.used), most = std::max(now, percent(pool.hiwater.value_or(0)));
  Outcome outcome{
      .state = most >= nearly_full_percent ? CheckState::warn : CheckState::pass,
      .says = fmt::format("{} of {} slots in use ({} %)", *pool.used, *pool.nslabs, now),
      .evidence = {{fmt::format("{}/io_tlb_used", facts::swiotlb_debugfs), fmt::format("{}", *pool.used)}}};
  if (pool.hiwater) {
    outcome.says += fmt::format(", {} at most so far ({} %)", *pool.hiwater, percent(*pool.hiwater));
    outcome.evidence.push_back(
        {fmt::format("{}/io_tlb_used_hiwater", facts::swiotlb_debugfs), fmt::format("{}", *pool.hiwater)});
  }
  if (now >= full_percent) outcome.state = CheckState::fail;
  if (outcome.state == CheckState::pass) return outcome;
  const auto logged = watch::causes_of_full_pool(s.host.kernel_log(), pool_state(s));
  if (std::ranges::any_of(logged, [](const watch::LogCause& one) {
        return std::ranges::find(one.causes, &watch::cause("slot-leak")) != one.causes.end();
      }))
    outcome.causes.push_back(&watch::cause("slot-leak"));
  outcome.causes.push_back(&watch::cause("pool-exhausted"));
  return outcome;
}

}  // namespace cbit::doctor::checks
