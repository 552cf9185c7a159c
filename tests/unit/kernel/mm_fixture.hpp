// A machine with a kernel's memory management, and a log of its events.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "kernel/mm/mm.hpp"

namespace cbit {

class EventLog final : public EventSink {
 public:
  explicit EventLog(Tracer& tracer) : tracer_{&tracer} { tracer.attach(*this); }
  ~EventLog() override { tracer_->detach(*this); }
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;
  void on_event(const Event& event) override { events.push_back(event); }

  template <class Payload>
  [[nodiscard]] std::vector<Payload> all() const {
    std::vector<Payload> found;
    for (const Event& event : events)
      if (const auto* payload = std::get_if<Payload>(&event.payload)) found.push_back(*payload);
    return found;
  }

  std::vector<Event> events;

 private:
  Tracer* tracer_;
};

struct MmBox {
  explicit MmBox(Platform platform, MachineConfig config = {}, KernelVersion version = KernelVersion::v6_1) {
    config.platform = platform;
    machine = Machine::create(config).value();
    mm = Mm::create(*machine, CcPlatform{platform, machine->paging().view.layout}, version).value();
  }

  // What is in DRAM behind a direct-map address: ciphertext where it is encrypted.
  [[nodiscard]] Bytes dram(VirtAddr at, std::size_t bytes) const {
    Bytes seen(bytes);
    EXPECT_TRUE(machine->memory().probe(mm->virt_to_phys(at), seen));
    return seen;
  }
  [[nodiscard]] Bytes read(VirtAddr at, std::size_t bytes) const {
    Bytes seen(bytes);
    EXPECT_TRUE(mm->cpu(0).read(at, seen));
    return seen;
  }
  [[nodiscard]] KeySelector selector(VirtAddr at) const {
    return mm->cpu(0).translate(at, Intent::read).value().selector;
  }

  std::unique_ptr<Machine> machine;
  std::unique_ptr<Mm> mm;
};

}  // namespace cbit
