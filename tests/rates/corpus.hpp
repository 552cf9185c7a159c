// Pages to measure a classifier with. The same on every run, but for what the system's own libraries hold.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"

namespace cbit::rates {

struct Corpus {
  std::string name;
  Bytes bytes;
};

// Plain contents: this repository's text files, the code and tables of the shared libraries that this program
// has loaded, kernel log lines, a heap (pointers, counts, flags), 16-bit samples.
[[nodiscard]] std::vector<Corpus> plain_corpora();

// The same bytes as a compressor leaves them.
struct Compressor {
  std::string_view name;  // "zlib -6"
  Bytes (*compress)(const Bytes& plain);
  // How many of its pages, and of its runs of 16 pages, may be taken for ciphertext; as a share.
  double single_max;
  double run_max;
};
[[nodiscard]] std::vector<Compressor> compressors();

}  // namespace cbit::rates
