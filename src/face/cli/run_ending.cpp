#include "cli/run_ending.hpp"

#include <fmt/format.h>

#include "boot/files.hpp"
#include "isa/registers.hpp"
#include "linux/image.hpp"

namespace cbit::cli {
namespace {

// sev_verify_cbit() of arch/x86/kernel/sev_verify_cbit.S ends so.
bool is_failed_c_bit_check(guest::Pc& pc) {
  constexpr std::uint64_t stack = ~std::uint64_t{0x1000} + 1;
  return pc.cpu().registers()[isa::Gpr::rsp] == stack;
}

RunEnding died(guest::Pc& pc, guest::Ending ending) {
  RunEnding died{.code = ExitCode::machine_died,
                 .what = fmt::format("the machine {}", to_string(ending)),
                 .details = pc.cpu().report()};
  if (is_failed_c_bit_check(pc))
    died.details += "cbit: the kernel's check of the C-bit failed (sev_verify_cbit)\n";
  return died;
}

}  // namespace

RunEnding ending_of(guest::Pc& pc, const guest::RunReport& report, bool with_command) {
  if (report.ended_at_console || report.recording_ended) return {};
  if (!report.ending) return {.code = ExitCode::timeout, .what = "the time is up"};
  if (report.words.panicked()) return {.code = guest_panicked, .what = report.words.panic()};
  switch (*report.ending) {
    case guest::Ending::exited: return {.code = static_cast<ExitCode>(report.exit_status & 0xff)};
    case guest::Ending::shutdown:
    case guest::Ending::init:
    case guest::Ending::hung: return died(pc, *report.ending);
    case guest::Ending::differed:
      return {.code = ExitCode::machine_died,
              .what = "--check-jit found a difference: please report it",
              .details = pc.difference()};
    case guest::Ending::powered_off:
    case guest::Ending::reset: break;
  }
  if (!with_command) return {};
  if (const auto status = report.words.command_status())
    return {.code = static_cast<ExitCode>(*status & 0xff)};
  return {.code = ExitCode::machine_died, .what = "the guest ended without a word about its command"};
}

std::vector<Error> troubles_of(const RunRequest& request, const guest::RunReport& report) {
  std::vector<Error> troubles;
  const bool died = report.ending == guest::Ending::shutdown || report.ending == guest::Ending::hung;
  // The kernel unpacks itself, and has no words for it.
  if (died && request.kind == boot::KernelKind::bzimage)
    if (auto file = boot::read_file(request.kernel_name))
      if (const auto image = linux::KernelImage::open(*std::move(file), request.kernel_name); !image)
        troubles.push_back(image.error());
  for (const guest::RefusedModule& module : report.words.refused_modules())
    troubles.push_back({fmt::format("the kernel refused module {}: {}", module.name, module.why),
                        std::string{module.remedy}});
  for (const auto& disk : request.disks)
    if (disk->failure()) troubles.push_back(*disk->failure());
  return troubles;
}

ExitCode bisect_code(ExitCode code, const guest::KtapCounts& tests) {
  return code == ExitCode::ok && tests.good() ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace cbit::cli
