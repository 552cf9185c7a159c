#include "iommu/amd/amd_iommu.hpp"

#include <algorithm>
#include <utility>

namespace cbit::iommu {

using namespace spec;
namespace at = amd_iommu_register;

namespace {

constexpr std::uint64_t register_bytes = sizeof(std::uint64_t);

// Calls `touch(offset, at, bytes)` for each register that an access of `bytes` meets.
template <class Touch>
void for_each_register(std::uint64_t offset, std::size_t bytes, Touch&& touch) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t piece = std::min(bytes - done, register_bytes - (offset + done) % register_bytes);
    touch(offset + done, done, piece);
    done += piece;
  }
}

}  // namespace

AmdIommu::AmdIommu(const Config& config, mem::Memory& memory, Tracer& tracer,
                   std::function<void(const AmdIommuSignal&)> signal)
    : config_{config},
      format_{config.view},
      memory_{&memory},
      access_{{AgentKind::device, config.self}, no_key, tracer.intern("amd_iommu")},
      signal_{std::move(signal)} {}

void AmdIommu::reset() {
  registers_.reset();
  invalidate_all();
}

AmdIommuControl AmdIommu::control() const { return get<AmdIommuControl>(at::control); }

void AmdIommu::read(std::uint64_t offset, ByteSpan to) const {
  for_each_register(offset, to.size(), [&](std::uint64_t from, std::size_t done, std::size_t bytes) {
    const std::uint64_t within = from % register_bytes;
    const std::uint64_t value = registers_.value(from - within);
    std::ranges::copy(bytes_of(value).subspan(within, bytes), to.begin() + static_cast<std::ptrdiff_t>(done));
  });
}

void AmdIommu::write(std::uint64_t offset, ConstByteSpan from) {
  for_each_register(offset, from.size(), [&](std::uint64_t to, std::size_t done, std::size_t bytes) {
    const auto before = registers_.write(to, from.subspan(done, bytes));
    if (!before) return;
    switch (to - to % register_bytes) {
      case at::control: {
        const AmdIommuControl control_before{{*before}};
        start_or_stop(control_before);
        interrupt_if_pending(control_before);
        run_commands();
        break;
      }
      case at::command_tail: run_commands(); break;
      default: break;
    }
  });
}

void AmdIommu::start_or_stop(AmdIommuControl before) {
  follow<AmdIommuControl::EventLogEn, AmdIommuStatus::EventLogRun>(before);
  follow<AmdIommuControl::PprLogEn, AmdIommuStatus::PprLogRun>(before);
  follow<AmdIommuControl::CmdBufEn, AmdIommuStatus::CmdBufRun>(before);
}

Result<void> AmdIommu::read_memory(PtePhys from, std::uint64_t offset, ByteSpan to, Look look) const {
  const auto [phys, key] = format_.follow(from);
  if (look == Look::peek) return memory_->peek(phys + offset, to, key);
  return memory_->read(phys + offset, to, {access_.agent, key, access_.site});
}

Result<void> AmdIommu::write_memory(PtePhys to, std::uint64_t offset, ConstByteSpan from) const {
  const auto [phys, key] = format_.follow(to);
  return memory_->write(phys + offset, from, {access_.agent, key, access_.site});
}

}  // namespace cbit::iommu
