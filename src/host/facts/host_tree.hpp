// The only way to the host: the files, links and folders of /proc, /sys and /dev, the CPUID instruction, and
// the kernel's log; of the running system, or of a captured tree (docs/doctor-capture.md).
//
// It reads only, and it never waits: FIFOs, sockets and devices are not opened, what is larger than the
// caller's bound or trickles in for seconds is refused, and every listing is bounded. What is read is bytes:
// binary, truncated and lying files are the parsers' business. Links are followed as after chroot() into the
// root, so none leads out of a captured tree.
//
// A captured tree is a folder with the files under their paths, and beside them
//   cbit/capture.json  {"version": 1, ...}: makes the folder a captured tree
//   cbit/cpuid         lines `leaf subleaf eax ebx ecx edx`, hexadecimal
//   cbit/msr           lines `index value`, hexadecimal
//   cbit/devices       lines `path state`, a word of device_state_words
//   cbit/unread        lines `path reason`, a word of unread_words: what the host had and refused
//   cbit/kernel.log    the kernel's log, as `dmesg` prints it
// each of which but the first may be missing. In the line formats, `#` begins a comment. Names that begin
// with a dot are not listed, so that empty folders can be kept.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/words.hpp"

namespace cbit::facts {

// Why something could not be read.
enum class Unread : std::uint8_t {
  absent,
  denied,      // EACCES, EPERM
  not_a_file,  // a folder, FIFO, socket or device; not a link, not a folder where one was asked for
  too_large,   // beyond the caller's bound
  too_slow,    // no end after some seconds
  io_error,
};

inline constexpr Word<Unread> unread_words[] = {
    {"absent", Unread::absent},       {"denied", Unread::denied},     {"not-a-file", Unread::not_a_file},
    {"too-large", Unread::too_large}, {"too-slow", Unread::too_slow}, {"io-error", Unread::io_error}};
// For people: "permission denied".
[[nodiscard]] std::string_view to_string(Unread why);

template <class T>
using Read = Result<T, Unread>;

// Whether a device node can be opened for reading and writing.
enum class DeviceState : std::uint8_t { usable, absent, denied, busy, io_error };

inline constexpr Word<DeviceState> device_state_words[] = {{"usable", DeviceState::usable},
                                                           {"absent", DeviceState::absent},
                                                           {"denied", DeviceState::denied},
                                                           {"busy", DeviceState::busy},
                                                           {"io-error", DeviceState::io_error}};

struct CpuidRegs {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  friend bool operator==(const CpuidRegs&, const CpuidRegs&) = default;
};

// Everything that was asked of a tree and what it said: what a capture packs. Paths are absolute.
struct HostRecord {
  std::map<std::string, Read<std::string>, std::less<>> files;  // contents
  std::map<std::string, Read<std::string>, std::less<>> links;  // targets, as readlink() gives them
  std::map<std::string, Read<std::vector<std::string>>, std::less<>> folders;
  std::map<std::string, DeviceState, std::less<>> devices;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::optional<CpuidRegs>> cpuid;
  std::map<std::uint32_t, Read<std::uint64_t>> msrs;
  std::optional<Read<std::string>> kernel_log;
};

// Where MSRs and the log are read; a captured host that refused them has these paths in cbit/unread.
inline constexpr std::string_view msr_device = "/dev/cpu/0/msr";
inline constexpr std::string_view kmsg_device = "/dev/kmsg";

inline constexpr std::uint64_t host_file_bytes_max = 1 << 20;
inline constexpr std::size_t host_list_max = 65536;
inline constexpr std::uint64_t kernel_log_bytes_max = 16 << 20;

class HostTree {
 public:
  // "/" is the running system, any other folder a captured tree. Errors (bad_input): no folder, or one
  // without a cbit/capture.json of a version that is known.
  static OrError<HostTree> open(const std::string& root);

  // A system of which there is a kernel's log, as `dmesg` prints it, and nothing else.
  static HostTree of_log(std::string text);

  HostTree(HostTree&& other) noexcept;
  HostTree& operator=(HostTree&&) = delete;
  ~HostTree();

  [[nodiscard]] bool live() const { return live_; }
  [[nodiscard]] bool only_log() const { return log_.has_value(); }

  // A whole file; a bound that it exceeds is an error, because half a file is none.
  [[nodiscard]] Read<std::string> read(std::string_view path,
                                       std::uint64_t bytes_max = host_file_bytes_max) const;
  // Names in byte order, without those that begin with a dot.
  [[nodiscard]] Read<std::vector<std::string>> list(std::string_view path) const;
  // The last component of a link's target, as of /sys/.../driver: what sysfs calls the other object.
  [[nodiscard]] Read<std::string> link(std::string_view path) const;
  [[nodiscard]] DeviceState device(std::string_view path) const;
  // nullopt: the leaf is beyond the processor's (or hypervisor's) last one, it is no x86, or it was not
  // captured.
  [[nodiscard]] std::optional<CpuidRegs> cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) const;
  // Of CPU 0, through msr_device. io_error: the processor has no such MSR.
  [[nodiscard]] Read<std::uint64_t> msr(std::uint32_t index) const;
  // Lines as `dmesg` prints them: "[    0.000000] text".
  [[nodiscard]] Read<std::string> kernel_log() const;

  // From now on everything that is asked is kept.
  void start_recording() { record_.emplace(); }
  // What was asked since; empty where nothing is recorded.
  [[nodiscard]] const HostRecord& record() const;

 private:
  HostTree(int root, bool live) : root_{root}, live_{live} {}

  OrError<void> load_capture(const std::string& root);
  [[nodiscard]] Read<std::string> read_unrecorded(std::string_view path, std::uint64_t bytes_max) const;
  [[nodiscard]] Unread refine(std::string_view path, Unread why) const;

  int root_;  // a folder's descriptor; -1: there is none
  bool live_;
  std::map<std::string, Unread, std::less<>> refused_;  // cbit/unread
  std::map<std::string, DeviceState, std::less<>> devices_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, CpuidRegs> cpuid_;
  std::map<std::uint64_t, std::uint64_t> msrs_;
  std::optional<std::string> log_;  // of_log()
  mutable std::optional<HostRecord> record_;
};

}  // namespace cbit::facts
