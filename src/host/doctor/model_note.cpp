#include "doctor/model_note.hpp"

#include <fmt/format.h>

#include "base/enumerators.hpp"

namespace cbit::doctor {
namespace {

// What each version does otherwise than the one before it, as far as a device's DMA can tell.
struct VersionChange {
  KernelVersion version{};
  std::string_view what;
};
constexpr VersionChange changes[] = {
    {KernelVersion::v6_1, ""},
    {KernelVersion::v6_6, "the bounce pool may grow, and its slots are searched otherwise"},
    {KernelVersion::v6_10, "bounces keep a buffer's alignment, and syncs are skipped while nothing bounces"},
    {KernelVersion::v6_12, "a refused conversion of memory is told with its errno"},
    {KernelVersion::v6_19, "dma_map_resource() fails in encrypted guests"},
    {KernelVersion::v7_2,
     "encrypted guests refuse RDMA regions of private memory; the IOMMU's entries for MMIO have no C-bit"},
    {KernelVersion::v7_3,
     "an encrypted guest without a bounce pool, or with a virtual IOMMU in front of coherent memory, gets "
     "errors, and on SME a device whose coherent mask lacks the C-bit bounces"},
    {KernelVersion::next, ""},
};
static_assert(has_row_each<&VersionChange::version>(changes));

}  // namespace

std::optional<std::string> model_note(const std::optional<spec::KernelRelease>& release) {
  const KernelVersion model = spec::nearest_version(release);
  if (!release || spec::parse_release(to_string(model)) == release) return std::nullopt;
  std::string text = fmt::format("this kernel is {}.{}; the devices are judged by the rules of {} (as of {})",
                                 release->major, release->minor, to_string(model), baseline_of(model));
  const auto next = static_cast<std::size_t>(model) + 1;
  if (!changes[next].what.empty())
    text += fmt::format("; from {} on {}", to_string(changes[next].version), changes[next].what);
  return text;
}

}  // namespace cbit::doctor
