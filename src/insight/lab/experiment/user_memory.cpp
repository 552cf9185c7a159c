#include "lab/experiment/user_memory.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>

#include "base/assert.hpp"

namespace cbit::lab {

StepTrouble errno_trouble(int error, std::string_view reason) {
  const std::string_view name = kernel::errno_name(error);
  if (reason.empty()) return {std::string{name}};
  return {fmt::format("{}: {}", name, reason)};
}

Result<void> ProcessMemory::read(std::uint64_t offset, ByteSpan to) {
  paging::Mmu& cpu = process_->space().mmu();
  const paging::SiteScope scope{cpu, process_->kernel().machine().tracer().intern("user")};
  return process_->read(at_ + offset, to);
}

Result<void> ProcessMemory::write(std::uint64_t offset, ConstByteSpan from) {
  paging::Mmu& cpu = process_->space().mmu();
  const paging::SiteScope scope{cpu, process_->kernel().machine().tracer().intern("user")};
  return process_->write(at_ + offset, from);
}

Result<void, StepTrouble> Area::locate(Run::Buffer& buffer) {
  buffer.frames.clear();
  for (VirtAddr page = at(); page < at() + buffer.now.size(); page += page_size) {
    std::array<std::byte, 1> touched;
    if (!process().page_at(page))
      if (const auto done = process().read(page, touched); !done)
        return trouble_in_step(describe(done.error()));
    buffer.frames.push_back(process().page_at(page).value_or(PhysAddr{}));
  }
  kernel::Mm& mm = process().kernel().mm();
  buffer.at = mm.phys_to_virt(buffer.frames.front(), mm.page_key_id(buffer.frames.front()));
  return {};
}

Area& area_of(const Run::Buffer& buffer) {
  auto* const area = dynamic_cast<Area*>(buffer.owner.get());
  CBIT_ASSERT(area != nullptr);  // the file's names have kinds, and steps ask for this one
  return *area;
}

Result<kernel::Process*, StepTrouble> UserMemory::first_process(Run& run) {
  if (processes_.empty()) {
    auto process = kernel::Process::create(run.kernel());
    if (!process) return tl::unexpected{errno_trouble(process.error())};
    processes_.push_back(*std::move(process));
    run.at_end([this] { release(); });
  }
  return processes_.front().get();
}

kernel::Process& UserMemory::adopt(std::unique_ptr<kernel::Process> process) {
  return *processes_.emplace_back(std::move(process));
}

kernel::SwapDevice& UserMemory::swap_device(Run& run, std::size_t device) {
  std::unique_ptr<kernel::SwapDevice>& swap = swaps_[device];
  if (swap == nullptr) swap = std::make_unique<kernel::SwapDevice>(run.kernel(), run.device(device));
  return *swap;
}

Result<kernel::Mktme*, StepTrouble> UserMemory::mktme(Run& run) {
  if (mktme_ == nullptr) {
    auto created = kernel::Mktme::create(run.kernel(), config_);
    if (!created) return tl::unexpected{errno_trouble(created.error(), "the machine has no MKTME")};
    mktme_ = *std::move(created);
  }
  return mktme_.get();
}

void UserMemory::release() {
  for (const auto& [buffer, pages] : pinned) processes_.front()->unpin_user_pages(pages, true);
  pinned.clear();
  processes_.clear();
  swaps_.clear();
  mktme_.reset();
}

Result<Run::Buffer*, StepTrouble> untouched(Run& run, std::size_t id) {
  Run::Buffer& buffer = run.buffer(id);
  if (!buffer.exists) return trouble_in_step("the memory does not exist: not mapped, or unmapped");
  return &buffer;
}

void begin_user_buffer(Run& run, std::size_t id, kernel::Process& process, VirtAddr at, std::uint64_t bytes) {
  Run::Buffer& buffer = run.buffer(id);
  buffer.owner = std::make_unique<Area>(process, at);
  run.begin_shadow(buffer, bytes);
}

}  // namespace cbit::lab
