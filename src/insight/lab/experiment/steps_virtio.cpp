// A virtio block device and its driver.
#include <fmt/format.h>

#include "base/format.hpp"
#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

OrError<std::size_t> parse_disk(const StepParser& step) { return step.device(virtio_blk_kind); }

Result<kernel::VirtioBlkDriver*, StepTrouble> driver_of(Run& run, std::size_t device) {
  kernel::VirtioBlkDriver* const driver = run.disk(device).driver();
  if (driver == nullptr) return trouble_in_step("no driver is bound to the device");
  return driver;
}

// ---- probe, remove ---------------------------------------------------------------------------------------

constexpr std::string_view probe_keys[] = {"device", "ring"};

// The first page of the ring: the 256 descriptors. Where those behind them begin depends on the transport.
constexpr std::uint64_t ring_bytes = page_size;

OrError<Action> parse_probe(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_disk(step));
  std::optional<std::size_t> ring;
  if (const auto name = CBIT_TRY(step.keys.text("ring"))) {
    if (step.names.buffers.find(*name))
      return step.keys.error("ring", fmt::format("there is a buffer \"{}\" already", *name),
                             "give it another name");
    ring = CBIT_TRY(step.names.buffers.add(step.keys, {*name, BufferKind::ring, ring_bytes}));
  }
  return [id, ring](Run& run) -> StepResult {
    testbed::VirtioDisk& disk = run.disk(id);
    if (disk.driver() != nullptr) return trouble_in_step("-EBUSY: a driver is bound to the device");
    if (const auto probed = disk.probe(); !probed)
      return trouble_in_step(std::string{kernel::errno_name(probed.error())});
    const kernel::CoherentBuffer& memory = disk.driver()->queue().memory();
    if (ring) CBIT_TRY(run.adopt(run.buffer(*ring), run.kernel().cpu(0), memory.cpu, ring_bytes));
    return fmt::format("ring at {}", memory.dma);
  };
}

constexpr std::string_view remove_keys[] = {"device"};

OrError<Action> parse_remove(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_disk(step));
  return [id](Run& run) -> StepResult {
    CBIT_TRY(driver_of(run, id));
    run.disk(id).remove();
    return std::string{"the device is reset"};
  };
}

// ---- requests --------------------------------------------------------------------------------------------

struct Request {
  std::size_t device = 0;
  std::size_t buffer = 0;
  Range range;
  std::uint64_t sector = 0;
  unsigned cpu = 0;
};

constexpr std::string_view transfer_keys[] = {"device", "buffer", "sector", "offset", "length", "cpu"};

OrError<Request> parse_request(const StepParser& step) {
  Request request;
  request.device = CBIT_TRY(parse_disk(step));
  request.buffer = CBIT_TRY(step.buffer());
  request.range = CBIT_TRY(step.range(step.names.buffers[request.buffer].bytes));
  request.sector = CBIT_TRY(step.keys.number("sector", 0, bit_mask(48))).value_or(0);
  request.cpu = CBIT_TRY(step.cpu());
  if (step.names.buffers[request.buffer].kind != BufferKind::bar) return request;
  return step.keys.error("buffer", "a BAR is no memory of the kernel", "name a buffer of alloc");
}

StepResult blk_write(Run& run, const Request& request) {
  kernel::VirtioBlkDriver& driver = *CBIT_TRY(driver_of(run, request.device));
  const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.buffer));
  const auto done = driver.write(run.kernel().cpu(request.cpu), request.sector,
                                 buffer.at + request.range.offset, request.range.bytes);
  if (!done) return trouble_in_step(std::string{kernel::errno_name(done.error())});
  return fmt::format("{} bytes to sector {}", request.range.bytes, request.sector);
}

StepResult blk_read(Run& run, const Request& request) {
  kernel::VirtioBlkDriver& driver = *CBIT_TRY(driver_of(run, request.device));
  Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.buffer));
  const auto done = driver.read(run.kernel().cpu(request.cpu), request.sector,
                                buffer.at + request.range.offset, request.range.bytes);
  if (!done) return trouble_in_step(std::string{kernel::errno_name(done.error())});
  Bytes contents(request.range.bytes);
  const auto read = run.disk(request.device).medium().read(request.sector * dev::sector_size, contents);
  if (!read) return trouble_in_step(read.error().message);
  buffer.written(request.range.offset, contents);
  return fmt::format("{} bytes from sector {}", request.range.bytes, request.sector);
}

OrError<Action> parse_blk_write(StepParser& step) {
  return [request = CBIT_TRY(parse_request(step))](Run& run) { return blk_write(run, request); };
}

OrError<Action> parse_blk_read(StepParser& step) {
  return [request = CBIT_TRY(parse_request(step))](Run& run) { return blk_read(run, request); };
}

constexpr std::string_view blk_flush_keys[] = {"device", "cpu"};

OrError<Action> parse_blk_flush(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_disk(step));
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    kernel::VirtioBlkDriver& driver = *CBIT_TRY(driver_of(run, id));
    const auto done = driver.flush(run.kernel().cpu(cpu));
    if (!done) return trouble_in_step(std::string{kernel::errno_name(done.error())});
    return std::string{"flushed"};
  };
}

// ---- the disk itself -------------------------------------------------------------------------------------

constexpr std::string_view disk_write_keys[] = {"device", "sector", "data", "offset", "length"};

OrError<Action> parse_disk_write(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_disk(step));
  const std::uint64_t size = step.experiment.devices[id].disk_bytes;
  const std::uint64_t sector =
      CBIT_TRY(step.keys.number("sector", 0, size / dev::sector_size - 1)).value_or(0);
  const auto contents =
      CBIT_TRY(step.contents(size - sector * dev::sector_size, testbed::Author::device, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    const auto done = run.disk(id).medium().write(sector * dev::sector_size + contents.range.offset, data);
    if (!done) return trouble_in_step(done.error().message);
    return fmt::format("{} bytes to sector {}", data.size(), sector);
  };
}

constexpr StepKind virtio_step_kinds[] = {
    {"probe", probe_keys, parse_probe},
    {"remove", remove_keys, parse_remove},
    {"blk-write", transfer_keys, parse_blk_write},
    {"blk-read", transfer_keys, parse_blk_read},
    {"blk-flush", blk_flush_keys, parse_blk_flush},
    {"disk-write", disk_write_keys, parse_disk_write},
};

}  // namespace

std::span<const StepKind> virtio_steps() { return virtio_step_kinds; }

}  // namespace cbit::lab
