// What the kernel said about memory encryption, bounce buffers and IOMMUs: its log, taken apart.
//
// A function of the text alone, in time linear in its length. Any text will do: `dmesg` with its stamps
// and options (-r, -x, -T, -d, --time-format), records of /dev/kmsg, what journalctl and syslog put before
// a message, a log that begins or ends in the middle, and bytes that are no text. What is not understood is
// left out. The wordings are those of Linux 4.14 to 6.18; each rule in kernel_log.cpp names who prints it.
//
// The absence of a finding means something only where `complete`: the kernel's buffer is a ring, and loses
// the messages of the boot first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "watch/causes.hpp"

namespace cbit::watch {

// A message, without stamp and prefix, as safe_line().
struct LogLine {
  std::size_t number = 0;                // in the text, from 1
  std::optional<std::uint64_t> time_us;  // since boot; nullopt: no stamp, or one of another clock
  std::string text;
};

// "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP", and the wordings before it.
struct EncryptionFeatures {
  bool sme = false;
  bool sev = false;
  bool sev_es = false;
  bool sev_snp = false;
  bool tdx = false;
  LogLine line;
};

// "software IO TLB: mapped [mem 0x...-0x...] (64MB)".
struct PoolMapped {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  LogLine line;
};

// "nvme 0000:00:04.0: swiotlb buffer is full (sz: N bytes), total N (slots), used N (slots)".
struct PoolFull {
  std::string driver;
  std::string device;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> slots_total;  // Linux 5.1 and later say them
  std::optional<std::uint64_t> slots_used;
  LogLine line;
};

// "DMA addr 0x...+N overflow (mask M, bus limit L)", and the same of a bounce buffer's address.
struct DmaOverflow {
  std::string driver;
  std::string device;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint64_t mask = 0;
  std::uint64_t bus_limit = 0;
  bool of_bounce_buffer = false;
  LogLine line;
};

// "iommu: Default domain type: Translated (set via kernel command line)".
struct DefaultDomain {
  bool passthrough = false;
  bool from_command_line = false;
  LogLine line;
};

enum class IommuFaultKind : std::uint8_t {
  io_page_fault,   // AMD-Vi
  rmp_page_fault,  // AMD-Vi: the RMP forbids it
  rmp_hw_error,    // AMD-Vi
  other_event,     // AMD-Vi: any other "Event logged"
  dmar,            // VT-d
  rmp_violation,   // no device: a page fault of the host's CPU
};

struct IommuFault {
  IommuFaultKind kind{};
  std::string device;  // "0000:41:00.0", "00:02.0"; empty: none is named
  std::optional<std::uint64_t> address;
  LogLine line;
};

enum class AsidState : std::uint8_t { enabled, disabled, unusable };

// kvm_amd: "SEV enabled (ASIDs 100 - 509)".
struct AsidRange {
  AsidState state{};
  std::optional<std::uint64_t> first;  // older kernels tell the count alone
  std::optional<std::uint64_t> last;
  std::optional<std::uint64_t> count;
  LogLine line;
};

// virt/tdx: "BIOS enabled: private KeyID range [32, 64)".
struct TdxKeyIds {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  LogLine line;
};

// ccp: "SEV API:1.55 build:21".
struct FirmwareVersion {
  std::uint64_t api_major = 0;
  std::uint64_t api_minor = 0;
  std::uint64_t build = 0;
  LogLine line;
};

// virtio: "device must provide VIRTIO_F_ACCESS_PLATFORM", "device refuses features".
struct VirtioRefusal {
  std::string driver;
  std::string device;
  std::string flag;  // empty: the device refused the driver's choice
  LogLine line;
};

// "I/O error, dev nvme0n1, sector N", and commands that time out.
struct IoError {
  std::string device;
  std::optional<std::uint64_t> sector;
  LogLine line;
};

// A message with words of the catalogue (watch/causes.hpp) that no other finding is made of.
struct CatalogueWords {
  const CauseInfo* cause = nullptr;
  std::string driver;
  std::string device;  // empty: none is named
  LogLine line;
};

// "Hyper-V: Isolation Config: Group A 0x1, Group B 0xba2": CPUID 4000000C EAX and EBX.
struct HypervIsolation {
  std::uint64_t group_a = 0;
  std::uint64_t group_b = 0;
  LogLine line;
};

struct KernelLog {
  std::size_t lines = 0;
  bool complete = false;     // it begins with the boot ("Linux version")
  std::size_t left_out = 0;  // findings beyond findings_max of their kind
  std::string version;       // "6.1.0-30-amd64"; empty: not said
  std::optional<std::string> command_line;

  std::optional<EncryptionFeatures> encryption;
  std::optional<LogLine> tdx_guest;  // "tdx: Guest detected"
  std::vector<LogLine> tech_previews;

  std::optional<LogLine>
      bounces_encrypted;  // "Memory encryption is active and system is using DMA bounce..."
  std::optional<PoolMapped> pool;
  std::optional<std::uint64_t> pool_adjusted_mib;
  std::optional<std::uint64_t> pool_roundup_mib;
  std::optional<std::uint64_t> pool_areas;
  std::optional<LogLine> no_pool;      // it could not be allocated
  std::optional<LogLine> pool_absent;  // "No low mem", also where swiotlb=noforce left it out
  std::vector<PoolFull> pool_full;
  std::uint64_t pool_full_suppressed = 0;  // messages that the kernel's rate limit dropped
  std::vector<DmaOverflow> overflows;

  std::optional<DefaultDomain> default_domain;
  std::optional<LogLine> passthrough_overridden;  // memory encryption disables default passthrough
  std::optional<LogLine> iommu_enabled;           // AMD-Vi or VT-d at work
  std::optional<LogLine> iommu_forbids_snp;
  std::vector<IommuFault> iommu_faults;

  std::optional<AsidRange> sev;
  std::optional<AsidRange> sev_es;
  std::optional<AsidRange> sev_snp;
  std::optional<FirmwareVersion> sev_api;
  std::optional<FirmwareVersion> snp_api;
  std::optional<LogLine> rmp_table;
  std::optional<TdxKeyIds> tdx_key_ids;
  std::optional<LogLine> tdx_module;       // it is initialized
  std::vector<LogLine> firmware_troubles;  // ccp, PSP, RMP table, TDX module

  std::vector<VirtioRefusal> virtio_refusals;
  std::vector<IoError> io_errors;

  std::optional<HypervIsolation> hyperv_isolation;
  std::optional<LogLine> hypervisor;  // "Hypervisor detected: KVM"
  std::optional<LogLine> realm;       // Arm CCA: "RME: Using RSI version 1.0"
  std::optional<LogLine> tsme;        // "TSME enabled", "Both TSME and SME are active"
  std::vector<CatalogueWords> other_words;
};

inline constexpr std::size_t log_findings_max = 1000;  // of a kind

[[nodiscard]] KernelLog parse_kernel_log(std::string_view text);

// The lines from which parse_kernel_log() takes anything, stamped as dmesg does ("[    0.000000] "): the same
// findings from less text, and no host name that journalctl or syslog put before them.
[[nodiscard]] std::string lines_that_matter(std::string_view text);

// The words that messages are found by.
[[nodiscard]] std::vector<std::string_view> log_rule_words();

}  // namespace cbit::watch
