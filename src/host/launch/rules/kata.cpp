// What Kata's runtime, not QEMU, makes of its configuration.
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {

void judge_kata(Case& guest) {
  const auto& kata = guest.config().kata;
  if (!kata) return;
  if (kata->image == kata->initrd)
    guest.find(rule("kata-image-and-initrd"), guest.last("initrd"),
               kata->image ? "both are given" : "none is given");
  if (!kata->confidential) return;
  const QemuOption* const object = guest.object();
  const facts::GuestSupport* const host = guest.context().host;
  // 8000001F of the host: it is AMD's.
  if (!kata->snp && host != nullptr && host->c_bit)
    guest.find(rule("kata-without-snp"), object, {}, "sev_snp_guest = true");
  if (object != nullptr && object->value("id-block").has_value() != object->value("id-auth").has_value())
    guest.find(rule("kata-id-block-pair"), object);
  if (!kata->size_is_fixed)
    guest.find(rule("kata-resources-come-later"), nullptr, {}, "static_sandbox_resource_mgmt = true");
  if (kata->from_template) guest.find(rule("kata-template"), nullptr, {}, "enable_template = false");
}

}  // namespace cbit::launch
