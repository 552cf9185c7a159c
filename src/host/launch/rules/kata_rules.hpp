// The table's topic "Kata Containers" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules.hpp"

namespace cbit::launch {

inline constexpr RuleInfo kata_rules[] = {
    {.name = "kata-without-snp",
     .severity = Severity::error,
     .topic = "Kata Containers",
     .title = "The runtime would start plain SEV, or nothing, on this host.",
     .why =
         "Kata knows TDX and SEV-SNP. With sev_snp_guest = false it starts, on a host with SNP, a sev-guest "
         "whose registers and page tables are the host's to change; on one without it ends with \"This "
         "system doesn't support Confidential Computing\". No configuration of Kata's gives SEV-ES.",
     .remedy = "sev_snp_guest = true",
     .libvirt_remedy = "",
     .kata_remedy = "sev_snp_guest = true, on a host whose kvm_amd has sev_snp=Y",
     .source = "Kata: src/runtime/virtcontainers/qemu_amd64.go: enableProtection; hypervisor_linux_amd64.go: "
               "availableGuestProtection"},
    {.name = "kata-id-block-pair",
     .severity = Severity::error,
     .topic = "Kata Containers",
     .title = "Kata wants snp_id_block and snp_id_auth, or neither.",
     .why =
         "The runtime ends with \"specifying SNP IDBlock without SNP IDAuth is not allowed\", or the other "
         "way round.",
     .remedy = "Give both.",
     .libvirt_remedy = "",
     .kata_remedy = "Give both.",
     .source = "Kata: src/runtime/virtcontainers/qemu_amd64.go: appendProtectionDevice"},
    {.name = "kata-image-and-initrd",
     .severity = Severity::error,
     .topic = "Kata Containers",
     .title = "Kata boots an image or an initrd.",
     .why = "With both, or neither, the runtime refuses its configuration.",
     .remedy = "Leave one of image and initrd.",
     .libvirt_remedy = "",
     .kata_remedy = "Leave one of image and initrd.",
     .source = "Kata: src/runtime/virtcontainers/hypervisor.go: HypervisorConfig"},
    {.name = "kata-resources-come-later",
     .severity = Severity::warning,
     .topic = "Kata Containers",
     .title = "Processors and memory that a container asks for cannot be added.",
     .why = "A confidential guest has what it started with. Unless the runtime sizes the guest before it "
            "starts, containers with more than default_vcpus and default_memory fail.",
     .remedy = "static_sandbox_resource_mgmt = true in [runtime]",
     .libvirt_remedy = "",
     .kata_remedy = "static_sandbox_resource_mgmt = true in [runtime]",
     .source = "Kata: configuration-qemu-snp.toml, static_sandbox_resource_mgmt"},
    {.name = "kata-template",
     .severity = Severity::error,
     .topic = "Kata Containers",
     .title = "Confidential guests cannot be cloned from a template.",
     .why =
         "A template is a saved guest that others are loaded from; nobody can save or load one whose memory "
         "is encrypted.",
     .remedy = "enable_template = false in [factory]",
     .libvirt_remedy = "",
     .kata_remedy = "enable_template = false in [factory]",
     .source =
         "Kata: src/runtime/virtcontainers/qemu.go: bootFromTemplate; target/i386/sev.c: sev_mig_blocker"},
};

}  // namespace cbit::launch
