// What `cbit run` is asked to run: its words as a machine, its devices, a kernel and an initramfs, all of
// them read and checked before the first instruction.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "boot/initramfs/module_tree.hpp"
#include "boot/kernel_file.hpp"
#include "cbit/words.hpp"
#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "cli/run_ssh.hpp"
#include "dev/disk_image.hpp"
#include "dev/host_side.hpp"
#include "dev/p9/shared_folder.hpp"
#include "guest/hand_out.hpp"
#include "guest/journal_devices.hpp"
#include "guest/pc.hpp"

namespace cbit::cli {

// guest::PcConfig::amd_iommu.
inline constexpr Word<bool> run_iommu_words[] = {{"none", false}, {"amd", true}};
// Whether guest::PcConfig::translate_after stays what it is.
inline constexpr Word<bool> run_jit_words[] = {{"on", true}, {"off", false}};

struct RunRequest {
  guest::PcConfig pc;
  std::string kernel_name;
  Bytes kernel;  // until the machine has it; likewise the initrd
  boot::KernelKind kind = boot::KernelKind::bzimage;
  std::string release;  // "6.1.0-13-cloud-amd64"; empty: the file does not tell
  std::string command_line;
  Bytes initrd;                                        // empty: none
  std::vector<boot::ModuleFile> modules;               // those that were named one by one
  std::vector<std::unique_ptr<dev::DiskImage>> disks;  // the devices' own
  guest::Journal* journal = nullptr;                   // nullptr: nothing is recorded or replayed
  std::vector<std::unique_ptr<guest::JournaledDisk>> journaled_disks;  // the devices' own, then
  std::unique_ptr<dev::SharedFolder> share;                            // nullptr: none
  std::unique_ptr<dev::SharedFolder> root;                             // nullptr: the initramfs
  std::optional<guest::HandOut> hand_out;                              // nullopt: nothing comes back
  std::vector<std::unique_ptr<dev::HostSide>> networks;                // the devices' own, and sockets
  std::string network_setup;                                           // guest::Network, of all
  std::optional<RunSsh> ssh;                                           // nullopt: nobody comes in
  std::vector<machine::DeviceRequest> devices;                         // in the order of their slots
};

// Tells what takes a while on streams.err. Errors: words that contradict each other, devices that are none
// (usage); files that are not what they are given as, no kernel or busybox to be had (input).
// `journal`, which outlives the request: where what comes from outside is written, or comes from.
OrError<RunRequest> read_run_request(const Arguments& arguments, Streams& streams,
                                     guest::Journal* journal = nullptr);

// The command behind --, as a shell is given it; empty: none.
[[nodiscard]] std::string command_of(const Arguments& arguments);

// A machine with all that, ready for its first instruction. The request outlives it.
OrError<std::unique_ptr<guest::Pc>> make_pc(const RunRequest& request);
// The two halves of it.
OrError<std::unique_ptr<guest::Pc>> plug_pc(const RunRequest& request);
OrError<void> load_image(guest::Pc& pc, const RunRequest& request);

}  // namespace cbit::cli
