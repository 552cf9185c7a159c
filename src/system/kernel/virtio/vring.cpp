#include "kernel/virtio/vring.hpp"

#include <bit>
#include <utility>

#include "base/format.hpp"
#include "kernel/virtio/vring_packed.hpp"
#include "kernel/virtio/vring_split.hpp"

namespace cbit::kernel {
namespace {

DmaDirection direction_of(const spec::VringDesc& desc) {
  return (desc.flags & spec::vring_flag::write) != 0 ? DmaDirection::from_device : DmaDirection::to_device;
}

}  // namespace

Vring::Vring(VirtioBinding& binding, std::uint16_t index, std::string name, std::string_view format)
    : binding_{&binding},
      index_{index},
      name_{std::move(name)},
      use_dma_api_{binding.use_dma_api()},
      indirect_{binding.has(spec::virtio_feature::indirect_desc)},
      event_{binding.has(spec::virtio_feature::event_idx)} {
  Tracer& tracer = binding.kernel().machine().tracer();
  add_site_ = tracer.intern(fmt::format("virtqueue_add_{}", format));
  get_site_ = tracer.intern(fmt::format("virtqueue_get_buf_ctx_{}", format));
}

Result<std::unique_ptr<Vring>, Errno> Vring::create(paging::Mmu& cpu, VirtioBinding& binding,
                                                    std::uint16_t index, std::string name) {
  dev::VirtioDevice& hardware = binding.hardware();
  const std::uint16_t size = hardware.queue_size_max(index);
  if (size == 0 || hardware.queue_enabled(index)) return tl::unexpected{Errno::enoent};
  if (!std::has_single_bit(size)) {
    binding.print(fmt::format("bad queue size {}", size));
    return tl::unexpected{Errno::einval};
  }

  std::unique_ptr<Vring> ring;
  if (binding.has(spec::virtio_feature::ring_packed))
    ring = std::make_unique<PackedVring>(binding, index, std::move(name));
  else
    ring = std::make_unique<SplitVring>(binding, index, std::move(name));
  constexpr std::string_view source = "drivers/virtio/virtio_ring.c: vring_use_dma_api";
  binding.step(ring->use_dma_api_
                   ? "ACCESS_PLATFORM was negotiated: ring and buffers go through the DMA API"
                   : "no ACCESS_PLATFORM: the device gets guest-physical addresses of ordinary pages",
               source);
  if (binding.options().raw_addresses)
    binding.step("experiment: buffers get physical addresses, not dma_map_page",
                 "drivers/virtio: a faulty driver");
  CBIT_TRY(ring->allocate(cpu, size));
  hardware.enable_queue(index, ring->config());
  return ring;
}

std::optional<CoherentBuffer> Vring::allocate_area(paging::Mmu& cpu, std::uint64_t bytes) {
  if (use_dma_api_) return dma().alloc(cpu, binding_->parent(), bytes);
  const std::uint64_t whole = align_up(bytes, page_size);
  const auto pages = mm().alloc_pages(whole / page_size);
  if (!pages) return std::nullopt;
  paging::SiteScope scope{cpu, binding_->kernel().machine().tracer().intern("vring_alloc_queue")};
  if (!cpu.fill(*pages, whole, std::byte{0})) broken_ = true;
  return CoherentBuffer{*pages, DmaAddr{mm().virt_to_phys(*pages).value()}, bytes};
}

void Vring::free_area(paging::Mmu& cpu, const CoherentBuffer& area) {
  if (area.bytes == 0) return;
  if (use_dma_api_)
    dma().free(cpu, binding_->parent(), area);
  else
    mm().free_pages(area.cpu, align_up(area.bytes, page_size) / page_size);
}

// ---- adding ----

Result<void, Errno> Vring::add(paging::Mmu& cpu, std::span<const VringBuffer> out,
                               std::span<const VringBuffer> in, Token token) {
  if (broken_) return tl::unexpected{Errno::eio};
  CBIT_ASSERT(!out.empty() || !in.empty());
  paging::SiteScope scope{cpu, add_site_};
  return add_to_ring(cpu, out, in, token);
}

std::optional<Vring::IndirectTable> Vring::allocate_table(std::size_t entries) {
  const std::uint64_t pages = align_up(entries * sizeof(spec::VringDesc), page_size) / page_size;
  const auto at = mm().alloc_pages(pages);
  if (!at) return std::nullopt;
  return IndirectTable{*at, pages, {}};
}

Result<std::vector<spec::VringDesc>, Errno> Vring::map_all(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                                           std::span<const VringBuffer> in) {
  std::vector<spec::VringDesc> descs;
  descs.reserve(out.size() + in.size());
  for (std::size_t i = 0; i < out.size() + in.size(); ++i) {
    const bool writes = i >= out.size();
    const auto desc = map_one(cpu, writes ? in[i - out.size()] : out[i],
                              writes ? DmaDirection::from_device : DmaDirection::to_device);
    if (!desc) {
      unmap_all(cpu, descs);
      return tl::unexpected{desc.error()};
    }
    descs.push_back(*desc);
  }
  descs.back().flags = static_cast<std::uint16_t>(descs.back().flags & ~spec::vring_flag::next);
  return descs;
}

// vring_map_one_sg.
Result<spec::VringDesc, Errno> Vring::map_one(paging::Mmu& cpu, const VringBuffer& buffer,
                                              DmaDirection direction) {
  spec::VringDesc desc{buffer.phys.value(), buffer.length, spec::vring_flag::next, 0};
  if (direction == DmaDirection::from_device) desc.flags = spec::vring_flag::next | spec::vring_flag::write;
  if (!use_dma_api_ || binding_->options().raw_addresses) return desc;

  Device& parent = binding_->parent();
  const DmaAddr dma_addr = dma().map_page(cpu, parent, buffer.phys, buffer.length, direction);
  if (dma().mapping_error(parent, dma_addr)) return tl::unexpected{Errno::enomem};
  desc.addr = dma_addr.value();
  return desc;
}

Result<spec::VringDesc, Errno> Vring::map_table(paging::Mmu& cpu, const IndirectTable& table,
                                                ConstByteSpan contents) {
  if (!cpu.write(table.at, contents)) broken_ = true;
  const auto bytes = static_cast<std::uint32_t>(contents.size());
  if (!use_dma_api_)
    return spec::VringDesc{mm().virt_to_phys(table.at).value(), bytes, spec::vring_flag::indirect, 0};
  Device& parent = binding_->parent();
  const DmaAddr dma_addr = dma().map_single(cpu, parent, table.at, bytes, DmaDirection::to_device);
  if (dma().mapping_error(parent, dma_addr)) return tl::unexpected{Errno::enomem};
  return spec::VringDesc{dma_addr.value(), bytes, spec::vring_flag::indirect, 0};
}

void Vring::unmap(paging::Mmu& cpu, const spec::VringDesc& desc) {
  if (!use_dma_api_) return;
  Device& parent = binding_->parent();
  if ((desc.flags & spec::vring_flag::indirect) != 0)
    dma().unmap_single(cpu, parent, DmaAddr{desc.addr}, desc.len, direction_of(desc));
  else if (!binding_->options().raw_addresses)
    dma().unmap_page(cpu, parent, DmaAddr{desc.addr}, desc.len, direction_of(desc));
}

void Vring::unmap_all(paging::Mmu& cpu, std::span<const spec::VringDesc> descs) {
  for (const spec::VringDesc& desc : descs) unmap(cpu, desc);
}

// ---- notification ----

bool Vring::notify() {
  if (broken_) return false;
  Kernel& kernel = binding_->kernel();
  kernel.machine().hypervisor().exit(kernel.cpu(0).agent(), "notify", index_);
  binding_->hardware().notify(index_);
  return true;
}

bool Vring::interrupted(paging::Mmu& cpu) {
  if (!more_used(cpu) || broken_) return false;
  if (event_) event_triggered_ = true;
  return true;
}

// ---- getting back ----

std::optional<Vring::Used> Vring::get(paging::Mmu& cpu) {
  if (broken_ || !more_used(cpu)) return std::nullopt;
  paging::SiteScope scope{cpu, get_site_};
  return take_used(cpu);
}

std::nullopt_t Vring::bad_ring(std::string_view why) {
  binding_->print(fmt::format("{}:{}", name_, why));
  broken_ = true;
  return std::nullopt;
}

}  // namespace cbit::kernel
