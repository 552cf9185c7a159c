#include "launch/rules/case.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "base/format.hpp"
#include "base/safe_text.hpp"

namespace cbit::launch {
namespace {

bool is_one_of(std::optional<std::string_view> value, std::initializer_list<std::string_view> words) {
  return value && std::ranges::find(words, *value) != words.end();
}

Protection best_of(const facts::GuestSupport* host) {
  if (host == nullptr) return Protection::sev;
  if (host->sev_snp.usable) return Protection::sev_snp;
  if (host->sev_es.usable) return Protection::sev_es;
  return host->tdx.usable && !host->sev.usable ? Protection::tdx : Protection::sev;
}

std::optional<std::string_view> protection_id(const QemuCommand& command) {
  const auto id = command.value("machine", "confidential-guest-support");
  return id ? id : command.value("machine", "memory-encryption");
}

const QemuOption* find_object(const QemuCommand& command, std::string_view id) {
  for (const QemuOption* const object : command.all("object"))
    if (object->value("id") == id) return object;
  return nullptr;
}

Protection protection_of_object(const QemuOption* object) {
  constexpr std::uint64_t policy_es = 4;
  const auto type = object != nullptr ? object->value("qom-type") : std::nullopt;
  if (type == "sev-snp-guest") return Protection::sev_snp;
  if (type == "tdx-guest") return Protection::tdx;
  if (type != "sev-guest") return Protection::none;
  const auto policy = parse_qemu_number(object->value("policy").value_or("1"));
  return policy && (*policy & policy_es) != 0 ? Protection::sev_es : Protection::sev;
}

}  // namespace

std::optional<std::uint64_t> parse_qemu_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  return error == std::errc{} && stopped == end ? std::optional{value} : std::nullopt;
}

std::optional<std::uint64_t> parse_qemu_size(std::string_view text, std::uint64_t unit) {
  constexpr std::string_view suffixes = "bkmgtpe";
  if (text.empty()) return std::nullopt;
  const char last = static_cast<char>(text.back() | 0x20);
  const auto suffix = suffixes.find(last);
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (suffix != std::string_view::npos && !(hexadecimal && (last == 'b' || last == 'e'))) {
    unit = 1ull << (10 * suffix);
    text.remove_suffix(1);
  }
  if (const auto whole = parse_qemu_number(text);
      whole && (hexadecimal || !text.starts_with('0') || *whole == 0))
    return *whole > ~0ull / unit ? std::nullopt : std::optional{*whole * unit};
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  const double bytes = value * static_cast<double>(unit);
  if (error != std::errc{} || stopped != end || !(bytes >= 0) || bytes >= 0x1p64) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

bool is_on(std::optional<std::string_view> value) { return is_one_of(value, {"on", "yes", "true", "y"}); }
bool is_off(std::optional<std::string_view> value) { return is_one_of(value, {"off", "no", "false", "n"}); }

std::string size_text(std::uint64_t bytes) {
  constexpr std::array units{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  return value == std::floor(value) ? fmt::format("{:.0f} {}", value, units[unit])
                                    : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::note: return "note";
    case Severity::warning: return "warning";
    case Severity::error: return "error";
  }
  return "?";
}

std::string_view to_string(Protection protection) {
  switch (protection) {
    case Protection::none: return "none";
    case Protection::sev: return "SEV";
    case Protection::sev_es: return "SEV-ES";
    case Protection::sev_snp: return "SEV-SNP";
    case Protection::tdx: return "TDX";
  }
  return "?";
}

Protection protection_of(const QemuCommand& command) {
  const auto id = protection_id(command);
  return id ? protection_of_object(find_object(command, *id)) : Protection::none;
}

Case::Case(const GuestConfig& config, const JudgeContext& context) : config_{config}, context_{context} {
  make_tables();
  if (const auto id = protection_id(command())) object_ = object_of_id(*id);
  protection_ = protection_of_object(object_);
  if (protection_ == Protection::none) protection_ = best_of(context.host);
  memory_bytes_ = find_memory_bytes();
  kernel_words_ = find_kernel_words();
  has_shared_memory_ = find_shared_memory();
}

void Case::make_tables() {
  for (const QemuOption& option : command().options) {
    options_[option.name].push_back(&option);
    if (option.name == "object")
      if (const auto id = option.value("id")) objects_.emplace(*id, &option);
    if (option.name != "global") continue;
    const auto type = option.value("driver"), key = option.value("property"), value = option.value("value");
    if (type && key && value) globals_.insert_or_assign({*type, *key}, *value);
  }
}

std::optional<std::string_view> Case::machine(std::string_view key) const {
  const QemuOption* const option = machine_with(key);
  return option != nullptr ? option->value(key) : std::nullopt;
}

std::span<const QemuOption* const> Case::all(std::string_view option) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::span<const QemuOption* const>{} : found->second;
}

const QemuOption* Case::last(std::string_view option) const {
  const auto found = all(option);
  return found.empty() ? nullptr : found.back();
}

const QemuOption* Case::option_with(std::string_view option, std::string_view key) const {
  const auto options = all(option);
  const auto found = std::find_if(options.rbegin(), options.rend(),
                                  [key](const QemuOption* candidate) { return candidate->value(key); });
  return found == options.rend() ? nullptr : *found;
}

std::string Case::path_of(const std::string& file) const {
  std::error_code error;
  const bool here = file.starts_with('/') || !std::filesystem::exists(config_.folder + file, error);
  return here ? file : config_.folder + file;
}

std::string_view Case::machine_type() const { return machine("type").value_or("pc"); }

std::optional<std::string_view> Case::global(std::string_view type, std::string_view key) const {
  const auto found = globals_.find({type, key});
  return found == globals_.end() ? std::nullopt : std::optional{found->second};
}

// system/vl.c: qemu_resolve_machine_memdev(), parse_memory_options(). A size of -m is in MiB, one of an
// object in bytes.
std::uint64_t Case::find_memory_bytes() const {
  constexpr std::uint64_t mib = 1 << 20, default_mib = 128;  // hw/i386/pc.c: default_ram_size
  if (const QemuOption* const size = option_with("m", "size"))
    return parse_qemu_size(*size->value("size"), mib).value_or(0);
  if (const auto id = machine("memory-backend"))
    if (const QemuOption* const backend = object_of_id(*id))
      return parse_qemu_size(backend->value("size").value_or(""), 1).value_or(0);
  return default_mib * mib;
}

std::vector<std::string_view> Case::find_kernel_words() const {
  std::vector<std::string_view> words;
  const QemuOption* const append = last("append");
  std::string_view rest = append != nullptr ? std::string_view{append->text} : std::string_view{};
  while (!rest.empty()) {
    const auto end = std::min(rest.find_first_of(" \t\n"), rest.size());
    if (end > 0) words.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

bool Case::find_shared_memory() const {
  const auto is_shared = [this](std::optional<std::string_view> id) {
    const QemuOption* const backend = id ? object_of_id(*id) : nullptr;
    if (backend == nullptr) return false;
    const auto share = backend->value("share");
    const auto type = backend->value("qom-type");
    return is_on(share) || (!share && (type == "memory-backend-memfd" || type == "memory-backend-shm"));
  };
  if (const auto id = machine("memory-backend")) return is_shared(id);
  return std::ranges::any_of(all("numa"),
                             [&](const QemuOption* node) { return is_shared(node->value("memdev")); });
}

const QemuOption* Case::object_of_id(std::string_view id) const {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : found->second;
}

void Case::find(const RuleInfo& rule, const QemuOption* option, std::string_view detail,
                std::string_view write) {
  findings_.push_back({&rule, safe_line(where(option)), safe_line(detail), safe_text(write)});
}

std::string Case::in_language(std::string qemu, std::string libvirt, std::string kata) const {
  switch (config_.language) {
    case GuestLanguage::qemu: break;
    case GuestLanguage::libvirt: return libvirt;
    case GuestLanguage::kata: return kata;
  }
  return qemu;
}

std::string Case::with(const QemuOption& option, std::initializer_list<QemuProperty> set,
                       std::initializer_list<std::string_view> removed) {
  QemuOption changed = option;
  std::erase_if(changed.properties, [&](const QemuProperty& property) {
    return std::ranges::find(removed, property.key) != removed.end();
  });
  for (const QemuProperty& property : set) {
    const auto last = std::ranges::find(changed.properties.rbegin(), changed.properties.rend(), property.key,
                                        &QemuProperty::key);
    last == changed.properties.rend() ? changed.properties.push_back(property)
                                      : void(last->value = property.value);
  }
  return to_shell(to_words(changed));
}

std::string Case::where(const QemuOption* option) const {
  if (option == nullptr) return {};
  const auto index = static_cast<std::size_t>(option - command().options.data());
  if (index < config_.places.size()) return config_.places[index];
  return to_shell(to_words(*option));
}

std::vector<Finding> Case::take() {
  std::vector<Finding> sorted;
  for (const Severity severity : {Severity::error, Severity::warning, Severity::note})
    for (Finding& finding : findings_)
      if (finding.rule->severity == severity) sorted.push_back(std::move(finding));
  return sorted;
}

}  // namespace cbit::launch
