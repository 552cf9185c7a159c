#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <map>
#include <new>
#include <set>
#include <stdexcept>

#include "api/bed.hpp"
#include "api/problems.hpp"
#include "cbit/gpu.hpp"
#include "kernel/drm/drm_cache.hpp"
#include "kernel/drm/ttm_device.hpp"
#include "testbed/testbed.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t vram_bytes_max = 16 << 20;

testbed::TestbedConfig testbed_config(const GpuSandbox::Options& options) {
  if (options.vram_bytes < page_size || options.vram_bytes > vram_bytes_max ||
      !std::has_single_bit(options.vram_bytes))
    throw std::invalid_argument{fmt::format(
        "vram_bytes {} is out of range; use a power of two, 4 KiB to 16 MiB", options.vram_bytes)};
  return api::bed_config(options);
}

testbed::TestDeviceConfig device_config(const GpuSandbox::Options& options) {
  return {.name = "gpu", .mask_bits = options.mask_bits, .coherent_mask_bits = options.mask_bits};
}

}  // namespace

struct GpuSandbox::Impl final : private kernel::TtmDeviceFuncs {
  explicit Impl(const Options& options)
      : bed{api::make_bed(testbed_config(options))},
        device{api::value_or_throw(bed->add_device(device_config(options)))},
        policy{options.policy} {
    auto bar = std::make_unique<bus::RamBar>(options.vram_bytes);
    vram = bar.get();
    vram_range = bed->machine().add_bar(std::move(bar), options.vram_bytes);
  }

  void init(TtmDriver& under_test, bool use_dma_alloc, bool use_dma32) {
    if (ttm != nullptr) throw std::invalid_argument{"ttm_device_init() was called before"};
    driver = &under_test;
    kernel::TtmDeviceFuncs& funcs = *this;
    ttm = std::make_unique<kernel::TtmDevice>(
        bed->kernel(), device.driver, funcs,
        kernel::TtmDeviceConfig{
            .use_dma_alloc = use_dma_alloc, .use_dma32 = use_dma32, .policy = policy, .vram = vram_range});
  }

  Result<void, kernel::Errno> bind(paging::Mmu&, kernel::TtmBo& bo) override {
    const BoId id = id_of(bo);
    if (driver->bind(id, bo.tt.dma_address)) return {};
    ids.erase(&bo);
    return tl::unexpected{kernel::Errno::enospc};
  }
  void unbind(paging::Mmu&, kernel::TtmBo& bo) override {
    if (driver != nullptr) driver->unbind(id_of(bo));
  }
  bool copy(paging::Mmu&, const kernel::TtmBo&, bool, std::uint64_t) override { return false; }

  // An object that enters TT while it is made gets its name then.
  BoId id_of(const kernel::TtmBo& bo) {
    const auto found = ids.find(&bo);
    if (found != ids.end()) return found->second;
    return ids[&bo] = BoId{next_id++};
  }
  kernel::TtmBo& bo(BoId id) {
    const auto found = bos.find(id);
    if (found == bos.end()) throw std::invalid_argument{"there is no such buffer object"};
    return *found->second;
  }
  kernel::TtmDevice& device_ttm() {
    if (ttm == nullptr) throw std::invalid_argument{"call ttm_device_init() first"};
    return *ttm;
  }
  kernel::UserSpace& process(ProcessId id) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= processes.size()) throw std::invalid_argument{"there is no such process"};
    return *processes[index];
  }
  paging::Mmu& cpu() { return bed->kernel().cpu(0); }

  std::unique_ptr<testbed::Testbed> bed;
  testbed::TestDevice device;
  TtmPolicy policy;
  bus::RamBar* vram = nullptr;
  mem::PhysRange vram_range;
  TtmDriver* driver = nullptr;
  std::deque<std::unique_ptr<kernel::UserSpace>> processes;
  std::map<const kernel::TtmBo*, BoId> ids;
  std::map<BoId, kernel::TtmBo*> bos;
  std::set<std::pair<BoId, VirtAddr>> vmaps;
  std::uint32_t next_id = 0;
  std::unique_ptr<kernel::TtmDevice> ttm;  // goes before what its objects are mapped in
};

GpuSandbox::GpuSandbox(const Options& options) : impl_{std::make_unique<Impl>(options)} {}
GpuSandbox::~GpuSandbox() {
  if (impl_ != nullptr) impl_->driver = nullptr;
}
GpuSandbox::GpuSandbox(GpuSandbox&&) noexcept = default;

// ---- TTM --------------------------------------------------------------------------------------------------

bool GpuSandbox::drm_need_swiotlb(unsigned dma_bits) const {
  return kernel::drm_need_swiotlb(impl_->bed->kernel(), dma_bits);
}

bool GpuSandbox::dma_addressing_limited() const {
  return impl_->bed->kernel().dma().addressing_limited(impl_->device.driver);
}

void GpuSandbox::ttm_device_init(TtmDriver& driver, bool use_dma_alloc, bool use_dma32) {
  impl_->init(driver, use_dma_alloc, use_dma32);
}

std::optional<BoId> GpuSandbox::ttm_bo_init(std::uint64_t bytes, TtmPlacement placement, Caching caching) {
  const auto made = impl_->device_ttm().bo_init(
      impl_->cpu(),
      {.bytes = bytes, .placement = placement, .caching = static_cast<paging::PageCaching>(caching)});
  if (!made) return std::nullopt;
  const BoId id = impl_->id_of(**made);
  impl_->bos[id] = *made;
  return id;
}

void GpuSandbox::ttm_bo_put(BoId id) {
  kernel::TtmBo& bo = impl_->bo(id);
  if (bo.pin_count != 0 || !bo.vmas.empty())
    throw std::invalid_argument{"ttm_bo_put() of an object that is still mapped"};
  impl_->device_ttm().bo_put(impl_->cpu(), bo);
  impl_->ids.erase(&bo);
  impl_->bos.erase(id);
}

int GpuSandbox::ttm_bo_validate(BoId id, TtmPlacement placement) {
  const auto done = impl_->device_ttm().validate(impl_->cpu(), impl_->bo(id), placement, false);
  return done ? 0 : -static_cast<int>(done.error());
}

int GpuSandbox::ttm_bo_swapout(BoId id) {
  const auto done = impl_->device_ttm().swapout(impl_->cpu(), impl_->bo(id));
  return done ? 0 : -static_cast<int>(done.error());
}

std::optional<VirtAddr> GpuSandbox::ttm_bo_vmap(BoId id) {
  const auto at = impl_->device_ttm().vmap(impl_->cpu(), impl_->bo(id));
  if (!at) return std::nullopt;
  impl_->vmaps.emplace(id, *at);
  return *at;
}

void GpuSandbox::ttm_bo_vunmap(BoId id, VirtAddr at) {
  kernel::TtmBo& bo = impl_->bo(id);
  if (impl_->vmaps.erase({id, at}) == 0)
    throw std::invalid_argument{"ttm_bo_vunmap() of what ttm_bo_vmap() did not return"};
  impl_->device_ttm().vunmap(bo, at);
}

std::optional<std::uint64_t> GpuSandbox::vram_offset(BoId id) const {
  const kernel::TtmBo& bo = impl_->bo(id);
  if (bo.placement != TtmPlacement::vram) return std::nullopt;
  return bo.vram_page * page_size;
}

// ---- CPUs -------------------------------------------------------------------------------------------------

std::vector<std::byte> GpuSandbox::read(VirtAddr from, std::size_t bytes) {
  auto out = api::room_for(*impl_->bed, bytes);
  if (!out || !impl_->cpu().read(from, *out))
    throw std::invalid_argument{"read of an address that the kernel has not mapped"};
  return *std::move(out);
}

void GpuSandbox::write(VirtAddr to, std::span<const std::byte> bytes) {
  if (!impl_->cpu().write(to, bytes))
    throw std::invalid_argument{"write to an address that the kernel may not write"};
}

GpuSandbox::ProcessId GpuSandbox::create_process() {
  auto user = impl_->bed->kernel().mm().create_user_space();
  if (!user) throw std::bad_alloc{};
  impl_->processes.push_back(std::move(*user));
  return ProcessId{static_cast<std::uint32_t>(impl_->processes.size() - 1)};
}

VirtAddr GpuSandbox::mmap(ProcessId process, BoId id) {
  const auto at = impl_->device_ttm().mmap(impl_->process(process), impl_->bo(id));
  if (!at) throw std::bad_alloc{};
  return *at;
}

void GpuSandbox::munmap(BoId id, VirtAddr at) {
  kernel::TtmBo& bo = impl_->bo(id);
  if (std::ranges::find(bo.vmas, at, &kernel::TtmVma::at) == bo.vmas.end())
    throw std::invalid_argument{"munmap() of what mmap() did not return"};
  impl_->device_ttm().munmap(bo, at);
}

std::optional<std::vector<std::byte>> GpuSandbox::user_read(ProcessId process, VirtAddr from,
                                                            std::size_t bytes) {
  auto out = api::room_for(*impl_->bed, bytes);
  kernel::UserSpace& user = impl_->process(process);
  if (!out || !impl_->device_ttm().user_read(user, from, *out)) return std::nullopt;
  return out;
}

bool GpuSandbox::user_write(ProcessId process, VirtAddr to, std::span<const std::byte> bytes) {
  return impl_->device_ttm().user_write(impl_->process(process), to, bytes).has_value();
}

// ---- the hardware -----------------------------------------------------------------------------------------

std::optional<std::vector<std::byte>> GpuSandbox::device_read(DmaAddr from, std::size_t bytes) {
  auto got = impl_->device.hardware.read(from, bytes);
  if (!got) return std::nullopt;
  return *std::move(got);
}

bool GpuSandbox::device_write(DmaAddr to, std::span<const std::byte> bytes) {
  return impl_->device.hardware.write(to, bytes).has_value();
}

std::span<std::byte> GpuSandbox::vram() { return impl_->vram->data(); }

// ---- looking ----------------------------------------------------------------------------------------------

std::uint64_t GpuSandbox::pages_converted() const {
  return impl_->bed->kernel().mm().conversion_cost().pages;
}

std::uint64_t GpuSandbox::tlb_flushes() const {
  return impl_->bed->kernel().mm().conversion_cost().tlb_flushes;
}

std::vector<Sandbox::Problem> GpuSandbox::problems() const {
  return api::problems_of(impl_->bed->explainer().causes());
}

bool GpuSandbox::has_problem(std::string_view name) const {
  return api::has_cause(impl_->bed->explainer().causes(), name);
}

std::vector<std::string> GpuSandbox::kernel_log() const { return impl_->bed->explainer().kernel_log(); }

}  // namespace cbit
