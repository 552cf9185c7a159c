// libarchive's handles, as owners of themselves.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string_view>

namespace cbit::boot {

struct FreeArchive {
  void operator()(archive* a) const { archive_free(a); }
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};
using ArchiveHandle = std::unique_ptr<archive, FreeArchive>;
using EntryHandle = std::unique_ptr<archive_entry, FreeArchive>;

[[nodiscard]] inline std::string_view archive_trouble(archive* a) {
  const char* const why = archive_error_string(a);
  return why != nullptr ? why : "unknown error";
}

}  // namespace cbit::boot
