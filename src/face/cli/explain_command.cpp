#include "cli/explain_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/text.hpp"
#include "cli/platform_options.hpp"
#include "cli/terminal.hpp"
#include "cli/trace_file.hpp"
#include "explain/explain.hpp"

namespace cbit::cli {
namespace {

constexpr auto map_choices = choices_of(explain::map_kind_words);
constexpr auto ttm_policy_choices = choices_of(ttm_policy_words);
constexpr auto attr_choices = choices_of(dma_attr_words);
constexpr auto offer_choices = choices_of(explain::virtio_offer_words);
constexpr auto ring_choices = choices_of(explain::ring_words);
constexpr auto virtio_driver_choices = choices_of(explain::virtio_driver_words);
constexpr auto virtio_kernel_choices = choices_of(explain::virtio_kernel_words);
constexpr auto iommu_kind_choices = choices_of(machine::iommu_kind_words);
constexpr auto direction_choices = choices_of(dma_direction_words);

std::vector<std::string_view> attr_names() { return {attr_choices.begin(), attr_choices.end()}; }
std::vector<std::string_view> offer_names() { return {offer_choices.begin(), offer_choices.end()}; }

constexpr OptionSpec explain_specs[] = {
    platform_option,
    cbit_option,
    memory_option,
    cpus_option,
    kernel_option,
    iommu_option,
    {"--iommu-default", "", "The IOMMU mode is the kernel's default, not given by iommu= on its command line",
     ""},
    iommu_strict_option,
    migration_control_option,
    {"--untrusted", "", "The device sits behind an external-facing port", ""},
    {"--trusted-device", "",
     "The guest has accepted the device (TDISP), with --platform sev-snp and --kernel-version next", ""},
    swiotlb_option,
    swiotlb_dynamic_option,
    {"--mask", "BITS", "The device's streaming DMA mask, 1 to 64", "64"},
    {"--coherent-mask", "BITS", "Its coherent mask", "that of --mask"},
    {"--bus-limit", "BITS", "Width of the bus in front of the device (bus_dma_limit)", ""},
    {"--min-align-mask", "N", "dma_set_min_align_mask(), such as 4095 for NVMe", "0"},
    {"--map", "KIND", "How the driver makes the buffer reachable", "streaming", map_choices},
    {"--ttm-policy", "P", "How TTM decides the encryption bit of its mappings, with --map ttm-bo", "fixed",
     ttm_policy_choices},
    {"--key-id", "N",
     "MKTME: the buffer is an application's memory of this KeyID, with --map streaming, raw-phys or user-mr",
     ""},
    {.name = "--offers",
     .metavar = "F,...",
     .help = "Of version-1, access-platform, indirect-desc, event-idx: what the disk offers, with "
             "--map virtio-blk",
     .fallback = "all",
     .names = offer_names},
    {"--ring", "RING", "The virtio disk's ring", "split", ring_choices},
    {"--transitional", "", "The virtio disk has the legacy interface too (QEMU: disable-legacy=off)", ""},
    {"--virtio-driver", "KIND", "Who drives the virtio disk", "current", virtio_driver_choices},
    {"--virtio-kernel", "KIND",
     "Whether the kernel demands the flag of devices of an encrypted guest, or uses the DMA API anyway",
     "check", virtio_kernel_choices},
    {"--iommu-kind", "KIND", "The IOMMU in front of the virtio disk", "platform", iommu_kind_choices},
    {"--direction", "D", "Direction of the transfer", "from-device for coherent, else to-device",
     direction_choices},
    {"--size", "N", "Bytes to transfer, up to 4M", "4096"},
    {"--offset", "N", "Offset of the buffer within its first page", "0"},
    {"--device-writes", "N", "The device writes only the first N bytes", "all"},
    {.name = "--attrs",
     .metavar = "A,...",
     .help = "DMA attributes: skip-cpu-sync, no-warn, weak-ordering, write-combine, force-contiguous, "
             "no-kernel-mapping, privileged, alloc-single-pages; from Linux 6.19 on also mmio, from 7.2 on "
             "require-coherent and cc-shared",
     .names = attr_names},
    {"--sync", "OFFSET+LENGTH", "dma_sync_single_for_cpu() of that part before the unmap", ""},
    {"--no-unmap", "", "Look while the buffer is still mapped", ""},
    cache_option,
    cipher_option,
    levels_option,
    seed_option,
    {"--json", "", "Print the object of schema/explain.schema.json", ""},
    trace_option,
    trace_format_option,
    trace_events_option,
    color_option,
};

constexpr std::string_view explain_examples[] = {
    "cbit explain --platform sev --direction from-device --size 512 --device-writes 100",
    "cbit explain --platform sme --mask 47 --map coherent",
    "cbit explain --platform sev --map raw-phys",
    "cbit explain --platform sev --map ttm-bo --ttm-policy before-fix",
    "cbit explain --platform sev --size 2M",
    "cbit explain --platform sev --map user-mr --kernel-version 7.2",
    "cbit explain --platform mktme --key-id 5",
    "cbit explain --platform sev-snp --kernel-version next --trusted-device",
    "cbit explain --platform sev --map virtio-blk --offers version-1 --virtio-kernel before-check",
};

OrError<DmaAttrs> parse_attrs(std::string_view text) {
  DmaAttrs attrs;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const auto attr = find_word(dma_attr_words, word);
    if (!attr)
      return usage_error(fmt::format("--attrs does not know \"{}\"", word),
                         did_you_mean(word, attr_names(), "see cbit explain --help for the names"));
    attrs = attrs | *attr;
  }
  return attrs;
}

OrError<std::uint64_t> parse_offers(std::string_view text) {
  std::uint64_t offers = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const auto feature = find_word(explain::virtio_offer_words, word);
    if (!feature)
      return usage_error(
          fmt::format("--offers does not know \"{}\"", word),
          did_you_mean(word, offer_names(), "use version-1, access-platform, indirect-desc, event-idx"));
    offers |= *feature;
  }
  return offers;
}

// nullopt: none of its options was given.
OrError<std::optional<explain::VirtioChoice>> virtio_choice(const Arguments& arguments) {
  explain::VirtioChoice choice;
  if (const auto offers = arguments.text("--offers")) choice.offers = CBIT_TRY(parse_offers(*offers));
  choice.packed = arguments.choice("--ring", explain::ring_words).value_or(false);
  choice.transitional = arguments.has("--transitional");
  choice.driver = arguments.choice("--virtio-driver", explain::virtio_driver_words).value_or(choice.driver);
  choice.kernel = arguments.choice("--virtio-kernel", explain::virtio_kernel_words).value_or(choice.kernel);
  choice.virtio_iommu = arguments.choice("--iommu-kind", machine::iommu_kind_words).value_or(false);
  for (const std::string_view option :
       {"--offers", "--ring", "--transitional", "--virtio-driver", "--virtio-kernel", "--iommu-kind"})
    if (arguments.has(option)) return std::optional{choice};
  return std::optional<explain::VirtioChoice>{};
}

OrError<explain::SyncRange> parse_sync(std::string_view text) {
  const auto plus = text.find('+');
  const auto offset = parse_size(text.substr(0, plus));
  const auto length = plus == std::string_view::npos ? std::nullopt : parse_size(text.substr(plus + 1));
  if (!offset || !length)
    return usage_error(fmt::format("--sync {} is not OFFSET+LENGTH", text), "for example --sync 64+64");
  return explain::SyncRange{*offset, *length};
}

OrError<testbed::TestDeviceConfig> device_config(const Arguments& arguments) {
  testbed::TestDeviceConfig device;
  device.mask_bits = static_cast<unsigned>(CBIT_TRY(arguments.number("--mask", 1, 64)).value_or(64));
  device.coherent_mask_bits =
      static_cast<unsigned>(CBIT_TRY(arguments.number("--coherent-mask", 1, 64)).value_or(device.mask_bits));
  if (const auto bits = CBIT_TRY(arguments.number("--bus-limit", 1, 64)))
    device.bus_limit = bit_mask(static_cast<unsigned>(*bits));
  device.min_align_mask =
      static_cast<std::uint32_t>(CBIT_TRY(arguments.number("--min-align-mask", 0, 65535)).value_or(0));
  if ((device.min_align_mask & (device.min_align_mask + 1)) != 0)
    return usage_error(
        fmt::format("--min-align-mask {:#x} is not a power of two less one", device.min_align_mask),
        "use 511, 2047, 4095, ...");
  device.untrusted = arguments.has("--untrusted");
  device.trusted = arguments.has("--trusted-device");
  return device;
}

OrError<explain::ExplainOptions> explain_options(const Arguments& arguments) {
  explain::ExplainOptions options;
  options.bed = CBIT_TRY(testbed_config(arguments));
  options.bed.dma.iommu_explicit = !arguments.has("--iommu-default");
  options.device = CBIT_TRY(device_config(arguments));
  options.map = arguments.choice("--map", explain::map_kind_words).value_or(explain::MapKind::streaming);
  options.ttm_policy = arguments.choice("--ttm-policy", ttm_policy_words);
  if (const auto key_id = CBIT_TRY(arguments.number("--key-id", 0, 65535)))
    options.key_id = static_cast<mem::KeySelector>(*key_id);
  options.virtio = CBIT_TRY(virtio_choice(arguments));
  options.direction = arguments.choice("--direction", dma_direction_words);
  options.size = CBIT_TRY(arguments.size("--size", explain::explain_size_max)).value_or(options.size);
  options.offset = CBIT_TRY(arguments.size("--offset", page_size - 1)).value_or(0);
  options.device_writes = CBIT_TRY(arguments.size("--device-writes", explain::explain_size_max));
  if (const auto attrs = arguments.text("--attrs")) options.attrs = CBIT_TRY(parse_attrs(*attrs));
  if (const auto sync = arguments.text("--sync")) options.sync = CBIT_TRY(parse_sync(*sync));
  options.unmap = !arguments.has("--no-unmap");
  return options;
}

OrError<ExitCode> run_explain(const Arguments& arguments, Streams& streams) {
  const explain::ExplainOptions options = CBIT_TRY(explain_options(arguments));
  auto trace = CBIT_TRY(TraceFile::open(arguments));
  const explain::Explanation explanation =
      CBIT_TRY(explain::explain(options, trace ? &trace->sink() : nullptr));
  if (trace) CBIT_TRY(trace->commit());
  streams.out << (arguments.has("--json")
                      ? explain::to_json(explanation)
                      : explain::to_text(explanation, {.colour = use_colour(arguments, streams)}));
  return ExitCode::ok;
}

}  // namespace

const CommandSpec explain_command{
    "explain",
    "Perform one DMA on one platform, show what CPU, device and host see, and why",
    "Sets up a machine, boots the model kernel, lets a driver and a test device perform one DMA, and reports "
    "the path that it took with the kernel function behind each step, the bytes as the CPU, the device and "
    "the host see them, the verdict, and the causes of what went wrong with their remedies.",
    explain_specs,
    {},
    explain_examples,
    run_explain,
};

}  // namespace cbit::cli
