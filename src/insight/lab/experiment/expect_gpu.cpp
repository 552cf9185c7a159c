// What became of a buffer object.
#include <fmt/format.h>

#include "dev/crc32c.hpp"
#include "lab/experiment/expect.hpp"
#include "lab/experiment/gpu_part.hpp"

namespace cbit::lab {
namespace {

// A check of one object; `fact` puts it in words.
template <class Fact>
Check check_object(const Subject& subject, std::string_view key, std::string expected, Fact fact) {
  return [id = subject.lens.buffer, key, expected = std::move(expected),
          fact](Run& run) -> std::optional<Mismatch> {
    GpuPart& part = run.part<GpuPart>();
    const auto object = part.object(id);
    if (!object) return Mismatch{std::string{key}, expected, "no buffer object", {}};
    return compare(key, expected, fact(run, part.driver((*object)->device), *(*object)->bo));
  };
}

OrError<Check> parse_placement(const StepParser& step, const Subject& subject, std::string_view key) {
  const TtmPlacement expected = CBIT_TRY(step.keys.need(key, step.keys.word(key, ttm_placement_words)));
  return check_object(
      subject, key, std::string{to_string(expected)},
      [](Run&, kernel::GpuDriver&, const kernel::TtmBo& bo) { return std::string{to_string(bo.placement)}; });
}

OrError<Check> parse_decrypted(const StepParser& step, const Subject& subject, std::string_view key) {
  const bool expected = CBIT_TRY(step.keys.need(key, step.keys.flag(key)));
  return check_object(
      subject, key, fmt::format("{}", expected),
      [](Run&, kernel::GpuDriver&, const kernel::TtmBo& bo) { return fmt::format("{}", bo.tt.decrypted); });
}

// Whether the bus address in the GART has the C-bit; behind an IOMMU it has none.
OrError<Check> parse_gart_c_bit(const StepParser& step, const Subject& subject, std::string_view key) {
  const bool expected = CBIT_TRY(step.keys.need(key, step.keys.flag(key)));
  return check_object(subject, key, fmt::format("{}", expected),
                      [](Run& run, kernel::GpuDriver& driver, const kernel::TtmBo& bo) -> std::string {
                        const auto at = driver.bus_address(bo, 0);
                        if (!at) return "not in the GART";
                        return fmt::format("{}", (at->value() & run.kernel().cc().me_mask()) != 0);
                      });
}

// The display's checksum is that of the bytes that were written last.
OrError<Check> parse_scanout(const StepParser& step, const Subject& subject, std::string_view key) {
  const bool expected = CBIT_TRY(step.keys.need(key, step.keys.flag(key)));
  return check_object(subject, key, fmt::format("{}", expected),
                      [id = subject.lens.buffer](Run& run, kernel::GpuDriver& driver,
                                                 const kernel::TtmBo& bo) -> std::string {
                        const auto shown = driver.scanout(run.kernel().cpu(0), bo);
                        if (!shown) return describe(shown.error());
                        return fmt::format("{}", *shown == dev::crc32c(run.buffer(id).now));
                      });
}

constexpr ExpectKey gpu_check_keys[] = {
    {"placement", Needs::bytes, parse_placement},
    {"tt-decrypted", Needs::bytes, parse_decrypted},
    {"gart-c-bit", Needs::bytes, parse_gart_c_bit},
    {"scanout-matches", Needs::bytes, parse_scanout},
};

}  // namespace

std::span<const ExpectKey> gpu_checks() { return gpu_check_keys; }

}  // namespace cbit::lab
