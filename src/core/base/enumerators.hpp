// How many enumerators an enum has, counted from 0 without a gap, so that a table of one row each can be held
// to be complete when it is compiled.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace cbit {

// A compiler prints a value that has no name as a cast: "(cbit::Platform)8".
template <auto value>
consteval bool is_enumerator() {
  const std::string_view name = __PRETTY_FUNCTION__;
  const char behind_cast = name[name.rfind(')') + 1];
  return behind_cast < '0' || behind_cast > '9';
}

template <class Enum, std::size_t n = 0>
consteval std::size_t enumerators() {
  if constexpr (is_enumerator<static_cast<Enum>(n)>())
    return enumerators<Enum, n + 1>();
  else
    return n;
}

// `rows` holds one row per enumerator, in their order; `Key` is the row's member that names it.
template <auto Key, class Row, std::size_t n>
consteval bool has_row_each(const Row (&rows)[n]) {
  using Enum = std::remove_cvref_t<decltype(rows[0].*Key)>;
  if (n != enumerators<Enum>()) return false;
  for (std::size_t i = 0; i < n; ++i)
    if (rows[i].*Key != static_cast<Enum>(i)) return false;
  return true;
}

}  // namespace cbit
