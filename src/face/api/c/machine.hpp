// The machine behind the C headers (cbit/linux.h, cbit/sandbox.h), and how a call of a driver meets it.
//
// Threading: one thread per machine.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/c/host_pages.hpp"
#include "bus/system_bus.hpp"
#include "cbit/linux.h"
#include "cbit/sandbox.h"
#include "cbit/sandbox.hpp"
#include "testbed/testbed.hpp"

// One device: the driver's side of it, and the hardware.
struct cbit_device {
  cbit_sandbox* box = nullptr;
  pci_dev pdev{};
  cbit::kernel::Device* kernel = nullptr;
  cbit::dev::TestDma* hardware = nullptr;
  cbit::mem::PhysRange registers;
  pci_driver* driver = nullptr;
  int probe_result = -ENODEV;
  irq_handler_t handler = nullptr;
  void* handler_argument = nullptr;
  bool interrupt_waits = false;
  std::vector<std::function<void()>> managed;  // devm_: called last to first when the driver lets go
  void* windows[6] = {};                       // pcim_iomap_table()
};

struct cbit_sandbox {
  // Where registers are mapped: what the driver has for a pointer, and where it leads.
  struct Window {
    cbit::VirtAddr at;
    std::uint64_t bytes = 0;
    std::uint64_t reserved = 0;
  };

  std::unique_ptr<cbit::testbed::Testbed> bed;
  cbit::api::HostPages pages;
  std::map<const void*, Window> windows;
  std::vector<std::unique_ptr<cbit_device>> devices;
  std::vector<pci_driver*> drivers;
  unsigned interrupts_off = 0;
  unsigned devices_made = 0;
  cbit::SiteId driver_site = 0;
  std::vector<cbit::Sandbox::Problem> problems;  // as last asked for

  [[nodiscard]] cbit::kernel::Kernel& kernel() const { return bed->kernel(); }
  [[nodiscard]] cbit::kernel::Mm& mm() const { return bed->kernel().mm(); }
  [[nodiscard]] cbit::kernel::Dma& dma() const { return bed->kernel().dma(); }
  [[nodiscard]] cbit::paging::Mmu& cpu() const { return bed->kernel().cpu(0); }

  void log(std::string text);
  // The driver's stores reach memory, and it sees memory as it is.
  void store();
  void load() { pages.load(cpu()); }
  // Interrupts that wait, unless they are off.
  void deliver_interrupts();
  // Runs code of the driver.
  template <class Function>
  auto run(Function&& function) {
    load();
    struct Stored {
      cbit_sandbox* box;
      ~Stored() { box->store(); }
    } stored{this};
    return function();
  }

  // The kernel's address of the driver's pointer; nullopt: it is none of the kernel's.
  [[nodiscard]] std::optional<cbit::VirtAddr> address_of(const volatile void* pointer) const;
  // The same for the DMA API, to which all other memory of the host is vmalloc memory.
  [[nodiscard]] cbit::VirtAddr dma_address_of(const void* pointer) const;
  // A block of the kernel's pages; nullptr when there is none left.
  void* allocate(std::uint64_t bytes, gfp_t flags);
  void free(const void* at, std::string_view function);
};

namespace cbit::api {

// This thread's machine; nullptr: none.
[[nodiscard]] cbit_sandbox* current_machine();
void set_current_machine(cbit_sandbox* box);

// Host addresses that nobody may touch, for pointers to registers. Throws std::bad_alloc.
[[nodiscard]] void* reserve_addresses(std::uint64_t bytes);
void release_addresses(void* at, std::uint64_t bytes);

// All modules of the program; init() of those that have one, in order.
struct Module {
  int (*init)();
  void (*exit)();
};
[[nodiscard]] std::vector<Module>& modules();

// A call from the driver or the test into the machine: what the driver stored is in memory before, and what
// is in memory then is seen after. An exception that would leave it ends the program: the caller is C.
class Call {
 public:
  explicit Call(cbit_sandbox& box) : box_{&box}, exceptions_{std::uncaught_exceptions()} {
    set_current_machine(&box);
    box.store();
  }
  explicit Call(const device* dev) : Call{*dev->cbit->box} {}
  ~Call() {
    if (std::uncaught_exceptions() != exceptions_) std::terminate();
    box_->store();  // results that the driver wants in its memory
    box_->load();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  [[nodiscard]] cbit_sandbox* operator->() const { return box_; }
  [[nodiscard]] paging::Mmu& cpu() const { return box_->cpu(); }

 private:
  cbit_sandbox* box_;
  int exceptions_;
};

[[nodiscard]] inline kernel::Device& driver_of(const device* dev) { return *dev->cbit->kernel; }

// What the devices of a machine, and the machine, do at their end: remove(), and what it manages.
std::size_t let_go(cbit_device& device);
// Has the driver that wants it probe the device.
void probe(cbit_device& device);

}  // namespace cbit::api
