#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

struct CpuCauses {
  const Scene& scene;

  // A reader whose key agrees with the page's attribute is the victim; otherwise it is the culprit.
  void operator()(const KeyMismatch& read) const {
    if (scene.event.agent.kind != AgentKind::cpu || guests_read(scene.facts, read)) return;
    const Evidence seen{"read",
                        fmt::format("{} under {} in {}", agent_name(scene.event.agent),
                                    describe_key(scene.facts, read.key), scene.facts.name(read.site))};
    const Evidence writer{"last written by", describe_writer(scene.facts, read)};
    const bool shared = scene.facts.is_shared(read.page);
    if (shared == (read.key != no_key)) return wrong_mapping(read.page, shared, {seen, writer});
    switch (read.writer.kind) {
      case AgentKind::device: return device_wrote(read, seen);
      case AgentKind::host: return host_wrote(read, seen);
      case AgentKind::cpu: return explain_stale_contents(scene, 0, read.page, writer);
      case AgentKind::loader:
      case AgentKind::none: return;
    }
  }

  void operator()(const ForeignWrite& write) const {
    const bool shared = scene.facts.is_shared(write.page);
    if (concerns_guest(write)) return;
    if (scene.event.agent.kind != AgentKind::cpu || shared != (write.key != no_key)) return;
    wrong_mapping(write.page, shared, {access("write", write.key, write.site)});
  }

  // A page that is written whole has no other bytes to disagree with: only its owner tells.
  void operator()(const OwnerChanged& change) const {
    if (scene.event.agent.kind != AgentKind::cpu || change.to == no_key ||
        !scene.facts.is_shared(change.page))
      return;
    wrong_mapping(change.page, true, {access("access", change.to, change.site)});
  }

  void operator()(const CacheAliasHazard& hazard) const {
    Cause* const found = scene.book.open(cause("cache-alias-not-flushed"), 0,
                                         pages_of(hazard.line, cache_line_size), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {
        {"line", fmt::format("{} dirty under {}", hazard.line, describe_key(scene.facts, hazard.dirty_key))},
        access("access", hazard.key, hazard.site),
        {"result", hazard.stale ? "the reader got stale bytes" : "as if flushed; hardware may differ"},
        {"page", describe_attribute(scene.facts, hazard.line)}};
  }

  void operator()(const PrivateBytesShared& shared) const {
    Cause* const found = scene.book.open(cause("private-bytes-in-shared-memory"), 0,
                                         pages_of(shared.at, shared.bytes), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"bytes", fmt::format("{} at {}, the same as at {}, which is private", shared.bytes,
                                             shared.at, shared.private_at)},
                       {"page", describe_attribute(scene.facts, shared.at)},
                       {"last written by", agent_name(shared.writer)},
                       {"mapping", "none: the DMA API did not give out these bytes"}};
  }

  void operator()(const auto&) const {}

  // A host's guests have views of their own.
  [[nodiscard]] bool concerns_guest(const ForeignWrite& write) const {
    return scene.facts.context().hosts_guests &&
           (is_guests_key(write.key) || is_guests_key(write.previous_key));
  }
  [[nodiscard]] Evidence access(std::string label, KeyId key, SiteId site) const {
    return {std::move(label), fmt::format("{} under {} in {}", agent_name(scene.event.agent),
                                          describe_key(scene.facts, key), scene.facts.name(site))};
  }

  void wrong_mapping(PhysAddr page, bool shared, std::vector<Evidence> evidence) const {
    const CauseInfo& reason =
        shared ? cause("mapped-encrypted-but-shared") : cause("mapped-shared-but-private");
    Cause* const found = scene.book.open(reason, 0, pages_of(page, 1), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = std::move(evidence);
    found->evidence.push_back({"page", describe_attribute(scene.facts, page)});
  }

  void device_wrote(const KeyMismatch& read, const Evidence& seen) const {
    const DeviceWrite* const write = scene.facts.last_device_write(read.page);
    if (write == nullptr) return;
    explain_wrong_key(scene, write->access, write->mapping ? &*write->mapping : nullptr);
    scene.book.amend(scene.event.time_ns, seen);
  }

  void host_wrote(const KeyMismatch& read, const Evidence& seen) const {
    const auto& source = scene.facts.last_host_mismatch();
    const bool moved = source && source->read.writer_key != no_key && source->read.page != read.page;
    const CauseInfo& reason = moved ? cause("page-moved-between-frames") : cause("private-page-overwritten");
    Cause* const found = scene.book.open(reason, 0, pages_of(read.page, 1), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {seen, {"last written by", describe_writer(scene.facts, read)}};
    if (moved)
      found->evidence.push_back(
          {"ciphertext from", fmt::format("{} by the host at {} ns", source->read.page, source->time_ns)});
  }
};

}  // namespace

void find_cpu_causes(const Scene& scene) {
  // With a KeyID per page no attribute of the page says which key a CPU should use.
  const bool about_caches = std::holds_alternative<CacheAliasHazard>(scene.event.payload);
  if (scene.facts.context().is_mktme && !about_caches) return;
  std::visit(CpuCauses{scene}, scene.event.payload);
}

void explain_stale_contents(const Scene& scene, NameId device, PhysAddr page, const Evidence& evidence) {
  const bool shared = scene.facts.is_shared(page);
  const CauseInfo& mapping =
      shared ? cause("mapped-encrypted-but-shared") : cause("mapped-shared-but-private");
  // Somebody was caught writing through the wrong mapping, or must have done so if the page never changed.
  const bool wrong_writer = scene.book.find(mapping, CauseRange::Space::physical, page.value()) != nullptr ||
                            scene.facts.attribute(page) == nullptr;
  const CauseInfo& reason = wrong_writer ? mapping : cause("contents-not-converted");
  Cause* const found =
      scene.book.open(reason, wrong_writer ? 0 : device, pages_of(page, 1), scene.event.time_ns);
  if (found != nullptr) found->evidence = {evidence, {"page", describe_attribute(scene.facts, page)}};
}

}  // namespace cbit::watch
