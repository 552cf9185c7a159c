#include "watch/describe.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {

std::string describe(const Facts& facts, const DeviceAccess& access) {
  std::string text = fmt::format("{} of {} bytes at {} under {}", access.write ? "write" : "read",
                                 access.bytes, access.bus_address, describe_key(facts, access.key));
  if (access.through_iommu) text += fmt::format(", translated to {}", access.phys);
  return text;
}

std::string describe(const Facts& facts, const Mapping& mapping) {
  const DmaMapped& call = mapping.call;
  std::string text =
      fmt::format("{} for {}, {}, {} bytes at {} for {}", stable_name(call.kind), facts.name(call.device),
                  to_string(call.direction), call.bytes, call.dma, call.phys);
  if (mapping.bounced) text += ", bounced";
  if (call.path == DmaPath::iommu)
    text += facts.context().layout.mask() == 0 ? ", behind an IOMMU"
            : call.encrypted                   ? ", IOMMU entry with C-bit"
                                               : ", IOMMU entry without C-bit";
  text += fmt::format(", mapped at {} ns", mapping.mapped_ns);
  if (mapping.released_ns != 0) text += fmt::format(", unmapped at {} ns", mapping.released_ns);
  return text;
}

std::string describe_attribute(const Facts& facts, PhysAddr page) {
  const Attribute* const changed = facts.attribute(page);
  if (changed == nullptr) return fmt::format("{} is private since boot", page.page());
  return fmt::format("{} was made {} by {} in {} at {} ns", page.page(),
                     changed->encrypted ? "private" : "shared", agent_name(changed->agent),
                     facts.name(changed->site), changed->time_ns);
}

std::string describe_writer(const Facts& facts, const KeyMismatch& mismatch) {
  return fmt::format("{} under {} in {}", agent_name(mismatch.writer),
                     describe_key(facts, mismatch.writer_key), facts.name(mismatch.writer_site));
}

std::string describe_key(const Facts& facts, KeyId key) {
  if (key == no_key) return "no key";
  if (facts.context().hosts_guests && is_guests_key(key))
    return fmt::format("the key of ASID {}", key - mem::guest_key(0));
  if (facts.context().is_sme) return fmt::format("the SME key ({})", key);
  if (facts.context().is_guest) return fmt::format("the guest's key ({})", key);
  return fmt::format("key {}", key);
}

std::string describe(const DeviceFault& fault) {
  return fmt::format("{}: {} at {}", to_string(fault.fault.kind), fault.fault.write ? "write" : "read",
                     fault.bus_address);
}

CauseRange pages_of(PhysAddr at, std::uint64_t bytes) {
  const std::uint64_t first = at.page().value();
  const std::uint64_t more = std::min(bytes, ~at.value());
  return {CauseRange::Space::physical, first,
          align_up(at.value() - first + std::max<std::uint64_t>(more, 1), page_size)};
}

CauseRange bus_range(DmaAddr at, std::uint64_t bytes) { return {CauseRange::Space::bus, at.value(), bytes}; }

}  // namespace cbit::watch
