// Devices of cbit/linux.h: messages, registers, time, interrupts, PCI.
#include <fmt/format.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "api/c/machine.hpp"

using namespace cbit;
using api::Call;
using api::current_machine;

namespace {

std::string formatted(const char* format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  std::string text(static_cast<std::size_t>(std::max(length, 0)) + 1, '\0');
  std::vsnprintf(text.data(), text.size(), format, arguments);
  text.pop_back();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void say(const device* dev, const std::string& text) {
  cbit_device& of = *dev->cbit;
  of.box->log(fmt::format("{} {}: {}", of.driver != nullptr ? of.driver->name : "pci", dev_name(dev), text));
}

}  // namespace

// ---- messages ---------------------------------------------------------------------------------------------

int _printk(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const std::string text = formatted(format, arguments);
  va_end(arguments);
  if (cbit_sandbox* const box = current_machine()) box->log(text);
  return static_cast<int>(text.size());
}
void _dev_printk(const device* dev, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(dev, formatted(format, arguments));
  va_end(arguments);
}
int dev_err_probe(const device* dev, int error, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(dev, fmt::format("error {}: {}", error, formatted(format, arguments)));
  va_end(arguments);
  return error;
}
const char* dev_name(const device* dev) { return dev->cbit->kernel->name.c_str(); }

// ---- registers --------------------------------------------------------------------------------------------

namespace {

// Where a register is; nullopt: the driver has mapped none there.
std::optional<VirtAddr> register_at(const cbit_sandbox& box, const volatile void* pointer,
                                    std::size_t bytes) {
  const auto* const at = static_cast<const std::byte*>(const_cast<const void*>(pointer));
  const auto after = box.windows.upper_bound(at);
  if (after == box.windows.begin()) return std::nullopt;
  const auto& [first, window] = *std::prev(after);
  const auto offset = static_cast<std::uint64_t>(at - static_cast<const std::byte*>(first));
  if (offset > window.bytes || bytes > window.bytes - offset) return std::nullopt;
  return window.at + offset;
}

void read_register(const volatile void* at, ByteSpan to) {
  std::ranges::fill(to, std::byte{0xff});
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return;
  const Call call{*box};
  const auto address = register_at(*box, at, to.size());
  if (!address) return box->log("a read of registers that are not mapped");
  Bytes value(to.size());
  if (box->cpu().read(*address, value)) std::ranges::copy(value, to.begin());
}
void write_register(volatile void* at, ConstByteSpan from) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return;
  const Call call{*box};
  const auto address = register_at(*box, at, from.size());
  if (!address) return box->log("a write to registers that are not mapped");
  static_cast<void>(box->cpu().write(*address, from));
}

template <class T>
T read_as(const volatile void* at) {
  std::array<std::byte, sizeof(T)> raw;
  read_register(at, raw);
  return load<T>(raw);
}

}  // namespace

u8 readb(const volatile void* at) { return read_as<u8>(at); }
u16 readw(const volatile void* at) { return read_as<u16>(at); }
u32 readl(const volatile void* at) { return read_as<u32>(at); }
u64 readq(const volatile void* at) { return read_as<u64>(at); }
void writeb(u8 value, volatile void* at) { write_register(at, bytes_of(value)); }
void writew(u16 value, volatile void* at) { write_register(at, bytes_of(value)); }
void writel(u32 value, volatile void* at) { write_register(at, bytes_of(value)); }
void writeq(u64 value, volatile void* at) { write_register(at, bytes_of(value)); }
void memset_io(volatile void* to, int value, size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) writeb(static_cast<u8>(value), static_cast<volatile char*>(to) + i);
}
void memcpy_fromio(void* to, const volatile void* from, size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    static_cast<u8*>(to)[i] = readb(static_cast<const volatile char*>(from) + i);
}
void memcpy_toio(volatile void* to, const void* from, size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    writeb(static_cast<const u8*>(from)[i], static_cast<volatile char*>(to) + i);
}

// ---- time -------------------------------------------------------------------------------------------------

namespace {

void pass(std::uint64_t ns) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return;
  const Call call{*box};
  box->bed->machine().clock().advance(ns);
}

}  // namespace

void udelay(unsigned long us) { pass(us * 1000); }
void mdelay(unsigned long ms) { pass(ms * 1'000'000); }
void msleep(unsigned ms) { pass(ms * 1'000'000ull); }
void usleep_range(unsigned long least_us, unsigned long) { pass(least_us * 1000); }
void cpu_relax(void) { pass(100); }
unsigned long wait_for_completion_timeout(completion* c, unsigned long jiffies) {
  if (c->done == 0) msleep(static_cast<unsigned>(jiffies));
  if (c->done == 0) return 0;
  --c->done;
  return 1;
}

// ---- interrupts -------------------------------------------------------------------------------------------

void cbit_sandbox::deliver_interrupts() {
  for (const auto& one : devices) {
    if (interrupts_off != 0 || !one->interrupt_waits || one->handler == nullptr) continue;
    one->interrupt_waits = false;
    ++interrupts_off;
    run([&] { return one->handler(static_cast<int>(one->pdev.irq), one->handler_argument); });
    --interrupts_off;
  }
}

void cbit_irq_off(void) {
  if (cbit_sandbox* const box = current_machine()) ++box->interrupts_off;
}
void cbit_irq_on(void) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr || box->interrupts_off == 0) return;
  const Call call{*box};
  if (--box->interrupts_off == 0) box->deliver_interrupts();
}

bool cbit_raise_interrupt(device* dev) {
  const Call call{dev};
  if (dev->cbit->handler == nullptr) return false;
  dev->cbit->interrupt_waits = true;
  call->deliver_interrupts();
  return true;
}

namespace {

cbit_device* device_of_irq(unsigned irq) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return nullptr;
  const auto found =
      std::ranges::find_if(box->devices, [&](const auto& one) { return one->pdev.irq == irq; });
  return found != box->devices.end() ? found->get() : nullptr;
}

}  // namespace

int request_irq(unsigned irq, irq_handler_t handler, unsigned long, const char*, void* argument) {
  cbit_device* const of = device_of_irq(irq);
  if (of == nullptr || handler == nullptr) return -EINVAL;
  if (of->handler != nullptr) return -EBUSY;
  of->handler = handler;
  of->handler_argument = argument;
  return 0;
}
const void* free_irq(unsigned irq, void* argument) {
  cbit_device* const of = device_of_irq(irq);
  if (of != nullptr && of->handler_argument == argument) of->handler = nullptr;
  return nullptr;
}
int devm_request_irq(device* dev, unsigned irq, irq_handler_t handler, unsigned long flags, const char* name,
                     void* argument) {
  const int error = request_irq(irq, handler, flags, name, argument);
  if (error == 0) dev->cbit->managed.emplace_back([=] { free_irq(irq, argument); });
  return error;
}

// ---- PCI --------------------------------------------------------------------------------------------------

int pci_register_driver(pci_driver* driver) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return -ENODEV;
  box->drivers.push_back(driver);
  return 0;
}
void pci_unregister_driver(pci_driver* driver) {
  if (cbit_sandbox* const box = current_machine()) std::erase(box->drivers, driver);
}

void api::probe(cbit_device& dev) {
  const auto wants = [&](const pci_device_id& id) {
    return (id.vendor == PCI_ANY_ID || id.vendor == dev.pdev.vendor) &&
           (id.device == PCI_ANY_ID || id.device == dev.pdev.device);
  };
  for (pci_driver* const driver : dev.box->drivers) {
    for (const pci_device_id* id = driver->id_table; id != nullptr && id->vendor != 0; ++id) {
      if (!wants(*id)) continue;
      dev.driver = driver;
      dev.kernel->driver = driver->name;
      dev.probe_result = dev.box->run([&] { return driver->probe(&dev.pdev, id); });
      if (dev.probe_result != 0) dev.driver = nullptr;
      return;
    }
  }
}

std::size_t api::let_go(cbit_device& dev) {
  cbit_sandbox& box = *dev.box;
  set_current_machine(&box);
  if (dev.driver != nullptr && dev.driver->remove != nullptr) box.run([&] { dev.driver->remove(&dev.pdev); });
  while (!dev.managed.empty()) {
    const auto last = std::move(dev.managed.back());
    dev.managed.pop_back();
    last();
  }
  const std::size_t left = box.dma().release(*dev.kernel);
  dev.driver = nullptr;
  dev.handler = nullptr;
  dev.hardware->port().set_bus_master(false);
  return left;
}

pci_dev* to_pci_dev(const device* dev) { return &dev->cbit->pdev; }
int pci_enable_device(pci_dev*) { return 0; }
int pcim_enable_device(pci_dev*) { return 0; }
void pci_disable_device(pci_dev* pdev) { pci_clear_master(pdev); }
void pci_set_master(pci_dev* pdev) { pdev->dev.cbit->hardware->port().set_bus_master(true); }
void pci_clear_master(pci_dev* pdev) { pdev->dev.cbit->hardware->port().set_bus_master(false); }
int pci_request_regions(pci_dev*, const char*) { return 0; }
void pci_release_regions(pci_dev*) {}
resource_size_t pci_resource_start(pci_dev* pdev, int bar) {
  return bar == 0 ? pdev->dev.cbit->registers.first.value() : 0;
}
resource_size_t pci_resource_len(pci_dev* pdev, int bar) {
  return bar == 0 ? pdev->dev.cbit->registers.bytes : 0;
}
void* pci_iomap(pci_dev* pdev, int bar, unsigned long most) {
  if (bar != 0) return nullptr;
  const Call call{&pdev->dev};
  const mem::PhysRange& range = pdev->dev.cbit->registers;
  const std::uint64_t bytes = most != 0 ? std::min<std::uint64_t>(most, range.bytes) : range.bytes;
  const auto at = call->mm().ioremap(range.first, bytes);
  if (!at) return nullptr;
  void* const token = api::reserve_addresses(range.bytes);
  call->windows[token] = {*at, bytes, range.bytes};
  return token;
}
void pci_iounmap(pci_dev* pdev, void* at) {
  const Call call{&pdev->dev};
  const auto found = call->windows.find(at);
  if (found == call->windows.end()) return call->log("pci_iounmap of what is not mapped");
  call->mm().iounmap(found->second.at, found->second.bytes);
  api::release_addresses(at, found->second.reserved);
  call->windows.erase(found);
}
int pcim_iomap_regions(pci_dev* pdev, int mask, const char*) {
  if ((mask & ~1) != 0) return -EINVAL;
  void* const at = pci_iomap(pdev, 0, 0);
  if (at == nullptr) return -ENOMEM;
  pdev->dev.cbit->windows[0] = at;
  pdev->dev.cbit->managed.emplace_back([=] { pci_iounmap(pdev, at); });
  return 0;
}
void* const* pcim_iomap_table(pci_dev* pdev) { return pdev->dev.cbit->windows; }
int pci_alloc_irq_vectors(pci_dev*, unsigned least, unsigned, unsigned) { return least <= 1 ? 1 : -ENOSPC; }
void pci_free_irq_vectors(pci_dev*) {}
int pci_irq_vector(pci_dev* pdev, unsigned n) { return n == 0 ? static_cast<int>(pdev->irq) : -EINVAL; }
