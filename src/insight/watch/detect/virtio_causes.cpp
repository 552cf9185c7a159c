#include "base/format.hpp"
#include "spec/virtio.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"

namespace cbit::watch {
namespace {

using spec::virtio_feature::access_platform;
using spec::virtio_feature::version_1;
using spec::virtio_status::driver_ok;
using spec::virtio_status::failed;
using spec::virtio_status::features_ok;

// Why the driver has no ACCESS_PLATFORM; nullptr when it has.
const CauseInfo* missing_flag(const VirtioNegotiated& negotiated) {
  if ((negotiated.accepted & access_platform) != 0) return nullptr;
  if ((negotiated.offered & version_1) == 0) return &cause("legacy-virtio");
  if ((negotiated.offered & access_platform) == 0) return &cause("flag-not-offered");
  return &cause("flag-not-acked");
}

std::string describe_features(const VirtioNegotiated& negotiated) {
  return fmt::format("offered {:#x}, accepted {:#x}, status {:#x}", negotiated.offered, negotiated.accepted,
                     negotiated.status);
}

struct VirtioCauses {
  const Scene& scene;

  void operator()(const VirtioNegotiated& negotiated) const {
    // A modern driver asked for FEATURES_OK, and the device left it clear.
    const bool refused = (negotiated.accepted & version_1) != 0 &&
                         (negotiated.status & (features_ok | driver_ok | failed)) == 0;
    // A probe that failed before it wrote any features says nothing about the driver's choice.
    const bool gave_up_early = negotiated.accepted == 0 && (negotiated.status & failed) != 0;
    const CauseInfo* const missing = missing_flag(negotiated);
    const bool needed = scene.facts.context().is_guest || (refused && missing == &cause("flag-not-acked"));
    if (missing != nullptr && needed && !(gave_up_early && missing == &cause("flag-not-acked")))
      open(*missing, negotiated);
    else if (refused)
      open(cause("device-refuses-features"), negotiated);
    else if (scene.facts.context().iommu_translates && (negotiated.status & driver_ok) != 0 &&
             (negotiated.offered & access_platform) == 0)
      open(cause("iommu-bypassed"), negotiated);
  }

  // A device that reads ciphertext finds nonsense in the ring: then that is the cause.
  void operator()(const VirtioBroken& broken) const {
    const Evidence what{"device stopped", fmt::format("queue {}: {}", broken.queue, broken.reason)};
    for (const CauseInfo* const reason :
         {&cause("flag-not-offered"), &cause("flag-not-acked"), &cause("legacy-virtio"),
          &cause("page-still-private"), &cause("raw-physical-address"),
          &cause("missing-c-bit-in-dma-address"), &cause("guest-iommu-skips-bounce"),
          &cause("iopte-without-c-bit")})
      if (Cause* const known = scene.book.known(*reason, broken.device)) return add_once(*known, what);
    Cause* const found = scene.book.open(cause("malformed-descriptor"), broken.device, scene.event.time_ns);
    if (found != nullptr) found->evidence = {what};
  }

  void operator()(const KernelMessage& message) const {
    if (!is_about(cause("forged-descriptor"), message.text)) return;
    Cause* const found = scene.book.open(cause("forged-descriptor"), 0, scene.event.time_ns);
    if (found != nullptr) found->evidence = {{"the driver refused", message.text}};
  }

  void operator()(const auto&) const {}

  void open(const CauseInfo& reason, const VirtioNegotiated& negotiated) const {
    Cause* const found = scene.book.open(reason, negotiated.device, scene.event.time_ns);
    if (found != nullptr) found->evidence = {{"features", describe_features(negotiated)}};
  }
};

}  // namespace

void find_virtio_causes(const Scene& scene) { std::visit(VirtioCauses{scene}, scene.event.payload); }

bool explain_by_virtio_flag(const Scene& scene, NameId device, const Evidence& evidence) {
  const VirtioNegotiated* const negotiated = scene.facts.negotiation(device);
  const CauseInfo* const reason = negotiated != nullptr ? missing_flag(*negotiated) : nullptr;
  if (reason == nullptr) return false;
  if (Cause* const found = scene.book.open(*reason, device, scene.event.time_ns))
    found->evidence = {{"features", describe_features(*negotiated)}};
  add_once(*scene.book.known(*reason, device), {"consequence", evidence.text});
  return true;
}

}  // namespace cbit::watch
