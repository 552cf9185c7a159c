// The table's topic "Attestation" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules.hpp"

namespace cbit::launch {

inline constexpr RuleInfo attestation_rules[] = {
    {.name = "object-property-unknown",
     .severity = Severity::error,
     .topic = "Attestation",
     .title = "The object does not have this property.",
     .why =
         "QEMU ends with \"Parameter '...' is unexpected\" or \"Property '...' not found\". What sev-guest, "
         "sev-snp-guest and tdx-guest have differs: hashes of a kernel are for the first two, an ID block is "
         "for the second, a quote's socket for the third.",
     .remedy = "Leave it out, or use the object that has it.",
     .libvirt_remedy = "",
     .source =
         "qapi/qom.json: SevGuestProperties, SevSnpGuestProperties, TdxGuestProperties (QEMU 10.2, and 11.1 "
         "by query-qmp-schema)"},
    {.name = "object-property-unreleased",
     .severity = Severity::warning,
     .topic = "Attestation",
     .title = "Only a QEMU with patches has this property.",
     .why =
         "debug-swap=, secure-tsc= and tsc-frequency= were sent to QEMU's list. What distributions ship, up "
         "to 11.1, ends with \"Property '...' not found\".",
     .remedy = "Leave it out, or run the QEMU that has it.",
     .libvirt_remedy = "",
     .source = "query-qmp-schema of QEMU 11.1: SevGuestProperties, SevSnpGuestProperties"},
    {.name = "attestation-blob",
     .severity = Severity::error,
     .topic = "Attestation",
     .title = "The value is not base64 of the size that is wanted.",
     .why = "id-block has 96 bytes, id-auth 4096, host-data 32, guest-visible-workarounds 16; mrconfigid, "
            "mrowner and mrownerconfig 48, a SHA-384 digest. QEMU decodes them at the start, and ends.",
     .remedy = "Encode the bytes as they are: base64 -w0 FILE",
     .libvirt_remedy = "",
     .kata_remedy = "snp_id_block, snp_id_auth: base64 -w0 FILE",
     .source = "target/i386/sev.c: sev_snp_guest_set_id_block and its neighbours; target/i386/kvm/tdx.c: "
               "tdx_pre_create_vcpu"},
    {.name = "id-block-without-id-auth",
     .severity = Severity::error,
     .topic = "Attestation",
     .title = "An ID block needs its authentication.",
     .why = "The firmware checks the block's signature, which is in id-auth. KVM copies both, and refuses "
            "SNP_LAUNCH_FINISH where one is missing.",
     .remedy = "id-auth=BASE64 beside id-block=",
     .libvirt_remedy = "<idAuth> beside <idBlock>",
     .kata_remedy = "snp_id_auth beside snp_id_block",
     .source = "arch/x86/kvm/svm/sev.c: snp_launch_finish; target/i386/sev.c: sev_snp_guest_set_id_block"},
    {.name = "id-auth-without-id-block",
     .severity = Severity::warning,
     .topic = "Attestation",
     .title = "id-auth= alone is not used.",
     .why =
         "It authenticates an ID block. Without one QEMU leaves it out of SNP_LAUNCH_FINISH, and the report "
         "says nothing of the guest's owner; Kata does not start.",
     .remedy = "id-block=BASE64 beside id-auth=",
     .libvirt_remedy = "<idBlock> beside <idAuth>",
     .kata_remedy = "snp_id_block beside snp_id_auth",
     .source = "target/i386/sev.c: sev_snp_guest_set_id_auth; arch/x86/kvm/svm/sev.c: snp_launch_finish"},
    {.name = "id-block-of-other-policy",
     .severity = Severity::error,
     .topic = "Attestation",
     .title = "The ID block is for another policy.",
     .why = "Its last eight bytes are the policy that the owner allows. The firmware compares it with the "
            "guest's, and refuses SNP_LAUNCH_FINISH.",
     .remedy = "policy= as the block has it, or a block that was signed for this policy.",
     .libvirt_remedy = "<policy> as the block has it",
     .kata_remedy = "snp_guest_policy as the block has it",
     .source = "SNP firmware ABI, 8.17 (SNP_LAUNCH_FINISH), ID block; Kata: configuration-qemu-snp.toml"},
    {.name = "vcek-disabled",
     .severity = Severity::note,
     .topic = "Attestation",
     .title = "Reports can be signed with a VLEK only.",
     .why = "vcek-disabled=on forbids the chip's own key. Where the host has loaded no VLEK "
            "(SNP_VLEK_LOAD), the guest gets no report.",
     .remedy = "Nothing to do where the host has a VLEK; else leave vcek-disabled= out.",
     .libvirt_remedy = "<launchSecurity type='sev-snp' vcek='yes'>",
     .source = "qapi/qom.json: SevSnpGuestProperties; SNP firmware ABI, SNP_VLEK_LOAD"},
    {.name = "igvm-sets-the-policy",
     .severity = Severity::note,
     .topic = "Attestation",
     .title = "What an IGVM file says of policy and ID block replaces what the object says.",
     .why =
         "QEMU sets the policy of the file, and drops an id-block= and id-auth= of the object where the file "
         "has a policy.",
     .remedy = "Give them to the program that builds the IGVM file.",
     .libvirt_remedy = "",
     .source = "target/i386/sev.c: cgs_set_guest_policy; backends/igvm.c: qigvm_handle_policy (QEMU 10.1)"},
    {.name = "tdx-attributes",
     .severity = Severity::error,
     .topic = "Attestation",
     .title = "QEMU does not know these attributes of a trust domain.",
     .why = "It takes SEPT_VE_DISABLE (bit 28), PKS (30) and PERFMON (63), and ends with \"Some QEMU "
            "unsupported TD attribute bits being requested\". DEBUG (bit 0) is not among them.",
     .remedy = "Leave attributes= out: sept-ve-disable= and -cpu set what there is.",
     .libvirt_remedy = "<policy>0x10000000</policy>, or none",
     .source = "target/i386/kvm/tdx.c: tdx_validate_attributes (QEMU 10.1)"},
    {.name = "sept-ve-enabled",
     .severity = Severity::warning,
     .topic = "Attestation",
     .title = "Linux refuses a trust domain that may get #VE for its private memory.",
     .why =
         "A host could interrupt the kernel at any access. Without SEPT_VE_DISABLE, which is QEMU's default, "
         "Linux panics with \"TD misconfiguration\", unless the TDX module lets it switch them off.",
     .remedy = "Leave sept-ve-disable=off out; attributes= needs bit 28 (0x10000000).",
     .libvirt_remedy = "<policy>0x10000000</policy>, or none",
     .source = "arch/x86/coco/tdx/tdx.c: disable_sept_ve; target/i386/kvm/tdx.c: tdx_guest_init"},
    {.name = "quote-socket-missing",
     .severity = Severity::note,
     .topic = "Attestation",
     .title = "The trust domain cannot get a quote from QEMU.",
     .why = "TDG.VP.VMCALL<GetQuote> is answered by the Quote Generation Service, which "
            "quote-generation-socket= names. A guest can also ask it over vsock by itself.",
     .remedy = "quote-generation-socket.type=unix,quote-generation-socket.path=/var/run/tdx-qgs/qgs.socket",
     .libvirt_remedy = "<quoteGenerationService path='/var/run/tdx-qgs/qgs.socket'/>",
     .kata_remedy = "tdx_quote_generation_service_socket_port = 4050",
     .source = "qapi/qom.json: TdxGuestProperties; target/i386/kvm/tdx-quote-generator.c (QEMU 10.1)"},
    {.name = "quote-socket-address",
     .severity = Severity::error,
     .topic = "Attestation",
     .title = "quote-generation-socket= is no address of a socket.",
     .why = "It is a SocketAddress: type=unix with path=, type=vsock with cid= (2 is the host) and port=, "
            "type=inet with host= and port=, type=fd with str=.",
     .remedy =
         "quote-generation-socket.type=vsock,quote-generation-socket.cid=2,quote-generation-socket.port=4050",
     .libvirt_remedy = "<quoteGenerationService path='/var/run/tdx-qgs/qgs.socket'/>",
     .source = "qapi/sockets.json: SocketAddress; target/i386/kvm/tdx.c: tdx_guest_set_qgs (QEMU 10.1)"},
    {.name = "tpm-of-the-host",
     .severity = Severity::warning,
     .topic = "Attestation",
     .title = "The TPM is the host's: it proves nothing about an encrypted guest.",
     .why =
         "A program on the host has its keys and sees every command, so it can quote what it likes. A vTPM "
         "that the guest can trust runs inside: in COCONUT-SVSM, which an IGVM file brings along, and which "
         "Linux 6.16 finds without a device of QEMU's.",
     .remedy =
         "-machine igvm-cfg= with COCONUT-SVSM, and no -tpmdev; or rely on the SNP report or TDX quote.",
     .libvirt_remedy = "No <tpm>",
     .source = "hw/tpm; docs/system/igvm.rst; drivers/char/tpm/tpm_svsm.c"},
};

}  // namespace cbit::launch
