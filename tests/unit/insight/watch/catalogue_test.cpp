#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "agents.hpp"
#include "stage.hpp"
#include "watch/causes.hpp"

namespace cbit::watch {
namespace {

// One run that ends in exactly this cause, and the one that stands beside it.
struct Scenario {
  std::string_view cause;
  std::string_view beside;
  ExplainerContext (*context)();
  void (*play)(Stage&);
};

void failed(Stage& s, DmaFailure reason, std::uint64_t mask = bit_mask(32), DmaAddr address = {}) {
  s.cpu(DmaMapFailed{s.device, DmaMappingKind::single, buffer_page, 512, reason, mask, address});
}

void debug_report(Stage& s, DmaDebugKind kind, const char* text) {
  s.cpu(DmaDebugReport{s.device, kind, bounce_dma, 512, text});
}

SwiotlbFull full(const Stage& s) {
  return {.device = s.device, .bytes = 4096, .slots_wanted = 2, .segment_slots = 128, .slots_total = 32768};
}

void cpu_reads_noise(Stage& s, PhysAddr page, KeyId key, KeyId writer_key, Agent writer) {
  s.cpu(KeyMismatch{page, key, writer_key, writer, s.site, s.site});
}

void negotiate(Stage& s, std::uint64_t offered, std::uint64_t accepted, std::uint8_t status) {
  s.dev(VirtioNegotiated{s.device, offered, accepted, status});
}

constexpr std::uint64_t version_1 = 1ull << 32;
constexpr std::uint64_t access_platform = 1ull << 33;

ExplainerContext guest_of_6_6() {
  ExplainerContext context = Stage::guest();
  context.swiotlb_can_grow = true;
  return context;
}

ExplainerContext behind_iommu() {
  ExplainerContext context = Stage::plain();
  context.iommu_translates = true;
  return context;
}

const Scenario key_scenarios[] = {
    {"raw-physical-address", "page-still-private", Stage::guest,
     [](Stage& s) { s.device_reads(raw_dma, buffer_page, memory_key); }},
    {"page-still-private", "", Stage::guest,
     [](Stage& s) {
       s.share(buffer_page);
       s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
       s.make_private(buffer_page);
       s.device_reads(raw_dma, buffer_page, memory_key);
     }},
    {"missing-c-bit-in-dma-address", "", Stage::sme,
     [](Stage& s) { s.device_reads(raw_dma, buffer_page, memory_key); }},
    {"encrypted-address-for-shared-page", "", Stage::sme,
     [](Stage& s) {
       s.share(buffer_page);
       s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
       s.device_reads(encrypted_dma, buffer_page, no_key, memory_key);
     }},
    {"c-bit-in-guest-dma-address", "", Stage::guest,
     [](Stage& s) { s.device_fault(FaultKind::no_memory, encrypted_dma, encrypted_dma.value()); }},
    {"contents-not-converted", "", Stage::guest,
     [](Stage& s) {
       s.share(buffer_page);
       cpu_reads_noise(s, buffer_page, no_key, memory_key, cpu0);
     }},
    {"mapped-encrypted-but-shared", "", Stage::guest,
     [](Stage& s) {
       s.share(buffer_page);
       s.cpu(ForeignWrite{buffer_page, memory_key, no_key, cpu0, s.site, 64});
     }},
    {"mapped-shared-but-private", "", Stage::sme,
     [](Stage& s) { cpu_reads_noise(s, buffer_page, no_key, memory_key, cpu0); }},
    {"page-moved-between-frames", "", Stage::guest,
     [](Stage& s) {
       s.host(KeyMismatch{PhysAddr{0x8000}, no_key, memory_key, cpu0, s.site, s.site});
       cpu_reads_noise(s, buffer_page, memory_key, no_key, Agent{AgentKind::host, 0});
     }},
    {"private-page-overwritten", "", Stage::guest,
     [](Stage& s) { cpu_reads_noise(s, buffer_page, memory_key, no_key, Agent{AgentKind::host, 0}); }},
    {"cache-alias-not-flushed", "", Stage::sme,
     [](Stage& s) { s.cpu(CacheAliasHazard{buffer_page, memory_key, no_key, true, s.site}); }},
    {"raw-physical-address", "rmp-entry-owned", Stage::guest,
     [](Stage& s) { s.device_fault(FaultKind::rmp_violation, raw_dma, buffer_page.value(), true); }},
    {"td-private-access", "", Stage::guest,
     [](Stage& s) { s.cpu(AccessFault{{FaultKind::td_integrity, buffer_page.value(), false}, s.site}); }},
    {"encrypted-mmio", "", Stage::guest,
     [](Stage& s) { s.cpu(AccessFault{{FaultKind::private_mmio, 0xc000'0000, false}, s.site}); }},
};

const Scenario api_scenarios[] = {
    {"use-after-unmap", "", Stage::plain,
     [](Stage& s) {
       s.map(DmaPath::direct, raw_dma);
       s.unmap(raw_dma);
       s.device_reads(raw_dma, buffer_page, no_key);
     }},
    {"access-outside-mapping", "", Stage::plain,
     [](Stage& s) {
       s.map(DmaPath::direct, raw_dma, 100);
       s.device_reads(raw_dma, buffer_page, no_key);
     }},
    {"wrong-direction", "", Stage::plain,
     [](Stage& s) {
       s.map(DmaPath::direct, raw_dma, 512, DmaDirection::to_device);
       s.device_writes(raw_dma, buffer_page, no_key);
     }},
    {"missing-sync", "", Stage::guest,
     [](Stage& s) {
       s.map(DmaPath::swiotlb, bounce_dma, 512, DmaDirection::from_device);
       s.device_writes(bounce_dma, bounce_phys, no_key);
       s.unmap(bounce_dma, 512, DmaDirection::from_device, false);
     }},
    {"mapping-leak", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::leak, "pending DMA allocations"); }},
    {"double-unmap", "", Stage::guest,
     [](Stage& s) {
       s.map(DmaPath::swiotlb, bounce_dma);
       s.unmap(bounce_dma);
       s.unmap(bounce_dma);
     }},
    {"unmap-of-mapping-error", "", Stage::plain,
     [](Stage& s) {
       s.cpu(DmaDebugReport{s.device, DmaDebugKind::invalid_free, dma_mapping_error, 512,
                            "invalid DMA memory address"});
     }},
    {"wrong-unmap-size", "", Stage::guest,
     [](Stage& s) {
       s.map(DmaPath::swiotlb, bounce_dma, 512);
       s.unmap(bounce_dma, 256);
     }},
    {"wrong-unmap-function", "", Stage::plain,
     [](Stage& s) {
       s.map(DmaPath::direct, raw_dma, 512, DmaDirection::to_device, DmaMappingKind::sg);
       s.unmap(raw_dma);
     }},
    {"wrong-cpu-address", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::wrong_cpu_address, "different CPU address"); }},
    {"wrong-unmap-attributes", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::wrong_attributes, "different attributes"); }},
    {"wrong-sg-count", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::wrong_sg_count, "different entry count"); }},
    {"unchecked-mapping-error", "", Stage::plain,
     [](Stage& s) { s.device_fault(FaultKind::no_memory, dma_mapping_error, dma_mapping_error.value()); }},
    {"unmappable-memory", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::invalid_memory); }},
    {"overlapping-mappings", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::overlap, "EEXIST"); }},
    {"sync-of-unmapped", "", Stage::plain,
     [](Stage& s) { s.cpu(DmaSynced{s.device, raw_dma, 64, DmaDirection::to_device, false, false}); }},
    {"sync-outside-mapping", "", Stage::plain,
     [](Stage& s) {
       s.map(DmaPath::direct, raw_dma, 512);
       s.cpu(DmaSynced{s.device, raw_dma + 500, 64, DmaDirection::to_device, false, false});
     }},
    {"private-bytes-in-shared-memory", "", Stage::guest,
     [](Stage& s) {
       s.tracer.emit({}, PrivateBytesShared{buffer_page, buffer_page + page_size, 128, cpu0});
     }},
    {"freed-while-mapped", "", Stage::plain,
     [](Stage& s) {
       s.map(DmaPath::direct, raw_dma, 512);
       s.cpu(MappedMemoryFreed{s.device, raw_dma, PhysAddr{raw_dma.value()}});
     }},
    {"sg-segment-too-long", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::segment_size, "longer"); }},
    {"sg-segment-crosses-boundary", "", Stage::plain,
     [](Stage& s) { debug_report(s, DmaDebugKind::segment_boundary, "across boundary"); }},
    {"invalid-direction", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::invalid_direction); }},
    {"invalid-mapping-size", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::invalid_size); }},
    {"attribute-conflict", "", Stage::guest, [](Stage& s) { failed(s, DmaFailure::attribute); }},
    {"not-bus-master", "", Stage::plain,
     [](Stage& s) { s.device_fault(FaultKind::bus_master_off, raw_dma, raw_dma.value()); }},
};

const Scenario mask_scenarios[] = {
    {"mask-unset", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::mask_unset, 0); }},
    {"dma-mask-below-c-bit", "", Stage::sme,
     [](Stage& s) { failed(s, DmaFailure::mask_overflow, bit_mask(40), encrypted_dma); }},
    {"buffer-beyond-mask", "", Stage::plain,
     [](Stage& s) { failed(s, DmaFailure::mask_overflow, bit_mask(24), raw_dma); }},
    {"coherent-mask-too-small", "", Stage::plain,
     [](Stage& s) { failed(s, DmaFailure::coherent_mask, bit_mask(24)); }},
    {"resource-beyond-mask", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::resource_mask); }},
    {"p2pdma-needs-bounce", "", Stage::guest, [](Stage& s) { failed(s, DmaFailure::p2pdma_bounce); }},
    {"dma-address-beyond-device", "", Stage::sme,
     [](Stage& s) { s.device_fault(FaultKind::address_width, encrypted_dma, encrypted_dma.value()); }},
    {"no-memory-at-address", "", Stage::plain,
     [](Stage& s) { s.device_fault(FaultKind::no_memory, DmaAddr{0xdead'0000'0000}, 0xdead'0000'0000); }},
    {"allocation-failed", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::no_memory); }},
    {"atomic-pool-empty", "", Stage::guest, [](Stage& s) { failed(s, DmaFailure::atomic_pool_empty); }},
    {"conversion-failed-page-leaked", "", Stage::guest,
     [](Stage& s) { failed(s, DmaFailure::conversion_failed); }},
};

const Scenario iommu_scenarios[] = {
    {"untrusted-mmio-unaligned", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::mmio_unaligned); }},
    {"iopte-without-c-bit", "", Stage::sme,
     [](Stage& s) {
       s.map(DmaPath::iommu, iova);
       s.device_reads(iova, buffer_page, memory_key, no_key, true);
     }},
    {"untrusted-bounce-encrypted-iopte", "", Stage::sme,
     [](Stage& s) {
       s.map(DmaPath::iommu, iova, 512, DmaDirection::to_device, DmaMappingKind::single, true);
       s.device_reads(iova, bounce_phys, no_key, memory_key, true);
     }},
    {"guest-iommu-skips-bounce", "", Stage::guest,
     [](Stage& s) {
       s.map(DmaPath::iommu, iova);
       s.device_reads(iova, buffer_page, memory_key, no_key, true);
     }},
    {"raw-gpa-behind-iommu", "", Stage::plain,
     [](Stage& s) { s.device_fault(FaultKind::iommu_not_present, raw_dma, raw_dma.value()); }},
    {"no-translation", "", Stage::plain,
     [](Stage& s) { s.device_fault(FaultKind::iommu_not_present, iova, iova.value()); }},
    {"malformed-iopte", "", Stage::sme,
     [](Stage& s) { s.device_fault(FaultKind::iommu_reserved_bit, iova, iova.value()); }},
    {"endpoint-in-no-domain", "", Stage::plain,
     [](Stage& s) {
       s.dev(VirtioIommuFault{1, 0x100, 0x18, iova});
       s.device_fault(FaultKind::iommu_no_domain, iova, iova.value());
     }},
    {"dma-before-viommu-ready", "", Stage::plain,
     [](Stage& s) { s.device_fault(FaultKind::iommu_no_domain, raw_dma, raw_dma.value()); }},
    {"iova-exhausted", "", Stage::sme, [](Stage& s) { failed(s, DmaFailure::iova_exhausted); }},
    {"iommu-map-refused", "", Stage::sme, [](Stage& s) { failed(s, DmaFailure::iommu_map); }},
    {"guest-iommu-cannot-share", "", Stage::guest,
     [](Stage& s) { failed(s, DmaFailure::iommu_cannot_share); }},
};

const Scenario swiotlb_scenarios[] = {
    {"request-over-segment-limit", "", Stage::guest,
     [](Stage& s) {
       SwiotlbFull event = full(s);
       event.bytes = 2097152;
       event.slots_wanted = 1024;
       event.slots_used = 564;
       event.longest_run = 128;
       s.cpu(event);
     }},
    {"pool-exhausted", "", Stage::guest,
     [](Stage& s) {
       SwiotlbFull event = full(s);
       event.slots_used = 32767;
       event.longest_run = 1;
       s.cpu(event);
     }},
    {"pool-exhausted", "growth-off", guest_of_6_6,
     [](Stage& s) {
       SwiotlbFull event = full(s);
       event.slots_used = 32767;
       event.longest_run = 1;
       s.cpu(event);
     }},
    {"no-aligned-run", "", Stage::guest,
     [](Stage& s) {
       SwiotlbFull event = full(s);
       event.slots_used = 16384;
       event.longest_run = 1;
       s.cpu(event);
     }},
    {"slot-search-never-ends", "", Stage::guest,
     [](Stage& s) {
       SwiotlbFull event = full(s);
       event.endless_search = true;
       s.cpu(event);
     }},
    {"sleep-in-atomic-on-flip", "", Stage::sme,
     [](Stage& s) {
       s.printk(
           "BUG: sleeping function called from invalid context at kernel/locking/mutex.c, in_atomic(): 1");
     }},
    {"alias-free-mismatch", "", Stage::guest,
     [](Stage& s) {
       s.cpu(PageConversion{buffer_page, 32, false, false, s.tracer.intern("atomic_pool_expand")});
       s.cpu(PageConversion{buffer_page, 1, true, false, s.tracer.intern("swiotlb_dyn_free")});
     }},
    {"pool-not-allocated-low-memory", "", Stage::guest,
     [](Stage& s) {
       s.printk("software IO TLB: swiotlb_memblock_alloc: Failed to allocate 1048576 bytes tlb structure");
       failed(s, DmaFailure::no_pool);
     }},
    {"pool-asked-for-too-late", "", Stage::guest,
     [](Stage& s) {
       s.printk("software IO TLB: No low mem");
       s.map(DmaPath::direct, encrypted_dma);
     }},
    {"pool-address-as-struct-page", "", Stage::guest,
     [](Stage& s) {
       s.cpu(DmaPagesReturned{s.device, buffer_page, VirtAddr{0xffff'8880'0001'0000},
                              VirtAddr{0xffff'ea00'0000'0400}, raw_dma, 4096});
     }},
    {"no-bounce-pool", "", Stage::plain, [](Stage& s) { failed(s, DmaFailure::no_pool); }},
    {"bounce-pool-not-private", "", Stage::guest, [](Stage& s) { failed(s, DmaFailure::pool_not_private); }},
    {"noforce-in-guest", "", Stage::guest, [](Stage& s) { s.map(DmaPath::direct, encrypted_dma); }},
    {"pool-out-of-mask", "", Stage::plain,
     [](Stage& s) { failed(s, DmaFailure::pool_beyond_mask, bit_mask(30), bounce_dma); }},
    {"slot-leak", "", Stage::guest,
     [](Stage& s) {
       s.map(DmaPath::swiotlb, bounce_dma);
       s.explainer.finish();
     }},
    {"double-bounce", "", Stage::guest,
     [](Stage& s) { s.cpu(SwiotlbAllocated{s.device, 8, 1, 0, PhysAddr{0x4000'4000}, bounce_phys}); }},
    {"untrusted-bounce-zeroed", "", Stage::plain,
     [](Stage& s) {
       s.cpu(SwiotlbAllocated{s.device, 8, 1, 0, bounce_phys, buffer_page});
       s.cpu(SwiotlbCleared{s.device, buffer_page, bounce_phys, 4096});
       s.map(DmaPath::iommu, iova, 512, DmaDirection::from_device);
       s.unmap(iova, 512, DmaDirection::from_device, true);
     }},
    {"sync-dropped-negative-offset", "", Stage::guest,
     [](Stage& s) { s.cpu(SwiotlbDropped{bounce_phys, 64, true}); }},
};

const Scenario virtio_scenarios[] = {
    {"flag-not-offered", "", Stage::guest, [](Stage& s) { negotiate(s, version_1, version_1, 0x83); }},
    {"flag-not-acked", "", Stage::plain,
     [](Stage& s) { negotiate(s, version_1 | access_platform, version_1, 0x03); }},
    {"legacy-virtio", "", Stage::guest, [](Stage& s) { negotiate(s, 0, 0, 0x83); }},
    {"device-refuses-features", "", Stage::plain,
     [](Stage& s) { negotiate(s, version_1, version_1 | 1, 0x03); }},
    {"malformed-descriptor", "", Stage::plain,
     [](Stage& s) { s.dev(VirtioBroken{s.device, 0, "a loop of descriptors"}); }},
    {"iommu-bypassed", "", behind_iommu, [](Stage& s) { negotiate(s, version_1, version_1, 0x0f); }},
    {"forged-descriptor", "", Stage::plain, [](Stage& s) { s.printk("req.0:id 77 is not a head!"); }},
};

void refused(Stage& s, std::string_view reason) {
  s.dev(RdmaRefused{s.device, 2, 0x100, 0x7000'0000, 64, reason});
}

const Scenario rdma_scenarios[] = {
    {"mr-on-private-memory", "", Stage::guest,
     [](Stage& s) {
       s.cpu(MrRegistered{.device = s.device,
                          .lkey = 0x100,
                          .rkey = 0x100,
                          .first = VirtAddr{0x7000'0000},
                          .dma = bounce_dma,
                          .bytes = 4096,
                          .segments = 1,
                          .path = DmaPath::swiotlb});
       s.cpu(MrDeregistered{s.device, 0x100, 4096});
     }},
    {"mr-refused-cc-dma-bounce", "", Stage::guest,
     [](Stage& s) { s.cpu(MrRefused{s.device, VirtAddr{0x7000'0000}, 4096, 95, "cc-dma-bounce"}); }},
    {"request-over-segment-limit", "mr-segment-over-swiotlb-limit", Stage::guest,
     [](Stage& s) {
       SwiotlbFull over = full(s);
       over.bytes = 512 * 1024;
       over.slots_wanted = 256;
       s.cpu(over);
       s.cpu(MrRefused{s.device, VirtAddr{0x7000'0000}, 512 * 1024, 5, "map"});
     }},
    {"memlock-exceeded", "", Stage::plain,
     [](Stage& s) { s.cpu(MrRefused{s.device, VirtAddr{0x7000'0000}, 1 << 30, 12, "memlock"}); }},
    {"forged-rkey", "", Stage::plain, [](Stage& s) { refused(s, "remote-key"); }},
    {"mr-out-of-bounds", "", Stage::plain, [](Stage& s) { refused(s, "bounds"); }},
    {"rdma-access-denied", "", Stage::plain, [](Stage& s) { refused(s, "access-rights"); }},
    {"invalid-lkey", "", Stage::plain, [](Stage& s) { refused(s, "local-key"); }},
    {"malformed-rdma-packet", "", Stage::plain, [](Stage& s) { refused(s, "malformed-packet"); }},
    {"cq-overrun", "", Stage::plain, [](Stage& s) { refused(s, "cq-overrun"); }},
};

const Scenario graphics_scenarios[] = {
    {"conflicting-encryption-alias", "", Stage::guest,
     [](Stage& s) {
       s.share(buffer_page);
       s.cpu(MappingAdded{"vmap", VirtAddr{0xffff'c900'0000'0000}, buffer_page, 1, true, s.site});
     }},
    {"tt-pages-bounced", "", Stage::guest,
     [](Stage& s) {
       s.cpu(TtPopulated{s.device, 1, "cached", false, false});
       s.map(DmaPath::swiotlb, bounce_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::page);
     }},
};

const Scenario mktme_scenarios[] = {
    {"key-id-lost-in-dma-address", "", Stage::mktme,
     [](Stage& s) {
       s.cpu(PageKeyChanged{buffer_page, 0, 5, s.site});
       s.device_reads(raw_dma, buffer_page, 5);
     }},
    {"dma-mask-below-key-id", "", Stage::mktme,
     [](Stage& s) {
       failed(s, DmaFailure::mask_overflow, bit_mask(46), DmaAddr{buffer_page.value() | 5ull << 46});
     }},
    {"contents-lost-by-encrypt-mprotect", "", Stage::mktme,
     [](Stage& s) { s.cpu(VmaKeyChanged{VirtAddr{0x7f00'0000'0000}, 4096, 0, 5, 1}); }},
    {"no-free-key-id", "", Stage::mktme,
     [](Stage& s) { s.cpu(KeyRequestRefused{"add_key", 126, "no-free-key-id"}); }},
    {"key-payload-refused", "", Stage::mktme,
     [](Stage& s) { s.cpu(KeyRequestRefused{"add_key", 22, "unknown-type"}); }},
    {"key-programming-failed", "", Stage::mktme,
     [](Stage& s) {
       s.cpu(KeyProgrammed{5, "no-encrypt", 4});
       s.printk("mktme: Invalid encryption algorithm chosen");
       s.cpu(KeyRequestRefused{"add_key", 126, "pconfig-failed"});
     }},
    {"memory-not-encryptable", "", Stage::mktme,
     [](Stage& s) { s.cpu(KeyRequestRefused{"encrypt_mprotect", 22, "not-anonymous"}); }},
    {"swapped-in-elsewhere", "", Stage::sme,
     [](Stage& s) { s.cpu(FrameCopied{buffer_page, buffer_page + page_size, page_size, "swap-in"}); }},
    {"page-not-movable", "", Stage::sme,
     [](Stage& s) { s.cpu(PageMoveRefused{buffer_page, "migration", "pinned"}); }},
    {"discard-vs-pinned", "", Stage::plain,
     [](Stage& s) {
       s.cpu(PageDiscarded{VirtAddr{0x7f00'0000'0000}, PhysAddr{0x9000}, 0});
       s.cpu(PageDiscarded{VirtAddr{0x7f00'0000'0000}, buffer_page, 1});
     }},
};

constexpr KeyId first_guest = mem::guest_key(1);
constexpr KeyId second_guest = mem::guest_key(2);

void firmware(Stage& s, std::string_view command, std::uint32_t status) {
  s.host(SevCommand{command, 1, 0, status});
}

const Scenario host_scenarios[] = {
    {"guest-memory-is-encrypted", "", Stage::host_of_guests,
     [](Stage& s) { cpu_reads_noise(s, buffer_page, no_key, first_guest, cpu0); }},
    {"plain-page-read-as-private", "", Stage::host_of_guests,
     [](Stage& s) { cpu_reads_noise(s, buffer_page, first_guest, no_key, cpu0); }},
    {"guest-page-remapped", "", Stage::host_of_guests,
     [](Stage& s) { cpu_reads_noise(s, buffer_page, first_guest, second_guest, cpu0); }},
    {"asid-exhausted", "", Stage::host_of_guests,
     [](Stage& s) { s.cpu(KeyRequestRefused{"KVM_SEV_INIT", 16, "asid-exhausted"}); }},
    {"df-flush-required", "", Stage::host_of_guests, [](Stage& s) { firmware(s, "ACTIVATE", 15); }},
    {"policy-forbids-debug", "", Stage::host_of_guests, [](Stage& s) { firmware(s, "DBG_DECRYPT", 7); }},
    {"transport-not-authentic", "", Stage::host_of_guests,
     [](Stage& s) { firmware(s, "LAUNCH_SECRET", 11); }},
    {"iommu-passthrough-forbids-snp", "", Stage::host_of_guests,
     [](Stage& s) {
       s.printk("AMD-Vi: SNP: IOMMU disabled or configured in passthrough mode, SNP cannot be supported.");
     }},
    {"sme-beside-tsme", "", Stage::sme,
     [](Stage& s) {
       s.printk("psp: Both TSME and SME are active, SME is unnecessary when TSME is active.");
     }},
    {"rmp-not-reserved", "", Stage::host_of_guests,
     [](Stage& s) { s.printk("SEV-SNP: Memory for the RMP table has not been reserved by BIOS"); }},
    {"memory-encryption-off-in-firmware", "", Stage::plain,
     [](Stage& s) { s.printk("ccp 0000:45:00.1: SEV: memory encryption not enabled by BIOS"); }},
    {"secure-processor-failed", "", Stage::host_of_guests,
     [](Stage& s) { s.printk("ccp 0000:45:00.1: SEV: failed to INIT error 0x1, rc -5"); }},
    {"sme-hides-iommu", "", Stage::sme,
     [](Stage& s) { s.printk("AMD-Vi: IOMMU not currently supported when SME is active"); }},
    {"tdx-module-failed", "", Stage::plain, [](Stage& s) { s.printk("virt/tdx: module not loaded"); }},
    {"memlock-exceeded", "", Stage::host_of_guests,
     [](Stage& s) { s.cpu(RegionPinned{VirtAddr{0x7f00'0000'0000}, 9, 0, true, 12}); }},
};

std::vector<Scenario> scenarios() {
  std::vector<Scenario> all;
  for (const std::span<const Scenario> topic : {std::span<const Scenario>{key_scenarios},
                                                {api_scenarios},
                                                {mask_scenarios},
                                                {iommu_scenarios},
                                                {swiotlb_scenarios},
                                                {virtio_scenarios},
                                                {rdma_scenarios},
                                                {graphics_scenarios},
                                                {mktme_scenarios},
                                                {host_scenarios}})
    all.insert(all.end(), topic.begin(), topic.end());
  return all;
}

TEST(Catalogue, EachScenarioEndsInItsCausesAndNoOther) {
  for (const Scenario& scenario : scenarios()) {
    SCOPED_TRACE(scenario.cause);
    Stage stage{scenario.context()};
    scenario.play(stage);
    std::vector<std::string> expected{std::string{scenario.cause}};
    if (!scenario.beside.empty()) expected.emplace_back(scenario.beside);
    EXPECT_EQ(stage.names(), expected);
    if (stage.explainer.causes().empty()) continue;
    EXPECT_FALSE(stage.first().evidence.empty() && stage.first().kernel_message.empty());
    EXPECT_FALSE(stage.first().remedies.empty());
  }
}

TEST(Catalogue, HoldsNoCauseWithoutAScenario) {
  std::set<std::string_view> derived;
  for (const Scenario& scenario : scenarios()) derived.insert({scenario.cause, scenario.beside});
  for (const CauseInfo& info : cause_catalogue()) EXPECT_TRUE(derived.contains(info.name)) << info.name;
}

TEST(Catalogue, NamesAreUniqueKebabCaseAndEveryRowIsComplete) {
  std::set<std::string_view> names;
  for (const CauseInfo& info : cause_catalogue()) {
    SCOPED_TRACE(info.name);
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_THAT(std::string{info.name}, testing::MatchesRegex("[a-z0-9]+(-[a-z0-9]+)*"));
    for (const std::string_view text : {info.topic, info.title, info.meaning, info.source})
      EXPECT_FALSE(text.empty());
    for (const Remedy& remedy : info.remedies) EXPECT_TRUE(remedy.text.ends_with('.')) << remedy.text;
    EXPECT_TRUE(info.title.ends_with('.'));
  }
}

constexpr spec::KernelRelease releases[] = {{5, 4},  {6, 1},  {6, 6}, {6, 10},
                                            {6, 12}, {6, 19}, {7, 1}, {7, 3}};

TEST(Catalogue, HasARemedyForEveryKernelAndReader) {
  for (const CauseInfo& info : cause_catalogue())
    for (const spec::KernelRelease& release : releases)
      for (const auto& [word, reader] : reader_words) {
        const auto found = remedies_for(info.remedies, {.reader = reader, .kernel = release});
        ASSERT_FALSE(found.empty()) << info.name;
        const bool has = std::ranges::any_of(found, [&](const Remedy& r) { return r.reader == reader; });
        EXPECT_EQ(found.front().reader == reader, has) << info.name << " for the " << word;
      }
}

// What only newer kernels have is not advised for older ones, nor to use a kernel that is older than this.
TEST(Catalogue, AdvisesOnlyWhatTheKernelHas) {
  constexpr std::pair<std::string_view, spec::KernelRelease> came_with[] = {
      {"SWIOTLB_DYNAMIC", {6, 6}}, {"system_cc_shared", {7, 1}}, {"ibv_alloc_buf", {7, 1}}};
  for (const CauseInfo& info : cause_catalogue()) {
    if (info.name == "growth-off" || info.name == "mr-refused-cc-dma-bounce")
      continue;  // of such kernels alone
    for (const spec::KernelRelease& release : releases)
      for (const Remedy& remedy : remedies_for(info.remedies, {.kernel = release})) {
        for (const auto& [words, first] : came_with)
          EXPECT_FALSE(remedy.text.find(words) != std::string_view::npos && release < first)
              << info.name << ": " << remedy.text;
        const std::size_t use = remedy.text.find("Use Linux ");
        if (use == std::string_view::npos) continue;
        const auto wanted = spec::parse_release(remedy.text.substr(use + 10));
        ASSERT_TRUE(wanted.has_value());
        EXPECT_LT(release, *wanted) << info.name;
      }
  }
}

TEST(Remedies, OfADriverReplaceTheReadersOthers) {
  const RemedyList& all = find_cause("flag-not-offered")->remedies;
  const auto first = [&](std::string_view driver) {
    return remedies_for(all, {.reader = Reader::system_operator, .driver = driver}).front().text;
  };
  EXPECT_NE(first("virtio_net").find("iommu_platform=on"), std::string_view::npos);
  EXPECT_NE(first("virtiofs").find("9p"), std::string_view::npos);
  for (const Remedy& remedy : remedies_for(all, {.driver = "virtiofs"}))
    EXPECT_EQ(remedy.text.find("iommu_platform=on"), std::string_view::npos) << remedy.text;
}

TEST(Catalogue, TopicsAreNotTornApart) {
  std::set<std::string_view> seen;
  std::string_view topic;
  for (const CauseInfo& info : cause_catalogue()) {
    if (info.topic == topic) continue;
    topic = info.topic;
    EXPECT_TRUE(seen.insert(topic).second) << topic;
  }
}

TEST(Catalogue, FindsByNameAndOnlyThat) {
  ASSERT_NE(find_cause("slot-leak"), nullptr);
  EXPECT_EQ(find_cause("slot-leak")->name, "slot-leak");
  EXPECT_EQ(find_cause("slot-lea"), nullptr);
  EXPECT_EQ(find_cause(""), nullptr);
}

TEST(Catalogue, RecognisesLinuxsWordsByAnyAlternative) {
  const CauseInfo& forged = *find_cause("forged-descriptor");
  EXPECT_TRUE(is_about(forged, "req.0:id 300 out of range"));
  EXPECT_TRUE(is_about(forged, "req.0:id 3 is not a head!"));
  EXPECT_FALSE(is_about(forged, "swiotlb buffer is full"));
  EXPECT_FALSE(is_about(*find_cause("raw-physical-address"), "anything"));
}

// docs/causes.md is `cbit causes --markdown`; write it again after a change of the table.
TEST(Catalogue, DocumentIsUpToDate) {
  std::ifstream file{"docs/causes.md"};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  EXPECT_EQ(text, catalogue_markdown());
}

}  // namespace
}  // namespace cbit::watch
