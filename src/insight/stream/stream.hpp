// `cbit stream`: a guest streams a disk image through virtio-blk into its memory and out to another image,
// and everybody is asked what they saw. Then the same with a driver that hands out physical addresses.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crypt/sha256.hpp"
#include "stream/host_scan.hpp"
#include "stream/source_image.hpp"
#include "testbed/testbed.hpp"
#include "watch/page_map.hpp"

namespace cbit::stream {

struct StreamOptions {
  testbed::TestbedConfig bed;
  SourceOptions source;
  std::string target;                       // image to write; only a complete one gets this name. Empty: none
                                            // is left behind
  std::uint64_t request_bytes = 128 << 10;  // per read() and write() of the driver; a multiple of 4 KiB
};

// One pass over the disk.
struct StreamPass {
  std::uint64_t bytes = 0;
  crypt::Sha256Digest in_guest{};  // of the guest's memory after reading, as the guest's CPU sees it
  bool intact = false;             // that is the source's digest
  HostScan scan;                   // after reading
  kernel::SwiotlbUsage swiotlb;
  kernel::ConversionCost conversions;
  watch::Counters counters;
  std::uint64_t virtual_ns = 0;
  std::vector<watch::PageRun> pages;  // page-state map after reading
  std::string page_table;             // the same as text
  std::string page_picture;
  // The first bytes of a sector in the guest's memory, as its CPU and as the host read them, and of the
  // sector that the host found in a shared page.
  struct Sample {
    std::string what;
    PhysAddr at;
    Bytes bytes;
  };
  std::vector<Sample> samples;
  std::vector<std::string> shared_ciphertext;  // watch::writers_of_shared_ciphertext()
  std::vector<watch::Cause> causes;
  std::vector<std::string> kernel_log;
};

struct StreamReport {
  StreamOptions options;
  std::string disk;  // the image that was read
  crypt::Sha256Digest source{};
  std::uint64_t telling_sectors = 0;  // sectors of the image that can be recognised
  StreamPass correct;
  crypt::Sha256Digest target{};
  bool equal = false;  // source and target image
  FilesFound files;    // of the source in the target image
  StreamPass raw;      // reads only: the driver's one bug

  // Everything arrived where it should.
  [[nodiscard]] bool ok() const { return equal && correct.intact && files.equal == files.total; }
};

// Errors: images that cannot be read or written, or that do not fit the guest's memory. The sinks get the
// events of the correct pass.
[[nodiscard]] OrError<StreamReport> stream(const StreamOptions& options, const EventSinks& sinks = {});

}  // namespace cbit::stream
