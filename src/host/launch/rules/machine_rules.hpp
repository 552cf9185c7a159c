// The table's topic "Machine" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules.hpp"

namespace cbit::launch {

inline constexpr RuleInfo machine_rules[] = {
    {.name = "machine-without-pci-express",
     .severity = Severity::warning,
     .topic = "Machine",
     .title = "The machine has no PCI Express.",
     .why = "i440fx (pc, QEMU's default) and isapc are not what OVMF's and libvirt's SEV support is written "
            "for, and virtio devices on a conventional PCI bus are legacy ones unless told otherwise.",
     .remedy = "-machine q35",
     .libvirt_remedy = "<type arch='x86_64' machine='q35'>hvm</type>",
     .source = "libvirt: docs/kbase/launch_security_sev.rst; hw/virtio/virtio-pci.c: virtio_pci_realize"},
    {.name = "machine-microvm",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "microvm has no firmware that starts an encrypted guest.",
     .why = "Its firmware, qboot, and direct kernel boot without firmware do not set the C-bit in the first "
            "page tables; its virtio-mmio devices are legacy ones by default.",
     .remedy = "-machine q35 with OVMF",
     .libvirt_remedy = "<type arch='x86_64' machine='q35'>hvm</type>",
     .source = "docs/system/i386/microvm.rst; docs/system/i386/amd-memory-encryption.rst"},
    {.name = "smm-with-encrypted-state",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "A guest whose registers are encrypted has no System Management Mode.",
     .why = "KVM would have to save and load the registers. QEMU ends with \"System Management Mode not "
            "supported by this hypervisor\", \"SEV-SNP does not support SMM\" or "
            "\"TDX VM doesn't support SMM\"; "
            "so there is no OVMF with SMM (secure boot) either.",
     .remedy = "smm=off",
     .libvirt_remedy = "<smm state='off'/>, and no secure='yes' at <loader>",
     .source = "arch/x86/kvm/svm/svm.c: svm_has_emulated_msr; hw/i386/x86.c: x86_machine_is_smm_enabled"},
    {.name = "irqchip-in-user-space",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "The interrupt controllers must be KVM's.",
     .why = "SEV-ES and SNP start their other processors through KVM's local APIC, and QEMU refuses "
            "kernel-irqchip=off. TDX takes kernel-irqchip=split only.",
     .remedy = "Leave kernel-irqchip out; or kernel-irqchip=split, which all of them take.",
     .libvirt_remedy = "<ioapic driver='kvm'/>; TDX: <ioapic driver='qemu'/>",
     .source = "target/i386/sev.c: sev_kvm_init; target/i386/kvm/tdx.c: tdx_kvm_init"},
    {.name = "reboot-ends-the-guest",
     .severity = Severity::note,
     .topic = "Machine",
     .title = "A guest whose registers are encrypted cannot be reset.",
     .why = "QEMU cannot put its processors back into their first state: on a reboot it says \"cpus are not "
            "resettable, terminating\" and ends.",
     .remedy = "-no-reboot says what happens anyway; let a supervisor start the guest again.",
     .libvirt_remedy = "<on_reboot>destroy</on_reboot>",
     .source = "softmmu/runstate.c: qemu_system_reset_request"},
    {.name = "cpu-without-rdrand",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "The guest's processor has no RDRAND.",
     .why =
         "Linux seeds the random numbers of an encrypted guest from RDRAND, and panics where CPUID does not "
         "offer it (\"RDRAND is defective.\"). qemu64, the default, and models before Ivy Bridge and EPYC do "
         "not have it.",
     .remedy = "-cpu EPYC-v3, or -cpu host",
     .libvirt_remedy = "<cpu mode='host-passthrough'/>",
     .source = "arch/x86/coco/core.c: cc_random_init"},
    {.name = "cpu-model-with-tdx",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "A trust domain cannot have a named model of processor.",
     .why =
         "What a trust domain's CPUID says is mostly the TDX module's business. QEMU ends with \"Named cpu "
         "model is not supported for TDX yet!\", also where -cpu is missing, as the default is qemu64.",
     .remedy = "-cpu host",
     .libvirt_remedy = "<cpu mode='host-passthrough'/>",
     .source = "target/i386/kvm/tdx.c: tdx_cpu_instance_init (QEMU 10.1)"},
    {.name = "pic-with-tdx",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "A trust domain has no 8259 interrupt controllers.",
     .why = "QEMU ends with \"TDX VM doesn't support PIC\".",
     .remedy = "pic=off, or leave pic= out.",
     .libvirt_remedy = "",
     .source = "target/i386/kvm/tdx.c: tdx_kvm_init (QEMU 10.1)"},
    {.name = "phys-bits-cover-c-bit",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "The guest's physical addresses reach up to the C-bit.",
     .why = "phys-bits less reduced-phys-bits must not exceed the position of the C-bit, or an address bit "
            "and the C-bit are the same.",
     .remedy = "Leave phys-bits out, or lower it.",
     .libvirt_remedy = "<maxphysaddr mode='emulate' bits='...'/> with fewer bits, or none",
     .source = "arch/x86/kernel/cpu/amd.c: early_detect_mem_encrypt; APM vol. 2, 15.34.1"},
    {.name = "cpu-hotplug",
     .severity = Severity::warning,
     .topic = "Machine",
     .title = "Processors cannot be added to a guest whose registers are encrypted.",
     .why = "The guest starts. The registers of every processor are encrypted and measured at the launch, so "
            "what maxcpus= leaves room for can never be plugged in.",
     .remedy = "-smp N without maxcpus=",
     .libvirt_remedy = "<vcpu>N</vcpu> without current=",
     .kata_remedy = "default_maxvcpus = default_vcpus",
     .source = "target/i386/sev.c: sev_launch_update_vmsa; SEV API, LAUNCH_UPDATE_VMSA"},
    {.name = "migration-not-possible",
     .severity = Severity::error,
     .topic = "Machine",
     .title = "QEMU cannot migrate, save or restore an encrypted guest.",
     .why = "It registers a migration blocker (\"SEV: Migration is not implemented\"). -incoming and -loadvm "
            "would need a stream that it cannot read; with -only-migratable the guest does not start.",
     .remedy = "Leave -incoming, -loadvm and -only-migratable out.",
     .libvirt_remedy = "",
     .source = "target/i386/sev.c: sev_launch_finish (sev_mig_blocker)"},
};

}  // namespace cbit::launch
