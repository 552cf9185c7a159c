#include "iommu/iommu.hpp"

#include "base/assert.hpp"
#include "base/cost.hpp"
#include "iommu/io_table.hpp"
#include "iommu/io_walk.hpp"
#include "iommu/iotlb.hpp"

namespace cbit::iommu {
namespace {

// AMD's IOMMU is function 00:00.2.
constexpr Agent iommu_agent{AgentKind::device, 2};
constexpr Agent driver_agent{AgentKind::cpu, 0};

bool range_exists(DmaAddr first, std::uint64_t bytes) { return bytes != 0 && bytes - 1 <= ~first.value(); }

}  // namespace

struct IommuDomain::Impl {
  Impl(const Config& what, mem::Memory& where, Tracer& trace, IommuPageSource source)
      : config{what},
        format{what.view, what.table_key},
        memory{&where},
        tracer{&trace},
        walker{iommu_agent, no_key, trace.intern("amd_iommu")},
        table{format, where, std::move(source), {driver_agent, no_key, trace.intern("iommu_v1_map_pages")}} {}

  template <class Read>
  Result<IommuTranslation> translate(DmaAddr at, bool write, Read&& read) const {
    CBIT_ASSERT(config.type != Type::identity);
    if (config.type == Type::blocked) return fault(FaultKind::iommu_protection, at.value(), write);
    return walk(format, table.dte(), at, write, [&](PhysAddr entry, KeyId key) -> Result<IoPte> {
      std::array<std::byte, sizeof(IoPte)> raw;
      CBIT_TRY(read(entry, raw, key));
      return load<IoPte>(raw);
    });
  }

  // What a device gets where the table has nothing (any more).
  Result<IommuTranslation> or_held(Result<IommuTranslation> found, DmaAddr at, bool write) const {
    if (found || found.error().kind != FaultKind::iommu_not_present) return found;
    const auto held = iotlb.find(at, write);
    return held ? Result<IommuTranslation>{*held} : found;
  }

  Config config;
  IoFormat format;
  mem::Memory* memory;
  Tracer* tracer;
  mem::Access walker;
  IoTable table;
  Iotlb iotlb;
};

IommuDomain::IommuDomain() = default;
IommuDomain::~IommuDomain() = default;

Result<std::unique_ptr<IommuDomain>> IommuDomain::create(const Config& config, mem::Memory& memory,
                                                         Tracer& tracer, IommuPageSource source) {
  CBIT_ASSERT(config.mode >= 1 && config.mode <= io_levels_max);
  std::unique_ptr<IommuDomain> domain{new IommuDomain};
  domain->impl_ = std::make_unique<Impl>(config, memory, tracer, std::move(source));
  if (config.type == Type::translated) CBIT_TRY(domain->impl_->table.create(config.mode));
  return domain;
}

std::uint16_t IommuDomain::id() const { return impl_->config.id; }
IommuDomain::Type IommuDomain::type() const { return impl_->config.type; }

IoDte IommuDomain::device_table_entry() const {
  if (type() == Type::translated) return impl_->table.dte();
  const bool pass = type() == Type::identity;
  return IoDte{}.with<IoDte::V>(true).with<IoDte::Tv>(true).with<IoDte::Ir>(pass).with<IoDte::Iw>(pass);
}

Result<void> IommuDomain::map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IommuAccess rights,
                              mem::KeySelector selector) {
  const mem::KeyLayout& layout = impl_->config.view.layout;
  const std::uint64_t phys_end =
      layout.mask() != 0 ? std::uint64_t{1} << layout.lowest_bit() : bit_mask(52) + 1;
  const bool aligned = (iova.value() | phys.value() | bytes) % page_size == 0;
  const bool fits = bytes <= phys_end && phys.value() <= phys_end - bytes && range_exists(iova, bytes);
  if (type() != Type::translated || !aligned || !fits || !(rights.read || rights.write))
    return fault(FaultKind::device_protocol, iova.value());

  const IoPte flags = IoPte{}
                          .with<IoPte::Pr>(true)
                          .with<IoPte::Fc>(true)
                          .with<IoPte::Ir>(rights.read)
                          .with<IoPte::Iw>(rights.write);
  CBIT_TRY(impl_->table.map(iova, phys, bytes, flags, selector));
  impl_->tracer->emit(driver_agent, IommuMapped{id(), iova, phys, bytes, selector != 0}, cost::iommu_map_ns);
  return {};
}

std::uint64_t IommuDomain::unmap(DmaAddr iova, std::uint64_t bytes) {
  if (type() != Type::translated || (iova.value() | bytes) % page_size != 0) return 0;
  const std::uint64_t unmapped = impl_->table.unmap(iova, bytes);
  impl_->tracer->emit(driver_agent, IommuUnmapped{id(), iova, unmapped}, cost::iommu_map_ns);
  return unmapped;
}

std::uint64_t IommuDomain::unmap_lazily(DmaAddr iova, std::uint64_t bytes) {
  for (std::uint64_t done = 0; done < bytes && impl_->table.covers(iova + done);) {
    const auto read = look_up(iova + done, false), write = look_up(iova + done, true);
    const auto& found = read ? read : write;
    if (found) impl_->iotlb.hold(iova + done, *found, {read.has_value(), write.has_value()});
    done += found ? found->bytes : page_size;
  }
  return unmap(iova, bytes);
}

void IommuDomain::flush() { impl_->iotlb.drop(); }

Result<void> IommuDomain::set_encrypted(DmaAddr iova, std::uint64_t bytes, bool encrypted) {
  if (type() != Type::translated || !range_exists(iova, bytes))
    return fault(FaultKind::device_protocol, iova.value());
  return impl_->table.set_selector(iova, bytes, encrypted ? 1 : 0);
}

Result<IommuTranslation> IommuDomain::translate(DmaAddr at, bool write) const {
  const auto found = impl_->translate(at, write, [&](PhysAddr entry, ByteSpan to, KeyId key) {
    return impl_->memory->read(entry, to, {impl_->walker.agent, key, impl_->walker.site});
  });
  return impl_->or_held(found, at, write);
}

Result<IommuTranslation> IommuDomain::peek(DmaAddr at, bool write) const {
  return impl_->or_held(look_up(at, write), at, write);
}

Result<IommuTranslation> IommuDomain::look_up(DmaAddr at, bool write) const {
  return impl_->translate(
      at, write, [&](PhysAddr entry, ByteSpan to, KeyId key) { return impl_->memory->peek(entry, to, key); });
}

void Iommu::attach(RequesterId requester, IommuDomain& domain) { device_table_[requester] = &domain; }

void Iommu::detach(RequesterId requester) { device_table_.erase(requester); }

IommuDomain* Iommu::domain_of(RequesterId requester) const {
  const auto found = device_table_.find(requester);
  return found != device_table_.end() ? found->second : nullptr;
}

Result<IommuTranslation> Iommu::translate(RequesterId requester, DmaAddr at, bool write) const {
  return look_up(requester, at, write, &IommuDomain::translate);
}

Result<IommuTranslation> Iommu::peek(RequesterId requester, DmaAddr at, bool write) const {
  return look_up(requester, at, write, &IommuDomain::peek);
}

Result<IommuTranslation> Iommu::look_up(RequesterId requester, DmaAddr at, bool write, Lookup lookup) const {
  const IommuDomain* const domain = domain_of(requester);
  if (domain == nullptr) return fault(FaultKind::iommu_no_domain, at.value(), write);
  if (domain->type() == IommuDomain::Type::identity) return untranslated(view_, at);
  return (domain->*lookup)(at, write);
}

}  // namespace cbit::iommu
