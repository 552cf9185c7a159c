#include "kernel/dma/iommu_ops.hpp"

namespace cbit::kernel {
namespace {

constexpr Agent cpu_0{AgentKind::cpu, 0};
constexpr std::uint64_t tces_per_call = page_size / 8;
constexpr std::uint64_t window_page = 64 * 1024;

class TableMappings : public IommuMappings {
 public:
  TableMappings(machine::Machine& machine, iommu::IommuDomain& domain)
      : machine_{&machine}, domain_{&domain} {}

  Result<void> map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, iommu::IommuAccess rights,
                   mem::KeySelector selector) override {
    CBIT_TRY(domain_->map(iova, phys, bytes, rights, selector));
    mapped(iova, bytes / page_size);
    return {};
  }
  std::uint64_t unmap(DmaAddr iova, std::uint64_t bytes) override {
    const std::uint64_t unmapped_bytes = domain_->unmap(iova, bytes);
    unmapped(iova, unmapped_bytes / page_size);  // a driver may name more than it has mapped
    return unmapped_bytes;
  }
  [[nodiscard]] std::optional<PhysAddr> iova_to_phys(DmaAddr iova) const override {
    auto found = domain_->look_up(iova, false);
    if (!found) found = domain_->look_up(iova, true);
    return found ? std::optional{found->phys} : std::nullopt;
  }

 protected:
  [[nodiscard]] iommu::IommuDomain& domain() { return *domain_; }
  virtual void mapped(DmaAddr iova, std::uint64_t pages) = 0;
  virtual void unmapped(DmaAddr iova, std::uint64_t pages) = 0;
  void exit(std::string_view reason, DmaAddr argument) {
    machine_->hypervisor().exit(cpu_0, reason, argument.value());
  }
  [[nodiscard]] bool is_guest() const { return machine_->is_guest(); }

 private:
  machine::Machine* machine_;
  iommu::IommuDomain* domain_;
};

class AmdMappings final : public TableMappings {
  using TableMappings::TableMappings;
  [[nodiscard]] bool can_defer() const override { return true; }
  std::uint64_t unmap_lazily(DmaAddr iova, std::uint64_t bytes) override {
    return domain().unmap_lazily(iova, bytes);
  }
  void flush_iotlb_all() override { domain().flush(); }
  // domain_flush_np_cache, domain_flush_pages: INVALIDATE_IOMMU_PAGES, COMPLETION_WAIT.
  void flush(DmaAddr iova) {
    if (!is_guest()) return;
    exit("iommu-command", iova);
    exit("iommu-command", iova);
  }
  void mapped(DmaAddr iova, std::uint64_t) override { flush(iova); }
  void unmapped(DmaAddr iova, std::uint64_t) override { flush(iova); }
};

class TceMappings final : public TableMappings {
  using TableMappings::TableMappings;
  void calls(std::string_view one, std::string_view many, DmaAddr iova, std::uint64_t pages) {
    if (pages == 1) return exit(one, iova);
    for (std::uint64_t done = 0; done < pages; done += tces_per_call) exit(many, iova + done * page_size);
  }
  void mapped(DmaAddr iova, std::uint64_t pages) override {
    calls("H_PUT_TCE", "H_PUT_TCE_INDIRECT", iova, pages);
  }
  void unmapped(DmaAddr iova, std::uint64_t pages) override {
    calls("H_STUFF_TCE", "H_STUFF_TCE", iova, pages);
  }
};

}  // namespace

std::unique_ptr<IommuMappings> table_mappings(machine::Machine& machine, iommu::IommuDomain& domain) {
  if (machine.iommu_kind() == machine::IommuKind::spapr)
    return std::make_unique<TceMappings>(machine, domain);
  return std::make_unique<AmdMappings>(machine, domain);
}

void map_direct_window(machine::Machine& machine) {
  const std::uint64_t step = tces_per_call * window_page;
  for (const mem::PhysRange& ram : machine.memory().ram())
    for (PhysAddr at = ram.first; at < ram.end(); at += step)
      machine.hypervisor().exit(cpu_0, "H_PUT_TCE_INDIRECT", at.value());
}

}  // namespace cbit::kernel
