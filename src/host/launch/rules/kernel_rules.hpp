// The table's topic "Guest kernel" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules/rule_of_cause.hpp"

namespace cbit::launch {

inline constexpr RuleInfo kernel_rules[] = {
    {.name = "kernel-not-measured",
     .severity = Severity::warning,
     .topic = "Guest kernel",
     .title = "The kernel, its initrd and its command line are not part of the measurement.",
     .why = "With -kernel the host hands them over at run time, and could hand over others. "
            "kernel-hashes=on puts their hashes into a page that is measured, and OVMF (AmdSev) compares.",
     .remedy = "kernel-hashes=on at the object, with an OVMF built from OvmfPkg/AmdSev",
     .libvirt_remedy = "<launchSecurity type='sev' kernelHashes='yes'>",
     .source = "target/i386/sev.c: sev_add_kernel_loader_hashes"},
    {.name = "kernel-hashes-without-kernel",
     .severity = Severity::warning,
     .topic = "Guest kernel",
     .title = "kernel-hashes=on has nothing to hash.",
     .why = "Only what -kernel, -initrd and -append give is hashed; a kernel on a disk is not.",
     .remedy = "-kernel, or leave kernel-hashes= out and let the boot loader verify the kernel.",
     .libvirt_remedy = "<kernel>, or no kernelHashes=",
     .source = "hw/i386/x86.c: x86_load_linux"},
    {.name = "kernel-hashes-need-a-hash-table",
     .severity = Severity::error,
     .topic = "Guest kernel",
     .title = "The firmware's image has no room for the hashes of the kernel.",
     .why = "kernel-hashes=on needs a table whose address and size the image tells. A general OVMF tells "
            "zeros, and QEMU ends with \"guest firmware has no hashes table GUID\" or \"hashes table area is "
            "invalid\".",
     .remedy = "-bios OVMF.amdsev.fd, built from OvmfPkg/AmdSev/AmdSevX64.dsc",
     .libvirt_remedy = "<loader>OVMF.amdsev.fd</loader>",
     .source = "target/i386/sev.c: sev_add_kernel_loader_hashes"},
    {.name = "mem-encrypt-off-has-no-effect",
     .severity = Severity::note,
     .topic = "Guest kernel",
     .title = "mem_encrypt= does not switch a guest's encryption.",
     .why = "It is about SME on a host. A guest is encrypted if SEV_STATUS says so, whatever its command "
            "line says.",
     .remedy = "Leave it out; for a guest in clear, leave confidential-guest-support= out.",
     .libvirt_remedy = "Leave it out; for a guest in clear, leave <launchSecurity> out.",
     .source = "arch/x86/mm/mem_encrypt_identity.c: sme_enable"},
    rule_of_cause("noforce-in-guest", Severity::error, "Guest kernel", ""),
    {.name = "pool-smaller-than-default",
     .severity = Severity::warning,
     .topic = "Guest kernel",
     .title = "swiotlb= asks for a smaller bounce pool than an encrypted guest would take.",
     .why = "The default is 6 % of memory, at least 64 MiB and at most 1 GiB. A smaller pool fills earlier "
            "(pool-exhausted).",
     .remedy = "Leave swiotlb= out, or ask for more slots of 2 KiB.",
     .libvirt_remedy = "",
     .source = "arch/x86/mm/mem_encrypt_amd.c: sev_setup_arch; kernel/dma/swiotlb.c: setup_io_tlb_npages"},
};

}  // namespace cbit::launch
