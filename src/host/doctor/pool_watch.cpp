#include "doctor/pool_watch.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "facts/pool.hpp"
#include "watch/import/kernel_log.hpp"

namespace cbit::doctor {
namespace {

constexpr std::uint64_t trace_bytes_max = 16 << 20;
constexpr std::size_t devices_max = 4096;

BouncesByDevice read_bounces(const facts::HostTree& tree) {
  for (const std::string folder : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    const auto enabled = tree.read(folder + "/events/swiotlb/swiotlb_bounced/enable");
    if (!enabled) continue;
    if (!trimmed(*enabled).starts_with('1')) return {};
    return parse_bounce_trace(tree.read(folder + "/trace", trace_bytes_max).value_or(std::string{}));
  }
  return {};
}

// The device with most new bytes since `before`: "0000:00:03.0 bounced 12 times, 48 KiB".
std::string busiest(const PoolSample& before, const PoolSample& now) {
  std::string name;
  Bounces most;
  for (const auto& [device, bounces] : now.bounces) {
    const auto known = before.bounces.find(device);
    const Bounces old = known == before.bounces.end() ? Bounces{} : known->second;
    // The trace buffer is a ring: what has left it can make the sum smaller.
    const Bounces more{bounces.count - std::min(bounces.count, old.count),
                       bounces.bytes - std::min(bounces.bytes, old.bytes)};
    if (more.bytes <= most.bytes) continue;
    name = device;
    most = more;
  }
  return name.empty() ? name : fmt::format("{} bounced {} times, {} KiB", name, most.count, most.bytes >> 10);
}

}  // namespace

BouncesByDevice parse_bounce_trace(std::string_view trace) {
  BouncesByDevice found;
  for (const std::string_view line : lines_of(trace)) {
    const std::size_t event = line.find("swiotlb_bounced: dev_name: ");
    if (event == std::string_view::npos) continue;
    const auto words = words_of(line.substr(event));
    if (words.size() < 4) continue;
    const auto size =
        std::ranges::find_if(words, [](std::string_view word) { return word.starts_with("size="); });
    const auto bytes = size == words.end() ? std::nullopt : decimal(size->substr(5));
    const std::string device = printable(words[2], 60);
    if (!bytes || (found.size() >= devices_max && !found.contains(device))) continue;
    Bounces& bounces = found[device];
    ++bounces.count;
    bounces.bytes += *bytes;
  }
  return found;
}

OrError<PoolSample> sample_pool(const facts::HostTree& tree) {
  const facts::PoolCounters pool = facts::read_pool(tree);
  for (const auto& [name, counter] : {std::pair{"io_tlb_nslabs", &pool.nslabs}, {"io_tlb_used", &pool.used}})
    if (!*counter)
      return bad_input(
          fmt::format("cannot read {}/{}: {}", facts::swiotlb_debugfs, name, to_string(counter->error())),
          counter->error() == facts::Unread::denied
              ? "run as root"
              : "mount debugfs (mount -t debugfs none /sys/kernel/debug); a system without a bounce "
                "pool has no counters");
  PoolSample sample{.slots = *pool.nslabs, .used = *pool.used, .hiwater = pool.hiwater.value_or(0)};
  sample.bounces = read_bounces(tree);
  if (const auto text = tree.kernel_log()) {
    const watch::KernelLog log = watch::parse_kernel_log(*text);
    sample.full = log.pool_full.size() + log.pool_full_suppressed;
    if (!log.pool_full.empty()) sample.full_device = log.pool_full.back().device;
  }
  return sample;
}

std::string pool_watch_line(double seconds, const PoolSample& before, const PoolSample& now) {
  std::string who = busiest(before, now);
  if (now.full > before.full)
    who += fmt::format("{}pool full {} times, last for {}", who.empty() ? "" : "; ", now.full - before.full,
                       now.full_device.empty() ? "an unnamed device" : now.full_device);
  const std::uint64_t percent = now.slots == 0 ? 0 : std::min(now.used, now.slots) * 100 / now.slots;
  const char sign = now.used < before.used ? '-' : '+';
  const std::uint64_t change = now.used < before.used ? before.used - now.used : now.used - before.used;
  std::string line = fmt::format("{:9.1f} {:8} {:8} {:3} {:>8} {:>8}  {}", seconds, now.used, now.slots,
                                 percent, fmt::format("{}{}", sign, change),
                                 now.hiwater == 0 ? std::string{"-"} : fmt::format("{}", now.hiwater), who);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

}  // namespace cbit::doctor
