// One configuration before the judges, and what they need to read it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "launch/rules.hpp"

namespace cbit::launch {

// "4G", "512" (in units of `unit` bytes), "1.5G"; nullopt: no size, or more than 2^64 bytes.
[[nodiscard]] std::optional<std::uint64_t> parse_qemu_size(std::string_view text, std::uint64_t unit);
// Decimal, 0x... or 0...; nullopt: no number.
[[nodiscard]] std::optional<std::uint64_t> parse_qemu_number(std::string_view text);
[[nodiscard]] bool is_on(std::optional<std::string_view> value);
[[nodiscard]] bool is_off(std::optional<std::string_view> value);
// "4 GiB", "65 MiB", "100 bytes".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

class Case {
 public:
  Case(const GuestConfig& config, const JudgeContext& context);

  [[nodiscard]] const QemuCommand& command() const { return config_.command; }
  [[nodiscard]] const JudgeContext& context() const { return context_; }
  [[nodiscard]] GuestLanguage language() const { return config_.language; }
  [[nodiscard]] bool is_libvirt() const { return config_.language == GuestLanguage::libvirt; }
  [[nodiscard]] const GuestConfig& config() const { return config_; }
  // As QEMU finds it: from its own folder, or, where that has none such, by the name alone.
  [[nodiscard]] std::string path_of(const std::string& file) const;
  // What is asked for, or, where that is nothing, what the host's best is.
  [[nodiscard]] Protection protection() const { return protection_; }
  [[nodiscard]] bool is_plain_sev() const { return protection_ == Protection::sev; }
  [[nodiscard]] bool has_encrypted_state() const { return protection_ != Protection::sev; }
  [[nodiscard]] bool has_private_memory() const {
    return protection_ == Protection::sev_snp || protection_ == Protection::tdx;
  }
  [[nodiscard]] const QemuOption* object() const { return object_; }
  // Unknown versions are assumed to be new enough.
  [[nodiscard]] bool qemu_is_at_least(QemuVersion version) const {
    return !context_.qemu || *context_.qemu >= version;
  }
  [[nodiscard]] std::string_view machine_type() const;
  [[nodiscard]] std::optional<std::string_view> machine(std::string_view key) const;
  // What rules ask for each of 40,000 devices is found in tables that are made once.
  // These options in their order.
  [[nodiscard]] std::span<const QemuOption* const> all(std::string_view option) const;
  // nullptr: there is none.
  [[nodiscard]] const QemuOption* last(std::string_view option) const;
  // The last of these options that has the key; nullptr: none has.
  [[nodiscard]] const QemuOption* option_with(std::string_view option, std::string_view key) const;
  [[nodiscard]] const QemuOption* machine_with(std::string_view key) const {
    return option_with("machine", key);
  }
  // What -m says, or the memory backend that the machine has, or QEMU's default; 0: none of them is a size.
  [[nodiscard]] std::uint64_t memory_bytes() const { return memory_bytes_; }
  [[nodiscard]] std::span<const std::string_view> kernel_words() const { return kernel_words_; }
  // -object whose id is that.
  [[nodiscard]] const QemuOption* object_of_id(std::string_view id) const;
  // What the last -global says about a property of a type.
  [[nodiscard]] std::optional<std::string_view> global(std::string_view type, std::string_view key) const;
  // Whether other processes can map the guest's memory.
  [[nodiscard]] bool has_shared_memory() const { return has_shared_memory_; }

  // `write` is in the language of the configuration.
  void find(const RuleInfo& rule, const QemuOption* option, std::string_view detail = {},
            std::string_view write = {});
  [[nodiscard]] std::string in_language(std::string qemu, std::string libvirt, std::string kata = {}) const;
  // The option with these properties set and those removed, as a command line has it.
  [[nodiscard]] static std::string with(const QemuOption& option, std::initializer_list<QemuProperty> set,
                                        std::initializer_list<std::string_view> removed = {});

  [[nodiscard]] std::vector<Finding> take();

 private:
  void make_tables();
  [[nodiscard]] std::string where(const QemuOption* option) const;
  [[nodiscard]] std::uint64_t find_memory_bytes() const;
  [[nodiscard]] std::vector<std::string_view> find_kernel_words() const;
  [[nodiscard]] bool find_shared_memory() const;

  const GuestConfig& config_;
  const JudgeContext& context_;
  std::map<std::string_view, std::vector<const QemuOption*>> options_;
  std::unordered_map<std::string_view, const QemuOption*> objects_;                    // by id
  std::map<std::pair<std::string_view, std::string_view>, std::string_view> globals_;  // type and property
  std::uint64_t memory_bytes_ = 0;
  std::vector<std::string_view> kernel_words_;
  bool has_shared_memory_ = false;
  const QemuOption* object_ = nullptr;
  Protection protection_ = Protection::sev;
  std::vector<Finding> findings_;
};

// One per topic of the table.
void judge_protection(Case& guest);
void judge_attestation(Case& guest);
void judge_firmware(Case& guest);
void judge_machine(Case& guest);
void judge_memory(Case& guest);
void judge_virtio(Case& guest);
void judge_devices(Case& guest);
void judge_passthrough(Case& guest);
void judge_kernel(Case& guest);
void judge_kata(Case& guest);

}  // namespace cbit::launch
