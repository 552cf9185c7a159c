// Addresses and numbers as they are typed into the monitor: 0x1000, $rip + 16, ($rsp & ~0xfff) - 8.
//
// Grammar and precedence are those of QEMU's monitor (monitor/hmp.c, get_expr()): unary + - ~, then * / %,
// then & | ^, then + and -; 0x and a leading 0 as in C; 'c' is a character's number. Numbers are unsigned, of
// 64 bits, and wrap.
// Threading: any.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/result.hpp"

namespace cbit::guest {

// The register of a name behind "$"; nullopt: there is none.
using RegisterLookup = std::function<std::optional<std::uint64_t>(std::string_view)>;

// All of the text. Errors (usage): it is no expression, or divides by zero.
[[nodiscard]] OrError<std::uint64_t> evaluate(std::string_view text, const RegisterLookup& lookup);

}  // namespace cbit::guest
