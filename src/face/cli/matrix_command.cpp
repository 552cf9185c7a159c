#include "cli/matrix_command.hpp"

#include <algorithm>
#include <array>
#include <ostream>

#include "cli/platform_options.hpp"
#include "cli/table_format.hpp"
#include "explain/matrix.hpp"

namespace cbit::cli {
namespace {

template <std::size_t n>
constexpr std::array<std::string_view, n + 1> all_or(const std::array<std::string_view, n>& choices) {
  std::array<std::string_view, n + 1> words{"all"};
  std::ranges::copy(choices, words.begin() + 1);
  return words;
}
constexpr auto all_platforms = all_or(platform_choices);
constexpr auto all_iommus = all_or(iommu_choices);

constexpr OptionSpec matrix_specs[] = {
    {"--platform", "P", "Only this platform", "all", all_platforms},
    {"--iommu", "MODE", "Only this IOMMU mode", "all", all_iommus},
    cbit_option,
    memory_option,
    cpus_option,
    kernel_option,
    swiotlb_option,
    swiotlb_dynamic_option,
    {"--size", "N", "Bytes to transfer, up to 4M", "4096"},
    table_format_option,
    table_json_option,
    seed_option,
};

constexpr std::string_view matrix_examples[] = {
    "cbit matrix --platform sme",
    "cbit matrix --format markdown",
    "cbit matrix --json",
};

OrError<ExitCode> run_matrix(const Arguments& given, Streams& streams) {
  Arguments arguments = given;
  explain::MatrixOptions matrix;
  if (const auto name = given.text("--platform"); name && *name != "all")
    matrix.platforms = {*find_word(platform_words, *name)};
  if (const auto name = given.text("--iommu"); name && *name != "all")
    matrix.iommus = {*find_word(iommu_mode_words, *name)};
  arguments.options.erase("--platform");  // the rest describes every machine
  arguments.options.erase("--iommu");
  matrix.bed = CBIT_TRY(testbed_config(arguments));
  matrix.size = CBIT_TRY(arguments.size("--size", explain::explain_size_max)).value_or(matrix.size);
  const explain::TableFormat format = CBIT_TRY(table_format(arguments));
  streams.out << explain::render(CBIT_TRY(explain::run_matrix(matrix)), format, streams.columns);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec matrix_command{
    "matrix",
    "Run the same DMA on every platform, IOMMU mode, mask and mapping, and print the table",
    "Each cell is a machine of its own on which a driver maps a buffer, the device reads it and writes it, "
    "and the bytes are compared. The columns are the device's DMA masks; the last column names the causes of "
    "what does not work: cbit causes NAME explains one. --json prints the object of "
    "schema/matrix.schema.json.",
    matrix_specs,
    {},
    matrix_examples,
    run_matrix,
};

}  // namespace cbit::cli
