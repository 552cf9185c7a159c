#include "cli/cpu_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <tuple>

#include "cli/table_format.hpp"
#include "cpu/model.hpp"
#include "isa/table.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec cpu_specs[] = {
    {"--missing", "", "Only instructions that the processor does not have", ""},
    table_format_option,
    table_json_option,
};

constexpr std::string_view cpu_examples[] = {
    "cbit cpu coverage --missing",
    "cbit cpu coverage --json",
};

std::string_view form_word(isa::Form form) {
  switch (form) {
    case isa::Form::any: return "any";
    case isa::Form::general: return "general";
    case isa::Form::segment: return "segment";
    case isa::Form::control: return "control";
    case isa::Form::debug: return "debug";
    case isa::Form::mmx: return "mmx";
    case isa::Form::xmm: return "xmm";
  }
  return "?";
}

std::string_view register_word(isa::CpuidRegister in) {
  switch (in) {
    case isa::CpuidRegister::none: return "";
    case isa::CpuidRegister::eax: return "EAX";
    case isa::CpuidRegister::ebx: return "EBX";
    case isa::CpuidRegister::ecx: return "ECX";
    case isa::CpuidRegister::edx: return "EDX";
  }
  return "?";
}

// "Fn0000_0001 ECX[25]", as the manual writes it.
std::string cpuid_text(const isa::FeatureInfo& info) {
  if (info.in == isa::CpuidRegister::none) return "-";
  std::string leaf = fmt::format("Fn{:04X}_{:04X}", info.leaf >> 16, info.leaf & 0xffff);
  if (info.leaf == 7 || info.leaf == 0xd) leaf += fmt::format("_x{}", info.subleaf);
  return fmt::format("{} {}[{}]", leaf, register_word(info.in), info.bit);
}

std::vector<std::string> line_of(const isa::Row& row, std::string_view offered) {
  const isa::FeatureInfo& info = isa::info_of(row.feature);
  return {std::string{info.name},           cpuid_text(info),     std::string{row.mnemonic},
          std::string{form_word(row.form)}, std::string{offered}, row.lower != nullptr ? "yes" : "no"};
}

explain::Table make_table(const isa::Coverage& coverage, bool only_missing) {
  explain::Table table{{"feature", "CPUID", "instruction", "operands", "offered", "implemented"}, {}, {}};
  std::vector<std::pair<const isa::Row*, std::string_view>> rows;
  for (const isa::Row* row : coverage.there) rows.emplace_back(row, "yes");
  for (const isa::Row* row : coverage.missing) rows.emplace_back(row, "yes");
  for (const isa::Row* row : coverage.absent) rows.emplace_back(row, "no");
  std::ranges::sort(rows, {}, [](const auto& entry) {
    return std::tuple{entry.first->feature, entry.first->mnemonic, entry.first};  // rows lie in one table
  });
  for (const auto& [row, offered] : rows)
    if (!only_missing || row->lower == nullptr) table.rows.push_back(line_of(*row, offered));
  const auto written =
      std::ranges::count_if(coverage.absent, [](const isa::Row* row) { return row->lower != nullptr; });
  table.notes.push_back(fmt::format(
      "{} rows: {} are implemented and offered by CPUID, {} are offered and missing; of {} that are not "
      "offered, {} are implemented.",
      rows.size(), coverage.there.size(), coverage.missing.size(), coverage.absent.size(), written));
  return table;
}

OrError<ExitCode> run_cpu(const Arguments& arguments, Streams& streams) {
  const explain::TableFormat format = CBIT_TRY(table_format(arguments));
  const isa::Coverage coverage = isa::coverage(cpu::default_model().features);
  streams.out << explain::render(make_table(coverage, arguments.has("--missing")), format, streams.columns);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec cpu_coverage_command{
    "cpu coverage",
    "List the instructions that the processor has, and those that it lacks",
    "One line per row of the instruction table: the feature that CPUID has to offer for it, whether the "
    "processor of cbit run offers it, and whether it is implemented. One that is not is an invalid opcode "
    "(#UD) to the guest, and cbit run --stats names it. --json prints the object of "
    "schema/table.schema.json.",
    cpu_specs,
    {},
    cpu_examples,
    run_cpu,
};

}  // namespace cbit::cli
