#include "facts/host_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.hpp"
#include "cbit/addr.hpp"
#include "facts/live_host.hpp"
#include "facts/rooted_open.hpp"

namespace cbit::facts {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds patience{2};

Read<std::string> read_all(int fd, std::uint64_t bytes_max) {
  const Clock::time_point deadline = Clock::now() + patience;
  std::string text;
  for (;;) {
    constexpr std::size_t chunk = 16384;
    const std::size_t have = text.size();
    text.resize(have + chunk);
    const ssize_t n = ::read(fd, text.data() + have, chunk);
    text.resize(have + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return text;
    if (n < 0 && errno == EAGAIN) return tl::unexpected{Unread::too_slow};
    // sysfs' show() functions return all kinds of errors, -EINVAL among them.
    if (n < 0 && errno != EINTR)
      return tl::unexpected{errno == EACCES || errno == EPERM ? Unread::denied : Unread::io_error};
    if (text.size() > bytes_max) return tl::unexpected{Unread::too_large};
    if (Clock::now() > deadline) return tl::unexpected{Unread::too_slow};
  }
}

// Calls `row(words)` for each line with words; an Error names the line for which it returns false.
template <class Row>
OrError<void> for_lines(std::string_view text, std::string_view file, Row&& row) {
  std::size_t number = 0;
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line.substr(0, line.find('#')));
    ++number;
    if (!words.empty() && !row(words))
      return bad_input(fmt::format("{}:{}: not a line of this format", file, number),
                       "docs/doctor-capture.md describes the files of a captured tree");
  }
  return {};
}

// All words as hexadecimal numbers of at most `bits` bits.
template <std::size_t n>
std::optional<std::array<std::uint64_t, n>> numbers(const std::vector<std::string_view>& words,
                                                    unsigned bits) {
  std::array<std::uint64_t, n> values{};
  if (words.size() != n) return std::nullopt;
  for (std::size_t i = 0; i < n; ++i) {
    const auto value = hexadecimal(words[i]);
    if (!value || *value > bit_mask(bits)) return std::nullopt;
    values[i] = *value;
  }
  return values;
}

OrError<void> check_version(const Read<std::string>& file, const std::string& root) {
  if (!file)
    return bad_input(
        fmt::format("{} is no captured tree: cbit/capture.json: {}", root, to_string(file.error())),
        "make one with `cbit doctor --capture FILE.tar.zst` and unpack it");
  const auto json = nlohmann::json::parse(*file, nullptr, false);
  const bool is_object = json.is_object() && json.contains("version") && json["version"].is_number_unsigned();
  if (!is_object)
    return bad_input(fmt::format("{}/cbit/capture.json is no object with a \"version\"", root),
                     "docs/doctor-capture.md describes the files of a captured tree");
  if (json["version"] != 1)
    return bad_input(fmt::format("{} is a captured tree of version {}; this program reads version 1", root,
                                 json["version"].dump()),
                     "use the cbit that made it, or a newer one");
  return {};
}

}  // namespace

std::string_view to_string(Unread why) {
  switch (why) {
    case Unread::absent: return "absent";
    case Unread::denied: return "permission denied";
    case Unread::not_a_file: return "not a file";
    case Unread::too_large: return "too large";
    case Unread::too_slow: return "no end to it";
    case Unread::io_error: return "I/O error";
  }
  return "?";
}

OrError<HostTree> HostTree::open(const std::string& root) {
  const int fd = ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return bad_input(fmt::format("cannot read the folder {}: {}", root, to_string(unread_from_errno(errno))),
                     "--root takes / or a captured tree");
  HostTree tree{fd, root == "/"};
  if (!tree.live_) CBIT_TRY(tree.load_capture(root));
  return tree;
}

HostTree HostTree::of_log(std::string text) {
  HostTree tree{-1, false};
  tree.log_ = std::move(text);
  return tree;
}

HostTree::HostTree(HostTree&& other) noexcept
    : root_{std::exchange(other.root_, -1)},
      live_{other.live_},
      refused_{std::move(other.refused_)},
      devices_{std::move(other.devices_)},
      cpuid_{std::move(other.cpuid_)},
      msrs_{std::move(other.msrs_)},
      log_{std::move(other.log_)},
      record_{std::move(other.record_)} {}

HostTree::~HostTree() {
  if (root_ >= 0) ::close(root_);
}

OrError<void> HostTree::load_capture(const std::string& root) {
  CBIT_TRY(check_version(read_unrecorded("/cbit/capture.json", host_file_bytes_max), root));
  const auto text_of = [&](std::string_view path) {
    return read_unrecorded(path, host_file_bytes_max).value_or(std::string{});
  };
  CBIT_TRY(for_lines(text_of("/cbit/cpuid"), root + "/cbit/cpuid", [&](const auto& words) {
    const auto values = numbers<6>(words, 32);
    if (!values) return false;
    const auto reg = [&](std::size_t i) { return static_cast<std::uint32_t>((*values)[i]); };
    cpuid_[{reg(0), reg(1)}] = {reg(2), reg(3), reg(4), reg(5)};
    return true;
  }));
  CBIT_TRY(for_lines(text_of("/cbit/msr"), root + "/cbit/msr", [&](const auto& words) {
    const auto values = numbers<2>(words, 64);
    if (values) msrs_[(*values)[0]] = (*values)[1];
    return values.has_value();
  }));
  CBIT_TRY(for_lines(text_of("/cbit/devices"), root + "/cbit/devices", [&](const auto& words) {
    const auto state = words.size() == 2 ? find_word(device_state_words, words[1]) : std::nullopt;
    if (state) devices_[std::string{words[0]}] = *state;
    return state.has_value();
  }));
  return for_lines(text_of("/cbit/unread"), root + "/cbit/unread", [&](const auto& words) {
    const auto why = words.size() == 2 ? find_word(unread_words, words[1]) : std::nullopt;
    if (why) refused_[std::string{words[0]}] = *why;
    return why.has_value();
  });
}

Unread HostTree::refine(std::string_view path, Unread why) const {
  const auto found = refused_.find(path);
  return why == Unread::absent && found != refused_.end() ? found->second : why;
}

Read<std::string> HostTree::read_unrecorded(std::string_view path, std::uint64_t bytes_max) const {
  if (root_ < 0) return tl::unexpected{Unread::absent};
  const Read<OpenFile> file = open_file_in(root_, path);
  if (!file) return tl::unexpected{refine(path, file.error())};
  return read_all(file->fd(), bytes_max);
}

Read<std::string> HostTree::read(std::string_view path, std::uint64_t bytes_max) const {
  Read<std::string> text = read_unrecorded(path, bytes_max);
  if (record_) record_->files.insert_or_assign(std::string{path}, text);
  return text;
}

Read<std::vector<std::string>> HostTree::list(std::string_view path) const {
  const auto names = [&]() -> Read<std::vector<std::string>> {
    if (root_ < 0) return tl::unexpected{Unread::absent};
    const Read<OpenFile> folder = open_folder_in(root_, path);
    if (!folder) return tl::unexpected{refine(path, folder.error())};
    const int fd = ::dup(folder->fd());
    DIR* const entries = fd < 0 ? nullptr : ::fdopendir(fd);
    if (entries == nullptr) return tl::unexpected{Unread::io_error};
    std::vector<std::string> found;
    while (const dirent* entry = ::readdir(entries))
      if (entry->d_name[0] != '.' && found.size() <= host_list_max) found.emplace_back(entry->d_name);
    ::closedir(entries);
    if (found.size() > host_list_max) return tl::unexpected{Unread::too_large};
    std::ranges::sort(found);
    return found;
  }();
  if (record_) record_->folders.insert_or_assign(std::string{path}, names);
  return names;
}

Read<std::string> HostTree::link(std::string_view path) const {
  Read<std::string> target = tl::unexpected{Unread::absent};
  if (root_ >= 0) target = read_link_in(root_, path).map_error([&](Unread why) { return refine(path, why); });
  if (record_) record_->links.insert_or_assign(std::string{path}, target);
  if (!target) return target;
  const std::size_t end = target->find_last_not_of('/');
  if (end == std::string::npos) return std::string{};
  const std::size_t slash = target->rfind('/', end);
  const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return target->substr(begin, end + 1 - begin);
}

DeviceState HostTree::device(std::string_view path) const {
  const auto state = [&] {
    if (live_) return live_device(std::string{path});
    const auto found = devices_.find(path);
    return found == devices_.end() ? DeviceState::absent : found->second;
  }();
  if (record_) record_->devices.insert_or_assign(std::string{path}, state);
  return state;
}

std::optional<CpuidRegs> HostTree::cpuid(std::uint32_t leaf, std::uint32_t subleaf) const {
  const auto regs = [&]() -> std::optional<CpuidRegs> {
    if (live_) return live_cpuid(leaf, subleaf);
    const auto found = cpuid_.find({leaf, subleaf});
    return found == cpuid_.end() ? std::nullopt : std::optional{found->second};
  }();
  if (record_) record_->cpuid.insert_or_assign({leaf, subleaf}, regs);
  return regs;
}

Read<std::uint64_t> HostTree::msr(std::uint32_t index) const {
  const auto value = [&]() -> Read<std::uint64_t> {
    if (live_) return live_msr(index);
    const auto found = msrs_.find(index);
    if (found == msrs_.end()) return tl::unexpected{refine(msr_device, Unread::absent)};
    return found->second;
  }();
  if (record_) record_->msrs.insert_or_assign(index, value);
  return value;
}

Read<std::string> HostTree::kernel_log() const {
  if (log_) return *log_;
  Read<std::string> log =
      live_ ? live_kernel_log() : read_unrecorded("/cbit/kernel.log", kernel_log_bytes_max);
  if (!live_ && !log) log = tl::unexpected{refine(kmsg_device, log.error())};
  if (record_) record_->kernel_log = log;
  return log;
}

const HostRecord& HostTree::record() const {
  static const HostRecord nothing;
  return record_ ? *record_ : nothing;
}

}  // namespace cbit::facts
