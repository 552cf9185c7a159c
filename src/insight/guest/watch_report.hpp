// What was seen of a run, for people and for programs: page states, DMA by device, the pool, causes, secrets.
#pragma once

#include <string>
#include <vector>

#include "guest/exposure.hpp"
#include "guest/history.hpp"
#include "guest/secret_search.hpp"
#include "guest/told_states.hpp"
#include "guest/traffic.hpp"
#include "mem/memory.hpp"
#include "watch/causes.hpp"
#include "watch/counters.hpp"

namespace cbit::guest {

struct WatchReport {
  std::string platform;
  bool is_encrypted = false;             // the guest has a key
  std::string kernel;                    // the release that the image names
  bool found = false;                    // this very kernel ran, and was watched
  std::vector<std::string> lacks;        // what it was built without: "types (CONFIG_DEBUG_INFO_BTF)"
  std::vector<std::string> not_watched;  // functions that this kernel does not have, with the reason
  std::uint64_t lost_calls = 0;          // calls whose return was not seen
  std::vector<mem::PhysRange> pools;     // of bounce buffers
  watch::CostCounts counts;
  ToldReport told;  // no calls: the guest tells nobody
  std::vector<DeviceTraffic> devices;
  std::vector<CallerConversions> callers;
  std::vector<watch::Cause> causes;
  Exposure exposure;
  std::vector<SecretFound> secrets;
};

[[nodiscard]] std::string to_text(const WatchReport& report);
// Of that, the pools of bounce buffers and the traffic of devices.
[[nodiscard]] std::string to_dma_text(const WatchReport& report);
// The object of schema/run.schema.json.
[[nodiscard]] std::string to_json(const WatchReport& report);
// One page, with pictures of the history. `tracer` knows its names.
[[nodiscard]] std::string to_html(const WatchReport& report, const History& history, const Tracer& tracer);

}  // namespace cbit::guest
