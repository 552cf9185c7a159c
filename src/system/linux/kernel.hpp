// What a kernel's file tells, together: symbols, types, unwind tables; and what lines of sources the files of
// its modules tell.
//
// The file itself is let go: it is many times as large as what is kept of it.
//
// Threading: immutable once open. It stays where it is made: views point into it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/state_stream.hpp"
#include "linux/btf.hpp"
#include "linux/fields.hpp"
#include "linux/image.hpp"
#include "linux/kallsyms.hpp"
#include "linux/orc.hpp"
#include "linux/source_lines.hpp"
#include "linux/symbols.hpp"

namespace cbit::linux {

class Kernel {
 public:
  // Takes the file's bytes. Errors (input): no kernel, or one without symbols. Missing types and unwind
  // tables are none: lacks() names them.
  static OrError<std::unique_ptr<Kernel>> open(Bytes file, std::string_view name, SourceLines lines = {});
  // One that save() has written. nullptr: the stream has no such, and trouble().
  static std::unique_ptr<Kernel> load(StateStream& s, SourceLines&& lines);
  // All but the lines of sources.
  void save(StateStream& s) { transfer(s); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // As KernelImage has them.
  [[nodiscard]] std::string_view banner() const { return banner_; }
  [[nodiscard]] VirtAddr banner_at() const { return banner_at_; }
  [[nodiscard]] std::string_view release() const { return release_; }

  [[nodiscard]] const SymbolTable& symbols() const { return symbols_; }
  [[nodiscard]] const std::optional<Btf>& btf() const { return btf_; }
  [[nodiscard]] const OrcTable& orc() const { return orc_; }
  [[nodiscard]] const Fields& fields() const { return fields_; }
  [[nodiscard]] const SourceLines& lines() const { return lines_; }

  // All addresses are those of the file.
  [[nodiscard]] bool is_text(VirtAddr at) const;
  [[nodiscard]] bool is_init_text(VirtAddr at) const { return init_text_.contains(at); }
  // The step in which KASLR moves the image.
  [[nodiscard]] std::uint64_t alignment() const { return alignment_; }

  // Whether the kernel has code for memory encryption (CONFIG_AMD_MEM_ENCRYPT).
  [[nodiscard]] bool encrypts_memory() const;
  // What it was built without that cbit wants, each with its option: "memory encryption
  // (CONFIG_AMD_MEM_ENCRYPT)"; empty: nothing.
  [[nodiscard]] std::vector<std::string> lacks() const;

 private:
  struct Range {
    VirtAddr first;
    VirtAddr end;
    [[nodiscard]] bool contains(VirtAddr at) const { return at >= first && at < end; }
  };
  Kernel() = default;
  Kernel(const KernelImage& image, SymbolTable symbols, SourceLines lines);
  void read_types();
  void find_ranges();
  [[nodiscard]] Range range_of(std::string_view first, std::string_view end) const;
  void transfer(StateStream& s);

  std::string banner_;
  VirtAddr banner_at_;
  std::string release_;
  std::uint64_t alignment_ = 0;
  SymbolTable symbols_;
  Bytes types_;  // where `btf_` looks
  std::optional<Btf> btf_;
  Fields fields_;
  OrcTable orc_;
  SourceLines lines_;
  Range text_;
  Range init_text_;
};

}  // namespace cbit::linux
