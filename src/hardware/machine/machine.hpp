// A board: clock, memory with its keys, the system bus, an IOMMU if asked for, the CPUs' MMUs, all for one
// platform.
//
// Physical map: RAM from 0 to at most 3 GiB, the PCI hole up to 4 GiB, the rest of RAM from 4 GiB.
// The CPU count, the C-bit position and the seed come from the configuration, nothing from the host.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/state_stream.hpp"
#include "base/trace.hpp"
#include "bus/system_bus.hpp"
#include "cbit/words.hpp"
#include "iommu/iommu.hpp"
#include "machine/hypervisor.hpp"
#include "machine/platform_traits.hpp"
#include "machine/sev/sev_firmware.hpp"
#include "machine/tme.hpp"
#include "mem/memory.hpp"
#include "paging/mmu.hpp"
#include "paging/pte.hpp"

namespace cbit::machine {

inline constexpr PhysAddr pci_hole{0xc000'0000};
inline constexpr PhysAddr high_ram{0x1'0000'0000};
inline constexpr unsigned guest_asid = 1;  // of a machine that is an encrypted guest

// Where the key of an encrypted guest comes from.
enum class GuestKeySource : std::uint8_t {
  derived,   // the guest runs already: its key follows from the seed
  firmware,  // there is none before launch_firmware() has been given LAUNCH_START and ACTIVATE
};

// MachineConfig::virtio_iommu: the IOMMU is a virtio-iommu, or the platform's own.
inline constexpr Word<bool> iommu_kind_words[] = {{"platform", false}, {"virtio", true}};

struct MachineConfig {
  Platform platform = Platform::plain;
  unsigned c_bit = 47;                      // CPUID 8000001F EBX[5:0]; TDX: the shared bit
  unsigned key_id_bits = 6;                 // MKTME: the top bits of the 52-bit physical address; 1 .. 15
  std::uint64_t memory_bytes = 4ull << 30;  // 16 MiB .. 1 TiB, multiple of 4 KiB
  unsigned cpus = 1;                        // 1 .. 256
  bool iommu = false;                       // an IOMMU is present: AMD-Vi, or sPAPR's on POWER
  bool virtio_iommu = false;                // it is a virtio-iommu, which comes as a device of its own
  bool virtual_machine = false;             // a guest although its memory is not encrypted
  bool migration_control = false;           // the hypervisor offers KVM_FEATURE_MIGRATION_CONTROL
  mem::CacheModel cache = mem::CacheModel::coherent;
  crypt::CipherMode cipher = crypt::CipherMode::xex;
  unsigned paging_levels = 4;
  std::uint64_t seed = 1;
  SevCapability sev;  // a host of encrypted guests, on plain or sme
  bool rmp = false;   // the host has a reverse map table: guests can be protected as SEV-SNP does
  GuestKeySource key_source = GuestKeySource::derived;
  mem::MemoryMaker make_memory = &mem::Memory::create;
};

class Machine {
 public:
  // Errors (usage): memory or CPU count out of range, C-bit outside 32..51 or inside RAM, KeyID bits out of
  // range or more than the kernel's address space has direct maps for; guests on a machine that is a guest or
  // no AMD; a launched key on a platform whose firmware cannot launch a whole machine.
  static OrError<std::unique_ptr<Machine>> create(const MachineConfig& config);

  [[nodiscard]] const MachineConfig& config() const { return config_; }
  [[nodiscard]] const PlatformTraits& traits() const { return traits_of(config_.platform); }
  [[nodiscard]] Clock& clock() { return clock_; }
  [[nodiscard]] Tracer& tracer() { return tracer_; }
  [[nodiscard]] mem::KeyTable& keys() { return keys_; }
  [[nodiscard]] mem::Memory& memory() { return *memory_; }
  [[nodiscard]] const mem::Memory& memory() const { return *memory_; }
  [[nodiscard]] bus::SystemBus& bus() { return *bus_; }
  // What a guest on this machine leaves for, and asks.
  [[nodiscard]] Hypervisor& hypervisor() { return *hypervisor_; }
  // Without tables at first. An operating system borrows them.
  [[nodiscard]] std::span<paging::Mmu> mmus() { return mmus_; }
  // nullptr: none, or a virtio-iommu (dev/virtio_iommu.hpp).
  [[nodiscard]] iommu::Iommu* iommu() { return iommu_ ? &*iommu_ : nullptr; }
  // nullptr where the processor has no SEV.
  [[nodiscard]] SevFirmware* sev_firmware() { return sev_ ? &*sev_ : nullptr; }
  // The secure processor of the host below this guest, which gives it its key under `guest_asid`; nullptr
  // unless the configuration says that it is launched. The guest's physical addresses are the host's.
  [[nodiscard]] SevFirmware* launch_firmware() { return launch_firmware_ ? &*launch_firmware_ : nullptr; }

  // nullptr where the processor has no MKTME.
  [[nodiscard]] Tme* tme() { return tme_ ? &*tme_ : nullptr; }
  [[nodiscard]] IommuKind iommu_kind() const;
  // There is a hypervisor, which emulates devices and IOMMU.
  [[nodiscard]] bool is_guest() const { return config_.virtual_machine || cbit::is_guest(config_.platform); }

  // How this platform's CPU interprets page-table entries, and the highest RAM address + 1.
  [[nodiscard]] const paging::PagingConfig& paging() const { return paging_; }
  [[nodiscard]] PhysAddr end_of_ram() const;

  // Backs MMIO at the next free, naturally aligned place in the PCI hole; owns the region.
  mem::PhysRange add_bar(std::unique_ptr<bus::MmioRegion> region, std::uint64_t bytes);

  // Clock, keys, memory without its contents, hypervisor, the firmware that launched it: of a machine as a
  // guest::Pc has it, without an IOMMU or guests of its own. Before all that has timers.
  void transfer(StateStream& s);

 private:
  explicit Machine(const MachineConfig& config);

  MachineConfig config_;
  Clock clock_;
  Tracer tracer_{clock_};
  mem::KeyTable keys_;
  paging::PagingConfig paging_;
  std::unique_ptr<mem::Memory> memory_;
  std::unique_ptr<bus::SystemBus> bus_;
  std::optional<Hypervisor> hypervisor_;
  std::vector<paging::Mmu> mmus_;
  std::optional<iommu::Iommu> iommu_;
  std::optional<SevFirmware> sev_;
  std::optional<SevFirmware> launch_firmware_;
  std::optional<Tme> tme_;
  std::vector<std::unique_ptr<bus::MmioRegion>> regions_;
  PhysAddr next_bar_ = pci_hole;
};

}  // namespace cbit::machine
