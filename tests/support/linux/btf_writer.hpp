// Writes BTF as Documentation/bpf/btf.rst describes it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "support/linux/file_writer.hpp"

namespace cbit::test {

class BtfWriter {
 public:
  struct Member {
    std::string_view name;
    std::uint32_t type = 0;
    std::uint32_t bit_offset = 0;
    std::uint32_t bit_size = 0;  // of a bit field
  };
  struct Parameter {
    std::string_view name;
    std::uint32_t type = 0;
  };

  // Ids and texts of a module continue those of its kernel.
  explicit BtfWriter(std::uint32_t first_id = 1, std::uint32_t first_text = 0)
      : next_id_{first_id}, first_text_{first_text} {
    if (first_text == 0) texts_.put('\0');
  }

  std::uint32_t integer(std::string_view name, std::uint32_t bytes, std::uint32_t encoding = 0) {
    return add(name, 1, false, 0, bytes, ByteWriter{}.put(encoding << 24 | bytes * 8).bytes());
  }
  std::uint32_t pointer(std::uint32_t to) { return add("", 2, false, 0, to); }
  std::uint32_t array(std::uint32_t of, std::uint32_t elements) {
    return add("", 3, false, 0, 0, ByteWriter{}.put(of).put(of).put(elements).bytes());
  }
  std::uint32_t structure(std::string_view name, std::uint32_t bytes, const std::vector<Member>& members,
                          std::uint32_t kind = 4) {
    bool flag = false;
    for (const Member& member : members) flag = flag || member.bit_size != 0;
    ByteWriter more;
    for (const Member& member : members)
      more.put(text(member.name)).put(member.type).put(member.bit_offset | member.bit_size << 24);
    return add(name, kind, flag, static_cast<std::uint32_t>(members.size()), bytes, more.bytes());
  }
  std::uint32_t union_type(std::string_view name, std::uint32_t bytes, const std::vector<Member>& members) {
    return structure(name, bytes, members, 5);
  }
  std::uint32_t enumeration(std::string_view name, std::string_view value) {
    return add(name, 6, false, 1, 4, ByteWriter{}.put(text(value)).put(std::uint32_t{1}).bytes());
  }
  std::uint32_t alias(std::string_view name, std::uint32_t of, std::uint32_t kind = 8) {
    return add(name, kind, false, 0, of);
  }
  std::uint32_t function(std::string_view name, std::uint32_t returns,
                         const std::vector<Parameter>& parameters) {
    ByteWriter more;
    for (const Parameter& parameter : parameters) more.put(text(parameter.name)).put(parameter.type);
    const std::uint32_t prototype =
        add("", 13, false, static_cast<std::uint32_t>(parameters.size()), returns, more.bytes());
    return add(name, 12, false, 1, prototype);
  }
  std::uint32_t add(std::string_view name, std::uint32_t kind, bool flag, std::uint32_t count,
                    std::uint32_t size_or_type, const Bytes& more = {}) {
    types_.put(text(name)).put((flag ? 1u << 31 : 0u) | kind << 24 | count).put(size_or_type).append(more);
    return next_id_++;
  }

  [[nodiscard]] std::uint32_t next_id() const { return next_id_; }
  [[nodiscard]] std::uint32_t next_text() const {
    return first_text_ + static_cast<std::uint32_t>(texts_.size());
  }

  [[nodiscard]] Bytes section() {
    const auto type_bytes = static_cast<std::uint32_t>(types_.size());
    const auto text_bytes = static_cast<std::uint32_t>(texts_.size());
    return ByteWriter{}
        .put(std::uint16_t{0xeb9f})
        .put(std::uint16_t{1})
        .put(std::uint32_t{24})
        .put(std::uint32_t{0})
        .put(type_bytes)
        .put(type_bytes)
        .put(text_bytes)
        .append(types_.bytes())
        .append(texts_.bytes())
        .bytes();
  }

 private:
  std::uint32_t text(std::string_view text) {
    if (text.empty()) return 0;
    const std::uint32_t at = next_text();
    texts_.text(text).put('\0');
    return at;
  }

  std::uint32_t next_id_;
  std::uint32_t first_text_;
  ByteWriter types_;
  ByteWriter texts_;
};

}  // namespace cbit::test
