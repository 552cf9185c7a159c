#include "facts/capture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "facts/masking.hpp"

namespace cbit::facts {
namespace {

// "/sys//class/./net/" as "sys/class/net". nullopt: it goes up (`..`), which no tree can repeat, or is empty.
std::optional<std::string> relative(std::string_view path) {
  std::string clean;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    if (name.empty() || name == ".") continue;
    if (name == ".." || name.find('\0') != std::string_view::npos) return std::nullopt;
    clean += clean.empty() ? "" : "/";
    clean += name;
  }
  return clean.empty() ? std::nullopt : std::optional{clean};
}

// The paths of a record as a capture has them, without what names of devices would tell (facts/masking.hpp).
class Cleaner {
 public:
  std::optional<std::string> operator()(std::string_view path) {
    const auto clean = relative(path);
    return clean ? std::optional{masked(*clean)} : std::nullopt;
  }

  // Of a link's target, too: `..` stays.
  std::string masked(std::string_view path) {
    std::string result;
    std::string_view folder;
    while (!path.empty()) {
      const std::size_t end = std::min(path.find('/'), path.size());
      const std::string_view name = path.substr(0, end);
      result += component(folder, name);
      if (end < path.size()) result += '/';
      path.remove_prefix(std::min(end + 1, path.size()));
      folder = name;
    }
    return result;
  }

 private:
  std::string component(std::string_view folder, std::string_view name) {
    constexpr std::string_view config = "config-";
    if (name.starts_with(config)) return std::string{config} + mask_release(name.substr(config.size())).text;
    if (name.empty() || name == "." || name == ".." || is_kept_name(folder, name)) return std::string{name};
    const auto [at, added] = names_.try_emplace(std::string{name}, "");
    if (added) at->second = fmt::format("masked-{}", names_.size());
    return at->second;
  }

  std::map<std::string, std::string, std::less<>> names_;
};

// What a link's target is called; "object" where that is no name.
std::string_view last_component(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name.empty() || name == "." || name == ".." ? "object" : name;
}

bool is_below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

using Names = std::map<std::string, std::string, std::less<>>;

// Where things lie in the capture. Files that were read through a link ("device/class") lie in a folder of
// their own, to which the link leads, because a path cannot be both a link and a folder.
class Places {
 public:
  Places(const HostRecord& record, Cleaner& clean_path) {
    Names links;
    for (const auto& [path, target] : record.links)
      if (const auto clean = clean_path(path); clean && target)
        links.emplace(*clean, last_component(clean_path.masked(*target)));
    const auto claim = [&](const auto& asked) {
      for (const auto& [path, answer] : asked)
        if (const auto clean = clean_path(path)) note_ways(*clean, links);
    };
    claim(record.files);
    claim(record.folders);
    claim(record.links);
  }

  [[nodiscard]] std::string of(const std::string& path) const {
    const auto* const link = nearest(path);
    return link == nullptr ? path : link->second + path.substr(link->first.size());
  }
  // Where what lies behind a link is kept; empty: nothing was read through it.
  [[nodiscard]] std::string behind(const std::string& link) const {
    const auto found = behind_.find(link);
    return found == behind_.end() ? std::string{} : found->second;
  }

 private:
  void note_ways(const std::string& path, const Names& links) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      const std::string way = path.substr(0, slash);
      if (const auto link = links.find(way); link != links.end())
        behind_.try_emplace(way, fmt::format("cbit/behind/{}/{}", behind_.size(), link->second));
    }
  }
  [[nodiscard]] const std::pair<const std::string, std::string>* nearest(const std::string& path) const {
    const std::pair<const std::string, std::string>* found = nullptr;
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      if (const auto way = behind_.find(path.substr(0, slash)); way != behind_.end()) found = &*way;
    return found;
  }

  Names behind_;  // link to its folder
};

// A target that leads from `from` to `to`, both below the root.
std::string way_between(std::string_view from, std::string_view to) {
  std::string way;
  for (std::size_t n = 0; n < static_cast<std::size_t>(std::ranges::count(from, '/')); ++n) way += "../";
  return way + std::string{to};
}

bool stays_inside(std::string_view link, std::string_view target) {
  if (target.starts_with('/')) return false;
  auto depth = std::ranges::count(link, '/');
  while (!target.empty()) {
    const std::string_view name = target.substr(0, target.find('/'));
    target.remove_prefix(std::min(name.size() + 1, target.size()));
    if (name == "..") --depth;
    if (depth < 0) return false;
    if (name != ".." && name != "." && !name.empty()) ++depth;
  }
  return true;
}

class Maker {
 public:
  explicit Maker(const HostRecord& record) : record_{record}, places_{record, clean_path_} {}

  Capture make(std::string_view program) {
    add_files();
    add_links();
    add_folders();
    add_processor();
    add_devices();
    add_log();
    add_unread();
    add_manifest(program);
    return std::move(capture_);
  }

 private:
  void put(const std::string& path, std::string content, std::size_t masked = 0) {
    capture_.insert_or_assign(path, CaptureEntry{CaptureKind::file, std::move(content), masked});
  }

  void refused(std::string_view path, Unread why) {
    const auto clean = clean_path_(path);
    const bool writable = clean && clean->find_first_of(" \t\r\n#") == std::string::npos;
    if (why != Unread::absent && writable) unread_.emplace("/" + *clean, why);
  }

  void add_files() {
    for (const auto& [path, text] : record_.files) {
      const auto clean = clean_path_(path);
      if (!clean) continue;
      if (!text) {
        refused(path, text.error());
        continue;
      }
      Masked masked = mask_file(path, *text);
      put(places_.of(*clean), std::move(masked.text), masked.values);
    }
  }

  void add_links() {
    for (const auto& [path, target] : record_.links) {
      const auto clean = clean_path_(path);
      if (!clean) continue;
      if (!target) {
        refused(path, target.error());
        continue;
      }
      const std::string place = places_.of(*clean);
      const std::string behind = places_.behind(*clean);
      const std::string to = clean_path_.masked(*target);
      std::string shown = !behind.empty()           ? way_between(place, behind)
                          : stays_inside(place, to) ? to
                                                    : std::string{last_component(to)};
      capture_.insert_or_assign(place, CaptureEntry{CaptureKind::link, std::move(shown), 0});
    }
  }

  // A name that was listed, and of which nothing was read, is an empty folder.
  void add_folders() {
    for (const auto& [path, names] : record_.folders) {
      const auto clean = clean_path_(path);
      if (!clean) continue;
      if (!names) {
        refused(path, names.error());
        continue;
      }
      add_folder(places_.of(*clean + "/."));
      for (const std::string& name : *names)
        if (const auto below = clean_path_(path + "/" + name)) add_folder(places_.of(*below));
    }
  }

  void add_folder(std::string place) {
    if (place.ends_with("/.")) place.resize(place.size() - 2);
    const auto next = capture_.lower_bound(place);
    const bool there = next != capture_.end() && (next->first == place || is_below(next->first, place));
    if (!there) capture_.emplace(place, CaptureEntry{CaptureKind::folder, {}, 0});
  }

  void add_processor() {
    std::string leaves, msrs;
    for (const auto& [leaf, regs] : record_.cpuid)
      if (regs)
        leaves += fmt::format("{:08x} {:08x} {:08x} {:08x} {:08x} {:08x}\n", leaf.first, leaf.second,
                              regs->eax, regs->ebx, regs->ecx, regs->edx);
    for (const auto& [index, value] : record_.msrs) {
      if (value)
        msrs += fmt::format("{:08x} {:016x}\n", index, *value);
      else
        refused(msr_device, value.error());
    }
    if (!leaves.empty()) put("cbit/cpuid", "# leaf subleaf eax ebx ecx edx\n" + leaves);
    if (!msrs.empty()) put("cbit/msr", "# index value\n" + msrs);
  }

  void add_devices() {
    std::string lines;
    for (const auto& [path, state] : record_.devices)
      lines += fmt::format("{} {}\n", path, word_of(device_state_words, state));
    if (!lines.empty()) put("cbit/devices", "# path state\n" + lines);
  }

  void add_log() {
    if (!record_.kernel_log) return;
    if (!*record_.kernel_log) return refused(kmsg_device, record_.kernel_log->error());
    Masked masked = mask_kernel_log(**record_.kernel_log);
    put("cbit/kernel.log", std::move(masked.text), masked.values);
  }

  void add_unread() {
    std::string lines;
    for (const auto& [path, why] : unread_) lines += fmt::format("{} {}\n", path, word_of(unread_words, why));
    if (!lines.empty()) put("cbit/unread", "# path reason\n" + lines);
  }

  void add_manifest(std::string_view program) {
    nlohmann::ordered_json manifest{{"version", 1},
                                    {"origin", "cbit doctor --capture"},
                                    {"program", std::string{program}},
                                    {"masked", nlohmann::ordered_json::object()}};
    for (const auto& [path, entry] : capture_)
      if (entry.masked != 0) manifest["masked"][printable(path)] = entry.masked;
    put("cbit/capture.json", json_text(manifest, 2) + "\n");
  }

  const HostRecord& record_;
  Cleaner clean_path_;
  Places places_;
  Capture capture_;
  std::map<std::string, Unread, std::less<>> unread_;
};

// Files of many like objects are one line of the description.
std::string group_of(std::string_view path) {
  constexpr std::string_view crowds[] = {
      "sys/bus/pci/devices",     "sys/bus/virtio/devices", "sys/bus/nd/devices",
      "sys/kernel/iommu_groups", "sys/class/infiniband",   "sys/class/drm",
      "sys/class/iommu",         "sys/firmware/memmap",    "cbit/behind"};
  for (const std::string_view crowd : crowds)
    if (path == crowd || is_below(path, crowd)) return std::string{crowd} + "/";
  return std::string{path};
}

}  // namespace

Capture make_capture(const HostRecord& record, std::string_view program) {
  return Maker{record}.make(program);
}

std::string describe(const Capture& capture) {
  struct Group {
    std::size_t files = 0, bytes = 0, masked = 0;
  };
  std::map<std::string, Group> groups;
  for (const auto& [path, entry] : capture) {
    Group& group = groups[group_of(path)];
    group.files += entry.kind == CaptureKind::folder ? 0 : 1;
    group.bytes += entry.kind == CaptureKind::file ? entry.content.size() : 0;
    group.masked += entry.masked;
  }
  std::string text;
  for (const auto& [path, group] : groups) {
    const bool crowd = path.ends_with('/');
    text += fmt::format("  {:<42} ", printable(path));
    if (crowd && group.files == 0)
      text += "empty";
    else
      text += fmt::format("{:>6} bytes", group.bytes);
    if (crowd && group.files != 0) text += fmt::format(" in {} files", group.files);
    if (group.masked != 0)
      text += fmt::format(", {} value{} masked", group.masked, group.masked == 1 ? "" : "s");
    text += '\n';
  }
  return text;
}

}  // namespace cbit::facts
