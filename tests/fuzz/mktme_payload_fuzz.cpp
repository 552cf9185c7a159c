// add_key("mktme", ...) with any payload, on each revision of the patches. The input is a list of payloads:
// text as it comes, or options put together from a list.
//
// Held: nothing crashes; a payload is refused with -EINVAL exactly when a plain reading of the grammar
// (docs/mktme.md) refuses it; whatever is refused takes no KeyID and programs none; what is accepted takes
// the lowest free one and changes no other.
#include <cerrno>
#include <set>
#include <string>

#include "fuzz_input.hpp"
#include "kernel/mktme/mktme.hpp"
#include "mktme_board.hpp"

namespace cbit {
namespace {

constexpr unsigned payloads_max = 12;

constexpr std::string_view options[] = {"type=cpu",
                                        "type=user",
                                        "type=clear",
                                        "type=no-encrypt",
                                        "type=",
                                        "algorithm=aes-xts-128",
                                        "algorithm=aes-xts-256",
                                        "key=000102030405060708090a0b0c0d0e0f",
                                        "key=0001",
                                        "key=zz0102030405060708090a0b0c0d0e0f",
                                        "tweak=0F0E0D0C0B0A09080706050403020100",
                                        "tweak=0f0e0d0c0b0a09080706050403020100ff",
                                        "=",
                                        "type"};

std::string payload_of(FuzzInput& input) {
  std::string text;
  const unsigned count = input.below(6);
  if (count == 0) {
    const unsigned bytes = input.byte() * 5u;  // up to beyond the limit of 1024
    for (unsigned i = 0; i < bytes; ++i) text.push_back(static_cast<char>(input.byte()));
    return text;
  }
  for (unsigned i = 0; i < count; ++i) {
    if (i != 0) text += input.flag() ? " " : "\t ";
    text += options[input.below(std::size(options))];
  }
  return text;
}

bool is_hex_of_16_bytes(std::string_view text) {
  return text.size() >= 32 &&
         text.substr(0, 32).find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

// The grammar, read as a whole: which options there are, and whether the set of them is one that a key has.
bool is_legal(std::string_view text, kernel::MktmeRevision revision) {
  if (text.empty() || text.size() > 1024) return false;
  text = text.substr(0, text.find('\0'));
  const bool users = revision != kernel::MktmeRevision::v2_59;
  std::string type;
  std::set<std::string> names;
  while (true) {
    const std::size_t start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) break;
    text.remove_prefix(start);
    const std::string_view option = text.substr(0, text.find_first_of(" \t"));
    text.remove_prefix(option.size());
    const std::size_t equals = option.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string name{option.substr(0, equals)};
    const std::string_view value = option.substr(equals + 1);
    if (!names.insert(name).second) return false;
    if (name == "type")
      type = value;
    else if (name == "algorithm"
                 ? value != "aes-xts-128"
                 : !(users && (name == "key" || name == "tweak") && is_hex_of_16_bytes(value)))
      return false;
  }
  const bool algorithm = names.contains("algorithm");
  if (type == "cpu") return algorithm;
  if (type == "user") return users && algorithm && names.contains("key") && names.contains("tweak");
  if (type == "clear") return revision == kernel::MktmeRevision::rfc_13;
  return type == "no-encrypt" && (users || !algorithm);
}

void add_keys(MktmeBoard& board, FuzzInput& input) {
  const auto revision = static_cast<kernel::MktmeRevision>(input.below(3));
  const auto service = std::move(*kernel::Mktme::create(board.kernel(), {.revision = revision}));
  for (unsigned i = 0; i < payloads_max && !input.empty(); ++i) {
    const std::string payload = payload_of(input);
    const unsigned free = service->free_key_ids();
    const auto before = board.views();
    const auto key = service->add_key("key " + std::to_string(i), payload);
    const auto after = board.views();
    require((!key && key.error() == EINVAL) != is_legal(payload, revision));
    require(service->free_key_ids() == free - (key ? 1u : 0u));
    const mem::KeySelector taken = key ? service->key_id(*key) : mem::KeySelector{0};
    if (key) require(taken == MktmeBoard::key_ids - free + 1);
    for (unsigned id = 0; id <= MktmeBoard::key_ids; ++id)
      require((id == taken && key) || before[id] == after[id]);
  }
}

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::MktmeBoard board;
  cbit::FuzzInput input{data, size};
  cbit::add_keys(board, input);
  return 0;
}
