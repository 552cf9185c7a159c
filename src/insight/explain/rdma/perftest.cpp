#include "explain/rdma/perftest.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "watch/report.hpp"

namespace cbit::explain {
namespace {

testbed::RdmaCost difference(const testbed::RdmaCost& now, const testbed::RdmaCost& then) {
  return {.bytes_bounced = now.bytes_bounced - then.bytes_bounced,
          .bytes_copied = now.bytes_copied - then.bytes_copied,
          .copies = now.copies - then.copies,
          .flushes = now.flushes - then.flushes,
          .pages_converted = now.pages_converted - then.pages_converted,
          .virtual_ns = now.virtual_ns - then.virtual_ns};
}

// Two connected nodes, and the message of each iteration.
struct Bench {
  dev::rdma::Fabric fabric;
  std::unique_ptr<testbed::RdmaNode> local, peer;

  [[nodiscard]] Bytes message(std::uint64_t iteration) const {
    return pattern_bytes(local->config().bytes, iteration + 1);
  }
};

// True when the bytes that one side's application wrote are what the other's reads.
using Iteration = Result<bool, kernel::Errno> (*)(Bench&, std::uint64_t, RdmaRunReport&);

// Notes a completion; false when it is no success.
bool succeeded(RdmaRunReport& report, ibv_wc_status status) {
  if (status != IBV_WC_SUCCESS && report.status == IBV_WC_SUCCESS) report.status = status;
  return status == IBV_WC_SUCCESS;
}

Result<bool, kernel::Errno> write_once(Bench& bench, std::uint64_t n, RdmaRunReport& report) {
  const Bytes message = bench.message(n);
  bench.local->write(message);
  CBIT_TRY(bench.local->before_send());
  const auto status = CBIT_TRY(bench.local->transfer(*bench.peer, IBV_WR_RDMA_WRITE, message.size()));
  return succeeded(report, status) && bench.peer->read() == message;
}

Result<bool, kernel::Errno> send_once(Bench& bench, std::uint64_t n, RdmaRunReport& report) {
  testbed::RdmaNode& from = n % 2 == 0 ? *bench.local : *bench.peer;
  testbed::RdmaNode& to = n % 2 == 0 ? *bench.peer : *bench.local;
  const Bytes message = bench.message(n);
  CBIT_TRY(to.post_receive(message.size()));
  from.write(message);
  CBIT_TRY(from.before_send());
  if (!succeeded(report, CBIT_TRY(from.transfer(to, IBV_WR_SEND, message.size())))) return false;
  if (!to.wait()) return false;
  CBIT_TRY(to.after_receive());
  return to.read() == message;
}

OrError<RdmaRunReport> run(const RdmaRunOptions& options, EventSink* sink, Iteration once) {
  Bench bench;
  RdmaRunReport report{.options = options};
  bench.local = CBIT_TRY(testbed::RdmaNode::create(options.node, bench.fabric, sink));
  testbed::RdmaNodeConfig plain{.bytes = options.node.bytes};
  plain.bed.machine.memory_bytes = options.node.bed.machine.memory_bytes;
  bench.peer = CBIT_TRY(testbed::RdmaNode::create(plain, bench.fabric));
  const auto set_up = [&]() -> Result<void, kernel::Errno> {
    CBIT_TRY(bench.local->register_buffer());
    CBIT_TRY(bench.peer->register_buffer());
    return bench.local->connect(*bench.peer);
  }();
  report.set_up = bench.local->cost();
  if (!set_up) report.registration = kernel::errno_name(set_up.error());
  for (std::uint64_t n = 0; set_up && n < options.iterations; ++n) {
    const auto arrived = once(bench, n, report);
    if (!arrived) return bad_input(fmt::format("a verb failed with {}", kernel::errno_name(arrived.error())));
    report.verified += *arrived ? 1 : 0;
    if (report.status != IBV_WC_SUCCESS) break;
    if (report.completed++ == 0) report.first_ns = difference(bench.local->cost(), report.set_up).virtual_ns;
  }
  report.cost = difference(bench.local->cost(), report.set_up);
  bench.local->deregister();
  watch::Explainer& explainer = bench.local->bed().explainer();
  explainer.finish(watch::Ending::in_flight);
  report.causes = explainer.causes();
  return report;
}

constexpr std::string_view rule =
    "---------------------------------------------------------------------------------------\n";

std::string head(const RdmaRunReport& report, std::string_view title) {
  const testbed::RdmaNodeConfig& node = report.options.node;
  std::string text{rule};
  text += fmt::format("                    {}\n", title);
  text += fmt::format(" Platform        : {:<20} Method          : {}\n",
                      to_string(node.bed.machine.platform), word_of(testbed::rdma_method_words, node.method));
  text += fmt::format(" Linux           : {:<20} IOMMU           : {}\n", to_string(node.bed.dma.version),
                      to_string(node.bed.dma.iommu));
  text += fmt::format(" NIC mask        : {:<20} Mtu             : 4096[B]\n",
                      fmt::format("{} bits", node.mask_bits));
  text += fmt::format(" Connection type : RC                   Registration    : {}\n", report.registration);
  return text + std::string{rule};
}

std::string tail(const RdmaRunReport& report) {
  const testbed::RdmaCost& cost = report.cost;
  const std::uint64_t n = std::max<std::uint64_t>(1, report.completed);
  std::string text{rule};
  text += fmt::format(" Verified        : {} of {} transfers brought the bytes that were written\n",
                      report.verified, report.options.iterations);
  if (report.status != IBV_WC_SUCCESS)
    text += fmt::format(" Failed with     : {}\n", ibv_wc_status_str(report.status));
  text += fmt::format(" Per transfer    : {} copies, {} bytes bounced, {} bytes copied by the application\n",
                      cost.copies / n, cost.bytes_bounced / n, cost.bytes_copied / n);
  text += fmt::format(" Registration    : {} bytes bounced, {} pages converted, {} TLB flushes\n",
                      report.set_up.bytes_bounced, report.set_up.pages_converted, report.set_up.flushes);
  if (!report.causes.empty()) text += "\nCauses\n" + watch::render_causes(report.causes, {});
  return text;
}

// What arrived wrong has no speed.
std::string measured(const RdmaRunReport& report, double value, int decimals) {
  return report.completed != 0 && report.verified == report.completed
             ? fmt::format("{:.{}f}", value, decimals)
             : std::string{"-"};
}

double per_second(std::uint64_t count, std::uint64_t ns) {
  return ns == 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(ns);
}

}  // namespace

OrError<RdmaRunReport> rdma_bandwidth(const RdmaRunOptions& options, EventSink* sink) {
  return run(options, sink, write_once);
}

OrError<RdmaRunReport> rdma_pingpong(const RdmaRunOptions& options, EventSink* sink) {
  return run(options, sink, send_once);
}

std::string bandwidth_text(const RdmaRunReport& report) {
  constexpr double mib = 1 << 20;
  const std::uint64_t bytes = report.options.node.bytes, n = report.completed;
  const double first = per_second(bytes, report.first_ns) / mib;
  const double average = per_second(bytes * n, report.cost.virtual_ns) / mib;
  return head(report, "RDMA_Write BW Test (virtual time)") +
         " #bytes     #iterations    BW peak[MiB/sec]    BW average[MiB/sec]   MsgRate[Mpps]\n" +
         fmt::format(" {:<10} {:<14} {:<19} {:<21} {}\n", bytes, n,
                     measured(report, std::max(first, average), 2), measured(report, average, 2),
                     measured(report, per_second(n, report.cost.virtual_ns) / 1e6, 6)) +
         tail(report);
}

std::string pingpong_text(const RdmaRunReport& report) {
  const std::uint64_t n = report.completed;
  const auto all_ns = static_cast<double>(report.cost.virtual_ns);
  return head(report, "Send Latency Test (virtual time)") +
         " #bytes     #iterations    t_first[usec]       t_avg[usec]\n" +
         fmt::format(" {:<10} {:<14} {:<19} {}\n", report.options.node.bytes, n,
                     measured(report, static_cast<double>(report.first_ns) / 1e3, 2),
                     measured(report, all_ns / 1e3 / static_cast<double>(std::max<std::uint64_t>(1, n)), 2)) +
         tail(report);
}

}  // namespace cbit::explain
