#include "dev/gpu/gpu.hpp"

#include <algorithm>

#include "dev/crc32c.hpp"

namespace cbit::dev {
namespace {

bool is_register(std::uint64_t offset, std::uint64_t bytes) {
  return bytes == sizeof(std::uint64_t) && offset % sizeof(std::uint64_t) == 0;
}

}  // namespace

// ---- registers --------------------------------------------------------------------------------------------

Result<void> Gpu::read(std::uint64_t offset, ByteSpan to) {
  if (busy_ || !is_register(offset, to.size())) return fault(FaultKind::device_protocol, offset);
  cbit::store(to, 0, get(Reg64{offset}));
  return {};
}

Result<void> Gpu::write(std::uint64_t offset, ConstByteSpan from) {
  if (busy_ || !is_register(offset, from.size())) return fault(FaultKind::device_protocol, offset, true);
  set(Reg64{offset}, cbit::load<std::uint64_t>(from));
  return {};
}

std::uint64_t Gpu::get(Reg64 reg) const {
  switch (reg) {
    case Reg64::id: return id_value;
    case Reg64::vram_bytes: return vram_->data().size();
    case Reg64::gart_base: return gart_base_;
    case Reg64::gart_entries: return gart_entries_;
    case Reg64::source: return source_;
    case Reg64::destination: return destination_;
    case Reg64::count: return count_;
    case Reg64::pattern: return pattern_;
    case Reg64::command: return 0;
    case Reg64::status: return status_.raw;
    case Reg64::result: return result_;
    case Reg64::fault_address: return fault_ ? fault_->address : 0;
  }
  return ~std::uint64_t{0};
}

void Gpu::set(Reg64 reg, std::uint64_t value) {
  switch (reg) {
    case Reg64::gart_base: gart_base_ = value; break;
    case Reg64::gart_entries: gart_entries_ = value; break;
    case Reg64::source: source_ = value; break;
    case Reg64::destination: destination_ = value; break;
    case Reg64::count: count_ = value; break;
    case Reg64::pattern: pattern_ = value; break;
    case Reg64::command: run(Command{value}); break;
    case Reg64::id:
    case Reg64::vram_bytes:
    case Reg64::status:
    case Reg64::result:
    case Reg64::fault_address: break;
  }
}

void Gpu::reset() {
  std::ranges::fill(vram_->data(), std::byte{0});
  gart_base_ = gart_entries_ = source_ = destination_ = count_ = pattern_ = result_ = 0;
  status_ = {};
  fault_.reset();
}

// ---- the engine -------------------------------------------------------------------------------------------

void Gpu::run(Command command) {
  if (command == Command::reset) return reset();
  busy_ = true;
  const Result<void> done = execute(command);
  busy_ = false;
  fault_.reset();
  status_ = Status{}.with<Status::Done>(true);
  if (done) return;
  const auto [kind, address, write] = done.error();
  fault_.emplace(kind, address, write);
  status_ = status_.with<Status::Error>(true).with<Status::Kind>(kind).with<Status::Write>(write);
}

Result<void> Gpu::execute(Command command) {
  if (count_ > transfer_max) return fault(FaultKind::device_protocol, count_);
  Bytes data(count_);
  switch (command) {
    case Command::copy: CBIT_TRY(load(GpuAddr{source_}, data)); return store(GpuAddr{destination_}, data);
    case Command::fill:
      for (std::size_t i = 0; i < data.size(); ++i) data[i] = bytes_of(pattern_)[i % sizeof pattern_];
      return store(GpuAddr{destination_}, data);
    case Command::scanout:
      CBIT_TRY(load(GpuAddr{source_}, data));
      result_ = crc32c(data);
      return {};
    case Command::reset: break;
  }
  return fault(FaultKind::device_protocol, static_cast<std::uint64_t>(command));
}

// ---- the address space ------------------------------------------------------------------------------------

Result<DmaAddr> Gpu::translate(GpuAddr at, bool write) const {
  const std::uint64_t number = (at - gart_aperture) / page_size;
  if (number >= gart_entries_) return fault(FaultKind::device_protocol, at.value(), write);
  std::array<std::byte, sizeof(GartEntry)> raw;
  CBIT_TRY(vram_->peek(gart_base_ + number * sizeof(GartEntry), raw));
  const auto entry = cbit::load<GartEntry>(raw);
  const bool permits = write ? entry.get<GartEntry::Writable>() : entry.get<GartEntry::Readable>();
  if (!entry.get<GartEntry::Valid>() || !permits) return fault(FaultKind::device_protocol, at.value(), write);
  return entry.page() + at.page_offset();
}

template <class Vram, class System>
Result<void> Gpu::transfer(GpuAddr at, std::uint64_t bytes, bool write, Vram&& vram, System&& system) const {
  for (std::uint64_t done = 0; done < bytes;) {
    const GpuAddr here = at + done;
    if (here < at) return fault(FaultKind::no_memory, at.value(), write);
    std::uint64_t part = bytes - done;
    if (here < gart_aperture) {
      const ByteSpan memory = vram_->data();
      if (here.value() >= memory.size()) return fault(FaultKind::no_memory, here.value(), write);
      part = std::min(part, memory.size() - here.value());
      vram(memory.subspan(here.value(), part), done);
    } else {
      part = std::min(part, page_size - here.page_offset());
      const DmaAddr bus = CBIT_TRY(translate(here, write));
      CBIT_TRY(system(bus, part, done));
    }
    done += part;
  }
  return {};
}

Result<void> Gpu::load(GpuAddr from, ByteSpan to) {
  return transfer(
      from, to.size(), false,
      [&](ByteSpan vram, std::uint64_t done) { std::ranges::copy(vram, to.subspan(done).begin()); },
      [&](DmaAddr bus, std::uint64_t bytes, std::uint64_t done) {
        return port_.read(bus, to.subspan(done, bytes));
      });
}

Result<void> Gpu::store(GpuAddr to, ConstByteSpan from) {
  return transfer(
      to, from.size(), true,
      [&](ByteSpan vram, std::uint64_t done) {
        std::ranges::copy(from.subspan(done, vram.size()), vram.begin());
      },
      [&](DmaAddr bus, std::uint64_t bytes, std::uint64_t done) {
        return port_.write(bus, from.subspan(done, bytes));
      });
}

Result<void> Gpu::peek(GpuAddr from, ByteSpan to) const {
  return transfer(
      from, to.size(), false,
      [&](ByteSpan vram, std::uint64_t done) { std::ranges::copy(vram, to.subspan(done).begin()); },
      [&](DmaAddr bus, std::uint64_t bytes, std::uint64_t done) {
        return port_.peek(bus, to.subspan(done, bytes));
      });
}

}  // namespace cbit::dev
