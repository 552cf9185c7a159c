#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <new>
#include <ostream>
#include <stdexcept>

#include "base/safe_text.hpp"
#include "cli/causes_command.hpp"
#include "cli/command.hpp"
#include "cli/cpu_command.hpp"
#include "cli/doctor_command.hpp"
#include "cli/explain_command.hpp"
#include "cli/file_options.hpp"
#include "cli/lab_command.hpp"
#include "cli/launch_command.hpp"
#include "cli/matrix_command.hpp"
#include "cli/pages.hpp"
#include "cli/pages_command.hpp"
#include "cli/parse.hpp"
#include "cli/peek_command.hpp"
#include "cli/rdma_command.hpp"
#include "cli/record_command.hpp"
#include "cli/run_command.hpp"
#include "cli/safe_stream.hpp"
#include "cli/stream_command.hpp"
#include "cli/table_command.hpp"

namespace cbit::cli {
namespace {

ExitCode report(const Error& error, Streams& streams) {
  print_error(error, streams.err);
  return error.code;
}

Error no_memory() {
  return {"there is not enough memory", "ask for less, or free some; ulimit -v limits it",
          ExitCode::no_memory};
}

OrError<ExitCode> dispatch(std::span<const std::string_view> words, Streams& streams) {
  const ParsedCommand parsed = CBIT_TRY(parse_command_line(words));
  if (parsed.version) {
    streams.out << "cbit " CBIT_VERSION "\n";
    return ExitCode::ok;
  }
  if (parsed.command == nullptr) {
    print_help(streams);
    return ExitCode::ok;
  }
  if (parsed.help) {
    print_help(streams, *parsed.command);
    return ExitCode::ok;
  }
  CBIT_TRY(check_files(*parsed.command, parsed.arguments, streams));
  if (!sends_file_to_output(*parsed.command, parsed.arguments))
    return parsed.command->run(parsed.arguments, streams);
  Streams talk{streams.err, streams.err};
  return parsed.command->run(parsed.arguments, talk);
}

}  // namespace

std::span<const CommandSpec> commands() {
  static const CommandSpec table[] = {
      stream_command,       run_command,    rdma_bw_command,    rdma_pingpong_command, explain_command,
      matrix_command,       table_command,  lab_run_command,    lab_list_command,      lab_show_command,
      peek_command,         doctor_command, record_command,     launch_command,        causes_command,
      cpu_coverage_command, man_command,    completion_command,
  };
  return table;
}

// Messages quote what comes from outside.
void print_error(const Error& error, std::ostream& err) {
  err << "cbit: " << safe_line(error.message) << '\n';
  if (!error.hint.empty()) err << "      " << safe_line(error.hint) << '\n';
}

ExitCode run_command_line(std::span<const std::string_view> words, Streams& given) {
  SafeBuffer safe_out{*given.out.rdbuf()}, safe_err{*given.err.rdbuf()};
  std::ostream out{&safe_out}, err{&safe_err};
  Streams streams{out,
                  err,
                  given.out_is_terminal,
                  given.out_is_terminal ? nullptr : &given.out,
                  given.out_is_terminal ? &given.out : nullptr,
                  given.columns};
  errno = 0;
  try {
    const OrError<ExitCode> done = dispatch(words, streams);
    if (!done) return report(done.error(), streams);
    if (!out.flush()) {
      if (errno == EPIPE) return ExitCode::output_failed;  // the reader has seen enough, as `head` does
      return report({"cannot write to standard output", "check the pipe or the disk it goes to",
                     ExitCode::output_failed},
                    streams);
    }
    return *done;
  } catch (const std::bad_alloc&) {
    return report(no_memory(), streams);
  } catch (const std::length_error&) {  // of a container that would have been larger than all memory
    return report(no_memory(), streams);
  } catch (const std::exception& error) {
    return report({fmt::format("internal error: {}", error.what()),
                   "please report this with the command line", ExitCode::internal},
                  streams);
  }
}

}  // namespace cbit::cli
