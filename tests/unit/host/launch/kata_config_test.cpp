#include "launch/kata_config.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/launch_cases.hpp"

namespace cbit::launch {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;

// Kata's own file for SNP, without what does not matter here.
const std::string snp = R"(
[hypervisor.qemu]
path = "/opt/kata/bin/qemu-system-x86_64"
kernel = "/opt/kata/vmlinuz"
image = "/opt/kata/image"
machine_type = "q35"
confidential_guest = true
sev_snp_guest = true
snp_id_block = ""
snp_id_auth = ""
snp_guest_policy = 196608
kernel_params = ""
firmware = "OVMF.fd"
firmware_volume = ""
default_vcpus = 1
default_memory = 2048
shared_fs = "none"
enable_iommu = false
enable_virtio_mem = false
pflashes = []

[runtime]
static_sandbox_resource_mgmt = true
)";
const std::string tdx =
    launch_cases::edit(launch_cases::edit(snp, "sev_snp_guest = true\n", ""), "snp_guest_policy = 196608",
                       "tdx_quote_generation_service_socket_port = 4050");

std::vector<std::string> found(const std::string& text, const facts::GuestSupport* host = nullptr) {
  const auto config = parse_kata_config(text);
  EXPECT_TRUE(config) << config.error().message;
  std::vector<std::string> names;
  if (!config) return names;
  for (const Finding& finding : judge(*config, {.host = host, .read_firmware = launch_cases::read_image}))
    if (finding.rule->severity != Severity::note) names.emplace_back(finding.rule->name);
  return names;
}

std::string with(std::string_view line) {
  return launch_cases::edit(snp, "[hypervisor.qemu]\n", fmt::format("[hypervisor.qemu]\n{}\n", line));
}

TEST(KataConfig, OfAWorkingGuestHasNothingWrong) {
  const facts::GuestSupport host = launch_cases::capable_host();
  EXPECT_THAT(found(snp, &host), ElementsAre());
  EXPECT_THAT(found(snp), ElementsAre());
  EXPECT_THAT(found(tdx), ElementsAre());
  EXPECT_EQ(protection_of(parse_kata_config(snp)->command), Protection::sev_snp);
  EXPECT_EQ(protection_of(parse_kata_config(tdx)->command), Protection::tdx);
}

TEST(KataConfig, IsJudgedByTheRulesOfQemu) {
  EXPECT_THAT(found(launch_cases::edit(snp, "confidential_guest = true", "confidential_guest = false")),
              Contains("not-encrypted"));
  EXPECT_THAT(found(launch_cases::edit(snp, "shared_fs = \"none\"\n", "")), Contains("virtiofs"));
  EXPECT_THAT(found(launch_cases::edit(snp, "enable_iommu = false", "enable_iommu = true")),
              Contains("emulated-iommu"));
  EXPECT_THAT(found(launch_cases::edit(snp, "enable_virtio_mem = false", "enable_virtio_mem = true")),
              Contains("memory-discard"));
  EXPECT_THAT(found(launch_cases::edit(snp, "firmware_volume = \"\"", "firmware_volume = \"VARS.fd\"")),
              Contains("pflash-with-snp-or-tdx"));
  EXPECT_THAT(found(launch_cases::edit(snp, "pflashes = []", "pflashes = [\"a.fd\"]")),
              Contains("pflash-with-snp-or-tdx"));
  EXPECT_THAT(found(launch_cases::edit(snp, "OVMF.fd", "early.fd")), Contains("firmware-lacks-metadata"));
  EXPECT_THAT(found(launch_cases::edit(snp, "196608", "458752")), Contains("policy-refused-by-kvm"));
  EXPECT_THAT(found(launch_cases::edit(snp, "\"q35\"", "\"microvm\"")), Contains("machine-microvm"));
  EXPECT_THAT(found(with("block_device_driver = \"nvdimm\"")), Contains("nvdimm"));
  EXPECT_THAT(found(launch_cases::edit(snp, "snp_id_block = \"\"", "snp_id_block = \"AAAA\"")),
              IsSupersetOf({"attestation-blob", "kata-id-block-pair", "id-block-without-id-auth"}));
}

TEST(KataConfig, IsJudgedByWhatTheRuntimeRefuses) {
  facts::GuestSupport amd = launch_cases::capable_host();
  amd.tdx = {.why_not = "the processor has no TDX"};
  EXPECT_THAT(found(launch_cases::edit(snp, "sev_snp_guest = true", "sev_snp_guest = false"), &amd),
              ElementsAre("kata-without-snp"));
  EXPECT_THAT(found(with("initrd = \"/i\"")), Contains("kata-image-and-initrd"));
  EXPECT_THAT(found(launch_cases::edit(snp, "image = \"/opt/kata/image\"\n", "")),
              Contains("kata-image-and-initrd"));
  EXPECT_THAT(found(launch_cases::edit(snp, "mgmt = true", "mgmt = false")),
              Contains("kata-resources-come-later"));
  EXPECT_THAT(found(snp + "[factory]\nenable_template = true\n"), Contains("kata-template"));
  EXPECT_THAT(found(launch_cases::edit(snp, "snp_id_auth = \"\"", "snp_id_auth = \"AAAA\"")),
              Contains("kata-id-block-pair"));
}

TEST(KataConfig, NamesTheKeyAndTheLine) {
  const auto config =
      parse_kata_config(launch_cases::edit(snp, "enable_iommu = false", "enable_iommu = true"));
  ASSERT_TRUE(config);
  const auto findings = judge(*config, {});
  EXPECT_EQ(findings.front().where, "hypervisor.qemu.enable_iommu");
  EXPECT_EQ(findings.front().remedy(GuestLanguage::kata), "enable_iommu = false");
  const auto refusal = [](const std::string& text) {
    const auto refused = parse_kata_config(text);
    return refused ? "" : refused.error().message;
  };
  EXPECT_THAT(refusal("[hypervisor.qemu]\nconfidential_guest = \"yes\"\n"), HasSubstr("line 2"));
  EXPECT_THAT(refusal("[hypervisor.qemu]\nmemory_offset = @DEF@\n"), HasSubstr("line 2"));
  EXPECT_THAT(refusal("[hypervisor.clh]\npath = \"x\"\n"), HasSubstr("no [hypervisor.qemu]"));
  EXPECT_THAT(refusal("[hypervisor.qemu]\ndefault_memory = -1\n"), HasSubstr("default_memory = -1"));
  EXPECT_THAT(refusal("[hypervisor.qemu]\nmachine_accelerators = \"a=b\"\nmachine_accelerators = \"c\"\n"),
              HasSubstr("line 3"));
}

// The rules of the topic have no example among those of QEMU's command lines.
TEST(KataConfig, HasAnExampleOfEachOfItsRules) {
  std::set<std::string> seen;
  const facts::GuestSupport host = launch_cases::capable_host();
  for (const std::string& text :
       {launch_cases::edit(launch_cases::edit(snp, "sev_snp_guest = true", "sev_snp_guest = false"),
                           "mgmt = true", "mgmt = false"),
        with("initrd = \"/i\"") + "[factory]\nenable_template = true\n",
        launch_cases::edit(snp, "snp_id_auth = \"\"", "snp_id_auth = \"AAAA\"")})
    for (std::string& name : found(text, &host)) seen.insert(std::move(name));
  for (const RuleInfo& info : rule_table())
    if (info.topic == "Kata Containers") {
      EXPECT_TRUE(seen.contains(std::string{info.name})) << info.name;
    }
}

}  // namespace
}  // namespace cbit::launch
