// Whatever a guest prints: results of tests are read in bounded memory, and their XML is XML.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <pugixml.hpp>
#include <string_view>

#include "guest/junit.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(data), size};
  cbit::guest::KtapReader reader;
  std::uint64_t lines = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1);
    reader.read(text.substr(0, end));
    text.remove_prefix(end + 1);
    ++lines;
  }
  const cbit::guest::KtapResults results = reader.finish();
  const cbit::guest::KtapCounts& counts = results.counts;
  if (counts.passed + counts.failed + counts.skipped > lines) std::abort();
  if (counts.missing > lines * cbit::guest::KtapReader::plan_max) std::abort();
  const std::string xml =
      cbit::guest::to_junit({.name = "run", .error = std::nullopt, .seconds = 0}, results);
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) std::abort();
  if (document.child("testsuites").child("testsuite").empty()) std::abort();
  return 0;
}
