// Whatever is asked for, the plan passes the rules, and its printed command is the plan again.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "launch/plan_render.hpp"
#include "support/launch_sites.hpp"

namespace cbit::launch {
namespace {

using namespace launch_sites;

rc::Gen<std::string> text() {
  return rc::gen::nonEmpty(rc::gen::container<std::string>(
      rc::gen::element('a', 'Z', '0', ',', '=', ' ', '\'', '"', '\\', '$', '/', '-', '\n', '{', '\xc3')));
}

rc::Gen<DiskRequest> disk() {
  return rc::gen::build<DiskRequest>(
      rc::gen::set(&DiskRequest::file, text()),
      rc::gen::set(&DiskRequest::format, rc::gen::element<std::string>("raw", "qcow2")),
      rc::gen::set(&DiskRequest::read_only));
}

rc::Gen<NetRequest> net() {
  return rc::gen::map(rc::gen::tuple(rc::gen::arbitrary<bool>(), rc::gen::arbitrary<bool>(), text()),
                      [](const std::tuple<bool, bool, std::string>& choice) {
                        const auto& [tap, more, name] = choice;
                        if (tap) return NetRequest{.kind = NetKind::tap, .ifname = name, .vhost = more};
                        return NetRequest{.forwards = more ? name : ""};
                      });
}

LaunchRequest any_request() {
  LaunchRequest request;
  request.protection =
      *rc::gen::element<std::optional<Protection>>(std::nullopt, Protection::none, Protection::sev,
                                                   Protection::sev_es, Protection::sev_snp, Protection::tdx);
  if (*rc::gen::arbitrary<bool>()) {
    request.kernel = *text();
    if (*rc::gen::arbitrary<bool>()) request.initrd = *text();
    // Rules read the kernel's command line as well, so its words are not arbitrary here.
    if (*rc::gen::arbitrary<bool>()) request.append = "root=/dev/vda 'x' \"y\"";
  }
  request.disks = *rc::gen::container<std::vector<DiskRequest>>(disk());
  request.nets = *rc::gen::container<std::vector<NetRequest>>(net());
  if (*rc::gen::arbitrary<bool>()) request.vsock_cid = *rc::gen::inRange<std::uint32_t>(3, 1000);
  request.memory_bytes = *rc::gen::inRange<std::uint64_t>(1024, 16384) << 20;
  request.cpus = *rc::gen::inRange(1u, 64u);
  if (*rc::gen::arbitrary<bool>()) request.name = *text();
  request.console = *rc::gen::oneOf(rc::gen::element<std::string>("stdio", "none", "pty"), text());
  return request;
}

LaunchSite any_site() {
  LaunchSite site = capable_site();
  site.qemu = *rc::gen::element(QemuVersion{10, 1}, QemuVersion{11, 0});
  site.firmware = *rc::gen::element(std::vector{ovmf}, std::vector{ovmf_without_hashes});
  return site;
}

RC_GTEST_PROP(LaunchPlanProperty, PassesTheRulesWhateverIsAskedFor, ()) {
  const LaunchSite site = any_site();
  const auto plan = plan_launch(any_request(), site);
  RC_ASSERT(plan.has_value());
  // What only another firmware could cure.
  const bool unmeasured = !plan->request.kernel.empty() && !plan->kernel_hashes && plan->c_bit != 0;
  const std::vector<std::string> expected(unmeasured ? 1 : 0, "kernel-not-measured");
  RC_ASSERT(troubles(*plan, site) == expected);
}

RC_GTEST_PROP(LaunchPlanProperty, IsTheSamePlanWhenItsPrintedCommandIsReadAgain, ()) {
  const LaunchPlan plan = *plan_launch(any_request(), any_site());
  const auto words = shell_words(to_shell(plan));
  RC_ASSERT(words.has_value());
  RC_ASSERT(*words == to_words(command_of(plan)));
  const auto command = parse_qemu_command(*words);
  RC_ASSERT(command.has_value());
  RC_ASSERT(*command == command_of(plan));
}

}  // namespace
}  // namespace cbit::launch
