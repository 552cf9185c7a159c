#include "machine/tme.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "crypt/sha256.hpp"

namespace cbit::machine {
namespace {

using KeyHalf = std::array<std::uint8_t, 16>;

KeyHalf first_16(const std::array<std::uint8_t, 64>& field) {
  KeyHalf half;
  std::copy_n(field.begin(), half.size(), half.begin());
  return half;
}

}  // namespace

std::string_view to_string(KeyCommand command) {
  switch (command) {
    case KeyCommand::set_key_direct: return "set-key-direct";
    case KeyCommand::set_key_random: return "set-key-random";
    case KeyCommand::clear_key: return "clear-key";
    case KeyCommand::no_encrypt: return "no-encrypt";
  }
  return "invalid";
}

Tme::Tme(mem::Memory& memory, Tracer& tracer, unsigned key_id_bits, std::uint64_t seed)
    : memory_{&memory}, tracer_{&tracer}, random_{seed} {
  capability_ = capability_.with<TmeCapability::MaxKeys>((1u << key_id_bits) - 1)
                    .with<TmeCapability::MaxKeyIdBits>(key_id_bits)
                    .with<TmeCapability::BypassSupported>(true)
                    .with<TmeCapability::AesXts128>(true);
  activate_ = activate_.with<TmeActivate::Algorithms>(tme_aes_xts_128)
                  .with<TmeActivate::KeyIdBits>(key_id_bits)
                  .with<TmeActivate::Bypass>(true)
                  .with<TmeActivate::Enabled>(true)
                  .with<TmeActivate::Locked>(true);
}

Result<PconfigStatus, CpuException> Tme::pconfig(paging::Mmu& cpu, std::uint64_t rax, VirtAddr rbx) {
  if (rax != pconfig_key_program || !activate_.get<TmeActivate::Locked>() ||
      !activate_.get<TmeActivate::Enabled>() || !rbx.is_aligned(key_program_alignment))
    return tl::unexpected{general_protection};
  const auto loaded = cpu.load<KeyProgram>(rbx);
  if (!loaded) return tl::unexpected{page_fault};
  const KeyIdControl control{{loaded->control}};
  const bool reserved = std::ranges::any_of(loaded->reserved, [](std::uint8_t byte) { return byte != 0; });
  if (reserved || control.get<KeyIdControl::Reserved>() != 0) return tl::unexpected{general_protection};

  PconfigStatus status = check(*loaded);
  if (status == PconfigStatus::success) status = std::exchange(fail_next_, PconfigStatus::success);
  if (status == PconfigStatus::success) install(*loaded);
  const unsigned command = control.get<KeyIdControl::Command>();
  tracer_->emit(cpu.agent(), KeyProgrammed{loaded->key_id, to_string(static_cast<KeyCommand>(command)),
                                           static_cast<std::uint32_t>(status)});
  return status;
}

// In the order of the SDM's pseudocode.
PconfigStatus Tme::check(const KeyProgram& program) const {
  const KeyIdControl control{{program.control}};
  if (control.get<KeyIdControl::Command>() > static_cast<unsigned>(KeyCommand::no_encrypt))
    return PconfigStatus::invalid_command;
  const unsigned last = std::min((1u << activate_.get<TmeActivate::KeyIdBits>()) - 1,
                                 capability_.get<TmeCapability::MaxKeys>());
  if (program.key_id == 0 || program.key_id > last) return PconfigStatus::invalid_key_id;
  const unsigned algorithm = control.get<KeyIdControl::Algorithm>();
  if (!std::has_single_bit(algorithm) || (algorithm & activate_.get<TmeActivate::Algorithms>()) == 0)
    return PconfigStatus::invalid_algorithm;
  return PconfigStatus::success;
}

void Tme::install(const KeyProgram& program) {
  const auto command = static_cast<KeyCommand>(KeyIdControl{{program.control}}.get<KeyIdControl::Command>());
  if (command == KeyCommand::clear_key || command == KeyCommand::no_encrypt)
    return memory_->rekey(program.key_id, std::nullopt);
  std::array<KeyHalf, 2> halves{first_16(program.key_1), first_16(program.key_2)};
  // What software supplies is mixed into what the generator gives.
  if (command == KeyCommand::set_key_random)
    for (KeyHalf& half : halves)
      for (std::uint8_t& byte : half) byte ^= static_cast<std::uint8_t>(random_.next());
  const auto digest = crypt::sha256(std::as_bytes(std::span{halves}));
  crypt::Key128 key;
  std::copy_n(digest.begin(), key.size(), key.begin());
  memory_->rekey(program.key_id, key);
}

}  // namespace cbit::machine
