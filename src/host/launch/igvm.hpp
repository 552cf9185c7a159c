// What an IGVM file (Independent Guest Virtual Machine) says of itself: the platforms that it is for.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.hpp"

namespace cbit::launch {

// igvm_defs: IGVM_FIXED_HEADER, IGVM_VHS_SUPPORTED_PLATFORM, IgvmPlatformType.
struct IgvmFile {
  bool valid = false;  // the magic number, and headers that lie in the file
  bool sev_snp = false;
  bool tdx = false;
  friend bool operator==(const IgvmFile&, const IgvmFile&) = default;
};

// Never fails: what is no IGVM file is not valid.
[[nodiscard]] IgvmFile parse_igvm(std::span<const std::byte> file);
// Errors (input): no file, not readable, larger than 64 MiB.
[[nodiscard]] OrError<IgvmFile> read_igvm(const std::string& path);

}  // namespace cbit::launch
