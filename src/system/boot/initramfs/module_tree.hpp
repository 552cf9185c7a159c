// A kernel's modules, lib/modules/RELEASE or the tree that it was built in: which files a module needs, in
// the order in which insmod takes them.
//
// Dependencies are those of modules.dep where depmod has made one, else what each module says itself (a
// package that was unpacked but not installed has no modules.dep).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::boot {

struct ModuleFile {
  std::string name;  // "virtio_ring"
  Bytes contents;    // unpacked
};

class ModuleTree {
 public:
  // Errors (input): there is no such folder, or no module in it; a tree may be without.
  static OrError<ModuleTree> open(const std::filesystem::path& folder);

  // In a tree the kernel may have been made anew, and the modules not: each that is used is looked at, and
  // none stands for the kernel.
  [[nodiscard]] bool is_built_here() const { return is_built_here_; }

  // Part of the kernel itself (modules.builtin). Where that list is missing, as in a part of a kernel's
  // packages, whatever is no module is taken to be built in.
  [[nodiscard]] bool is_builtin(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
  // The kernel is known to have it, as a module or built in: not merely taken to.
  [[nodiscard]] bool provides(std::string_view name) const;

  // The named modules, each after those that it needs; what is built in is left out. Then the files that the
  // user adds, in his order, after what they need. Errors (input): a name that is neither here nor built in
  // nor among the user's; a file that is no module, or that another kernel is for.
  [[nodiscard]] OrError<std::vector<ModuleFile>> in_order(std::span<const std::string> names,
                                                          std::span<const ModuleFile> added = {}) const;

  // Of one of its modules, not in a tree: what the kernel's own is like. Errors (input): it cannot be read.
  [[nodiscard]] OrError<std::string> vermagic() const;

 private:
  class Ordering;

  // All files of modules in a folder; those that `make` lists in a tree that it builds.
  OrError<void> find_installed();
  void find_built();
  [[nodiscard]] OrError<Bytes> contents(const std::string& name) const;

  std::filesystem::path folder_;
  bool is_built_here_ = false;
  std::map<std::string, std::filesystem::path, std::less<>> files_;  // by name
  std::map<std::string, std::vector<std::string>, std::less<>>
      dependencies_;                                           // modules.dep; empty: there is none
  std::optional<std::set<std::string, std::less<>>> builtin_;  // nullopt: there is no list
};

// The lines of modules.dep: module → what it needs, as names, in the order to load them in.
[[nodiscard]] std::map<std::string, std::vector<std::string>, std::less<>> parse_modules_dep(
    std::string_view text);

}  // namespace cbit::boot
