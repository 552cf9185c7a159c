#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"

namespace cbit::watch {
namespace {

struct MktmeCauses {
  const Scene& scene;

  void operator()(const DeviceAccess& access) const {
    if (!scene.facts.context().is_mktme || access.page_key == no_key || access.key == access.page_key) return;
    Cause* const found = scene.book.open(cause("key-id-lost-in-dma-address"), access.device,
                                         pages_of(access.phys, access.bytes), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"access", describe(scene.facts, access)},
                       {"KeyIDs", fmt::format("the address selects {}, the page's contents are under {}",
                                              access.key, access.page_key)}};
    if (const PageKeyChanged* const changed = scene.facts.page_key(access.phys))
      found->evidence.push_back(
          {"page", fmt::format("given to KeyID {} in {}", changed->to, scene.facts.name(changed->site))});
  }

  void operator()(const VmaKeyChanged& changed) const {
    if (changed.pages_zapped == 0) return;
    Cause* const found = scene.book.open(cause("contents-lost-by-encrypt-mprotect"), 0, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"range", fmt::format("{} bytes at {}", changed.bytes, changed.first)},
                       {"lost", fmt::format("{} pages that had contents; KeyID {} before, {} now",
                                            changed.pages_zapped, changed.from, changed.to)}};
  }

  void operator()(const KeyProgrammed& programmed) const {
    if (programmed.result == 0) return;
    open(cause("key-programming-failed"),
         {"PCONFIG", fmt::format("{} of KeyID {} ended with status {}", programmed.command, programmed.key_id,
                                 programmed.result)});
  }

  void operator()(const KeyRequestRefused& refused) const {
    // The processor's status tells more.
    if (refused.reason == "pconfig-failed" || refused.reason == "pconfig-fault") return;
    const Evidence call{
        "call", fmt::format("{}() returned errno {}: {}", refused.call, refused.error, refused.reason)};
    if (refused.reason == "no-free-key-id")
      open(cause("no-free-key-id"), call);
    else if (refused.call == "encrypt_mprotect")
      open(cause("memory-not-encryptable"), call);
    else if (!refused.call.starts_with("KVM_"))  // see host_causes.cpp
      open(cause("key-payload-refused"), call);
  }

  void operator()(const FrameCopied& copied) const {
    if (copied.reason != "swap-in" && copied.reason != "migration") return;
    Cause* const found = scene.book.open(cause("swapped-in-elsewhere"), 0, pages_of(copied.to, copied.bytes),
                                         scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"moved", fmt::format("{} bytes from {} to {} by {}", copied.bytes, copied.from,
                                             copied.to, copied.reason)}};
  }

  void operator()(const PageMoveRefused& refused) const {
    Cause* const found =
        scene.book.open(cause("page-not-movable"), 0, pages_of(refused.page, page_size), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"refused", fmt::format("{} of {}: {}", refused.what, refused.page, refused.reason)}};
  }

  void operator()(const auto&) const {}

  void open(const CauseInfo& info, Evidence evidence) const {
    if (Cause* const found = scene.book.open(info, 0, scene.event.time_ns))
      found->evidence = {std::move(evidence)};
  }
};

}  // namespace

void find_mktme_causes(const Scene& scene) { std::visit(MktmeCauses{scene}, scene.event.payload); }

}  // namespace cbit::watch
