#include "cli/matrix_command.hpp"

#include <ostream>

#include "cli/platform_options.hpp"
#include "cli/table_format.hpp"
#include "explain/matrix.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view all_platforms[] = {"all", "plain", "sme", "sev", "sev-es", "sev-snp", "tdx"};
constexpr std::string_view all_iommus[] = {"all", "none", "passthrough", "translated"};

constexpr OptionSpec option_table[] = {
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

constexpr std::string_view examples[] = {
    "cbit matrix --platform sme",
    "cbit matrix --format markdown",
    "cbit matrix --json",
};

OrError<ExitCode> run(const Arguments& given, Streams& streams) {
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
    "what does not work.",
    option_table,
    {},
    examples,
    run,
};

}  // namespace cbit::cli
