#include "testbed/testbed.hpp"

#include <fmt/format.h>

#include "machine/slots.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::testbed {
namespace {

watch::ExplainerContext context_of(const TestbedConfig& config, machine::Machine& machine) {
  const Platform platform = config.machine.platform;
  const machine::PlatformTraits& traits = machine.traits();
  const bool by_page_state = traits.key_selection == machine::KeySelection::page_state;
  return {.platform = std::string{to_string(platform)},
          .layout = by_page_state ? mem::KeyLayout::none() : machine.paging().view.layout,
          .is_guest = is_guest(platform),
          .is_sme = traits.cc.has(spec::CcAttr::host_mem_encrypt),
          .is_mktme = traits.key_selection == machine::KeySelection::key_id,
          .iommu_translates = config.dma.iommu == IommuMode::translated,
          .hosts_guests = config.machine.sev.asids != 0,
          .swiotlb_can_grow = spec::has_dynamic_swiotlb(config.dma.version),
          .ram = machine.memory().ram(),
          .asked = {.kernel = spec::parse_release(to_string(config.dma.version))}};
}

OrError<void> set_masks(kernel::Dma& dma, kernel::Device& dev, const TestDeviceConfig& config) {
  if (config.mask_bits < 1 || config.mask_bits > 64 || config.coherent_mask_bits < 1 ||
      config.coherent_mask_bits > 64)
    return usage_error("a DMA mask has 1 to 64 bits", "devices usually have 32, 40, 48 or 64");
  if (!dma.set_mask(dev, bit_mask(config.mask_bits)))
    return usage_error(fmt::format("dma_set_mask(DMA_BIT_MASK({})) returns -EIO", config.mask_bits),
                       "the mask does not cover the memory that every device must reach; use more bits");
  if (!dma.set_coherent_mask(dev, bit_mask(config.coherent_mask_bits)))
    return usage_error(
        fmt::format("dma_set_coherent_mask(DMA_BIT_MASK({})) returns -EIO", config.coherent_mask_bits),
        "the mask does not cover the memory that every device must reach; use more bits");
  return {};
}

// What the posted patches are for: SEV-TIO, with dma-direct.
OrError<void> check_trusted(const TestbedConfig& config) {
  if (config.dma.version < KernelVersion::next)
    return usage_error(fmt::format("Linux {} has no trusted devices (TDISP)", to_string(config.dma.version)),
                       "use the kernel version next; the patches are posted, and in no release");
  if (config.machine.platform != Platform::sev_snp)
    return usage_error(fmt::format("a trusted device is that of an SEV-SNP guest, not of {}",
                                   to_string(config.machine.platform)),
                       "use the platform sev-snp; what is posted is for SEV-TIO");
  if (config.dma.iommu != IommuMode::none)
    return usage_error("a trusted device behind a virtual IOMMU is nothing that the patches know",
                       "leave the IOMMU out");
  return {};
}

}  // namespace

OrError<std::unique_ptr<Testbed>> Testbed::create(const TestbedConfig& config, const EventSinks& sinks) {
  std::unique_ptr<Testbed> bed{new Testbed{config}};
  bed->config_.machine.iommu = config.dma.iommu != IommuMode::none;
  bed->machine_ = CBIT_TRY(machine::Machine::create(bed->config_.machine));
  machine::Machine& machine = *bed->machine_;
  bed->explainer_.emplace(machine.tracer(), context_of(config, machine));
  machine.tracer().attach(*bed->explainer_);
  machine.tracer().attach(bed->counters_);
  bed->attach(sinks, true);
  bed->kernel_ = CBIT_TRY(kernel::Kernel::boot(machine, config.dma));
  if (kernel::Swiotlb* const pool = bed->kernel_->dma().swiotlb())
    bed->explainer_->set_bounce_pool(pool->default_pool());
  bed->attach(sinks, false);
  return bed;
}

void Testbed::attach(const EventSinks& sinks, bool before_boot) {
  for (EventSink* const sink : sinks) {
    if (sink == nullptr || sink->hears_boot() != before_boot) continue;
    machine_->tracer().attach(*sink);
    sinks_.push_back(sink);
  }
}

Testbed::~Testbed() {
  for (EventSink* const sink : sinks_) machine_->tracer().detach(*sink);
}

OrError<TestDevice> Testbed::add_device(const TestDeviceConfig& config) {
  if (config.trusted) CBIT_TRY(check_trusted(config_));
  kernel::Device& dev = kernel_->add_device({.name = config.name,
                                             .bus_dma_limit = config.bus_limit,
                                             .min_align_mask = config.min_align_mask,
                                             .max_segment_size = config.max_segment_size,
                                             .untrusted = config.untrusted,
                                             .accepted = config.trusted});
  CBIT_TRY(set_masks(kernel_->dma(), dev, config));
  hardware_.push_back(CBIT_TRY(machine::plug<dev::TestDma>(
      machine_->bus(), "test-dma", {.name = config.name, .requester = dev.requester},
      machine::TestDmaOptions{
          .address_bits = config.address_bits,
          .trusted_with = config.trusted ? machine_->paging().view.encrypted_key : no_key})));
  return TestDevice{dev, *hardware_.back()};
}

KeyId Testbed::cpu_key() const {
  const mem::KeyView& view = machine_->paging().view;
  return view.selector_is_key ? no_key : view.key(1);
}

KeyId Testbed::cpu_key(PhysAddr page) const {
  const mem::KeyView& view = machine_->paging().view;
  return view.selector_is_key ? view.key(kernel_->mm().page_key_id(page)) : cpu_key();
}

}  // namespace cbit::testbed
