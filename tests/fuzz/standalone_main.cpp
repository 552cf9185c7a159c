// Runs a fuzz target without libFuzzer: every file of the corpus folders that are its arguments, then a fixed
// number of seeded inputs (CBIT_FUZZ_RUNS in the environment, or else 2000). The same on every host.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::size_t replay(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator{folder}) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::ifstream in{file, std::ios::binary};
    const std::vector<char> text{std::istreambuf_iterator<char>{in}, {}};
    const std::vector<std::uint8_t> input(text.begin(), text.end());
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  return files.size();
}

void run_seeded(std::uint64_t seed) {
  cbit::Random random{seed};
  std::vector<std::uint8_t> input(random.below(512));
  // Half of the inputs have small bytes only: they get further in formats that start with a tag or a count.
  const std::uint64_t limit = seed % 2 == 0 ? 256 : 8;
  for (auto& byte : input) byte = static_cast<std::uint8_t>(random.below(limit));
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i) files += replay(argv[i]);
  const char* wanted = std::getenv("CBIT_FUZZ_RUNS");
  const std::uint64_t runs = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 2000;
  for (std::uint64_t seed = 0; seed < runs; ++seed) run_seeded(seed);
  std::printf("%zu corpus files and %llu seeded inputs\n", files, static_cast<unsigned long long>(runs));
}
