#include "cbit/sandbox.hpp"

#include <fmt/format.h>

#include <map>
#include <new>
#include <stdexcept>

#include "api/bed.hpp"
#include "api/problems.hpp"
#include "base/assert.hpp"
#include "testbed/testbed.hpp"

namespace cbit {
namespace {

testbed::TestbedConfig testbed_config(const Sandbox::Options& options) {
  testbed::TestbedConfig config = api::bed_config(options);
  if (!options.swiotlb.empty())
    config.dma.swiotlb = api::value_or_throw(kernel::parse_swiotlb(options.swiotlb));
  return config;
}

std::uint64_t pages_of(std::uint64_t bytes) {
  return (std::max<std::uint64_t>(bytes, 1) + page_size - 1) / page_size;
}

}  // namespace

struct Sandbox::Impl {
  std::unique_ptr<testbed::Testbed> bed;
  std::vector<testbed::TestDevice> devices;
  std::map<VirtAddr, std::uint64_t> allocations;  // first byte to pages
  SiteId driver_site = 0;

  [[nodiscard]] paging::Mmu& cpu() const {
    paging::Mmu& cpu = bed->kernel().cpu(0);
    cpu.set_site(driver_site);
    return cpu;
  }
  [[nodiscard]] kernel::Dma& dma() const { return bed->kernel().dma(); }
  [[nodiscard]] testbed::TestDevice& device(DeviceId id) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= devices.size()) throw std::invalid_argument{"there is no such device in this Sandbox"};
    return devices[index];
  }
};

Sandbox::Sandbox(const Options& options) : impl_{std::make_unique<Impl>()} {
  impl_->bed = api::make_bed(testbed_config(options));
  impl_->driver_site = impl_->bed->tracer().intern("driver");
}

Sandbox::~Sandbox() = default;
Sandbox::Sandbox(Sandbox&&) noexcept = default;

Sandbox::DeviceId Sandbox::add_device(const DeviceOptions& options) {
  impl_->devices.push_back(
      api::value_or_throw(impl_->bed->add_device({.name = options.name,
                                                  .mask_bits = options.mask_bits,
                                                  .coherent_mask_bits = options.coherent_mask_bits,
                                                  .min_align_mask = options.min_align_mask,
                                                  .max_segment_size = options.max_segment_size,
                                                  .untrusted = options.untrusted})));
  return static_cast<DeviceId>(impl_->devices.size() - 1);
}

VirtAddr Sandbox::kmalloc(std::uint64_t bytes) {
  const auto at = impl_->bed->kernel().mm().alloc_pages(pages_of(bytes));
  if (!at) throw std::bad_alloc{};
  impl_->allocations.emplace(*at, pages_of(bytes));
  write(*at, std::vector<std::byte>(pages_of(bytes) * page_size));
  return *at;
}

void Sandbox::kfree(VirtAddr at) {
  const auto found = impl_->allocations.find(at);
  if (found == impl_->allocations.end())
    throw std::invalid_argument{"kfree of an address that kmalloc did not return"};
  impl_->bed->kernel().mm().free_pages(at, found->second);
  impl_->allocations.erase(found);
}

std::vector<std::byte> Sandbox::read(VirtAddr from, std::size_t bytes) {
  auto out = api::room_for(*impl_->bed, bytes);
  if (!out || !impl_->cpu().read(from, *out))
    throw std::invalid_argument{"read of an address that the kernel has not mapped"};
  return *std::move(out);
}

void Sandbox::write(VirtAddr to, std::span<const std::byte> bytes) {
  if (!impl_->cpu().write(to, bytes))
    throw std::invalid_argument{"write to an address that the kernel has not mapped"};
}

PhysAddr Sandbox::virt_to_phys(VirtAddr at) const {
  const kernel::Mm& mm = impl_->bed->kernel().mm();
  if (!mm.in_direct_map(at)) throw std::invalid_argument{"virt_to_phys of an address outside the direct map"};
  return mm.virt_to_phys(at);
}

DmaAddr Sandbox::dma_map_single(DeviceId device, VirtAddr at, std::uint64_t bytes, DmaDirection direction,
                                DmaAttrs attrs) {
  return impl_->dma().map_single(impl_->cpu(), impl_->device(device).driver, at, bytes, direction, attrs);
}

void Sandbox::dma_unmap_single(DeviceId device, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                               DmaAttrs attrs) {
  impl_->dma().unmap_single(impl_->cpu(), impl_->device(device).driver, dma, bytes, direction, attrs);
}

bool Sandbox::dma_mapping_failed(DeviceId device, DmaAddr dma) {
  return impl_->dma().mapping_error(impl_->device(device).driver, dma);
}

void Sandbox::dma_sync_single_for_cpu(DeviceId device, DmaAddr dma, std::uint64_t bytes,
                                      DmaDirection direction) {
  impl_->dma().sync_single_for_cpu(impl_->cpu(), impl_->device(device).driver, dma, bytes, direction);
}

void Sandbox::dma_sync_single_for_device(DeviceId device, DmaAddr dma, std::uint64_t bytes,
                                         DmaDirection direction) {
  impl_->dma().sync_single_for_device(impl_->cpu(), impl_->device(device).driver, dma, bytes, direction);
}

namespace {

std::vector<kernel::ScatterEntry> entries_of(const kernel::Mm& mm,
                                             std::span<const Sandbox::Segment> segments) {
  std::vector<kernel::ScatterEntry> entries;
  for (const Sandbox::Segment& segment : segments) {
    if (!mm.in_direct_map(segment.at)) throw std::invalid_argument{"a segment lies outside the direct map"};
    entries.push_back({.phys = mm.virt_to_phys(segment.at),
                       .length = segment.length,
                       .dma = segment.dma,
                       .dma_length = segment.dma_length});
  }
  return entries;
}

}  // namespace

std::size_t Sandbox::dma_map_sg(DeviceId device, std::span<Segment> segments, DmaDirection direction,
                                DmaAttrs attrs) {
  auto entries = entries_of(impl_->bed->kernel().mm(), segments);
  const std::size_t mapped =
      impl_->dma().map_sg(impl_->cpu(), impl_->device(device).driver, entries, direction, attrs);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    segments[i].dma = entries[i].dma;
    segments[i].dma_length = entries[i].dma_length;
  }
  return mapped;
}

void Sandbox::dma_unmap_sg(DeviceId device, std::span<Segment> segments, DmaDirection direction,
                           DmaAttrs attrs) {
  auto entries = entries_of(impl_->bed->kernel().mm(), segments);
  impl_->dma().unmap_sg(impl_->cpu(), impl_->device(device).driver, entries, direction, attrs);
}

std::optional<Sandbox::Coherent> Sandbox::dma_alloc_coherent(DeviceId device, std::uint64_t bytes,
                                                             bool atomic) {
  const auto made = impl_->dma().alloc(impl_->cpu(), impl_->device(device).driver, bytes, atomic);
  if (!made) return std::nullopt;
  return Coherent{made->cpu, made->dma, made->bytes};
}

void Sandbox::dma_free_coherent(DeviceId device, const Coherent& buffer) {
  impl_->dma().free(impl_->cpu(), impl_->device(device).driver, {buffer.cpu, buffer.dma, buffer.bytes});
}

std::uint64_t Sandbox::dma_max_mapping_size(DeviceId device) const {
  return impl_->dma().max_mapping_size(impl_->device(device).driver);
}

std::size_t Sandbox::release_device(DeviceId device) {
  return impl_->dma().release(impl_->device(device).driver);
}

std::optional<std::vector<std::byte>> Sandbox::device_read(DeviceId device, DmaAddr from, std::size_t bytes) {
  auto got = impl_->device(device).hardware.read(from, bytes);
  if (!got) return std::nullopt;
  return *std::move(got);
}

bool Sandbox::device_write(DeviceId device, DmaAddr to, std::span<const std::byte> bytes) {
  return impl_->device(device).hardware.write(to, bytes).has_value();
}

std::vector<std::byte> Sandbox::host_view(VirtAddr from, std::size_t bytes) const {
  auto out = api::room_for(*impl_->bed, bytes);
  if (!out || !impl_->bed->memory().peek(virt_to_phys(from), *out, no_key))
    throw std::invalid_argument{"host_view of an address beyond memory"};
  return *std::move(out);
}

std::uint64_t Sandbox::swiotlb_slots_used() const {
  kernel::Swiotlb* const pool = impl_->dma().swiotlb();
  return pool != nullptr ? pool->usage().io_tlb_used : 0;
}

std::uint64_t Sandbox::bytes_bounced() const {
  kernel::Swiotlb* const pool = impl_->dma().swiotlb();
  return pool != nullptr ? pool->usage().bytes_bounced : 0;
}

std::vector<Sandbox::Problem> Sandbox::problems() const {
  return api::problems_of(impl_->bed->explainer().causes());
}

bool Sandbox::has_problem(std::string_view name) const {
  return api::has_cause(impl_->bed->explainer().causes(), name);
}

std::vector<std::string> Sandbox::kernel_log() const { return impl_->bed->explainer().kernel_log(); }

}  // namespace cbit
