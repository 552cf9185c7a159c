/* What a driver's file has beside cbit/linux.h: words that a test's other headers have for themselves. */
#ifndef CBIT_DRIVER_DRIVER_H
#define CBIT_DRIVER_DRIVER_H

#include <cbit/linux.h>

#define __user
#define __init
#define __exit
#define __maybe_unused __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b) ((type)(a) > (type)(b) ? (type)(a) : (type)(b))

#endif
