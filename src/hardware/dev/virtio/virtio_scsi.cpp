#include "dev/virtio/virtio_scsi.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

using namespace spec;

constexpr std::uint32_t size_of_field_max = 256;  // of a CDB, of sense data
constexpr std::uint32_t cdb_bytes_min = 16;

OrError<void> check(const VirtioScsiOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 4)
    return usage_error(fmt::format("queue size {} is not a power of two from 4 up", options.queue_size));
  if (options.serial.size() > scsi_serial_bytes)
    return usage_error(
        fmt::format("serial number '{}' is longer than {} bytes", options.serial, scsi_serial_bytes));
  return {};
}

// 5.6.6.1: 1, the target, and a LUN of one level.
enum class Addressed : std::uint8_t { nobody, no_unit, disk };
Addressed addressed_by(ConstByteSpan lun) {
  if (lun[0] != std::byte{1} || lun[1] != std::byte{0}) return Addressed::nobody;
  const bool is_0 = (lun[2] & std::byte{0x3f}) == std::byte{0} && lun[3] == std::byte{0};
  return is_0 ? Addressed::disk : Addressed::no_unit;
}

}  // namespace

OrError<std::unique_ptr<VirtioScsi>> VirtioScsi::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                        BlockBackend& disk,
                                                        const VirtioScsiOptions& options) {
  CBIT_TRY(check(options));
  return std::unique_ptr<VirtioScsi>{new VirtioScsi{bus, std::move(port), disk, options}};
}

VirtioScsi::VirtioScsi(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk,
                       const VirtioScsiOptions& options)
    : VirtioDevice{bus,
                   std::move(port),
                   options.virtio,
                   0,
                   {options.queue_size, options.queue_size, options.queue_size}},
      disk_{disk, options.serial} {
  config_.num_queues = 1;
  config_.seg_max = options.queue_size - 2u;
  config_.max_sectors = 0xffff;
  config_.cmd_per_lun = options.queue_size;
  config_.event_info_size = virtio_scsi_event_bytes;
  on_reset();
}

void VirtioScsi::on_reset() {
  config_.sense_size = virtio_scsi_sense_default;
  config_.cdb_size = virtio_scsi_cdb_default;
}

void VirtioScsi::write_config(std::uint32_t offset, ConstByteSpan from) {
  if (from.size() != sizeof(std::uint32_t)) return;
  const auto value = load<std::uint32_t>(from);
  if (value > size_of_field_max) return;
  if (offset == offsetof(VirtioScsiConfig, sense_size)) config_.sense_size = value;
  if (offset == offsetof(VirtioScsiConfig, cdb_size)) config_.cdb_size = std::max(value, cdb_bytes_min);
}

OrTrouble<void> VirtioScsi::kicked(std::uint16_t queue) {
  switch (queue) {
    case virtio_scsi_queue::control:
      return serve(queue, [this](const VirtChain& chain) { return control(chain); });
    case virtio_scsi_queue::request:
      return serve(queue, [this](const VirtChain& chain) { return command(chain); });
    default: return {};
  }
}

OrTrouble<ScsiAnswer> VirtioScsi::run(ConstByteSpan cdb, const VirtChain& chain) {
  const ScsiBuffers buffers{
      .in_bytes = chain.writable_bytes() - response_bytes(),
      .out_bytes = chain.readable_bytes() - header_bytes(),
      .give =
          [&](std::uint64_t offset, ConstByteSpan data) {
            return write_segments(dma(), sub_segments(chain.writable, response_bytes() + offset, data.size()),
                                  data);
          },
      .take =
          [&](std::uint64_t offset, ByteSpan data) {
            return read_segments(dma(), sub_segments(chain.readable, header_bytes() + offset, data.size()),
                                 data);
          }};
  return disk_.execute(cdb, buffers);
}

OrTrouble<std::uint32_t> VirtioScsi::command(const VirtChain& chain) {
  if (chain.readable_bytes() < header_bytes())
    return trouble(fmt::format("request header of {} bytes", chain.readable_bytes()));
  if (chain.writable_bytes() < response_bytes())
    return trouble(fmt::format("response of {} bytes", chain.writable_bytes()));
  Bytes header(header_bytes());
  CBIT_TRY(read_segments(dma(), chain.readable, header));

  VirtioScsiResponse response;
  ScsiAnswer answer;
  switch (addressed_by(header)) {
    case Addressed::nobody: response.response = virtio_scsi_response::bad_target; break;
    case Addressed::no_unit:
      answer = {.status = scsi::status::check_condition, .sense = scsi::lun_not_supported};
      break;
    case Addressed::disk:
      answer = CBIT_TRY(run(ConstByteSpan{header}.subspan(virtio_scsi_request_bytes), chain));
      if (answer.overrun) response.response = virtio_scsi_response::overrun;
      break;
  }
  const std::uint64_t out = chain.readable_bytes() - header_bytes();
  const std::uint64_t in = chain.writable_bytes() - response_bytes();
  response.resid = static_cast<std::uint32_t>(std::max(out, in) - answer.given - answer.taken);
  response.status = answer.status;
  Bytes tail(response_bytes());
  if (answer.status != scsi::status::good) {
    const Bytes sense = fixed_sense(answer.sense);
    response.sense_len =
        std::min<std::uint32_t>(static_cast<std::uint32_t>(sense.size()), config_.sense_size);
    std::ranges::copy(ConstByteSpan{sense}.first(response.sense_len), tail.begin() + sizeof response);
  }
  store(tail, 0, response);
  CBIT_TRY(write_segments(dma(), chain.writable, tail));
  return static_cast<std::uint32_t>(tail.size() + answer.given);
}

// Of the functions that there are each is complete: what it is about has ended.
OrTrouble<std::uint32_t> VirtioScsi::control(const VirtChain& chain) {
  VirtioScsiTask task;
  if (chain.readable_bytes() < offsetof(VirtioScsiTask, tag) || chain.writable_bytes() == 0)
    return trouble(fmt::format("control request of {} bytes", chain.readable_bytes()));
  CBIT_TRY(read_segments(dma(), chain.readable, std::as_writable_bytes(std::span{&task, 1})));
  if (task.type != virtio_scsi_control::task_management) {
    // The events that are given, none, and the response.
    std::array<std::byte, 5> none{};
    const bool known = task.type <= virtio_scsi_control::subscribe_notifications;
    none[4] = std::byte{known ? virtio_scsi_response::ok : virtio_scsi_response::function_rejected};
    CBIT_TRY(write_segments(dma(), chain.writable, none));
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(none.size(), chain.writable_bytes()));
  }
  std::uint8_t response = virtio_scsi_response::ok;
  const Addressed addressed = addressed_by(std::as_bytes(std::span{task.lun}));
  if (task.subtype >= virtio_scsi_task_functions) response = virtio_scsi_response::function_rejected;
  if (addressed == Addressed::no_unit) response = virtio_scsi_response::incorrect_lun;
  if (addressed == Addressed::nobody) response = virtio_scsi_response::bad_target;
  CBIT_TRY(write_segments(dma(), chain.writable, bytes_of(response)));
  return sizeof response;
}

void VirtioScsi::transfer_type(StateStream& s) {
  s(config_.cdb_size, config_.sense_size);
  s.require(config_.cdb_size >= cdb_bytes_min, "commands are too short");
}

}  // namespace cbit::dev
