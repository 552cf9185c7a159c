#include "cli/rdma_command.hpp"

#include <fmt/format.h>

#include <ostream>

#include "cli/platform_options.hpp"
#include "cli/trace_file.hpp"
#include "explain/rdma/perftest.hpp"

namespace cbit::cli {
namespace {

constexpr auto method_choices = choices_of(testbed::rdma_method_words);

constexpr OptionSpec rdma_specs[] = {
    platform_option,
    {"--method", "M", "How the application's memory becomes reachable for the NIC", "user-mr",
     method_choices},
    {"--mask", "BITS", "The NIC's DMA mask, 32 to 64", "64"},
    {"--size", "N", "Bytes per message, up to 1M", "64K"},
    {"--iterations", "N", "Messages, up to a million", "1000"},
    cbit_option,
    {"--memory", "SIZE", "RAM of each machine", "512M"},
    kernel_option,
    iommu_option,
    swiotlb_option,
    trace_option,
    trace_format_option,
    trace_events_option,
    seed_option,
    {"--json", "", "Print the object of schema/rdma.schema.json", ""},
};

constexpr std::string_view bw_examples[] = {
    "cbit rdma bw --platform sme",
    "cbit rdma bw --platform sev",
    "cbit rdma bw --platform sev --kernel-version 7.2 --method bounce-ring",
};

constexpr std::string_view pingpong_examples[] = {
    "cbit rdma pingpong --platform sev --method rxe --size 256",
};

constexpr std::uint64_t default_memory_bytes = 512 << 20;

OrError<explain::RdmaRunOptions> run_options(const Arguments& arguments) {
  explain::RdmaRunOptions options;
  options.node.bed = CBIT_TRY(testbed_config(arguments));
  if (!arguments.has("--memory")) options.node.bed.machine.memory_bytes = default_memory_bytes;
  options.node.method =
      arguments.choice("--method", testbed::rdma_method_words).value_or(testbed::RdmaMethod::user_mr);
  const bool in_shared_memory = options.node.method == testbed::RdmaMethod::shared_heap ||
                                options.node.method == testbed::RdmaMethod::bounce_ring;
  if (const KernelVersion version = options.node.bed.dma.version;
      in_shared_memory && version < KernelVersion::v7_2)
    return usage_error(
        fmt::format("Linux {} has no shared memory for applications, the heap system_cc_shared",
                    to_string(version)),
        "use --kernel-version 7.2 or later, or --method rxe");
  options.node.mask_bits = static_cast<unsigned>(CBIT_TRY(arguments.number("--mask", 32, 64)).value_or(64));
  options.node.bytes = CBIT_TRY(arguments.size("--size", explain::rdma_message_max)).value_or(64 * 1024);
  if (options.node.bytes == 0) return usage_error("--size 0 is out of range", "use 1 to 1M bytes");
  options.iterations =
      CBIT_TRY(arguments.number("--iterations", 1, explain::rdma_iterations_max)).value_or(1000);
  return options;
}

OrError<ExitCode> run_rdma(const Arguments& arguments, Streams& streams,
                           OrError<explain::RdmaRunReport> (*measure)(const explain::RdmaRunOptions&,
                                                                      EventSink*),
                           std::string (*text)(const explain::RdmaRunReport&), std::string_view test) {
  const explain::RdmaRunOptions options = CBIT_TRY(run_options(arguments));
  auto trace = CBIT_TRY(TraceFile::open(arguments));
  const explain::RdmaRunReport report = CBIT_TRY(measure(options, trace ? &trace->sink() : nullptr));
  if (trace) CBIT_TRY(trace->commit());
  streams.out << (arguments.has("--json") ? explain::to_json(report, test) : text(report));
  return report.intact() ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace

const CommandSpec rdma_bw_command{
    "rdma bw",
    "Write to a plain machine by RDMA, compare the bytes, and print bandwidth as ib_write_bw does",
    "Registers an application's memory on the platform, connects to a NIC of a plain machine, and performs "
    "RDMA writes. Every message is compared on arrival. Time is virtual; the counts of copies, flushes and "
    "conversions tell the cost. Ends with 1 where a byte was wrong.",
    rdma_specs,
    {},
    bw_examples,
    [](const Arguments& arguments, Streams& streams) {
      return run_rdma(arguments, streams, explain::rdma_bandwidth, explain::bandwidth_text, "bw");
    },
};

const CommandSpec rdma_pingpong_command{
    "rdma pingpong",
    "Send to and fro between the platform and a plain machine, and compare the bytes",
    "The same with send and receive, in turns: the platform's application sends, then the peer's.",
    rdma_specs,
    {},
    pingpong_examples,
    [](const Arguments& arguments, Streams& streams) {
      return run_rdma(arguments, streams, explain::rdma_pingpong, explain::pingpong_text, "pingpong");
    },
};

}  // namespace cbit::cli
