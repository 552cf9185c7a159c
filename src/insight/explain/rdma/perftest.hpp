// `cbit rdma bw` and `cbit rdma pingpong`: many transfers between the platform under test and a plain
// machine, every byte compared.
#pragma once

#include <string>

#include "testbed/rdma/node.hpp"
#include "watch/causes.hpp"

namespace cbit::explain {

struct RdmaRunOptions {
  testbed::RdmaNodeConfig node;  // the platform under test; its buffer is the message
  std::uint64_t iterations = 1000;
};

inline constexpr std::uint64_t rdma_iterations_max = 1'000'000;
inline constexpr std::uint64_t rdma_message_max = 1 << 20;

struct RdmaRunReport {
  RdmaRunOptions options;
  std::string registration = "ok";        // or the errno's name; nothing ran then
  std::uint64_t completed = 0;            // transfers that ended well; the first other one is the last
  std::uint64_t verified = 0;             // transfers that brought exactly the bytes that were written
  ibv_wc_status status = IBV_WC_SUCCESS;  // of the first that failed
  std::uint64_t first_ns = 0;             // virtual time of the first transfer on the platform
  testbed::RdmaCost cost;                 // of all transfers; registration is not counted
  testbed::RdmaCost set_up;               // of the registration
  std::vector<watch::Cause> causes;

  [[nodiscard]] bool intact() const { return registration == "ok" && verified == options.iterations; }
};

// RDMA writes from the platform to the peer, as ib_write_bw does.
[[nodiscard]] OrError<RdmaRunReport> rdma_bandwidth(const RdmaRunOptions& options, EventSink* sink = nullptr);
// Sends and receives to and fro, as ib_send_lat does; an iteration is one way.
[[nodiscard]] OrError<RdmaRunReport> rdma_pingpong(const RdmaRunOptions& options, EventSink* sink = nullptr);

// A table as perftest prints it, the cost in counts, and the causes.
[[nodiscard]] std::string bandwidth_text(const RdmaRunReport& report);
[[nodiscard]] std::string pingpong_text(const RdmaRunReport& report);
// The object of schema/rdma.schema.json, pretty-printed with a final newline. `test` is "bw" or "pingpong".
[[nodiscard]] std::string to_json(const RdmaRunReport& report, std::string_view test);

}  // namespace cbit::explain
