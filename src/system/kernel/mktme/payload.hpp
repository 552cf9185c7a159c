// The payload of a key of type "mktme": options, parted by blanks, each at most once.
//
//   type=cpu algorithm=aes-xts-128           the processor makes the key
//   type=no-encrypt                          memory of the KeyID is not encrypted
//   type=user algorithm=aes-xts-128 key=<32 hex digits> tweak=<32 hex digits>     up to rfc_62
//   type=clear                                                                    rfc_13
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernel/mktme/mktme.hpp"
#include "machine/tme.hpp"

namespace cbit::kernel {

struct Mktme::Payload {
  machine::KeyCommand command = machine::KeyCommand::no_encrypt;
  bool names_algorithm = false;
  std::array<std::uint8_t, 16> data_key{};
  std::array<std::uint8_t, 16> tweak_key{};
};

}  // namespace cbit::kernel
