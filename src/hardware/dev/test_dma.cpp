#include "dev/test_dma.hpp"

#include <algorithm>

#include "dev/crc32c.hpp"

namespace cbit::dev {
namespace {

bool is_local(std::uint64_t offset, std::uint64_t bytes) {
  return bytes <= TestDma::local_bytes && offset >= TestDma::local_offset &&
         offset <= TestDma::region_bytes - bytes;
}

bool is_register(std::uint64_t offset, std::uint64_t bytes) {
  return bytes == sizeof(std::uint64_t) && offset % sizeof(std::uint64_t) == 0;
}

}  // namespace

Result<void> TestDma::read(std::uint64_t offset, ByteSpan to) {
  if (busy_) return fault(FaultKind::device_protocol, offset);
  if (is_local(offset, to.size())) {
    std::ranges::copy(local().subspan(offset - local_offset, to.size()), to.begin());
    return {};
  }
  if (!is_register(offset, to.size())) return fault(FaultKind::device_protocol, offset);
  store(to, 0, get(Reg64{offset}));
  return {};
}

Result<void> TestDma::write(std::uint64_t offset, ConstByteSpan from) {
  if (busy_) return fault(FaultKind::device_protocol, offset, true);
  if (is_local(offset, from.size())) {
    std::ranges::copy(from, local().subspan(offset - local_offset).begin());
    return {};
  }
  if (!is_register(offset, from.size())) return fault(FaultKind::device_protocol, offset, true);
  set(Reg64{offset}, load<std::uint64_t>(from));
  return {};
}

Result<Bytes> TestDma::read(DmaAddr from, std::uint64_t bytes) {
  if (bytes > transfer_max) return fault(FaultKind::device_protocol, from.value());
  Bytes data(bytes);
  CBIT_TRY(port_.read(from, data));
  return data;
}

Result<void> TestDma::write(DmaAddr to, ConstByteSpan from) {
  if (from.size() > transfer_max) return fault(FaultKind::device_protocol, to.value(), true);
  return port_.write(to, from);
}

void TestDma::reset() {
  std::ranges::fill(local_, std::byte{0});
  source_ = destination_ = count_ = pattern_ = result_ = 0;
  status_ = {};
  fault_.reset();
}

std::uint64_t TestDma::get(Reg64 reg) const {
  switch (reg) {
    case Reg64::id: return id_value;
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

void TestDma::set(Reg64 reg, std::uint64_t value) {
  switch (reg) {
    case Reg64::source: source_ = value; break;
    case Reg64::destination: destination_ = value; break;
    case Reg64::count: count_ = value; break;
    case Reg64::pattern: pattern_ = value; break;
    case Reg64::command: run(Command{value}); break;
    case Reg64::id:
    case Reg64::status:
    case Reg64::result:
    case Reg64::fault_address: break;
  }
}

void TestDma::run(Command command) {
  if (command == Command::reset) return reset();
  busy_ = true;
  const Result<void> done = execute(command);
  busy_ = false;
  fault_.reset();
  status_ = Status{}.with<Status::Done>(true);
  if (done) return;
  fault_ = done.error();
  status_ =
      status_.with<Status::Error>(true).with<Status::Kind>(fault_->kind).with<Status::Write>(fault_->write);
}

Result<void> TestDma::execute(Command command) {
  if (count_ > local_bytes) return fault(FaultKind::device_protocol, count_);
  const DmaAddr from{source_};
  const DmaAddr to{destination_};
  switch (command) {
    case Command::read: return port_.read(from, CBIT_TRY(local_part(destination_)));
    case Command::write: return port_.write(to, CBIT_TRY(local_part(source_)));
    case Command::copy: return port_.write(to, CBIT_TRY(read(from, count_)));
    case Command::fill: {
      Bytes data(count_);
      for (std::size_t i = 0; i < data.size(); ++i) data[i] = bytes_of(pattern_)[i % sizeof pattern_];
      return port_.write(to, data);
    }
    case Command::checksum: result_ = crc32c(CBIT_TRY(read(from, count_))); return {};
    case Command::reset: break;
  }
  return fault(FaultKind::device_protocol, static_cast<std::uint64_t>(command));
}

Result<ByteSpan> TestDma::local_part(std::uint64_t offset) {
  if (offset > local_bytes - count_) return fault(FaultKind::device_protocol, offset);
  return local().subspan(offset, count_);
}

}  // namespace cbit::dev
