#include "gdb/registers.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <vector>

namespace cbit::gdb {
namespace {

using isa::Gpr;
using isa::Segment;

constexpr std::uint32_t msr_kernel_gs_base = 0xc000'0102;

// The whole of a processor, so that many registers are read and written as one.
struct WholeState {
  explicit WholeState(const Processor& processor)
      : general{processor.cpu->registers()},
        extended{processor.cpu->extended_state()},
        kernel_gs_base{processor.cpu->read_msr(msr_kernel_gs_base).value_or(0)},
        cr8{processor.interrupts->cr8()} {}

  cpu::Registers general;
  cpu::Cpu::ExtendedState extended;
  std::uint64_t kernel_gs_base;
  std::uint64_t cr8;
};

// ---- fields that are not a number somewhere -------------------------------------------------------------

// Two bits for a register by its physical number: valid, zero, special, empty. APM vol. 1, 6.2.4; FXSAVE's
// image has one bit of them, and registers in the order of the stack.
constexpr unsigned tag_empty = 3;

unsigned tag_of(ConstByteSpan st) {
  const auto fraction = load<std::uint64_t>(st);
  const unsigned exponent = load<std::uint16_t>(st, 8) & 0x7fff;
  if (exponent == 0 && fraction == 0) return 1;
  return exponent == 0 || exponent == 0x7fff || fraction >> 63 == 0 ? 2 : 0;
}

std::uint64_t x87_tags(const WholeState& state) {
  namespace at = cpu::fxsave;
  const ConstByteSpan image{state.extended};
  const auto in_use = load<std::uint8_t>(image, at::tags_at);
  const unsigned top = load<std::uint16_t>(image, at::status_at) >> 11 & 7;
  unsigned tags = 0;
  for (unsigned reg = 0; reg < 8; ++reg) {
    const unsigned place = (reg - top) & 7;
    const bool empty = (in_use >> reg & 1) == 0;
    tags |= (empty ? tag_empty : tag_of(image.subspan(at::st_at + 16 * place, 10))) << 2 * reg;
  }
  return tags;
}

void set_x87_tags(WholeState& state, std::uint64_t tags) {
  unsigned in_use = 0;
  for (unsigned reg = 0; reg < 8; ++reg)
    if ((tags >> 2 * reg & 3) != tag_empty) in_use |= 1u << reg;
  state.extended[cpu::fxsave::tags_at] = static_cast<std::byte>(in_use);
}

// ---- the table ------------------------------------------------------------------------------------------

enum class Feature : std::uint8_t { core, sse, segments, system };

// Where a register is: of `index` the n-th, or a place in FXSAVE's image.
enum class Field : std::uint8_t {
  gpr,
  rip,
  flags,
  selector,
  base,
  kernel_gs_base,
  cr0,
  cr2,
  cr3,
  cr4,
  cr8,
  efer,
  x87_tags,
  image,
};

struct Row {
  std::string name;
  std::string_view type;
  unsigned bytes;
  Feature feature;
  Field field;
  std::size_t index = 0;
  unsigned kept_bytes = 0;  // in the image, where that has fewer
};

void add_core(std::vector<Row>& rows) {
  constexpr std::pair<std::string_view, Gpr> first_gprs[] = {
      {"rax", Gpr::rax}, {"rbx", Gpr::rbx}, {"rcx", Gpr::rcx}, {"rdx", Gpr::rdx},
      {"rsi", Gpr::rsi}, {"rdi", Gpr::rdi}, {"rbp", Gpr::rbp}, {"rsp", Gpr::rsp}};
  for (const auto& [name, reg] : first_gprs)
    rows.push_back({std::string{name}, reg == Gpr::rbp || reg == Gpr::rsp ? "data_ptr" : "int64", 8,
                    Feature::core, Field::gpr, static_cast<std::size_t>(reg)});
  for (std::size_t i = 8; i < 16; ++i)
    rows.push_back({fmt::format("r{}", i), "int64", 8, Feature::core, Field::gpr, i});
  rows.push_back({"rip", "code_ptr", 8, Feature::core, Field::rip});
  rows.push_back({"eflags", "i386_eflags", 4, Feature::core, Field::flags});
  constexpr std::pair<std::string_view, Segment> selectors[] = {{"cs", Segment::cs}, {"ss", Segment::ss},
                                                                {"ds", Segment::ds}, {"es", Segment::es},
                                                                {"fs", Segment::fs}, {"gs", Segment::gs}};
  for (const auto& [name, segment] : selectors)
    rows.push_back(
        {std::string{name}, "int32", 4, Feature::core, Field::selector, static_cast<std::size_t>(segment)});
  for (std::size_t i = 0; i < 8; ++i)
    rows.push_back({fmt::format("st{}", i), "i387_ext", 10, Feature::core, Field::image,
                    cpu::fxsave::st_at + 16 * i, 10});
}

// Places: APM vol. 2, figure 11-8.
void add_x87_control(std::vector<Row>& rows) {
  const auto add = [&](std::string_view name, Field field, std::size_t at, unsigned kept) {
    rows.push_back({std::string{name}, "int", 4, Feature::core, field, at, kept});
  };
  add("fctrl", Field::image, cpu::fxsave::control_at, 2);
  add("fstat", Field::image, cpu::fxsave::status_at, 2);
  add("ftag", Field::x87_tags, 0, 0);
  add("fiseg", Field::image, 12, 2);
  add("fioff", Field::image, 8, 4);
  add("foseg", Field::image, 20, 2);
  add("fooff", Field::image, 16, 4);
  add("fop", Field::image, 6, 2);
}

void add_sse(std::vector<Row>& rows) {
  for (std::size_t i = 0; i < 16; ++i)
    rows.push_back({fmt::format("xmm{}", i), "vec128", 16, Feature::sse, Field::image,
                    cpu::fxsave::xmm_at + 16 * i, 16});
  rows.push_back({"mxcsr", "i386_mxcsr", 4, Feature::sse, Field::image, cpu::fxsave::mxcsr_at, 4});
}

void add_system(std::vector<Row>& rows) {
  const auto add = [&](std::string_view name, Feature feature, Field field, std::size_t index = 0) {
    rows.push_back({std::string{name}, "int64", 8, feature, field, index});
  };
  add("fs_base", Feature::segments, Field::base, static_cast<std::size_t>(Segment::fs));
  add("gs_base", Feature::segments, Field::base, static_cast<std::size_t>(Segment::gs));
  add("k_gs_base", Feature::system, Field::kernel_gs_base);
  add("cr0", Feature::system, Field::cr0);
  add("cr2", Feature::system, Field::cr2);
  add("cr3", Feature::system, Field::cr3);
  add("cr4", Feature::system, Field::cr4);
  add("cr8", Feature::system, Field::cr8);
  add("efer", Feature::system, Field::efer);
}

const std::vector<Row>& table() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> made;
    add_core(made);
    add_x87_control(made);
    add_sse(made);
    add_system(made);
    return made;
  }();
  return rows;
}

// ---- target.xml -----------------------------------------------------------------------------------------

struct Flag {
  std::string_view name;
  unsigned last, first;
};
constexpr Flag eflags[] = {{"CF", 0, 0},    {"PF", 2, 2},   {"AF", 4, 4},   {"ZF", 6, 6},   {"SF", 7, 7},
                           {"TF", 8, 8},    {"IF", 9, 9},   {"DF", 10, 10}, {"OF", 11, 11}, {"IOPL", 13, 12},
                           {"NT", 14, 14},  {"RF", 16, 16}, {"VM", 17, 17}, {"AC", 18, 18}, {"VIF", 19, 19},
                           {"VIP", 20, 20}, {"ID", 21, 21}};
constexpr Flag mxcsr[] = {{"IE", 0, 0},   {"DE", 1, 1},   {"ZE", 2, 2},   {"OE", 3, 3},   {"UE", 4, 4},
                          {"PE", 5, 5},   {"DAZ", 6, 6},  {"IM", 7, 7},   {"DM", 8, 8},   {"ZM", 9, 9},
                          {"OM", 10, 10}, {"UM", 11, 11}, {"PM", 12, 12}, {"RC", 14, 13}, {"FZ", 15, 15}};

template <std::size_t n>
std::string flags_xml(std::string_view id, const Flag (&flags)[n]) {
  std::string text = fmt::format("<flags id=\"{}\" size=\"4\">", id);
  for (const Flag& flag : flags)
    text +=
        flag.first == flag.last
            ? fmt::format("<field name=\"{}\" start=\"{}\" end=\"{}\"/>", flag.name, flag.first, flag.last)
            : fmt::format("<field name=\"{}\" start=\"{}\" end=\"{}\" type=\"uint32\"/>", flag.name,
                          flag.first, flag.last);
  return text + "</flags>\n";
}

std::string vector_types_xml() {
  constexpr std::tuple<std::string_view, std::string_view, unsigned> vectors[] = {
      {"v4_float", "ieee_single", 4}, {"v2_double", "ieee_double", 2}, {"v16_int8", "int8", 16},
      {"v8_int16", "int16", 8},       {"v4_int32", "int32", 4},        {"v2_int64", "int64", 2}};
  std::string text, fields;
  for (const auto& [name, type, count] : vectors) {
    text += fmt::format("<vector id=\"{}s\" type=\"{}\" count=\"{}\"/>\n", name, type, count);
    fields += fmt::format("<field name=\"{}\" type=\"{}s\"/>", name, name);
  }
  return text + "<union id=\"vec128\">" + fields + "<field name=\"uint128\" type=\"uint128\"/></union>\n";
}

std::string feature_xml(Feature feature, std::string_view name, const std::string& types) {
  std::string text = fmt::format("<feature name=\"{}\">\n{}", name, types);
  for (std::size_t number = 0; const Row& row : table()) {
    if (row.feature == feature)
      text += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"/>\n", row.name,
                          8 * row.bytes, row.type, number);
    ++number;
  }
  return text + "</feature>\n";
}

// ---- one register ---------------------------------------------------------------------------------------

// Where a register that is a number lies; nullptr: it is none, or is made up of others.
std::uint64_t* number_of(WholeState& state, const Row& row) {
  cpu::Registers& general = state.general;
  switch (row.field) {
    case Field::gpr: return &general.gpr[row.index];
    case Field::rip: return &general.rip;
    case Field::flags: return &general.rflags;
    case Field::base: return &general.segments[row.index].base;
    case Field::kernel_gs_base: return &state.kernel_gs_base;
    case Field::cr0: return &general.cr0;
    case Field::cr2: return &general.cr2;
    case Field::cr3: return &general.cr3;
    case Field::cr4: return &general.cr4;
    case Field::cr8: return &state.cr8;
    case Field::efer: return &general.efer;
    case Field::selector:
    case Field::x87_tags:
    case Field::image: return nullptr;
  }
  return nullptr;
}

void append(Bytes& to, WholeState& state, const Row& row) {
  std::array<std::byte, 16> value{};
  if (const std::uint64_t* const number = number_of(state, row))
    store(value, 0, *number);
  else if (row.field == Field::selector)
    store(value, 0, state.general.segments[row.index].selector);
  else if (row.field == Field::x87_tags)
    store(value, 0, x87_tags(state));
  else
    std::memcpy(value.data(), &state.extended[row.index], row.kept_bytes);
  to.insert(to.end(), value.begin(), value.begin() + row.bytes);
}

bool set(WholeState& state, const Row& row, ConstByteSpan from) {
  std::array<std::byte, 16> value{};
  std::memcpy(value.data(), from.data(), row.bytes);
  const auto number = load<std::uint64_t>(value);
  if (row.field == Field::selector) return number == state.general.segments[row.index].selector;
  if (row.field == Field::cr8 && number > 15) return false;
  if (std::uint64_t* const to = number_of(state, row))
    *to = row.field == Field::flags ? number | cpu::rflags::always_one : number;
  else if (row.field == Field::x87_tags)
    set_x87_tags(state, number);
  else
    std::memcpy(&state.extended[row.index], value.data(), row.kept_bytes);
  return true;
}

// What is as it was is not set: that may drop translations.
bool set_state(const Processor& processor, const WholeState& to) {
  const WholeState before{processor};
  cpu::Cpu& cpu = *processor.cpu;
  if (to.kernel_gs_base != before.kernel_gs_base && !cpu.write_msr(msr_kernel_gs_base, to.kernel_gs_base))
    return false;
  if (to.extended != before.extended) cpu.set_extended_state(to.extended);
  if (to.cr8 != before.cr8) processor.interrupts->set_cr8(static_cast<std::uint8_t>(to.cr8));
  if (!(to.general == before.general)) cpu.set_registers(to.general);
  return true;
}

}  // namespace

const std::string& target_xml() {
  static const std::string text =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target>\n"
      "<architecture>i386:x86-64</architecture>\n" +
      feature_xml(Feature::core, "org.gnu.gdb.i386.core", flags_xml("i386_eflags", eflags)) +
      feature_xml(Feature::sse, "org.gnu.gdb.i386.sse", vector_types_xml() + flags_xml("i386_mxcsr", mxcsr)) +
      feature_xml(Feature::segments, "org.gnu.gdb.i386.segments", "") +
      feature_xml(Feature::system, "org.cbit.i386.system", "") + "</target>\n";
  return text;
}

std::size_t register_count() { return table().size(); }
std::size_t register_bytes(std::size_t number) { return table()[number].bytes; }

Bytes read_registers(const Processor& processor) {
  WholeState state{processor};
  Bytes values;
  for (const Row& row : table()) append(values, state, row);
  return values;
}

std::optional<Bytes> read_register(const Processor& processor, std::size_t number) {
  if (number >= table().size()) return std::nullopt;
  WholeState state{processor};
  Bytes value;
  append(value, state, table()[number]);
  return value;
}

bool write_registers(const Processor& processor, ConstByteSpan values) {
  WholeState state{processor};
  for (const Row& row : table()) {
    if (values.size() < row.bytes || !set(state, row, values)) return false;
    values = values.subspan(row.bytes);
  }
  return values.empty() && set_state(processor, state);
}

bool write_register(const Processor& processor, std::size_t number, ConstByteSpan value) {
  if (number >= table().size() || value.size() != table()[number].bytes) return false;
  WholeState state{processor};
  return set(state, table()[number], value) && set_state(processor, state);
}

}  // namespace cbit::gdb
