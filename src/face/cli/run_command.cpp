#include "cli/run_command.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view examples[] = {"cbit run"};

OrError<ExitCode> run(const Arguments&, Streams&) {
  return usage_error("`cbit run` will boot a Linux kernel of yours on an encrypted machine, and cannot yet",
                     "the demonstration with the model kernel is `cbit stream`");
}

}  // namespace

const CommandSpec run_command{
    "run",
    "Boot your own Linux kernel on the machine: not there yet",
    "Will boot an unmodified Linux kernel on the machine's own x86-64 processor, with its memory encrypted, "
    "and "
    "explain the DMA of its drivers. The streaming demonstration that had this name is `cbit stream`.",
    {},
    {},
    examples,
    run,
};

}  // namespace cbit::cli
