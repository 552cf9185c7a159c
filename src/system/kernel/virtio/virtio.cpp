#include "kernel/virtio/virtio.hpp"

#include <utility>

#include "base/format.hpp"

namespace cbit::kernel {
namespace {

constexpr unsigned legacy_pfn_bits = 32;
constexpr unsigned legacy_page_shift = 12;  // VIRTIO_PCI_QUEUE_ADDR_SHIFT

// What the ring code understands of ring and transport (vring_transport_features).
constexpr std::uint64_t ring_features =
    spec::virtio_feature::indirect_desc | spec::virtio_feature::event_idx | spec::virtio_feature::version_1 |
    spec::virtio_feature::access_platform | spec::virtio_feature::ring_packed |
    spec::virtio_feature::order_platform;

void set_masks(Dma& dma, Device& parent, bool legacy) {
  if (dma.set_mask(parent, bit_mask(64))) {
    const unsigned coherent_bits = legacy ? legacy_pfn_bits + legacy_page_shift : 64;
    if (dma.set_coherent_mask(parent, bit_mask(coherent_bits))) return;
  }
  // Linux warns and goes on when this fails too.
  if (dma.set_mask(parent, bit_mask(32))) (void)dma.set_coherent_mask(parent, bit_mask(32));
}

}  // namespace

VirtioBinding::VirtioBinding(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                             const VirtioDriverOptions& options)
    : kernel_{&kernel},
      hardware_{&hardware},
      parent_{&parent},
      options_{options},
      legacy_{options.legacy_driver || (hardware.device_features() & spec::virtio_feature::version_1) == 0} {
  set_masks(kernel.dma(), parent, legacy_);
  reset();
  add_status(spec::virtio_status::acknowledge);
}

void VirtioBinding::add_status(std::uint8_t bits) {
  hardware_->set_status(static_cast<std::uint8_t>(hardware_->status() | bits));
}

Result<void, Errno> VirtioBinding::negotiate(std::uint64_t driver_features) {
  if (options_.legacy_driver && !hardware_->has_legacy_interface()) {
    step("the driver knows no device without legacy interface", "drivers/virtio/virtio_pci.c (Linux 3.x)");
    return tl::unexpected{Errno::enodev};
  }
  add_status(spec::virtio_status::driver);
  const std::uint64_t offered = hardware_->device_features();
  features_ = offered & ((driver_features & ~spec::virtio_transport_features) | ring_features);
  features_ &= ~options_.refused_features;
  if (options_.legacy_driver) features_ &= bit_mask(32);
  hardware_->set_driver_features(features_);
  const auto result = features_ok();
  if (!result) add_status(spec::virtio_status::failed);
  return result;
}

// virtio_features_ok. The callback is installed by sev_setup_arch, which goes by GUEST_MEM_ENCRYPT: in a
// kernel that is built for SEV, TDX guests have it too.
Result<void, Errno> VirtioBinding::features_ok() {
  constexpr std::string_view source = "drivers/virtio/virtio.c: virtio_features_ok";
  const bool restricted = options_.restricted_access_check && kernel_->cc().is_x86_guest();
  if (restricted) {
    step("the guest's memory is encrypted: the device must offer VERSION_1 and ACCESS_PLATFORM", source);
    for (const auto& [feature, word] :
         {std::pair{spec::virtio_feature::version_1, "VERSION_1"},
          std::pair{spec::virtio_feature::access_platform, "ACCESS_PLATFORM"}}) {
      if (has(feature)) continue;
      print(fmt::format("device must provide VIRTIO_F_{}", word));
      return tl::unexpected{Errno::enodev};
    }
  } else {
    step("no restricted memory access here: the device may offer what it likes", source);
  }

  if (!has(spec::virtio_feature::version_1)) return {};
  add_status(spec::virtio_status::features_ok);
  const std::uint8_t status = hardware_->status();
  if ((status & spec::virtio_status::features_ok) != 0) return {};
  print(fmt::format("virtio: device refuses features: {:x}", status));
  return tl::unexpected{Errno::enodev};
}

std::uint64_t VirtioBinding::max_dma_size() const {
  return use_dma_api() ? kernel_->dma().max_mapping_size(*parent_) : ~std::uint64_t{0};
}

void VirtioBinding::print(std::string text) const {
  kernel_->machine().tracer().emit(kernel_->cpu(0).agent(), KernelMessage{std::move(text)});
}

void VirtioBinding::step(std::string rule, std::string_view source) const {
  Tracer& tracer = kernel_->machine().tracer();
  if (tracer.enabled()) tracer.emit(kernel_->cpu(0).agent(), StepTaken{std::move(rule), source});
}

}  // namespace cbit::kernel
