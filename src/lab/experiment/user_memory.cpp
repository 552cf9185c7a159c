#include "lab/experiment/user_memory.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "lab/words.hpp"

namespace cbit::lab {

StepTrouble errno_trouble(int error, std::string_view reason) {
  const std::string_view name = error == ENOKEY ? "-ENOKEY" : errno_name(static_cast<Errno>(error));
  if (reason.empty()) return {std::string{name}};
  return {fmt::format("{}: {}", name, reason)};
}

Result<Process*, StepTrouble> UserMemory::first_process(Run& run) {
  if (processes_.empty()) {
    auto process = Process::create(run.kernel());
    if (!process) return tl::unexpected{errno_trouble(process.error())};
    processes_.push_back(*std::move(process));
    run.at_end([this] { release(); });
  }
  return processes_.front().get();
}

Process& UserMemory::adopt(std::unique_ptr<Process> process) {
  return *processes_.emplace_back(std::move(process));
}

SwapDevice& UserMemory::swap_device(Run& run, std::size_t device) {
  std::unique_ptr<SwapDevice>& swap = swaps_[device];
  if (swap == nullptr) swap = std::make_unique<SwapDevice>(run.kernel(), run.device(device));
  return *swap;
}

Result<Mktme*, StepTrouble> UserMemory::mktme(Run& run) {
  if (mktme_ == nullptr) {
    auto created = Mktme::create(run.kernel(), config_);
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

void begin_user_buffer(Run& run, std::size_t id, Process& process, VirtAddr at, std::uint64_t bytes) {
  Run::Buffer& buffer = run.buffer(id);
  buffer.process = &process;
  buffer.user_at = at;
  run.begin_shadow(buffer, bytes);
}

}  // namespace cbit::lab
