// A machine with a kernel's memory management, and a log of what happened since it was there.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "kernel/mm/mm.hpp"
#include "support/small_machine.hpp"

namespace cbit::kernel {

struct MmBox {
  explicit MmBox(Platform platform, machine::MachineConfig config = {},
                 KernelVersion version = KernelVersion::v6_1) {
    config.platform = platform;
    machine = machine::Machine::create(config).value();
    mm = Mm::create(*machine, CcPlatform{platform, machine->paging().view.layout}, version).value();
    machine->tracer().attach(log);
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
  [[nodiscard]] mem::KeySelector selector(VirtAddr at) const {
    return mm->cpu(0).translate(at, paging::Intent::read).value().selector;
  }

  test::EventLog log;
  std::unique_ptr<machine::Machine> machine;
  std::unique_ptr<Mm> mm;
};

}  // namespace cbit::kernel
