#include "cli/run_snapshot.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "base/safe_text.hpp"
#include "base/state_stream.hpp"
#include "boot/kernel_source/debian_kernel.hpp"
#include "crypt/sha256.hpp"
#include "os/build_id.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {
namespace {

namespace fs = std::filesystem;

// What is outside of the machine, or has seen it boot.
constexpr std::pair<std::string_view, std::string_view> refused_options[] = {
    {"--initrd", "the guest asks for its command by the initramfs that cbit builds"},
    {"--net", "the host's side of a network goes on without the guest"},
    {"--ssh", "the host's side of a network goes on without the guest"},
    {"--vsock", "the host's side of a socket goes on without the guest"},
    {"--share", "a folder of the host's may change while the guest does not look"},
    {"--root", "a folder of the host's may change while the guest does not look"},
    {"--out", "the disk that it takes is not in the file"},
    {"--iommu", "an IOMMU cannot be saved yet"},
    {"--display", "a display cannot be saved yet"},
    {"--gdb", "a debugger knows of no machine that goes on from somewhere else"},
    {"--gdb-symbols", "a debugger knows of no machine that goes on from somewhere else"},
    {"--dump-on-panic", "what is known of the kernel is learnt at its boot"},
    {"--report", "it counts from the kernel's first instruction"},
    {"--report-json", "it counts from the kernel's first instruction"},
    {"--html", "it counts from the kernel's first instruction"},
    {"--secret", "it counts from the kernel's first instruction"},
    {"--fail-on", "it counts from the kernel's first instruction"},
    {"--trace", "it counts from the kernel's first instruction"},
    {"--record", "a recording begins with the kernel's first instruction"},
    {"--replay", "a recording begins with the kernel's first instruction"},
    {"--hostile", "an attack begins with the kernel's first instruction"},
    {"--hostile-script", "an attack begins with the kernel's first instruction"},
};

OrError<void> check_options(const Arguments& arguments) {
  for (const auto& [option, why] : refused_options) {
    const auto is_none = [](const std::string& value) { return value == "none"; };
    const bool means_none =
        arguments.text(option) == "none" ||
        (!arguments.all(option).empty() && std::ranges::all_of(arguments.all(option), is_none));
    if (arguments.has_any(option) && !means_none)
      return usage_error(fmt::format("--snapshot does not go with {}: {}", option, why),
                         fmt::format("leave {} away", option));
  }
  return {};
}

// A plain name is a file of the cache; with a slash it is a path.
OrError<std::string> path_of(std::string_view name) {
  if (name.empty() || name == "." || name == "..")
    return usage_error(fmt::format("--snapshot {:?}: this is no name", name), "give a name, or ./FILE");
  if (name.find('/') != std::string_view::npos) return std::string{name};
  const fs::path folder = CBIT_TRY(boot::user_cache()) / "snapshots";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return tl::unexpected<Error>{
        Error{fmt::format("{}: cannot be made: {}", folder.string(), error.message()),
              "give --snapshot the path of a file, with a slash", ExitCode::output_failed}};
  return (folder / name).string();
}

std::string digest_of(ConstByteSpan bytes) { return to_hex(crypt::sha256(bytes)); }

// The guest has parts of a disk in its memory.
std::string state_of(const dev::DiskImage& disk) {
  struct stat info{};
  if (::stat(disk.path().c_str(), &info) != 0) return "not there";
  return fmt::format("{} bytes, last changed at {}.{:09}", info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec);
}

OrError<void> check_devices(guest::Pc& pc, const RunRequest& request) {
  for (std::size_t i = 0; i < pc.cards().size(); ++i) {
    StateStream trial;
    pc.cards()[i]->transfer(trial);
    if (!trial.good())
      return usage_error(
          fmt::format("--snapshot: a device of kind {} cannot be saved yet", request.devices[i].kind->name),
          "leave the device away, or --snapshot");
  }
  return {};
}

}  // namespace

OrError<std::unique_ptr<RunSnapshot>> RunSnapshot::open(const Arguments& arguments) {
  const auto name = arguments.text("--snapshot");
  if (!name) return nullptr;
  CBIT_TRY(check_options(arguments));
  std::unique_ptr<RunSnapshot> snapshot{new RunSnapshot};
  snapshot->path_ = CBIT_TRY(path_of(*name));
  snapshot->command_ = command_of(arguments);
  snapshot->disks_ = fmt::format("{}", fmt::join(arguments.all("--disk"), " "));
  snapshot->devices_ = fmt::format("{}", fmt::join(arguments.all("--device"), " "));
  if (snapshot->command_.size() > guest::Handover::command_bytes_max)
    return usage_error(fmt::format("--snapshot: a command of {} bytes is too long to be handed to a guest",
                                   snapshot->command_.size()),
                       fmt::format("use at most {} bytes", guest::Handover::command_bytes_max));
  return snapshot;
}

std::string RunSnapshot::remedy() const {
  return fmt::format("give --snapshot another name, or remove {}", safe_line(path_));
}

guest::SnapshotFacts RunSnapshot::facts() const {
  const RunRequest& request = *request_;
  guest::SnapshotFacts facts{
      {"the cbit that runs it", fmt::format("{} {}", CBIT_VERSION, os::build_id())},
      {"the platform", std::string{to_string(request.pc.platform)}},
      {"the memory", fmt::format("{} bytes", request.pc.memory_bytes)},
      {"the number of processors", std::to_string(request.pc.cpus)},
      {"the seed", std::to_string(request.pc.seed)},
      {"--hypercalls", request.pc.kvm_interface ? "on" : "off"},
      {"the kernel's command line", request.command_line},
      {"the kernel (SHA-256)", kernel_digest_},
      {"the initramfs (SHA-256)", initrd_digest_},
      {"--disk", disks_},
      {"--device", devices_},
  };
  for (const auto& disk : request.disks)
    facts.push_back(
        {fmt::format("the disk {}{}", disk->path(), disk->read_only() ? ",ro" : ""), state_of(*disk)});
  return facts;
}

OrError<std::unique_ptr<guest::Pc>> RunSnapshot::make_pc(RunRequest& request) {
  request_ = &request;
  kernel_digest_ = digest_of(request.kernel);
  initrd_digest_ = digest_of(request.initrd);
  auto pc = CBIT_TRY(plug_pc(request));
  CBIT_TRY(check_devices(*pc, request));
  restored_ = guest::snapshot_exists(path_);
  if (restored_) {
    CBIT_TRY(guest::load_snapshot(*pc, facts(), path_, remedy()));
  } else {
    CBIT_TRY(os::check_output(path_));
    CBIT_TRY(load_image(*pc, request));
  }
  return pc;
}

void RunSnapshot::attach(guest::Pc& pc, guest::RunOptions& options, std::ostream& err) {
  std::function<OrError<void>()> save;
  if (!restored_)
    save = [this, &pc, &err]() -> OrError<void> {
      CBIT_TRY(guest::save_snapshot(pc, facts(), path_));
      fmt::print(err, "cbit: the guest has booted, and is saved as {}\n", safe_line(path_));
      return {};
    };
  handover_.emplace(command_, std::move(save));
  options.handover = &*handover_;
}

}  // namespace cbit::cli
