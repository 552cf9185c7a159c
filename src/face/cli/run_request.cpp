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
#include "boot/kernel_source/kernel_tree.hpp"
#include "guest/drivers.hpp"
#include "guest/host_root.hpp"
#include "guest/network.hpp"
#include "guest/share.hpp"
#include "guest/ssh.hpp"
#include "guest/vsock.hpp"
#include "linux/image.hpp"
#include "os/descriptor.hpp"
#include "os/file_name.hpp"

namespace cbit::cli {
namespace {

namespace fs = std::filesystem;

// Linux' own words on ttyS0; a panic ends the run instead of standing still.
constexpr std::string_view default_command_line = "console=ttyS0 panic=-1";
// What a disk is plugged in as, by the word behind if=.
constexpr std::pair<std::string_view, std::string_view> disk_kinds[] = {
    {"virtio", "virtio-blk"}, {"nvme", "nvme"}, {"scsi", "virtio-scsi"}};
constexpr std::string_view interface_option = "if=";
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
  config.threads = arguments.has("--threads");
  config.kvm_interface = arguments.has("--hypercalls");
  if (config.kvm_interface && config.platform != Platform::sev)
    return usage_error("--hypercalls is for a guest that has pages to share", "add --sev");
  config.amd_iommu = arguments.choice("--iommu", run_iommu_words).value_or(false);
  if (!arguments.choice("--jit", run_jit_words).value_or(true)) config.translate_after = 0;
  config.check_translations = arguments.has("--check-jit");
  config.seed = CBIT_TRY(arguments.number("--seed", 0, ~std::uint64_t{0})).value_or(config.seed);
  return config;
}

// ---- devices --------------------------------------------------------------------------------------------

// Of a disk of any kind.
bool is_disk_option(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return false;
  return std::ranges::any_of(machine::device_kinds(), [&](const machine::DeviceKind& kind) {
    machine::DeviceOptions defaults = kind.defaults;
    return machine::backend_of(defaults) != nullptr &&
           std::ranges::find(kind.options, text.substr(0, equals), &machine::DeviceOption::name) !=
               kind.options.end();
  });
}

OrError<std::string_view> kind_of_disk(std::string_view interface) {
  std::vector<std::string_view> known;
  for (const auto& [word, kind] : disk_kinds) {
    if (word == interface) return kind;
    known.push_back(word);
  }
  return usage_error(fmt::format("there is no disk with if={}", interface),
                     did_you_mean(interface, known, fmt::format("there are {}", fmt::join(known, ", "))));
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

// In a replay there is only what was recorded of it.
OrError<dev::BlockBackend*> open_disk(RunRequest& request, const std::string& path,
                                      dev::DiskImage::Mode mode) {
  const bool replays = request.journal != nullptr && request.journal->replays();
  dev::DiskImage* image = nullptr;
  if (!replays) {
    CBIT_TRY(check_is_plugged_once(request, path, mode));
    image = request.disks.emplace_back(CBIT_TRY(dev::DiskImage::open(path, mode))).get();
  }
  if (request.journal == nullptr) return image;
  const std::size_t number = request.journaled_disks.size();
  guest::RecordedDisk shape;
  if (!replays)
    shape = {image->bytes(), image->read_only()};
  else if (number < request.journal->header().disks.size())
    shape = request.journal->header().disks[number];
  return request.journaled_disks
      .emplace_back(std::make_unique<guest::JournaledDisk>(*request.journal, number, shape, image))
      .get();
}

// FILE[,ro][,if=INTERFACE][,OPTION=VALUE]; a comma that no option follows is the file name's.
OrError<void> add_disk(RunRequest& request, std::string_view text) {
  auto mode = dev::DiskImage::Mode::read_write;
  std::string_view kind = disk_kinds[0].second;
  std::string options;
  for (std::size_t comma; (comma = text.rfind(',')) != std::string_view::npos; text = text.substr(0, comma)) {
    const std::string_view option = text.substr(comma + 1);
    if (option == "ro")
      mode = dev::DiskImage::Mode::read_only;
    else if (option.starts_with(interface_option))
      kind = CBIT_TRY(kind_of_disk(option.substr(interface_option.size())));
    else if (is_disk_option(option))
      options += "," + std::string{option};
    else
      break;
  }
  machine::DeviceRequest device = CBIT_TRY(machine::parse_device(std::string{kind} + options));
  *machine::backend_of(device.options) = CBIT_TRY(open_disk(request, std::string{text}, mode));
  request.devices.push_back(std::move(device));
  return {};
}

// Devices that are connected to nothing have an address, too.
void give_addresses(RunRequest& request, std::vector<guest::NetworkRequest>& networks) {
  std::vector<machine::DeviceRequest*> devices;
  for (machine::DeviceRequest& device : request.devices) devices.push_back(&device);
  for (guest::NetworkRequest& network : networks) devices.push_back(&network.device);
  machine::give_addresses(devices);
}

OrError<void> add_networks(RunRequest& request, const Arguments& arguments) {
  std::vector<guest::NetworkRequest> networks;
  for (const std::string& text : arguments.all("--net")) {
    guest::NetworkRequest network = CBIT_TRY(guest::parse_network(text));
    if (!std::holds_alternative<std::monostate>(network.where)) networks.push_back(std::move(network));
  }
  const bool replays = request.journal != nullptr && request.journal->replays();
  request.ssh = CBIT_TRY(RunSsh::open(arguments, networks, replays));
  guest::share_out_networks(networks);
  give_addresses(request, networks);
  for (guest::NetworkRequest& one : networks) {
    const guest::NetworkPlace place{.slot = first_slot + static_cast<unsigned>(request.devices.size()),
                                    .number = request.networks.size()};
    guest::Network network = CBIT_TRY(guest::open_network(std::move(one), place, request.journal));
    request.networks.push_back(std::move(network.backend));
    request.network_setup += network.setup;
    request.devices.push_back(std::move(network.device));
  }
  return {};
}

OrError<void> add_vsock(RunRequest& request, std::string_view text) {
  guest::Vsock vsock = CBIT_TRY(guest::open_vsock(CBIT_TRY(guest::parse_vsock(text)), request.journal));
  request.networks.push_back(std::move(vsock.backend));
  request.devices.push_back(std::move(vsock.device));
  return {};
}

// Behind the user's, whose names it leaves as they are: /dev/vda is the first --disk.
OrError<void> add_hand_out(RunRequest& request) {
  request.hand_out = CBIT_TRY(guest::HandOut::create(request.pc.memory_bytes));
  machine::DeviceRequest device =
      CBIT_TRY(machine::parse_device(fmt::format("virtio-blk,serial={}", guest::HandOut::serial)));
  *machine::backend_of(device.options) = &request.hand_out->disk();
  request.devices.push_back(std::move(device));
  return {};
}

// QEMU has the same device as bochs-display.
OrError<void> add_display(RunRequest& request, std::string_view text) {
  if (text == "none") return {};
  constexpr std::string_view bochs = "bochs";
  const std::size_t comma = std::min(text.find(','), text.size());
  if (text.substr(0, comma) != bochs)
    return usage_error(fmt::format("--display {}: there is no such display", text),
                       did_you_mean(text.substr(0, comma), {bochs, "none"}));
  request.devices.push_back(
      CBIT_TRY(machine::parse_device(fmt::format("bochs-display{}", text.substr(comma)))));
  return {};
}

OrError<void> add_devices(RunRequest& request, const Arguments& arguments) {
  for (const std::string& disk : arguments.all("--disk")) CBIT_TRY(add_disk(request, disk));
  for (const std::string& text : arguments.all("--device")) {
    machine::DeviceRequest device = CBIT_TRY(machine::parse_device(text));
    if (machine::backend_of(device.options) != nullptr)
      return usage_error("--device has no image for a disk", "use --disk FILE");
    if (std::holds_alternative<machine::ShareOptions>(device.options))
      return usage_error("--device has no folder to share", "use --share DIR");
    request.devices.push_back(std::move(device));
  }
  if (const auto text = arguments.text("--display")) CBIT_TRY(add_display(request, *text));
  CBIT_TRY(add_networks(request, arguments));
  if (const auto text = arguments.text("--vsock")) CBIT_TRY(add_vsock(request, *text));
  if (const auto folder = arguments.text("--share"))
    request.share = CBIT_TRY(dev::SharedFolder::open(std::string{*folder}));
  if (const auto folder = arguments.text("--root"))
    request.root = CBIT_TRY(dev::SharedFolder::open(std::string{*folder}));
  if (arguments.text("--out")) CBIT_TRY(add_hand_out(request));
  return {};
}

OrError<void> check_slots(const RunRequest& request) {
  if (request.devices.size() <= spec::pci_devices - first_slot) return {};
  return usage_error(fmt::format("{} devices are more than there are slots", request.devices.size()),
                     fmt::format("plug in at most {}", spec::pci_devices - first_slot));
}

// A folder behind a device.
OrError<void> plug_folder(RunRequest& request, const dev::SharedFolder& folder,
                          dev::Virtio9pOptions options) {
  machine::DeviceRequest device = CBIT_TRY(machine::parse_device("virtio-9p"));
  const auto source = &folder == request.root.get() ? guest::Source::root : guest::Source::share;
  if (request.journal != nullptr)
    options.through = [journal = request.journal, source](const guest::Journal::Live& answer) {
      return journal->ask(source, answer);
    };
  device.options = machine::ShareOptions{options, &folder};
  request.devices.push_back(std::move(device));
  return {};
}

// ---- kernel and modules ---------------------------------------------------------------------------------

// Where the modules of a kernel lie that was named as a file: it may lie among them, or beside them in boot,
// as packages have it; else on this host. A folder without `kernel`, where `make modules_install` puts them,
// is that of headers alone. A kernel in the tree that it was built in has its modules there.
std::optional<fs::path> modules_beside(const fs::path& kernel, std::string_view release) {
  std::error_code error;
  const fs::path folder = fs::absolute(kernel, error).parent_path();
  const fs::path tree = folder.parent_path().parent_path().parent_path();  // of arch/x86/boot
  for (const fs::path& root : {folder, tree})
    if (boot::is_kernel_tree(root)) return root;
  if (release.empty()) return std::nullopt;
  if (folder.filename() == release && fs::is_directory(folder / "kernel", error)) return folder;
  for (const fs::path& root : {folder.parent_path(), folder.parent_path() / "usr", fs::path{"/"}})
    if (fs::path modules = root / "lib/modules" / release; fs::is_directory(modules / "kernel", error))
      return modules;
  return std::nullopt;
}

// Errors (input): the modules are those of another kernel, which the kernel would refuse one by one.
OrError<void> check_release(const boot::ModuleTree& tree, const fs::path& folder, std::string_view release) {
  if (tree.is_built_here()) return {};
  const std::string vermagic = CBIT_TRY(tree.vermagic());
  const std::string_view theirs = std::string_view{vermagic}.substr(0, vermagic.find(' '));
  if (release.empty() || theirs == release) return {};
  return bad_input(
      fmt::format("{} has the modules of {}, and the kernel is {}", folder.string(), theirs, release),
      fmt::format("name the folder lib/modules/{}", release));
}

// What the stub in the kernel's file does, before the run.
OrError<void> unpack_kernel(RunRequest& request) {
  if (request.kind == boot::KernelKind::vmlinux) return {};
  if (request.kind != boot::KernelKind::bzimage)
    return usage_error("--fast-decompress is for Linux kernels",
                       "leave it away for an image of another kind");
  const auto image = CBIT_TRY(linux::KernelImage::open(std::move(request.kernel), request.kernel_name));
  request.kernel.assign(image.vmlinux().begin(), image.vmlinux().end());
  request.kind = CBIT_TRY(boot::kernel_kind(request.kernel, request.kernel_name));
  return {};
}

// The kernel into the request; the folder of its modules, as far as one is known.
OrError<std::optional<fs::path>> read_kernel(RunRequest& request, const Arguments& arguments,
                                             Streams& streams) {
  std::optional<fs::path> modules;
  const bool is_named = !arguments.positional.empty();
  const fs::path place = is_named ? fs::path{arguments.positional.front()} : fs::path{"."};
  if (boot::is_kernel_tree(place)) {
    const fs::path image = CBIT_TRY(boot::kernel_of_tree(place));
    request.kernel_name = image.lexically_normal();
    if (!is_named) fmt::print(streams.err, "cbit: this is a kernel's tree: runs {}\n", request.kernel_name);
    modules = place;
  } else if (is_named) {
    request.kernel_name = place;
  } else {
    boot::DebianKernelOptions options{.cache = CBIT_TRY(boot::user_cache())};
    if (request.root) options.package = "linux-image-amd64";  // the other has no 9p
    options.on_progress = [&streams](std::string_view what) { streams.err << what << '\n'; };
    const boot::DebianKernel kernel = CBIT_TRY(boot::find_debian_kernel(options));
    request.kernel_name = kernel.image;
    modules = kernel.modules;
  }
  request.kernel = CBIT_TRY(boot::read_file(request.kernel_name));
  request.kind = CBIT_TRY(boot::kernel_kind(request.kernel, request.kernel_name));
  if (request.kind == boot::KernelKind::bzimage)
    request.release = CBIT_TRY(boot::read_bzimage(request.kernel, request.kernel_name)).release();
  if (arguments.has("--fast-decompress")) CBIT_TRY(unpack_kernel(request));
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
  if (request.root) drivers = guest::drivers_of_host_root();
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
                                                    const std::optional<boot::ModuleTree>& tree,
                                                    std::string_view file_system) {
  if (!tree) return request.modules;
  std::vector<std::string> names = drivers_of(request);
  if (!file_system.empty()) {
    // What ext4 asks modprobe for, which is not there: a module until Linux 6.14.
    if (tree->has("crc32c_generic")) names.emplace_back("crc32c_generic");
    names.emplace_back(file_system);
  }
  auto modules = CBIT_TRY(tree->in_order(names, request.modules));
  if (tree->is_built_here() && !request.release.empty())
    for (const boot::ModuleFile& module : modules)
      CBIT_TRY(boot::check_release(CBIT_TRY(boot::read_module_info(module.contents, module.name)),
                                   request.release));
  return modules;
}

// The file system that the init mounts for root= (boot/initramfs/initramfs.hpp); empty: it mounts none.
std::string_view root_file_system(std::string_view command_line) {
  std::string_view type;
  bool has_root = false;
  for (const std::string_view word : words_of(command_line)) {
    has_root |= word.starts_with("root=");
    if (word.starts_with("rootfstype=")) type = word.substr(word.find('=') + 1);
  }
  if (!has_root) return {};
  return type.empty() ? "ext4" : type;
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
    const dev::Virtio9pOptions options;
    CBIT_TRY(plug_folder(request, *request.share, options));
    contents.setup += guest::share_mount_script(options.tag);
    return {};
  }
  guest::ShareCopy copy = CBIT_TRY(guest::copy_share(*request.share, request.pc.memory_bytes));
  tell_left_out(*request.share, copy.left_out, streams);
  contents.folders = std::move(copy.folders);
  contents.files = std::move(copy.files);
  contents.links = std::move(copy.links);
  contents.setup += guest::share_copy_script();
  return {};
}

// A Linux that has what is below it in use holds each of those files; this process keeps some for itself.
OrError<void> add_root(RunRequest& request, const std::optional<boot::ModuleTree>& tree,
                       boot::InitramfsContents& contents) {
  constexpr std::size_t own_descriptors = 256;
  if (tree) CBIT_TRY(guest::check_has_host_root(*tree, request.kernel_name));
  dev::Virtio9pOptions options{.tag = std::string{guest::root_tag}};
  const std::size_t descriptors = os::raise_descriptor_limit();
  options.fids_max = std::max(options.fids_max, descriptors - std::min(descriptors, own_descriptors));
  CBIT_TRY(plug_folder(request, *request.root, options));
  contents.setup += guest::host_root_setup(options.tag);
  std::error_code error;
  contents.enter = guest::host_root_enter(
      guest::folder_below_root(request.root->path(), fs::current_path(error).string()));
  if (!request.ssh) return {};
  const auto keys = std::as_bytes(std::span{request.ssh->keys});
  contents.files.push_back({std::string{guest::ssh_keys_file}, {keys.begin(), keys.end()}});
  contents.setup += guest::ssh_setup();
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
  contents.setup = request.network_setup;
  const auto tree = CBIT_TRY(open_modules(request, arguments, modules));
  tell_no_modules(request, modules, streams);
  if (request.share) CBIT_TRY(add_share(request, tree, contents, streams));
  if (request.hand_out) {
    contents.setup += guest::HandOut::setup_script();
    contents.finish = guest::HandOut::finish_script();
  }
  if (request.root) CBIT_TRY(add_root(request, tree, contents));
  request.modules = CBIT_TRY(modules_of_user(request, arguments, tree && !tree->is_built_here()));
  contents.modules =
      CBIT_TRY(find_modules(request, tree, root_file_system(arguments.text("--append").value_or(""))));
  contents.asks = arguments.has("--snapshot");
  if (!contents.asks) contents.command = command_of(arguments);
  return boot::build_initramfs(contents);
}

OrError<Bytes> find_initrd(RunRequest& request, const Arguments& arguments,
                           const std::optional<fs::path>& modules, Streams& streams) {
  if (!is_linux(request.kind) && request.share)
    return usage_error("only Linux mounts a shared folder",
                       "leave --share away for an image of another kind");
  if (!is_linux(request.kind) && (request.root || request.hand_out))
    return usage_error("only Linux has a root, and files to hand out",
                       "leave --root and --out away for an image of another kind");
  if (const auto file = arguments.text("--initrd")) {
    if (!arguments.behind.empty())
      return usage_error("a command needs the initramfs that cbit builds", "leave --initrd away");
    if (request.root || request.hand_out)
      return usage_error(
          fmt::format("{} needs the initramfs that cbit builds", request.root ? "--root" : "--out"),
          "leave --initrd away");
    if (request.share) CBIT_TRY(plug_folder(request, *request.share, {}));
    return boot::read_file(*file);
  }
  if (is_linux(request.kind)) return make_initramfs(request, arguments, modules, streams);
  if (arguments.has("--snapshot"))
    return usage_error("only Linux, with cbit's initramfs, tells when it has booted",
                       "leave --snapshot away for an image of another kind");
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

OrError<RunRequest> read_run_request(const Arguments& arguments, Streams& streams, guest::Journal* journal) {
  RunRequest request{.pc = CBIT_TRY(pc_config(arguments))};
  request.journal = journal;
  CBIT_TRY(add_devices(request, arguments));
  const auto modules = CBIT_TRY(read_kernel(request, arguments, streams));
  request.initrd = CBIT_TRY(find_initrd(request, arguments, modules, streams));
  CBIT_TRY(check_slots(request));
  request.command_line = command_line_of(request, arguments);
  return request;
}

std::string command_of(const Arguments& arguments) {
  std::string command;
  for (const std::string& word : arguments.behind)
    command += (command.empty() ? "" : " ") + shell_quoted(word);
  return command;
}

OrError<std::unique_ptr<guest::Pc>> plug_pc(const RunRequest& request) {
  auto pc = CBIT_TRY(guest::Pc::create(request.pc));
  unsigned slot = first_slot;
  for (const machine::DeviceRequest& device : request.devices) CBIT_TRY(pc->plug(device, slot++));
  return pc;
}

OrError<void> load_image(guest::Pc& pc, const RunRequest& request) {
  boot::BootImage image{
      .name = request.kernel_name, .kernel = request.kernel, .command_line = request.command_line};
  if (!request.initrd.empty()) image.modules.push_back({"initrd", request.initrd});
  return pc.load(image);
}

OrError<std::unique_ptr<guest::Pc>> make_pc(const RunRequest& request) {
  auto pc = CBIT_TRY(plug_pc(request));
  CBIT_TRY(load_image(*pc, request));
  return pc;
}

}  // namespace cbit::cli
