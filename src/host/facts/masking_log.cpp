// The kernel's log: what stays of it.
#include <algorithm>
#include <set>

#include "base/text.hpp"
#include "facts/masking.hpp"
#include "facts/masking_words.hpp"
#include "watch/causes.hpp"
#include "watch/import/kernel_log.hpp"

namespace cbit::facts {
namespace {

// Of the messages that are understood, beside the words that they are found by.
constexpr std::string_view more_words[] = {"SME",
                                           "SEV",
                                           "SEV-ES",
                                           "SEV-SNP",
                                           "SNP",
                                           "TDX",
                                           "TSME",
                                           "AMD",
                                           "Intel",
                                           "RMP",
                                           "PSP",
                                           "TMR",
                                           "ccp",
                                           "psp",
                                           "sev",
                                           "API",
                                           "build",
                                           "rc",
                                           "errno",
                                           "error",
                                           "err",
                                           "ret",
                                           "code",
                                           "status",
                                           "state",
                                           "failed",
                                           "fail",
                                           "with",
                                           "for",
                                           "to",
                                           "at",
                                           "of",
                                           "on",
                                           "in",
                                           "is",
                                           "be",
                                           "by",
                                           "the",
                                           "a",
                                           "an",
                                           "and",
                                           "or",
                                           "not",
                                           "no",
                                           "No",
                                           "cannot",
                                           "can",
                                           "was",
                                           "are",
                                           "has",
                                           "have",
                                           "from",
                                           "via",
                                           "set",
                                           "kernel",
                                           "command",
                                           "line",
                                           "total",
                                           "used",
                                           "slots",
                                           "slot",
                                           "bytes",
                                           "byte",
                                           "sz",
                                           "size",
                                           "overflow",
                                           "mask",
                                           "bus",
                                           "limit",
                                           "domain",
                                           "domain_id",
                                           "address",
                                           "addr",
                                           "flags",
                                           "flag",
                                           "gpa",
                                           "vmg_tag",
                                           "flags_rmp",
                                           "B",
                                           "KVM",
                                           "Microsoft",
                                           "spa",
                                           "gva",
                                           "pasid",
                                           "PASID",
                                           "NO_PASID",
                                           "index",
                                           "fault",
                                           "reason",
                                           "Request",
                                           "device",
                                           "dev",
                                           "DMA",
                                           "Read",
                                           "Write",
                                           "read",
                                           "write",
                                           "Present",
                                           "bit",
                                           "clear",
                                           "callbacks",
                                           "suppressed",
                                           "Translated",
                                           "Passthrough",
                                           "translated",
                                           "passthrough",
                                           "lazy",
                                           "strict",
                                           "mode",
                                           "enabled",
                                           "disabled",
                                           "unusable",
                                           "ASIDs",
                                           "KeyID",
                                           "range",
                                           "BIOS",
                                           "firmware",
                                           "Firmware",
                                           "I/O",
                                           "QID",
                                           "timeout",
                                           "timed",
                                           "out",
                                           "aborting",
                                           "abort",
                                           "reset",
                                           "completion",
                                           "polled",
                                           "sector",
                                           "op",
                                           "READ",
                                           "WRITE",
                                           "FLUSH",
                                           "phys_seg",
                                           "prio",
                                           "class",
                                           "physical",
                                           "memory",
                                           "Memory",
                                           "table",
                                           "reserved",
                                           "allocated",
                                           "allocate",
                                           "buffer",
                                           "buffers",
                                           "adjusted",
                                           "roundup",
                                           "area",
                                           "num",
                                           "low",
                                           "mem",
                                           "mapped",
                                           "Event",
                                           "logged",
                                           "IO_PAGE_FAULT",
                                           "RMP_PAGE_FAULT",
                                           "RMP_HW_ERROR",
                                           "INVALID_DEVICE_REQUEST",
                                           "ILLEGAL_DEV_TABLE_ENTRY",
                                           "DEV_TAB_HARDWARE_ERROR",
                                           "PAGE_TAB_HARDWARE_ERROR",
                                           "Interrupt",
                                           "remapping",
                                           "supported",
                                           "active",
                                           "features",
                                           "refuses",
                                           "provide",
                                           "must",
                                           "module",
                                           "initialized",
                                           "Initialized",
                                           "version",
                                           "Linux",
                                           "virtio",
                                           "PCI",
                                           "IOMMU",
                                           "iommu",
                                           "AMD-Vi",
                                           "DMAR",
                                           "GB",
                                           "MB",
                                           "KB",
                                           "page",
                                           "pages",
                                           "bounce",
                                           "SWIOTLB",
                                           "swiotlb",
                                           "software",
                                           "TLB",
                                           "IO",
                                           "vector",
                                           "exit-code",
                                           "Unsupported",
                                           "guest",
                                           "Guest",
                                           "host",
                                           "hypervisor",
                                           "support",
                                           "kvm_amd",
                                           "kvm_intel",
                                           "SVM",
                                           "nearest",
                                           "SNP_INIT",
                                           "INIT",
                                           "INIT_EX",
                                           "first",
                                           "second",
                                           "last",
                                           "reg",
                                           "type"};

constexpr std::string_view drivers[] = {"8139too",
                                        "ahci",
                                        "aacraid",
                                        "amdgpu",
                                        "amdxdna",
                                        "ast",
                                        "ata_piix",
                                        "atlantic",
                                        "bnx2x",
                                        "bnxt_en",
                                        "bnxt_re",
                                        "ccp",
                                        "cxgb4",
                                        "dwc3",
                                        "e1000",
                                        "e1000e",
                                        "efa",
                                        "ehci-pci",
                                        "ena",
                                        "enic",
                                        "fnic",
                                        "gve",
                                        "hfi1",
                                        "hpsa",
                                        "i40e",
                                        "i915",
                                        "iavf",
                                        "ice",
                                        "idxd",
                                        "igb",
                                        "igbvf",
                                        "igc",
                                        "ioatdma",
                                        "irdma",
                                        "isci",
                                        "ixgbe",
                                        "ixgbevf",
                                        "lpfc",
                                        "mana",
                                        "megaraid_sas",
                                        "mgag200",
                                        "mlx4_core",
                                        "mlx5_core",
                                        "mpi3mr",
                                        "mpt3sas",
                                        "mt7921e",
                                        "nouveau",
                                        "nvidia",
                                        "nvme",
                                        "ohci-pci",
                                        "pata_acpi",
                                        "pcieport",
                                        "ptdma",
                                        "qat_4xxx",
                                        "qede",
                                        "qla2xxx",
                                        "qxl",
                                        "r8169",
                                        "radeon",
                                        "rtl8192ee",
                                        "rtsx_pci",
                                        "sata_sil",
                                        "sev-guest",
                                        "sfc",
                                        "smartpqi",
                                        "snd_hda_intel",
                                        "tg3",
                                        "tdx",
                                        "thunderbolt",
                                        "uhci_hcd",
                                        "vfio-pci",
                                        "virtio-pci",
                                        "virtio_balloon",
                                        "virtio_blk",
                                        "virtio_ccw",
                                        "virtio_console",
                                        "virtio_gpu",
                                        "virtio_mem",
                                        "virtio_net",
                                        "virtio_rng",
                                        "virtio_scsi",
                                        "virtio_iommu",
                                        "virtiofs",
                                        "vmw_pvscsi",
                                        "vmwgfx",
                                        "vmxnet3",
                                        "xe",
                                        "xhci_hcd",
                                        "xhci_pci",
                                        "iwlwifi",
                                        "ath11k_pci",
                                        "pci",
                                        "platform",
                                        "usb",
                                        "scsi"};

constexpr std::string_view opening = "([{<\"'`", closing = ")]}>\"'`,.;:!?";

std::set<std::string_view> vocabulary() {
  std::set<std::string_view> words{std::begin(more_words), std::end(more_words)};
  const auto add = [&](std::string_view text) {
    static_cast<void>(all_pieces(text, " \t|:[]()\"", [&](std::string_view word) {
      while (!word.empty() && closing.find(word.back()) != std::string_view::npos) word.remove_suffix(1);
      words.insert(word);
      return true;
    }));
  };
  for (const std::string_view words_of_rule : watch::log_rule_words()) add(words_of_rule);
  for (const watch::CauseInfo& cause : watch::cause_catalogue()) add(cause.linux_says);
  return words;
}

bool is_known(std::string_view word) {
  static const std::set<std::string_view> known = vocabulary();
  return known.contains(word);
}

// virtio0, nvme0, nvme0n1, sda, vda1, md0, dm-3, card0, dmar0, ivhd0: names that the kernel gives.
bool is_kernels_name(std::string_view word) {
  constexpr std::string_view kinds[] = {"virtio", "nvme", "md",  "dm-",  "card",   "dmar",
                                        "ivhd",   "loop", "sr",  "zram", "mmcblk", "nbd",
                                        "host",   "cpu",  "CPU", "node", "vio"};
  constexpr std::string_view disks[] = {"sd", "vd", "hd", "xvd"};
  for (const std::string_view kind : kinds)
    if (word.starts_with(kind) &&
        all_pieces(word.substr(kind.size()), "np", [](std::string_view part) { return is_decimal(part, 3); }))
      return true;
  for (const std::string_view disk : disks) {
    if (!word.starts_with(disk)) continue;
    const std::string_view rest = word.substr(disk.size());
    const auto letters = static_cast<std::size_t>(std::ranges::find_if_not(rest, is_letter) - rest.begin());
    if (letters >= 1 && letters <= 2 && (letters == rest.size() || is_decimal(rest.substr(letters), 2)))
      return true;
  }
  return false;
}

bool is_version(std::string_view word) {
  return std::ranges::count(word, '.') <= 2 &&
         all_pieces(word, ".", [](std::string_view part) { return is_decimal(part, 4); });
}

bool is_number(std::string_view word) {
  return all_pieces(word, "-+/", [](std::string_view part) {
    return part.empty() || is_decimal(part, 10) || is_0x(part, 16) || is_size(part);
  });
}

// What a flag of virtio is called.
bool is_virtio_flag(std::string_view word) {
  return word.starts_with("VIRTIO_") && word.size() < 48 &&
         std::ranges::all_of(
             word, [](char c) { return (c >= 'A' && c <= 'Z') || c == '_' || is_decimal_digit(c); });
}

class LineMasker {
 public:
  Masked mask(std::string_view line) {
    const std::size_t blank = line.find_first_not_of(' ');
    const std::size_t stamp = line.starts_with('[') ? line.find("] ") : std::string_view::npos;
    if (stamp != std::string_view::npos && is_stamp(line.substr(1, stamp - 1))) {
      masked_.text = line.substr(0, stamp + 2);
      line.remove_prefix(stamp + 2);
    } else if (blank != 0 && blank != std::string_view::npos) {
      masked_.text = std::string(blank, ' ');
    }
    if (line.starts_with("Linux version "))
      version(line);
    else
      words(line);
    return std::move(masked_);
  }

 private:
  static bool is_stamp(std::string_view text) {
    return all_pieces(trimmed(text), ".", [](std::string_view part) { return is_decimal(part, 12); });
  }

  // "Linux version 6.1.0-30-amd64 (who@where) (gcc ...) #1 SMP ..."
  void version(std::string_view line) {
    constexpr std::string_view head = "Linux version ";
    const std::string_view release = words_of(line.substr(head.size())).empty()
                                         ? std::string_view{}
                                         : words_of(line.substr(head.size())).front();
    const Masked kept = mask_release(release);
    masked_.text += head;
    masked_.text += kept.text;
    masked_.values += kept.values;
    const std::size_t end = static_cast<std::size_t>(release.data() - line.data()) + release.size();
    if (trimmed(line.substr(release.empty() ? line.size() : end)).empty()) return;
    masked_.text += " (<masked>)";
    ++masked_.values;
  }

  void words(std::string_view line) {
    const std::vector<std::string_view> all = words_of(line);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool before_device = i + 1 < all.size() && is_device(core_of(all[i + 1]));
      const bool keeps = keep(all[i], before_device);
      if (!keeps && hidden_) continue;  // one for all in a row
      if (i != 0) masked_.text += ' ';
      masked_.text += keeps ? all[i] : masked_word;
      masked_.values += keeps || all[i] == masked_word ? 0 : 1;
      hidden_ = !keeps;
      previous_ = core_of(all[i]);
    }
    if (line.ends_with(' ') && !all.empty()) masked_.text += ' ';
  }

  static std::string_view core_of(std::string_view word) {
    while (!word.empty() && opening.find(word.front()) != std::string_view::npos) word.remove_prefix(1);
    while (!word.empty() && closing.find(word.back()) != std::string_view::npos) word.remove_suffix(1);
    return word;
  }

  // "0.0.f00a", of the channel subsystem.
  static bool is_ccw_address(std::string_view core) {
    return core.size() == 8 && core[1] == '.' && core[3] == '.' && is_hex(core.substr(0, 1), 1) &&
           is_hex(core.substr(2, 1), 1) && is_hex(core.substr(4), 4);
  }
  static bool is_device(std::string_view core) {
    return is_pci_address(core) || is_kernels_name(core) || is_ccw_address(core);
  }

  [[nodiscard]] bool keep(std::string_view word, bool before_device) const {
    const std::string_view core = core_of(word);
    if (core.empty() || is_known(core) || is_device(core) || is_virtio_flag(core)) return true;
    if (is_linux_driver(core)) return before_device || word.ends_with(':');
    if (const std::size_t equals = core.find('='); equals != std::string_view::npos)
      return is_known(core.substr(0, equals)) && is_value(core.substr(equals + 1));
    if (const std::size_t colon = core.find(':'); colon != std::string_view::npos)
      return is_known(core.substr(0, colon)) && is_value(core.substr(colon + 1));
    // A number belongs to the word before it.
    return !hidden_ && (is_value(core) || (is_hex(core, 16) && announces_hex(previous_)));
  }

  static bool is_value(std::string_view text) {
    return is_number(text) || is_version(text) || is_pci_address(text) || is_known(text);
  }
  static bool announces_hex(std::string_view word) {
    return word == "mask" || word == "limit" || word == "addr" || word == "address";
  }

  Masked masked_;
  bool hidden_ = false;  // the word before was masked
  std::string_view previous_;
};

}  // namespace

bool is_linux_driver(std::string_view name) { return std::ranges::find(drivers, name) != std::end(drivers); }

Masked mask_kernel_log(std::string_view log) {
  Masked masked;
  const std::string kept = watch::lines_that_matter(log);
  for (const std::string_view line : lines_of(kept)) {
    const Masked words = LineMasker{}.mask(line);
    const Masked last = mask_identifiers(words.text);
    masked.text += last.text;
    masked.text += '\n';
    masked.values += words.values + last.values;
  }
  return masked;
}

}  // namespace cbit::facts
