// For each rule about a guest's configuration: one that it is about, and nearly the same that it is not
// about.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/firmware.hpp"
#include "launch/igvm.hpp"
#include "launch/rules.hpp"

namespace cbit::launch_cases {

// A host that can do everything.
inline facts::GuestSupport capable_host() {
  const facts::Support yes{.usable = true};
  return {.kvm = yes,
          .sev = yes,
          .sev_es = yes,
          .sev_snp = yes,
          .tdx = yes,
          .c_bit = 51,
          .reduced_phys_bits = 5,
          .asids = 509,
          .first_sev_asid = 100,
          .sev_asids_free = 400,
          .sev_es_asids_free = 99,
          .memory_bytes = 64ull << 30};
}

// Configurations in which nothing is to be found.
inline const std::string sev =
    "qemu-system-x86_64 -accel kvm -machine q35,confidential-guest-support=sev0 -cpu EPYC-v4 -m 4G -smp 4"
    " -object sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x1 -bios OVMF.fd -no-reboot";

inline std::string edit(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  return at == std::string::npos ? "nothing to replace" : text.replace(at, from.size(), to);
}

inline const std::string es = edit(sev, "policy=0x1", "policy=0x5");
inline const std::string snp = edit(sev, "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x1",
                                    "sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x30000");
inline const std::string quotes =
    "quote-generation-socket.type=vsock,quote-generation-socket.cid=2,quote-generation-socket.port=4050";
inline const std::string tdx = edit(
    edit(sev, "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x1", "tdx-guest,id=sev0," + quotes),
    "EPYC-v4", "host");

// Images that can be read, by name; there are no others.
inline OrError<launch::Firmware> read_image(const std::string& path) {
  const launch::Firmware full{.path = path,
                              .bytes = 4 << 20,
                              .ovmf = true,
                              .sev_es = true,
                              .sev_snp = true,
                              .tdx = true,
                              .sev_hash_bytes = 1024};
  launch::Firmware general = full, early = full;
  general.sev_hash_bytes = 0;
  early.sev_snp = early.tdx = false;
  if (path == "OVMF.fd") return full;
  if (path == "general.fd") return general;
  if (path == "early.fd") return early;
  if (path == "other.fd") return launch::Firmware{.path = path, .bytes = 4 << 20};
  return bad_input("there is no file " + path);
}
inline OrError<launch::IgvmFile> read_igvm_file(const std::string& path) {
  if (path == "coconut.igvm") return launch::IgvmFile{.valid = true, .sev_snp = true};
  if (path == "tdx.igvm") return launch::IgvmFile{.valid = true, .tdx = true};
  return launch::IgvmFile{};
}

struct Example {
  std::string_view rule;
  std::string bad;
  std::string good;
  std::optional<launch::QemuVersion> qemu = std::nullopt;
  std::function<void(facts::GuestSupport&)> bad_host = nullptr;  // `good` is judged on a capable host
};

// How an example is judged.
inline launch::JudgeContext context_of(const Example& example, const facts::GuestSupport& host) {
  return {.host = &host, .qemu = example.qemu, .read_firmware = read_image, .read_igvm = read_igvm_file};
}

inline std::vector<Example> protection_examples() {
  const std::string kernel = " -kernel bzImage -append console=ttyS0";
  return {
      {"not-encrypted",
       edit(edit(sev, ",confidential-guest-support=sev0", ""), "-object sev-guest", "-object rng-random"),
       sev},
      {"protection-object-unused", edit(sev, ",confidential-guest-support=sev0", ""), sev},
      {"protection-object-missing", edit(sev, "id=sev0", "id=sev1"), sev},
      {"protection-object-of-other-kind", edit(sev, "sev-guest", "s390-pv-guest"), snp},
      {"memory-encryption-is-old", edit(sev, "confidential-guest-support", "memory-encryption"), sev},
      {"option-newer-than-qemu", snp, edit(sev, "confidential-guest-support", "memory-encryption"),
       launch::QemuVersion{5, 2}},
      {"technology-not-usable",
       snp,
       snp,
       {},
       [](facts::GuestSupport& host) { host.sev_snp = {false, "the IOMMU passes", "no iommu=pt"}; }},
      {"technology-not-usable", sev, sev, {}, [](facts::GuestSupport& host) { host.kvm.usable = false; }},
      {"needs-kvm", edit(sev, "-accel kvm", ""), edit(sev, "-accel kvm", "-enable-kvm")},
      {"needs-kvm", edit(sev, "-accel kvm", "-accel tcg"),
       edit(sev, "-accel kvm -machine q35", "-machine q35,accel=kvm:tcg")},
      {"c-bit-position", edit(sev, "cbitpos=51", "cbitpos=47"), sev},
      {"c-bit-position", edit(sev, "cbitpos=51,", ""), sev},
      {"reduced-phys-bits-range", edit(sev, ",reduced-phys-bits=1", ""), sev},
      {"reduced-phys-bits-range", edit(sev, "phys-bits=1", "phys-bits=64"), sev},
      {"reduced-phys-bits-of-the-host", edit(sev, "phys-bits=1", "phys-bits=5"), sev},
      {"policy-of-other-object", edit(sev, "policy=0x1", "policy=0x30000"), es},
      {"policy-of-other-object", edit(snp, "policy=0x30000", "policy=0x5"), snp},
      {"policy-reserved-bits", edit(sev, "policy=0x1", "policy=0x41"),
       edit(sev, "policy=0x1", "policy=0x3f")},
      {"policy-refused-by-kvm", edit(snp, "policy=0x30000", "policy=0x4030000"), snp},
      {"policy-refused-by-kvm", edit(snp, "policy=0x30000", "policy=0x70000"), snp},
      {"policy-refused-by-kvm",
       edit(snp, "policy=0x30000", "policy=0x130000"),
       edit(snp, "policy=0x30000", "policy=0x130000"),
       {},
       [](facts::GuestSupport& host) { host.kernel = {6, 12}; }},
      {"policy-refused-by-kvm",
       edit(snp, "policy=0x30000", "policy=0x20000"),
       edit(snp, "policy=0x30000", "policy=0x20000"),
       {},
       [](facts::GuestSupport& host) { host.kernel = {6, 12}; }},
      {"policy-refused-by-kvm",
       edit(snp, "policy=0x30000", "policy=0x1030000"),
       edit(snp, "policy=0x30000", "policy=0x1030000"),
       {},
       [](facts::GuestSupport& host) { host.kernel = {6, 18}; }},
      {"policy-of-newer-hosts", edit(snp, "policy=0x30000", "policy=0x130000"), snp},
      {"policy-of-newer-hosts",
       edit(snp, "policy=0x30000", "policy=0x1030000"),
       snp,
       {},
       [](facts::GuestSupport& host) { host.kernel = {7, 3}; }},
      {"policy-allows-debug", edit(sev, "policy=0x1", "policy=0x2"), edit(sev, ",policy=0x1", "")},
      {"policy-allows-debug", edit(snp, "policy=0x30000", "policy=0xb0000"),
       edit(snp, ",policy=0x30000", "")},
      {"policy-forbids-smt", edit(snp, "policy=0x30000", "policy=0x20000"), snp},
      {"asid-exhausted", sev, sev, {}, [](facts::GuestSupport& host) { host.sev_asids_free = 0; }},
      {"asid-exhausted", es, es, {}, [](facts::GuestSupport& host) { host.first_sev_asid = 1; }},
      {"asid-exhausted", sev, es, {}, [](facts::GuestSupport& host) { host.first_sev_asid = 510; }},
      {"policy-forbids-debug", sev + " -s", edit(sev, "policy=0x1", "policy=0x0") + " -s"},
      {"policy-forbids-debug", sev + " -gdb tcp::1234", sev + " -gdb none"},
      {"gdb-reads-ciphertext", snp + " -s", snp},
      {"kernel-not-measured", sev + kernel, edit(sev, "policy=0x1", "policy=0x1,kernel-hashes=on") + kernel},
      {"kernel-hashes-without-kernel", edit(sev, "policy=0x1", "kernel-hashes=on"),
       edit(sev, "policy=0x1", "kernel-hashes=on") + kernel},
      {"kernel-hashes-need-a-hash-table",
       edit(edit(sev, "policy=0x1", "kernel-hashes=on"), "OVMF.fd", "general.fd") + kernel,
       edit(sev, "policy=0x1", "kernel-hashes=on") + kernel},
      {"mem-encrypt-off-has-no-effect", sev + " -append 'quiet mem_encrypt=off'",
       sev + " -append xmem_encrypt=off"},
      {"noforce-in-guest", sev + " -append swiotlb=noforce", sev + " -append swiotlb=force"},
      {"noforce-in-guest", sev + " -append 'root=/dev/vda swiotlb=65536,noforce'", sev + " -append noforce"},
      {"pool-smaller-than-default", sev + " -append swiotlb=32768", sev + " -append swiotlb=262144"},
  };
}

inline std::vector<Example> attestation_examples() {
  const std::string id_block(128, 'A');  // 96 zero bytes: its policy is 0
  const std::string id_auth = std::string(5460, 'A') + "AA==";
  const auto with = [](const std::string& line, const std::string& properties) {
    return edit(line, "id=sev0,", "id=sev0," + properties + ',');
  };
  const std::string good_block = std::string(120, 'A') + "AwAAAAAA";  // bytes 90: 3, so 0x30000
  return {
      {"object-property-unknown", with(tdx, "kernel-hashes=on"), with(snp, "kernel-hashes=on")},
      {"object-property-unknown", with(tdx, "policy=0x30000"), tdx},
      {"object-property-unknown", with(sev, "id-block=" + id_block), sev},
      {"object-property-unknown", with(snp, "mrowner=AAAA"), with(tdx, "mrowner=" + std::string(64, 'A'))},
      {"object-property-unknown", with(snp, "igvm-file=coconut.igvm"), snp},
      {"object-property-unknown", with(es, "cbit-pos=51"), with(es, "legacy-vm-type=auto")},
      {"object-property-unreleased", with(es, "debug-swap=on"), with(es, "legacy-vm-type=on")},
      {"object-property-unreleased", with(snp, "secure-tsc=on"), snp},
      {"object-property-unknown", with(snp, "secure-tsc=on"), snp, launch::QemuVersion{11, 1}},
      {"attestation-blob", with(snp, "host-data=AAAA"), with(snp, "host-data=" + std::string(43, 'A') + "=")},
      {"attestation-blob", with(snp, "host-data=%"), snp},
      {"attestation-blob", with(tdx, "mrconfigid=" + std::string(60, 'A')),
       with(tdx, "mrconfigid=" + std::string(64, 'A'))},
      {"attestation-blob", with(snp, "id-block=AAAA,id-auth=" + id_auth),
       with(snp, "id-block=" + good_block + ",id-auth=" + id_auth)},
      {"id-block-without-id-auth", with(snp, "id-block=" + good_block),
       with(snp, "id-block=" + good_block + ",id-auth=" + id_auth)},
      {"id-auth-without-id-block", with(snp, "id-auth=" + id_auth), snp},
      {"id-block-of-other-policy",
       edit(with(snp, "id-block=" + good_block + ",id-auth=" + id_auth), "policy=0x30000", "policy=0xb0000"),
       snp},
      {"vcek-disabled", with(snp, "vcek-disabled=on"), with(snp, "vcek-disabled=off")},
      {"tdx-attributes", with(tdx, "attributes=1"), with(tdx, "attributes=0x10000000")},
      {"tdx-attributes", with(tdx, "attributes=0x10000001"), with(tdx, "attributes=0x50000000")},
      {"sept-ve-enabled", with(tdx, "sept-ve-disable=off"), with(tdx, "sept-ve-disable=on")},
      {"sept-ve-enabled", with(tdx, "attributes=0x40000000"), tdx},
      {"quote-socket-missing", edit(tdx, ',' + quotes, ""), tdx},
      {"quote-socket-address", edit(tdx, "type=vsock", "type=pipe"), tdx},
      {"quote-socket-address", edit(tdx, ",quote-generation-socket.cid=2", ""), tdx},
      {"quote-socket-address", edit(tdx, "quote-generation-socket.type=vsock,", ""),
       edit(tdx, quotes, "quote-generation-socket.type=unix,quote-generation-socket.path=/run/qgs")},
      {"tpm-of-the-host", snp + " -tpmdev emulator,id=t,chardev=c -device tpm-crb,tpmdev=t", snp},
      {"igvm-sets-the-policy", edit(snp, "q35,", "q35,igvm-cfg=i,"), edit(tdx, "q35,", "q35,igvm-cfg=i,")},
  };
}

inline std::vector<Example> firmware_examples() {
  const std::string flash = " -drive if=pflash,format=raw,unit=0,readonly=on,file=OVMF.fd";
  const std::string with_igvm = edit(edit(snp, "q35,", "q35,igvm-cfg=i,"), "-bios OVMF.fd", "");
  const std::string igvm = with_igvm + " -object igvm-cfg,id=i,file=coconut.igvm";
  return {
      {"firmware-missing", edit(sev, "-bios OVMF.fd", ""), edit(sev, "-bios OVMF.fd", flash)},
      {"firmware-missing", edit(sev, "OVMF.fd", "/usr/share/seabios/bios-256k.bin"),
       edit(sev, "-bios OVMF.fd", "-machine pflash0=code")},
      {"firmware-missing", edit(sev, "-bios OVMF.fd", ""), igvm},
      {"firmware-not-read", edit(sev, "OVMF.fd", "nowhere.fd"), sev},
      {"firmware-not-read", edit(sev, "-bios OVMF.fd", edit(flash, "format=raw", "format=qcow2")),
       edit(sev, "-bios OVMF.fd", flash)},
      {"firmware-lacks-metadata", edit(snp, "OVMF.fd", "early.fd"), edit(es, "OVMF.fd", "early.fd")},
      {"firmware-lacks-metadata", edit(tdx, "OVMF.fd", "early.fd"), edit(tdx, "OVMF.fd", "general.fd")},
      {"firmware-lacks-metadata", edit(es, "OVMF.fd", "other.fd"), es},
      {"firmware-lacks-metadata",
       edit(es, "-bios OVMF.fd",
            "-blockdev driver=file,node-name=f,filename=other.fd -blockdev driver=raw,node-name=code,file=f"
            " -machine pflash0=code"),
       edit(es, "-bios OVMF.fd",
            "-blockdev driver=raw,node-name=code,file.driver=file,file.filename=OVMF.fd"
            " -machine pflash0=code")},
      {"firmware-without-a-table", edit(sev, "OVMF.fd", "other.fd"), sev},
      {"variables-beside-amdsev",
       edit(es, "-bios OVMF.fd", flash) + " -drive if=pflash,format=raw,unit=1,file=VARS.fd",
       edit(es, "-bios OVMF.fd", edit(flash, "OVMF.fd", "general.fd")) +
           " -drive if=pflash,format=raw,unit=1,file=VARS.fd"},
      {"variables-beside-amdsev",
       edit(es, "-bios OVMF.fd", "-drive if=pflash,file=OVMF.fd -drive if=pflash,file=VARS.fd"), es},
      {"pflash-with-snp-or-tdx", edit(snp, "-bios OVMF.fd", flash), snp},
      {"pflash-with-snp-or-tdx", tdx + flash, edit(sev, "-bios OVMF.fd", flash)},
      {"pflash-needs-the-legacy-vm-type",
       edit(edit(es, "policy=0x5", "policy=0x5,legacy-vm-type=off"), "-bios OVMF.fd", flash),
       edit(es, "policy=0x5", "policy=0x5,legacy-vm-type=off")},
      {"pflash-needs-the-legacy-vm-type",
       edit(edit(es, "policy=0x5", "policy=0x5,debug-swap=on"), "-bios OVMF.fd", flash),
       edit(edit(sev, "policy=0x1", "policy=0x1,legacy-vm-type=off"), "-bios OVMF.fd", flash)},
      {"igvm-object-missing", with_igvm, igvm},
      {"igvm-object-missing", with_igvm + " -object rng-random,id=i", igvm},
      {"igvm-object-missing", with_igvm + " -object igvm-cfg,id=i", igvm},
      {"igvm-with-pflash", igvm + flash, igvm},
      {"igvm-with-bios", igvm + " -bios OVMF.fd", igvm},
      {"igvm-with-kernel-hashes", edit(igvm, "policy=", "kernel-hashes=on,policy=") + " -kernel bzImage",
       edit(igvm, "policy=", "kernel-hashes=on,policy=")},
      {"igvm-with-tdx",
       edit(edit(tdx, "q35,", "q35,igvm-cfg=i,"), "-bios OVMF.fd", "") +
           " -object igvm-cfg,id=i,file=tdx.igvm",
       igvm},
      {"igvm-of-another-platform", edit(igvm, "coconut.igvm", "tdx.igvm"), igvm},
      {"igvm-of-another-platform", edit(igvm, "coconut.igvm", "disk.img"), igvm},
      {"option-newer-than-qemu", igvm, snp, launch::QemuVersion{9, 1}},
  };
}

inline std::vector<Example> machine_examples() {
  return {
      {"machine-without-pci-express", edit(sev, "q35", "pc"), edit(sev, "q35", "pc-q35-7.2")},
      {"machine-without-pci-express", edit(sev, "q35", "pc-i440fx-6.1"), sev},
      {"machine-microvm", edit(sev, "q35", "microvm"), sev},
      {"smm-with-encrypted-state", edit(es, "q35", "q35,smm=on"), edit(sev, "q35", "q35,smm=on")},
      {"irqchip-in-user-space", edit(es, "q35", "q35,kernel-irqchip=off"),
       edit(es, "q35", "q35,kernel-irqchip=split")},
      {"irqchip-in-user-space", edit(tdx, "q35", "q35,kernel_irqchip=on"), tdx},
      {"irqchip-in-user-space", edit(snp, "-accel kvm", "-accel kvm,kernel-irqchip=off"),
       edit(sev, "-accel kvm", "-accel kvm,kernel-irqchip=off")},
      {"reboot-ends-the-guest", edit(es, " -no-reboot", ""),
       edit(es, "-no-reboot", "-action reboot=shutdown")},
      {"reboot-ends-the-guest", edit(snp, " -no-reboot", ""), edit(sev, " -no-reboot", "")},
      {"cpu-without-rdrand", edit(sev, "-cpu EPYC-v4", ""), edit(sev, "EPYC-v4", "host")},
      {"cpu-without-rdrand", edit(sev, "EPYC-v4", "Nehalem-v1"), edit(sev, "EPYC-v4", "qemu64,+rdrand")},
      {"cpu-without-rdrand", edit(sev, "EPYC-v4", "EPYC-v4,-rdrand"), sev},
      {"cpu-model-with-tdx", edit(tdx, "-cpu host", "-cpu SapphireRapids"),
       edit(tdx, "-cpu host", "-cpu max")},
      {"cpu-model-with-tdx", edit(tdx, "-cpu host", ""), edit(tdx, "-cpu host", "-cpu host,-avx512f")},
      {"pic-with-tdx", edit(tdx, "q35", "q35,pic=on"), edit(snp, "q35", "q35,pic=on")},
      {"phys-bits-cover-c-bit", edit(sev, "EPYC-v4", "EPYC-v4,phys-bits=53"),
       edit(sev, "EPYC-v4", "EPYC-v4,phys-bits=52")},
      {"cpu-hotplug", edit(es, "-smp 4", "-smp 4,maxcpus=8"),
       edit(es, "-smp 4", "-smp cpus=4,sockets=2,cores=2")},
      {"cpu-hotplug", edit(snp, "-smp 4", "-smp 2,sockets=2,cores=2"),
       edit(sev, "-smp 4", "-smp 4,maxcpus=8")},
      {"migration-not-possible", sev + " -incoming tcp:0:4444", sev + " -snapshot"},
      {"migration-not-possible", sev + " -only-migratable", sev},
      {"migration-not-possible", sev + " -loadvm before", sev},
      {"memlock-exceeded", sev, snp, {}, [](facts::GuestSupport& host) { host.memlock_bytes = 4ull << 30; }},
      {"memlock-exceeded",
       snp + " -device vfio-pci,host=01:00.0",
       snp,
       {},
       [](facts::GuestSupport& host) { host.memlock_bytes = 8 << 20; }},
      {"memory-more-than-the-host-has", edit(sev, "-m 4G", "-m 65G"), edit(sev, "-m 4G", "-m 64G")},
      {"memory-small", edit(sev, "-m 4G", ""), edit(sev, "-m 4G", "-m 512")},
      {"nvdimm", sev + " -device nvdimm,memdev=m,id=n", sev + " -device virtio-blk-pci,drive=d"},
      {"nvdimm", sev + " -device virtio-pmem-pci,memdev=m", sev},
      {"nvdimm-enabled", edit(sev, "q35", "q35,nvdimm=on"), edit(sev, "q35", "q35,nvdimm=off")},
      {"memory-hotplug", edit(sev, "-m 4G", "-m 4G,slots=2,maxmem=8G"), sev},
      {"memory-hotplug", sev + " -device pc-dimm,memdev=m", sev},
      {"memory-discard", sev + " -device virtio-mem-pci,memdev=m", sev},
      {"memory-discard", snp + " -device virtio-mem-pci,memdev=m", snp, launch::QemuVersion{10, 2}},
      {"memory-hotplug", snp + " -device virtio-mem-pci,memdev=m", snp, launch::QemuVersion{10, 0}},
      {"memory-backend-missing", edit(sev, "q35", "q35,memory-backend=ram1"),
       edit(sev, "q35", "q35,memory-backend=ram1") + " -object memory-backend-ram,id=ram1,size=4G"},
      {"memory-backend-missing", sev + " -numa node,memdev=ram1",
       sev + " -numa node,memdev=ram1 -object memory-backend-ram,id=ram1,size=4G"},
      {"memory-size-differs",
       edit(edit(sev, "q35", "q35,memory-backend=ram1"), "-m 4G", "-m 2G") +
           " -object memory-backend-ram,id=ram1,size=4G",
       edit(edit(sev, "q35", "q35,memory-backend=ram1"), "-m 4G", "") +
           " -object memory-backend-ram,id=ram1,size=4G"},
      {"memory-size-differs", sev + " -numa node,memdev=a -object memory-backend-ram,id=a,size=2G",
       sev + " -numa node,memdev=a -object memory-backend-ram,id=a,size=2G"
             " -numa node,memdev=b -object memory-backend-ram,id=b,size=2G"},
      {"memory-size-differs",
       edit(sev, "q35", "q35,memory-backend=a") + " -mem-path /dev/hugepages"
                                                  " -object memory-backend-ram,id=a,size=4G",
       sev},
      {"memory-merge", edit(sev, "q35", "q35,mem-merge=on"), edit(sev, "q35", "q35,mem-merge=off")},
      {"memory-merge", sev + " -object memory-backend-ram,id=m,size=4G,merge=on", sev},
      {"memory-in-a-shared-file",
       sev + " -object memory-backend-file,id=m,size=4G,mem-path=/srv/ram,share=on",
       sev + " -object memory-backend-file,id=m,size=4G,mem-path=/dev/shm/ram,share=on"},
      {"prealloc-doubles-memory", snp + " -object memory-backend-memfd,id=m,size=4G,prealloc=on",
       sev + " -object memory-backend-memfd,id=m,size=4G,prealloc=on"},
      {"prealloc-doubles-memory", tdx + " -mem-prealloc", sev + " -mem-prealloc"},
      {"loaded-after-launch", sev + " -device loader,file=table.bin,addr=0x1000",
       sev + " -device loader,addr=0x1000,cpu-num=0"},
  };
}

inline std::vector<Example> device_examples() {
  const std::string shared =
      " -object memory-backend-memfd,id=mem,size=4G,share=on -machine memory-backend=mem";
  const std::string user_blk = " -device vhost-user-blk-pci,chardev=c";
  const std::string vfio = " -device vfio-pci,host=01:00.0", iommufd = " -object iommufd,id=i";
  return {
      {"flag-not-offered", sev + " -device virtio-blk-pci,drive=d,iommu_platform=off",
       sev + " -device virtio-blk-pci,drive=d"},
      {"flag-not-offered", sev + " -device virtio-scsi-pci -global virtio-scsi-pci.iommu_platform=off",
       sev + " -device virtio-scsi-pci -global virtio-blk-pci.iommu_platform=off"},
      {"flag-not-offered", sev + " -device virtio-serial-pci,disable-legacy=on",
       sev + " -device virtio-serial-pci,disable-legacy=on,iommu_platform=on", launch::QemuVersion{5, 2}},
      {"flag-not-offered", sev + " -drive if=virtio,file=a", sev + " -drive if=none,file=a",
       launch::QemuVersion{5, 2}},
      {"legacy-virtio", sev + " -device '{\"driver\":\"virtio-net-pci\",\"disable-legacy\":\"off\"}'",
       sev + " -device virtio-net-pci,disable-legacy=on,romfile="},
      {"legacy-virtio", sev + " -device virtio-blk-pci-transitional,drive=d",
       sev + " -device virtio-blk-pci-non-transitional,drive=d"},
      {"legacy-virtio", sev + " -device virtio-blk,drive=d,disable-modern=on",
       sev + " -device virtserialport"},
      {"legacy-virtio", sev + " -device virtio-blk-pci,drive=d",
       sev + " -device virtio-blk-pci,drive=d,disable-legacy=on,iommu_platform=on",
       launch::QemuVersion{5, 2}},
      {"flag-not-acked", sev + " -device virtio-balloon", sev + " -device virtio-keyboard-pci"},
      {"host-provided-entropy", sev + " -device virtio-rng-pci", sev + " -object rng-random,id=r"},
      {"vhost-user-without-shared-memory", sev + user_blk, sev + user_blk + shared},
      {"vhost-user-without-shared-memory", sev + " -netdev vhost-user,id=n,chardev=c",
       sev + user_blk + " -object memory-backend-memfd,id=m,size=4G -numa node,memdev=m"},
      {"vhost-user-without-shared-memory",
       sev + user_blk + " -object memory-backend-ram,id=m,size=4G -machine memory-backend=m", sev},
      {"vhost-user-back-end-must-know-the-flag", sev + shared + user_blk, sev + shared},
      {"virtiofs", snp + shared + " -device vhost-user-fs-pci,tag=t,chardev=c",
       sev + shared + " -device vhost-user-fs-pci,tag=t,chardev=c"},
      {"virtiofs", sev + shared + " -device vhost-user-fs-pci,tag=t,chardev=c,cache-size=1G", sev},
      {"virtiofs", sev + shared + " -device vhost-user-fs-pci,tag=t,chardev=c,iommu_platform=off", sev},
      {"vhost-sees-shared-pages-only", sev + " -device vhost-vsock-pci,guest-cid=3",
       sev + " -netdev tap,id=n"},
      {"vhost-sees-shared-pages-only", sev + " -netdev tap,id=n,vhost=on", sev},
      {"bounced-device", sev + " -device nvme,serial=1,drive=d", sev + " -device nvme-ns,drive=d"},
      {"passed-through-device", sev + " -device vfio-pci,host=01:00.0", sev + " -device usb-host"},
      {"vfio-discard", snp + vfio, sev + vfio, launch::QemuVersion{10, 0}},
      {"vfio-discard", tdx + iommufd + edit(vfio, "01:00.0", "01:00.0,iommufd=i"), tdx,
       launch::QemuVersion{9, 1}},
      {"vfio-without-iommufd", snp + vfio, snp + iommufd + edit(vfio, "01:00.0", "01:00.0,iommufd=i")},
      {"vfio-without-iommufd", tdx + vfio, sev + vfio, launch::QemuVersion{10, 1}},
      {"iommufd-missing", sev + vfio + ",iommufd=i", sev + vfio + ",iommufd=i" + iommufd},
      {"iommufd-missing", sev + vfio + ",iommufd=i -object rng-random,id=i", sev + vfio},
      {"option-newer-than-qemu", sev + vfio + ",iommufd=i" + iommufd, sev + vfio, launch::QemuVersion{8, 2}},
      {"several-iommufds",
       snp + vfio + ",iommufd=i" + vfio + ",iommufd=j" + iommufd + " -object iommufd,id=j",
       snp + vfio + ",iommufd=i" + vfio + ",iommufd=i" + iommufd},
      {"vhost-vdpa-discard", snp + " -netdev vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0",
       sev + " -netdev vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0"},
      {"vhost-vdpa-discard", tdx + " -device vhost-vdpa-device-pci,vhostdev=/dev/vhost-vdpa-0", tdx,
       launch::QemuVersion{10, 2}},
      {"emulated-iommu", sev + " -device intel-iommu -append iommu=pt", sev + " -device virtio-iommu-pci"},
      {"emulated-iommu", snp + " -device amd-iommu", snp},
      {"emulated-iommu", edit(sev, "q35", "q35,iommu=on"), sev},
      {"guest-iommu-skips-bounce", sev + " -device virtio-iommu-pci",
       sev + " -device virtio-iommu-pci -append iommu=pt"},
      {"guest-iommu-skips-bounce", sev + " -device virtio-iommu-pci -append quiet", sev},
      {"ivshmem", sev + " -device ivshmem-plain,memdev=m", sev},
      {"option-rom-before-encryption", sev + " -device e1000e,netdev=n",
       sev + " -device e1000e,netdev=n,romfile="},
  };
}

inline std::vector<Example> examples() {
  std::vector<Example> all = protection_examples();
  for (auto* const more : {&attestation_examples, &firmware_examples, &machine_examples, &device_examples})
    for (Example& example : more()) all.push_back(std::move(example));
  return all;
}

}  // namespace cbit::launch_cases
