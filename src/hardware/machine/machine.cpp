#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.hpp"

namespace cbit::machine {
namespace {

constexpr std::uint64_t memory_bytes_min = 16ull << 20;
constexpr std::uint64_t memory_bytes_max = 1ull << 40;
constexpr unsigned cpus_max = 256;
constexpr unsigned sev_asids_max = 1023;  // as many as an RMP entry can name
constexpr unsigned phys_bits = 52;
constexpr unsigned key_id_bits_max = 15;  // IA32_TME_CAPABILITY.MK_TME_MAX_KEYID_BITS holds no more

KeyId platform_key(Platform platform) {
  if (!is_encrypted(platform)) return no_key;
  return is_guest(platform) ? mem::guest_key(guest_asid) : mem::host_key;
}

// By page state, no entry has a bit; the view's own selectors still need a place to stand.
mem::KeyLayout key_layout(const MachineConfig& config, KeySelection selection) {
  switch (selection) {
    case KeySelection::none: break;
    case KeySelection::c_bit:
    case KeySelection::page_state: return mem::KeyLayout::amd(config.c_bit);
    case KeySelection::shared_bit: return mem::KeyLayout::tdx(config.c_bit);
    case KeySelection::key_id:
      return mem::KeyLayout::mktme(phys_bits - config.key_id_bits, config.key_id_bits);
  }
  return mem::KeyLayout::none();
}

mem::KeyView cpu_view(const MachineConfig& config) {
  mem::KeyView view;
  const KeySelection selection = traits_of(config.platform).key_selection;
  view.layout = key_layout(config, selection);
  view.selector_is_key = selection == KeySelection::key_id;
  view.encrypted_key = platform_key(config.platform);
  view.walks_private = is_guest(config.platform);
  view.page_decides = selection == KeySelection::page_state;
  return view;
}

// A guest's devices are the host's: no bit of their addresses selects a key. On SME and MKTME all bus masters
// share the CPU's keys.
mem::KeyView device_view(const MachineConfig& config) {
  return is_guest(config.platform) ? mem::KeyView{} : cpu_view(config);
}

std::vector<mem::PhysRange> ram_map(std::uint64_t bytes) {
  const std::uint64_t low = std::min(bytes, pci_hole.value());
  std::vector<mem::PhysRange> ram{{PhysAddr{0}, low}};
  if (bytes > low) ram.push_back({high_ram, bytes - low});
  return ram;
}

mem::MemoryConfig memory_config(const MachineConfig& config) {
  mem::MemoryConfig memory{.ram = ram_map(config.memory_bytes), .cache = config.cache};
  const KeyId key = platform_key(config.platform);
  memory.protection = config.rmp ? mem::MemoryProtection::rmp : traits_of(config.platform).protection;
  if (memory.protection == mem::MemoryProtection::td) memory.initial_owner = key;
  // A host's own key protects nothing in the RMP: to it, all pages are the hypervisor's.
  if (memory.protection != mem::MemoryProtection::none && is_guest(config.platform))
    memory.protected_key = key;
  return memory;
}

OrError<void> check_sev(const MachineConfig& config) {
  if (config.rmp && config.sev.asids == 0)
    return usage_error("a reverse map table protects guests, but the machine has no ASIDs for any",
                       "give it some (sev-asids)");
  if (config.sev.asids == 0) return {};
  if (!traits_of(config.platform).hosts_sev_guests)
    return usage_error(
        fmt::format("a machine of platform {} hosts no SEV guests", to_string(config.platform)),
        "use platform plain or sme for the host");
  if (config.sev.asids > sev_asids_max || config.sev.min_sev_asid < 1 ||
      config.sev.min_sev_asid > config.sev.asids + 1)
    return usage_error(fmt::format("{} ASIDs, {} the lowest without SEV-ES, are out of range",
                                   config.sev.asids, config.sev.min_sev_asid),
                       fmt::format("use 1 to {} ASIDs, and a lowest one among them", sev_asids_max));
  return {};
}

OrError<void> check_key_source(const MachineConfig& config) {
  if (config.key_source == GuestKeySource::derived || traits_of(config.platform).launched_by_firmware)
    return {};
  return usage_error(
      fmt::format("the firmware launches no machine of platform {}", to_string(config.platform)),
      "use platform sev");
}

// One direct map per KeyID must fit between the direct map's base and vmalloc's (setup_direct_mapping_size).
OrError<void> check_key_ids(const MachineConfig& config) {
  if (config.key_id_bits < 1 || config.key_id_bits > key_id_bits_max)
    return usage_error(fmt::format("{} KeyID bits are out of range", config.key_id_bits), "use 1 to 15");
  constexpr std::uint64_t gib = 1ull << 30, direct_map_bytes_4 = 0x4880'0000'0000,
                          direct_map_bytes_5 = 1ull << 55;
  const std::uint64_t map = align_up(ram_map(config.memory_bytes).back().end().value(), gib);
  const std::uint64_t room = config.paging_levels == 5 ? direct_map_bytes_5 : direct_map_bytes_4;
  if (map > room >> config.key_id_bits)
    return usage_error(fmt::format("the kernel has no addresses for {} direct maps of {:#x} bytes",
                                   1u << config.key_id_bits, map),
                       "use 5-level paging, less memory or fewer KeyID bits");
  return {};
}

OrError<void> check(const MachineConfig& config) {
  if (config.memory_bytes < memory_bytes_min || config.memory_bytes > memory_bytes_max)
    return usage_error(fmt::format("memory of {} bytes is out of range", config.memory_bytes),
                       "use 16M to 1T");
  if (config.memory_bytes % page_size != 0)
    return usage_error("memory is not a multiple of 4 KiB", "use a size such as 512M or 8G");
  if (config.cpus < 1 || config.cpus > cpus_max)
    return usage_error(fmt::format("{} CPUs are out of range", config.cpus), "use 1 to 256");
  if (config.paging_levels != 4 && config.paging_levels != 5)
    return usage_error(fmt::format("{}-level paging does not exist", config.paging_levels), "use 4 or 5");
  CBIT_TRY(check_sev(config));
  CBIT_TRY(check_key_source(config));
  if (traits_of(config.platform).key_selection == KeySelection::key_id) return check_key_ids(config);
  if (!is_encrypted(config.platform) && config.sev.asids == 0) return {};
  if (config.c_bit < 32 || config.c_bit > 51)
    return usage_error(fmt::format("C-bit position {} is out of range", config.c_bit),
                       "use 32 to 51; first-generation EPYC has 47, later ones 51");
  const PhysAddr end = ram_map(config.memory_bytes).back().end();
  if (end.value() - 1 > bit_mask(config.c_bit))
    return usage_error(
        fmt::format("C-bit position {} lies inside RAM, which ends at {:#x}", config.c_bit, end.value()),
        "use a higher --cbit or less --memory");
  return {};
}

}  // namespace

Machine::Machine(const MachineConfig& config)
    : config_{config},
      keys_{config.seed, config.cipher},
      paging_{.levels = config.paging_levels, .phys_bits = phys_bits, .view = cpu_view(config)} {
  const KeyId key = platform_key(config.platform);
  if (key != no_key && config.key_source == GuestKeySource::derived)
    keys_.set_derived(key, cbit::is_guest(config.platform) ? "asid 1" : "sme");
}

OrError<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config) {
  CBIT_TRY(check(config));
  std::unique_ptr<Machine> machine{new Machine{config}};
  machine->memory_ = CBIT_TRY(config.make_memory(memory_config(config), machine->keys_, machine->tracer_));
  machine->bus_ = std::make_unique<bus::SystemBus>(*machine->memory_, machine->tracer_, device_view(config));
  machine->hypervisor_.emplace(config.platform, machine->paging_.view, *machine->memory_, machine->tracer_);
  machine->mmus_.reserve(config.cpus);
  for (unsigned n = 0; n < config.cpus; ++n)
    machine->mmus_
        .emplace_back(*machine->memory_, machine->tracer_, machine->paging_, static_cast<std::uint16_t>(n))
        .set_io(machine->bus_.get());
  if (config.iommu && !config.virtio_iommu) {
    machine->iommu_.emplace(device_view(config));
    machine->bus_->set_iommu(&*machine->iommu_);
  }
  if (machine->traits().key_selection == KeySelection::key_id)
    machine->tme_.emplace(*machine->memory_, machine->tracer_, config.key_id_bits, config.seed);
  SevFirmware::Config firmware{
      .capability = config.sev, .c_bit = config.c_bit, .cpus = config.cpus, .seed = config.seed};
  if (config.sev.asids != 0) machine->sev_.emplace(firmware, *machine->memory_, machine->tracer_);
  if (config.key_source == GuestKeySource::firmware) {
    firmware.capability = {.asids = guest_asid};
    machine->launch_firmware_.emplace(firmware, *machine->memory_, machine->tracer_);
  }
  return machine;
}

IommuKind Machine::iommu_kind() const {
  if (!config_.iommu) return IommuKind::none;
  if (config_.virtio_iommu) return IommuKind::virtio;
  return traits().iommu;
}

PhysAddr Machine::end_of_ram() const { return memory_->ram().back().end(); }

mem::PhysRange Machine::add_bar(std::unique_ptr<bus::MmioRegion> region, std::uint64_t bytes) {
  CBIT_ASSERT(bytes >= page_size && (bytes & (bytes - 1)) == 0);
  const mem::PhysRange range{PhysAddr{align_up(next_bar_.value(), bytes)}, bytes};
  CBIT_ASSERT(range.end() <= high_ram);
  next_bar_ = range.end();
  bus_->add_mmio(range, *region);
  regions_.push_back(std::move(region));
  return range;
}

void Machine::transfer(StateStream& s) {
  s.require(!iommu_ && !sev_ && !tme_ && regions_.empty(), "a machine of this kind cannot be saved");
  s.section("clock", [&] { s(clock_); });
  s.section("keys", [&] { s(keys_); });
  s.section("memory", [&] { s(*memory_); });
  s.section("hypervisor", [&] { s(*hypervisor_); });
  if (launch_firmware_) s.section("firmware", [&] { s(*launch_firmware_); });
}

}  // namespace cbit::machine
