// The kernel's command line: what stays of it (Documentation/admin-guide/kernel-parameters.txt).
#include <algorithm>

#include "facts/masking.hpp"
#include "facts/masking_words.hpp"

namespace cbit::facts {
namespace {

// Without a value.
constexpr std::string_view flags[] = {"ro",
                                      "rw",
                                      "quiet",
                                      "splash",
                                      "debug",
                                      "verbose",
                                      "nosplash",
                                      "nomodeset",
                                      "nohibernate",
                                      "nokaslr",
                                      "nosmt",
                                      "nosmap",
                                      "nosmep",
                                      "nopti",
                                      "pti",
                                      "noapic",
                                      "nolapic",
                                      "nox2apic",
                                      "noacpi",
                                      "nogbpages",
                                      "gbpages",
                                      "nohugeiomap",
                                      "noefi",
                                      "nosgx",
                                      "nopcid",
                                      "noxsave",
                                      "single",
                                      "rescue",
                                      "emergency",
                                      "ignore_loglevel",
                                      "earlyprintk",
                                      "rdinit",
                                      "maybe-ubiquity",
                                      "rhgb",
                                      "no_timer_check",
                                      "disable_mtrr_cleanup",
                                      "nomce",
                                      "numa_balancing",
                                      "dma_debug_entries",
                                      "skew_tick",
                                      "nohz",
                                      "nohz_full",
                                      "threadirqs",
                                      "kvm-intel.nested",
                                      "svm",
                                      "swiotlb",
                                      "iommu",
                                      "intel_iommu",
                                      "amd_iommu",
                                      "mem_encrypt",
                                      "mitigations"};

// Their values say how memory, DMA, IOMMUs, virtualization and the console are set up. A name that ends in
// '.' stands for all that begin so.
constexpr std::string_view parameters[] = {"amd_iommu",
                                           "amd_iommu_dump",
                                           "amd_iommu_intr",
                                           "acpi",
                                           "ccp.",
                                           "cma",
                                           "coherent_pool",
                                           "console",
                                           "crashkernel",
                                           "default_hugepagesz",
                                           "disable_mtrr_cleanup",
                                           "dma_debug",
                                           "earlycon",
                                           "earlyprintk",
                                           "efi",
                                           "hugepages",
                                           "hugepagesz",
                                           "intel_iommu",
                                           "iomem",
                                           "iommu",
                                           "iommu.",
                                           "isolcpus",
                                           "kvm.",
                                           "kvm_amd.",
                                           "kvm-amd.",
                                           "kvm_intel.",
                                           "kvm-intel.",
                                           "l1tf",
                                           "loglevel",
                                           "maxcpus",
                                           "mds",
                                           "mem",
                                           "mem_encrypt",
                                           "memmap",
                                           "mitigations",
                                           "movablecore",
                                           "kernelcore",
                                           "nokaslr",
                                           "nomodeset",
                                           "nosmt",
                                           "nr_cpus",
                                           "numa",
                                           "numa_balancing",
                                           "nvme.",
                                           "nvme_core.",
                                           "panic",
                                           "pci",
                                           "pcie_acs_override",
                                           "pcie_aspm",
                                           "pcie_ports",
                                           "pcie_bus_perf",
                                           "psp.",
                                           "preempt",
                                           "random.trust_bootloader",
                                           "random.trust_cpu",
                                           "sev",
                                           "snp",
                                           "spectre_v2",
                                           "svm",
                                           "swiotlb",
                                           "tdx",
                                           "transparent_hugepage",
                                           "tsx",
                                           "tsc",
                                           "vfio-pci.ids",
                                           "vfio_pci.ids",
                                           "vfio_iommu_type1.",
                                           "virtio_mmio.",
                                           "vdso32"};

// The words that their values are made of, beside numbers.
constexpr std::string_view value_words[] = {"on",
                                            "off",
                                            "auto",
                                            "force",
                                            "noforce",
                                            "track_hiwater",
                                            "pt",
                                            "nopt",
                                            "soft",
                                            "strict",
                                            "lazy",
                                            "y",
                                            "n",
                                            "Y",
                                            "N",
                                            "yes",
                                            "no",
                                            "true",
                                            "false",
                                            "always",
                                            "never",
                                            "madvise",
                                            "full",
                                            "fullflush",
                                            "debug",
                                            "verbose",
                                            "early",
                                            "nosmt",
                                            "biomerge",
                                            "nomerge",
                                            "merge",
                                            "panic",
                                            "nopanic",
                                            "forcesac",
                                            "allowdac",
                                            "noaperture",
                                            "memaper",
                                            "usedac",
                                            "nobypass",
                                            "sm_on",
                                            "sm_off",
                                            "igfx_off",
                                            "tboot_noforce",
                                            "nobounce",
                                            "forcedac",
                                            "pgtbl_v1",
                                            "pgtbl_v2",
                                            "force_isolation",
                                            "force_enable",
                                            "irtcachedis",
                                            "nohugepages",
                                            "v2_pgsizes_only",
                                            "legacy",
                                            "vapic",
                                            "high",
                                            "low",
                                            "nn",
                                            "fake",
                                            "interleave",
                                            "noruntime",
                                            "runtime",
                                            "attr",
                                            "nochunk",
                                            "novamap",
                                            "nosoftreserve",
                                            "realloc",
                                            "noacpi",
                                            "nomsi",
                                            "nommconf",
                                            "noaer",
                                            "nocrs",
                                            "use_crs",
                                            "pcie_scan_all",
                                            "hpbussize",
                                            "hpmemsize",
                                            "assign-busses",
                                            "resource_alignment",
                                            "performance",
                                            "powersave",
                                            "compat",
                                            "native",
                                            "downstream",
                                            "multifunction",
                                            "relaxed",
                                            "serial",
                                            "keep",
                                            "vga",
                                            "efifb",
                                            "mmio",
                                            "mmio32",
                                            "pl011",
                                            "reliable",
                                            "unstable",
                                            "nowatchdog",
                                            "none",
                                            "voluntary",
                                            "nodebug",
                                            "nosnp",
                                            "nordp",
                                            "retpoline",
                                            "ibrs",
                                            "eibrs",
                                            "flush",
                                            "domain",
                                            "managed_irq",
                                            "nohz",
                                            "rt"};

// ttyS0, tty1, hvc0, ttyAMA0, hvsi0
bool is_console(std::string_view piece) {
  constexpr std::string_view kinds[] = {"tty", "ttyS", "ttyAMA", "ttyUSB", "ttysclp",
                                        "hvc", "hvsi", "xvc",    "uart"};
  const auto letters = static_cast<std::size_t>(std::ranges::find_if_not(piece, is_letter) - piece.begin());
  return std::ranges::find(kinds, piece.substr(0, letters)) != std::end(kinds) &&
         (letters == piece.size() || is_decimal(piece.substr(letters), 3));
}

// 115200n8
bool is_line_speed(std::string_view piece) {
  const auto digits =
      static_cast<std::size_t>(std::ranges::find_if_not(piece, is_decimal_digit) - piece.begin());
  const std::string_view rest = piece.substr(digits);
  return digits >= 3 && digits <= 7 && rest.size() == 2 &&
         (rest[0] == 'n' || rest[0] == 'e' || rest[0] == 'o') && (rest[1] == '7' || rest[1] == '8');
}

bool is_harmless_piece(std::string_view piece) {
  return piece.empty() || is_decimal(piece, 8) || is_0x(piece, 16) || is_size(piece) || is_console(piece) ||
         is_line_speed(piece) || std::ranges::find(value_words, piece) != std::end(value_words);
}

// "10de:2330,1002:744c": what a device is, not which one.
bool is_list_of_ids(std::string_view value) {
  return all_pieces(value, ",", [](std::string_view id) {
    const std::size_t colon = id.find(':');
    const auto four = [](std::string_view part) { return part.size() == 4 && is_hex(part, 4); };
    return colon != std::string_view::npos && four(id.substr(0, colon)) && four(id.substr(colon + 1));
  });
}

bool is_harmless_value(std::string_view name, std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  if (name.ends_with(".ids")) return is_list_of_ids(value);
  return all_pieces(value, ",:;@!$+-=", is_harmless_piece) && mask_identifiers(value).values == 0;
}

bool is_listed(std::string_view name) {
  return std::ranges::any_of(parameters, [&](std::string_view known) {
    return known.ends_with('.') ? name.starts_with(known) && is_plain_name(name.substr(known.size()), 40)
                                : name == known;
  });
}

// Words that a program would be given by, "systemd.set_credential", and nothing that could be its value.
bool is_name(std::string_view text) {
  constexpr std::size_t characters_max = 64;
  return text.size() <= characters_max && mask_identifiers(text).values == 0 &&
         all_pieces(text, ".", [](std::string_view part) { return is_plain_name(part, characters_max); });
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\0';
}

// The next parameter, as the kernel's next_arg() cuts it: a blank within double quotes does not end it.
std::string_view next_parameter(std::string_view text) {
  bool quoted = false;
  std::size_t end = 0;
  for (; end < text.size() && (quoted || !is_blank(text[end])); ++end)
    if (text[end] == '"') quoted = !quoted;
  return text.substr(0, end);
}

void mask_parameter(Masked& masked, std::string_view parameter) {
  const std::size_t equals = parameter.find('=');
  const std::string_view name = parameter.substr(0, equals);
  const bool is_flag = equals == std::string_view::npos;
  const bool known_flag = is_flag && std::ranges::find(flags, name) != std::end(flags);
  if (known_flag || (!is_flag && is_listed(name) && is_harmless_value(name, parameter.substr(equals + 1)))) {
    masked.text += parameter;
    return;
  }
  if (!is_flag && is_name(name)) {
    masked.text += name;
    masked.text += '=';
  }
  masked.text += masked_word;
  ++masked.values;
}

}  // namespace

Masked mask_command_line(std::string_view line) {
  Masked masked;
  while (!line.empty()) {
    if (is_blank(line.front())) {
      masked.text += line.front() == '\n' ? '\n' : ' ';
      line.remove_prefix(1);
      continue;
    }
    const std::string_view parameter = next_parameter(line);
    if (parameter == "--") {
      masked.text += "-- <masked>\n";
      ++masked.values;
      return masked;
    }
    mask_parameter(masked, parameter);
    line.remove_prefix(parameter.size());
  }
  return masked;
}

}  // namespace cbit::facts
