// Any sequence of map and unmap leaves the tables with the translations, and gives the answers, of a model
// that knows leaves and tables but no bits. CBIT_PROPERTY_STEPS sets the number of steps.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/random.hpp"
#include "support/sizes.hpp"
#include "unit/hardware/iommu/domain_fixture.hpp"

namespace cbit::iommu {
namespace {

constexpr std::uint64_t window = 64 * mib;  // IOVAs that the test uses
constexpr std::uint64_t phys_window = 32 * mib;

struct Leaf {
  std::uint64_t bytes = 0;
  std::uint64_t phys = 0;
  IommuAccess rights;
  bool encrypted = false;
};

class Model {
 public:
  bool map(std::uint64_t iova, std::uint64_t bytes, Leaf what) {
    if (overlaps(iova, bytes)) return false;
    while (bytes != 0) {
      std::uint64_t size = std::bit_floor(bytes);
      while (((iova | what.phys) & (size - 1)) != 0) size /= 2;
      what.bytes = size;
      leaves_[iova] = what;
      if (size < 2 * mib)
        last_level_tables_.insert(iova / (2 * mib));
      else
        for (std::uint64_t at = iova; at < iova + size; at += 2 * mib)
          last_level_tables_.erase(at / (2 * mib));
      iova += size;
      what.phys += size;
      bytes -= size;
    }
    return true;
  }

  std::uint64_t unmap(std::uint64_t iova, std::uint64_t bytes) {
    std::uint64_t unmapped = 0;
    while (unmapped < bytes) {
      std::uint64_t size = page_size;
      if (const auto leaf = find(iova); leaf != leaves_.end()) {
        iova = leaf->first;
        size = leaf->second.bytes;
        leaves_.erase(leaf);
      } else if (!last_level_tables_.contains(iova / (2 * mib))) {
        break;
      }
      iova += size;
      unmapped += size;
    }
    return unmapped;
  }

  [[nodiscard]] std::map<std::uint64_t, Leaf>::const_iterator find(std::uint64_t iova) const {
    const auto above = leaves_.upper_bound(iova);
    if (above == leaves_.begin()) return leaves_.end();
    const auto leaf = std::prev(above);
    return iova - leaf->first < leaf->second.bytes ? leaf : leaves_.end();
  }
  [[nodiscard]] bool covers(std::uint64_t iova) const { return find(iova) != leaves_.end(); }

 private:
  [[nodiscard]] bool overlaps(std::uint64_t iova, std::uint64_t bytes) const {
    const auto next = leaves_.lower_bound(iova);
    return covers(iova) || (next != leaves_.end() && next->first < iova + bytes);
  }

  std::map<std::uint64_t, Leaf> leaves_;
  std::set<std::uint64_t> last_level_tables_;  // by 2 MiB of IOVA
};

class Comparison {
 public:
  explicit Comparison(std::uint64_t seed) : random_{seed} { f_.machine.tracer.detach(f_.machine.log); }

  void step() {
    const std::uint64_t bytes = random_bytes();
    const std::uint64_t iova = random_address(window, bytes);
    if (random_.below(2) == 0) {
      const IommuAccess rights = random_.below(2) == 0 ? f_.read_only : f_.write_only;
      const Leaf leaf{0, random_address(phys_window, bytes), rights, random_.below(2) == 0};
      const bool mapped = model_.map(iova, bytes, leaf);
      ASSERT_EQ(f_.domain->map(DmaAddr{iova}, PhysAddr{leaf.phys}, bytes, rights, leaf.encrypted).has_value(),
                mapped);
    } else {
      ASSERT_EQ(f_.domain->unmap(DmaAddr{iova}, bytes), model_.unmap(iova, bytes));
    }
    compare(iova);
    compare(iova + bytes - 1);
    compare(random_.below(window));
  }
  void compare_all() {
    for (std::uint64_t iova = 0; iova < window; iova += page_size) compare(iova);
  }

 private:
  // Powers of two are common, so that large leaves are.
  std::uint64_t random_bytes() {
    const std::uint64_t power = page_size << random_.below(13);
    return random_.below(2) == 0 ? power : page_size * (1 + random_.below(power / page_size));
  }
  std::uint64_t random_address(std::uint64_t limit, std::uint64_t bytes) {
    const std::uint64_t alignment = random_.below(4) == 0 ? page_size : std::bit_ceil(bytes);
    return align_down(random_.below(limit - bytes + 1), alignment);
  }

  void compare(std::uint64_t iova) {
    const auto leaf = model_.find(iova);
    const bool expected = model_.covers(iova);
    const auto read = f_.domain->translate(DmaAddr{iova}, false);
    const auto write = f_.domain->translate(DmaAddr{iova}, true);
    ASSERT_EQ(read.has_value(), expected && leaf->second.rights.read) << iova;
    ASSERT_EQ(write.has_value(), expected && leaf->second.rights.write) << iova;
    if (!expected) return;
    const IommuTranslation& found = read ? *read : *write;
    ASSERT_EQ(found.phys.value(), leaf->second.phys + (iova - leaf->first));
    ASSERT_EQ(found.encrypted, leaf->second.encrypted);
    ASSERT_EQ(found.bytes, leaf->second.bytes - (iova - leaf->first));
  }

  Random random_;
  DomainFixture f_;
  Model model_;
};

TEST(IommuProperty, AnySequenceOfMapAndUnmapAgreesWithTheModel) {
  const char* const text = std::getenv("CBIT_PROPERTY_STEPS");
  const std::uint64_t steps = text != nullptr ? std::strtoull(text, nullptr, 10) : 4'000;
  constexpr std::uint64_t steps_per_domain = 1'000;
  for (std::uint64_t seed = 0; seed < steps / steps_per_domain; ++seed) {
    SCOPED_TRACE(seed);
    Comparison comparison{seed};
    for (std::uint64_t n = 0; n < steps_per_domain && !testing::Test::HasFatalFailure(); ++n)
      comparison.step();
    if (testing::Test::HasFatalFailure()) return;
    comparison.compare_all();
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace cbit::iommu
