// Types of a kernel and its modules: the BTF Type Format, Documentation/bpf/btf.rst and
// include/uapi/linux/btf.h.
//
// Read here and not by libbpf: Debian 12's trusts what it reads, and refuses whole files for a kind of type
// that it does not know, while modules and kernels are anybody's files and newer than it. Nothing is trusted:
// wrong ids, cycles and lengths end as "not found". Threading: immutable.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::linux {

enum class BtfKind : std::uint8_t {
  none = 0,
  integer = 1,
  pointer = 2,
  array = 3,
  structure = 4,
  union_type = 5,
  enumeration = 6,
  forward = 7,
  type_definition = 8,
  volatile_type = 9,
  const_type = 10,
  restrict_type = 11,
  function = 12,
  prototype = 13,
  variable = 14,
  data_section = 15,
  floating = 16,
  declaration_tag = 17,
  type_tag = 18,
  enumeration_64 = 19,
};

using BtfId = std::uint32_t;  // 0 is void

// Where a member lies in the structure that was asked about.
struct BtfField {
  std::uint64_t bit_offset = 0;
  std::uint64_t bits = 0;
  bool bit_field = false;
  BtfId type = 0;

  [[nodiscard]] std::uint64_t offset() const { return bit_offset / 8; }
  [[nodiscard]] std::uint64_t bytes() const { return bits / 8; }
};

// A value that fits into a register.
struct BtfScalar {
  std::uint64_t bytes = 0;
  bool is_signed = false;
  bool is_bool = false;
  bool is_pointer = false;
};

struct BtfPrototype {
  struct Parameter {
    std::string_view name;
    BtfId type = 0;
  };
  std::vector<Parameter> parameters;
  BtfId returns = 0;

  // Its position; nullopt: there is none of that name.
  [[nodiscard]] std::optional<std::size_t> position(std::string_view parameter) const;
};

// A view: the section outlives it, and so does the base of a module's.
class Btf {
 public:
  // Errors (input): no BTF, cut off, or a kind of type of unknown length. `name` is for messages.
  static OrError<Btf> open(ConstByteSpan section, std::string_view name);
  // A module's types, whose ids and texts continue those of its kernel.
  static OrError<Btf> open_module(ConstByteSpan section, const Btf& kernel, std::string_view name);

  // How many types there are, void and those of the base included.
  [[nodiscard]] BtfId end() const { return first_ + static_cast<BtfId>(types_.size()); }
  // The first type of that kind and name; of a module, then of its kernel.
  [[nodiscard]] std::optional<BtfId> find(BtfKind kind, std::string_view name) const;

  // "kobj.name" of "device": through nested structures, and unnamed ones on the way. nullopt: there is none.
  [[nodiscard]] std::optional<BtfField> field(std::string_view structure, std::string_view path) const;
  [[nodiscard]] std::optional<std::uint64_t> size_of(std::string_view structure) const;
  [[nodiscard]] std::optional<std::uint64_t> size_of(BtfId type) const;
  [[nodiscard]] std::optional<BtfPrototype> function(std::string_view name) const;
  // The value of a name in an enumeration.
  [[nodiscard]] std::optional<std::uint32_t> enumerator(std::string_view enumeration,
                                                        std::string_view name) const;
  // nullopt: void, a structure, or no type.
  [[nodiscard]] std::optional<BtfScalar> scalar(BtfId type) const;

 private:
  struct Type {
    std::uint32_t name = 0;
    BtfKind kind{};
    bool flag = false;
    std::uint32_t count = 0;
    std::uint32_t size_or_type = 0;
    ConstByteSpan more;  // what follows struct btf_type
  };
  static OrError<Btf> read(ConstByteSpan section, const Btf* kernel, std::string_view name);
  bool index_types(ConstByteSpan types, ConstByteSpan layout);

  [[nodiscard]] std::optional<Type> type(BtfId id) const;
  [[nodiscard]] std::string_view text(std::uint32_t offset) const;
  [[nodiscard]] bool is_text(std::uint32_t offset, std::string_view wanted) const;
  // Without typedef, const, volatile, restrict and tags.
  [[nodiscard]] std::optional<BtfId> resolve(BtfId id) const;
  [[nodiscard]] std::optional<BtfId> find_structure(std::string_view name) const;
  // Structures that contain each other, as no compiler makes them, must not be searched forever.
  struct Search {
    unsigned depth = 0;
    std::uint32_t members_left = 1 << 16;
  };
  [[nodiscard]] std::optional<BtfField> member(BtfId structure, std::string_view name, Search& search) const;
  [[nodiscard]] BtfField member_at(const Type& structure, std::uint32_t index) const;

  const Btf* kernel_ = nullptr;
  BtfId first_ = 1;
  std::uint32_t first_text_ = 0;
  ConstByteSpan texts_;
  std::vector<ConstByteSpan> types_;  // from struct btf_type to the end of the type
};

}  // namespace cbit::linux
