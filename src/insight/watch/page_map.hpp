// The page-state map: which pages are private and which are shared, since when and made so by whom, and
// whether their bytes agree with that.
//
// What a page holds is judged by the key of its last write, which is what its bytes are encrypted with,
// never by the kernel's attribute: where the two disagree there is a bug, and the map shows it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/trace.hpp"
#include "mem/memory.hpp"

namespace cbit::watch {

enum class PageContents : std::uint8_t {
  nothing,     // never written, or emptied by a conversion (TDX)
  plain,       // last written without a key: everybody can read it
  ciphertext,  // last written under a key
};

// Neighbouring pages with equal state.
struct PageRun {
  PhysAddr first;
  std::uint64_t pages = 0;

  bool shared = false;  // the kernel's attribute
  PageContents contents{};
  KeyId owner = no_key;       // representation in which the model stores them
  KeyId writer_key = no_key;  // of the last write
  Agent writer;
  SiteId writer_site = 0;
  std::uint64_t first_written_ns = 0;  // the last writes of the run's pages, from the earliest…
  std::uint64_t last_written_ns = 0;   // … to the latest
  bool ever_converted = false;
  SiteId conversion_site = 0;
  std::uint64_t converted_ns = 0;
  bool assigned = false;  // RMP: belongs to the guest

  friend bool operator==(const PageRun&, const PageRun&) = default;
};

// All pages that were ever written or converted, in ascending order.
[[nodiscard]] std::vector<PageRun> page_map(const mem::Memory& memory);

// A table with a line per run.
[[nodiscard]] std::string render_page_table(const std::vector<PageRun>& runs, const Tracer& tracer);
// A compact picture with a legend: one character per page, or per power of two of pages where there are many.
[[nodiscard]] std::string render_page_picture(const std::vector<PageRun>& runs, const Tracer& tracer);
// Who wrote to shared pages under a key, and whether that was before they were shared: "by
// swiotlb_init_io_tlb_mem, before they were shared: 16383 pages". One text for each; none: there are none.
[[nodiscard]] std::vector<std::string> writers_of_shared_ciphertext(const std::vector<PageRun>& runs,
                                                                    const Tracer& tracer);
// {"schema": "cbit-pages-1", "runs": [...]}, in one line.
[[nodiscard]] std::string page_map_json(const std::vector<PageRun>& runs, const Tracer& tracer);

}  // namespace cbit::watch
