// One check of `cbit doctor`, and the tree of all of them.
//
// The table (checks.cpp) is the list of what is checked: a new check is a row there and a function that
// judges a host. A row that this machine should not have is left out; one whose parent did not pass is
// skipped.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.hpp"
#include "doctor/system.hpp"
#include "watch/causes.hpp"
#include "watch/import/log_causes.hpp"

namespace cbit::doctor {

enum class CheckState : std::uint8_t {
  pass,
  warn,  // works, with a cost or a risk
  fail,  // does not work, or not as it was asked for
  skip,  // not there, not wanted, or not to be known
};

inline constexpr Word<CheckState> check_state_words[] = {{"pass", CheckState::pass},
                                                         {"warn", CheckState::warn},
                                                         {"fail", CheckState::fail},
                                                         {"skip", CheckState::skip}};

struct Outcome {
  CheckState state = CheckState::skip;
  std::string says;                    // what was found, in a few words
  std::vector<HostEvidence> evidence;  // what was read
  std::string remedy;                  // what the catalogue does not say; empty: none is needed or known
  std::vector<const watch::CauseInfo*> causes;
  std::vector<watch::LogCause> logged;  // messages of the kernel's, each with its causes
  bool denied = false;                  // this user may not know
};

struct CheckSubject {
  const facts::HostFacts& host;
  const System& system;
};

struct CheckSpec {
  std::string_view id;      // stable: "sev-snp-guests"
  std::string_view parent;  // an id further up; empty: a top-level check
  std::string_view title;
  bool (*applies)(const CheckSubject&);
  Outcome (*judge)(const CheckSubject&);
  // What asked for it: then it fails where it is not so. nullptr: nobody can ask.
  std::optional<HostEvidence> (*asked)(const CheckSubject&) = nullptr;
  bool log_tells = false;  // judged of a bare log, too
};

struct CheckResult {
  const CheckSpec* spec = nullptr;
  unsigned depth = 0;
  Outcome outcome;
};

[[nodiscard]] std::span<const CheckSpec> check_table();
[[nodiscard]] std::vector<CheckResult> run_checks(const CheckSubject& subject);

// The parts of the table, each in a file of its own.
namespace checks {
[[nodiscard]] Outcome processor(const CheckSubject&);
[[nodiscard]] Outcome sme(const CheckSubject&);
[[nodiscard]] Outcome sme_firmware(const CheckSubject&);
[[nodiscard]] Outcome sme_active(const CheckSubject&);
[[nodiscard]] Outcome tme(const CheckSubject&);
[[nodiscard]] Outcome tsme(const CheckSubject&);
[[nodiscard]] Outcome iommu(const CheckSubject&);

[[nodiscard]] Outcome kvm(const CheckSubject&);
[[nodiscard]] Outcome sev_guests(const CheckSubject&);
[[nodiscard]] Outcome sev_es_guests(const CheckSubject&);
[[nodiscard]] Outcome snp_guests(const CheckSubject&);
[[nodiscard]] Outcome asids(const CheckSubject&);
[[nodiscard]] Outcome guest_memlock(const CheckSubject&);
[[nodiscard]] Outcome tdx_guests(const CheckSubject&);

[[nodiscard]] Outcome guest(const CheckSubject&);
[[nodiscard]] Outcome guest_registers(const CheckSubject&);
[[nodiscard]] Outcome guest_integrity(const CheckSubject&);
[[nodiscard]] Outcome guest_rdrand(const CheckSubject&);
[[nodiscard]] Outcome guest_iommu(const CheckSubject&);
[[nodiscard]] Outcome guest_nvdimm(const CheckSubject&);

[[nodiscard]] Outcome pool(const CheckSubject&);
[[nodiscard]] Outcome pool_size(const CheckSubject&);
[[nodiscard]] Outcome pool_usage(const CheckSubject&);
[[nodiscard]] Outcome rdma_memlock(const CheckSubject&);

[[nodiscard]] Outcome log(const CheckSubject&);
[[nodiscard]] Outcome log_pool_full(const CheckSubject&);
[[nodiscard]] Outcome log_overflows(const CheckSubject&);
[[nodiscard]] Outcome log_iommu_faults(const CheckSubject&);
[[nodiscard]] Outcome log_virtio(const CheckSubject&);
[[nodiscard]] Outcome log_firmware(const CheckSubject&);
[[nodiscard]] Outcome log_other(const CheckSubject&);

// Parameters of the kernel's command line that ask for something.
[[nodiscard]] std::optional<HostEvidence> asks_sme(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_sev(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_sev_es(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_snp(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_tdx(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_iommu(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_pool(const CheckSubject&);
[[nodiscard]] std::optional<HostEvidence> asks_pool_size(const CheckSubject&);

// Whether the formula of the kernel gives this system a pool, and of what size.
[[nodiscard]] std::optional<kernel::SwiotlbSizing> expected_pool(const CheckSubject& subject);
[[nodiscard]] bool encrypted_guest(const CheckSubject& subject);
[[nodiscard]] watch::PoolState pool_state(const CheckSubject& subject);
}  // namespace checks

}  // namespace cbit::doctor
