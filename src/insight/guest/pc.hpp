// A PC to run an image on: a machine, its processors, the chipset around them, wired and reset.
//
//   Cpu ─ SystemSpace ─ mem::Memory (leases)           PcChipset ─ ports, IOAPIC's page, the machine's clock
//       ─ bus::PortSpace ─ PcChipset                    Lapic ─ Cpu's interrupts
//                                                       PciHost ─ the devices that are plugged in
//
// Virtual time is the processors', who run in turns (cpu/turns.hpp) or on threads (cpu/crew.hpp), and HLT
// of all takes until the next deadline; nothing else takes any. With
// platform sev the machine's firmware launches the image, and the processor says that it is a guest whose
// memory is encrypted; with sme it says that it can encrypt.
//
// Errors: those of machine::Machine, of the loader of the image, of the launch; an IOMMU for a guest whose
// memory is encrypted (usage).
// Threading: one thread, the one that made it; with threads processors have their own while run() executes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/state_stream.hpp"
#include "boot/boot_image.hpp"
#include "boot/plan.hpp"
#include "boot/sev_launch.hpp"
#include "bus/port_io.hpp"
#include "chipset/amd_iommu.hpp"
#include "chipset/pc_chipset.hpp"
#include "chipset/pci_host.hpp"
#include "cpu/cpu.hpp"
#include "cpu/crew.hpp"
#include "cpu/system_space.hpp"
#include "cpu/turns.hpp"
#include "guest/kvm_interface.hpp"
#include "machine/machine.hpp"
#include "machine/slots.hpp"

namespace cbit::guest {

// Milan's: APM vol. 3, E.4.17; the processor reports 48 bits of physical address, so it lies above them.
inline constexpr unsigned c_bit = 51;

// More than a host runs in turns with patience.
inline constexpr unsigned cpus_max = 16;

struct PcConfig {
  Platform platform = Platform::plain;  // plain, sev or sme
  std::uint64_t memory_bytes = 512ull << 20;
  unsigned cpus = 1;  // 1 to cpus_max
  // They run at the same time, on threads of the host (cpu/crew.hpp): not deterministic, and not to be saved.
  bool threads = false;
  std::uint64_t seed = 1;
  // The clock that a guest reads as the date, in seconds since 1970.
  std::int64_t start_seconds = 0;
  bool test_ports = true;  // F4h, and what chipset::PcConfig::test_ports brings
  // Offer what guest/kvm_interface.hpp has. A guest of another platform than SEV has no use for it.
  bool kvm_interface = false;
  // An AMD IOMMU in front of the PCI devices. Not for a guest whose memory is encrypted.
  bool amd_iommu = false;
  mem::MemoryMaker make_memory = &mem::Memory::create;
  // Runs of a block of code before it becomes code of the host; 0: never.
  unsigned translate_after = 256;
  // The interpreter judges that code, at each run of each block: many times slower.
  bool check_translations = false;
};

// Why a run came to its end.
enum class Ending : std::uint8_t {
  powered_off,
  exited,    // by the debug exit: Pc::exit_status()
  reset,     // the guest asked for a reset, as Linux does after a panic with panic=-1
  shutdown,  // triple fault
  init,      // an INIT to the bootstrap processor: it is at the reset vector, where no firmware is
  hung,      // halted with interrupts off, or with none to come
  differed,  // generated code did not do what the interpreter does: Pc::difference()
};

class Pc final : private chipset::PlatformControl, private cpu::Supervisor {
 public:
  static OrError<std::unique_ptr<Pc>> create(const PcConfig& config);
  Pc(const Pc&) = delete;
  Pc& operator=(const Pc&) = delete;
  ~Pc() override = default;

  [[nodiscard]] machine::Machine& machine() { return *machine_; }
  [[nodiscard]] const machine::Machine& machine() const { return *machine_; }
  [[nodiscard]] chipset::PcChipset& chipset() { return chipset_; }
  [[nodiscard]] const chipset::PcChipset& chipset() const { return chipset_; }
  // The processor whose turn it is, or was last: the one that does what is being seen.
  [[nodiscard]] cpu::Cpu& cpu() { return crew_ ? crew_->current() : turns_.current(); }
  [[nodiscard]] const cpu::Cpu& cpu() const { return crew_ ? crew_->current() : turns_.current(); }
  // By their numbers; 0 is the bootstrap processor.
  [[nodiscard]] std::size_t cpu_count() const { return cpus_.size(); }
  [[nodiscard]] cpu::Cpu& cpu(std::size_t number) { return cpus_[number].cpu; }
  [[nodiscard]] const cpu::Cpu& cpu(std::size_t number) const { return cpus_[number].cpu; }
  // At all of them.
  void set_probe_sink(cpu::ProbeSink* sink);
  void add_probe(VirtAddr at);
  void remove_probe(VirtAddr at);
  // Executed by all of them.
  [[nodiscard]] std::uint64_t instructions() const;
  [[nodiscard]] const cpu::CodeCache& code() const { return code_; }
  [[nodiscard]] Clock& clock() { return machine_->clock(); }
  // nullptr: none.
  [[nodiscard]] const iommu::AmdIommu* amd_iommu() const { return iommu_ ? &iommu_->iommu() : nullptr; }

  // Plugs a device into a PCI slot, 1 to 31, before an image is loaded. Its place in events is the slot's, as
  // Linux names it: 0000:00:03.0. Errors (usage): those of machine::plug_pci(); a second IOMMU.
  OrError<bus::PciFunction*> plug(const machine::DeviceRequest& request, unsigned slot);

  [[nodiscard]] std::span<const std::unique_ptr<bus::PciFunction>> cards() const { return cards_; }

  // Loads the image, launches it where the platform wants that, and sets the processor at its entry. The
  // image's bytes need not outlive the call.
  OrError<void> load(const boot::BootImage& image);
  [[nodiscard]] const std::string& protocol() const { return protocol_; }
  // Instead of load(): all that a guest can tell, but for memory's contents (mem::Memory::map_dram()), what
  // is outside of the machine (disks, peers of the serial ports), and what debuggers and probes have set.
  // Saving: it has been loaded, and does not run. Loading: the same configuration and devices; trouble
  // leaves a machine that is good for nothing.
  void transfer(StateStream& s);
  // What the image was told to be RAM that it may use.
  [[nodiscard]] const std::vector<mem::PhysRange>& usable_ram() const { return usable_ram_; }
  // The guest's own, once loaded; no_key: its memory is not encrypted.
  [[nodiscard]] KeyId guest_key() const { return machine_->paging().view.encrypted_key; }
  // Of platform sev, once loaded.
  [[nodiscard]] const std::optional<boot::SevLaunchReport>& launch() const { return launch_; }

  // Runs until the clock shows `until_ns`, or until the end. With `stop_when_idle` also as soon as the
  // processor halts: what time passes until it is woken is up to the caller then. And where a debugger wants
  // to be told: a processor's take_debug_stop() says why.
  struct Progress {
    std::optional<Ending> ending;
    bool idle = false;
    bool debugger = false;
    bool paused = false;
  };
  Progress run(std::uint64_t until_ns, bool stop_when_idle = false);
  // From a device's peer, while it runs: run() returns behind the instruction.
  void request_pause();
  // One instruction, as Cpu::step() does it, while the others stand still. Where the processor is halted they
  // run until an interrupt has woken it, which is not held back then, or until the clock shows `until_ns`:
  // false.
  bool step(cpu::Cpu& cpu, bool hold_interrupts, std::uint64_t until_ns);
  // How far it has come: the sum of its processors' positions (cpu/cpu.hpp). In a replay the same position is
  // the same state. run() pauses there, as for a debugger; cpu::never: nowhere.
  [[nodiscard]] std::uint64_t position() const { return turns_.position(); }
  void pause_at(std::uint64_t position) { turns_.pause_at(position); }
  // In a process that another has made: cpu::CodeCache::part().
  [[nodiscard]] bool part() { return code_.part(); }
  [[nodiscard]] const std::optional<Ending>& ending() const { return ending_; }

  [[nodiscard]] std::uint32_t exit_status() const { return exit_status_; }
  // Instructions that the guest used and the processor does not have.
  [[nodiscard]] const std::set<std::string>& missing_instructions() const { return missing_; }
  // Why the run ended, if that is Ending::differed.
  [[nodiscard]] const std::string& difference() const { return difference_; }
  // MSRs that it used and that are not there.
  [[nodiscard]] const std::set<std::uint32_t>& unknown_msrs() const { return unknown_msrs_; }
  // Accesses that memory or the bus refused.
  [[nodiscard]] std::uint64_t refused_accesses() const { return refused_; }

 private:
  Pc(const PcConfig& config, std::unique_ptr<machine::Machine> machine);

  [[nodiscard]] boot::PcDescription description() const;
  void leave_as_firmware_does();
  OrError<void> put_into_memory(const boot::LoadPlan& plan);
  void enter(const boot::EntryState& state);
  void transfer_launch(StateStream& s);
  [[nodiscard]] bool can_wake() const;
  void sleep(std::uint64_t until_ns);

  // chipset::PlatformControl
  void reset(chipset::ResetKind kind) override;
  void power_off() override;
  void exit(std::uint32_t status) override;
  void end(Ending ending);

  // cpu::Supervisor
  bool vmmcall(cpu::Cpu& by) override;
  void initialized(cpu::Cpu&) override { end(Ending::init); }
  void flush_caches(cpu::Cpu& by) override;
  void flush_line(cpu::Cpu& by, PhysAddr at) override;
  std::optional<std::uint64_t> read_msr(cpu::Cpu& by, std::uint32_t msr) override;
  bool write_msr(cpu::Cpu& by, std::uint32_t msr, std::uint64_t value) override;
  void missing_instruction(cpu::Cpu& by, std::string_view name) override;
  void refused(cpu::Cpu& by, const Fault& fault) override;
  void translation_differs(cpu::Cpu& by, const std::string& what) override;
  void signal_raised(cpu::Cpu& at) override;
  void spin_wait(cpu::Cpu& by) override;
  void request_stop();

  PcConfig config_;
  std::unique_ptr<machine::Machine> machine_;
  bus::PortSpace ports_;
  chipset::PcChipset chipset_;
  chipset::PciHost pci_;
  std::optional<chipset::AmdIommuFunction> iommu_;
  std::vector<std::unique_ptr<bus::PciFunction>> cards_;
  std::optional<RequesterId> virtio_iommu_;
  // A processor, and the memory as it reaches it.
  struct Socket {
    Socket(Pc& pc, std::uint16_t number);
    cpu::SystemSpace space;
    cpu::Cpu cpu;
  };
  std::optional<cpu::Crew> crew_;
  cpu::SystemSpace code_space_;  // code is decoded on behalf of all of them
  cpu::CodeCache code_;
  cpu::Turns turns_;
  std::deque<Socket> cpus_;

  std::string protocol_;
  std::vector<mem::PhysRange> usable_ram_;
  std::optional<boot::SevLaunchReport> launch_;
  std::optional<KvmInterface> kvm_;
  bool pause_requested_ = false;
  std::optional<Ending> ending_;
  std::uint32_t exit_status_ = 0;
  std::set<std::string> missing_;
  std::string difference_;
  std::set<std::uint32_t> unknown_msrs_;
  std::uint64_t refused_ = 0;
};

}  // namespace cbit::guest
