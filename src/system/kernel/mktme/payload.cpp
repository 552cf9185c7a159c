#include "kernel/mktme/payload.hpp"

#include <optional>
#include <set>
#include <string>

namespace cbit::kernel {
namespace {

constexpr std::size_t payload_bytes_max = 1024;

struct TypeName {
  std::string_view name;
  machine::KeyCommand command;
  MktmeRevision last;  // that knows it
};
constexpr TypeName type_names[] = {
    {"user", machine::KeyCommand::set_key_direct, MktmeRevision::rfc_62},
    {"cpu", machine::KeyCommand::set_key_random, MktmeRevision::v2_59},
    {"clear", machine::KeyCommand::clear_key, MktmeRevision::rfc_13},
    {"no-encrypt", machine::KeyCommand::no_encrypt, MktmeRevision::v2_59},
};

std::optional<machine::KeyCommand> find_type(std::string_view name, MktmeRevision revision) {
  for (const TypeName& type : type_names)
    if (type.name == name && revision <= type.last) return type.command;
  return std::nullopt;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// hex2bin(): the first 32 digits count, what follows does not.
bool read_hex(std::string_view text, std::array<std::uint8_t, 16>& to) {
  if (text.size() < 2 * to.size()) return false;
  for (std::size_t i = 0; i < to.size(); ++i) {
    const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    to[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

// The options of a payload: "" in `problem` while there is none.
struct Options {
  std::set<std::string_view> given;
  std::optional<machine::KeyCommand> command;
  std::array<std::uint8_t, 16> data_key{};
  std::array<std::uint8_t, 16> tweak_key{};

  // Why the option is refused, or nothing.
  std::string_view take(std::string_view option, MktmeRevision revision) {
    const std::size_t equals = option.find('=');
    if (equals == std::string_view::npos) return "unknown-option";
    const std::string_view name = option.substr(0, equals), value = option.substr(equals + 1);
    const bool user_option = name == "key" || name == "tweak";
    const bool known =
        name == "type" || name == "algorithm" || (user_option && revision <= MktmeRevision::rfc_62);
    if (!known) return "unknown-option";
    if (!given.insert(name).second) return "option-given-twice";
    if (name == "type") {
      command = find_type(value, revision);
      return command ? "" : "unknown-type";
    }
    if (name == "algorithm") return value == "aes-xts-128" ? "" : "unknown-algorithm";
    return read_hex(value, name == "key" ? data_key : tweak_key) ? "" : "key-is-not-hex";
  }
};

// mktme_check_options()
std::string_view check(const Options& options, MktmeRevision revision) {
  if (!options.command) return "type-missing";
  const bool algorithm = options.given.contains("algorithm");
  switch (*options.command) {
    case machine::KeyCommand::set_key_direct:
      if (!algorithm) return "algorithm-missing";
      return options.given.contains("key") && options.given.contains("tweak") ? "" : "key-missing";
    case machine::KeyCommand::set_key_random: return algorithm ? "" : "algorithm-missing";
    case machine::KeyCommand::clear_key:
    case machine::KeyCommand::no_encrypt:
      return algorithm && revision == MktmeRevision::v2_59 ? "algorithm-without-key" : "";
  }
  return "unknown-type";
}

}  // namespace

Result<Mktme::Payload, std::string_view> Mktme::parse(std::string_view text) const {
  if (text.empty() || text.size() > payload_bytes_max)
    return tl::unexpected{std::string_view{"payload-length"}};
  text = text.substr(0, text.find('\0'));
  Options options;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
    const std::string_view option = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (option.empty()) continue;
    if (const auto problem = options.take(option, config_.revision); !problem.empty())
      return tl::unexpected{problem};
  }
  if (const auto problem = check(options, config_.revision); !problem.empty()) return tl::unexpected{problem};
  return Payload{*options.command, options.given.contains("algorithm"), options.data_key, options.tweak_key};
}

}  // namespace cbit::kernel
