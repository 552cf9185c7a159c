#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

// Firmware status codes, include/uapi/linux/psp-sev.h.
constexpr std::uint32_t policy_failure = 7, bad_measurement = 11, wbinvd_required = 14, dfflush_required = 15;

struct HostCauses {
  const Scene& scene;

  void operator()(const KeyMismatch& read) const {
    if (!guests_read(scene.facts, read) || scene.event.agent.kind == AgentKind::loader) return;
    const bool by_guest = is_guests_key(read.key);
    const CauseInfo& reason = !by_guest                        ? cause("guest-memory-is-encrypted")
                              : is_guests_key(read.writer_key) ? cause("guest-page-remapped")
                                                               : cause("plain-page-read-as-private");
    open_page(
        reason, read.page,
        {{"read", access(read.key, read.site)}, {"last written by", describe_writer(scene.facts, read)}});
  }

  void operator()(const ForeignWrite& write) const {
    if (!scene.facts.context().hosts_guests || scene.event.agent.kind != AgentKind::cpu) return;
    if (is_guests_key(write.key) || !is_guests_key(write.previous_key)) return;
    open_page(cause("private-page-overwritten"), write.page, {{"write", access(write.key, write.site)}});
  }

  // A guest's CPU found that the page is not the guest's, or not validated.
  void operator()(const AccessFault& refused) const {
    if (!scene.facts.context().hosts_guests || refused.fault.kind != FaultKind::rmp_violation ||
        scene.event.agent.kind != AgentKind::cpu)
      return;
    open_page(cause("guest-page-remapped"), PhysAddr{refused.fault.address},
              {{"access", fmt::format("{} in {}: {}", refused.fault.write ? "write" : "read",
                                      scene.facts.name(refused.site), to_string(refused.fault.kind))}});
  }

  void operator()(const SevCommand& command) const {
    const bool debug = command.command == "DBG_DECRYPT" || command.command == "DBG_ENCRYPT";
    switch (command.status) {
      case policy_failure: return debug ? firmware(cause("policy-forbids-debug"), command) : void();
      case bad_measurement: return firmware(cause("transport-not-authentic"), command);
      case wbinvd_required:
      case dfflush_required: return firmware(cause("df-flush-required"), command);
      default: return;
    }
  }

  void operator()(const KeyRequestRefused& refused) const {
    if (refused.reason != "asid-exhausted") return;
    Cause* const found = open(cause("asid-exhausted"));
    if (found != nullptr) found->evidence = {{"call", fmt::format("{}: -EBUSY", refused.call)}};
  }

  void operator()(const RegionPinned& region) const {
    constexpr std::uint32_t enomem = 12;
    if (!region.registered || region.error != enomem) return;
    Cause* const found = open(cause("memlock-exceeded"));
    if (found != nullptr)
      found->evidence = {{"region", fmt::format("{} pages at {}, besides {} that are pinned", region.pages,
                                                region.first, region.pinned)}};
  }

  void operator()(const PageDiscarded& discarded) const {
    if (discarded.pins == 0) return;
    std::vector<Evidence> evidence{
        {"discarded", fmt::format("{} at {} of the process, pinned {} time{}", discarded.page, discarded.at,
                                  discarded.pins, discarded.pins == 1 ? "" : "s")}};
    scene.facts.mappings().for_each_active([&](const Mapping& mapping) {
      const bool covers = discarded.page + page_size > mapping.call.phys &&
                          discarded.page < mapping.call.phys + mapping.call.bytes;
      if (covers) evidence.push_back({"a device still reaches it", describe(scene.facts, mapping)});
    });
    open_page(cause("discard-vs-pinned"), discarded.page, std::move(evidence));
  }

  void operator()(const KernelMessage& message) const {
    for (const CauseInfo* const reason :
         {&cause("iommu-passthrough-forbids-snp"), &cause("sme-beside-tsme"), &cause("rmp-not-reserved"),
          &cause("memory-encryption-off-in-firmware"), &cause("secure-processor-failed"),
          &cause("sme-hides-iommu"), &cause("tdx-module-failed")})
      if (is_about(*reason, message.text)) static_cast<void>(open(*reason));
  }

  void operator()(const auto&) const {}

  Cause* open(const CauseInfo& reason) const { return scene.book.open(reason, 0, scene.event.time_ns); }
  void open_page(const CauseInfo& reason, PhysAddr page, std::vector<Evidence> evidence) const {
    Cause* const found = scene.book.open(reason, 0, pages_of(page, 1), scene.event.time_ns);
    if (found != nullptr) found->evidence = std::move(evidence);
  }
  void firmware(const CauseInfo& reason, const SevCommand& command) const {
    Cause* const found = open(reason);
    if (found != nullptr)
      found->evidence = {{"command", fmt::format("{} of guest {}: status {}", command.command, command.handle,
                                                 command.status)}};
  }
  [[nodiscard]] std::string access(KeyId key, SiteId site) const {
    return fmt::format("{} under {} in {}", agent_name(scene.event.agent), describe_key(scene.facts, key),
                       scene.facts.name(site));
  }
};

}  // namespace

// A host or a device that wrote into a private page without its key is the story of cpu_causes.cpp.
bool guests_read(const Facts& facts, const KeyMismatch& read) {
  if (!facts.context().hosts_guests) return false;
  if (!is_guests_key(read.key)) return is_guests_key(read.writer_key);
  return is_guests_key(read.writer_key) || read.writer.kind == AgentKind::cpu;
}

void find_host_causes(const Scene& scene) { std::visit(HostCauses{scene}, scene.event.payload); }

}  // namespace cbit::watch
