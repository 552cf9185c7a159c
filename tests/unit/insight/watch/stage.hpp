// A stage for event sequences: what rooms would emit, typed by hand, with an explainer in the audience.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "watch/explainer.hpp"

namespace cbit::watch {

inline constexpr KeyId memory_key = 2;  // the platform's: a guest's, or the host's SME key
inline constexpr mem::PhysRange stage_pool{PhysAddr{0x4000'0000}, 64ull << 20};
inline constexpr PhysAddr buffer_page{0x1234'5000};
inline constexpr std::uint64_t stage_c_bit = 1ull << 47;

class Stage {
 public:
  explicit Stage(ExplainerContext context) : explainer{tracer, std::move(context)} {
    tracer.attach(explainer);
    explainer.set_bounce_pool(stage_pool);
    device = tracer.intern("0000:00:03.0");
    site = tracer.intern("driver_fill");
  }

  static ExplainerContext guest() {
    return {.platform = "sev",
            .layout = mem::KeyLayout::amd(47),
            .is_guest = true,
            .ram = {{PhysAddr{0}, 3ull << 30}}};
  }
  static ExplainerContext sme() {
    return {.platform = "sme",
            .layout = mem::KeyLayout::amd(47),
            .is_sme = true,
            .ram = {{PhysAddr{0}, 3ull << 30}}};
  }
  static ExplainerContext mktme() {
    return {.platform = "mktme",
            .layout = mem::KeyLayout::mktme(46, 6),
            .is_mktme = true,
            .ram = {{PhysAddr{0}, 3ull << 30}}};
  }
  static ExplainerContext host_of_guests() {
    return {.platform = "plain", .hosts_guests = true, .ram = {{PhysAddr{0}, 3ull << 30}}};
  }
  static ExplainerContext plain() { return {.platform = "plain", .ram = {{PhysAddr{0}, 3ull << 30}}}; }

  template <class Payload>
  void cpu(Payload payload) {
    tracer.emit(Agent{AgentKind::cpu, 0}, std::move(payload));
  }
  template <class Payload>
  void dev(Payload payload) {
    tracer.emit(Agent{AgentKind::device, 0x18}, std::move(payload));
  }
  template <class Payload>
  void host(Payload payload) {
    tracer.emit(Agent{AgentKind::host, 0}, std::move(payload));
  }
  void printk(std::string text) { cpu(KernelMessage{std::move(text)}); }

  // ---- what a driver does -----------------------------------------------------------------------------

  void map(DmaPath path, DmaAddr dma, std::uint64_t bytes = 512,
           DmaDirection direction = DmaDirection::to_device, DmaMappingKind kind = DmaMappingKind::single,
           bool encrypted = false) {
    cpu(DmaMapped{device, kind, dma, buffer_page, bytes, direction, path, encrypted});
  }
  void unmap(DmaAddr dma, std::uint64_t bytes = 512, DmaDirection direction = DmaDirection::to_device,
             bool copied_back = false) {
    cpu(DmaUnmapped{device, DmaMappingKind::single, dma, bytes, direction, copied_back});
  }
  void share(PhysAddr page, std::uint64_t pages = 1) {
    cpu(PageConversion{page, pages, false, false, tracer.intern("set_memory_decrypted")});
  }
  void make_private(PhysAddr page, std::uint64_t pages = 1) {
    cpu(PageConversion{page, pages, true, false, tracer.intern("set_memory_encrypted")});
  }

  // ---- what a device does -----------------------------------------------------------------------------

  void device_reads(DmaAddr at, PhysAddr phys, KeyId page_key, KeyId key = no_key,
                    bool through_iommu = false) {
    access(at, phys, page_key, key, through_iommu, false);
  }
  void device_writes(DmaAddr at, PhysAddr phys, KeyId page_key, KeyId key = no_key,
                     bool through_iommu = false) {
    access(at, phys, page_key, key, through_iommu, true);
  }
  void device_fault(FaultKind kind, DmaAddr at, std::uint64_t fault_address, bool write = false) {
    dev(DeviceFault{device, 0x18, at, Fault{kind, fault_address, write}});
  }

  // ---- what the audience says -------------------------------------------------------------------------

  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Cause& cause : explainer.causes()) names.emplace_back(cause.info->name);
    return names;
  }
  [[nodiscard]] const Cause& first() const { return explainer.causes().at(0); }
  [[nodiscard]] std::string evidence(std::string_view label) const {
    for (const Evidence& evidence : first().evidence)
      if (evidence.label == label) return evidence.text;
    return {};
  }

  Clock clock;
  Tracer tracer{clock};
  Explainer explainer;
  NameId device = 0;
  SiteId site = 0;

 private:
  void access(DmaAddr at, PhysAddr phys, KeyId page_key, KeyId key, bool through_iommu, bool write) {
    dev(DeviceAccess{device, 0x18, at, phys, 512, write, through_iommu, key, page_key});
  }
};

// The direct-path DMA address of the buffer, without and with the C-bit; and a slot of the pool.
inline constexpr DmaAddr raw_dma{buffer_page.value()};
inline constexpr DmaAddr encrypted_dma{buffer_page.value() | stage_c_bit};
inline constexpr DmaAddr bounce_dma{0x4000'0800};
inline constexpr PhysAddr bounce_phys{0x4000'0800};
inline constexpr DmaAddr iova{0xffff'f000};

}  // namespace cbit::watch
