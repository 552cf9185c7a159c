// An AMD IOMMU as software meets it: registers, a device table, page tables, interrupt remapping tables, a
// command buffer and logs, all of them in memory that software fills. AMD I/O Virtualization Technology
// (IOMMU) Specification, 48882. What Linux' own driver programs (drivers/iommu/amd); the model kernel has
// iommu/iommu.hpp, which shares the page tables' format and their walk.
//
//   register write ─ command buffer ─ invalidations, completions
//   device's access ─ device table ─ IOTLB or page table ─ memory under the key that the leaf's C-bit selects
//   device's interrupt ─ device table ─ interrupt remapping table ─ APIC
//   what is refused ─ event log ─ interrupt
//
// All pointers in registers and tables have key bits, as the machine's own page tables have: under SME the
// structures lie in encrypted memory, and a pointer without the C-bit finds noise there. Device table entries
// and translations are held from their first use until they are invalidated, which shows a driver that
// forgets to. Neither guest translation (GT), ATS, performance counters nor guest virtual APICs are there,
// and so nobody makes page requests: the PPR log has registers and stays empty.
//
// Software may write anything anywhere: work per access and memory are bounded.
// Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "base/bytes.hpp"
#include "iommu/amd/interrupt.hpp"
#include "iommu/amd/registers.hpp"
#include "iommu/io_format.hpp"
#include "iommu/iommu.hpp"
#include "iommu/iotlb.hpp"
#include "spec/amd_iommu.hpp"

namespace cbit::iommu {

class AmdIommu final : public DmaTranslator {
 public:
  struct Config {
    mem::KeyView view;     // SystemBus::device_view()
    RequesterId self = 0;  // for the agent of accesses to memory
  };
  // `signal` is called for each interrupt of the IOMMU's own.
  AmdIommu(const Config& config, mem::Memory& memory, Tracer& tracer,
           std::function<void(const AmdIommuSignal&)> signal);

  // The MMIO region, spec::amd_iommu_mmio_bytes. Any width; the access lies within. What is no register reads
  // as zeros.
  void read(std::uint64_t offset, ByteSpan to) const;
  void write(std::uint64_t offset, ConstByteSpan from);
  void reset();

  // Faults, as a device sees them: iommu_no_domain (the entry has no translation for it), iommu_not_present,
  // iommu_protection, iommu_reserved_bit (a table that is none, or is not there). Each is an event for the
  // log, unless the device's entry suppresses it.
  [[nodiscard]] Result<IommuTranslation> translate(RequesterId requester, DmaAddr at,
                                                   bool write) const override;
  // From the tables, not from what is held; no event.
  [[nodiscard]] Result<IommuTranslation> peek(RequesterId requester, DmaAddr at, bool write) const override;

  // What becomes of an interrupt message of this requester's. nullopt: it is lost, and an event says why.
  [[nodiscard]] std::optional<RemappedInterrupt> remap(RequesterId requester,
                                                       const InterruptRequest& request) const;

 private:
  // An entry as it was fetched.
  struct DeviceEntry {
    IoDte translation;
    spec::AmdIommuDte1 flags;
    spec::AmdIommuDte2 interrupts;
    bool reserved_bits = false;
    bool fault_told = false;  // SE
  };
  // An event for the log, and what the device is told.
  struct Refusal {
    Fault fault;
    spec::AmdIommuEvent event;
    std::uint64_t address = 0;
    bool suppressed = false;
  };
  template <class T>
  using Looked = tl::expected<T, Refusal>;
  enum class Look : std::uint8_t { access, peek };
  // What a device asks for, as far as events say it.
  struct Request {
    RequesterId requester = 0;
    std::uint64_t address = 0;
    bool write = false;
    bool interrupt = false;
  };

  template <class R>
  [[nodiscard]] R get(std::uint64_t offset) const {
    return R{{registers_.value(offset)}};
  }
  [[nodiscard]] spec::AmdIommuControl control() const;
  template <class Flag>
  void set_status(bool on) const {
    registers_.set(spec::amd_iommu_register::status,
                   get<spec::AmdIommuStatus>(spec::amd_iommu_register::status).template with<Flag>(on).raw);
  }

  // Memory, through a pointer's key bits.
  Result<void> read_memory(PtePhys from, std::uint64_t offset, ByteSpan to, Look look) const;
  Result<void> write_memory(PtePhys to, std::uint64_t offset, ConstByteSpan from) const;

  // translation.cpp
  [[nodiscard]] Looked<IommuTranslation> look_up(const Request& request, Look look) const;
  [[nodiscard]] Looked<IommuTranslation> through_table(const Request& request, const DeviceEntry& entry,
                                                       Look look) const;
  [[nodiscard]] Looked<IommuTranslation> walk_table(const Request& request, const DeviceEntry& entry,
                                                    Look look) const;
  [[nodiscard]] bool is_excluded(const DeviceEntry& entry, std::uint64_t address) const;
  [[nodiscard]] Looked<DeviceEntry> device_entry(const Request& request, Look look) const;
  [[nodiscard]] static tl::unexpected<Refusal> refuse(const Request& request, FaultKind kind,
                                                      spec::AmdIommuEvent event);
  [[nodiscard]] static tl::unexpected<Refusal> hardware_error(const Request& request,
                                                              spec::AmdIommuEventCode code,
                                                              std::uint64_t address);

  // remapping.cpp
  [[nodiscard]] Looked<RemappedInterrupt> look_up_interrupt(const Request& request,
                                                            const InterruptRequest& interrupt) const;
  [[nodiscard]] Looked<RemappedInterrupt> through_remapping_table(const Request& request,
                                                                  const DeviceEntry& entry,
                                                                  const InterruptRequest& interrupt) const;

  // event_log.cpp
  void log(const Refusal& refusal) const;
  void log(spec::AmdIommuEvent event, std::uint64_t operand) const;
  void interrupt(AmdIommuInterrupt cause) const;
  void interrupt_if_pending(spec::AmdIommuControl before);

  // Logs and commands run while their enable bits are set; what stopped by itself is started anew by
  // clearing and setting the bit.
  void start_or_stop(spec::AmdIommuControl before);
  template <class Enable, class Run>
  void follow(spec::AmdIommuControl before) {
    if (control().get<Enable>() != before.get<Enable>()) set_status<Run>(control().get<Enable>());
  }

  // commands.cpp
  void run_commands();
  [[nodiscard]] bool run_command(PtePhys buffer, std::uint64_t head);
  [[nodiscard]] bool complete(spec::AmdIommuCompletionWait command, std::uint64_t data);
  void invalidate_pages(std::uint16_t domain, spec::AmdIommuPages pages);
  void invalidate_all();

  Config config_;
  IoFormat format_;
  mem::Memory* memory_;
  mem::Access access_;  // without its key
  std::function<void(const AmdIommuSignal&)> signal_;
  // A device's access may log, and fills what is held.
  mutable AmdIommuRegisters registers_;
  mutable std::map<RequesterId, DeviceEntry> entries_;
  mutable std::map<std::uint16_t, Iotlb> held_;  // by domain
};

}  // namespace cbit::iommu
