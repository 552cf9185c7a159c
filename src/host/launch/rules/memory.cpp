#include <algorithm>

#include "base/format.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

constexpr std::uint64_t mib = 1 << 20;
// What QEMU registers besides RAM: firmware flash, video memory, option ROMs.
constexpr std::uint64_t besides_ram_bytes = 64 * mib;

bool passes_device_through(const Case& guest) {
  return std::ranges::any_of(guest.all("device"), [](const QemuOption* device) {
    return device->value("driver").value_or("").starts_with("vfio-pci");
  });
}

// sev_pin_memory() counts against RLIMIT_MEMLOCK. Private memory of SNP and TDX guests does not, unless VFIO
// pins it. libvirt raises the limit of the QEMU that it starts, to memtune/hard_limit where there is one.
void judge_memlock(Case& guest) {
  if (guest.has_private_memory() && !passes_device_through(guest)) return;
  const std::uint64_t ram = guest.memory_bytes();
  const std::uint64_t needed = ram > ~0ull - besides_ram_bytes ? ~0ull : ram + besides_ram_bytes;
  const auto limit = guest.is_libvirt()                ? guest.config().hard_limit_bytes
                     : guest.context().host != nullptr ? guest.context().host->memlock_bytes
                                                       : std::nullopt;
  if (!limit || *limit >= needed) return;
  guest.find(rule("memlock-exceeded"), guest.option_with("m", "size"),
             fmt::format("{} may be locked, about {} will be", size_text(*limit), size_text(needed)),
             guest.in_language("", fmt::format("<hard_limit unit='KiB'>{}</hard_limit>", needed >> 10)));
}

void judge_size(Case& guest) {
  const std::uint64_t ram = guest.memory_bytes();
  const QemuOption* const option = guest.option_with("m", "size");
  const facts::GuestSupport* const host = guest.context().host;
  if (host != nullptr && host->memory_bytes != 0 && ram > host->memory_bytes)
    guest.find(rule("memory-more-than-the-host-has"), option,
               fmt::format("{} of {}", size_text(ram), size_text(host->memory_bytes)));
  constexpr std::uint64_t small = 512 * mib;
  if (ram < small && ram != 0)
    guest.find(rule("memory-small"), option, size_text(ram),
               guest.in_language("-m 1G", "<memory unit='GiB'>1</memory>"));
}

void judge_hotplug(Case& guest) {
  if (guest.command().value("m", "maxmem"))
    guest.find(
        rule("memory-hotplug"), guest.last("m"), {},
        guest.in_language(fmt::format("-m {}", guest.command().value("m", "size").value_or("SIZE")), ""));
}

// hw/virtio/virtio-mem.c: virtio_mem_device_realize(). With private memory the discards are somebody else's
// from QEMU 10.1 on (system/ram-block-attributes.c).
void judge_virtio_mem(Case& guest, const QemuOption& device) {
  constexpr QemuVersion with_manager{10, 1};
  const bool refused = !guest.has_private_memory() || guest.qemu_is_at_least(with_manager);
  guest.find(refused ? rule("memory-discard") : rule("memory-hotplug"), &device);
}

// hw/core/machine.c: machine_run_board_init(); hw/core/numa.c: numa_complete_configuration().
void judge_numa(Case& guest) {
  std::uint64_t total = 0;
  const QemuOption* last = nullptr;
  for (const QemuOption* const node : guest.all("numa")) {
    const auto id = node->value("memdev");
    if (!id) continue;
    const QemuOption* const backend = guest.object_of_id(*id);
    if (backend == nullptr)
      return guest.find(rule("memory-backend-missing"), node, fmt::format("no -object has id={}", *id));
    total += parse_qemu_size(backend->value("size").value_or(""), 1).value_or(0);
    last = node;
  }
  if (last == nullptr) return;
  if (guest.machine("memory-backend"))
    return guest.find(rule("memory-size-differs"), last,
                      "memory-backend= and -numa memdev= exclude each other");
  if (total != guest.memory_bytes())
    guest.find(
        rule("memory-size-differs"), last,
        fmt::format("the nodes have {}, the guest has {}", size_text(total), size_text(guest.memory_bytes())),
        guest.in_language(fmt::format("-m {}M", total >> 20), ""));
}

// system/vl.c: qemu_resolve_machine_memdev(), qemu_apply_legacy_machine_options().
void judge_backend_of_machine(Case& guest) {
  const auto id = guest.machine("memory-backend");
  if (!id || !guest.config().places.empty()) return;  // libvirt and Kata keep the two equal
  const QemuOption* const machine = guest.machine_with("memory-backend");
  if (const QemuOption* const path = guest.last("mem-path"))
    guest.find(rule("memory-size-differs"), path, "-mem-path and memory-backend= exclude each other");
  const QemuOption* const backend = guest.object_of_id(*id);
  const bool is_backend =
      backend != nullptr && backend->value("qom-type").value_or("").starts_with("memory-backend-");
  if (!is_backend)
    return guest.find(rule("memory-backend-missing"), machine,
                      backend == nullptr ? fmt::format("no -object has id={}", *id)
                                         : fmt::format("the object {} is no memory backend", *id),
                      backend == nullptr ? fmt::format("-object memory-backend-memfd,id={},size={}M", *id,
                                                       guest.memory_bytes() >> 20)
                                         : std::string{});
  const auto size = parse_qemu_size(backend->value("size").value_or(""), 1);
  if (size && *size != guest.memory_bytes())
    guest.find(rule("memory-size-differs"), guest.option_with("m", "size"),
               fmt::format("the backend {} has {}, -m says {}", *id, size_text(*size),
                           size_text(guest.memory_bytes())),
               fmt::format("-m {}M", *size >> 20));
}

void judge_devices_of_memory(Case& guest) {
  for (const QemuOption* const device : guest.all("device")) {
    const std::string_view driver = device->value("driver").value_or("");
    if (driver == "nvdimm" || driver.starts_with("virtio-pmem") || driver == "cxl-type3")
      guest.find(rule("nvdimm"), device);
    if (driver == "pc-dimm") guest.find(rule("memory-hotplug"), device);
    if (driver.starts_with("virtio-mem")) judge_virtio_mem(guest, *device);
    if (driver == "loader" || driver == "guest-loader") {
      // Of a single value for a register, not of a file, there is nothing to encrypt.
      if (device->value("file") || device->value("data") || driver == "guest-loader")
        guest.find(rule("loaded-after-launch"), device);
    }
  }
  if (is_on(guest.machine("nvdimm")))
    guest.find(rule("nvdimm-enabled"), guest.machine_with("nvdimm"), {},
               guest.in_language(Case::with(*guest.machine_with("nvdimm"), {}, {"nvdimm"}), ""));
}

// hugetlbfs and tmpfs have no disk behind them.
bool is_on_disk(std::string_view path) {
  return !path.starts_with("/dev/shm") && !path.starts_with("/dev/hugepages") &&
         path.find("hugetlb") == std::string_view::npos && path.find("hugepages") == std::string_view::npos;
}

bool is_memory_backend(const QemuOption& object) {
  return object.value("qom-type").value_or("").starts_with("memory-backend-");
}

void judge_backends(Case& guest) {
  const QemuOption* const machine = guest.machine_with("mem-merge");
  if (is_on(guest.machine("mem-merge")))
    guest.find(rule("memory-merge"), machine, {},
               guest.in_language(Case::with(*machine, {{"mem-merge", "off"}}),
                                 "<memoryBacking><nosharepages/></memoryBacking>"));
  for (const QemuOption* const object : guest.all("object")) {
    if (!is_memory_backend(*object)) continue;
    if (is_on(object->value("merge")))
      guest.find(rule("memory-merge"), object, {},
                 guest.in_language(Case::with(*object, {{"merge", "off"}}),
                                   "<memoryBacking><nosharepages/></memoryBacking>"));
    const auto path = object->value("mem-path");
    if (path && is_on_disk(*path) && is_on(object->value("share")))
      guest.find(rule("memory-in-a-shared-file"), object);
    if (guest.has_private_memory() && is_on(object->value("prealloc")))
      guest.find(rule("prealloc-doubles-memory"), object, {},
                 guest.in_language(Case::with(*object, {}, {"prealloc"}), ""));
  }
  if (const QemuOption* const prealloc = guest.last("mem-prealloc");
      prealloc != nullptr && guest.has_private_memory())
    guest.find(rule("prealloc-doubles-memory"), prealloc);
}

}  // namespace

void judge_memory(Case& guest) {
  judge_memlock(guest);
  judge_size(guest);
  judge_backend_of_machine(guest);
  judge_numa(guest);
  judge_hotplug(guest);
  judge_devices_of_memory(guest);
  judge_backends(guest);
}

}  // namespace cbit::launch
