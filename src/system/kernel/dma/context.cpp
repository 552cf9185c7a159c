#include "kernel/dma/context.hpp"

#include <fmt/format.h>

#include "kernel/dma/direct.hpp"
#include "kernel/dma/direct_map.hpp"

namespace cbit::kernel {
namespace {

// pci_swiotlb_detect, mem_init and mem_encrypt_init
Result<void> swiotlb_init(DmaContext& ctx, paging::Mmu& cpu) {
  const machine::MachineConfig& machine = ctx.mm.machine().config();
  const bool ram_above_4g = ctx.mm.machine().end_of_ram() > machine::high_ram;
  const auto sizing = size_swiotlb(ctx.cc, machine.memory_bytes, ram_above_4g, machine.cpus,
                                   understood_by(ctx.config.version, ctx.config.swiotlb));
  ctx.swiotlb_force_bounce = sizing && sizing->force_bounce;
  if (sizing)
    ctx.swiotlb = CBIT_TRY(
        Swiotlb::create_default(ctx.mm, ctx.cc, ctx.config.version, *sizing, ctx.config.swiotlb.dynamic));
  if (const std::string_view features = ctx.cc.traits().features_active; !features.empty())
    ctx.message(cpu, [&] { return fmt::format("Memory Encryption Features active: {}", features); });
  return {};
}

// "swiotlb: Preserve allocation virtual address for dynamic pools" (57d29044d0f2; 6.12.111, 7.2, 7.3): memory
// goes back to the atomic pools under the address that they gave, not under that of the direct map.
bool keeps_address_of_pool(KernelVersion version) {
  return version == KernelVersion::v6_12 || version >= KernelVersion::v7_2;
}

// The memory of transient pools [6.6]: swiotlb_alloc_tlb() in atomic context.
void lend_atomic_pools(DmaContext& ctx) {
  if (ctx.swiotlb == nullptr) return;
  ctx.swiotlb->use_atomic_memory(
      {.alloc =
           [&ctx](paging::Mmu& cpu, Device& dev, std::uint64_t bytes) {
             const DmaRequest request = coherent_request(cpu, dev, bytes, dma_attr::no_warn);
             const auto got = ctx.atomic_pools.allocate(ctx, request, bytes, GfpZone::normal);
             return got ? std::optional{got->page} : std::nullopt;
           },
       .free =
           [&ctx](VirtAddr at, std::uint64_t bytes) {
             if (keeps_address_of_pool(ctx.config.version))
               at = ctx.atomic_pools.address_of(ctx.mm.virt_to_phys(at)).value_or(at);
             return ctx.atomic_pools.free(at, bytes);
           }});
}

void iommu_subsys_init(DmaContext& ctx, const paging::Mmu& cpu) {
  ctx.iommu = IommuDma::default_domain_type(ctx.cc, ctx.config);
  machine::Machine& machine = ctx.mm.machine();
  if (machine.iommu_kind() != machine::IommuKind::virtio)
    machine.bus().set_iommu(ctx.iommu == IommuMode::none ? nullptr : machine.iommu());
  if (ctx.iommu == IommuMode::none) return;
  if (ctx.iommu != ctx.config.iommu)
    ctx.message(cpu, [] {
      return std::string{"iommu: Memory encryption detected - Disabling default IOMMU Passthrough"};
    });
  // 6.1 leaves a blank where nothing follows; 6.12 does not.
  const std::string_view nothing = ctx.config.version < KernelVersion::v6_12 ? " " : "";
  constexpr std::string_view by_command_line = " (set via kernel command line)";
  ctx.message(cpu, [&] {
    return fmt::format("iommu: Default domain type: {}{}",
                       ctx.iommu == IommuMode::passthrough ? "Passthrough" : "Translated",
                       ctx.config.iommu_explicit ? by_command_line : nothing);
  });
  if (ctx.iommu == IommuMode::passthrough) return;
  ctx.message(cpu, [&] {
    return fmt::format("iommu: DMA domain TLB invalidation policy: {} mode{}",
                       IommuDma::strict(ctx.cc, ctx.config) ? "strict" : "lazy",
                       ctx.config.iommu_strict ? by_command_line : nothing);
  });
  if (machine.iommu_kind() == machine::IommuKind::amd && machine.is_guest())
    ctx.message(cpu, [] { return std::string{"AMD-Vi: Using strict mode due to virtualization"}; });
}

// x86's pci_swiotlb_late_init, POWER's check_swiotlb_enabled: init_svm() has told that by now.
void announce_swiotlb(DmaContext& ctx, paging::Mmu& cpu) {
  if (ctx.swiotlb != nullptr)
    ctx.swiotlb->print_info(cpu);
  else if (!ctx.cc.x86())
    ctx.message(cpu, [] { return std::string{"software IO TLB: No low mem"}; });
}

}  // namespace

DmaContext::DmaContext(Mm& kernel_mm, const CcPlatform& platform, const DmaConfig& dma_config)
    : mm{kernel_mm},
      cc{platform},
      config{dma_config},
      dma_direct_map{direct_map_of(dma_config.version)},
      tracer{kernel_mm.machine().tracer()},
      me_mask{platform.me_mask()},
      encryption_mask{platform.dma_encryption_mask()},
      last_page{(kernel_mm.machine().end_of_ram() - page_size).page()},
      sites{.alloc = tracer.intern("dma_direct_alloc"),
            .pool = tracer.intern("dma_alloc_from_pool"),
            .padding = tracer.intern("iommu_dma_map_page")} {}

Result<void> DmaContext::boot() {
  paging::Mmu& cpu = mm.cpu(0);
  CBIT_TRY(swiotlb_init(*this, cpu));
  atomic_pools.init(*this, cpu);
  lend_atomic_pools(*this);
  iommu_subsys_init(*this, cpu);
  announce_swiotlb(*this, cpu);
  return {};
}

void DmaContext::warning(const paging::Mmu& cpu, std::string_view file, std::string_view function) {
  message(cpu, [&] {
    const unsigned index = cpu.agent().index;
    if (config.version >= KernelVersion::v6_19)
      return fmt::format("WARNING: {} at {}, CPU#{}: swapper/{}/1", file, function, index, index);
    return fmt::format("WARNING: CPU: {} PID: 1 at {} {}", index, file, function);
  });
}

void DmaContext::warning_once(Once which, const paging::Mmu& cpu, std::string_view file,
                              std::string_view function) {
  if (first_time(which)) warning(cpu, file, function);
}

DmaAddr DmaContext::fail(const DmaRequest& request, DmaFailure reason, std::uint64_t mask, DmaAddr address) {
  if (tracer.enabled()) [[unlikely]]
    tracer.emit(request.cpu.agent(), DmaMapFailed{.device = request.dev.name_id,
                                                  .kind = request.kind,
                                                  .phys = request.phys,
                                                  .bytes = request.bytes,
                                                  .reason = reason,
                                                  .mask = mask,
                                                  .address = address});
  return dma_mapping_error;
}

std::nullopt_t DmaContext::fail_empty(const DmaRequest& request, DmaFailure reason, std::uint64_t mask) {
  fail(request, reason, mask);
  return std::nullopt;
}

}  // namespace cbit::kernel
