// A kernel's symbols as an ELF file, as debuggers read it: what a vmlinux without code and debug information
// would be.
//
// Addresses are those of the kernel's file, so they are a running kernel's where KASLR does not move it
// (nokaslr). Functions are in sections of code, which lie where the kernel's own symbols say: a debugger
// tells functions from data by that. Threading: any.
#pragma once

#include "base/bytes.hpp"
#include "linux/kernel.hpp"

namespace cbit::linux {

[[nodiscard]] Bytes to_symbol_file(const Kernel& kernel);

}  // namespace cbit::linux
