// The protection's object: its properties, and what it gives to attestation.
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/format.hpp"
#include "base/text.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

constexpr QemuVersion newest_known{11, 1};
constexpr QemuVersion unreleased{~0u, ~0u};  // AMD's patches were sent to qemu-devel in September 2025

struct ObjectProperty {
  std::string_view key;
  bool sev = false, snp = false, tdx = false;
  QemuVersion since{};  // older than what is judged
};

// qapi/qom.json of QEMU 10.2; 11.1 answers query-qmp-schema with the same.
constexpr ObjectProperty object_properties[] = {
    {"qom-type", true, true, true},
    {"id", true, true, true},
    {"sev-device", true, true, false},
    {"cbitpos", true, true, false},
    {"reduced-phys-bits", true, true, false},
    {"kernel-hashes", true, true, false, {6, 2}},
    {"policy", true, true, false},
    {"handle", true, false, false},
    {"dh-cert-file", true, false, false},
    {"session-file", true, false, false},
    {"legacy-vm-type", true, false, false, {9, 1}},
    {"debug-swap", true, true, false, unreleased},
    {"secure-tsc", false, true, false, unreleased},
    {"tsc-frequency", false, true, false, unreleased},
    {"guest-visible-workarounds", false, true, false, {9, 1}},
    {"id-block", false, true, false, {9, 1}},
    {"id-auth", false, true, false, {9, 1}},
    {"author-key-enabled", false, true, false, {9, 1}},
    {"host-data", false, true, false, {9, 1}},
    {"vcek-disabled", false, true, false, {9, 1}},
    {"attributes", false, false, true, {10, 1}},
    {"sept-ve-disable", false, false, true, {10, 1}},
    {"mrconfigid", false, false, true, {10, 1}},
    {"mrowner", false, false, true, {10, 1}},
    {"mrownerconfig", false, false, true, {10, 1}},
    {"quote-generation-socket", false, false, true, {10, 1}},
};

bool has(const ObjectProperty& property, std::string_view type) {
  return type == "sev-guest" ? property.sev : type == "sev-snp-guest" ? property.snp : property.tdx;
}

std::string unknown_text(const ObjectProperty* known, std::string_view key, std::string_view type) {
  if (known != std::end(object_properties) && known->since == unreleased)
    return fmt::format("{}= is in AMD's patches, and in no QEMU up to {}.{}", key, newest_known.release,
                       newest_known.update);
  if (key == "igvm-file" || key == "init-flags")
    return fmt::format("{}= is of COCONUT's own QEMU; QEMU 10.1 takes -machine igvm-cfg=", key);
  if (known != std::end(object_properties))
    return fmt::format("{} has no {}; {} has it", type, key,
                       known->snp   ? "sev-snp-guest"
                       : known->sev ? "sev-guest"
                                    : "tdx-guest");
  std::vector<std::string_view> names;
  for (const ObjectProperty& property : object_properties)
    if (has(property, type)) names.push_back(property.key);
  const auto meant = nearest_word(key, names);
  return fmt::format("{} has no {}{}", type, key, meant ? fmt::format("; {} is meant?", *meant) : "");
}

void judge_properties(Case& guest, const QemuOption& object, std::string_view type) {
  std::string_view last;
  for (const QemuProperty& property : object.properties) {
    const std::string_view key = std::string_view{property.key}.substr(0, property.key.find('.'));
    if (key == last) continue;  // the members of one value
    last = key;
    const auto* const known = std::ranges::find(object_properties, key, &ObjectProperty::key);
    const bool exists = known != std::end(object_properties);
    const bool released = !exists || known->since != unreleased;
    const auto qemu = guest.context().qemu;
    if (exists && released && has(*known, type)) {
      if (qemu && *qemu < known->since && key != "kernel-hashes")
        guest.find(rule("option-newer-than-qemu"), &object,
                   fmt::format("{}= needs QEMU {}.{}, this is {}.{}", key, known->since.release,
                               known->since.update, qemu->release, qemu->update));
      continue;
    }
    if ((!exists || !released) && qemu && *qemu > newest_known) continue;
    const RuleInfo& broken =
        released || qemu ? rule("object-property-unknown") : rule("object-property-unreleased");
    guest.find(broken, &object, unknown_text(known, key, type),
               guest.in_language(Case::with(object, {}, {property.key}), ""));
  }
}

// As qbase64_decode(): nullopt where it is none.
std::optional<std::string> decoded(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  constexpr std::size_t text_max = 1 << 16;
  if (text.size() > text_max || text.size() % 4 != 0 ||
      text.find_first_not_of(alphabet) != std::string_view::npos)
    return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return bytes;
}

struct Blob {
  std::string_view key;
  std::size_t bytes;
};
// linux/kvm.h: KVM_SEV_SNP_ID_BLOCK_SIZE and its neighbours; SHA-384.
constexpr Blob blobs[] = {
    {"id-block", 96},   {"id-auth", 4096}, {"host-data", 32},    {"guest-visible-workarounds", 16},
    {"mrconfigid", 48}, {"mrowner", 48},   {"mrownerconfig", 48}};

void judge_blobs(Case& guest, const QemuOption& object) {
  for (const Blob& blob : blobs) {
    const auto value = object.value(blob.key);
    if (!value) continue;
    const auto bytes = decoded(*value);
    if (bytes && bytes->size() == blob.bytes) continue;
    guest.find(rule("attestation-blob"), &object,
               bytes ? fmt::format("{} has {} bytes, and {} are wanted", blob.key, bytes->size(), blob.bytes)
                     : fmt::format("{} is no base64", blob.key));
  }
}

// SNP firmware ABI, ID block: the policy is the last of its fields.
std::optional<std::uint64_t> policy_of_id_block(std::string_view text) {
  constexpr std::size_t block_bytes = 96, policy_at = 88;
  const auto block = decoded(text);
  if (!block || block->size() != block_bytes) return std::nullopt;
  std::uint64_t policy = 0;
  for (std::size_t i = 8; i-- > 0;)
    policy = policy << 8 | static_cast<unsigned char>((*block)[policy_at + i]);
  return policy;
}

void judge_id_block(Case& guest, const QemuOption& object) {
  const auto block = object.value("id-block"), auth = object.value("id-auth");
  if (block && !auth) guest.find(rule("id-block-without-id-auth"), &object);
  if (auth && !block) guest.find(rule("id-auth-without-id-block"), &object);
  constexpr std::uint64_t default_policy = 0x30000;
  const auto policy = object.value("policy") ? parse_qemu_number(*object.value("policy")) : default_policy;
  const auto allowed = block ? policy_of_id_block(*block) : std::nullopt;
  if (allowed && policy && *allowed != *policy) {
    const std::string right = fmt::format("{:#x}", *allowed);
    guest.find(
        rule("id-block-of-other-policy"), &object,
        fmt::format("the block's is {}, the guest's is {:#x}", right, *policy),
        guest.in_language(Case::with(object, {{"policy", right}}), fmt::format("<policy>{}</policy>", right),
                          fmt::format("snp_guest_policy = {}", *allowed)));
  }
  if (is_on(object.value("vcek-disabled"))) guest.find(rule("vcek-disabled"), &object);
}

// target/i386/kvm/tdx.c: TDX_SUPPORTED_TD_ATTRS.
constexpr std::uint64_t sept_ve_disable = 1ull << 28;
constexpr std::uint64_t known_attributes = sept_ve_disable | 1ull << 30 | 1ull << 63;

void judge_attributes(Case& guest, const QemuOption& object) {
  const auto written = object.value("attributes");
  const auto attributes = written ? parse_qemu_number(*written) : std::nullopt;
  if (attributes && (*attributes & ~known_attributes) != 0)
    guest.find(rule("tdx-attributes"), &object,
               fmt::format("{:#x} has {:#x}", *attributes, *attributes & ~known_attributes),
               guest.in_language(Case::with(object, {}, {"attributes"}), "<policy>0x10000000</policy>"));
  const bool cleared =
      attributes && (*attributes & sept_ve_disable) == 0 && !is_on(object.value("sept-ve-disable"));
  if (cleared || is_off(object.value("sept-ve-disable")))
    guest.find(rule("sept-ve-enabled"), &object, {},
               guest.in_language(Case::with(object, {}, {"attributes", "sept-ve-disable"}),
                                 "<policy>0x10000000</policy>"));
}

struct SocketType {
  std::string_view type;
  std::array<std::string_view, 2> members;
};
// qapi/sockets.json.
constexpr SocketType socket_types[] = {
    {"unix", {"path", ""}}, {"vsock", {"cid", "port"}}, {"inet", {"host", "port"}}, {"fd", {"str", ""}}};

void judge_quotes(Case& guest, const QemuOption& object) {
  constexpr std::string_view key = "quote-generation-socket";
  const auto member = [&](std::string_view name) { return object.value(fmt::format("{}.{}", key, name)); };
  const bool given = std::ranges::any_of(
      object.properties, [&](const QemuProperty& property) { return property.key.starts_with(key); });
  if (!given) return guest.find(rule("quote-socket-missing"), &object);
  const auto type = member("type");
  const auto* const known = std::ranges::find(socket_types, type.value_or(""), &SocketType::type);
  if (known == std::end(socket_types))
    return guest.find(rule("quote-socket-address"), &object,
                      type ? fmt::format("there is no type {}", *type) : "its type is missing");
  for (const std::string_view name : known->members)
    if (!name.empty() && member(name).value_or("").empty())
      return guest.find(rule("quote-socket-address"), &object,
                        fmt::format("type={} needs {}.{}=", *type, key, name));
}

}  // namespace

void judge_attestation(Case& guest) {
  const QemuOption* const tpm = guest.last("tpmdev");
  if (tpm != nullptr) guest.find(rule("tpm-of-the-host"), tpm);
  const QemuOption* const object = guest.object();
  if (object == nullptr) return;
  const std::string_view type = object->value("qom-type").value_or("");
  if (type != "sev-guest" && type != "sev-snp-guest" && type != "tdx-guest") return;
  judge_properties(guest, *object, type);
  judge_blobs(guest, *object);
  if (type == "sev-snp-guest") judge_id_block(guest, *object);
  if (type != "tdx-guest" && guest.machine("igvm-cfg") &&
      (object->value("policy") || object->value("id-block")))
    guest.find(rule("igvm-sets-the-policy"), object);
  if (type != "tdx-guest") return;
  judge_attributes(guest, *object);
  judge_quotes(guest, *object);
}

}  // namespace cbit::launch
