// The last gate before a terminal: a stream buffer through which everything goes that a command prints.
//
// Whoever prints text from outside makes it safe where it is put into a line (base/safe_text.hpp); what was
// forgotten is caught here. Only what colours text passes, and that only where cbit itself writes such.
#pragma once

#include <streambuf>
#include <string>
#include <string_view>

namespace cbit::cli {

class SafeBuffer final : public std::streambuf {
 public:
  explicit SafeBuffer(std::streambuf& next) : next_{&next} {}
  SafeBuffer(const SafeBuffer&) = delete;
  SafeBuffer& operator=(const SafeBuffer&) = delete;
  ~SafeBuffer() override;

 protected:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* text, std::streamsize bytes) override;
  int sync() override;

 private:
  bool write(std::string_view text);
  bool write_held(bool all);

  std::streambuf* next_;
  std::string held_;  // the beginning of a character or of a colour
};

}  // namespace cbit::cli
