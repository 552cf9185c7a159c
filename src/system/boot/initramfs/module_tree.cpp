#include "boot/initramfs/module_tree.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/files.hpp"
#include "boot/initramfs/module_info.hpp"
#include "boot/kernel_source/kernel_tree.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;

template <class Visit>
void for_each_piece(std::string_view text, char separator, Visit&& visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end != 0) visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string name_of_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return module_name_of(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

bool is_module_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".ko") || name.ends_with(".ko.xz") || name.ends_with(".ko.gz") ||
         name.ends_with(".ko.zst");
}

// nullopt: the file is not there.
std::optional<std::string> text_of(const fs::path& path) {
  constexpr std::uint64_t list_bytes_max = 64 << 20;
  const auto bytes = read_file(path, list_bytes_max);
  if (!bytes) return std::nullopt;
  return std::string{reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

}  // namespace

std::map<std::string, std::vector<std::string>, std::less<>> parse_modules_dep(std::string_view text) {
  std::map<std::string, std::vector<std::string>, std::less<>> found;
  for_each_piece(text, '\n', [&](std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    std::vector<std::string>& needs = found[name_of_path(line.substr(0, colon))];
    for_each_piece(line.substr(colon + 1), ' ',
                   [&](std::string_view path) { needs.push_back(name_of_path(path)); });
    // depmod(8) lists what is needed last first.
    std::ranges::reverse(needs);
  });
  return found;
}

// Follows dependencies; what was visited is not visited again, so that a circle ends.
class ModuleTree::Ordering {
 public:
  Ordering(const ModuleTree& tree, std::span<const ModuleFile> added) : tree_{&tree} {
    for (const ModuleFile& file : added) added_.emplace(module_name_of(file.name), &file);
  }

  OrError<void> add(const std::string& name) {
    if (!visited_.insert(name).second) return {};
    if (const auto own = added_.find(name); own != added_.end()) return add_own(*own->second);
    if (tree_->is_builtin(name)) return {};
    if (!tree_->has(name))
      return bad_input(fmt::format("{} has no module {}", tree_->folder_.string(), name),
                       tree_->is_built_here_
                           ? "turn it on in the tree's .config and make it; --module takes a file"
                           : "see its folder kernel/ for what there is; --module takes a file");
    Bytes contents = CBIT_TRY(tree_->contents(name));
    const auto listed = tree_->dependencies_.find(name);
    const std::vector<std::string> needs = listed != tree_->dependencies_.end()
                                               ? listed->second
                                               : CBIT_TRY(read_module_info(contents, name)).depends;
    for (const std::string& needed : needs) CBIT_TRY(add(needed));
    order_.push_back({name, std::move(contents)});
    return {};
  }
  [[nodiscard]] std::vector<ModuleFile> take() && { return std::move(order_); }

 private:
  OrError<void> add_own(const ModuleFile& file) {
    const ModuleInfo info = CBIT_TRY(read_module_info(file.contents, file.name));
    if (!tree_->is_built_here_) {
      const std::string kernel = CBIT_TRY(tree_->vermagic());
      CBIT_TRY(check_vermagic(info, kernel));
    }
    for (const std::string& needed : info.depends) CBIT_TRY(add(needed));
    order_.push_back({module_name_of(file.name), file.contents});
    return {};
  }

  const ModuleTree* tree_;
  std::map<std::string, const ModuleFile*> added_;
  std::set<std::string> visited_;
  std::vector<ModuleFile> order_;
};

OrError<void> ModuleTree::find_installed() {
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at{folder_, options, error}, end; !error && at != end;
       at.increment(error))
    if (is_module_file(at->path()) && at->is_regular_file(error))
      files_.emplace(name_of_path(at->path().string()), at->path());
  if (!error && !files_.empty()) return {};
  return bad_input(fmt::format("{} holds no kernel modules{}", folder_.string(),
                               error ? ": " + error.message() : std::string{}),
                   "name the folder lib/modules/RELEASE of the kernel");
}

// modules.order names their files, in newer kernels their objects: cmd_modules_order of Linux 6.1, and
// cmd_gen_order of 6.12, scripts/Makefile.build. Other files of modules in a tree may be older, or
// were installed there.
void ModuleTree::find_built() {
  for_each_piece(text_of(folder_ / "modules.order").value_or(std::string{}), '\n',
                 [&](std::string_view line) {
                   const fs::path path = (folder_ / line).replace_extension(".ko");
                   std::error_code error;
                   if (fs::is_regular_file(path, error)) files_.emplace(name_of_path(path.string()), path);
                 });
}

OrError<ModuleTree> ModuleTree::open(const fs::path& folder) {
  ModuleTree tree;
  tree.folder_ = folder;
  tree.is_built_here_ = is_kernel_tree(folder);
  if (tree.is_built_here_)
    tree.find_built();
  else
    CBIT_TRY(tree.find_installed());
  tree.dependencies_ = parse_modules_dep(text_of(folder / "modules.dep").value_or(std::string{}));
  if (const auto list = text_of(folder / "modules.builtin")) {
    tree.builtin_.emplace();
    for_each_piece(*list, '\n', [&](std::string_view path) { tree.builtin_->insert(name_of_path(path)); });
  }
  return tree;
}

bool ModuleTree::is_builtin(std::string_view name) const {
  return builtin_ ? builtin_->contains(module_name_of(name)) : !has(name);
}

bool ModuleTree::has(std::string_view name) const { return files_.contains(module_name_of(name)); }

bool ModuleTree::provides(std::string_view name) const {
  return has(name) || (builtin_ && builtin_->contains(module_name_of(name)));
}

OrError<Bytes> ModuleTree::contents(const std::string& name) const {
  const fs::path& path = files_.find(name)->second;
  return unpack_module(CBIT_TRY(read_file(path)), path.string());
}

OrError<std::vector<ModuleFile>> ModuleTree::in_order(std::span<const std::string> names,
                                                      std::span<const ModuleFile> added) const {
  Ordering ordering{*this, added};
  for (const std::string& name : names) CBIT_TRY(ordering.add(module_name_of(name)));
  for (const ModuleFile& file : added) CBIT_TRY(ordering.add(module_name_of(file.name)));
  return std::move(ordering).take();
}

OrError<std::string> ModuleTree::vermagic() const {
  const auto& [name, path] = *files_.begin();
  const Bytes module = CBIT_TRY(contents(name));
  return CBIT_TRY(read_module_info(module, path.string())).vermagic;
}

}  // namespace cbit::boot
