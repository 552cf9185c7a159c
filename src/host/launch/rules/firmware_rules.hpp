// The table's topic "Firmware" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules.hpp"

namespace cbit::launch {

inline constexpr RuleInfo firmware_rules[] = {
    {.name = "firmware-missing",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "The guest has no firmware that knows memory encryption.",
     .why = "QEMU's default, SeaBIOS, runs with paging off, where everything is private, and cannot talk to "
            "any device. OVMF sets the C-bit and shares what devices need.",
     .remedy = "-bios OVMF.fd, or -drive if=pflash,format=raw,unit=0,readonly=on,file=OVMF_CODE.fd",
     .libvirt_remedy = "<os firmware='efi'>, or <loader readonly='yes' type='pflash'>OVMF_CODE.fd</loader>",
     .kata_remedy = "firmware = \"...\", an OVMF that was built for the protection",
     .source = "docs/system/i386/amd-memory-encryption.rst; OvmfPkg/AmdSev"},
    {.name = "firmware-not-read",
     .severity = Severity::warning,
     .topic = "Firmware",
     .title = "The firmware's image cannot be read here, so it was not judged.",
     .why = "What an image can do is in a table at its end. Where the image is on another host, or is "
            "not a raw one, nothing is known of it.",
     .remedy = "Check on the host that has the image, and as a user who may read it.",
     .libvirt_remedy = "",
     .source = "hw/i386/pc_sysfw_ovmf.c: pc_system_parse_ovmf_flash"},
    {.name = "firmware-lacks-metadata",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "The firmware's image does not have what this protection needs.",
     .why =
         "QEMU finds in the table of GUIDs at the image's end where further processors of an SEV-ES guest "
         "start (00f771de-...), which pages of an SNP guest are launched how (dc886566-...), and the "
         "sections of a trust domain (e47a6535-...). Without, it ends: \"failed to locate and/or save reset "
         "vector\", \"Failed to locate SEV metadata header\", \"failed to parse TDVF for TDX VM\".",
     .remedy = "Use an OVMF that was built with it: OvmfPkgX64 or AmdSevX64 for SEV-ES and SNP (2022 or "
               "later for SNP), OvmfPkgX64 or IntelTdxX64 for TDX.",
     .libvirt_remedy = "",
     .source = "target/i386/sev.c: sev_es_find_reset_vector, sev_snp_launch_finish; hw/i386/tdvf.c"},
    {.name = "firmware-without-a-table",
     .severity = Severity::warning,
     .topic = "Firmware",
     .title = "The firmware's image has no table of OVMF.",
     .why = "SeaBIOS and other firmware do not set the C-bit, and start nothing in a SEV guest. An OVMF of "
            "before 2021 has no table either, and starts.",
     .remedy = "Use an image of OVMF; cbit launch --firmware FILE tells what it can do.",
     .libvirt_remedy = "",
     .source = "OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm; hw/i386/pc_sysfw_ovmf.c"},
    {.name = "variables-beside-amdsev",
     .severity = Severity::warning,
     .topic = "Firmware",
     .title = "The AmdSev build of OVMF has no use for a second flash.",
     .why = "It keeps its variables in memory, as what is in a flash of the host's is not measured: what is "
            "in the second flash is never read, and nothing is written to it.",
     .remedy = "Leave the second flash out; for lasting variables use OVMF_CODE.fd with OVMF_VARS.fd.",
     .libvirt_remedy = "No <nvram>",
     .source = "OvmfPkg/AmdSev/AmdSevX64.dsc; docs/system/i386/amd-memory-encryption.rst"},
    {.name = "pflash-with-snp-or-tdx",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "SNP and TDX guests cannot have their firmware in flash.",
     .why = "Flash needs read-only memory slots, which private memory (guest_memfd) does not have. The "
            "firmware, with its variables, is loaded into RAM.",
     .remedy = "-bios OVMF.fd, a combined image",
     .libvirt_remedy = "<loader type='rom'>OVMF.amdsev.fd</loader>, and no <nvram>",
     .kata_remedy = "firmware_volume = \"\" and pflashes = []",
     .source = "hw/i386/pc_sysfw.c: pc_system_firmware_init; docs/system/i386/amd-memory-encryption.rst"},
    {.name = "pflash-needs-the-legacy-vm-type",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "An SEV-ES guest of KVM's newer type cannot have its firmware in flash.",
     .why =
         "legacy-vm-type=off, and debug-swap=on which needs it, make the guest a KVM_X86_SEV_ES_VM. KVM has "
         "no read-only memory slots for guests whose registers are protected, and QEMU ends with \"pflash "
         "with kvm requires KVM readonly memory support\".",
     .remedy = "-bios OVMF.fd, or leave legacy-vm-type=off and debug-swap=on out.",
     .libvirt_remedy = "<loader type='rom'>OVMF.fd</loader>",
     .source = "target/i386/sev.c: sev_kvm_type; hw/i386/pc_sysfw.c: pc_system_firmware_init; "
               "arch/x86/kvm/x86.c: KVM_CAP_READONLY_MEM"},
    {.name = "igvm-object-missing",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "igvm-cfg= names no object with an IGVM file.",
     .why =
         "It is the id of an -object igvm-cfg, whose file= is the IGVM file; QEMU ends where there is none.",
     .remedy = "-object igvm-cfg,id=igvm0,file=FILE",
     .libvirt_remedy = "",
     .source = "hw/i386/pc.c: pc_machine_class_init (igvm-cfg); backends/igvm-cfg.c (QEMU 10.1)"},
    {.name = "igvm-with-pflash",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "An IGVM file and a flash exclude each other.",
     .why = "The IGVM file has the firmware in it. QEMU ends with \"pflash devices cannot be configured when "
            "using IGVM\".",
     .remedy = "Leave the flash out: put the firmware into the IGVM file.",
     .libvirt_remedy = "",
     .source = "hw/i386/pc_sysfw.c: pc_system_firmware_init (QEMU 10.1)"},
    {.name = "igvm-with-bios",
     .severity = Severity::warning,
     .topic = "Firmware",
     .title = "-bios is not looked at beside an IGVM file.",
     .why = "The IGVM file has the firmware in it. QEMU's documentation says that both together are refused; "
            "up to 10.2 -bios is passed over without a word.",
     .remedy = "Leave -bios out.",
     .libvirt_remedy = "",
     .source = "hw/i386/pc_sysfw.c: pc_system_firmware_init; docs/system/igvm.rst (QEMU 10.1)"},
    {.name = "igvm-with-kernel-hashes",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "Hashes of a kernel cannot be put into an IGVM file.",
     .why =
         "kernel-hashes=on with -kernel looks for the table of hashes in the firmware that -bios or a flash "
         "gave, of which there is none: QEMU dies of a failed assertion (ovmf_flash_parsed).",
     .remedy = "Leave kernel-hashes=on out, or build the kernel into the IGVM file.",
     .libvirt_remedy = "",
     .source = "target/i386/sev.c: sev_add_kernel_loader_hashes; hw/i386/pc_sysfw_ovmf.c: "
               "pc_system_ovmf_table_find (QEMU 10.2)"},
    {.name = "igvm-with-tdx",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "QEMU starts no trust domain from an IGVM file.",
     .why = "tdx-guest does not implement what the loader asks of it: \"IGVM file does not describe a "
            "compatible supported platform\". Others can be started so (10.1, 10.2).",
     .remedy = "-bios OVMF.fd, and no igvm-cfg=",
     .libvirt_remedy = "",
     .source = "backends/confidential-guest-support.c: check_support; docs/system/igvm.rst (QEMU 10.2)"},
    {.name = "igvm-of-another-platform",
     .severity = Severity::error,
     .topic = "Firmware",
     .title = "The IGVM file is not for this protection.",
     .why =
         "An IGVM file lists the platforms that it has an image for. QEMU takes the strongest that the guest "
         "has, and ends with \"IGVM file does not describe a compatible supported platform\" where it is "
         "none.",
     .remedy = "Build the file for the platform: COCONUT-SVSM's coconut-qemu.igvm is for SEV-SNP.",
     .libvirt_remedy = "",
     .source = "backends/igvm.c: qigvm_supported_platform_compat_mask; igvm_defs: IgvmPlatformType"},
};

}  // namespace cbit::launch
