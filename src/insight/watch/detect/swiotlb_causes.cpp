#include <algorithm>
#include <map>
#include <ranges>
#include <vector>

#include "base/format.hpp"
#include "spec/swiotlb.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"
#include "watch/swiotlb_full.hpp"

namespace cbit::watch {
namespace {

// The devices that hold most of the pool: "0000:00:03.0: 1048576 bytes in 4 mappings; …"; empty: none.
std::string holders(const Facts& facts) {
  struct Share {
    NameId device = 0;
    std::uint64_t bytes = 0;
    std::uint64_t mappings = 0;
  };
  std::map<NameId, Share> shares;
  facts.mappings().for_each_active([&](const Mapping& mapping) {
    if (!mapping.bounced) return;
    Share& share = shares[mapping.call.device];
    share = {mapping.call.device, share.bytes + mapping.call.bytes, share.mappings + 1};
  });
  std::vector<Share> ranking;
  for (const auto& [device, share] : shares) ranking.push_back(share);
  std::ranges::sort(ranking, [](const Share& a, const Share& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.device < b.device;
  });
  constexpr std::size_t shown_max = 3;
  std::string text;
  for (const Share& share : ranking | std::views::take(shown_max))
    text += fmt::format("{}{}: {} bytes in {} mapping{}", text.empty() ? "" : "; ", facts.name(share.device),
                        share.bytes, share.mappings, share.mappings == 1 ? "" : "s");
  return text;
}

struct SwiotlbCauses {
  const Scene& scene;

  void operator()(const SwiotlbFull& full) const {
    for (const CauseInfo* const reason : why_full(full, scene.facts.context().swiotlb_can_grow))
      open(*reason, full);
  }

  void operator()(const SwiotlbAllocated& allocated) const {
    if (!scene.facts.in_bounce_pool(allocated.orig)) return;
    Cause* const found = scene.book.open(cause("double-bounce"), allocated.device, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"buffer", fmt::format("{} lies in the bounce pool", allocated.orig)},
                       {"bounced to", fmt::format("{}, {} slots", allocated.bounce, allocated.slots)}};
    if (const Mapping* const first =
            scene.facts.mappings().find_untranslated(DmaAddr{allocated.orig.value()}))
      found->evidence.push_back({"first mapping", describe(scene.facts, *first)});
  }

  void operator()(const KernelMessage& message) const {
    if (!is_about(cause("sleep-in-atomic-on-flip"), message.text)) return;
    Cause* const found = scene.book.open(cause("sleep-in-atomic-on-flip"), 0, scene.event.time_ns);
    if (found != nullptr) found->evidence = {{"Linux", message.text}};
  }

  // The atomic pools never shrink: what they decrypted stays so.
  void operator()(const PageConversion& conversion) const {
    const Attribute* const before = scene.facts.attribute(conversion.first);
    if (!conversion.encrypted || before == nullptr || before->encrypted ||
        scene.facts.name(before->site) != "atomic_pool_expand")
      return;
    Cause* const found =
        scene.book.open(cause("alias-free-mismatch"), 0,
                        pages_of(conversion.first, conversion.pages * page_size), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"memory", fmt::format("{} pages at {}, shared by {}", conversion.pages,
                                              conversion.first, scene.facts.name(before->site))},
                       {"encrypted by", std::string{scene.facts.name(conversion.site)}}};
    if (const auto left = scene.facts.aliases().find(conversion.first, conversion.pages, false))
      found->evidence.push_back(
          {"still shared", fmt::format("the {} mapping at {}", left->alias.kind, left->alias.at)});
  }

  // A drop for another reason is a sync or unmap beyond the mapping, which shows in the call itself.
  void operator()(const SwiotlbDropped& dropped) const {
    if (!dropped.negative_offset) return;
    const Mapping* const mapping = scene.facts.mappings().find_untranslated(DmaAddr{dropped.bounce.value()});
    const CauseRange where =
        mapping != nullptr ? range_of(*mapping) : pages_of(dropped.bounce, dropped.bytes);
    Cause* const found =
        scene.book.open(cause("sync-dropped-negative-offset"),
                        mapping != nullptr ? mapping->call.device : NameId{0}, where, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"sync", fmt::format("{} bytes at {}", dropped.bytes, dropped.bounce)}};
    if (mapping != nullptr) found->evidence.push_back({"mapping", describe(scene.facts, *mapping)});
  }

  void operator()(const auto&) const {}

  void open(const CauseInfo& reason, const SwiotlbFull& full) const {
    Cause* const found = scene.book.open(reason, full.device, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {
        {"request",
         fmt::format("{} bytes, {} slots; the longest run ever possible is {} slots ({} bytes)", full.bytes,
                     full.slots_wanted, full.segment_slots, full.segment_slots * spec::io_tlb_size)},
        {"pool", pool_text(full)}};
    if (std::string held = holders(scene.facts); !held.empty())
      found->evidence.push_back({"held by", std::move(held)});
    if (full.align_mask != 0)
      found->evidence.push_back({"alignment", fmt::format("mask {:#x}", full.align_mask)});
    if (full.growth_failed) found->evidence.push_back({"growth", "tried for this request, and failed"});
    if (const SwiotlbBounced* const bounced = scene.facts.last_bounce(full.device))
      found->evidence.push_back({"why it bounces", why_bounced(*bounced)});
  }

  [[nodiscard]] static std::string pool_text(const SwiotlbFull& full) {
    if (full.slots_total == 0) return "not told";
    std::string text = fmt::format("{} slots, {} used", full.slots_total, full.slots_used);
    const bool run_is_told = full.longest_run != 0 || full.slots_used >= full.slots_total;
    return run_is_told ? text + fmt::format(", longest free run {}", full.longest_run) : text;
  }

  [[nodiscard]] std::string why_bounced(const SwiotlbBounced& bounced) const {
    const ExplainerContext& context = scene.facts.context();
    if (bounced.force || context.is_guest)
      return "every mapping is bounced (encrypted guest, swiotlb=force or a restricted pool)";
    const bool lacks_bit = context.is_sme && (bounced.dma_mask & context.layout.mask()) == 0;
    const std::uint64_t first = bounced.dev_addr.value();
    const bool reaches = first <= bounced.dma_mask && bounced.size <= bounced.dma_mask - first;
    // dma_direct_map_phys() of 7.3 bounces in an encrypted guest, and the pool is none that forces it.
    return fmt::format("the device's mask {:#x} {}", bounced.dma_mask,
                       lacks_bit ? "does not reach the encryption bit"
                       : reaches ? "reaches the buffer: an encrypted guest, or a buffer that must not be "
                                   "mapped where it is"
                                 : "does not reach the buffer");
  }
};

}  // namespace

void find_swiotlb_causes(const Scene& scene) { std::visit(SwiotlbCauses{scene}, scene.event.payload); }

void explain_missing_pool(const Scene& scene, NameId device, const CauseRange& where,
                          const Evidence& evidence) {
  const auto& log = scene.facts.kernel_log();
  const CauseInfo* reason =
      &(scene.facts.context().is_guest ? cause("noforce-in-guest") : cause("no-bounce-pool"));
  std::string words;
  for (const CauseInfo* told : {&cause("pool-not-allocated-low-memory"), &cause("pool-asked-for-too-late")}) {
    const auto said =
        std::ranges::find_if(log, [&](const std::string& text) { return is_about(*told, text); });
    if (said == log.end()) continue;
    reason = told;
    words = *said;
    break;
  }
  Cause* const found = scene.book.open(*reason, device, where, scene.event.time_ns);
  if (found == nullptr) return;
  found->evidence = {evidence};
  if (!words.empty()) found->kernel_message = words;
}

}  // namespace cbit::watch
