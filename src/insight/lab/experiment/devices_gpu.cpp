// GPUs with their drivers.
#include <fmt/format.h>

#include <bit>

#include "lab/experiment/devices.hpp"
#include "lab/experiment/gpu_part.hpp"
#include "watch/event_names.hpp"

namespace cbit::lab {
namespace {

constexpr std::uint64_t vram_bytes_max = 4 << 20;

constexpr std::string_view keys_of_gpu[] = {"driver", "mask",     "address-bits", "vram",
                                            "policy", "map-mode", "dma-alloc"};

OrError<void> check_driver_keys(const TableReader& keys, kernel::GpuDriverKind kind) {
  if (keys.has("map-mode") && kind != kernel::GpuDriverKind::vmwgfx)
    return keys.error("map-mode", "map modes are vmwgfx's", "add driver = \"vmwgfx\", or drop it");
  if (keys.has("dma-alloc") && kind != kernel::GpuDriverKind::amdgpu)
    return keys.error("dma-alloc", "only the amdgpu shape asks drm_need_swiotlb()",
                      "use map-mode for vmwgfx, or drop it");
  return {};
}

OrError<void> parse_gpu(const TableReader& keys, const ExperimentLimits&, ExperimentDevice& device) {
  GpuConfig gpu{.name = device.name};
  kernel::GpuDriverOptions& driver = gpu.driver;
  driver.kind = CBIT_TRY(keys.word("driver", kernel::gpu_driver_words)).value_or(driver.kind);
  CBIT_TRY(check_driver_keys(keys, driver.kind));
  driver.mask_bits = static_cast<unsigned>(CBIT_TRY(keys.number("mask", 1, 64)).value_or(driver.mask_bits));
  driver.policy = CBIT_TRY(keys.word("policy", ttm_policy_words)).value_or(driver.policy);
  driver.map_mode = CBIT_TRY(keys.word("map-mode", kernel::vmw_map_mode_words)).value_or(driver.map_mode);
  driver.use_dma_alloc = CBIT_TRY(keys.flag("dma-alloc"));
  gpu.address_bits =
      static_cast<unsigned>(CBIT_TRY(keys.number("address-bits", 1, 64)).value_or(gpu.address_bits));
  gpu.vram_bytes =
      CBIT_TRY(keys.number("vram", kernel::gpu_vram_bytes_min, vram_bytes_max)).value_or(gpu.vram_bytes);
  if (!std::has_single_bit(gpu.vram_bytes))
    return keys.error("vram", fmt::format("a BAR of {} bytes does not exist", gpu.vram_bytes),
                      "use a power of two");
  device.install = [gpu](Run& run, std::size_t id) { return run.part<GpuPart>().install(run, id, gpu); };
  return {};
}

constexpr DeviceKind gpu_device_kinds[] = {{gpu_kind, keys_of_gpu, parse_gpu}};

}  // namespace

std::span<const DeviceKind> gpu_devices() { return gpu_device_kinds; }

// ---- the part ---------------------------------------------------------------------------------------------

OrError<void> GpuPart::install(Run& run, std::size_t device, const GpuConfig& config) {
  kernel::Device& dev = run.kernel().add_device({.name = config.name});
  run.install(device, dev);
  const machine::GpuCard card = machine::plug_gpu(
      run.bed().machine(),
      {.device = config.name, .requester = dev.requester, .address_bits = config.address_bits},
      config.vram_bytes);
  auto driver = kernel::GpuDriver::probe(run.kernel(), dev, card, config.driver);
  if (!driver)
    return bad_input(fmt::format("the driver of \"{}\" does not probe: {}", config.name,
                                 kernel::errno_name(driver.error())),
                     "give it a wider mask, or more memory");
  drivers_[device] = std::move(*driver);
  if (drivers_.size() == 1) run.at_end([this, &run] { remove_all(run); });
  return {};
}

Result<GpuPart::Object*, StepTrouble> GpuPart::object(std::size_t buffer) {
  const auto found = objects_.find(buffer);
  if (found == objects_.end() || found->second.bo == nullptr)
    return trouble_in_step(
        "the buffer object does not exist: the step that makes it failed, or it was freed");
  return &found->second;
}

GpuPart::Object& GpuPart::add(std::size_t buffer, std::size_t device, kernel::TtmBo& bo) {
  return objects_[buffer] = {device, &bo};
}

Result<void, StepTrouble> GpuPart::close(Run& run, std::size_t window) {
  const auto found = windows_.find(window);
  if (found == windows_.end()) return trouble_in_step("the window does not exist");
  const Opened opened = found->second;
  const Object& object = *CBIT_TRY(this->object(opened.buffer));
  kernel::TtmDevice& ttm = driver(object.device).ttm();
  if (opened.user)
    ttm.munmap(*object.bo, *opened.user);
  else if (opened.kmap)
    ttm.kunmap(*object.bo, *opened.kmap);
  else
    ttm.vunmap(*object.bo, opened.at);
  run.window(window) = {};
  windows_.erase(found);
  return {};
}

void GpuPart::put(Run& run, std::size_t buffer) {
  Object& object = objects_.at(buffer);
  driver(object.device).ttm().bo_put(run.kernel().cpu(0), *object.bo);
  object.bo = nullptr;
  run.buffer(buffer).exists = false;
}

void GpuPart::refresh(Run& run, std::size_t buffer) {
  const Object& object = objects_.at(buffer);
  Run::Buffer& target = run.buffer(buffer);
  target.frames.clear();
  target.exists = object.bo->placement == TtmPlacement::vram || object.bo->tt.populated;
  if (!target.exists) return;
  const kernel::TtmDevice& ttm = driver(object.device).ttm();
  for (std::uint64_t page = 0; page < object.bo->pages; ++page)
    target.frames.push_back(ttm.page_address(*object.bo, page));
  // The kernel's own address is the direct map's, where that shows the object in one piece.
  bool in_one_piece = object.bo->placement != TtmPlacement::vram;
  for (std::size_t i = 1; i < target.frames.size(); ++i)
    in_one_piece = in_one_piece && target.frames[i] == target.frames[i - 1] + page_size;
  target.at = in_one_piece ? run.mm().phys_to_virt(target.frames.front()) : VirtAddr{};
}

void GpuPart::remove_all(Run& run) {
  while (!windows_.empty())
    if (!close(run, windows_.begin()->first)) windows_.erase(windows_.begin());
  for (auto& [buffer, object] : objects_)
    if (object.bo != nullptr) put(run, buffer);
  drivers_.clear();
}

}  // namespace cbit::lab
