// The test's side of C: include/cbit/sandbox.h.
#include "cbit/sandbox.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>
#include <stdexcept>

#include "api/bed.hpp"
#include "api/c/machine.hpp"
#include "api/problems.hpp"
#include "base/format.hpp"
#include "base/text.hpp"

using namespace cbit;
using api::Call;

namespace {

thread_local cbit_sandbox* machine_of_thread = nullptr;
thread_local std::string error_of_thread;

constexpr unsigned devices_max = 64;  // each keeps its place on the bus and in the PCI hole
constexpr unsigned first_irq = 32;
constexpr std::uint64_t own_bar_bytes_max = 1 << 20;

template <class T, std::size_t n>
void set_word(const char* option, const char* word, const Word<T> (&words)[n], T& value) {
  if (word == nullptr) return;
  const auto found = find_word(words, word);
  if (found) {
    value = *found;
    return;
  }
  std::vector<std::string_view> known;
  for (const Word<T>& one : words) known.push_back(one.word);
  throw std::invalid_argument{
      fmt::format("{} '{}' does not exist; {}", option, word, did_you_mean(word, known))};
}

testbed::TestbedConfig config_of(const cbit_sandbox_options& options) {
  testbed::TestbedConfig config;
  set_word("platform", options.platform, platform_words, config.machine.platform);
  set_word("kernel", options.kernel, kernel_version_words, config.dma.version);
  set_word("iommu", options.iommu, iommu_mode_words, config.dma.iommu);
  if (options.swiotlb != nullptr && *options.swiotlb != '\0')
    config.dma.swiotlb = api::value_or_throw(kernel::parse_swiotlb(options.swiotlb));
  if (options.memory_bytes != 0) config.machine.memory_bytes = options.memory_bytes;
  if (options.c_bit != 0) config.machine.c_bit = options.c_bit;
  if (options.seed != 0) config.machine.seed = options.seed;
  config.dma.debug = !options.no_dma_debug;
  return config;
}

// What fails in making something is said by cbit_error().
template <class Make>
auto made_or_null(Make&& make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::exception& error) {
    error_of_thread = error.what();
    return nullptr;
  }
}

// BAR 0: the test's functions, or the test DMA device's registers.
class Registers final : public bus::MmioRegion {
 public:
  Registers(const cbit_hardware* own, dev::TestDma& engine) : engine_{&engine} {
    if (own != nullptr) own_ = *own;
  }
  Result<void> read(std::uint64_t offset, ByteSpan to) override {
    if (!own_) return engine_->read(offset, to);
    if (!is_register(to.size())) return fault(FaultKind::device_protocol, offset);
    const std::uint64_t value = own_->read != nullptr
                                    ? own_->read(own_->context, offset, static_cast<unsigned>(to.size()))
                                    : bit_mask(64);
    std::ranges::copy(bytes_of(value).first(to.size()), to.begin());
    return {};
  }
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override {
    if (!own_) return engine_->write(offset, from);
    if (!is_register(from.size())) return fault(FaultKind::device_protocol, offset, true);
    std::array<std::byte, 8> value{};
    std::ranges::copy(from, value.begin());
    if (own_->write != nullptr)
      own_->write(own_->context, offset, static_cast<unsigned>(from.size()), load<std::uint64_t>(value));
    return {};
  }

 private:
  static bool is_register(std::size_t bytes) { return bytes <= 8 && std::has_single_bit(bytes); }

  std::optional<cbit_hardware> own_;
  dev::TestDma* engine_;
};

void check(const cbit_sandbox& box, const cbit_device_options& options) {
  if (box.devices_made >= devices_max)
    throw std::invalid_argument{fmt::format("a machine has at most {} devices", devices_max)};
  const std::uint64_t bytes = options.bar_bytes;
  if (bytes != 0 && (bytes < page_size || bytes > own_bar_bytes_max || !std::has_single_bit(bytes)))
    throw std::invalid_argument{
        fmt::format("bar_bytes {} is out of range; use a power of two, 4 KiB to 1 MiB", bytes)};
  if (options.address_bits > 64) throw std::invalid_argument{"address_bits: a device drives 1 to 64 lines"};
}

cbit_device& add(cbit_sandbox& box, const cbit_device_options& options) {
  check(box, options);
  const Call call{box};
  auto made = std::make_unique<cbit_device>();
  const std::string name =
      options.name != nullptr ? options.name : fmt::format("0000:00:{:02x}.0", box.devices_made + 1);
  const testbed::TestDevice bed_device = api::value_or_throw(
      box.bed->add_device({.name = name,
                           .mask_bits = 32,  // until the driver says otherwise
                           .coherent_mask_bits = 32,
                           .untrusted = options.untrusted,
                           .address_bits = options.address_bits != 0 ? options.address_bits : 64}));
  made->box = &box;
  made->kernel = &bed_device.driver;
  made->hardware = &bed_device.hardware;
  made->hardware->port().set_bus_master(false);
  const bool own = options.hardware != nullptr;
  const std::uint64_t own_bytes = options.bar_bytes != 0 ? options.bar_bytes : page_size;
  const std::uint64_t bytes = own ? own_bytes : dev::TestDma::region_bytes;
  made->registers =
      box.bed->machine().add_bar(std::make_unique<Registers>(options.hardware, *made->hardware), bytes);
  made->pdev.vendor = own ? options.vendor : std::uint16_t{0x1234};
  made->pdev.device = own ? options.device : std::uint16_t{0xcb17};
  made->pdev.irq = first_irq + box.devices_made++;
  made->pdev.dev.cbit = made.get();
  made->hardware->on_interrupt([device = made.get()](bool wanted) {
    device->interrupt_waits = wanted;
    device->box->deliver_interrupts();
  });
  return *box.devices.emplace_back(std::move(made));
}

const char* text_or_null(std::string_view text) { return text.empty() ? nullptr : text.data(); }

}  // namespace

// ---- the machine ------------------------------------------------------------------------------------------

void cbit_sandbox::log(std::string text) {
  bed->tracer().emit(cpu().agent(), KernelMessage{std::move(text)});
}

void cbit_sandbox::store() {
  const paging::SiteScope site{cpu(), driver_site};
  for (const VirtAddr at : pages.store(cpu())) log(fmt::format("a store of the driver at {} is refused", at));
}

cbit_sandbox* api::current_machine() { return machine_of_thread; }
void api::set_current_machine(cbit_sandbox* box) { machine_of_thread = box; }
std::vector<api::Module>& api::modules() {
  static std::vector<Module> all;
  return all;
}
void cbit_add_module(int (*init)(), void (*exit)()) { api::modules().push_back({init, exit}); }

void* api::reserve_addresses(std::uint64_t bytes) {
  void* const at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc{};
  return at;
}
void api::release_addresses(void* at, std::uint64_t bytes) { ::munmap(at, bytes); }

const char* cbit_error(void) { return error_of_thread.c_str(); }

cbit_sandbox* cbit_sandbox_create(const cbit_sandbox_options* options) {
  return made_or_null([&] {
    auto box = std::make_unique<cbit_sandbox>();
    box->bed = api::make_bed(config_of(options != nullptr ? *options : cbit_sandbox_options{}));
    box->driver_site = box->bed->tracer().intern("driver");
    api::set_current_machine(box.get());
    for (const api::Module& module : api::modules())
      if (module.init != nullptr)
        if (const int error = box->run(module.init); error != 0)
          box->log(fmt::format("a module's init() returns {}", error));
    return box.release();
  });
}

void cbit_sandbox_destroy(cbit_sandbox* box) {
  if (box == nullptr) return;
  api::set_current_machine(box);
  while (!box->devices.empty()) cbit_remove_device(&box->devices.back()->pdev.dev);
  for (const api::Module& module : api::modules())
    if (module.exit != nullptr) box->run(module.exit);
  for (const auto& [at, window] : box->windows)
    api::release_addresses(const_cast<void*>(at), window.reserved);
  delete box;
  api::set_current_machine(nullptr);
}

void cbit_sandbox_enter(cbit_sandbox* box) { api::set_current_machine(box); }

const char* cbit_platform_word(size_t n) {
  return n < std::size(platform_words) ? text_or_null(platform_words[n].word) : nullptr;
}
const char* cbit_kernel_word(size_t n) {
  return n < std::size(kernel_version_words) ? text_or_null(kernel_version_words[n].word) : nullptr;
}

const char* cbit_iommu_word(size_t n) {
  return n < std::size(iommu_mode_words) ? text_or_null(iommu_mode_words[n].word) : nullptr;
}

// ---- devices ----------------------------------------------------------------------------------------------

device* cbit_add_device(cbit_sandbox* box, const cbit_device_options* options) {
  return made_or_null([&] {
    cbit_device& made = add(*box, options != nullptr ? *options : cbit_device_options{});
    const Call call{*box};
    api::probe(made);
    return &made.pdev.dev;
  });
}
int cbit_probe_result(const device* dev) { return dev->cbit->probe_result; }

size_t cbit_remove_device(device* dev) {
  const Call call{dev};
  cbit_device* const gone = dev->cbit;
  const std::size_t left = api::let_go(*gone);
  gone->hardware->on_interrupt(nullptr);
  std::erase_if(call->devices, [&](const auto& one) { return one.get() == gone; });
  return left;
}

bool cbit_device_read(device* dev, uint64_t bus_address, void* to, size_t bytes) {
  const Call call{dev};
  const auto got = dev->cbit->hardware->read(DmaAddr{bus_address}, bytes);
  if (!got) return false;
  std::ranges::copy(*got, static_cast<std::byte*>(to));
  return true;
}
bool cbit_device_write(device* dev, uint64_t bus_address, const void* from, size_t bytes) {
  const Call call{dev};
  return dev->cbit->hardware->write(DmaAddr{bus_address}, {static_cast<const std::byte*>(from), bytes})
      .has_value();
}

// ---- looking ----------------------------------------------------------------------------------------------

bool cbit_host_view(cbit_sandbox* box, const void* at, void* to, size_t bytes) {
  const Call call{*box};
  const auto address = box->address_of(at);
  if (!address || !box->mm().in_direct_map(*address)) return false;
  return box->bed->memory()
      .peek(box->mm().virt_to_phys(*address), {static_cast<std::byte*>(to), bytes}, no_key)
      .has_value();
}
uint64_t cbit_bytes_bounced(const cbit_sandbox* box) {
  kernel::Swiotlb* const pool = box->dma().swiotlb();
  return pool != nullptr ? pool->usage().bytes_bounced : 0;
}
uint64_t cbit_swiotlb_slots_used(const cbit_sandbox* box) {
  kernel::Swiotlb* const pool = box->dma().swiotlb();
  return pool != nullptr ? pool->usage().io_tlb_used : 0;
}

size_t cbit_problem_count(cbit_sandbox* box) { return box->bed->explainer().causes().size(); }
bool cbit_problem_at(cbit_sandbox* box, size_t n, cbit_problem* problem) {
  box->problems = api::problems_of(box->bed->explainer().causes());
  if (n >= box->problems.size()) return false;
  const Sandbox::Problem& one = box->problems[n];
  *problem = {one.name.c_str(),     one.title.c_str(),          one.device.c_str(),
              one.evidence.c_str(), one.kernel_message.c_str(), one.remedy.c_str()};
  return true;
}
bool cbit_has_problem(cbit_sandbox* box, const char* name) {
  return api::has_cause(box->bed->explainer().causes(), name);
}
const char* cbit_log_line(cbit_sandbox* box, size_t n) {
  const auto& log = box->bed->explainer().kernel_log();
  return n < log.size() ? log[n].c_str() : nullptr;
}
