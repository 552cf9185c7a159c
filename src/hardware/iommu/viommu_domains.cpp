#include "iommu/viommu_domains.hpp"

#include <algorithm>
#include <bit>
#include <optional>

namespace cbit::iommu {

std::uint64_t ViommuDomains::granule() const {
  return std::uint64_t{1} << std::countr_zero(config_.page_size_mask);
}

void ViommuDomains::reset() {
  domains_.clear();
  endpoints_.clear();
}

// ---- requests ----

void ViommuDomains::leave(std::uint32_t domain) {
  const auto found = domains_.find(domain);
  if (--found->second.endpoints == 0) domains_.erase(found);
}

ViommuStatus ViommuDomains::attach(std::uint32_t domain, std::uint32_t endpoint, std::uint32_t flags) {
  if ((flags & ~viommu_flag::attach_bypass) != 0) return ViommuStatus::inval;
  if (domain < config_.first_domain || domain > config_.last_domain) return ViommuStatus::range;
  if (!exists_(endpoint)) return ViommuStatus::noent;
  std::optional<std::uint32_t>& attached = endpoints_[endpoint];
  if (attached) leave(*attached);
  attached.reset();

  const bool bypass = (flags & viommu_flag::attach_bypass) != 0;
  const auto [place, is_new] = domains_.try_emplace(domain, Domain{bypass, 0, {}});
  if (place->second.bypass != bypass) return ViommuStatus::inval;
  ++place->second.endpoints;
  attached = domain;
  return ViommuStatus::ok;
}

ViommuStatus ViommuDomains::detach(std::uint32_t domain, std::uint32_t endpoint) {
  const auto found = endpoints_.find(endpoint);
  if (found == endpoints_.end()) return ViommuStatus::noent;
  if (found->second != domain) return ViommuStatus::inval;
  found->second.reset();
  leave(domain);
  return ViommuStatus::ok;
}

ViommuStatus ViommuDomains::check_domain(std::uint32_t domain) const {
  const auto found = domains_.find(domain);
  if (found == domains_.end()) return ViommuStatus::noent;
  return found->second.bypass ? ViommuStatus::inval : ViommuStatus::ok;
}

ViommuStatus ViommuDomains::map(std::uint32_t domain, ViommuRange range, PhysAddr phys, std::uint32_t flags) {
  constexpr std::uint32_t known = viommu_flag::map_read | viommu_flag::map_write | viommu_flag::map_mmio;
  if ((flags & ~known) != 0) return ViommuStatus::inval;
  if (const auto status = check_domain(domain); status != ViommuStatus::ok) return status;
  if (range.last < range.first) return ViommuStatus::inval;
  if ((range.first.value() | phys.value() | (range.last.value() + 1)) % granule() != 0 ||
      !config_.input.contains(range.first) || !config_.input.contains(range.last) ||
      phys + (range.last - range.first) < phys)
    return ViommuStatus::range;
  auto& mappings = domains_.at(domain).mappings;
  const auto after = mappings.upper_bound(range.last);
  if (after != mappings.begin() && std::prev(after)->second.last >= range.first) return ViommuStatus::inval;
  mappings.emplace(range.first, Mapping{range.last, phys, flags});
  return ViommuStatus::ok;
}

ViommuStatus ViommuDomains::unmap(std::uint32_t domain, ViommuRange range) {
  if (const auto status = check_domain(domain); status != ViommuStatus::ok) return status;
  auto& mappings = domains_.at(domain).mappings;
  const auto affected = [&](const auto& mapping) {
    return mapping.first <= range.last && range.first <= mapping.second.last;
  };
  // virtio 1.2, 5.13.6.6.2: a request that would split a mapping removes none, not even those inside of it.
  const bool splits = std::ranges::any_of(mappings, [&](const auto& mapping) {
    return affected(mapping) && !(range.contains(mapping.first) && range.contains(mapping.second.last));
  });
  if (splits) return ViommuStatus::range;
  std::erase_if(mappings, affected);
  return ViommuStatus::ok;
}

ViommuStatus ViommuDomains::probe(std::uint32_t endpoint) const {
  return exists_(endpoint) ? ViommuStatus::ok : ViommuStatus::noent;
}

// ---- what a device meets ----

Result<IommuTranslation, ViommuDomains::Refusal> ViommuDomains::look_up(RequesterId requester, DmaAddr at,
                                                                        bool write) const {
  using Refused = tl::unexpected<Refusal>;
  const auto endpoint = endpoints_.find(requester);
  const bool attached = endpoint != endpoints_.end() && endpoint->second.has_value();
  const Domain* const domain = attached ? &domains_.at(*endpoint->second) : nullptr;
  if (domain == nullptr ? bypass_ : domain->bypass) return untranslated(config_.view, at);
  if (endpoint == endpoints_.end())
    return Refused{{FaultKind::iommu_no_domain, ViommuReason::unknown, viommu_flag::fault_address}};
  for (const ViommuReserved& reserved : config_.reserved) {
    if (!reserved.range.contains(at)) continue;
    if (reserved.type == ViommuReservedType::msi) return untranslated(config_.view, at);
    return Refused{{FaultKind::iommu_not_present, ViommuReason::mapping, viommu_flag::fault_address}};
  }
  if (domain == nullptr)
    return Refused{{FaultKind::iommu_no_domain, ViommuReason::domain, viommu_flag::fault_address}};
  return look_up(*domain, at, write);
}

Result<IommuTranslation, ViommuDomains::Refusal> ViommuDomains::look_up(const Domain& domain, DmaAddr at,
                                                                        bool write) const {
  const auto after = domain.mappings.upper_bound(at);
  const auto found = after == domain.mappings.begin() ? domain.mappings.end() : std::prev(after);
  if (found == domain.mappings.end() || found->second.last < at)
    return tl::unexpected<Refusal>{
        {FaultKind::iommu_not_present, ViommuReason::mapping, viommu_flag::fault_address}};
  const auto& [first, mapping] = *found;
  if ((mapping.flags & (write ? viommu_flag::map_write : viommu_flag::map_read)) == 0)
    return tl::unexpected<Refusal>{
        {FaultKind::iommu_protection, ViommuReason::mapping,
         viommu_flag::fault_address | (write ? viommu_flag::fault_write : viommu_flag::fault_read)}};
  IommuTranslation result = untranslated(config_.view, DmaAddr{mapping.phys.value() + (at - first)});
  const std::uint64_t behind = mapping.last - at;  // bytes after this one: a mapping may cover all 2^64
  if (result.bytes - 1 > behind) result.bytes = behind + 1;
  result.translated = true;
  return result;
}

Result<IommuTranslation> ViommuDomains::translate(RequesterId requester, DmaAddr at, bool write) const {
  const auto found = look_up(requester, at, write);
  if (found) return *found;
  report_({found.error().reason, found.error().flags, requester, at});
  return fault(found.error().kind, at.value(), write);
}

Result<IommuTranslation> ViommuDomains::peek(RequesterId requester, DmaAddr at, bool write) const {
  const auto found = look_up(requester, at, write);
  if (found) return *found;
  return fault(found.error().kind, at.value(), write);
}

}  // namespace cbit::iommu
