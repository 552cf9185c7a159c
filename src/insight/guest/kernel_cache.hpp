// What kernels' files tell, kept from one run to the next: to unpack a kernel and to put its symbols in order
// takes up to half a second.
//
//   FOLDER/SHA-256 of the kernel's file
//     32 bytes   SHA-256 of the rest
//     the rest   which build of cbit wrote it, linux::Kernel::save()
//
// It is no more than a cache: what is damaged, of another build, or cannot be written is as if it were not
// there. The files that were used last stay, `files_max` of them.
//
// Threading and processes: any number may share a folder; a file is in it whole, or not at all.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "linux/kernel.hpp"

namespace cbit::guest {

class KernelCache {
 public:
  static constexpr std::size_t files_max = 8;

  // The folder need not be there yet. `build` is another for each program whose files have another form
  // (os/build_id.hpp); where one of the two is empty, nothing is kept.
  KernelCache(std::filesystem::path folder, std::string build)
      : folder_{std::move(folder)}, build_{std::move(build)} {}

  // As linux::Kernel::open(). A vmlinux, which is not packed, is read each time.
  [[nodiscard]] OrError<std::unique_ptr<linux::Kernel>> open(const Bytes& file, std::string_view name,
                                                             linux::SourceLines lines = {}) const;

 private:
  [[nodiscard]] std::unique_ptr<linux::Kernel> load(const std::filesystem::path& kept,
                                                    linux::SourceLines&& lines) const;
  void save(const std::filesystem::path& kept, linux::Kernel& kernel) const;
  void remove_oldest() const;

  std::filesystem::path folder_;
  std::string build_;
};

}  // namespace cbit::guest
