// A QEMU guest, planned: which protection of its memory, and each option with its reason.
//
// plan_launch() decides from the request, the host's facts and QEMU's version; it starts and reads nothing.
// What is wrong with a plan is said by the rules (host/launch/rules.hpp), which judge it as they judge
// anybody's command line. The renderers (plan_render.hpp) print a plan for QEMU, libvirt and Kata Containers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/words.hpp"
#include "facts/guest_support.hpp"
#include "launch/firmware.hpp"
#include "launch/qemu_command.hpp"
#include "launch/rules.hpp"

namespace cbit::launch {

// As options and JSON have them; to_string() is for people.
inline constexpr Word<Protection> protection_words[] = {{"sev-snp", Protection::sev_snp},
                                                        {"sev-es", Protection::sev_es},
                                                        {"sev", Protection::sev},
                                                        {"tdx", Protection::tdx},
                                                        {"none", Protection::none}};

struct DiskRequest {
  std::string file;
  std::string format = "raw";
  bool read_only = false;
  std::string id;  // empty: disk0, disk1, ...
  friend bool operator==(const DiskRequest&, const DiskRequest&) = default;
};

enum class NetKind : std::uint8_t { user, tap };

struct NetRequest {
  NetKind kind = NetKind::user;
  std::string ifname;    // tap: the host's interface; empty: QEMU creates one
  std::string forwards;  // user: hostfwd=, such as "tcp::2222-:22"
  bool vhost = false;    // tap: the host's kernel moves the packets
  std::string id;        // empty: net0, net1, ...
  friend bool operator==(const NetRequest&, const NetRequest&) = default;
};

enum class Accelerator : std::uint8_t { automatic, kvm, tcg };

// What a report or quote of the guest shall say. Base64, as QEMU takes it; empty: not said.
struct AttestationRequest {
  std::string id_block, id_auth, host_data;             // SEV-SNP
  bool no_vcek = false;                                 // SEV-SNP
  std::string mr_config_id, mr_owner, mr_owner_config;  // TDX
  std::string quote_socket;                             // TDX: "unix:PATH" or "vsock:CID:PORT"
  friend bool operator==(const AttestationRequest&, const AttestationRequest&) = default;
};

// What the user wants. Empty strings and nullopt: not said.
struct LaunchRequest {
  std::optional<Protection> protection;  // nullopt: the strongest that works here
  bool force = false;                    // plan it even where this host cannot start it
  std::string kernel, initrd;
  std::optional<std::string> append;
  std::vector<DiskRequest> disks;
  std::vector<NetRequest> nets;
  std::optional<std::uint32_t> vsock_cid;
  std::uint64_t memory_bytes = std::uint64_t{2} << 30;
  unsigned cpus = 1;
  std::string cpu_model;
  std::string firmware;  // a path; "default": QEMU's own
  std::string igvm;      // an IGVM file, which has the firmware in it
  AttestationRequest attestation;
  std::vector<std::string> passed_through;  // PCI functions of the host: "01:00.0" or "0000:01:00.0"
  Accelerator accelerator = Accelerator::automatic;
  std::optional<std::uint64_t> policy;
  std::optional<unsigned> c_bit, reduced_phys_bits;
  std::string name;
  std::string console = "stdio";  // or "none", "pty", or a file's path
  std::vector<QemuOption> extra;  // options of QEMU that are added as they are
};

// What the plan is made for.
struct LaunchSite {
  facts::GuestSupport support;
  std::string qemu_program = "qemu-system-x86_64";
  QemuVersion qemu;
  std::vector<Firmware> firmware;  // what is installed, or the one that the request names
};

struct Reason {
  std::string why;     // one sentence or two
  std::string source;  // documentation, function, manual section
};

struct PlannedProperty {
  std::string key, value;
  Reason reason;  // empty: the option's
};

struct PlannedOption {
  std::string name;
  std::vector<PlannedProperty> properties;
  std::string text;
  Reason reason;
};

// A protection that was considered.
struct Candidate {
  Protection protection{};
  bool usable = false;
  std::string why_not;  // empty if usable
  std::string remedy;   // may be empty
};

struct LaunchPlan {
  LaunchRequest request;              // with ids and names filled in
  std::vector<Candidate> candidates;  // the strongest first; empty: none was asked for
  Protection protection = Protection::none;
  std::string program;
  QemuVersion qemu;
  bool kvm = false;
  std::string cpu_model;
  std::optional<Firmware> firmware;           // nullopt: QEMU's own
  bool firmware_in_flash = false;             // -drive if=pflash, else -bios
  unsigned c_bit = 0, reduced_phys_bits = 0;  // SEV family
  std::uint64_t policy = 0;                   // SEV family
  bool kernel_hashes = false;
  std::string append;  // the kernel's command line
  std::vector<PlannedOption> options;
  std::vector<std::string> risks;    // what --force has overridden
  std::vector<std::string> remarks;  // what the user should know
};

// Errors (usage, input): what was asked for contradicts itself, or cannot be had here and was not forced.
[[nodiscard]] OrError<LaunchPlan> plan_launch(const LaunchRequest& request, const LaunchSite& site);

[[nodiscard]] QemuOption option_of(const PlannedOption& planned);
[[nodiscard]] QemuCommand command_of(const LaunchPlan& plan);

// The version of QEMU that first had a protection's object.
[[nodiscard]] QemuVersion first_version_with(Protection protection);

}  // namespace cbit::launch
