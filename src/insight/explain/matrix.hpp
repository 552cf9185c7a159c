// `cbit matrix`: the same DMA in every combination of platform, IOMMU, mask and mapping. Each cell is one run
// of explain(); nothing is looked up.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "explain/explain.hpp"
#include "explain/table.hpp"

namespace cbit::explain {

struct MatrixOptions {
  testbed::TestbedConfig bed;  // everything but platform and IOMMU
  std::vector<Platform> platforms{std::begin(cbit::platforms), std::end(cbit::platforms)};
  std::vector<IommuMode> iommus{IommuMode::none, IommuMode::passthrough, IommuMode::translated};
  std::vector<unsigned> masks{32, 47, 48, 64};  // streaming and coherent alike
  std::vector<MapKind> maps{MapKind::streaming, MapKind::coherent, MapKind::coherent_atomic,
                            MapKind::raw_phys, MapKind::resource};
  DmaDirection direction = DmaDirection::bidirectional;
  std::uint64_t size = 4096;
};

struct MatrixCell {
  Platform platform{};
  IommuMode iommu{};
  unsigned mask = 0;
  MapKind map{};
  Explanation explanation;  // without steps and bytes
};

// In order of platform, IOMMU, mapping, mask.
[[nodiscard]] OrError<std::vector<MatrixCell>> run_matrix(const MatrixOptions& options);

[[nodiscard]] std::string render(const std::vector<MatrixCell>& cells, TableFormat format,
                                 std::optional<std::size_t> columns = std::nullopt);

}  // namespace cbit::explain
