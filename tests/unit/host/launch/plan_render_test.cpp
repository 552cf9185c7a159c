#include "launch/plan_render.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <toml++/toml.h>

#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "launch/libvirt_xml.hpp"
#include "support/launch_sites.hpp"

namespace cbit::launch {
namespace {

using namespace launch_sites;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Protection all[] = {Protection::none, Protection::sev, Protection::sev_es, Protection::sev_snp,
                              Protection::tdx};

LaunchPlan plan_for(Protection protection) {
  const LaunchRequest request{.protection = protection,
                              .kernel = "/boot/vm linuz",
                              .disks = {{.file = "/disk,s/ro\"ot.img", .format = "qcow2", .read_only = true}},
                              .nets = {{.kind = NetKind::user}},
                              .vsock_cid = 5,
                              .name = "guest <1> & 2"};
  return *plan_launch(request, capable_site());
}

TEST(LibvirtXml, IsReadBackAsAGuestInWhichTheRulesFindNothing) {
  const LaunchSite site = capable_site();
  for (const Protection protection : all) {
    const auto xml = to_libvirt(plan_for(protection), true);
    ASSERT_TRUE(xml) << xml.error().message;
    const auto config = parse_libvirt_domain(*xml);
    ASSERT_TRUE(config) << config.error().message << *xml;
    EXPECT_EQ(protection_of(config->command), protection);
    const JudgeContext context{.host = &site.support, .encrypted = protection != Protection::none};
    for (const Finding& finding : judge(*config, context))
      EXPECT_EQ(finding.rule->severity, Severity::note) << finding.rule->name << "\n" << *xml;
  }
}

TEST(LibvirtXml, HoldsTheNamesAsTheyAre) {
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(to_libvirt(plan_for(Protection::sev), false)->c_str()));
  const pugi::xml_node domain = document.child("domain");
  EXPECT_STREQ(domain.child_value("name"), "guest <1> & 2");
  EXPECT_STREQ(domain.child("os").child_value("kernel"), "/boot/vm linuz");
  const pugi::xml_node disk = domain.child("devices").child("disk");
  EXPECT_STREQ(disk.child("source").attribute("file").value(), "/disk,s/ro\"ot.img");
  EXPECT_STREQ(disk.child("driver").attribute("iommu").value(), "on");
  EXPECT_TRUE(disk.child("readonly"));
  const pugi::xml_node security = domain.child("launchSecurity");
  EXPECT_STREQ(security.attribute("type").value(), "sev");
  EXPECT_STREQ(security.child_value("cbitpos"), "51");
  EXPECT_STREQ(security.child_value("policy"), "0x3");
  EXPECT_TRUE(domain.child("memoryBacking").child("locked"));
}

TEST(LibvirtXml, RefusesWhatLibvirtHasNoWordFor) {
  LaunchPlan plan = plan_for(Protection::sev);
  plan.request.kernel = "vmlinuz";
  EXPECT_THAT(to_libvirt(plan, false).error().message, HasSubstr("absolute paths, and the kernel vmlinuz"));
  plan.request.kernel = "/vmlin\x01uz";
  EXPECT_THAT(to_libvirt(plan, false).error().message, HasSubstr("XML cannot hold"));
  plan.request.kernel = "/vmlin\xffuz";
  EXPECT_FALSE(to_libvirt(plan, false));
  plan.request.kernel = "/vmlinüz";
  EXPECT_TRUE(to_libvirt(plan, false));
  plan.request.nets.front().forwards = "tcp::2222-:22";
  EXPECT_THAT(to_libvirt(plan, false).error().message, HasSubstr("hostfwd"));
}

LaunchPlan kata_plan(Protection protection) {
  const LaunchRequest request{.protection = protection,
                              .kernel = "/k\"ernel",
                              .initrd = "/initrd",
                              .append = "a=\"b\" c",
                              .memory_bytes = 3ull << 30,
                              .cpus = 3};
  return *plan_launch(request, capable_site());
}

TEST(KataConfiguration, SaysWhatThePlanSays) {
  for (const bool explain : {false, true}) {
    const auto text = to_kata(kata_plan(Protection::sev_snp), explain);
    ASSERT_TRUE(text) << text.error().message;
    const toml::table table = toml::parse(*text);
    const auto qemu = table["hypervisor"]["qemu"];
    EXPECT_EQ(qemu["confidential_guest"].value<bool>(), true);
    EXPECT_EQ(qemu["sev_snp_guest"].value<bool>(), true);
    EXPECT_EQ(qemu["snp_guest_policy"].value<std::int64_t>(), 0x30000);
    EXPECT_EQ(qemu["disable_image_nvdimm"].value<bool>(), true);
    EXPECT_EQ(qemu["enable_iommu_platform"].value<bool>(), true);
    EXPECT_EQ(qemu["kernel"].value<std::string>(), "/k\"ernel");
    EXPECT_EQ(qemu["kernel_params"].value<std::string>(), "a=\"b\" c");
    EXPECT_EQ(qemu["default_memory"].value<std::int64_t>(), 3072);
    EXPECT_EQ(qemu["default_maxvcpus"].value<std::int64_t>(), 3);
    EXPECT_EQ(text->find("# ") != std::string::npos, explain);
  }
}

TEST(KataConfiguration, LeavesConfidentialGuestOffWithoutProtection) {
  const toml::table table = toml::parse(*to_kata(kata_plan(Protection::none), false));
  EXPECT_EQ(table["hypervisor"]["qemu"]["confidential_guest"].value<bool>(), false);
  EXPECT_EQ(table["hypervisor"]["qemu"]["disable_image_nvdimm"].value<bool>(), true);
  EXPECT_FALSE(table["hypervisor"]["qemu"]["snp_guest_policy"]);
}

TEST(KataConfiguration, RefusesWhatIsTheRuntimesBusiness) {
  EXPECT_THAT(to_kata(plan_for(Protection::sev_snp), false).error().message, HasSubstr("raw"));
  LaunchPlan plan = kata_plan(Protection::sev_snp);
  plan.request.nets = {{}};
  EXPECT_THAT(to_kata(plan, false).error().message, HasSubstr("the business of Kata's runtime"));
  plan = kata_plan(Protection::sev_snp);
  plan.request.disks = {{.file = "/image"}};
  EXPECT_THAT(to_kata(plan, false).error().message, HasSubstr("not both"));
}

TEST(KataConfiguration, IsNotPrintedForWhatTheRuntimeDoesNotKnow) {
  for (const Protection protection : {Protection::sev, Protection::sev_es}) {
    const auto text = to_kata(kata_plan(protection), false);
    ASSERT_FALSE(text);
    EXPECT_THAT(text.error().message, HasSubstr("no configuration of Kata Containers gives SEV"));
    EXPECT_THAT(text.error().message, HasSubstr("doesn't support Confidential Computing"));
  }
}

TEST(KataConfiguration, HasTheIdBlockAndTheQuotePort) {
  LaunchPlan plan = kata_plan(Protection::sev_snp);
  plan.request.attestation = {.id_block = "QQ==", .id_auth = "Qg=="};
  const toml::table snp = toml::parse(*to_kata(plan, false));
  EXPECT_EQ(snp["hypervisor"]["qemu"]["snp_id_block"].value<std::string>(), "QQ==");
  EXPECT_EQ(snp["hypervisor"]["qemu"]["snp_id_auth"].value<std::string>(), "Qg==");
  plan.request.attestation.id_auth.clear();
  EXPECT_THAT(to_kata(plan, false).error().message, HasSubstr("or neither"));
  plan = kata_plan(Protection::tdx);
  plan.request.attestation = {.quote_socket = "vsock:2:4050"};
  const toml::table tdx = toml::parse(*to_kata(plan, false));
  EXPECT_EQ(tdx["hypervisor"]["qemu"]["tdx_quote_generation_service_socket_port"].value<std::int64_t>(),
            4050);
}

TEST(PlanJson, HoldsTheWordsOfTheCommandAndAReasonPerOption) {
  const LaunchPlan plan = plan_for(Protection::sev_es);
  const auto json = nlohmann::json::parse(to_json(plan, {}));
  EXPECT_EQ(json["words"].get<std::vector<std::string>>(), to_words(command_of(plan)));
  EXPECT_EQ(json["protection"], "sev-es");
  for (const auto& option : json["options"]) EXPECT_FALSE(option["reason"]["why"].get<std::string>().empty());
}

TEST(PlanText, ExplainsEveryOption) {
  const LaunchPlan plan = plan_for(Protection::sev);
  const std::string text = to_explanation(plan);
  for (const PlannedOption& option : plan.options) {
    const auto words = to_words(option_of(option));
    EXPECT_THAT(text, HasSubstr("\n  " + to_shell(words) + "\n"));
  }
  EXPECT_THAT(text, HasSubstr("VIRTIO_F_ACCESS_PLATFORM"));
}

}  // namespace
}  // namespace cbit::launch
