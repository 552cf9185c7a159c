// `cbit table rdma`: platform by method, each on a machine of its own, connected to a plain one.
#include <fmt/format.h>

#include "explain/cause_names.hpp"
#include "explain/tables/tables.hpp"
#include "testbed/rdma/node.hpp"
#include "testbed/views.hpp"

namespace cbit::explain {
namespace {

struct PlatformRow {
  std::string_view name;
  Platform platform{};
  unsigned mask_bits = 64;
  IommuMode iommu = IommuMode::none;
};

constexpr PlatformRow platforms_of_table[] = {
    {"plain", Platform::plain},
    {"SME, 64-bit NIC", Platform::sme},
    {"SME, 47-bit NIC", Platform::sme, 47},
    {"SME, 47-bit NIC, IOMMU", Platform::sme, 47, IommuMode::translated},
    {"SEV", Platform::sev},
};

struct MethodRow {
  std::string_view name;
  testbed::RdmaMethod method{};
  KernelVersion version = KernelVersion::v6_1;
};

constexpr MethodRow methods_of_table[] = {
    {"user MR, Linux 6.1", testbed::RdmaMethod::user_mr, KernelVersion::v6_1},
    {"user MR, 7.2", testbed::RdmaMethod::user_mr, KernelVersion::v7_2},
    {"ibv_alloc_buf, 7.2", testbed::RdmaMethod::shared_heap, KernelVersion::v7_2},
    {"bounce ring, 7.2", testbed::RdmaMethod::bounce_ring, KernelVersion::v7_2},
    {"software RDMA, 6.1", testbed::RdmaMethod::rxe, KernelVersion::v6_1},
};

constexpr std::uint64_t transfer_bytes = 64 * 1024;
constexpr std::uint64_t memory_bytes = 512ull << 20;

testbed::RdmaNodeConfig config_of(const PlatformRow& platform, const MethodRow& method, std::uint64_t seed) {
  testbed::RdmaNodeConfig config{
      .mask_bits = platform.mask_bits, .method = method.method, .bytes = transfer_bytes};
  config.bed.machine.platform = platform.platform;
  config.bed.machine.memory_bytes = memory_bytes;
  config.bed.machine.seed = seed;
  config.bed.dma.iommu = platform.iommu;
  config.bed.dma.version = method.version;
  return config;
}

// "yes", or what is there instead.
std::string arrived(const Bytes& found, const Bytes& data, const Bytes& old) {
  if (found == data) return "yes";
  if (found == Bytes(found.size())) return "no: zeros";
  return found == old ? "no: old bytes" : "no: other bytes";
}

// The peer writes to the application, and the application to the peer: bytes that each side's CPU reads.
struct Exchange {
  std::string in = "-", out = "-";
};

Result<Exchange, kernel::Errno> exchange(testbed::RdmaNode& local, testbed::RdmaNode& peer) {
  const Bytes old = testbed::authored_bytes(testbed::Author::before, transfer_bytes);
  const Bytes in = testbed::authored_bytes(testbed::Author::device, transfer_bytes);
  const Bytes out = testbed::authored_bytes(testbed::Author::cpu, transfer_bytes);
  CBIT_TRY(peer.register_buffer());
  CBIT_TRY(local.connect(peer));
  Exchange result;
  peer.write(in);
  CBIT_TRY(peer.transfer(local, IBV_WR_RDMA_WRITE, transfer_bytes));
  CBIT_TRY(local.after_receive());
  result.in = arrived(local.read(), in, old);
  local.write(out);
  CBIT_TRY(local.before_send());
  CBIT_TRY(local.transfer(peer, IBV_WR_RDMA_WRITE, transfer_bytes));
  // Old is what the NIC had there until then.
  result.out = arrived(peer.read(), out, in);
  return result;
}

std::string cause_names(const watch::Explainer& explainer) {
  CauseNames names;
  names.add(explainer.causes());
  return explainer.causes().empty() ? "-" : names.text();
}

OrError<std::vector<std::string>> row_of(const PlatformRow& platform, const MethodRow& method,
                                         std::uint64_t seed) {
  dev::rdma::Fabric fabric;
  auto local = CBIT_TRY(testbed::RdmaNode::create(config_of(platform, method, seed), fabric));
  // Software RDMA speaks the same protocol: the peer is a plain machine with a NIC.
  auto peer = CBIT_TRY(
      testbed::RdmaNode::create(config_of(platforms_of_table[0], methods_of_table[0], seed), fabric));
  local->write(testbed::authored_bytes(testbed::Author::before, transfer_bytes));
  std::string registration = "ok";
  Exchange moved;
  testbed::RdmaCost cost;
  const auto registered = local->register_buffer();
  if (registered) {
    const auto done = exchange(*local, *peer);
    if (done) moved = *done;
    if (!done) registration = fmt::format("ok, then {}", kernel::errno_name(done.error()));
  } else {
    registration = kernel::errno_name(registered.error());
  }
  cost = local->cost();
  local->deregister();
  local->bed().explainer().finish(watch::Ending::in_flight);
  return std::vector<std::string>{std::string{platform.name},
                                  std::string{method.name},
                                  registration,
                                  moved.in,
                                  moved.out,
                                  fmt::format("{}", cost.copies),
                                  fmt::format("{}", cost.bytes_bounced),
                                  fmt::format("{}", cost.bytes_copied),
                                  fmt::format("{}", cost.pages_converted),
                                  fmt::format("{}", cost.flushes),
                                  cause_names(local->bed().explainer())};
}

OrError<Table> make_rdma_table(const TableRequest& request) {
  Table table;
  table.columns = {
      "platform", "method",        "registration", "NIC's data arrives", "application's data arrives",
      "copies",   "bytes bounced", "bytes copied", "pages converted",    "TLB flushes",
      "causes"};
  for (const PlatformRow& platform : platforms_of_table)
    for (const MethodRow& method : methods_of_table)
      if (request.wants(platform.platform) && request.wants(method.version))
        table.rows.push_back(CBIT_TRY(row_of(platform, method, request.seed)));
  table.notes = {
      fmt::format(
          "One RDMA write of {} bytes each way, to and from a plain machine; the region is registered "
          "before the bytes are written.",
          transfer_bytes),
      "copies and bytes bounced: the kernel's through SWIOTLB; bytes copied: the application's through its "
      "ring; deregistration is not counted."};
  return table;
}

}  // namespace

TableSpec rdma_table() {
  return {.name = "rdma",
          .title = "Does RDMA work on memory that is encrypted, by which method, at what cost?",
          .platforms = each_once(platforms_of_table, &PlatformRow::platform),
          .versions = each_once(methods_of_table, &MethodRow::version),
          .make = make_rdma_table};
}

}  // namespace cbit::explain
