#include "explain/matrix.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "explain/cause_names.hpp"

namespace cbit::explain {
namespace {

// "direct C=1 works", "bounced fails: pool-exhausted".
std::string describe(const MatrixCell& cell) {
  const Explanation& e = cell.explanation;
  std::string text;
  if (e.path != DmaPath::error) {
    text = to_string(e.path);
    if (e.encryption_bit) text += " C=1";
    text += ' ';
  }
  text += to_string(e.verdict);
  return text;
}

std::string causes_of(const std::vector<const MatrixCell*>& row) {
  CauseNames names;
  for (const MatrixCell* cell : row) names.add(cell->explanation.causes);
  return names.text();
}

// Cells that differ in the mask only.
std::vector<std::vector<const MatrixCell*>> rows_of(const std::vector<MatrixCell>& cells) {
  std::vector<std::vector<const MatrixCell*>> rows;
  for (const MatrixCell& cell : cells) {
    const bool same_row = !rows.empty() && rows.back().back()->platform == cell.platform &&
                          rows.back().back()->iommu == cell.iommu && rows.back().back()->map == cell.map;
    if (!same_row) rows.emplace_back();
    rows.back().push_back(&cell);
  }
  return rows;
}

Table table_of(const std::vector<MatrixCell>& cells) {
  Table table;
  const auto rows = rows_of(cells);
  if (rows.empty()) return table;
  table.columns = {"platform", "IOMMU", "mapping"};
  for (const MatrixCell* cell : rows.front()) table.columns.push_back(fmt::format("{}-bit mask", cell->mask));
  table.columns.emplace_back("causes");
  for (const auto& row : rows) {
    const MatrixCell& first = *row.front();
    std::vector<std::string> line{std::string{to_string(first.platform)}, std::string{to_string(first.iommu)},
                                  std::string{to_string(first.map)}};
    for (const MatrixCell* cell : row) line.push_back(describe(*cell));
    line.push_back(causes_of(row));
    table.rows.push_back(std::move(line));
  }
  return table;
}

std::string render_json(const std::vector<MatrixCell>& cells) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const MatrixCell& cell : cells) {
    const Explanation& e = cell.explanation;
    CauseNames causes;
    causes.add(e.causes);
    list.push_back({{"platform", to_string(cell.platform)},
                    {"iommu", to_string(cell.iommu)},
                    {"mask", cell.mask},
                    {"map", to_string(cell.map)},
                    {"path", to_string(e.path)},
                    {"encryption_bit", e.encryption_bit},
                    {"bounced", e.bounced},
                    {"cpu_sees", to_string(e.cpu.sees)},
                    {"device_sees", to_string(e.device.sees)},
                    {"host_sees", to_string(e.host.sees)},
                    {"verdict", to_string(e.verdict)},
                    {"causes", causes.all()}});
  }
  const nlohmann::ordered_json document{{"schema", "cbit-matrix-1"}, {"cells", std::move(list)}};
  return json_text(document, 2) + '\n';
}

}  // namespace

OrError<std::vector<MatrixCell>> run_matrix(const MatrixOptions& options) {
  std::vector<MatrixCell> cells;
  for (const Platform platform : options.platforms)
    for (const IommuMode iommu : options.iommus)
      for (const MapKind map : options.maps)
        for (const unsigned mask : options.masks) {
          ExplainOptions one{
              .bed = options.bed, .map = map, .direction = options.direction, .size = options.size};
          one.bed.machine.platform = platform;
          one.bed.dma.iommu = iommu;
          one.device.mask_bits = one.device.coherent_mask_bits = mask;
          Explanation explanation = CBIT_TRY(explain(one));
          explanation.steps.clear();
          for (Sight* sight : {&explanation.cpu, &explanation.device, &explanation.host, &explanation.pool})
            sight->bytes.clear();
          cells.push_back({platform, iommu, mask, map, std::move(explanation)});
        }
  return cells;
}

std::string render(const std::vector<MatrixCell>& cells, TableFormat format,
                   std::optional<std::size_t> columns) {
  if (format == TableFormat::json) return render_json(cells);
  return render(table_of(cells), format, columns);
}

}  // namespace cbit::explain
