#include "watch/import/kernel_log.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/format.hpp"
#include "base/text.hpp"
#include "watch/import/log_line.hpp"

namespace cbit::watch {
namespace {

constexpr std::size_t line_bytes_max = 4096;  // of a message; the kernel's own limit is 1 KiB

std::string shown(std::string_view text) { return printable(text, line_bytes_max); }

// A line of the log in which a rule has found its words.
struct Hit {
  const Message& message;
  std::size_t number;
  std::string_view before;  // the message up to the words
  LogScanner after;         // and behind them

  [[nodiscard]] LogLine line() const { return {number, message.time_us, shown(message.text)}; }
};

// Says whether it took something.
using Taker = bool (*)(KernelLog& log, Hit hit);
struct Rule {
  std::string_view words;
  Taker take;
};

template <class T>
bool add(KernelLog& log, std::vector<T>& to, T finding) {
  if (to.size() >= log_findings_max)
    ++log.left_out;
  else
    to.push_back(std::move(finding));
  return true;
}

struct DeviceName {
  std::string driver;
  std::string device;
};

// "nvme 0000:00:04.0: " of dev_printk(): the last two words before the message, or one where no driver is
// bound.
DeviceName device_before(std::string_view text) {
  while (text.ends_with(' ') || text.ends_with(':')) text.remove_suffix(1);
  const std::size_t cut = text.rfind(' ');
  const std::string_view device = cut == std::string_view::npos ? text : text.substr(cut + 1);
  std::string_view driver = cut == std::string_view::npos ? std::string_view{} : text.substr(0, cut);
  driver = driver.substr(driver.rfind(' ') + 1);
  return {shown(driver), shown(device)};
}

// The same in dev_printk() of an IOMMU's driver: "nvme 0000:41:00.0: AMD-Vi: ".
DeviceName device_before(std::string_view text, std::string_view prefix) {
  if (text.ends_with(prefix)) text.remove_suffix(prefix.size());
  return text.empty() ? DeviceName{} : device_before(text);
}

// Of a message whose words do not tell where the device ends: "DMA-API: nvme 0000:00:04.0: device driver".
DeviceName device_named(std::string_view text) {
  if (text.starts_with("DMA-API: ")) text.remove_prefix(text.find(' ') + 1);
  const std::size_t end = text.find(": ");
  return end == std::string_view::npos ? DeviceName{} : device_before(text.substr(0, end));
}

template <std::optional<LogLine> KernelLog::* member>
bool take_line(KernelLog& log, Hit hit) {
  log.*member = hit.line();
  return true;
}
template <std::optional<std::uint64_t> KernelLog::* member>
bool take_number(KernelLog& log, Hit hit) {
  const auto value = hit.after.number();
  if (value) log.*member = value;
  return value.has_value();
}
template <std::vector<LogLine> KernelLog::* member>
bool take_each(KernelLog& log, Hit hit) {
  return add(log, log.*member, hit.line());
}

bool take_version(KernelLog& log, Hit hit) {
  if (!hit.before.empty()) return false;
  log.version = shown(hit.after.word());
  log.complete = true;
  return true;
}

// Each word is one feature. The wordings differ: "AMD SEV SEV-ES", "SEV SEV-ES" (5.10: the line begins with
// "AMD Memory Encryption Features active:"), "Intel TDX".
bool take_features(KernelLog& log, Hit hit) {
  EncryptionFeatures found;
  constexpr std::pair<std::string_view, bool EncryptionFeatures::*> words[] = {
      {"SME", &EncryptionFeatures::sme},       {"SEV", &EncryptionFeatures::sev},
      {"SEV-ES", &EncryptionFeatures::sev_es}, {"SEV-SNP", &EncryptionFeatures::sev_snp},
      {"TDX", &EncryptionFeatures::tdx},
  };
  bool any = false;
  while (hit.after.skip(" ") || !hit.after.rest().empty()) {
    const std::string_view word = hit.after.word();
    for (const auto& [name, member] : words)
      if (word == name) found.*member = any = true;
    if (word.empty() && !hit.after.skip(" ")) break;
  }
  if (!any) return false;
  found.line = hit.line();
  log.encryption = std::move(found);
  return true;
}

// Linux 4.14 to 5.9: "AMD Secure Memory Encryption (SME) active".
template <bool EncryptionFeatures::* member>
bool take_old_feature(KernelLog& log, Hit hit) {
  if (!log.encryption) log.encryption.emplace();
  (*log.encryption).*member = true;
  log.encryption->line = hit.line();
  return true;
}

bool take_pool(KernelLog& log, Hit hit) {
  const auto first = hit.after.hex();
  if (!first || !hit.after.skip("-")) return false;
  const auto last = hit.after.hex();
  if (!last || *last < *first) return false;
  log.pool = PoolMapped{*first, *last, hit.line()};
  return true;
}

bool take_full(KernelLog& log, Hit hit) {
  const auto bytes = hit.after.number();
  if (!bytes) return false;
  const auto [driver, device] = device_before(hit.before);
  PoolFull full{driver, device, *bytes, std::nullopt, std::nullopt, hit.line()};
  if (hit.after.past("total ")) full.slots_total = hit.after.number();
  if (hit.after.past("used ")) full.slots_used = hit.after.number();
  return add(log, log.pool_full, std::move(full));
}

// Linux before 4.14: "DMA: Out of SW-IOMMU space for 65536 bytes at device 0000:00:04.0".
bool take_old_full(KernelLog& log, Hit hit) {
  const auto bytes = hit.after.number();
  if (!bytes || !hit.after.past("at device ")) return false;
  return add(log, log.pool_full,
             PoolFull{{}, shown(hit.after.word()), *bytes, std::nullopt, std::nullopt, hit.line()});
}

// "swiotlb_tbl_map_single: 187 callbacks suppressed"
bool take_suppressed(KernelLog& log, Hit hit) {
  const auto count = hit.after.number();
  if (!count || !hit.after.skip(" callbacks suppressed")) return false;
  constexpr std::uint64_t most = ~std::uint64_t{0};
  log.pool_full_suppressed += std::min(*count, most - log.pool_full_suppressed);
  return true;
}

bool take_overflow(KernelLog& log, Hit hit, bool of_bounce_buffer) {
  const auto address = hit.after.number();
  if (!address || !hit.after.skip("+")) return false;
  const auto bytes = hit.after.number();
  if (!bytes || !hit.after.skip(" overflow (mask ")) return false;
  const auto mask = hit.after.hex();
  if (!mask) return false;
  const auto [driver, device] = device_before(hit.before);
  DmaOverflow overflow{driver, device, *address, *bytes, *mask, 0, of_bounce_buffer, hit.line()};
  if (hit.after.skip(", bus limit ")) overflow.bus_limit = hit.after.hex().value_or(0);
  return add(log, log.overflows, std::move(overflow));
}
bool take_dma_overflow(KernelLog& log, Hit hit) { return take_overflow(log, hit, false); }
bool take_bounce_overflow(KernelLog& log, Hit hit) { return take_overflow(log, hit, true); }

bool take_default_domain(KernelLog& log, Hit hit) {
  const std::string_view type = hit.after.word();
  if (type != "Passthrough" && type != "Translated") return false;
  log.default_domain =
      DefaultDomain{type == "Passthrough", hit.after.past("(set via kernel command line)"), hit.line()};
  return true;
}

bool take_amd_event(KernelLog& log, Hit hit) {
  constexpr std::pair<std::string_view, IommuFaultKind> events[] = {
      {"IO_PAGE_FAULT", IommuFaultKind::io_page_fault},
      {"RMP_PAGE_FAULT", IommuFaultKind::rmp_page_fault},
      {"RMP_HW_ERROR", IommuFaultKind::rmp_hw_error},
  };
  const std::string_view name = hit.after.word("]");
  const auto* const event = std::ranges::find(events, name, [](const auto& row) { return row.first; });
  IommuFault fault{
      event != std::end(events) ? event->second : IommuFaultKind::other_event, {}, {}, hit.line()};
  LogScanner scan = hit.after;
  if (scan.past("device="))
    fault.device = shown(scan.word(",]"));
  else
    fault.device = device_before(hit.before, "AMD-Vi: ").device;
  for (const std::string_view key : {"address=", " gpa=", " spa="}) {
    scan = hit.after;
    if (!fault.address && scan.past(key)) fault.address = scan.number();
  }
  return add(log, log.iommu_faults, std::move(fault));
}

// "DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x... [fault reason 0x06] ..."
bool take_dmar_fault(KernelLog& log, Hit hit) {
  IommuFault fault{IommuFaultKind::dmar, shown(hit.after.word("]")), {}, hit.line()};
  if (hit.after.past("fault addr ")) fault.address = hit.after.hex();
  return add(log, log.iommu_faults, std::move(fault));
}

bool take_rmp_violation(KernelLog& log, Hit hit) {
  return add(log, log.iommu_faults, IommuFault{IommuFaultKind::rmp_violation, {}, {}, hit.line()});
}

std::optional<AsidRange> KernelLog::* asids_of(std::string_view technology) {
  if (technology == "SEV") return &KernelLog::sev;
  if (technology == "SEV-ES") return &KernelLog::sev_es;
  if (technology == "SEV-SNP") return &KernelLog::sev_snp;
  return nullptr;
}

// "SEV enabled (ASIDs 100 - 509)", behind "kvm_amd: " since Linux 6.3.
bool take_asids(KernelLog& log, Hit hit) {
  constexpr std::pair<std::string_view, AsidState> states[] = {
      {"enabled", AsidState::enabled}, {"disabled", AsidState::disabled}, {"unusable", AsidState::unusable}};
  const auto [technology, word] = device_before(hit.before);
  const auto* const state = std::ranges::find(states, word, [](const auto& row) { return row.first; });
  const auto member = asids_of(technology);
  if (state == std::end(states) || member == nullptr) return false;
  AsidRange range{state->second, hit.after.number(), {}, {}, hit.line()};
  if (hit.after.skip(" - ")) range.last = hit.after.number();
  if (!range.first || !range.last) return false;
  if (*range.last >= *range.first) range.count = *range.last - *range.first + 1;
  log.*member = std::move(range);
  return true;
}

// Linux 5.x: "SEV supported: 410 ASIDs"; "SEV-ES and SEV-SNP supported: 99 ASIDs".
bool take_asid_count(KernelLog& log, Hit hit) {
  const auto count = hit.after.number();
  if (!count || !hit.after.skip(" ASIDs")) return false;
  bool any = false;
  LogScanner scan{hit.before};
  while (!scan.rest().empty()) {
    if (const auto member = asids_of(scan.word()); member != nullptr) {
      log.*member = AsidRange{AsidState::enabled, {}, {}, count, hit.line()};
      any = true;
    }
    if (!scan.skip(" ")) break;
  }
  return any;
}

template <std::optional<FirmwareVersion> KernelLog::* member>
bool take_firmware(KernelLog& log, Hit hit) {
  const auto api_major = hit.after.number();
  if (!api_major || !hit.after.skip(".")) return false;
  const auto api_minor = hit.after.number();
  if (!api_minor || !hit.after.skip(" build:")) return false;
  const auto build = hit.after.number();
  if (!build) return false;
  log.*member = FirmwareVersion{*api_major, *api_minor, *build, hit.line()};
  return true;
}

bool take_tdx_key_ids(KernelLog& log, Hit hit) {
  const auto first = hit.after.number();
  if (!first || !hit.after.skip(", ")) return false;
  const auto end = hit.after.number();
  if (!end || *end < *first) return false;
  log.tdx_key_ids = TdxKeyIds{*first, *end, hit.line()};
  return true;
}

bool take_missing_flag(KernelLog& log, Hit hit) {
  const auto [driver, device] = device_before(hit.before);
  return add(log, log.virtio_refusals, VirtioRefusal{driver, device, shown(hit.after.word()), hit.line()});
}
bool take_refused_features(KernelLog& log, Hit hit) {
  const auto [driver, device] = device_before(hit.before);
  return add(log, log.virtio_refusals, VirtioRefusal{driver, device, {}, hit.line()});
}

bool take_io_error(KernelLog& log, Hit hit) {
  IoError error{shown(hit.after.word(",")), {}, hit.line()};
  if (hit.after.skip(", sector ")) error.sector = hit.after.number();
  return add(log, log.io_errors, std::move(error));
}
// "nvme nvme0: I/O 12 QID 3 timeout, aborting"
bool take_timeout(KernelLog& log, Hit hit) {
  const auto [driver, device] = device_before(hit.before);
  if (driver != "nvme" || !hit.after.past(" timeout")) return false;
  return add(log, log.io_errors, IoError{device, {}, hit.line()});
}

// A capture has it from /proc/cmdline, where it is masked: it is no reason to keep the line.
bool take_command_line(KernelLog& log, Hit hit) {
  if (hit.before.empty() && !log.command_line) log.command_line = hit.after.rest();
  return false;
}

bool take_hyperv_isolation(KernelLog& log, Hit hit) {
  const auto group_a = hit.after.number();
  if (!group_a || !hit.after.skip(", Group B ")) return false;
  const auto group_b = hit.after.number();
  if (!group_b) return false;
  log.hyperv_isolation = HypervIsolation{*group_a, *group_b, hit.line()};
  return true;
}

constexpr auto trouble = take_each<&KernelLog::firmware_troubles>;

constexpr Rule rules[] = {
    // init/main.c, arch/x86/kernel/setup.c
    {"Linux version ", take_version},
    {"Command line: ", take_command_line},
    {"Kernel command line: ", take_command_line},
    // arch/x86/mm/mem_encrypt.c, arch/x86/coco
    {"Memory Encryption Features active:", take_features},
    {"AMD Secure Memory Encryption (SME) active", take_old_feature<&EncryptionFeatures::sme>},
    {"AMD Secure Encrypted Virtualization (SEV) active", take_old_feature<&EncryptionFeatures::sev>},
    {"tdx: Guest detected", take_line<&KernelLog::tdx_guest>},
    {"TECH PREVIEW: ", take_each<&KernelLog::tech_previews>},        // Red Hat's kernels
    {"Hypervisor detected: ", take_line<&KernelLog::hypervisor>},    // arch/x86/kernel/cpu/hypervisor.c
    {"Hyper-V: Isolation Config: Group A ", take_hyperv_isolation},  // arch/x86/kernel/cpu/mshyperv.c
    {"RME: Using RSI version ", take_line<&KernelLog::realm>},       // arch/arm64/kernel/rsi.c
    // kernel/dma/swiotlb.c
    {"Memory encryption is active and system is using DMA bounce buffers",
     take_line<&KernelLog::bounces_encrypted>},
    {"software IO TLB: mapped [mem ", take_pool},
    {"SWIOTLB bounce buffer size adjusted to ", take_number<&KernelLog::pool_adjusted_mib>},
    {"SWIOTLB bounce buffer size roundup to ", take_number<&KernelLog::pool_roundup_mib>},
    {"software IO TLB: area num ", take_number<&KernelLog::pool_areas>},
    {"software IO TLB: No low mem", take_line<&KernelLog::pool_absent>},
    {"software IO TLB: Cannot allocate buffer", take_line<&KernelLog::no_pool>},
    {"software IO TLB: swiotlb_init_remap: Failed to allocate", take_line<&KernelLog::no_pool>},
    {"software IO TLB: swiotlb_memblock_alloc: Failed to allocate", take_line<&KernelLog::no_pool>},
    {"Can not allocate SWIOTLB buffer earlier", take_line<&KernelLog::no_pool>},
    {"swiotlb buffer is full (sz: ", take_full},
    {"DMA: Out of SW-IOMMU space for ", take_old_full},
    {"swiotlb_tbl_map_single: ", take_suppressed},
    {"swiotlb_map: ", take_suppressed},
    {"swiotlb addr ", take_bounce_overflow},
    {"DMA addr ", take_dma_overflow},  // kernel/dma/direct.h
    // drivers/iommu
    {"iommu: Default domain type: ", take_default_domain},
    {"emory encryption detected - Disabling default IOMMU Passthrough",
     take_line<&KernelLog::passthrough_overridden>},
    {"AMD-Vi: Interrupt remapping enabled", take_line<&KernelLog::iommu_enabled>},
    {"AMD-Vi: Initialized for Passthrough Mode", take_line<&KernelLog::iommu_enabled>},
    {"DMAR: IOMMU enabled", take_line<&KernelLog::iommu_enabled>},
    {"DMAR: Intel(R) Virtualization Technology for Directed I/O", take_line<&KernelLog::iommu_enabled>},
    {"SNP cannot be supported", take_line<&KernelLog::iommu_forbids_snp>},
    {"SNP: IOMMU is either disabled or configured in passthrough mode",
     take_line<&KernelLog::iommu_forbids_snp>},
    {"Event logged [", take_amd_event},
    {"Request device [", take_dmar_fault},
    {" - RMP violation", take_rmp_violation},  // arch/x86/mm/fault.c
    // arch/x86/kvm/svm/sev.c
    {" (ASIDs ", take_asids},
    {" supported: ", take_asid_count},
    // drivers/crypto/ccp, arch/x86/virt
    {" SEV API:", take_firmware<&KernelLog::sev_api>},
    {" SEV-SNP API:", take_firmware<&KernelLog::snp_api>},
    {"SEV-SNP: RMP table physical ", take_line<&KernelLog::rmp_table>},
    {"Memory for the RMP table has not been reserved by BIOS", trouble},
    {"Memory reserved for the RMP table does not cover", trouble},
    {"SEV: failed to INIT", trouble},
    {"SEV-SNP: failed to INIT", trouble},
    {"SEV: INIT failed", trouble},
    {"SEV: INIT_EX failed", trouble},
    {"SEV-SNP: SNP_INIT", trouble},
    {"SEV: failed to get status", trouble},
    {"SEV: memory encryption not enabled by BIOS", trouble},
    {"SEV: TMR allocation failed", trouble},
    {"sev initialization failed", trouble},
    {"psp initialization failed", trouble},
    {"psp: unable to access the device", trouble},
    {" timed out, disabling PSP", trouble},
    {"psp: TSME enabled", take_line<&KernelLog::tsme>},
    {"Both TSME and SME are active", take_line<&KernelLog::tsme>},
    {"Both TSME and SME are active", trouble},
    {"IOMMU not currently supported when SME is active", trouble},
    // arch/x86/virt/vmx/tdx/tdx.c
    {"virt/tdx: BIOS enabled: private KeyID range [", take_tdx_key_ids},
    {"virt/tdx: module initialized", take_line<&KernelLog::tdx_module>},
    {"virt/tdx: TDX-Module initialized", take_line<&KernelLog::tdx_module>},
    {"virt/tdx: module not loaded", trouble},
    {"virt/tdx: initialization failed: ", trouble},
    {"virt/tdx: module initialization failed", trouble},
    {"virt/tdx: TDX-Module initialization failed", trouble},
    // drivers/virtio/virtio.c
    {"device must provide ", take_missing_flag},
    {"virtio: device refuses features", take_refused_features},
    // block, drivers/nvme
    {"I/O error, dev ", take_io_error},
    {": I/O ", take_timeout},
};

// What the kernel says of everything that works badly, too, is no evidence by itself.
bool speaks_for_itself(const CauseInfo& info) { return info.name != "sleep-in-atomic-on-flip"; }

bool take_catalogue_words(KernelLog& log, const Message& message, std::size_t number) {
  bool taken = false;
  for (const CauseInfo& info : cause_catalogue()) {
    if (info.linux_says.empty() || !speaks_for_itself(info) || !is_about(info, message.text)) continue;
    const auto [driver, device] = device_named(message.text);
    taken |= add(log, log.other_words,
                 CatalogueWords{&info, driver, device, {number, message.time_us, shown(message.text)}});
  }
  return taken;
}

bool apply_rules(KernelLog& log, const Message& message, std::size_t number) {
  bool taken = false;
  for (const Rule& rule : rules) {
    const std::size_t at = message.text.find(rule.words);
    if (at == std::string_view::npos) continue;
    taken |= rule.take(log, {message, number, message.text.substr(0, at),
                             LogScanner{message.text.substr(at + rule.words.size())}});
  }
  return taken || take_catalogue_words(log, message, number);
}

// Calls visit(message, taken) for each line.
template <class Visit>
KernelLog each_line(std::string_view text, Visit visit) {
  KernelLog log;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, std::min(end, line_bytes_max));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const Message message = strip_stamps(line);
    visit(message, apply_rules(log, message, ++log.lines));
  }
  return log;
}

}  // namespace

KernelLog parse_kernel_log(std::string_view text) {
  return each_line(text, [](const Message&, bool) {});
}

std::vector<std::string_view> log_rule_words() {
  std::vector<std::string_view> words;
  for (const Rule& rule : rules) words.push_back(rule.words);
  return words;
}

std::string lines_that_matter(std::string_view text) {
  std::string kept;
  each_line(text, [&](const Message& message, bool taken) {
    if (!taken) return;
    constexpr std::uint64_t second_us = 1'000'000;
    if (message.time_us)
      kept += fmt::format("[{:5}.{:06}] ", *message.time_us / second_us, *message.time_us % second_us);
    kept += shown(message.text) + '\n';
  });
  return kept;
}

}  // namespace cbit::watch
