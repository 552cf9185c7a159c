#include "paging/mmu.hpp"

#include <algorithm>

namespace cbit::paging {

Mmu::Mmu(mem::Memory& memory, Tracer& tracer, const PagingConfig& config, std::uint16_t cpu)
    : memory_{&memory}, tracer_{&tracer}, config_{config}, access_{.agent = {AgentKind::cpu, cpu}} {}

void Mmu::load_cr3(PtePhys cr3) {
  cr3_ = cr3;
  tlb_.flush_non_global();
}

tl::unexpected<Fault> Mmu::refuse(const Fault& fault) {
  // Memory reports these where it finds them.
  if (fault.kind != FaultKind::rmp_violation && fault.kind != FaultKind::td_integrity)
    tracer_->emit(access_.agent, AccessFault{fault, access_.site});
  return tl::unexpected{fault};
}

Result<const Translation*> Mmu::refill(VirtAddr at, Intent intent) {
  const auto walked = walk(*memory_, config_, cr3_, at, intent, privilege_, access_);
  if (!walked) return refuse(walked.error());
  if (config_.view.page_decides && memory_->contains(walked->phys.page(), page_size))
    return with_state_of_page(*walked);
  return tlb_.insert(at, *walked);
}

// An ultracall changes the state for all mappings at once, so it is asked for at each access.
const Translation* Mmu::with_state_of_page(const Translation& walked) {
  uncached_ = walked;
  uncached_.phys = PhysAddr{align_down(walked.phys.value(), level_bytes(walked.level))};
  uncached_.selector = memory_->history(walked.phys.page()).shared ? 0 : 1;
  uncached_.key = config_.view.key(uncached_.selector);
  return &uncached_;
}

Result<Translation> Mmu::translate(VirtAddr at, Intent intent) {
  const Translation* page = CBIT_TRY(page_of(at, intent));
  Translation translation = *page;
  translation.phys = reach(page, at).phys;
  return translation;
}

// Memory first: an access to a device is the rare case, and costs memory's accesses nothing.
Result<void> Mmu::get(const Reach& from, ByteSpan to) {
  auto done = memory_->read(from.phys, to, access_with(from.key));
  if (done || !is_io(from, to.size())) [[likely]]
    return done;
  if (from.key != no_key) return fault(FaultKind::private_mmio, from.phys.value());
  return io_->io_read(from.phys, to);
}

Result<void> Mmu::put(const Reach& to, ConstByteSpan from) {
  auto done = memory_->write(to.phys, from, access_with(to.key));
  if (done || !is_io(to, from.size())) [[likely]]
    return done;
  if (to.key != no_key) return fault(FaultKind::private_mmio, to.phys.value(), true);
  return io_->io_write(to.phys, from);
}

Result<void> Mmu::read(VirtAddr from, ByteSpan to) {
  while (!to.empty()) {
    const Reach source = reach(CBIT_TRY(page_of(from, Intent::read)), from);
    const std::uint64_t part = std::min<std::uint64_t>(to.size(), source.bytes);
    if (const auto done = get(source, to.first(part)); !done) return refuse(done.error());
    to = to.subspan(part);
    from += part;
  }
  return {};
}

Result<void> Mmu::write(VirtAddr to, ConstByteSpan from) {
  while (!from.empty()) {
    const Reach target = reach(CBIT_TRY(page_of(to, Intent::write)), to);
    const std::uint64_t part = std::min<std::uint64_t>(from.size(), target.bytes);
    if (const auto done = put(target, from.first(part)); !done) return refuse(done.error());
    from = from.subspan(part);
    to += part;
  }
  return {};
}

Result<void> Mmu::copy(VirtAddr to, VirtAddr from, std::uint64_t bytes) {
  while (bytes > 0) {
    const Reach source = reach(CBIT_TRY(page_of(from, Intent::read)), from);
    const Reach target = reach(CBIT_TRY(page_of(to, Intent::write)), to);
    const std::uint64_t part = std::min({bytes, source.bytes, target.bytes});
    const bool aliased = source.phys < target.phys + part && target.phys < source.phys + part;
    const auto done =
        aliased || is_io(source, part) || is_io(target, part)
            ? copy_through_buffer(target, source, part)
            : memory_->copy(target.phys, access_with(target.key), source.phys, access_with(source.key), part);
    if (!done) return refuse(done.error());
    bytes -= part;
    from += part;
    to += part;
  }
  return {};
}

// For two views of the same bytes, as when a kernel converts a page in place, and for devices.
Result<void> Mmu::copy_through_buffer(const Reach& target, const Reach& source, std::uint64_t bytes) {
  std::array<std::byte, page_size> buffer;
  for (std::uint64_t done = 0; done < bytes; done += buffer.size()) {
    const ByteSpan part = std::span{buffer}.first(std::min<std::uint64_t>(bytes - done, buffer.size()));
    CBIT_TRY(get({source.phys + done, source.key, part.size()}, part));
    CBIT_TRY(put({target.phys + done, target.key, part.size()}, part));
  }
  return {};
}

Result<void> Mmu::fill_io(const Reach& target, std::uint64_t bytes, std::byte value) {
  std::array<std::byte, page_size> buffer;
  buffer.fill(value);
  for (std::uint64_t done = 0; done < bytes; done += buffer.size()) {
    const std::uint64_t part = std::min<std::uint64_t>(bytes - done, buffer.size());
    CBIT_TRY(put({target.phys + done, target.key, part}, std::span{buffer}.first(part)));
  }
  return {};
}

Result<void> Mmu::fill(VirtAddr to, std::uint64_t bytes, std::byte value) {
  while (bytes > 0) {
    const Reach target = reach(CBIT_TRY(page_of(to, Intent::write)), to);
    const std::uint64_t part = std::min(bytes, target.bytes);
    const auto done = is_io(target, part) ? fill_io(target, part, value)
                                          : memory_->fill(target.phys, part, value, access_with(target.key));
    if (!done) return refuse(done.error());
    bytes -= part;
    to += part;
  }
  return {};
}

}  // namespace cbit::paging
