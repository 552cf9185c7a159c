// The kernel's own table of symbols, which a stripped kernel still has: kernel/kallsyms.c,
// scripts/kallsyms.c.
//
// Nothing names the table's parts in a stripped file. They are found by what they are: the table of tokens
// has every digit as a token of its own, an index lies behind it, and a list of names with markers every 256
// names before it. Each candidate is checked against all of that.
#pragma once

#include "base/result.hpp"
#include "linux/image.hpp"
#include "linux/symbols.hpp"

namespace cbit::linux {

// Where the kernel's image is linked to, before KASLR moves it (arch/x86/include/asm/page_64_types.h:
// __START_KERNEL_map, and KERNEL_IMAGE_SIZE at its largest).
inline constexpr VirtAddr kernel_map_start{0xffff'ffff'8000'0000};
inline constexpr std::uint64_t kernel_map_bytes = 1ull << 30;

// Addresses are those of the file; KASLR adds its slide to all that are not absolute. Errors (input): no
// table is found, as in a kernel without CONFIG_KALLSYMS.
OrError<SymbolTable> read_kallsyms(const KernelImage& image, std::string_view name);

// The same on the bytes of one segment that begins at `at`; nullopt: there is no table in it.
[[nodiscard]] std::optional<SymbolTable> find_kallsyms(ConstByteSpan segment, VirtAddr at);

}  // namespace cbit::linux
