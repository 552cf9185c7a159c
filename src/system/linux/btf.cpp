#include "linux/btf.hpp"

#include <fmt/format.h>

#include <array>

#include "linux/parts.hpp"

namespace cbit::linux {
namespace {

constexpr std::uint16_t btf_magic = 0xeb9f;
constexpr std::uint32_t types_max = 1 << 24;
constexpr unsigned nesting_max = 16;  // of structures in structures, typedefs of typedefs

struct BtfHeader {
  std::uint16_t magic = 0;
  std::uint8_t version = 0;
  std::uint8_t flags = 0;
  std::uint32_t hdr_len = 0;
  std::uint32_t type_off = 0;  // these count from the end of the header
  std::uint32_t type_len = 0;
  std::uint32_t str_off = 0;
  std::uint32_t str_len = 0;
};
static_assert(sizeof(BtfHeader) == 24);
// 7.x: struct btf_layout of each kind, for kinds that a reader does not know.
struct BtfLayout {
  std::uint8_t info_bytes = 0;
  std::uint8_t element_bytes = 0;
  std::uint16_t flags = 0;
};
static_assert(sizeof(BtfLayout) == 4);

struct BtfTypeHead {
  std::uint32_t name = 0;
  std::uint32_t info = 0;  // 31: kind_flag; 30:24: kind; 23:0: vlen
  std::uint32_t size_or_type = 0;

  [[nodiscard]] std::uint8_t kind() const { return info >> 24 & 0x7f; }
  [[nodiscard]] std::uint32_t count() const { return info & 0xff'ffff; }
};
struct BtfMemberEntry {
  std::uint32_t name = 0;
  std::uint32_t type = 0;
  std::uint32_t offset = 0;  // in bits; with kind_flag 31:24 is the size of a bit field, 23:0 the offset
};
struct BtfArrayEntry {
  std::uint32_t type = 0;
  std::uint32_t index_type = 0;
  std::uint32_t elements = 0;
};
struct BtfEnumEntry {
  std::uint32_t name = 0;
  std::uint32_t value = 0;
};
struct BtfParameterEntry {
  std::uint32_t name = 0;
  std::uint32_t type = 0;
};

// What follows struct btf_type, once and for each of vlen elements; btf.rst, section 2.2.
constexpr std::array<BtfLayout, 20> known_layouts = {{
    {0, 0, 0},   // void
    {4, 0, 0},   // INT
    {0, 0, 0},   // PTR
    {12, 0, 0},  // ARRAY
    {0, 12, 0},  // STRUCT
    {0, 12, 0},  // UNION
    {0, 8, 0},   // ENUM
    {0, 0, 0},   // FWD
    {0, 0, 0},   // TYPEDEF
    {0, 0, 0},   // VOLATILE
    {0, 0, 0},   // CONST
    {0, 0, 0},   // RESTRICT
    {0, 0, 0},   // FUNC: vlen is its linkage
    {0, 8, 0},   // FUNC_PROTO
    {4, 0, 0},   // VAR
    {0, 12, 0},  // DATASEC
    {0, 0, 0},   // FLOAT
    {4, 0, 0},   // DECL_TAG
    {0, 0, 0},   // TYPE_TAG
    {0, 12, 0},  // ENUM64
}};

std::optional<BtfLayout> layout_of(std::uint8_t kind, ConstByteSpan layouts) {
  if (kind < known_layouts.size()) return known_layouts[kind];
  return load_part<BtfLayout>(layouts, kind * sizeof(BtfLayout));
}

tl::unexpected<Error> bad_btf(std::string_view name, std::string_view why) {
  return bad_input(fmt::format("{}: its BTF {}", name, why), "the file is damaged, or too new for this cbit");
}

bool is_wrapper(BtfKind kind) {
  return kind == BtfKind::type_definition || kind == BtfKind::const_type || kind == BtfKind::volatile_type ||
         kind == BtfKind::restrict_type || kind == BtfKind::type_tag;
}

bool has_members(BtfKind kind) { return kind == BtfKind::structure || kind == BtfKind::union_type; }

}  // namespace

std::optional<std::size_t> BtfPrototype::position(std::string_view parameter) const {
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].name == parameter) return i;
  return std::nullopt;
}

// ---- reading ---------------------------------------------------------------------------------------------

OrError<Btf> Btf::open(ConstByteSpan section, std::string_view name) { return read(section, nullptr, name); }

OrError<Btf> Btf::open_module(ConstByteSpan section, const Btf& kernel, std::string_view name) {
  return read(section, &kernel, name);
}

OrError<Btf> Btf::read(ConstByteSpan section, const Btf* kernel, std::string_view name) {
  const auto header = load_part<BtfHeader>(section, 0);
  if (!header || header->magic != btf_magic || header->version != 1)
    return bad_btf(name, "is missing or of an unknown version");
  const auto types = part(section, std::uint64_t{header->hdr_len} + header->type_off, header->type_len);
  const auto texts = part(section, std::uint64_t{header->hdr_len} + header->str_off, header->str_len);
  if (header->hdr_len < sizeof(BtfHeader) || !types || !texts) return bad_btf(name, "is cut off");
  ConstByteSpan layouts;
  if (header->hdr_len >= sizeof(BtfHeader) + 8) {
    const auto offset = load_part<std::uint32_t>(section, sizeof(BtfHeader)).value_or(0);
    const auto bytes = load_part<std::uint32_t>(section, sizeof(BtfHeader) + 4).value_or(0);
    layouts = part(section, std::uint64_t{header->hdr_len} + offset, bytes).value_or(ConstByteSpan{});
  }
  Btf made;
  made.texts_ = *texts;
  if (kernel != nullptr) {
    made.kernel_ = kernel;
    made.first_ = kernel->end();
    made.first_text_ = kernel->first_text_ + static_cast<std::uint32_t>(kernel->texts_.size());
  }
  if (!made.index_types(*types, layouts))
    return bad_btf(name, "has a type that is not all there, or not known");
  return made;
}

bool Btf::index_types(ConstByteSpan types, ConstByteSpan layouts) {
  for (std::uint64_t at = 0; at < types.size();) {
    const auto head = load_part<BtfTypeHead>(types, at);
    if (!head || end() > types_max) return false;
    const auto layout = layout_of(head->kind(), layouts);
    if (!layout) return false;
    const bool counts = layout->element_bytes != 0;
    const std::uint64_t bytes = sizeof *head + layout->info_bytes +
                                (counts ? std::uint64_t{head->count()} * layout->element_bytes : 0);
    const auto whole = part(types, at, bytes);
    if (!whole) return false;
    types_.push_back(*whole);
    at += bytes;
  }
  return true;
}

// ---- types -----------------------------------------------------------------------------------------------

std::optional<Btf::Type> Btf::type(BtfId id) const {
  if (id < first_) return kernel_ != nullptr ? kernel_->type(id) : std::nullopt;
  if (id >= end()) return std::nullopt;
  const ConstByteSpan bytes = types_[id - first_];
  const auto head = load<BtfTypeHead>(bytes);
  return Type{head.name,         static_cast<BtfKind>(head.kind()), (head.info >> 31) != 0, head.count(),
              head.size_or_type, bytes.subspan(sizeof(BtfTypeHead))};
}

std::string_view Btf::text(std::uint32_t offset) const {
  if (offset < first_text_) return kernel_ != nullptr ? kernel_->text(offset) : std::string_view{};
  return text_at(texts_, offset - first_text_).value_or(std::string_view{});
}

bool Btf::is_text(std::uint32_t offset, std::string_view wanted) const {
  if (offset < first_text_) return kernel_ != nullptr && kernel_->is_text(offset, wanted);
  const auto there = part(texts_, offset - first_text_, wanted.size() + 1);
  return there && there->back() == std::byte{0} && as_text(*there).starts_with(wanted);
}

std::optional<BtfId> Btf::find(BtfKind kind, std::string_view name) const {
  for (BtfId id = first_; id < end(); ++id) {
    const auto head = load<BtfTypeHead>(types_[id - first_]);
    if (static_cast<BtfKind>(head.kind()) == kind && is_text(head.name, name)) return id;
  }
  return kernel_ != nullptr ? kernel_->find(kind, name) : std::nullopt;
}

std::optional<BtfId> Btf::resolve(BtfId id) const {
  for (unsigned depth = 0; depth < nesting_max; ++depth) {
    const auto found = type(id);
    if (!found) return std::nullopt;
    if (!is_wrapper(found->kind)) return id;
    id = found->size_or_type;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Btf::size_of(BtfId id) const {
  std::uint64_t elements = 1;
  for (unsigned depth = 0; depth < nesting_max; ++depth) {
    const auto resolved = resolve(id);
    if (!resolved) return std::nullopt;
    const Type found = *type(*resolved);
    switch (found.kind) {
      case BtfKind::pointer: return elements * 8;
      case BtfKind::integer:
      case BtfKind::structure:
      case BtfKind::union_type:
      case BtfKind::enumeration:
      case BtfKind::enumeration_64:
      case BtfKind::floating: return elements * found.size_or_type;
      case BtfKind::array: {
        const auto array = load<BtfArrayEntry>(found.more);
        if (array.elements != 0 && elements > (1ull << 24) / array.elements) return std::nullopt;
        elements *= array.elements;
        id = array.type;
        break;
      }
      default: return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<BtfScalar> Btf::scalar(BtfId id) const {
  const auto resolved = resolve(id);
  if (!resolved) return std::nullopt;
  const Type found = *type(*resolved);
  // BTF_INT_ENCODING: 1 signed, 4 bool.
  const std::uint32_t encoding = found.kind == BtfKind::integer ? load<std::uint32_t>(found.more) >> 24 : 0;
  switch (found.kind) {
    case BtfKind::pointer: return BtfScalar{.bytes = 8, .is_pointer = true};
    case BtfKind::integer:
      return BtfScalar{
          .bytes = found.size_or_type, .is_signed = (encoding & 1) != 0, .is_bool = (encoding & 4) != 0};
    case BtfKind::enumeration:
    case BtfKind::enumeration_64: return BtfScalar{.bytes = found.size_or_type, .is_signed = found.flag};
    default: return std::nullopt;
  }
}

std::optional<std::uint32_t> Btf::enumerator(std::string_view enumeration, std::string_view name) const {
  const auto id = find(BtfKind::enumeration, enumeration);
  const auto found = id ? type(*id) : std::nullopt;
  for (std::uint32_t i = 0; found && i < found->count; ++i) {
    const auto entry = load<BtfEnumEntry>(found->more, i * sizeof(BtfEnumEntry));
    if (is_text(entry.name, name)) return entry.value;
  }
  return std::nullopt;
}

// ---- members ---------------------------------------------------------------------------------------------

std::optional<BtfId> Btf::find_structure(std::string_view name) const {
  if (const auto found = find(BtfKind::structure, name)) return found;
  if (const auto found = find(BtfKind::union_type, name)) return found;
  const auto alias = find(BtfKind::type_definition, name);
  return alias ? resolve(*alias) : std::nullopt;
}

BtfField Btf::member_at(const Type& structure, std::uint32_t index) const {
  const auto entry = load<BtfMemberEntry>(structure.more, index * sizeof(BtfMemberEntry));
  BtfField found{.bit_offset = entry.offset, .type = entry.type};
  if (structure.flag) {
    found.bit_offset = entry.offset & 0xff'ffff;
    found.bits = entry.offset >> 24;
    found.bit_field = found.bits != 0;
  }
  if (!found.bit_field) found.bits = size_of(entry.type).value_or(0) * 8;
  return found;
}

std::optional<BtfField> Btf::member(BtfId id, std::string_view name, Search& search) const {
  const auto structure = type(id);
  if (!structure || !has_members(structure->kind) || search.depth == nesting_max) return std::nullopt;
  for (std::uint32_t i = 0; i < structure->count; ++i) {
    if (search.members_left == 0) return std::nullopt;
    --search.members_left;
    const auto entry = load<BtfMemberEntry>(structure->more, i * sizeof(BtfMemberEntry));
    const std::string_view called = text(entry.name);
    if (called == name) return member_at(*structure, i);
    if (!called.empty()) continue;
    ++search.depth;
    const auto inside = member(resolve(entry.type).value_or(0), name, search);
    --search.depth;
    if (!inside) continue;
    BtfField found = *inside;
    found.bit_offset += member_at(*structure, i).bit_offset;
    return found;
  }
  return std::nullopt;
}

std::optional<BtfField> Btf::field(std::string_view structure, std::string_view path) const {
  auto inside = find_structure(structure);
  std::uint64_t bit_offset = 0;
  for (;;) {
    if (!inside) return std::nullopt;
    const std::size_t dot = path.find('.');
    Search search;
    const std::string_view name = path.substr(0, dot);
    auto found = name.empty() ? std::nullopt : member(*inside, name, search);
    if (!found) return std::nullopt;
    bit_offset += found->bit_offset;
    if (dot == path.npos) {
      found->bit_offset = bit_offset;
      return found;
    }
    path.remove_prefix(dot + 1);
    inside = resolve(found->type);
  }
}

std::optional<std::uint64_t> Btf::size_of(std::string_view structure) const {
  const auto found = find_structure(structure);
  return found ? size_of(*found) : std::nullopt;
}

std::optional<BtfPrototype> Btf::function(std::string_view name) const {
  const auto id = find(BtfKind::function, name);
  const auto prototype = id ? type(type(*id)->size_or_type) : std::nullopt;
  if (!prototype || prototype->kind != BtfKind::prototype) return std::nullopt;
  BtfPrototype found{.returns = prototype->size_or_type};
  for (std::uint32_t i = 0; i < prototype->count; ++i) {
    const auto entry = load<BtfParameterEntry>(prototype->more, i * sizeof(BtfParameterEntry));
    found.parameters.push_back({text(entry.name), entry.type});
  }
  return found;
}

}  // namespace cbit::linux
