// bzImage: reading its header, and loading it by the 64-bit boot protocol. Documentation/x86/boot.rst.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "boot/boot_image.hpp"
#include "boot/plan.hpp"

namespace cbit::boot {

// What compresses the kernel inside; boot.rst, payload_offset, and scripts/Makefile.lib for zstd and lzo.
enum class Compression : std::uint8_t { none, gzip, bzip2, lzma, xz, lzo, lz4, zstd, unknown };
[[nodiscard]] std::string_view to_string(Compression compression);
// By the first bytes.
[[nodiscard]] Compression compression_of(ConstByteSpan payload);

// What an image tells about a feature that it was built with or without.
enum class Answer : std::uint8_t { no, yes, unknown };

// Parts of the file, which outlives it.
struct BzImage {
  spec::LinuxSetupHeader header;
  ConstByteSpan setup_header;    // as long as it says itself; goes into boot_params
  ConstByteSpan protected_mode;  // what is loaded
  ConstByteSpan payload;         // the compressed kernel in it; empty: not known where
  std::string version;           // "6.1.0-13-amd64 (debian-kernel@...) #1 SMP ..."; empty: it has none

  // The first word of `version`.
  [[nodiscard]] std::string_view release() const;
  [[nodiscard]] std::uint64_t alignment() const { return header.kernel_alignment; }
  // Built with CONFIG_AMD_MEM_ENCRYPT. Older kernels than 5.19 do not tell.
  [[nodiscard]] Answer memory_encryption() const;
};

// The file begins as a Linux image does, of whatever protocol and processor.
[[nodiscard]] bool is_bzimage(ConstByteSpan file);

// Errors (input): not a Linux image, cut off, too old, without a 64-bit entry. `name` is for messages.
OrError<BzImage> read_bzimage(ConstByteSpan file, std::string_view name);

// The image at its preferred address, boot_params, command line and initrd, entered at its 64-bit entry with
// every page mapped to itself. Errors (input): those of read_bzimage(); too little memory; a command line
// that is too long; with SEV or SME, a kernel that cannot do it.
OrError<LoadPlan> plan_bzimage(const Board& board, const BootImage& image);

}  // namespace cbit::boot
