#include "cli/run_request.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "base/text.hpp"
#include "boot/bzimage.hpp"
#include "boot/files.hpp"
#include "boot/initramfs/initramfs.hpp"
#include "boot/initramfs/module_info.hpp"
#include "boot/kernel_source/debian_kernel.hpp"
#include "dev/virtio/virtio_pci.hpp"
#include "guest/drivers.hpp"
#include "guest/share.hpp"
#include "os/file_name.hpp"

namespace cbit::cli {
namespace {

namespace fs = std::filesystem;

// Linux' own words on ttyS0; a panic ends the run instead of standing still.
constexpr std::string_view default_command_line = "console=ttyS0 panic=-1";
constexpr std::string_view disk_kind = "virtio-blk";
constexpr unsigned first_slot = 3;  // where QEMU has the first that a user plugs in

bool is_linux(boot::KernelKind kind) {
  return kind == boot::KernelKind::bzimage || kind == boot::KernelKind::vmlinux;
}

OrError<Platform> platform_of(const Arguments& arguments) {
  if (arguments.has("--sev") && arguments.has("--sme"))
    return usage_error("--sev and --sme contradict each other", "give one of them");
  if (arguments.has("--sev")) return Platform::sev;
  return arguments.has("--sme") ? Platform::sme : Platform::plain;
}

OrError<guest::PcConfig> pc_config(const Arguments& arguments) {
  guest::PcConfig config{.platform = CBIT_TRY(platform_of(arguments))};
  config.memory_bytes = CBIT_TRY(arguments.size("--memory", 1ull << 40)).value_or(config.memory_bytes);
  config.cpus =
      static_cast<unsigned>(CBIT_TRY(arguments.number("--cpus", 1, guest::cpus_max)).value_or(config.cpus));
  config.kvm_interface = arguments.has("--hypercalls");
  if (config.kvm_interface && config.platform != Platform::sev)
    return usage_error("--hypercalls is for a guest that has pages to share", "add --sev");
  config.seed = CBIT_TRY(arguments.number("--seed", 0, ~std::uint64_t{0})).value_or(config.seed);
  return config;
}

// ---- devices --------------------------------------------------------------------------------------------

bool is_disk_option(std::string_view text) {
  const auto is_it = [name = text.substr(0, text.find('='))](const machine::DeviceOption& option) {
    return option.name == name;
  };
  const auto kind = std::ranges::find(machine::device_kinds(), disk_kind, &machine::DeviceKind::name);
  return text.find('=') != std::string_view::npos && std::ranges::any_of(kind->options, is_it);
}

// Two devices that write to one image know nothing of each other, and neither do their file systems.
OrError<void> check_is_plugged_once(const RunRequest& request, const std::string& path,
                                    dev::DiskImage::Mode mode) {
  const auto id = os::id_of_input(path);
  for (const auto& other : request.disks)
    if (id && id == os::id_of_input(other->path()) &&
        (mode == dev::DiskImage::Mode::read_write || !other->read_only()))
      return usage_error(fmt::format("--disk {} is plugged in twice, and written to", path),
                         "add ,ro to both, or give a copy to one of them");
  return {};
}

// FILE[,ro][,OPTION=VALUE]; a comma that no option follows is the file name's.
OrError<void> add_disk(RunRequest& request, std::string_view text) {
  auto mode = dev::DiskImage::Mode::read_write;
  std::string device_text{disk_kind};
  for (std::size_t comma; (comma = text.rfind(',')) != std::string_view::npos; text = text.substr(0, comma)) {
    const std::string_view option = text.substr(comma + 1);
    if (option == "ro")
      mode = dev::DiskImage::Mode::read_only;
    else if (is_disk_option(option))
      device_text += "," + std::string{option};
    else
      break;
  }
  CBIT_TRY(check_is_plugged_once(request, std::string{text}, mode));
  request.disks.push_back(CBIT_TRY(dev::DiskImage::open(std::string{text}, mode)));
  machine::DeviceRequest device = CBIT_TRY(machine::parse_device(device_text));
  std::get<machine::DiskOptions>(device.options).disk = request.disks.back().get();
  request.devices.push_back(std::move(device));
  return {};
}

OrError<void> add_devices(RunRequest& request, const Arguments& arguments) {
  for (const std::string& disk : arguments.all("--disk")) CBIT_TRY(add_disk(request, disk));
  for (const std::string& text : arguments.all("--device")) {
    machine::DeviceRequest device = CBIT_TRY(machine::parse_device(text));
    if (std::holds_alternative<machine::DiskOptions>(device.options))
      return usage_error("--device has no image for a disk", "use --disk FILE");
    if (std::holds_alternative<machine::ShareOptions>(device.options))
      return usage_error("--device has no folder to share", "use --share DIR");
    request.devices.push_back(std::move(device));
  }
  if (const auto folder = arguments.text("--share"))
    request.share = CBIT_TRY(dev::SharedFolder::open(std::string{*folder}));
  return {};
}

OrError<void> check_slots(const RunRequest& request) {
  if (request.devices.size() <= spec::pci_devices - first_slot) return {};
  return usage_error(fmt::format("{} devices are more than there are slots", request.devices.size()),
                     fmt::format("plug in at most {}", spec::pci_devices - first_slot));
}

// As the table of devices has made it.
const dev::VirtioBlk& disk_behind(const bus::PciFunction& function) {
  return static_cast<const dev::VirtioBlk&>(static_cast<const dev::VirtioPci&>(function).device());
}

// The shared folder behind a device; its tag.
OrError<std::string> plug_share(RunRequest& request) {
  machine::DeviceRequest device = CBIT_TRY(machine::parse_device("virtio-9p"));
  auto& options = std::get<machine::ShareOptions>(device.options);
  options.folder = request.share.get();
  std::string tag = options.device.tag;
  request.devices.push_back(std::move(device));
  return tag;
}

// ---- kernel and modules ---------------------------------------------------------------------------------

// Where the modules of a kernel lie that was named as a file: it may lie among them, or beside them in boot,
// as packages have it; else on this host. A folder without `kernel`, where `make modules_install` puts them,
// is that of headers alone.
std::optional<fs::path> modules_beside(const fs::path& kernel, std::string_view release) {
  if (release.empty()) return std::nullopt;
  std::error_code error;
  const fs::path folder = fs::absolute(kernel, error).parent_path();
  if (folder.filename() == release && fs::is_directory(folder / "kernel", error)) return folder;
  for (const fs::path& root : {folder.parent_path(), folder.parent_path() / "usr", fs::path{"/"}})
    if (fs::path modules = root / "lib/modules" / release; fs::is_directory(modules / "kernel", error))
      return modules;
  return std::nullopt;
}

// Errors (input): the modules are those of another kernel, which the kernel would refuse one by one.
OrError<void> check_release(const boot::ModuleTree& tree, const fs::path& folder, std::string_view release) {
  const std::string vermagic = CBIT_TRY(tree.vermagic());
  const std::string_view theirs = std::string_view{vermagic}.substr(0, vermagic.find(' '));
  if (release.empty() || theirs == release) return {};
  return bad_input(
      fmt::format("{} has the modules of {}, and the kernel is {}", folder.string(), theirs, release),
      fmt::format("name the folder lib/modules/{}", release));
}

// The kernel into the request; the folder of its modules, as far as one is known.
OrError<std::optional<fs::path>> read_kernel(RunRequest& request, const Arguments& arguments,
                                             Streams& streams) {
  std::optional<fs::path> modules;
  if (!arguments.positional.empty()) {
    request.kernel_name = arguments.positional.front();
  } else {
    boot::DebianKernelOptions options{.cache = CBIT_TRY(boot::user_cache())};
    options.on_progress = [&streams](std::string_view what) { streams.err << what << '\n'; };
    const boot::DebianKernel kernel = CBIT_TRY(boot::find_debian_kernel(options));
    request.kernel_name = kernel.image;
    modules = kernel.modules;
  }
  request.kernel = CBIT_TRY(boot::read_file(request.kernel_name));
  request.kind = CBIT_TRY(boot::kernel_kind(request.kernel, request.kernel_name, request.pc.platform));
  if (request.kind == boot::KernelKind::bzimage)
    request.release = CBIT_TRY(boot::read_bzimage(request.kernel, request.kernel_name)).release();
  if (const auto folder = arguments.text("--modules")) return std::optional<fs::path>{*folder};
  if (!modules) modules = modules_beside(request.kernel_name, request.release);
  return modules;
}

// `is_checked`: somebody who knows the kernel's own modules looks at these, too.
OrError<std::vector<boot::ModuleFile>> modules_of_user(const RunRequest& request, const Arguments& arguments,
                                                       bool is_checked) {
  std::vector<boot::ModuleFile> modules;
  for (const std::string& file : arguments.all("--module")) {
    Bytes packed = CBIT_TRY(boot::read_file(file));
    Bytes module = CBIT_TRY(boot::unpack_module(std::move(packed), file));
    const boot::ModuleInfo info = CBIT_TRY(boot::read_module_info(module, file));
    if (!is_checked && !request.release.empty()) CBIT_TRY(boot::check_release(info, request.release));
    modules.push_back({info.name, std::move(module)});
  }
  return modules;
}

std::vector<std::string> drivers_of(const RunRequest& request) {
  std::vector<std::string> drivers;
  for (const machine::DeviceRequest& device : request.devices)
    for (const std::string_view driver : guest::linux_drivers_of(device.kind->name))
      drivers.emplace_back(driver);
  return drivers;
}

// nullopt: there is no folder of them, or nothing to look for in it.
OrError<std::optional<boot::ModuleTree>> open_modules(const RunRequest& request, const Arguments& arguments,
                                                      const std::optional<fs::path>& folder) {
  const bool are_needed =
      !drivers_of(request).empty() || !arguments.all("--module").empty() || request.share != nullptr;
  if (!folder || !are_needed) return std::optional<boot::ModuleTree>{};
  boot::ModuleTree tree = CBIT_TRY(boot::ModuleTree::open(*folder));
  CBIT_TRY(check_release(tree, *folder, request.release));
  return std::optional{std::move(tree)};
}

// Without a folder of modules the kernel is taken to have its drivers built in.
void tell_no_modules(const RunRequest& request, const std::optional<fs::path>& folder, Streams& streams) {
  const std::vector<std::string> drivers = drivers_of(request);
  if (folder || drivers.empty()) return;
  fmt::print(streams.err,
             "cbit: found no modules of {}, so {} must be built in; --modules names their folder\n",
             request.release.empty() ? "the kernel" : request.release, fmt::join(drivers, ", "));
}

OrError<std::vector<boot::ModuleFile>> find_modules(const RunRequest& request,
                                                    const std::optional<boot::ModuleTree>& tree) {
  if (!tree) return request.modules;
  return tree->in_order(drivers_of(request), request.modules);
}

// ---- what the guest begins with -------------------------------------------------------------------------

void tell_left_out(const dev::SharedFolder& folder, const std::vector<std::string>& left_out,
                   Streams& streams) {
  constexpr std::size_t told_max = 5;
  for (std::size_t i = 0; i < std::min(left_out.size(), told_max); ++i)
    fmt::print(streams.err, "cbit: left out of the copy of {}: {}\n", folder.path(), left_out[i]);
  if (left_out.size() > told_max) fmt::print(streams.err, "cbit: and {} more\n", left_out.size() - told_max);
}

// By a device if the kernel is known to have what it takes, else as a copy.
OrError<void> add_share(RunRequest& request, const std::optional<boot::ModuleTree>& tree,
                        boot::InitramfsContents& contents, Streams& streams) {
  if (tree && guest::can_mount_share(*tree)) {
    contents.setup = guest::share_mount_script(CBIT_TRY(plug_share(request)));
    return {};
  }
  guest::ShareCopy copy = CBIT_TRY(guest::copy_share(*request.share, request.pc.memory_bytes));
  tell_left_out(*request.share, copy.left_out, streams);
  contents.folders = std::move(copy.folders);
  contents.files = std::move(copy.files);
  contents.links = std::move(copy.links);
  contents.setup = guest::share_copy_script();
  return {};
}

OrError<Bytes> make_initramfs(RunRequest& request, const Arguments& arguments,
                              const std::optional<fs::path>& modules, Streams& streams) {
  boot::InitramfsContents contents;
  std::string busybox{arguments.text("--busybox").value_or("")};
  if (busybox.empty()) {
    const char* const path = std::getenv("PATH");
    busybox = CBIT_TRY(boot::find_busybox(path != nullptr ? path : ""));
  }
  contents.busybox = CBIT_TRY(boot::read_file(busybox));
  contents.busybox_name = busybox;
  const auto tree = CBIT_TRY(open_modules(request, arguments, modules));
  tell_no_modules(request, modules, streams);
  if (request.share) CBIT_TRY(add_share(request, tree, contents, streams));
  request.modules = CBIT_TRY(modules_of_user(request, arguments, tree.has_value()));
  contents.modules = CBIT_TRY(find_modules(request, tree));
  for (const std::string& word : arguments.behind)
    contents.command += (contents.command.empty() ? "" : " ") + shell_quoted(word);
  return boot::build_initramfs(contents);
}

OrError<Bytes> find_initrd(RunRequest& request, const Arguments& arguments,
                           const std::optional<fs::path>& modules, Streams& streams) {
  if (!is_linux(request.kind) && request.share)
    return usage_error("only Linux mounts a shared folder",
                       "leave --share away for an image of another kind");
  if (const auto file = arguments.text("--initrd")) {
    if (!arguments.behind.empty())
      return usage_error("a command needs the initramfs that cbit builds", "leave --initrd away");
    if (request.share) CBIT_TRY(plug_share(request));
    return boot::read_file(*file);
  }
  if (is_linux(request.kind)) return make_initramfs(request, arguments, modules, streams);
  if (!arguments.behind.empty())
    return usage_error("only Linux runs a command", "leave it away for an image of another kind");
  return Bytes{};
}

std::string command_line_of(const RunRequest& request, const Arguments& arguments) {
  std::string line;
  const auto add = [&line](std::string_view words) {
    line += (line.empty() ? "" : " ") + std::string{words};
  };
  if (is_linux(request.kind)) {
    add(default_command_line);
    if (machine::traits_of(request.pc.platform).cc.has(spec::CcAttr::host_mem_encrypt)) add("mem_encrypt=on");
    if (arguments.has("--gdb-symbols")) add("nokaslr");
  }
  if (const auto more = arguments.text("--append")) add(*more);
  return line;
}

}  // namespace

OrError<RunRequest> read_run_request(const Arguments& arguments, Streams& streams) {
  RunRequest request{.pc = CBIT_TRY(pc_config(arguments))};
  CBIT_TRY(add_devices(request, arguments));
  const auto modules = CBIT_TRY(read_kernel(request, arguments, streams));
  request.initrd = CBIT_TRY(find_initrd(request, arguments, modules, streams));
  CBIT_TRY(check_slots(request));
  request.command_line = command_line_of(request, arguments);
  return request;
}

OrError<std::unique_ptr<guest::Pc>> make_pc(RunRequest& request) {
  auto pc = CBIT_TRY(guest::Pc::create(request.pc));
  unsigned slot = first_slot;
  for (const machine::DeviceRequest& device : request.devices) {
    bus::PciFunction* const function = CBIT_TRY(pc->plug(device, slot++));
    if (std::holds_alternative<machine::DiskOptions>(device.options))
      request.plugged_disks.push_back(&disk_behind(*function));
  }
  boot::BootImage image{
      .name = request.kernel_name, .kernel = request.kernel, .command_line = request.command_line};
  if (!request.initrd.empty()) image.modules.push_back({"initrd", request.initrd});
  CBIT_TRY(pc->load(image));
  return pc;
}

}  // namespace cbit::cli
