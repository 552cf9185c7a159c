#include "kernel/mm/swap.hpp"

#include <cerrno>
#include <utility>
#include <vector>

namespace cbit::kernel {
namespace {

constexpr std::string_view swap_out_word = "swap-out", migration = "migration";

std::string_view word_of(Backing::Kind kind) {
  switch (kind) {
    case Backing::Kind::file: return "file";
    case Backing::Kind::dax: return "dax";
    case Backing::Kind::device: return "device";
  }
  return "?";
}

}  // namespace

SwapDevice::SwapDevice(Kernel& kernel, Device& dev)
    : kernel_{&kernel},
      dev_{&dev},
      port_{kernel.machine().bus(), {.device = dev.name, .requester = dev.requester}} {}

Result<std::uint64_t, int> SwapDevice::write_page(PhysAddr page) {
  paging::Mmu& cpu = kernel_->cpu(0);
  const DmaAddr dma = kernel_->dma().map_page(cpu, *dev_, page, page_size, DmaDirection::to_device, {});
  if (kernel_->dma().mapping_error(*dev_, dma)) return tl::unexpected{EIO};
  Bytes contents(page_size);
  const bool done = port_.read(dma, contents).has_value();
  kernel_->dma().unmap_page(cpu, *dev_, dma, page_size, DmaDirection::to_device, {});
  if (!done) return tl::unexpected{EIO};
  slots_.emplace(next_, std::move(contents));
  return next_++;
}

Result<void, int> SwapDevice::read_page(std::uint64_t slot, PhysAddr page) {
  paging::Mmu& cpu = kernel_->cpu(0);
  const DmaAddr dma = kernel_->dma().map_page(cpu, *dev_, page, page_size, DmaDirection::from_device, {});
  if (kernel_->dma().mapping_error(*dev_, dma)) return tl::unexpected{EIO};
  const bool done = port_.write(dma, slots_.at(slot)).has_value();
  kernel_->dma().unmap_page(cpu, *dev_, dma, page_size, DmaDirection::from_device, {});
  if (!done) return tl::unexpected{EIO};
  return {};
}

void SwapSlot::swapped_in(Tracer& tracer, Agent agent, PhysAddr to) const {
  if (foreign_) tracer.emit(agent, FrameCopied{from_, to, page_size, "swap-in"});
}

// Moves a page out of the processes that map it.
class PageMover {
 public:
  PageMover(Process& process, VirtAddr at, std::string_view what)
      : process_{process}, at_{at.page()}, what_{what}, pages_{process.kernel().mm().user_pages()} {}

  // The page, if it may be moved.
  Result<PhysAddr, int> movable(Pinned pinned) const {
    const auto page = process_.page_at(at_);
    const Vma* const area = process_.areas().find(at_);
    if (!page || area == nullptr) return tl::unexpected{EFAULT};
    if (!area->anonymous() && !(what_ == migration && area->backing->kind() == Backing::Kind::file))
      return refuse(*page, word_of(area->backing->kind()), EINVAL);
    if (pages_.pins(*page) != 0 && pinned == Pinned::refuse) return refuse(*page, "pinned", EBUSY);
    return *page;
  }

  // The contents go through the mapping of the page's attribute: contents under another key as ciphertext.
  [[nodiscard]] bool holds_foreign_contents(PhysAddr page) const {
    machine::Machine& machine = process_.kernel().machine();
    const KeyId key = machine.paging().view.key(pages_.key(page));
    const mem::PageHistory history = machine.memory().history(page);
    return history.writer_key != no_key && history.writer_key != key;
  }

  // Calls `visit(process, address, entry)` for each place where the page is mapped.
  template <class Visit>
  void for_each_mapping(PhysAddr page, Visit&& visit) {
    const auto places = pages_.mappings(page);
    for (const auto& [process, at] : std::vector(places.begin(), places.end()))
      visit(*process, at, process->entries_.at(at));
  }

  Result<void, int> copy(PhysAddr to, PhysAddr from) {
    return process_.copy_page(to, from, pages_.key(from));
  }

  static Result<void, int> update(Process& process, VirtAddr at, const Process::Entry& entry) {
    return process.update_table(at, *process.areas_.find(at), entry);
  }
  static void unmap(Process& process, VirtAddr at) { process.space_->unmap(at, 1); }

  [[nodiscard]] UserPages& pages() { return pages_; }

 private:
  tl::unexpected<int> refuse(PhysAddr page, std::string_view reason, int error) const {
    process_.kernel().machine().tracer().emit(process_.space().mmu().agent(),
                                              PageMoveRefused{page, what_, reason});
    return tl::unexpected{error};
  }

  Process& process_;
  VirtAddr at_;
  std::string_view what_;
  UserPages& pages_;
};

Result<std::uint64_t, int> swap_out(Process& process, VirtAddr at, SwapDevice& device, Pinned pinned) {
  PageMover mover{process, at, swap_out_word};
  const PhysAddr page = CBIT_TRY(mover.movable(pinned));
  const std::uint64_t index = CBIT_TRY(device.write_page(page));
  const auto slot = std::make_shared<SwapSlot>(device, index, page, mover.holds_foreign_contents(page));
  mover.for_each_mapping(page, [&](Process& mapper, VirtAddr where, auto& entry) {
    PageMover::unmap(mapper, where);
    entry.swap = slot;
    mover.pages().unmap(page, {&mapper, where});
  });
  return index;
}

Result<PhysAddr, int> migrate_page(Process& process, VirtAddr at, Pinned pinned) {
  PageMover mover{process, at, migration};
  const PhysAddr from = CBIT_TRY(mover.movable(pinned));
  const PhysAddr to = CBIT_TRY(mover.pages().allocate(mover.pages().key(from)));
  const bool foreign = mover.holds_foreign_contents(from);
  if (const auto copied = mover.copy(to, from); !copied) {
    mover.pages().release(to);
    return tl::unexpected{copied.error()};
  }
  if (foreign)
    process.kernel().machine().tracer().emit(process.space().mmu().agent(),
                                             FrameCopied{from, to, page_size, migration});
  mover.pages().pass_ownership(from, to);
  if (const Vma* const area = process.areas().find(at.page()); !area->anonymous())
    area->backing->moved(from, to);
  int error = 0;
  mover.for_each_mapping(from, [&](Process& mapper, VirtAddr where, auto& entry) {
    mover.pages().map(to, {&mapper, where});
    entry.page = to;
    if (const auto done = PageMover::update(mapper, where, entry); !done) error = done.error();
    mover.pages().unmap(from, {&mapper, where});
  });
  if (error != 0) return tl::unexpected{error};
  return to;
}

}  // namespace cbit::kernel
