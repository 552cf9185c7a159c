#include "facts/masking.hpp"

#include <algorithm>
#include <iterator>

#include "base/text.hpp"
#include "facts/masking_words.hpp"

namespace cbit::facts {
namespace {

// ---- identifiers anywhere ---------------------------------------------------------------------------------

bool is_separator(char c) { return c == ':' || c == '-'; }
bool is_word(char c) { return is_decimal_digit(c) || is_letter(c) || c == '_'; }

// The run's groups of hexadecimal digits have these lengths.
template <std::size_t n>
bool has_groups(std::string_view run, const std::size_t (&lengths)[n]) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto digits = static_cast<std::size_t>(std::ranges::find_if_not(run, is_hex_digit) - run.begin());
    if (digits != lengths[i]) return false;
    run.remove_prefix(digits);
    if (i + 1 < n) {
      if (run.empty()) return false;
      run.remove_prefix(1);
    }
  }
  return run.empty();
}

bool is_bits(std::string_view value) {
  return !value.empty() && value.size() <= 128 && value.find_first_not_of("01") == std::string_view::npos;
}

// Hexadecimal digits, and ':' or '-' between them.
bool is_identifier(std::string_view run) {
  const auto colons = std::ranges::count(run, ':');
  const auto pairs = [&] {  // a hardware address of six bytes or more: Ethernet 6, EUI-64 8, InfiniBand 20
    std::size_t groups = 0;
    const char separator = run.size() > 2 ? run[2] : '\0';
    return is_separator(separator) &&
           all_pieces(run, std::string_view{&separator, 1},
                      [&](std::string_view group) {
                        ++groups;
                        return group.size() == 2;
                      }) &&
           groups >= 6;
  };
  if (is_bits(run)) return false;  // features, which are as long as a digest
  return pairs() || colons >= 7 || run.find("::") != std::string_view::npos ||     // IPv6
         has_groups(run, {8, 4, 4, 4, 12}) || has_groups(run, {4, 4, 4, 4}) ||     // UUID, GUID
         has_groups(run, {32}) || has_groups(run, {40}) || has_groups(run, {64});  // machine id, digests
}

// "10.0.0.2", and with a port or the length of a prefix.
std::size_t ipv4_length(std::string_view text) {
  std::size_t at = 0;
  for (int group = 0; group < 4; ++group) {
    const std::string_view rest = text.substr(at);
    const auto digits =
        static_cast<std::size_t>(std::ranges::find_if_not(rest, is_decimal_digit) - rest.begin());
    if (digits == 0 || digits > 3) return 0;
    at += digits;
    if (group == 3) break;
    if (at >= text.size() || text[at] != '.') return 0;
    ++at;
  }
  return at < text.size() && (is_word(text[at]) || text[at] == '.') ? 0 : at;
}

// Words that no text of a kernel has: mail addresses, and letters among many digits.
bool is_suspicious(std::string_view word) {
  if (word.find('@') != std::string_view::npos && word.size() > 1) return true;
  std::size_t digits = 0, letters = 0;
  for (const char c : word) {
    digits += is_decimal_digit(c) ? 1 : 0;
    letters += is_letter(c) ? 1 : 0;
  }
  return letters != 0 && digits >= 4 && letters + digits == word.size() && word.size() >= 7 &&
         !word.starts_with("0x") && !is_size(word) && !is_linux_driver(word);
}

// Of hexadecimal digits with ':' and '-' between them.
std::size_t run_length(std::string_view text) {
  auto end = static_cast<std::size_t>(
      std::ranges::find_if_not(text, [](char c) { return is_hex_digit(c) || is_separator(c); }) -
      text.begin());
  while (end != 0 && text[end - 1] == '-') --end;
  if (end != 0 && text[end - 1] == ':' && !text.substr(0, end).ends_with("::")) --end;
  return end;
}

// Of a run whose last group goes on as a word, the others.
std::string_view groups_before_word(std::string_view run) {
  return run.substr(0, run.find_last_of(":-") + 1);
}

std::size_t word_length(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::find_if_not(text, [](char c) { return is_word(c) || c == '@' || c == '.'; }) -
      text.begin());
}

std::string masked_digits(std::string_view run) {
  std::string text;
  std::ranges::transform(run, std::back_inserter(text), [](char c) { return is_hex_digit(c) ? 'x' : c; });
  return text;
}

// ---- files ------------------------------------------------------------------------------------------------

Masked nothing_kept() { return {std::string{masked_word} + '\n', 1}; }

// The lines for which keep() is true. The others are counted.
template <class Keep>
Masked keep_lines(std::string_view text, Keep keep) {
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    if (keep(line)) {
      masked.text += line;
      masked.text += '\n';
    } else if (!trimmed(line).empty()) {
      ++masked.values;
    }
  }
  return masked;
}

// The capabilities alone: names and numbers of processes, users and groups are nobody's business.
Masked keep_capabilities(std::string_view text) {
  return keep_lines(text, [](std::string_view line) {
    const std::size_t colon = line.find(':');
    return line.starts_with("Cap") && colon == 6 && is_plain_name(line.substr(0, colon), 6) &&
           is_hex(trimmed(line.substr(colon + 1)), 16);
  });
}

Masked keep_limits(std::string_view text) {
  return keep_lines(text, [](std::string_view line) {
    constexpr std::string_view name = "Max locked memory";
    return line.starts_with(name) &&
           std::ranges::all_of(words_of(line.substr(name.size())), [](std::string_view word) {
             return word == "unlimited" || word == "bytes" || is_decimal(word, 20);
           });
  });
}

Masked keep_meminfo(std::string_view text) {
  return keep_lines(text, [](std::string_view line) {
    const auto words = words_of(line);
    const bool counts = words.size() == 2 || (words.size() == 3 && words[2] == "kB");
    return counts && words[0].ends_with(':') && is_decimal(words[1], 15) &&
           std::ranges::all_of(words[0],
                               [](char c) { return is_word(c) || c == '(' || c == ')' || c == ':'; });
  });
}

// Keys of /proc/cpuinfo that say what a processor is; a serial number (Arm) is not among them.
Masked keep_cpuinfo(std::string_view text) {
  constexpr std::string_view keys[] = {"processor",
                                       "vendor_id",
                                       "cpu family",
                                       "model",
                                       "model name",
                                       "stepping",
                                       "microcode",
                                       "cpu MHz",
                                       "cache size",
                                       "physical id",
                                       "siblings",
                                       "core id",
                                       "cpu cores",
                                       "apicid",
                                       "initial apicid",
                                       "fpu",
                                       "fpu_exception",
                                       "cpuid level",
                                       "wp",
                                       "flags",
                                       "vmx flags",
                                       "bugs",
                                       "bogomips",
                                       "TLB size",
                                       "clflush size",
                                       "cache_alignment",
                                       "address sizes",
                                       "power management",
                                       "BogoMIPS",
                                       "Features",
                                       "CPU implementer",
                                       "CPU architecture",
                                       "CPU variant",
                                       "CPU part",
                                       "CPU revision",
                                       "cpu",
                                       "clock",
                                       "revision",
                                       "timebase",
                                       "platform",
                                       "MMU",
                                       "features",
                                       "facilities"};
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    const std::size_t colon = line.find(':');
    const bool listed = colon != std::string_view::npos &&
                        std::ranges::find(keys, trimmed(line.substr(0, colon))) != std::end(keys);
    if (!listed && !trimmed(line).empty()) {
      ++masked.values;
      continue;
    }
    const Masked kept = mask_identifiers(line);
    masked.text += kept.text;
    masked.text += '\n';
    masked.values += kept.values;
  }
  return masked;
}

bool is_hex_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  return dash != std::string_view::npos && is_hex(text.substr(0, dash), 16) &&
         is_hex(text.substr(dash + 1), 16);
}

// What uses a range; and not where the kernel lies, which KASLR keeps secret.
bool is_use_of_memory(std::string_view use) {
  constexpr std::string_view uses[] = {"System RAM",
                                       "Reserved",
                                       "reserved",
                                       "Soft Reserved",
                                       "RAM buffer",
                                       "System ROM",
                                       "Video ROM",
                                       "Video RAM area",
                                       "Adapter ROM",
                                       "ACPI Tables",
                                       "ACPI Non-volatile Storage",
                                       "Unusable memory",
                                       "Persistent Memory",
                                       "Persistent Memory (legacy)",
                                       "Crash kernel",
                                       "Local APIC",
                                       "IOAPIC 0",
                                       "IOAPIC 1",
                                       "HPET 0",
                                       "PCI MMCONFIG",
                                       "pnp",
                                       "MSFT0101:00",
                                       "amd_iommu",
                                       "dmar0",
                                       "dmar1",
                                       "Boot Data",
                                       "Boot Code",
                                       "Unknown E820 type"};
  if (std::ranges::find(uses, use) != std::end(uses) || is_pci_address(use)) return true;
  // "PCI Bus 0000:40"
  constexpr std::string_view bus = "PCI Bus ";
  return use.starts_with(bus) &&
         all_pieces(use.substr(bus.size()), ":", [](std::string_view part) { return is_hex(part, 4); });
}

Masked keep_iomem(std::string_view text) {
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    const std::size_t colon = line.find(" : ");
    if (colon == std::string_view::npos || !is_hex_range(trimmed(line.substr(0, colon))) ||
        line.substr(colon + 3).starts_with("Kernel ")) {
      masked.values += trimmed(line).empty() ? 0 : 1;
      continue;
    }
    const std::string_view use = line.substr(colon + 3);
    const bool known = is_use_of_memory(use);
    masked.text += line.substr(0, colon + 3);
    masked.text += known ? use : masked_word;
    masked.text += '\n';
    masked.values += known || use == masked_word ? 0 : 1;
  }
  return masked;
}

// "# CONFIG_SWIOTLB is not set"
bool is_unset_option(std::string_view line) {
  constexpr std::string_view head = "# CONFIG_", tail = " is not set";
  if (!line.starts_with(head) || !line.ends_with(tail) || line.size() <= head.size() + tail.size())
    return false;
  return std::ranges::all_of(line.substr(head.size(), line.size() - head.size() - tail.size()), is_word);
}

// Numbers and switches of a kernel's configuration. Its texts are names of keys, hosts and folders of who
// built it.
Masked mask_configuration(std::string_view text) {
  Masked masked;
  for (const std::string_view line : lines_of(text)) {
    const std::size_t equals = line.find('=');
    const std::string_view name = line.substr(0, equals);
    const bool is_option =
        line.starts_with("CONFIG_") && equals != std::string_view::npos && std::ranges::all_of(name, is_word);
    const std::string_view value = is_option ? line.substr(equals + 1) : std::string_view{};
    if (!is_option) {
      if (!is_unset_option(line)) continue;
      masked.text += line;
      masked.text += '\n';
      continue;
    }
    const bool keeps = value == "y" || value == "m" || value == "n" || value == "\"\"" ||
                       is_decimal(value, 20) || is_0x(value, 16);
    masked.text += name;
    masked.text += '=';
    masked.text += keeps ? value : "\"<masked>\"";
    masked.text += '\n';
    masked.values += keeps || value == "\"<masked>\"" ? 0 : 1;
  }
  return masked;
}

// Counters of the misc cgroup: "sev 410".
Masked keep_counters(std::string_view text) {
  return keep_lines(text, [](std::string_view line) {
    constexpr std::string_view resources[] = {"sev", "sev_es", "tdx", "res_a", "res_b"};
    const auto words = words_of(line);
    return words.size() == 2 && std::ranges::find(resources, words[0]) != std::end(resources) &&
           (words[1] == "max" || is_decimal(words[1], 10));
  });
}

// A machine's maker and model, as DMI tables have them.
Masked mask_model(std::string_view text) {
  Masked masked;
  bool serial = false;
  for (const std::string_view word : words_of(text)) {
    if (!masked.text.empty()) masked.text += ' ';
    constexpr std::string_view serial_words[] = {"S/N",    "SN",      "S/N:",    "SN:",   "Serial",
                                                 "serial", "Serial:", "serial:", "Asset", "asset",
                                                 "Tag:",   "Tag",     "UUID",    "UUID:"};
    const bool announces = std::ranges::find(serial_words, word) != std::end(serial_words);
    const bool long_number = is_decimal(word, word.size()) && word.size() > 5;
    const bool keeps = !serial && !long_number && mask_identifiers(word).values == 0;
    masked.text += keeps ? word : masked_word;
    masked.values += keeps || word == masked_word ? 0 : 1;
    serial = serial || announces;
  }
  masked.text += '\n';
  return masked;
}

// ---- files of one value -----------------------------------------------------------------------------------

bool is_short_hex(std::string_view value) { return is_0x(value, 8); }
bool is_long_hex(std::string_view value) { return is_0x(value, 16) || is_hex(value, 16); }
bool is_count(std::string_view value) { return is_decimal(value, 10); }
bool is_switch(std::string_view value) {
  return value == "Y" || value == "N" || value == "y" || value == "n" || value == "-1" ||
         is_decimal(value, 1);
}
bool is_cpu_list(std::string_view value) {
  return all_pieces(value, ",-", [](std::string_view part) { return is_decimal(part, 5); });
}
bool is_type(std::string_view value) {
  constexpr std::string_view domains[] = {"DMA", "DMA-FQ", "identity", "blocked", "unmanaged", "auto"};
  return std::ranges::find(domains, value) != std::end(domains) || is_use_of_memory(value);
}
bool is_removable(std::string_view value) {
  return value == "removable" || value == "fixed" || value == "unknown";
}

struct ValueFile {
  std::string_view name;  // the last component of its path
  bool (*fits)(std::string_view value);
};
constexpr ValueFile value_files[] = {{"class", is_short_hex},
                                     {"vendor", is_short_hex},
                                     {"device", is_short_hex},
                                     {"subsystem_vendor", is_short_hex},
                                     {"subsystem_device", is_short_hex},
                                     {"revision", is_short_hex},
                                     {"dma_mask_bits", is_count},
                                     {"consistent_dma_mask_bits", is_count},
                                     {"removable", is_removable},
                                     {"type", is_type},
                                     {"features", is_bits},
                                     {"status", is_short_hex},
                                     {"start", is_long_hex},
                                     {"end", is_long_hex},
                                     {"cap", is_long_hex},
                                     {"possible", is_cpu_list},
                                     {"online", is_cpu_list},
                                     {"svm", is_switch},
                                     {"prot_virt_guest", is_switch},
                                     {"prot_virt_host", is_switch},
                                     {"tsme_status", is_switch},
                                     {"io_tlb_nslabs", is_count},
                                     {"io_tlb_used", is_count},
                                     {"io_tlb_used_hiwater", is_count},
                                     {"sev", is_switch},
                                     {"sev_es", is_switch},
                                     {"sev_snp", is_switch},
                                     {"tdx", is_switch},
                                     {"enable", is_switch},
                                     {"version", is_switch}};

Masked mask_value(std::string_view name, std::string_view text) {
  const auto* const file = std::ranges::find(value_files, name, &ValueFile::name);
  if (file == std::end(value_files) || !file->fits(trimmed(text))) return nothing_kept();
  return {std::string{text}, 0};
}

// ---- names ------------------------------------------------------------------------------------------------

// Words of releases: architectures, distributions and their flavours.
bool is_word_of_release(std::string_view word) {
  constexpr std::string_view words[] = {
      "amd64",       "arm64",   "x86",     "64",       "i386",    "i686",    "aarch64",    "armv7l",
      "powerpc64le", "ppc64le", "ppc64el", "s390x",    "riscv64", "generic", "lowlatency", "cloud",
      "server",      "virtual", "default", "standard", "desktop", "lts",     "rt",         "realtime",
      "aws",         "azure",   "gcp",     "gke",      "oracle",  "kvm",     "ibm",        "nvidia",
      "raspi",       "oem",     "hwe",     "bpo",      "deb",     "Ubuntu",  "el",         "fc",
      "uek",         "amzn",    "cm",      "azl",      "pve",     "arch",    "zen",        "hardened",
      "vanilla",     "debug",   "snp",     "sev",      "tdx",     "guest",   "host",       "rc",
      "next",        "git",     "dirty",   "coco",     "p",       "k",       "ga",         "fips",
      "unsigned"};
  const auto known = [&] { return std::ranges::find(words, word) != std::end(words); };
  if (known()) return true;
  while (!word.empty() && is_decimal_digit(word.back())) word.remove_suffix(1);
  return word.empty() || known();
}

// eth0, ib0, enp65s0f0np0, eno1, ibs3f1, wlp2s0: the kernel's, or after the slot. Not enx and a hardware
// address.
bool is_slot_name(std::string_view name) {
  constexpr std::string_view counted[] = {"eth", "ib", "wlan", "usb", "hsn", "mlx", "dm", "rdma"};
  constexpr std::string_view slotted[] = {"en", "ib", "wl", "ww", "roce", "iw", "sl"};
  for (const std::string_view kind : counted)
    if (name.starts_with(kind) && is_decimal(name.substr(kind.size()), 3)) return true;
  for (const std::string_view kind : slotted) {
    std::string_view rest = name;
    if (!name.starts_with(kind)) continue;
    rest.remove_prefix(kind.size());
    bool good = !rest.empty();
    while (good && !rest.empty()) {
      constexpr std::string_view places = "Ppsofndvucri";
      good = places.find(rest.front()) != std::string_view::npos;
      rest.remove_prefix(1);
      const auto digits =
          static_cast<std::size_t>(std::ranges::find_if_not(rest, is_decimal_digit) - rest.begin());
      good = good && digits <= 5;
      rest.remove_prefix(digits);
    }
    if (good) return true;
  }
  return false;
}

// mlx5_0: the driver and a number.
bool is_rdma_name(std::string_view name) {
  constexpr std::string_view drivers[] = {
      "mlx4", "mlx5", "bnxt_re", "irdma", "i40iw",      "cxgb4", "qedr",  "efa",    "erdma", "hns",
      "rxe",  "siw",  "hfi1",    "qib",   "vmw_pvrdma", "mana",  "usnic", "ocrdma", "mthca"};
  const std::size_t underscore = name.rfind('_');
  if (underscore == std::string_view::npos) return name.starts_with("rxe") && is_decimal(name.substr(3), 3);
  return std::ranges::find(drivers, name.substr(0, underscore)) != std::end(drivers) &&
         is_decimal(name.substr(underscore + 1), 3);
}

}  // namespace

Masked mask_identifiers(std::string_view text) {
  Masked masked;
  masked.text.reserve(text.size());
  const auto hide = [&](std::size_t bytes, bool keep_shape) {
    masked.text += keep_shape ? masked_digits(text.substr(0, bytes)) : std::string{masked_word};
    ++masked.values;
    text.remove_prefix(bytes);
  };
  const auto keep = [&](std::size_t bytes) {
    masked.text += text.substr(0, bytes);
    text.remove_prefix(bytes);
  };
  while (!text.empty()) {
    const bool begins_word = is_word(text.front()) && (masked.text.empty() || !is_word(masked.text.back()));
    if (!begins_word) {
      keep(1);
      continue;
    }
    const std::size_t run = run_length(text), word = word_length(text);
    const bool whole = run == text.size() || !is_word(text[run]);
    if (const std::size_t ipv4 = ipv4_length(text); ipv4 != 0)
      hide(ipv4, true);
    else if (whole && is_identifier(text.substr(0, run)))
      hide(run, true);
    else if (is_suspicious(text.substr(0, word)))
      hide(word, false);
    else if (whole)
      keep(std::max<std::size_t>(run, 1));
    else if (const std::size_t head = run_length(groups_before_word(text.substr(0, run)));
             is_identifier(text.substr(0, head)))
      hide(head, true);
    else
      keep(std::max<std::size_t>(groups_before_word(text.substr(0, run)).size(), 1));
  }
  return masked;
}

Masked mask_release(std::string_view release) {
  const std::string_view word = trimmed(release);
  Masked masked;
  std::size_t at = 0;
  while (at < word.size()) {
    constexpr std::string_view separators = ".-+_~";
    const std::size_t end = std::min(word.find_first_of(separators, at), word.size());
    const std::string_view part = word.substr(at, end - at);
    const bool number = is_decimal(part, 6);
    const bool known = number || is_word_of_release(part) || part == "masked";
    masked.text += known ? part : "masked";
    masked.values += known ? 0 : 1;
    if (end < word.size()) masked.text += word[end];
    at = end + 1;
  }
  return masked;
}

Masked mask_file(std::string_view path, std::string_view text) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (path == "/proc/cmdline") return mask_command_line(text);
  if (path == "/proc/self/status") return keep_capabilities(text);
  if (path == "/proc/self/limits") return keep_limits(text);
  if (path == "/proc/meminfo") return keep_meminfo(text);
  if (path == "/proc/cpuinfo") return keep_cpuinfo(text);
  if (path == "/proc/iomem") return keep_iomem(text);
  if (path == "/proc/sys/kernel/osrelease") {
    Masked masked = mask_release(text);
    masked.text += '\n';
    return masked;
  }
  if (path.starts_with("/boot/config-")) return mask_configuration(text);
  if (path.starts_with("/sys/fs/cgroup/misc.")) return keep_counters(text);
  if (path == "/sys/class/dmi/id/sys_vendor" || path == "/sys/class/dmi/id/product_name")
    return mask_model(text);
  if (path.starts_with("/sys/") && !path.starts_with("/sys/class/dmi/")) return mask_value(name, text);
  return nothing_kept();
}

bool is_kept_name(std::string_view folder, std::string_view name) {
  if (folder == "net") return is_slot_name(name);
  if (folder == "infiniband") return is_slot_name(name) || is_rdma_name(name);
  if (is_pci_address(name) || is_decimal(name, 5) || is_linux_driver(name)) return true;
  constexpr std::size_t characters_max = 40;
  // smmu3.0x000027ffe0000000
  if (const std::size_t at = name.find(".0x"); at != std::string_view::npos)
    return is_plain_name(name.substr(0, at), characters_max) && is_0x(name.substr(at + 1), 16);
  return mask_identifiers(name).values == 0 && all_pieces(name, ".:", [](std::string_view part) {
           return is_plain_name(part, characters_max) || is_decimal(part, 4);
         });
}

}  // namespace cbit::facts
