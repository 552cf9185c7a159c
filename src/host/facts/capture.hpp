// A capture: what was asked of a host and what it said, as the files of a captured tree (host_tree.hpp),
// without secrets (masking.hpp).
//
// It holds exactly what a HostTree recorded, so that whoever reads it asks the same and hears the same. The
// same record gives the same files, and the same archive (capture_archive.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "facts/host_tree.hpp"

namespace cbit::facts {

enum class CaptureKind : std::uint8_t { file, folder, link };

struct CaptureEntry {
  CaptureKind kind = CaptureKind::file;
  std::string content;     // of a file; the target of a link
  std::size_t masked = 0;  // values that were masked

  friend bool operator==(const CaptureEntry&, const CaptureEntry&) = default;
};

// By path below the root, without a leading slash: "proc/cpuinfo".
using Capture = std::map<std::string, CaptureEntry, std::less<>>;

// `program` goes into capture.json: "cbit 0.1.0".
[[nodiscard]] Capture make_capture(const HostRecord& record, std::string_view program);

// What is in it, for people: one line per file, or per group of like ones, with sizes and masked values.
[[nodiscard]] std::string describe(const Capture& capture);

}  // namespace cbit::facts
