#include "boot/sev_launch.hpp"

#include <fmt/format.h>

#include "boot/load.hpp"

namespace cbit::boot {
namespace {

OrError<void> done(std::string_view command, spec::SevStatusCode status) {
  if (status == spec::SevStatusCode::success) return {};
  return bad_input(fmt::format("{}: the firmware says {}", command, to_string(status)),
                   "see docs/sev-launch.md for what each command refuses");
}

// sev_platform_init(), and the flush that makes a fresh ASID usable.
OrError<void> initialize(machine::Machine& machine, machine::SevFirmware& firmware) {
  machine::SevFirmware::PlatformStatus status;
  CBIT_TRY(done("PLATFORM_STATUS", firmware.platform_status(status)));
  if (status.state == spec::SevPlatformState::uninit) CBIT_TRY(done("INIT", firmware.init({})));
  machine.memory().flush_all();
  for (unsigned cpu = 0; cpu < machine.config().cpus; ++cpu) firmware.wbinvd_executed(cpu);
  return done("DF_FLUSH", firmware.df_flush());
}

OrError<std::uint32_t> start(machine::SevFirmware& firmware, const SevLaunchOptions& options) {
  machine::SevFirmware::LaunchStart request{
      .policy = options.policy, .dh_cert = options.dh_cert, .session = options.session};
  CBIT_TRY(done("LAUNCH_START", firmware.launch_start(request)));
  if (const auto bound = done("ACTIVATE", firmware.activate(request.handle, machine::guest_asid)); !bound) {
    static_cast<void>(firmware.decommission(request.handle));
    return tl::unexpected{bound.error()};
  }
  return request.handle;
}

OrError<std::uint64_t> encrypt(machine::Machine& machine, machine::SevFirmware& firmware,
                               std::uint32_t handle, const LoadPlan& plan) {
  std::uint64_t pages = 0;
  CBIT_TRY(plan.for_each_page([&](PhysAddr page, auto) -> OrError<void> {
    // sev_clflush_pages(): nothing of the plain page may linger under the host's view.
    if (machine.config().cache != mem::CacheModel::coherent) machine.memory().flush(page, page_size);
    ++pages;
    return done("LAUNCH_UPDATE_DATA", firmware.launch_update_data(handle, PtePhys{page.value()}, page_size));
  }));
  return pages;
}

}  // namespace

OrError<SevLaunch> SevLaunch::begin(machine::Machine& machine, const LoadPlan& plan,
                                    const SevLaunchOptions& options) {
  machine::SevFirmware* const firmware = machine.launch_firmware();
  if (firmware == nullptr)
    return usage_error(fmt::format("a machine of platform {} is not launched by the SEV firmware",
                                   to_string(machine.config().platform)));
  CBIT_TRY(initialize(machine, *firmware));
  SevLaunchReport report{
      .handle = CBIT_TRY(start(*firmware, options)), .asid = machine::guest_asid, .policy = options.policy};
  CBIT_TRY(load_plain(machine, plan));
  report.pages = CBIT_TRY(encrypt(machine, *firmware, report.handle, plan));
  report.digest = launch_digest(plan);
  std::uint32_t length = sizeof report.measurement;
  CBIT_TRY(done("LAUNCH_MEASURE", firmware->launch_measure(report.handle, length, report.measurement)));
  return SevLaunch{*firmware, report};
}

OrError<void> SevLaunch::put_secret(PhysAddr at, ConstByteSpan header, ConstByteSpan data) {
  return done("LAUNCH_SECRET",
              firmware_->launch_secret(report_.handle, {.header = header,
                                                        .guest_address = PtePhys{at.value()},
                                                        .guest_len = static_cast<std::uint32_t>(data.size()),
                                                        .data = data}));
}

OrError<void> SevLaunch::finish() { return done("LAUNCH_FINISH", firmware_->launch_finish(report_.handle)); }

OrError<SevLaunchReport> launch(machine::Machine& machine, const LoadPlan& plan,
                                const SevLaunchOptions& options) {
  SevLaunch begun = CBIT_TRY(SevLaunch::begin(machine, plan, options));
  CBIT_TRY(begun.finish());
  return begun.report();
}

crypt::Sha256Digest launch_digest(const LoadPlan& plan) {
  crypt::Sha256 digest;
  const auto update = [&digest](PhysAddr, auto contents) -> OrError<void> {
    digest.update(contents);
    return {};
  };
  static_cast<void>(plan.for_each_page(update));
  return digest.finish();
}

}  // namespace cbit::boot
