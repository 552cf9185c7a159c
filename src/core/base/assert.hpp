// Assertions about our own code, on in every build. Nothing that a guest, a device or a user supplies may
// reach one: such trouble is a Fault or an Error (base/result.hpp).
#pragma once

namespace cbit {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}

#define CBIT_ASSERT(expr) \
  ((expr) ? static_cast<void>(0) : ::cbit::assertion_failed(#expr, __FILE_NAME__, __LINE__))

#ifdef NDEBUG
#define CBIT_ASSERT_SLOW(expr) static_cast<void>(0)
#else
#define CBIT_ASSERT_SLOW(expr) CBIT_ASSERT(expr)
#endif
