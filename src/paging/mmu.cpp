#include "paging/mmu.hpp"

#include <algorithm>

namespace cbit {

Mmu::Mmu(Memory& memory, Tracer& tracer, const PagingConfig& config, std::uint16_t cpu)
    : memory_{&memory}, tracer_{&tracer}, config_{config}, access_{.agent = {AgentKind::cpu, cpu}} {}

void Mmu::load_cr3(PtePhys cr3) {
  cr3_ = cr3;
  tlb_.flush_non_global();
}

void Mmu::report(const Fault& fault) {
  // Memory reports these where it finds them.
  if (fault.kind == FaultKind::rmp_violation || fault.kind == FaultKind::td_integrity) return;
  tracer_->emit(access_.agent, AccessFault{fault, access_.site});
}

Result<void> Mmu::checked(Result<void> result) {
  if (!result) [[unlikely]]
    report(result.error());
  return result;
}

Result<const Translation*> Mmu::refill(VirtAddr at, Intent intent) {
  const auto walked = walk(*memory_, config_, cr3_, at, intent, privilege_, access_);
  if (!walked) {
    report(walked.error());
    return tl::unexpected{walked.error()};
  }
  return tlb_.insert(at, *walked);
}

Result<Translation> Mmu::translate(VirtAddr at, Intent intent) {
  const Translation* page = tlb_.find(at);
  if (page == nullptr || !usable(*page, intent)) page = CBIT_TRY(refill(at, intent));
  Translation translation = *page;
  translation.phys += at.value() % bytes_of(page->level);
  return translation;
}

Result<void> Mmu::read(VirtAddr from, ByteSpan to) {
  while (!to.empty()) {
    const Reach source = CBIT_TRY(reach(from, Intent::read));
    const std::uint64_t part = std::min<std::uint64_t>(to.size(), source.bytes);
    CBIT_TRY(checked(memory_->read(source.phys, to.first(part), access_with(source.key))));
    to = to.subspan(part);
    from += part;
  }
  return {};
}

Result<void> Mmu::write(VirtAddr to, ConstByteSpan from) {
  while (!from.empty()) {
    const Reach target = CBIT_TRY(reach(to, Intent::write));
    const std::uint64_t part = std::min<std::uint64_t>(from.size(), target.bytes);
    CBIT_TRY(checked(memory_->write(target.phys, from.first(part), access_with(target.key))));
    from = from.subspan(part);
    to += part;
  }
  return {};
}

Result<void> Mmu::copy(VirtAddr to, VirtAddr from, std::uint64_t bytes) {
  while (bytes > 0) {
    const Reach source = CBIT_TRY(reach(from, Intent::read));
    const Reach target = CBIT_TRY(reach(to, Intent::write));
    const std::uint64_t part = std::min({bytes, source.bytes, target.bytes});
    const bool aliased = source.phys < target.phys + part && target.phys < source.phys + part;
    CBIT_TRY(checked(aliased ? copy_aliased(target, source, part)
                             : memory_->copy(target.phys, access_with(target.key), source.phys,
                                             access_with(source.key), part)));
    bytes -= part;
    from += part;
    to += part;
  }
  return {};
}

// Two views of the same bytes, as when a kernel converts a page in place: through a buffer.
Result<void> Mmu::copy_aliased(const Reach& target, const Reach& source, std::uint64_t bytes) {
  std::array<std::byte, page_size> buffer;
  for (std::uint64_t done = 0; done < bytes; done += buffer.size()) {
    const ByteSpan part = std::span{buffer}.first(std::min<std::uint64_t>(bytes - done, buffer.size()));
    CBIT_TRY(memory_->read(source.phys + done, part, access_with(source.key)));
    CBIT_TRY(memory_->write(target.phys + done, part, access_with(target.key)));
  }
  return {};
}

Result<void> Mmu::fill(VirtAddr to, std::uint64_t bytes, std::byte value) {
  while (bytes > 0) {
    const Reach target = CBIT_TRY(reach(to, Intent::write));
    const std::uint64_t part = std::min(bytes, target.bytes);
    CBIT_TRY(checked(memory_->fill(target.phys, part, value, access_with(target.key))));
    bytes -= part;
    to += part;
  }
  return {};
}

}  // namespace cbit
