// Names of addresses, of a kernel or of one module.
//
// Threading: immutable once built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/state_stream.hpp"
#include "cbit/addr.hpp"

namespace cbit::linux {

struct Symbol {
  VirtAddr at;
  std::string_view name;
  char type = '?';  // as nm(1) has it: T and t are code, A is an absolute value

  [[nodiscard]] bool is_absolute() const { return type == 'A' || type == 'a'; }
  friend bool operator==(const Symbol&, const Symbol&) = default;
};

class SymbolTable {
 public:
  void reserve(std::size_t symbols, std::size_t name_bytes);
  void add(VirtAddr at, char type, std::string_view name);
  // Between the last add() and the first question.
  void finish();

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  // In order of address; of one address, in the order in which they were added.
  [[nodiscard]] Symbol at(std::size_t index) const;

  // How many symbols have this name: of static functions there may be several.
  [[nodiscard]] std::size_t count(std::string_view name) const;
  // nullopt: there is none, or more than one.
  [[nodiscard]] std::optional<Symbol> find(std::string_view name) const;
  // The last symbol at or before the address that is not absolute, and of those at one address the first, as
  // kernel/kallsyms.c has it (get_symbol_pos); nullopt: the address lies before all.
  [[nodiscard]] std::optional<Symbol> nearest(VirtAddr address) const;

  // Loading: in the place of all add() and of finish().
  void transfer(StateStream& s);

 private:
  struct Entry {
    VirtAddr at;
    std::uint32_t name = 0;  // where in names_
    std::uint16_t name_bytes = 0;
    char type = '?';
    void transfer(StateStream& s);
  };
  [[nodiscard]] std::string_view name_of(const Entry& entry) const {
    return std::string_view{names_}.substr(entry.name, entry.name_bytes);
  }
  [[nodiscard]] std::pair<std::size_t, std::size_t> named(std::string_view name) const;

  std::vector<Entry> entries_;
  std::string names_;
  std::vector<std::uint32_t> by_name_;  // indices of entries_
};

}  // namespace cbit::linux
