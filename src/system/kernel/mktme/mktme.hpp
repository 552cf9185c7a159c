// MKTME in the kernel: the key service, encrypt_mprotect(), and which of the two the kernel has at all. The
// "Intel MKTME enabling" patches of 2018 and 2019, which were never merged: security/keys/mktme_keys.c,
// mm/mprotect.c.
//
// A key of type "mktme" stands for a KeyID: the lowest free one, programmed with PCONFIG. When the key goes,
// the KeyID stays taken as long as a VMA or a page is encrypted under it. Errors are errno values, positive;
// the system calls' refusals are reported with the reason (KeyRequestRefused).
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/random.hpp"
#include "cbit/words.hpp"
#include "kernel/mm/process.hpp"

namespace cbit::kernel {

// What the payload may say, and what the kernel asks of the processor.
enum class MktmeRevision : std::uint8_t {
  rfc_13,  // December 2018: types user, cpu, clear, no-encrypt; keys can be updated while unused
  rfc_62,  // May 2019: types user, cpu, no-encrypt; no encrypt_mprotect() on anything but anonymous memory
  v2_59,   // July 2019: types cpu, no-encrypt; PCONFIG gets an activated algorithm with every command
};
inline constexpr Word<MktmeRevision> mktme_revision_words[] = {
    {"rfc-13", MktmeRevision::rfc_13}, {"rfc-62", MktmeRevision::rfc_62}, {"v2-59", MktmeRevision::v2_59}};
[[nodiscard]] std::string_view to_string(MktmeRevision revision);

struct MktmeConfig {
  MktmeRevision revision = MktmeRevision::v2_59;
  bool has_system_call = true;  // encrypt_mprotect() exists
  bool has_device = true;       // /dev/mktme exists
};

// What the caller of a system call may do.
struct Credentials {
  bool cap_sys_resource = true;
  bool cap_sys_admin = true;
};

using KeySerial = std::int32_t;

class Mktme {
 public:
  // init_mktme(). ENODEV where the processor has no MKTME, or its firmware left it off ("not enabled by
  // BIOS"). `kernel` outlives it.
  static Result<std::unique_ptr<Mktme>, int> create(Kernel& kernel, MktmeConfig config = {});
  ~Mktme();

  // add_key("mktme", description, payload, ring). EINVAL for a payload that is malformed, longer than 1024
  // bytes, or not of this revision; EACCES without CAP_SYS_RESOURCE or CAP_SYS_ADMIN; ENOKEY when no KeyID is
  // free or programming failed. A key of the same description is updated on rfc_13, EBUSY while it is in use,
  // and replaced on the others.
  Result<KeySerial, int> add_key(std::string_view description, std::string_view payload,
                                 const Credentials& who = {});
  // keyctl_revoke() and keyctl_invalidate() up to garbage collection: the key is destroyed. ENOKEY.
  Result<void, int> revoke_key(KeySerial serial);
  // keyctl_setperm(): takes or gives KEY_NEED_VIEW. ENOKEY.
  Result<void, int> set_view_permission(KeySerial serial, bool allowed);

  // encrypt_mprotect(addr, len, prot, serial), in the order of the patches: ENOSYS where the kernel lacks it;
  // EINVAL for a length that is no multiple of a page; ENOKEY for an unknown key; EACCES without
  // KEY_NEED_VIEW; then mprotect()'s errors, and EINVAL where part of the range is not anonymous.
  Result<void, int> encrypt_mprotect(Process& process, VirtAddr at, std::uint64_t bytes, Prot prot,
                                     KeySerial serial);

  // open("/dev/mktme") with a key, as the alternative proposal has it: what is mapped of the descriptor is
  // encrypted (kernel/mktme/backings.hpp). ENOENT where there is no such device, ENOKEY.
  Result<std::shared_ptr<Backing>, int> open_device(KeySerial serial, std::uint64_t pages);

  [[nodiscard]] unsigned key_ids() const { return key_ids_; }
  // KeyIDs that have no key and that nothing refers to.
  [[nodiscard]] unsigned free_key_ids() const;
  // 0: no such key.
  [[nodiscard]] mem::KeySelector key_id(KeySerial serial) const;

 private:
  struct Payload;
  struct Key {
    std::string description;
    mem::KeySelector id = 0;
    bool viewable = true;
  };

  Mktme(Kernel& kernel, MktmeConfig config, unsigned key_ids, PhysAddr program_page);
  [[nodiscard]] Result<Payload, std::string_view> parse(std::string_view text) const;
  [[nodiscard]] mem::KeySelector free_key_id() const;
  // mktme_program_keyid(): ENOKEY.
  Result<void, int> program(mem::KeySelector id, const Payload& payload);
  [[nodiscard]] KeySerial find(std::string_view description) const;
  tl::unexpected<int> refuse(std::string_view call, int error, std::string_view reason);

  Kernel* kernel_;
  MktmeConfig config_;
  unsigned key_ids_;
  PhysAddr program_page_;  // holds PCONFIG's structure
  Random entropy_;         // get_random_bytes()
  std::map<KeySerial, Key> keys_;
  KeySerial next_serial_ = 0x2000'0001;
};

}  // namespace cbit::kernel
