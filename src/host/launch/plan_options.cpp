#include "launch/plan_options.hpp"

#include <fmt/format.h>

#include "spec/sev.hpp"

namespace cbit::launch {
namespace {

bool is_sev(Protection protection) {
  return protection == Protection::sev || protection == Protection::sev_es ||
         protection == Protection::sev_snp;
}
// The registers of its CPUs are out of QEMU's reach.
bool state_is_encrypted(Protection protection) {
  return protection != Protection::none && protection != Protection::sev;
}

std::string whole_size(std::uint64_t bytes) {
  constexpr std::uint64_t gib = 1 << 30, mib = 1 << 20;
  return bytes % gib == 0 ? fmt::format("{}G", bytes / gib) : fmt::format("{}M", bytes / mib);
}

std::string policy_text(const LaunchPlan& plan) {
  if (plan.protection == Protection::sev_snp)
    return fmt::format("Bit 17 is always 1; a host with SMT is {} (bit 16), debugging is {} (bit 19).",
                       (plan.policy >> 16 & 1) != 0 ? "allowed" : "refused",
                       (plan.policy >> 19 & 1) != 0 ? "allowed" : "refused");
  const spec::SevPolicy policy{{static_cast<std::uint32_t>(plan.policy)}};
  return fmt::format(
      "The guest's owner finds the policy in the measurement: debugging is {} (bit 0), sharing the key with "
      "another guest is {} (bit 1), encrypted CPU state is {} (bit 2).",
      policy.get<spec::SevPolicy::NoDebug>() ? "refused" : "allowed",
      policy.get<spec::SevPolicy::NoKeySharing>() ? "refused" : "allowed",
      policy.get<spec::SevPolicy::Es>() ? "demanded" : "not demanded");
}

class OptionList {
 public:
  explicit OptionList(const LaunchPlan& plan) : plan_{plan} {}

  std::vector<PlannedOption> all() {
    begin();
    machine();
    processor();
    memory();
    protection();
    firmware();
    kernel();
    for (const DiskRequest& disk : plan_.request.disks) add_disk(disk);
    for (const NetRequest& net : plan_.request.nets) add_net(net);
    passed_through();
    other_devices();
    console();
    end();
    return std::move(options_);
  }

 private:
  PlannedOption& add(std::string name, Reason reason) {
    return options_.emplace_back(PlannedOption{.name = std::move(name), .reason = std::move(reason)});
  }
  void add_text(std::string name, std::string text, Reason reason) {
    add(std::move(name), std::move(reason)).text = std::move(text);
  }
  static void put(PlannedOption& option, std::string key, std::string value, Reason reason = {}) {
    option.properties.push_back({std::move(key), std::move(value), std::move(reason)});
  }

  // What every virtio device of the plan carries.
  static void put_virtio(PlannedOption& option) {
    put(option, "disable-legacy", "on",
        {"A legacy or transitional device cannot offer VIRTIO_F_ACCESS_PLATFORM, and has no VERSION_1, which "
         "a driver in an encrypted guest demands.",
         "QEMU hw/virtio/virtio-pci.c; Linux drivers/virtio/virtio.c: virtio_features_ok"});
    put(option, "iommu_platform", "on",
        {"Offers VIRTIO_F_ACCESS_PLATFORM (bit 33): the driver then uses the DMA API, which bounces through "
         "memory that is shared. Without it the driver of an encrypted guest refuses the device, or the "
         "device reads ciphertext.",
         "Linux drivers/virtio/virtio_ring.c: vring_use_dma_api, arch/x86/mm/mem_encrypt_amd.c"});
  }

  void begin();
  void machine();
  void processor();
  void memory();
  void protection();
  void firmware();
  void kernel();
  void add_disk(const DiskRequest& disk);
  void add_net(const NetRequest& net);
  void attestation(PlannedOption& object);
  void passed_through();
  void other_devices();
  void console();
  void end();

  const LaunchPlan& plan_;
  std::vector<PlannedOption> options_;
};

void OptionList::begin() {
  if (!plan_.request.name.empty())
    put(add("name", {"What libvirt, ps and QMP call the guest.", "QEMU qemu-options.hx"}), "guest",
        plan_.request.name);
  add("nodefaults",
      {"No devices that nobody asked for (q35 would add VGA, e1000e and a CD-ROM): each device here "
       "is one whose DMA works in an encrypted guest.",
       "QEMU qemu-options.hx"});
}

void OptionList::machine() {
  PlannedOption& option = add("machine", {"The board.", "QEMU docs/system/i386"});
  put(option, "type", "q35",
      {"A PCI Express board: on i440fx virtio devices are transitional by default, which encrypted guests "
       "refuse.",
       "QEMU hw/virtio/virtio-pci.c; libvirt docs/kbase/launch_security_sev.rst"});
  put(option, "memory-backend", "ram0", {"The guest's memory is the object ram0.", "QEMU qemu-options.hx"});
  if (!plan_.request.igvm.empty())
    put(option, "igvm-cfg", "igvm0",
        {"The guest's first memory, processors and firmware are those of the IGVM file: their measurement is "
         "known when it is built.",
         "QEMU docs/system/igvm.rst (10.1)"});
  const Protection protection = plan_.protection;
  if (protection == Protection::none) return;
  put(option, "confidential-guest-support", protection == Protection::tdx ? "tdx0" : "sev0",
      {"Switches the protection on, as the object of that name says; QEMU then also keeps the guest's memory "
       "from being merged (KSM).",
       "QEMU hw/core/machine.c: machine_run_board_init"});
  if (protection == Protection::tdx)
    put(option, "kernel-irqchip", "split",
        {"The only kind that TDX has: the I/O APIC in QEMU, the local APICs in the TDX module and KVM.",
         "QEMU docs/system/i386/tdx.rst"});
  else if (state_is_encrypted(protection))
    put(option, "kernel-irqchip", "on",
        {"QEMU cannot start further CPUs itself, because it cannot write their registers: KVM's interrupt "
         "controller does.",
         "QEMU docs/system/i386/amd-memory-encryption.rst"});
  if (!state_is_encrypted(protection)) return;
  put(option, "smm", "off",
      {"System management mode saves and changes the guest's registers, which are encrypted.",
       "QEMU docs/system/i386/amd-memory-encryption.rst, tdx.rst"});
  if (is_sev(protection))
    put(option, "vmport", "off",
        {"VMware's port passes values in registers that QEMU cannot read.", "QEMU hw/i386/vmport.c"});
}

void OptionList::processor() {
  if (plan_.kvm)
    put(add("accel",
            {plan_.protection == Protection::none ? "The host's processor runs the guest."
                                                  : "Memory encryption is the processor's: only KVM has it.",
             "QEMU target/i386/sev.c; Linux arch/x86/kvm/svm/sev.c"}),
        "accel", "kvm");
  else
    put(add("accel",
            {"QEMU emulates the processor; its own has no memory encryption.", "QEMU qemu-options.hx"}),
        "accel", "tcg");

  std::string why = "All features of the host's processor, RDRAND among them, which a SEV guest demands.";
  if (!plan_.request.cpu_model.empty())
    why = "As asked for.";
  else if (!plan_.kvm)
    why = "Every feature that TCG emulates, RDRAND among them.";
  else if (plan_.cpu_model != "host")
    why =
        "The processor's signature is part of the CPUs' measured state: a named model gives the same "
        "measurement on every host.";
  PlannedOption& cpu = add("cpu", {why, "Linux arch/x86/coco/core.c: cc_random_init; AMD APM vol. 2, 15.35"});
  std::string_view rest = plan_.cpu_model;
  put(cpu, "model", std::string{rest.substr(0, rest.find(','))});
  while (rest.find(',') != std::string_view::npos) {
    rest.remove_prefix(rest.find(',') + 1);
    const std::string_view feature = rest.substr(0, rest.find(','));
    const auto equals = feature.find('=');
    const bool sign = feature.starts_with('+') || feature.starts_with('-');
    put(cpu, std::string{feature.substr(sign ? 1 : 0, equals - (sign ? 1 : 0))},
        equals != std::string_view::npos ? std::string{feature.substr(equals + 1)}
                                         : std::string{feature.starts_with('-') ? "off" : "on"});
  }
  put(add("smp",
          {state_is_encrypted(plan_.protection)
               ? "No maxcpus=: a CPU's first state is measured and encrypted at launch, so none can be added "
                 "later."
               : "No maxcpus=: all CPUs are there from the start.",
           "Kata Containers, configuration-qemu.toml: confidential_guest"}),
      "cpus", fmt::format("{}", plan_.request.cpus));
}

void OptionList::memory() {
  const std::string size = whole_size(plan_.request.memory_bytes);
  put(add("m", {"No slots= and maxmem=: memory that is plugged in later was neither measured nor encrypted "
                "at launch.",
                "Kata Containers, configuration-qemu.toml: confidential_guest"}),
      "size", size);
  PlannedOption& ram =
      add("object", {"The guest's memory. No memory-backend-file, and no nvdimm on one: what is in a file is "
                     "plain, and encryption needs a copy.",
                     "QEMU qapi/qom.json"});
  const bool snp = plan_.protection == Protection::sev_snp;
  put(ram, "qom-type", snp ? "memory-backend-memfd" : "memory-backend-ram",
      snp ? Reason{"Holds the pages that the guest shares; its private pages come from KVM's guest_memfd, "
                   "which QEMU adds itself.",
                   "QEMU target/i386/sev.c; Linux virt/kvm/guest_memfd.c"}
          : Reason{"Anonymous memory, which KVM can pin.", "Linux arch/x86/kvm/svm/sev.c: sev_pin_memory"});
  put(ram, "id", "ram0");
  put(ram, "size", size);
  if (snp)
    put(ram, "share", "on",
        {"Other processes (vhost-user) can map the shared pages.",
         "QEMU qapi/qom.json: MemoryBackendProperties"});
  if (plan_.protection == Protection::sev || plan_.protection == Protection::sev_es)
    put(ram, "prealloc", "on",
        {"KVM pins every page before the guest starts, because the ciphertext depends on the address: no "
         "swapping, no overcommitting. Where the host has too little memory, this says so.",
         "Linux arch/x86/kvm/svm/sev.c: sev_mem_enc_register_region"});
}

void OptionList::protection() {
  const Protection protection = plan_.protection;
  if (protection == Protection::none) return;
  PlannedOption& object =
      add("object", {fmt::format("{}: QEMU {} or later.", to_string(protection),
                                 fmt::format("{}.{}", first_version_with(protection).release,
                                             first_version_with(protection).update)),
                     "QEMU qapi/qom.json"});
  if (!is_sev(protection)) {
    put(object, "qom-type", "tdx-guest");
    put(object, "id", "tdx0");
    return attestation(object);
  }
  put(object, "qom-type", protection == Protection::sev_snp ? "sev-snp-guest" : "sev-guest");
  put(object, "id", "sev0");
  put(object, "cbitpos", fmt::format("{}", plan_.c_bit),
      {"The position of the C-bit in a page-table entry: CPUID 8000001F EBX[5:0] of the host, which the "
       "guest must see too.",
       "AMD APM vol. 3, E.4.17; QEMU target/i386/sev.c"});
  put(object, "reduced-phys-bits", fmt::format("{}", plan_.reduced_phys_bits),
      {"Address bits that the guest loses: one, the C-bit itself. CPUID 8000001F EBX[11:6] of the host "
       "counts what host-physical addresses lose, which is no concern of the guest's.",
       "AMD APM vol. 3, E.4.17; QEMU docs/system/i386/amd-memory-encryption.rst"});
  put(object, "policy", fmt::format("{:#x}", plan_.policy),
      {policy_text(plan_),
       protection == Protection::sev_snp ? "SEV-SNP Firmware ABI, 4.3" : "SEV API, chapter 3"});
  if (plan_.kernel_hashes)
    put(object, "kernel-hashes", "on",
        {"Puts hashes of kernel, initrd and command line into the measured memory; the firmware refuses "
         "others.",
         "QEMU qapi/qom.json (since 6.2); OVMF OvmfPkg/AmdSev"});
  attestation(object);
}

void OptionList::attestation(PlannedOption& object) {
  const AttestationRequest& wish = plan_.request.attestation;
  const auto put_some = [&](std::string key, const std::string& value, std::string why, std::string source) {
    if (!value.empty()) put(object, std::move(key), value, {std::move(why), std::move(source)});
  };
  constexpr const char* finish = "SEV-SNP Firmware ABI, SNP_LAUNCH_FINISH; QEMU target/i386/sev.c";
  constexpr const char* init = "QEMU qapi/qom.json: TdxGuestProperties; target/i386/kvm/tdx.c";
  put_some("id-block", wish.id_block,
           "What the owner expects: the launch digest and the policy. The firmware starts no other guest.",
           finish);
  put_some("id-auth", wish.id_auth, "The owner's signature of the ID block, and the key.", finish);
  put_some("host-data", wish.host_data, "32 bytes that the report repeats: what the host vouches for.",
           finish);
  if (wish.no_vcek)
    put(object, "vcek-disabled", "on",
        {"Reports are signed with the cloud's VLEK only, not with the chip's own key.", finish});
  put_some("mrconfigid", wish.mr_config_id, "The quote's MRCONFIGID: what is not the owner's configuration.",
           init);
  put_some("mrowner", wish.mr_owner, "The quote's MROWNER: who owns the guest.", init);
  put_some("mrownerconfig", wish.mr_owner_config, "The quote's MROWNERCONFIG: the owner's configuration.",
           init);
  const std::string_view socket = wish.quote_socket;
  if (socket.empty()) return;
  const std::string key = "quote-generation-socket.";
  const Reason reason{"Where the Quote Generation Service of the host listens: it signs the guest's reports.",
                      init};
  if (socket.starts_with("unix:")) {
    put(object, key + "type", "unix", reason);
    put(object, key + "path", std::string{socket.substr(5)});
    return;
  }
  const auto colon = socket.rfind(':');
  put(object, key + "type", "vsock", reason);
  put(object, key + "cid", std::string{socket.substr(6, colon - 6)});
  put(object, key + "port", std::string{socket.substr(colon + 1)});
}

void OptionList::firmware() {
  if (!plan_.request.igvm.empty()) {
    PlannedOption& file = add("object", {"The IGVM file.", "QEMU docs/system/igvm.rst (10.1)"});
    put(file, "qom-type", "igvm-cfg");
    put(file, "id", "igvm0");
    put(file, "file", plan_.request.igvm);
  }
  if (!plan_.firmware) return;
  if (!plan_.firmware_in_flash) {
    add_text("bios", plan_.firmware->path,
             {plan_.firmware->ovmf
                  ? "The firmware as plain memory: this protection has no read-only memory slots, "
                    "hence no flash."
                  : "The firmware as asked for.",
              "QEMU docs/system/i386/tdx.rst; hw/i386/x86-common.c"});
    return;
  }
  PlannedOption& flash =
      add("drive",
          {plan_.protection == Protection::none
               ? "OVMF, as an encrypted guest has it."
               : "OVMF: SeaBIOS knows nothing of encrypted memory. QEMU encrypts and measures the flash. "
                 "No second flash for variables: it would not be measured.",
           "QEMU hw/i386/pc_sysfw.c; docs/system/i386/amd-memory-encryption.rst"});
  put(flash, "if", "pflash");
  put(flash, "unit", "0");
  put(flash, "format", "raw");
  put(flash, "readonly", "on");
  put(flash, "file", plan_.firmware->path);
}

void OptionList::kernel() {
  const LaunchRequest& request = plan_.request;
  if (request.kernel.empty()) return;
  add_text("kernel", request.kernel, {"Booted directly, without a boot loader.", "QEMU hw/i386/x86.c"});
  if (!request.initrd.empty())
    add_text("initrd", request.initrd,
             {"The guest's first files, copied into its memory; a file system in an nvdimm would have to be "
              "read in place.",
              "Kata Containers, configuration-qemu.toml: initrd"});
  if (!plan_.append.empty())
    add_text("append", plan_.append,
             {request.append ? "As asked for." : "The kernel talks to the serial port.",
              "Linux Documentation/admin-guide/kernel-parameters.txt"});
}

void OptionList::add_disk(const DiskRequest& disk) {
  PlannedOption& drive = add(
      "drive",
      {"The disk's contents: plain on the host, so the guest should encrypt them.", "QEMU qemu-options.hx"});
  put(drive, "if", "none");
  put(drive, "id", disk.id);
  put(drive, "format", disk.format);
  if (disk.read_only) put(drive, "readonly", "on");
  put(drive, "file", disk.file);
  PlannedOption& device =
      add("device", {"virtio-blk, and no nvdimm: a request is copied into the guest, which is when "
                     "it gets encrypted.",
                     "Kata Containers, configuration-qemu.toml: disable_image_nvdimm"});
  put(device, "driver", "virtio-blk-pci");
  put(device, "drive", disk.id);
  put_virtio(device);
}

void OptionList::add_net(const NetRequest& net) {
  PlannedOption& back = add("netdev", {"The host's side of the network.", "QEMU qemu-options.hx"});
  put(back, "type", net.kind == NetKind::user ? "user" : "tap");
  put(back, "id", net.id);
  if (!net.forwards.empty()) put(back, "hostfwd", net.forwards);
  if (net.kind == NetKind::tap) {
    if (!net.ifname.empty()) put(back, "ifname", net.ifname);
    put(back, "script", "no");
    put(back, "downscript", "no");
    if (net.vhost)
      put(back, "vhost", "on",
          {"The host's kernel moves the packets, from and to the same shared memory.",
           "QEMU hw/virtio/vhost.c"});
  }
  PlannedOption& device = add("device", {"The guest's side.", "QEMU qemu-options.hx"});
  put(device, "driver", "virtio-net-pci");
  put(device, "netdev", net.id);
  put_virtio(device);
  put(device, "romfile", "",
      {"No option ROM: it is code from the host that is not measured, and its driver does not bounce.",
       "OVMF; libvirt's <rom enabled='no'/>"});
}

// hw/vfio/listener.c maps what a guest with private memory shares page by page; VFIO's own container has
// 65535 mappings.
void OptionList::passed_through() {
  constexpr QemuVersion iommufd_since{9, 0};
  const std::vector<std::string>& functions = plan_.request.passed_through;
  if (functions.empty()) return;
  const bool iommufd = plan_.qemu >= iommufd_since;
  if (iommufd) {
    PlannedOption& object = add(
        "object", {"One address space for all passed-through devices, without a limit of mappings: what the "
                   "guest shares is mapped page by page.",
                   "QEMU backends/iommufd.c, hw/vfio/listener.c; Linux drivers/vfio/vfio_iommu_type1.c: "
                   "dma_entry_limit"});
    put(object, "qom-type", "iommufd");
    put(object, "id", "iommufd0");
  }
  for (std::size_t i = 0; i < functions.size(); ++i) {
    const std::string port = fmt::format("port{}", i);
    PlannedOption& root =
        add("device", {"A port of its own: the function is a PCI Express endpoint, as its driver expects.",
                       "QEMU docs/pcie.txt"});
    put(root, "driver", "pcie-root-port");
    put(root, "id", port);
    put(root, "chassis", fmt::format("{}", i + 1));
    PlannedOption& device =
        add("device",
            {"A function of the host's, bound to vfio-pci. It reaches shared pages only: a GPU has to be in "
             "its confidential mode, which encrypts what goes through them.",
             "QEMU hw/vfio/pci.c; Linux Documentation/driver-api/vfio.rst"});
    put(device, "driver", "vfio-pci");
    put(device, "host", functions[i]);
    put(device, "bus", port);
    if (iommufd) put(device, "iommufd", "iommufd0");
  }
}

void OptionList::other_devices() {
  PlannedOption& entropy = add("object", {"Entropy for virtio-rng.", "QEMU qapi/qom.json"});
  put(entropy, "qom-type", "rng-random");
  put(entropy, "id", "rng0");
  put(entropy, "filename", "/dev/urandom");
  PlannedOption& rng =
      add("device", {"An early source of entropy beside RDRAND. The host knows its bytes, so the guest "
                     "must not rely on them alone.",
                     "Linux arch/x86/coco/core.c: cc_random_init"});
  put(rng, "driver", "virtio-rng-pci");
  put(rng, "rng", "rng0");
  put_virtio(rng);
  if (!plan_.request.vsock_cid) return;
  PlannedOption& vsock =
      add("device", {"Sockets between host and guest; the host's kernel is the device and uses the "
                     "same shared memory.",
                     "Linux drivers/vhost/vsock.c"});
  put(vsock, "driver", "vhost-vsock-pci");
  put(vsock, "guest-cid", fmt::format("{}", *plan_.request.vsock_cid));
  put_virtio(vsock);
}

void OptionList::console() {
  add_text("display", "",
           {"No screen: a frame buffer of QEMU's is memory that the host reads.", "QEMU qemu-options.hx"});
  options_.back().properties.push_back({"type", "none", {}});
  const std::string& where = plan_.request.console;
  if (where == "none") return;
  PlannedOption& back =
      add("chardev", {where == "stdio" ? "The terminal; Ctrl-A X ends QEMU, Ctrl-A C shows its monitor."
                                       : "Where the serial port's text goes. The host reads it.",
                      "QEMU qemu-options.hx"});
  const bool file = where != "stdio" && where != "pty";
  put(back, "backend", file ? "file" : where);
  put(back, "id", "console0");
  if (where == "stdio") {
    put(back, "mux", "on");
    put(back, "signal", "off");
  } else if (file) {
    put(back, "path", where);
  }
  add_text("serial", "chardev:console0",
           {"A serial port moves its bytes without DMA.", "QEMU hw/char/serial.c"});
  if (where != "stdio") return;
  PlannedOption& monitor = add("mon", {"QEMU's monitor, behind Ctrl-A C.", "QEMU qemu-options.hx"});
  put(monitor, "chardev", "console0");
  put(monitor, "mode", "readline");
}

void OptionList::end() {
  if (state_is_encrypted(plan_.protection))
    add("no-reboot", {"A reset would have to write the CPUs' registers; the guest's end is QEMU's end.",
                      "QEMU docs/system/i386/amd-memory-encryption.rst"});
  for (const QemuOption& extra : plan_.request.extra) {
    PlannedOption& option = add(extra.name, {"Given after --.", "the command line"});
    option.text = extra.text;
    for (const QemuProperty& property : extra.properties) put(option, property.key, property.value);
  }
}

}  // namespace

std::vector<PlannedOption> plan_options(const LaunchPlan& plan) { return OptionList{plan}.all(); }

QemuOption option_of(const PlannedOption& planned) {
  QemuOption option{.name = planned.name, .text = planned.text};
  for (const PlannedProperty& property : planned.properties)
    option.properties.push_back({property.key, property.value});
  return option;
}

QemuCommand command_of(const LaunchPlan& plan) {
  QemuCommand command{.program = plan.program};
  for (const PlannedOption& option : plan.options) command.options.push_back(option_of(option));
  return command;
}

}  // namespace cbit::launch
