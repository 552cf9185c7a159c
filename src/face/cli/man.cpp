#include <fmt/format.h>

#include <ostream>
#include <string>

#include "base/text.hpp"
#include "cli/pages.hpp"

namespace cbit::cli {
namespace {

// Backslashes and hyphens as roff wants them; a line must not begin with a control character.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += "\\&";
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

void print_option(std::ostream& out, const OptionSpec& option) {
  out << ".TP\n.B " << roff(option.name);
  if (!option.metavar.empty()) out << " \\fI" << roff(option.metavar) << "\\fR";
  out << '\n' << roff(option.help);
  if (!option.choices.empty()) out << roff(fmt::format(": {}", fmt::join(option.choices, ", ")));
  if (!option.fallback.empty()) out << roff(fmt::format(" (default: {})", option.fallback));
  out << ".\n";
}

void print_command(std::ostream& out, const CommandSpec& command) {
  out << ".SH \"CBIT " << roff(command.name) << "\"\n" << roff(command.description) << "\n";
  if (!command.positional.metavar.empty())
    out << ".TP\n.I " << roff(command.positional.metavar) << '\n' << roff(command.positional.help) << ".\n";
  if (!command.behind.metavar.empty())
    out << ".TP\n.I " << roff(command.behind.metavar) << '\n' << roff(command.behind.help) << ".\n";
  for (const OptionSpec& option : command.options) print_option(out, option);
  if (!command.examples.empty()) out << ".PP\nExamples:\n.PP\n.nf\n";
  for (const std::string_view example : command.examples) out << ".RS 4\n" << roff(example) << "\n.RE\n";
  if (!command.examples.empty()) out << ".fi\n";
}

}  // namespace

void print_man_page(std::ostream& out) {
  out << ".TH CBIT 1 \"\" \"cbit " CBIT_VERSION
         "\" \"User Commands\"\n"
         ".SH NAME\ncbit \\- a machine with memory encryption, in software\n"
         ".SH SYNOPSIS\n";
  for (const CommandSpec& command : commands())
    out << fmt::format(".B cbit {}\n\\&{}\n.br\n", roff(command.name), roff(trimmed(usage_words(command))));
  out << ".SH DESCRIPTION\n"
         "cbit moves data between CPU, devices and host while memory is encrypted, with the real ciphertext "
         "and through the mechanisms that Linux uses, and says why a DMA fails.\n";
  for (const CommandSpec& command : commands()) print_command(out, command);
  out << ".SH \"EXIT STATUS\"\n"
         ".TP\n0\nsuccess\n.TP\n1\na check or an expectation failed\n.TP\n64\nthe command line is wrong\n"
         ".TP\n65\nan input file is wrong\n.TP\n70\nan internal error\n.TP\n71\nnot enough memory\n"
         ".TP\n74\noutput could not be written\n"
         ".TP\n124\nthe time is up\n.TP\n125\nthe machine died\n.TP\n255\nthe kernel of a guest panicked\n"
         ".SH ENVIRONMENT\n"
         ".TP\nCOLUMNS\nso many columns tables and help take at most; unless set, those of the terminal "
         "that they go to, and where they go elsewhere there is no limit\n"
         ".TP\nNO_COLOR\nwhen set and not empty, output has no colours\n"
         ".TP\nCBIT_CIPHER\nthe implementation of the cipher: portable, aes\\-ni, vaes\\-avx2, "
         "vaes\\-avx512\n";
}

}  // namespace cbit::cli
