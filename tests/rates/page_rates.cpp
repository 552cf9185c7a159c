// Measures how often watch/page_look.hpp takes one kind of page for another, prints the confusion matrix as
// Markdown, and ends with 1 when a rate is beyond its bound.
//
// usage: page_rates [--pages N] [--corpus-mib M]     in the repository's folder
//
// N pages of ciphertext (default 100000), and M MiB of each plain corpus (default all).
//
// "single" is look_at() on every page; "run of 16" is RunMerger's verdict on 16 neighbouring pages.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "base/random.hpp"
#include "corpus.hpp"
#include "crypt/xex.hpp"
#include "process/page_runs.hpp"

namespace cbit::rates {
namespace {

constexpr std::uint64_t run_pages = 16;

struct Row {
  process::LookCounts pages;
  std::map<std::string_view, std::uint64_t> runs;  // by verdict
  std::uint64_t run_count = 0;

  [[nodiscard]] double share(watch::PageLooks looks) const { return ratio(pages[looks], pages.total()); }
  [[nodiscard]] double run_share(std::string_view verdict) const {
    const auto found = runs.find(verdict);
    return found == runs.end() ? 0 : ratio(found->second, run_count);
  }
  static double ratio(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

// Pages one after the other.
class Measure {
 public:
  void add(watch::PageBytes page) {
    const process::PagesSeen seen{VirtAddr{row_.pages.total() * page_size}, 1, watch::look_at(page)};
    row_.pages.add(seen.look.looks, 1);
    window_.push_back(seen);
    if (window_.size() == run_pages) end_window();
  }
  void add_all(ConstByteSpan bytes) {
    for (; bytes.size() >= page_size; bytes = bytes.subspan(page_size)) add(bytes.first<page_size>());
  }
  [[nodiscard]] const Row& row() const { return row_; }

 private:
  // A window that is one run has its verdict; any other has several, and is none.
  void end_window() {
    std::vector<std::string_view> verdicts;
    process::RunMerger merger{[&](const process::PageRun& run) { verdicts.push_back(run.looks); }};
    for (const process::PagesSeen& seen : window_) merger.add(seen);
    merger.finish();
    ++row_.run_count;
    if (verdicts.size() == 1) ++row_.runs[verdicts.front()];
    window_.clear();
  }

  Row row_;
  std::vector<process::PagesSeen> window_;
};

Row measure_random(std::uint64_t pages) {
  Measure measure;
  Random random{4};
  Bytes page(page_size);
  for (std::uint64_t i = 0; i < pages; ++i) {
    for (std::size_t at = 0; at < page_size; at += 8) store(ByteSpan{page}, at, random.next());
    measure.add(watch::PageBytes{page.data(), page_size});
  }
  return measure.row();
}

// The plain bytes over and over, each page at another address.
Row measure_ciphertext(const Bytes& plain, std::uint64_t pages) {
  Measure measure;
  const crypt::Cipher cipher{crypt::derive_key(5, "guest"), std::make_shared<const crypt::TweakTable>(5),
                             crypt::CipherMode::xex};
  const std::uint64_t plain_pages = plain.size() / page_size;
  Bytes page(page_size);
  for (std::uint64_t i = 0; i < pages; ++i) {
    const ConstByteSpan from = ConstByteSpan{plain}.subspan(i % plain_pages * page_size, page_size);
    cipher.encrypt(PhysAddr{0x1'0000'0000 + i * page_size}, from, page);
    measure.add(watch::PageBytes{page.data(), page_size});
  }
  return measure.row();
}

Row measure_bytes(const Bytes& bytes) {
  Measure measure;
  measure.add_all(bytes);
  return measure.row();
}

std::string percent(double share) {
  if (share == 0) return "-";
  return share < 0.0005 ? fmt::format("{:.1e}", share) : fmt::format("{:.1f} %", share * 100);
}

class Table {
 public:
  Table() {
    fmt::print(
        "| pages of | number | ciphertext | compressed | text | data | fill, zeros | 16: ciphertext | "
        "16: mixed | 16: compressed |\n|---|---|---|---|---|---|---|---|---|---|\n");
  }

  // The bounds are on pages that are called ciphertext, alone and by 16; they hold for ciphertext from below
  // and for the rest from above.
  void add(const std::string& name, const Row& row, double low, double high, double high_of_runs) {
    fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", name, row.pages.total(),
               percent(row.share(watch::PageLooks::ciphertext)),
               percent(row.share(watch::PageLooks::compressed)), percent(row.share(watch::PageLooks::text)),
               percent(row.share(watch::PageLooks::data)),
               percent(row.share(watch::PageLooks::fill) + row.share(watch::PageLooks::zeros)),
               percent(row.run_share("ciphertext")), percent(row.run_share("mixed")),
               percent(row.run_share("compressed")));
    const double single = row.share(watch::PageLooks::ciphertext);
    const double run = row.run_share("ciphertext");
    if (row.pages.total() == 0 || single < low || single > high || run > high_of_runs) broken_ += name + '\n';
  }
  [[nodiscard]] int finish() const {
    if (broken_.empty()) return 0;
    fmt::print(stderr, "beyond their bounds:\n{}", broken_);
    return 1;
  }

 private:
  std::string broken_;
};

int run(std::uint64_t pages, std::size_t corpus_bytes) {
  Table table;
  std::vector<Corpus> corpora = plain_corpora();
  for (Corpus& corpus : corpora) corpus.bytes.resize(std::min(corpus.bytes.size(), corpus_bytes));
  // A hundred times the stated false alarm of 1.2e-6, so that the test never fails by chance.
  constexpr double ciphertext_low = 0.9998;
  table.add("random numbers", measure_random(pages), ciphertext_low, 1, 1);
  table.add("XEX of zeros", measure_ciphertext(Bytes(page_size), pages), ciphertext_low, 1, 1);
  for (const Corpus& corpus : corpora)
    table.add("XEX of " + corpus.name, measure_ciphertext(corpus.bytes, pages), ciphertext_low, 1, 1);
  // libcrypto holds precomputed points of curves, which are as good as random.
  for (const Corpus& corpus : corpora)
    table.add(corpus.name, measure_bytes(corpus.bytes), 0, corpus.name == "libraries" ? 0.04 : 0, 0.02);
  for (const Compressor& compressor : compressors())
    for (const Corpus& corpus : corpora)
      table.add(fmt::format("{} of {}", compressor.name, corpus.name),
                measure_bytes(compressor.compress(corpus.bytes)), 0, compressor.single_max,
                compressor.run_max);
  return table.finish();
}

}  // namespace
}  // namespace cbit::rates

int main(int argc, char** argv) {
  std::uint64_t pages = 100'000;
  std::size_t corpus_bytes = ~std::size_t{0};
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name{argv[i]};
    const std::uint64_t value = i + 1 < argc ? std::strtoull(argv[i + 1], nullptr, 10) : 0;
    if (value == 0 || (name != "--pages" && name != "--corpus-mib")) {
      fmt::print(stderr, "usage: page_rates [--pages N] [--corpus-mib M]\n");
      return 64;
    }
    name == "--pages" ? pages = value : corpus_bytes = value << 20;
  }
  return cbit::rates::run(pages, corpus_bytes);
}
