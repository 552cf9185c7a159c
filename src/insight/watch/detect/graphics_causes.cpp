#include <algorithm>

#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

std::string describe(const Scene& scene, const Alias& alias) {
  return fmt::format("{} at {} {} the encryption bit, by {} in {} at {} ns", alias.kind, alias.at,
                     alias.encrypted ? "with" : "without", agent_name(alias.agent),
                     scene.facts.name(alias.site), alias.time_ns);
}

struct GraphicsCauses {
  const Scene& scene;

  // Memory that is not in the direct map has nothing to agree with: device memory is reported when it is
  // reached with the bit (encrypted-mmio).
  void operator()(const MappingAdded& mapping) const {
    if (!has_attribute()) return;
    const Alias alias{mapping.kind, mapping.at,        mapping.encrypted,
                      mapping.site, scene.event.agent, scene.event.time_ns};
    for (std::uint64_t i = 0; i < mapping.pages; ++i) {
      const PhysAddr page = mapping.first + i * page_size;
      if (scene.facts.is_shared(page) != mapping.encrypted || !scene.facts.in_ram(page.value())) continue;
      Alias here = alias;
      here.at += i * page_size;
      conflict(page, here, {"direct map", describe_attribute(scene.facts, page)});
    }
  }

  void operator()(const PageConversion& conversion) const {
    if (!has_attribute()) return;
    const auto other = scene.facts.aliases().find(conversion.first, conversion.pages, !conversion.encrypted);
    if (!other) return;
    conflict(other->page, other->alias,
             {"direct map", fmt::format("{} is made {} by {} in {}", other->page,
                                        conversion.encrypted ? "private" : "shared",
                                        agent_name(scene.event.agent), scene.facts.name(conversion.site))});
  }

  // Pages that TTM mapped itself, when the buffer is complete.
  void operator()(const TtPopulated& tt) const {
    if (tt.dma_alloc) return;
    scene.facts.mappings().for_each_active([&](const Mapping& mapping) {
      if (mapping.call.device == tt.device) streaming(mapping.call, mapping.bounced);
    });
  }

  // Pages that the driver maps afterwards.
  void operator()(const DmaMapped& mapped) const {
    if (scene.facts.populates_for_streaming(mapped.device))
      streaming(mapped, mapped.path == DmaPath::swiotlb);
  }

  void operator()(const auto&) const {}

  [[nodiscard]] bool has_attribute() const {
    const ExplainerContext& context = scene.facts.context();
    return context.layout.mask() != 0 && (context.is_guest || context.is_sme);
  }

  void conflict(PhysAddr page, const Alias& alias, const Evidence& direct_map) const {
    Cause* const found =
        scene.book.open(cause("conflicting-encryption-alias"), 0, pages_of(page, 1), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"mapping", describe(scene, alias)}, direct_map};
    if (const auto other = scene.facts.aliases().find(page, 1, !alias.encrypted))
      found->evidence.push_back({"other mapping", describe(scene, other->alias)});
  }

  void streaming(const DmaMapped& mapped, bool bounced) const {
    if (!bounced || mapped.direction != DmaDirection::bidirectional) return;
    Cause* const found = scene.book.open(cause("tt-pages-bounced"), mapped.device, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {
        {"mapping", fmt::format("{} of {} bytes at {} for {}, bidirectional, bounced",
                                stable_name(mapped.kind), mapped.bytes, mapped.dma, mapped.phys)}};
  }
};

}  // namespace

void find_graphics_causes(const Scene& scene) { std::visit(GraphicsCauses{scene}, scene.event.payload); }

}  // namespace cbit::watch
