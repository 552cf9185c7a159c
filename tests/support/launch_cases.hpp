// For each rule about a guest's configuration: one that it is about, and nearly the same that it is not
// about.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
inline const std::string tdx =
    edit(sev, "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x1", "tdx-guest,id=sev0");

struct Example {
  std::string_view rule;
  std::string bad;
  std::string good;
  std::optional<launch::QemuVersion> qemu = std::nullopt;
  std::function<void(facts::GuestSupport&)> bad_host = nullptr;  // `good` is judged on a capable host
};

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
      {"policy-reserved-bits", edit(snp, "policy=0x30000", "policy=0x4030000"), snp},
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
       edit(edit(sev, "policy=0x1", "kernel-hashes=on"), "OVMF.fd", "/usr/share/OVMF/OVMF_CODE.fd") + kernel,
       edit(sev, "policy=0x1", "kernel-hashes=on") + kernel},
      {"mem-encrypt-off-has-no-effect", sev + " -append 'quiet mem_encrypt=off'",
       sev + " -append xmem_encrypt=off"},
      {"noforce-in-guest", sev + " -append swiotlb=noforce", sev + " -append swiotlb=force"},
      {"noforce-in-guest", sev + " -append 'root=/dev/vda swiotlb=65536,noforce'", sev + " -append noforce"},
      {"pool-smaller-than-default", sev + " -append swiotlb=32768", sev + " -append swiotlb=262144"},
  };
}

inline std::vector<Example> machine_examples() {
  const std::string flash = " -drive if=pflash,format=raw,unit=0,readonly=on,file=OVMF.fd";
  return {
      {"machine-without-pci-express", edit(sev, "q35", "pc"), edit(sev, "q35", "pc-q35-7.2")},
      {"machine-without-pci-express", edit(sev, "q35", "pc-i440fx-6.1"), sev},
      {"machine-microvm", edit(sev, "q35", "microvm"), sev},
      {"firmware-missing", edit(sev, "-bios OVMF.fd", ""), edit(sev, "-bios OVMF.fd", flash)},
      {"firmware-missing", edit(sev, "OVMF.fd", "/usr/share/seabios/bios-256k.bin"),
       edit(sev, "-bios OVMF.fd", "-machine pflash0=code")},
      {"pflash-with-snp-or-tdx", edit(snp, "-bios OVMF.fd", flash), snp},
      {"pflash-with-snp-or-tdx", tdx + flash, edit(sev, "-bios OVMF.fd", flash)},
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
      {"memory-discard", sev + " -device virtio-mem-pci,memdev=m", snp + " -device virtio-mem-pci,memdev=m"},
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
      {"vhost-sees-shared-pages-only", sev + " -device vhost-vsock-pci,guest-cid=3",
       sev + " -netdev tap,id=n"},
      {"vhost-sees-shared-pages-only", sev + " -netdev tap,id=n,vhost=on", sev},
      {"bounced-device", sev + " -device nvme,serial=1,drive=d", sev + " -device nvme-ns,drive=d"},
      {"passed-through-device", sev + " -device vfio-pci,host=01:00.0", sev + " -device usb-host"},
      {"guest-iommu-skips-bounce", sev + " -device intel-iommu",
       sev + " -device intel-iommu -append iommu=pt"},
      {"guest-iommu-skips-bounce", sev + " -device virtio-iommu-pci -append quiet", sev},
      {"ivshmem", sev + " -device ivshmem-plain,memdev=m", sev},
      {"option-rom-before-encryption", sev + " -device e1000e,netdev=n",
       sev + " -device e1000e,netdev=n,romfile="},
  };
}

inline std::vector<Example> examples() {
  std::vector<Example> all = protection_examples();
  for (auto* const more : {&machine_examples, &device_examples})
    for (Example& example : more()) all.push_back(std::move(example));
  return all;
}

}  // namespace cbit::launch_cases
