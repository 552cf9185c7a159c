// What became of a mapping, of a device, of the kernel, and what the explainer has found.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/format.hpp"
#include "base/text.hpp"
#include "explain/matrix.hpp"
#include "lab/experiment/expect.hpp"
#include "watch/causes.hpp"

namespace cbit::lab {
namespace {

std::string word_of(bool value) { return value ? "true" : "false"; }
std::string word_of(std::uint64_t value) { return fmt::format("{}", value); }
std::string word_of(DmaPath path) { return std::string{to_string(path)}; }
std::string word_of(IommuMode mode) { return std::string{to_string(mode)}; }

// ---- mappings --------------------------------------------------------------------------------------------

std::string encryption_bit_of(const Run::Mapping& mapping) { return word_of(mapping.encrypted); }
std::string bounced_of(const Run::Mapping& mapping) { return word_of(mapping.first_slot.has_value()); }
std::string path_of(const Run::Mapping& mapping) { return word_of(mapping.path); }
std::string address_of(const Run::Mapping& mapping) {
  return fmt::format("{:#x}", mapping.segments.front().at.value());
}
std::string slots_of(const Run::Mapping& mapping) { return word_of(mapping.slots); }
std::string first_slot_of(const Run::Mapping& mapping) {
  return mapping.first_slot ? word_of(*mapping.first_slot) : "none";
}
std::string segments_of(const Run::Mapping& mapping) { return word_of(mapping.segments.size()); }

using MappingFact = std::string (*)(const Run::Mapping&);

Check check_mapping(const Subject& subject, std::string_view key, std::string expected, MappingFact fact) {
  return [id = *subject.mapping, key, expected = std::move(expected),
          fact](Run& run) -> std::optional<Mismatch> {
    const auto mapping = run.made_mapping(id);
    if (!mapping) return Mismatch{std::string{key}, expected, "no mapping", {}};
    return compare(key, expected, fact(**mapping));
  };
}

template <MappingFact fact>
OrError<Check> parse_mapping_flag(const StepParser& step, const Subject& subject, std::string_view key) {
  return check_mapping(subject, key, word_of(CBIT_TRY(step.keys.need(key, step.keys.flag(key)))), fact);
}

template <MappingFact fact>
OrError<Check> parse_mapping_count(const StepParser& step, const Subject& subject, std::string_view key) {
  return check_mapping(subject, key,
                       word_of(CBIT_TRY(step.keys.need(key, step.keys.number(key, 0, bit_mask(32))))), fact);
}

OrError<Check> parse_path(const StepParser& step, const Subject& subject, std::string_view key) {
  return check_mapping(subject, key,
                       word_of(CBIT_TRY(step.keys.need(key, step.keys.word(key, dma_path_words)))), path_of);
}

OrError<Check> parse_address(const StepParser& step, const Subject& subject, std::string_view key) {
  const std::uint64_t address = CBIT_TRY(step.keys.need(key, step.keys.number(key, 0, bit_mask(64))));
  return check_mapping(subject, key, fmt::format("{:#x}", address), address_of);
}

// The whole mapping lies below an address, as the device sees it.
OrError<Check> parse_below(const StepParser& step, const Subject& subject, std::string_view key) {
  const std::uint64_t limit = CBIT_TRY(step.keys.need(key, step.keys.number(key, 1, bit_mask(64))));
  return [id = *subject.mapping, limit](Run& run) -> std::optional<Mismatch> {
    const auto mapping = run.made_mapping(id);
    if (!mapping) return Mismatch{"below", fmt::format("below {:#x}", limit), "no mapping", {}};
    for (const Run::Segment& segment : (*mapping)->segments)
      if (segment.at.value() > limit - std::min(limit, segment.bytes))
        return Mismatch{"below", fmt::format("below {:#x}", limit), fmt::format("{}", segment.at), {}};
    return std::nullopt;
  };
}

// ---- devices ---------------------------------------------------------------------------------------------

using MappingSize = std::uint64_t (kernel::Dma::*)(const kernel::Device&) const;

template <MappingSize size_of>
OrError<Check> parse_mapping_size(const StepParser& step, const Subject& subject, std::string_view key) {
  const TomlValue& value = *step.keys.value(key);
  std::uint64_t expected = bit_mask(64);
  if (value.kind != TomlValue::Kind::text || value.text != "unlimited")
    expected = CBIT_TRY(step.keys.need(key, step.keys.number(key, 0, bit_mask(64))));
  return [=, device = *subject.device](Run& run) {
    const auto text = [](std::uint64_t size) { return size == bit_mask(64) ? "unlimited" : word_of(size); };
    return compare(key, text(expected), text((run.dma().*size_of)(run.device(device))));
  };
}

OrError<Check> parse_addressing_limited(const StepParser& step, const Subject& subject,
                                        std::string_view key) {
  const bool expected = CBIT_TRY(step.keys.need(key, step.keys.flag(key)));
  return [=, device = *subject.device](Run& run) {
    return compare(key, word_of(expected), word_of(run.dma().addressing_limited(run.device(device))));
  };
}

OrError<Check> parse_virtio_status(const StepParser& step, const Subject& subject, std::string_view key) {
  const std::uint64_t expected = CBIT_TRY(step.keys.need(key, step.keys.number(key, 0, 255)));
  return [=, device = *subject.device](Run& run) {
    return compare(key, fmt::format("{:#04x}", expected),
                   fmt::format("{:#04x}", run.disk(device).hardware().status()));
  };
}

// ---- the kernel ------------------------------------------------------------------------------------------

OrError<Check> parse_domain(const StepParser& step, const Subject&, std::string_view key) {
  const IommuMode expected = CBIT_TRY(step.keys.need(key, step.keys.word(key, iommu_mode_words)));
  return [=](Run& run) { return compare(key, word_of(expected), word_of(run.dma().effective_iommu())); };
}

struct Count {
  std::string_view key;
  std::uint64_t (*count)(Run&);
};

constexpr Count counts[] = {
    {"swiotlb-slots", [](Run& run) { return run.swiotlb_usage().io_tlb_nslabs; }},
    {"swiotlb-used", [](Run& run) { return run.swiotlb_usage().io_tlb_used; }},
    {"swiotlb-used-hiwater", [](Run& run) { return run.swiotlb_usage().io_tlb_used_hiwater.value_or(0); }},
    {"swiotlb-areas", [](Run& run) { return std::uint64_t{run.swiotlb_usage().areas}; }},
    {"swiotlb-transient", [](Run& run) { return run.swiotlb_usage().io_tlb_transient_nslabs; }},
    {"bounces", [](Run& run) { return run.swiotlb_usage().bounces; }},
    {"bytes-bounced", [](Run& run) { return run.swiotlb_usage().bytes_bounced; }},
    {"pages-converted", [](Run& run) { return run.conversions().pages; }},
    {"large-pages-split", [](Run& run) { return run.conversions().large_pages_split; }},
    {"tlb-flushes", [](Run& run) { return run.conversions().tlb_flushes; }},
    {"tlb-full-flushes", [](Run& run) { return run.conversions().tlb_full_flushes; }},
    {"cache-lines-flushed", [](Run& run) { return run.conversions().cache_lines_flushed; }},
    {"hypercalls", [](Run& run) { return run.conversions().hypercalls; }},
    {"exits", [](Run& run) { return run.guest_exits(); }},
    {"leaked-mappings", [](Run& run) { return run.leaked_mappings; }},
};

OrError<Check> parse_count(const StepParser& step, const Subject&, std::string_view key) {
  const std::uint64_t expected = CBIT_TRY(step.keys.need(key, step.keys.number(key, 0, bit_mask(63))));
  const auto* const row = std::ranges::find(counts, key, &Count::key);
  return [=](Run& run) { return compare(key, word_of(expected), word_of(row->count(run))); };
}

// Texts that the kernel log contains, or must not.
OrError<Check> parse_log_with(const StepParser& step, std::string_view key, bool wanted) {
  const auto texts = CBIT_TRY(step.keys.need(key, step.keys.texts(key)));
  return [=](Run& run) -> std::optional<Mismatch> {
    const std::vector<std::string>& log = run.bed().explainer().kernel_log();
    for (const std::string& text : texts) {
      const auto line =
          std::ranges::find_if(log, [&](const std::string& l) { return l.find(text) != std::string::npos; });
      if ((line != log.end()) == wanted) continue;
      const std::string found =
          wanted ? fmt::format("not among {} lines:\n  {}", log.size(), fmt::join(log, "\n  ")) : *line;
      return Mismatch{
          std::string{key}, wanted ? fmt::format("\"{}\"", text) : fmt::format("no \"{}\"", text), found, {}};
    }
    return std::nullopt;
  };
}

OrError<Check> parse_log(const StepParser& step, const Subject&, std::string_view key) {
  return parse_log_with(step, key, true);
}
OrError<Check> parse_log_absent(const StepParser& step, const Subject&, std::string_view key) {
  return parse_log_with(step, key, false);
}

// ---- the explainer ---------------------------------------------------------------------------------------

enum class CauseRule : std::uint8_t { exactly, present, absent };

std::vector<std::string> found_causes(Run& run) {
  std::vector<std::string> names;
  for (const watch::Cause& cause : run.bed().explainer().causes()) names.emplace_back(cause.info->name);
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

template <CauseRule rule>
OrError<Check> parse_causes(const StepParser& step, const Subject&, std::string_view key) {
  auto expected = CBIT_TRY(step.keys.need(key, step.keys.texts(key)));
  for (const std::string& name : expected)
    if (watch::find_cause(name) == nullptr)
      return step.keys.error(key, fmt::format("there is no cause \"{}\"", name),
                             did_you_mean(name, watch::cause_names(), "docs/causes.md lists them"));
  std::ranges::sort(expected);
  return [=](Run& run) -> std::optional<Mismatch> {
    const std::vector<std::string> found = found_causes(run);
    bool good = rule != CauseRule::exactly || found == expected;
    for (const std::string& name : expected)
      if (rule != CauseRule::exactly)
        good = good && std::ranges::binary_search(found, name) == (rule == CauseRule::present);
    if (good) return std::nullopt;
    const auto list = [](const auto& names) {
      return names.empty() ? std::string{"none"} : fmt::format("{}", fmt::join(names, ", "));
    };
    return Mismatch{std::string{key}, list(expected), list(found), {}};
  };
}

// The KeyID that the device's first access selects, in its address or in the IOMMU's entry.
OrError<Check> parse_key_id(const StepParser& step, const Subject& subject, std::string_view key) {
  const std::uint64_t expected = CBIT_TRY(step.keys.need(key, step.keys.number(key, 0, 32767)));
  const std::size_t device = step.names.mappings[*subject.mapping].device;
  return [=, id = *subject.mapping](Run& run) -> std::optional<Mismatch> {
    const auto mapping = run.made_mapping(id);
    if (!mapping) return Mismatch{std::string{key}, word_of(expected), "no mapping", {}};
    machine::Machine& machine = run.bed().machine();
    const DmaAddr at = (*mapping)->segments.front().at;
    KeyId found = machine.bus().device_view().key(machine.paging().view.layout.split(at).second);
    if (iommu::Iommu* const iommu = machine.iommu()) {
      const auto translated = iommu->peek(run.device(device).requester, at, false);
      if (!translated) return Mismatch{std::string{key}, word_of(expected), describe(translated.error()), {}};
      found = translated->key;
    }
    return compare(key, word_of(expected), word_of(std::uint64_t{found}));
  };
}

constexpr ExpectKey state_check_keys[] = {
    {"key-id", Needs::mapping, parse_key_id},
    {"encryption-bit", Needs::mapping, parse_mapping_flag<encryption_bit_of>},
    {"bounced", Needs::mapping, parse_mapping_flag<bounced_of>},
    {"path", Needs::mapping, parse_path},
    {"address", Needs::mapping, parse_address},
    {"below", Needs::mapping, parse_below},
    {"slots", Needs::mapping, parse_mapping_count<slots_of>},
    {"first-slot", Needs::mapping, parse_mapping_count<first_slot_of>},
    {"segments", Needs::mapping, parse_mapping_count<segments_of>},
    {"max-mapping-size", Needs::device, parse_mapping_size<&kernel::Dma::max_mapping_size>},
    {"opt-mapping-size", Needs::device, parse_mapping_size<&kernel::Dma::opt_mapping_size>},
    {"addressing-limited", Needs::device, parse_addressing_limited},
    {"virtio-status", Needs::disk, parse_virtio_status},
    {"domain", Needs::nothing, parse_domain},
    {"swiotlb-slots", Needs::nothing, parse_count},
    {"swiotlb-used", Needs::nothing, parse_count},
    {"swiotlb-used-hiwater", Needs::nothing, parse_count},
    {"swiotlb-areas", Needs::nothing, parse_count},
    {"swiotlb-transient", Needs::nothing, parse_count},
    {"bounces", Needs::nothing, parse_count},
    {"bytes-bounced", Needs::nothing, parse_count},
    {"pages-converted", Needs::nothing, parse_count},
    {"large-pages-split", Needs::nothing, parse_count},
    {"tlb-flushes", Needs::nothing, parse_count},
    {"tlb-full-flushes", Needs::nothing, parse_count},
    {"cache-lines-flushed", Needs::nothing, parse_count},
    {"hypercalls", Needs::nothing, parse_count},
    {"exits", Needs::nothing, parse_count},
    {"leaked-mappings", Needs::nothing, parse_count},
    {"log", Needs::nothing, parse_log},
    {"log-absent", Needs::nothing, parse_log_absent},
    {"causes", Needs::nothing, parse_causes<CauseRule::exactly>},
    {"causes-present", Needs::nothing, parse_causes<CauseRule::present>},
    {"causes-absent", Needs::nothing, parse_causes<CauseRule::absent>},
};

}  // namespace

std::span<const ExpectKey> state_checks() { return state_check_keys; }

}  // namespace cbit::lab
