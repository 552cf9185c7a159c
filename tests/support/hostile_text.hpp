// Text that no parser of lines, words and numbers has a right to stumble over.
#pragma once

#include <string>

namespace cbit::testing {

inline const std::string hostile_text[] = {
    "",
    "\n\n\n",
    std::string(100'000, 'x'),
    std::string(5'000, '\0'),
    "\xff\xfe\x80 : \x01\n=\n:\n- : -\n",
    "99999999999999999999999999 99999999999999999999\n",
    "-1--1,,,\n",
};

}  // namespace cbit::testing
