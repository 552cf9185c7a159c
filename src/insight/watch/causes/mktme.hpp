// The catalogue's topic "Many keys and moving pages" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo mktme_causes[] = {
    {.name = "key-id-lost-in-dma-address",
     .topic = "Many keys and moving pages",
     .title = "The device's address does not carry the KeyID of the page.",
     .meaning =
         "With MKTME the topmost bits of a bus address select the key, for devices as for CPUs. An address "
         "without them, or with those of another KeyID, reads ciphertext or leaves noise.",
     .remedies =
         "Map the page with the DMA API, which asks for the page's KeyID, and hand its result to the device "
         "unchanged.",
     .linux_says = "",
     .source = "RFC \"Intel MKTME enabling\": __mem_encrypt_dma_set"},
    {.name = "dma-mask-below-key-id",
     .topic = "Many keys and moving pages",
     .title = "The device's mask does not reach the KeyID bits, and there is no pool to bounce through.",
     .meaning =
         "The address of a page with a KeyID has all physical address bits. A device with a narrower mask "
         "can use no such page directly, wherever it lies.",
     .remedies = {for_operator("Let a bounce pool be created (swiotlb=force, or memory above 4 GiB), or use "
                               "the IOMMU, whose entries carry the KeyID."),
                  for_driver("Give the device memory of KeyID 0.")},
     .linux_says = "overflow (mask",
     .source =
         "RFC \"Intel MKTME enabling\" v2: force_dma_unencrypted; include/linux/dma-direct.h: dma_capable"},
    {.name = "contents-lost-by-encrypt-mprotect",
     .topic = "Many keys and moving pages",
     .title = "encrypt_mprotect() threw away what the memory held.",
     .meaning =
         "The call gives an area to a KeyID; the pages that it has are dropped, not converted. The next "
         "touch finds zeros, also where the KeyID is the one that the area had.",
     .remedies = {for_application("Encrypt memory before it is filled.")},
     .linux_says = "",
     .source = "RFC \"Intel MKTME enabling\": mm/mprotect.c: mprotect_set_encrypt"},
    {.name = "no-free-key-id",
     .topic = "Many keys and moving pages",
     .title = "Every KeyID is taken.",
     .meaning =
         "A key takes one of the processor's KeyIDs, 63 with 6 bits. The KeyID of a key that was revoked "
         "stays taken while an area or a page, a pinned one too, is encrypted under it.",
     .remedies = {for_application("Revoke keys, and unmap and unpin the memory that they encrypt.")},
     .linux_says = "",
     .source = "RFC \"Intel MKTME enabling\": security/keys/mktme_keys.c: mktme_reserve_keyid"},
    {.name = "key-payload-refused",
     .topic = "Many keys and moving pages",
     .title = "The key service did not take the key.",
     .meaning =
         "The payload is malformed or of another revision of the patches, the caller lacks the capability, "
         "or the key is in use.",
     .remedies = {for_application("Use type=cpu algorithm=aes-xts-128, with CAP_SYS_RESOURCE.")},
     .linux_says = "",
     .source = "RFC \"Intel MKTME enabling\": security/keys/mktme_keys.c: mktme_preparse_payload"},
    {.name = "key-programming-failed",
     .topic = "Many keys and moving pages",
     .title = "PCONFIG did not program the key.",
     .meaning =
         "The status says why: a command, KeyID or algorithm that the processor does not take, no entropy, "
         "or a controller that is busy. Nothing was programmed.",
     .remedies = {for_application("Repeat for entropy and a busy controller; else use an algorithm that "
                                  "IA32_TME_ACTIVATE lists, with every command.")},
     .linux_says =
         "mktme: Invalid KeyID programming command|mktme: Insufficient entropy|mktme: KeyID not valid|"
         "mktme: Invalid encryption algorithm chosen|mktme: Failure to access key table",
     .source = "SDM vol. 2, PCONFIG; arch/x86/include/asm/intel_pconfig.h"},
    {.name = "memory-not-encryptable",
     .topic = "Many keys and moving pages",
     .title = "encrypt_mprotect() refused the range.",
     .meaning =
         "Only anonymous memory can be given a KeyID: one file, DAX or device mapping in the range and "
         "nothing of it is encrypted. A kernel without the call has no such memory at all.",
     .remedies = {for_application("Use private anonymous memory, whole pages, and a key that exists; go on "
                                  "without encryption where the call is absent (ENOSYS).")},
     .linux_says = "",
     .source = "RFC \"Intel MKTME enabling\": mm/mprotect.c: mem_supports_encryption, do_mprotect_ext"},
    {.name = "swapped-in-elsewhere",
     .topic = "Many keys and moving pages",
     .title = "Ciphertext was moved to another frame, where it decrypts to noise.",
     .meaning =
         "The physical address is part of the cipher's tweak. Software without the key can move only the "
         "ciphertext: swapped in, or migrated, to another frame it means nothing any more.",
     .remedies = {for_kernel("Pin memory whose key the kernel does not have, as KVM does; to move it, let "
                             "the firmware wrap it with a transport key (SEND and RECEIVE).")},
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory; AMD memory encryption white paper"},
    {.name = "page-not-movable",
     .topic = "Many keys and moving pages",
     .title = "The kernel did not swap out or migrate a page.",
     .meaning = "The page is pinned, by a driver's long-term DMA or as an encrypted guest's memory, or it is "
                "device memory, which the kernel neither chooses the place of nor can take back.",
     .remedies = {for_driver("Unpin it, or leave it out of what the kernel shall move.")},
     .linux_says = "",
     .source = "mm/migrate.c: folio_migrate_mapping; mm/vmscan.c: shrink_folio_list"},
};

}  // namespace cbit::watch
