#include "linux/probes/context.hpp"

#include <algorithm>

namespace cbit::linux {
namespace {

constexpr std::size_t device_names_max = 4096;
constexpr std::size_t sites_max = 1 << 16;
constexpr std::size_t domains_max = 0xffff;
constexpr std::size_t frames_max = 16;
constexpr std::uint64_t direct_map_bytes_max = 1ull << 52;

// Between a driver and the mapping of its buffer: kernel/dma, drivers/iommu, drivers/virtio/virtio_ring.c,
// the block layer's helpers, and what allocates from dma_alloc_attrs() for others.
constexpr std::string_view dma_helpers[] = {
    "dma_",       "__dma_",     "dmam_", "swiotlb_", "__swiotlb_",   "iommu_", "__iommu_",     "vring_",
    "virtqueue_", "pci_alloc_", "blk_",  "__blk_",   "scsi_dma_map", "sg_",    "atomic_pool_", "gen_pool_",
};
constexpr std::string_view conversion_helpers[] = {"set_memory_", "__set_memory_", "early_set_memory_"};

bool begins_with_any(std::string_view function, std::span<const std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return function.starts_with(prefix); });
}

}  // namespace

Notes::Notes() = default;
Notes::~Notes() = default;

// ---- names -----------------------------------------------------------------------------------------------

NameId ProbeContext::name_of(std::string_view device) {
  if (device.empty()) return 0;
  const auto known = names_.find(device);
  if (known != names_.end()) return known->second;
  if (names_.size() == device_names_max) return 0;
  return names_.emplace(device, tracer_->intern(device)).first->second;
}

NameId ProbeContext::name_of(const CallView& c, VirtAddr device) {
  return name_of(device_name(peek(c), device));
}

SiteId ProbeContext::site_of(VirtAddr ip, bool called) {
  const auto known = sites_.find(ip);
  if (known != sites_.end()) return known->second;
  const auto place = running_->locate(called ? ip - 1 : ip);
  if (!place || sites_.size() == sites_max) return 0;
  return sites_.emplace(ip, tracer_->intern(running_->describe_with_line(ip, called))).first->second;
}

void ProbeContext::forget_sites(const Module& module) {
  std::erase_if(sites_, [&](const auto& site) { return module.has_code(site.first); });
}

SiteId ProbeContext::caller_outside(const CallView& c, std::span<const std::string_view> helpers,
                                    std::string_view module) {
  std::optional<VirtAddr> first, own;
  std::size_t frames = 0;
  const auto look = [&](const Frame& frame) {
    ++frames;
    const auto place = frame.called ? running_->locate(frame.ip - 1) : std::nullopt;
    if (!place || begins_with_any(place->function, helpers)) return true;
    if (!first) first = frame.ip;
    if (!module.empty() && place->module == module) own = frame.ip;
    return !module.empty() && !own;
  };
  walk_stack(c.cpu(), *running_, frames_max, look);
  if (frames == 1)  // there are no unwind tables for this code
    for (const Frame& frame : scan_stack(c.cpu(), *running_, frames_max))
      if (!look(frame)) break;
  const auto found = own ? own : first;
  return found ? site_of(*found, true) : 0;
}

SiteId ProbeContext::caller_of_dma(const CallView& c, VirtAddr device) {
  const Peek reader = peek(c);
  const auto driver = reader.pointer(device, Field::device_driver);
  const auto owner = driver ? reader.pointer(*driver, Field::driver_owner) : std::nullopt;
  const Module* const module = owner ? running_->modules().at(*owner) : nullptr;
  return caller_outside(c, dma_helpers,
                        module != nullptr ? std::string_view{module->name} : std::string_view{});
}

SiteId ProbeContext::caller_of_conversion(const CallView& c) {
  return caller_outside(c, conversion_helpers, {});
}

// ---- addresses -------------------------------------------------------------------------------------------

std::uint64_t ProbeContext::encryption_mask(const CallView& c) const {
  return running_->variable(c.memory(), "sme_me_mask").value_or(0);
}

std::optional<PhysAddr> ProbeContext::phys_of_page(const CpuView& cpu, VirtAddr page) const {
  const auto base = running_->variable(*cpu.memory, "vmemmap_base");
  const auto bytes = running_->kernel().fields()[Stride::page];
  if (!base || !bytes || *bytes == 0 || page.value() < *base || (page.value() - *base) % *bytes != 0)
    return std::nullopt;
  const std::uint64_t number = (page.value() - *base) / *bytes;
  if (number >= direct_map_bytes_max / page_size) return std::nullopt;
  return PhysAddr{number * page_size};
}

std::optional<PhysAddr> ProbeContext::phys_of_direct_map(const CpuView& cpu, VirtAddr at) const {
  const auto base = running_->variable(*cpu.memory, "page_offset_base");
  if (!base || at.value() < *base || at.value() - *base >= direct_map_bytes_max) return std::nullopt;
  return PhysAddr{at.value() - *base};
}

bool ProbeContext::in_direct_map(const CallView& c, VirtAddr at, PhysAddr phys) const {
  return phys_of_direct_map(c.cpu(), at) == phys;
}

bool ProbeContext::in_image(VirtAddr at) const {
  const auto first = running_->address_of("_text");
  const auto end = running_->address_of("_end");
  return first && end && *first <= at && at < *end;
}

// drivers/iommu/amd/io_pgtable.c: iommu_v1_map_pages().
bool ProbeContext::iommu_encrypts(const CallView& c) const {
  return running_->kernel().symbols().count("amd_iommu_ops") != 0 && encryption_mask(c) != 0;
}

std::uint16_t ProbeContext::domain(VirtAddr at) {
  const auto known = domains_.find(at);
  if (known != domains_.end()) return known->second;
  if (domains_.size() == domains_max) return 0;
  return domains_.emplace(at, static_cast<std::uint16_t>(domains_.size() + 1)).first->second;
}

void ProbeContext::note_pool(const BouncePool& pool) {
  if (std::ranges::find(pools_, pool.start()) != pools_.end()) return;
  pools_.push_back(pool.start());
  observer_->pool_found(pool.start(), pool.end() - pool.start());
}

// A record of the log may have several lines, which dmesg shows as such.
void ProbeContext::end_line() {
  if (!open_line) return;
  const OpenLine line = *std::exchange(open_line, std::nullopt);
  std::string_view rest = line.text;
  for (std::size_t end = 0; end != rest.npos; rest.remove_prefix(std::min(rest.size(), end + 1))) {
    end = rest.find('\n');
    const std::string_view text = rest.substr(0, end);
    if (!text.empty()) tracer_->emit(line.agent, KernelMessage{std::string{text}});
    if (end == rest.npos) break;
  }
}

}  // namespace cbit::linux
