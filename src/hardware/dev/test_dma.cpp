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
  if (timer_) timer_->stop();
  std::ranges::fill(local_, std::byte{0});
  next_ = waiting_ = {};
  result_ = delay_ns_ = interrupt_enable_ = 0;
  interrupt_status_ = {};
  status_ = {};
  fault_.reset();
  update_interrupt();
}

std::uint64_t TestDma::get(Reg64 reg) const {
  switch (reg) {
    case Reg64::id: return id_value;
    case Reg64::source: return next_.source;
    case Reg64::destination: return next_.destination;
    case Reg64::count: return next_.count;
    case Reg64::pattern: return next_.pattern;
    case Reg64::command: return 0;
    case Reg64::status: return status_.raw;
    case Reg64::result: return result_;
    case Reg64::fault_address: return fault_ ? fault_->address : 0;
    case Reg64::interrupt_status: return interrupt_status_.raw;
    case Reg64::interrupt_enable: return interrupt_enable_;
    case Reg64::address_bits: return port_.config().address_bits;
    case Reg64::delay: return delay_ns_;
  }
  return ~std::uint64_t{0};
}

void TestDma::set(Reg64 reg, std::uint64_t value) {
  constexpr std::uint64_t interrupts = 3;
  switch (reg) {
    case Reg64::source: next_.source = value; break;
    case Reg64::destination: next_.destination = value; break;
    case Reg64::count: next_.count = value; break;
    case Reg64::pattern: next_.pattern = value; break;
    case Reg64::command: start(Command{value}); break;
    case Reg64::interrupt_status:
      interrupt_status_.raw &= ~value;
      update_interrupt();
      break;
    case Reg64::interrupt_enable:
      interrupt_enable_ = value & interrupts;
      update_interrupt();
      break;
    case Reg64::delay: delay_ns_ = timer_ ? std::min(value, delay_max_ns) : 0; break;
    case Reg64::id:
    case Reg64::status:
    case Reg64::result:
    case Reg64::address_bits:
    case Reg64::fault_address: break;
  }
}

void TestDma::start(Command command) {
  if (command == Command::reset) return reset();
  if (timer_ && timer_->pending()) return;
  Work work = next_;
  work.command = command;
  if (delay_ns_ == 0) return run(work);
  waiting_ = work;
  status_ = Status{}.with<Status::Busy>(true);
  timer_->start(timer_->clock().now_ns() + delay_ns_);
}

void TestDma::run(const Work& work) {
  busy_ = true;
  const Result<void> done = execute(work);
  busy_ = false;
  fault_.reset();
  status_ = Status{}.with<Status::Done>(true);
  interrupt_status_ = interrupt_status_.with<Interrupt::Done>(true);
  if (!done) {
    fault_ = done.error();
    status_ =
        status_.with<Status::Error>(true).with<Status::Kind>(fault_->kind).with<Status::Write>(fault_->write);
    interrupt_status_ = interrupt_status_.with<Interrupt::Error>(true);
  }
  update_interrupt();
}

void TestDma::update_interrupt() {
  const bool wanted = (interrupt_status_.raw & interrupt_enable_) != 0;
  if (std::exchange(interrupt_wanted_, wanted) != wanted && interrupt_) interrupt_(wanted);
}

Result<void> TestDma::execute(const Work& work) {
  if (work.count > local_bytes) return fault(FaultKind::device_protocol, work.count);
  const DmaAddr from{work.source};
  const DmaAddr to{work.destination};
  switch (work.command) {
    case Command::read: return port_.read(from, CBIT_TRY(local_part(work.destination, work.count)));
    case Command::write: return port_.write(to, CBIT_TRY(local_part(work.source, work.count)));
    case Command::copy: return port_.write(to, CBIT_TRY(read(from, work.count)));
    case Command::fill: {
      Bytes data(work.count);
      for (std::size_t i = 0; i < data.size(); ++i) data[i] = bytes_of(work.pattern)[i % sizeof work.pattern];
      return port_.write(to, data);
    }
    case Command::checksum: result_ = crc32c(CBIT_TRY(read(from, work.count))); return {};
    case Command::reset: break;
  }
  return fault(FaultKind::device_protocol, static_cast<std::uint64_t>(work.command));
}

Result<ByteSpan> TestDma::local_part(std::uint64_t offset, std::uint64_t count) {
  if (offset > local_bytes - count) return fault(FaultKind::device_protocol, offset);
  return local().subspan(offset, count);
}

void TestDma::Work::transfer(StateStream& s) {
  s.choice(command, Command::reset);
  s(source, destination, count, pattern);
}

void TestDma::transfer(StateStream& s) {
  s.raw(local_);
  s(next_, waiting_, result_, delay_ns_, interrupt_enable_, interrupt_status_, interrupt_wanted_, status_);
  bool faulted = fault_.has_value();
  s(faulted);
  if (s.loads() && s.good()) faulted ? void(fault_.emplace()) : fault_.reset();
  if (fault_ && faulted) {
    s.choice(fault_->kind, FaultKind::guest_terminated);
    s(fault_->address, fault_->write);
  }
  if (timer_) s(*timer_);
}

}  // namespace cbit::dev
