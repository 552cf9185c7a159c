#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"

namespace cbit::watch {
namespace {

// Why a NIC refused, by its word (dev/rdma/regions.hpp); nullptr: the peer had to wait, or nobody is to
// blame.
const CauseInfo* cause_of(std::string_view reason) {
  if (reason == "remote-key" || reason == "protection-domain") return &cause("forged-rkey");
  if (reason == "bounds") return &cause("mr-out-of-bounds");
  if (reason == "access-rights") return &cause("rdma-access-denied");
  if (reason == "local-key") return &cause("invalid-lkey");
  if (reason == "cq-overrun") return &cause("cq-overrun");
  if (reason == "malformed-packet" || reason == "invalid-request" || reason == "bad-response")
    return &cause("malformed-rdma-packet");
  return nullptr;
}

struct RdmaCauses {
  const Scene& scene;

  void operator()(const MrRegistered& region) const {
    if (region.path != DmaPath::swiotlb) return;
    const CauseRange where{CauseRange::Space::bus, region.dma.value(), region.bytes};
    Cause* const found =
        scene.book.open(cause("mr-on-private-memory"), region.device, where, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"region", fmt::format("lkey {:#x}, {} bytes at {:#x} of the application", region.lkey,
                                              region.bytes, region.first.value())},
                       {"the NIC works at", fmt::format("{:#x}, in the bounce pool ({} segments)",
                                                        region.dma.value(), region.segments)}};
  }

  void operator()(const MrDeregistered& region) const {
    Cause* const known = scene.book.known(cause("mr-on-private-memory"), region.device);
    if (known == nullptr || region.copied_back == 0) return;
    add_once(*known, {"deregistration",
                      fmt::format("wrote {} bytes over the application's buffer", region.copied_back)});
  }

  void operator()(const MrRefused& refused) const {
    const CauseInfo* reason = nullptr;
    if (refused.reason == "cc-dma-bounce") reason = &cause("mr-refused-cc-dma-bounce");
    if (refused.reason == "memlock" || refused.reason == "mlock-right") reason = &cause("memlock-exceeded");
    if (refused.reason == "map" &&
        scene.book.known(cause("request-over-segment-limit"), refused.device) != nullptr)
      reason = &cause("mr-segment-over-swiotlb-limit");
    if (reason == nullptr) return;
    Cause* const found = scene.book.open(*reason, refused.device, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {
        {"region", fmt::format("{} bytes at {:#x} of the application", refused.bytes, refused.first.value())},
        {"errno", fmt::format("{}", refused.error)}};
  }

  void operator()(const RdmaRefused& refused) const {
    const CauseInfo* const reason = cause_of(refused.reason);
    if (reason == nullptr) return;
    Cause* const found = scene.book.open(*reason, refused.device, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"queue pair", fmt::format("{}", refused.qp)}};
    if (reason == &cause("cq-overrun"))
      found->evidence.push_back({"completion queue", fmt::format("{} entries, all in use", refused.bytes)});
    else
      found->evidence.push_back({"asked for", fmt::format("{} bytes at {:#x} with key {:#x}", refused.bytes,
                                                          refused.address, refused.key)});
    found->evidence.push_back({"refused for", std::string{refused.reason}});
  }

  void operator()(const auto&) const {}
};

}  // namespace

void find_rdma_causes(const Scene& scene) { std::visit(RdmaCauses{scene}, scene.event.payload); }

}  // namespace cbit::watch
