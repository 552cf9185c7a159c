// Frames over a wire, and entropy.
#include <fmt/format.h>

#include <set>

#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"
#include "lab/experiment/virtio_net_part.hpp"

namespace cbit::lab {
namespace {

template <class Driver, class Slot>
StepResult bind(Run& run, Slot& slot) {
  if (slot.driver != nullptr) return trouble_in_step("-EBUSY: a driver is bound to the device");
  auto driver = Driver::probe(run.kernel(), *slot.hardware, *slot.parent, slot.driver_options);
  if (!driver) return trouble_in_step(std::string{kernel::errno_name(driver.error())});
  slot.driver = std::move(*driver);
  return std::string{"bound"};
}

Result<kernel::VirtioNetDriver*, StepTrouble> nic_driver(Run& run, std::size_t id) {
  kernel::VirtioNetDriver* const driver = run.part<VirtioNetPart>().nics[id].driver.get();
  if (driver == nullptr) return trouble_in_step("no driver is bound to the device");
  return driver;
}

constexpr std::string_view net_probe_keys[] = {"device"};

OrError<Action> parse_net_probe(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.device(virtio_net_kind));
  return [id](Run& run) { return bind<kernel::VirtioNetDriver>(run, run.part<VirtioNetPart>().nics[id]); };
}

OrError<Action> parse_rng_probe(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.device(virtio_rng_kind));
  return [id](Run& run) { return bind<kernel::VirtioRngDriver>(run, run.part<VirtioNetPart>().rngs[id]); };
}

// ---- frames ----

constexpr std::string_view frame_keys[] = {"device", "buffer", "offset", "length", "cpu"};

OrError<Action> parse_net_send(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.device(virtio_net_kind));
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const Range range = CBIT_TRY(step.range(step.names.buffers[buffer].bytes));
  const unsigned cpu = CBIT_TRY(step.cpu());
  if (step.names.buffers[buffer].kind != BufferKind::pages)
    return step.keys.error("buffer", "a frame lies in pages of the kernel", "name a buffer of alloc");
  return [=](Run& run) -> StepResult {
    kernel::VirtioNetDriver& driver = *CBIT_TRY(nic_driver(run, id));
    const Run::Buffer& frame = *CBIT_TRY(run.live_buffer(buffer));
    const auto sent = driver.send(run.kernel().cpu(cpu), frame.at + range.offset,
                                  static_cast<std::uint32_t>(std::min(range.bytes, bit_mask(32))));
    if (!sent) return trouble_in_step(std::string{kernel::errno_name(sent.error())});
    return fmt::format("a frame of {} bytes", range.bytes);
  };
}

constexpr std::string_view receive_keys[] = {"device", "buffer", "cpu"};

// The stack copies the frame out of the receive buffer.
OrError<Action> parse_net_receive(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.device(virtio_net_kind));
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const unsigned cpu = CBIT_TRY(step.cpu());
  const std::uint64_t room = step.names.buffers[buffer].bytes;
  return [=](Run& run) -> StepResult {
    kernel::VirtioNetDriver& driver = *CBIT_TRY(nic_driver(run, id));
    CBIT_TRY(run.live_buffer(buffer));
    const auto frame = driver.receive(run.kernel().cpu(cpu));
    if (!frame) return trouble_in_step("no frame has come");
    if (frame->size() > room) return trouble_in_step("the frame is longer than the buffer");
    CBIT_TRY(run.cpu_write({buffer, std::nullopt, cpu}, 0, *frame));
    return fmt::format("a frame of {} bytes", frame->size());
  };
}

// ---- entropy ----

constexpr std::string_view rng_keys[] = {"device", "buffer", "length", "cpu"};

OrError<Action> parse_rng_read(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.device(virtio_rng_kind));
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const std::uint64_t room = step.names.buffers[buffer].bytes;
  const std::uint64_t bytes = CBIT_TRY(step.keys.number("length", 1, room)).value_or(room);
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    kernel::VirtioRngDriver* const driver = run.part<VirtioNetPart>().rngs[id].driver.get();
    if (driver == nullptr) return trouble_in_step("no driver is bound to the device");
    CBIT_TRY(run.live_buffer(buffer));
    const auto entropy = driver->read(run.kernel().cpu(cpu), bytes);
    if (!entropy) return trouble_in_step(std::string{kernel::errno_name(entropy.error())});
    CBIT_TRY(run.cpu_write({buffer, std::nullopt, cpu}, 0, *entropy));
    const std::set<std::byte> values{entropy->begin(), entropy->end()};
    return fmt::format("{} bytes, {} different ones", bytes, values.size());
  };
}

constexpr StepKind virtio_net_step_kinds[] = {
    {"net-probe", net_probe_keys, parse_net_probe},   {"net-send", frame_keys, parse_net_send},
    {"net-receive", receive_keys, parse_net_receive}, {"rng-probe", net_probe_keys, parse_rng_probe},
    {"rng-read", rng_keys, parse_rng_read},
};

}  // namespace

std::span<const StepKind> virtio_net_steps() { return virtio_net_step_kinds; }

}  // namespace cbit::lab
