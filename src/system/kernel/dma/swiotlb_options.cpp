// The `swiotlb=` parameter and the size of the default pool.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "kernel/dma/swiotlb.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t slots_max = std::uint64_t{1} << 31;  // 4 TiB, a thousand times what fits below 4 GiB
constexpr std::uint64_t areas_max = std::uint64_t{1} << 16;

bool starts_with_digit(std::string_view text) { return !text.empty() && text[0] >= '0' && text[0] <= '9'; }

bool skip_comma(std::string_view& text) {
  const bool comma = text.starts_with(',');
  if (comma) text.remove_prefix(1);
  return comma;
}

bool skip_word(std::string_view& text, std::string_view word) {
  const bool found = text.starts_with(word);
  if (found) text.remove_prefix(word.size());
  return found;
}

tl::unexpected<Error> not_understood(std::string_view whole, std::string_view part) {
  return usage_error(
      fmt::format("swiotlb={}: \"{}\" is not understood", whole, part),
      "write [slots][,areas][,force|noforce][,track_hiwater]; a slot is 2 KiB, so 64 MiB are swiotlb=32768. "
      "Linux ignores what it does not understand");
}

// simple_strtoul(text, &text, 0). Takes the digits off the front of `text`, which has one.
OrError<std::uint64_t> take_number(std::string_view whole, std::string_view& text, std::uint64_t max) {
  int base = 10;
  std::string_view digits = text;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (text.starts_with('0')) {
    base = 8;
  }
  std::uint64_t value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (status == std::errc::invalid_argument) return not_understood(whole, text);
  if (status == std::errc::result_out_of_range || value > max)
    return usage_error(fmt::format("swiotlb={}: a number is too large", whole),
                       fmt::format("the model takes at most {} slots and {} areas", slots_max, areas_max));
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::string in_megabytes(std::string_view words, std::uint64_t slots) {
  return fmt::format("software IO TLB: {} {}MB", words, (slots << io_tlb_shift) >> 20);
}

// The kernel's static variables default_nslabs and default_nareas, and the functions that change them.
class Defaults {
 public:
  // setup_io_tlb_npages()
  explicit Defaults(const SwiotlbOptions& options) : slots_{options.slots.value_or(default_slots)} {
    if (options.areas != 0) adjust_areas(options.areas);
  }

  // swiotlb_adjust_size(): a size that equals the default counts as not given.
  void adjust_size(std::uint64_t bytes) {
    if (slots_ != default_slots) return;
    bytes = align_up(bytes, io_tlb_size);
    slots_ = align_up(bytes >> io_tlb_shift, io_tlb_segsize);
    if (round_up()) bytes = slots_ << io_tlb_shift;
    messages_.push_back(in_megabytes("SWIOTLB bounce buffer size adjusted to", bytes >> io_tlb_shift));
  }

  SwiotlbSizing settle(unsigned cpus, bool force_bounce, bool enabled) && {
    if (areas_ == 0) adjust_areas(cpus);
    return {.slots = slots_,
            .areas = areas_,
            .force_bounce = force_bounce,
            .enabled = enabled,
            .messages = std::move(messages_)};
  }

 private:
  static constexpr std::uint64_t default_slots = spec::io_tlb_default_size >> io_tlb_shift;

  // swiotlb_adjust_nareas()
  void adjust_areas(unsigned areas) {
    areas_ = std::bit_ceil(std::max(areas, 1u));
    messages_.push_back(fmt::format("software IO TLB: area num {}.", areas_));
    if (round_up()) messages_.push_back(in_megabytes("SWIOTLB bounce buffer size roundup to", slots_));
  }

  // round_up_default_nslabs(): a power of two, and at least a set for each area.
  bool round_up() {
    if (areas_ == 0) return false;
    const std::uint64_t least = io_tlb_segsize * areas_;
    if (slots_ >= least && std::has_single_bit(slots_)) return false;
    slots_ = std::bit_ceil(std::max(slots_, least));
    return true;
  }

  std::uint64_t slots_;
  unsigned areas_ = 0;
  std::vector<std::string> messages_;
};

}  // namespace

OrError<SwiotlbOptions> parse_swiotlb(std::string_view text) {
  SwiotlbOptions options;
  std::string_view rest = text;
  if (starts_with_digit(rest))
    options.slots = align_up(CBIT_TRY(take_number(text, rest, slots_max)), io_tlb_segsize);
  if (skip_comma(rest) && starts_with_digit(rest)) {
    const auto areas = static_cast<unsigned>(CBIT_TRY(take_number(text, rest, areas_max)));
    options.areas = std::bit_ceil(std::max(areas, 1u));
  }
  skip_comma(rest);
  const std::string_view last = rest;
  options.force = skip_word(rest, "force");
  options.no_force = skip_word(rest, "noforce");
  const bool more = options.force || options.no_force ? skip_comma(rest) : !rest.empty();
  options.track_hiwater = more && skip_word(rest, "track_hiwater");
  if (more != options.track_hiwater || !rest.empty()) return not_understood(text, last);
  return options;
}

SwiotlbOptions understood_by(KernelVersion version, SwiotlbOptions options) {
  if (version < KernelVersion::v7_3 && options.track_hiwater)
    options.force = options.no_force = options.track_hiwater = false;
  return options;
}

std::optional<SwiotlbSizing> size_swiotlb(const CcPlatform& cc, std::uint64_t memory_bytes, bool ram_above_4g,
                                          unsigned cpus, const SwiotlbOptions& options) {
  const bool guest = cc.shares_all_dma();
  // ppc_swiotlb_enable is false when swiotlb_init() asks for it, and true when the pool would be given back.
  const bool enabled = cc.x86() ? ram_above_4g || cc.has(CcAttr::host_mem_encrypt) || guest : options.force;
  if ((!enabled && !options.force) || options.no_force) return std::nullopt;

  Defaults defaults{options};
  if (cc.is_x86_guest())
    defaults.adjust_size(
        std::clamp(memory_bytes * 6 / 100, spec::io_tlb_default_size, std::uint64_t{1} << 30));
  SwiotlbSizing sizing = std::move(defaults).settle(cpus, cc.forces_swiotlb() || options.force, enabled);
  sizing.track_hiwater = options.track_hiwater;
  return sizing;
}

}  // namespace cbit::kernel
