// Looks at a machine while it stands still: a line in, its answer out, in the manner of QEMU's monitor.
//
// It changes nothing: neither the machine, nor what its tracer and its statistics tell. Answers are bounded,
// also where the guest's tables have no end. Text from the guest (names of functions) is made safe.
//
// Errors are part of the answer: what is wrong, and below that what to do.
// Threading: that of the machine.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guest/monitor/inspector.hpp"
#include "guest/monitor/kernel_knowledge.hpp"
#include "guest/monitor/memory_dump.hpp"

namespace cbit::guest {

class Monitor {
 public:
  // Whether whoever types may have files of this host written.
  enum class Files : std::uint8_t { refused, written };
  // Both outlive it. `knowledge` may be nullptr: nobody knows the kernel.
  explicit Monitor(const Pc& pc, const KernelKnowledge* knowledge = nullptr, Files files = Files::refused);

  std::string execute(std::string_view line);

  // What the lines so far ask of whoever runs the machine.
  [[nodiscard]] bool stopped() const { return stopped_; }  // stop: it stands still until cont
  [[nodiscard]] bool quits() const { return quits_; }
  // cont: back to the guest; once.
  [[nodiscard]] bool take_continue() { return std::exchange(continues_, false); }

 private:
  struct Command;
  struct Topic;
  using Answer = OrError<std::string>;
  static const std::vector<Command>& commands();
  static const std::vector<Topic>& topics();

  Answer run(std::string_view line);
  Answer help(std::string_view rest);
  Answer info(std::string_view rest);
  Answer examine(std::string_view rest);
  Answer examine_physical(std::string_view rest);
  Answer print(std::string_view rest);
  Answer choose_cpu(std::string_view rest);
  Answer dump(std::string_view rest);
  Answer dump_screen(std::string_view rest);
  [[nodiscard]] OrError<void> check_files() const;
  Answer go_on(std::string_view rest);
  Answer stop(std::string_view rest);
  Answer quit(std::string_view rest);

  Answer info_registers(std::string_view rest);
  Answer info_cpus(std::string_view rest);
  Answer info_version(std::string_view rest);
  Answer info_mem(std::string_view rest);
  Answer info_tlb(std::string_view rest);
  Answer info_pages(std::string_view rest);
  Answer info_dma(std::string_view rest);
  Answer info_modules(std::string_view rest);

  [[nodiscard]] OrError<std::uint64_t> number(std::string_view text) const;
  [[nodiscard]] OrError<std::size_t> cpu_number(std::string_view word) const;
  // "/FMT EXPRESSION"
  OrError<std::uint64_t> take_format(std::string_view rest, DumpFormat& format);

  const Pc* pc_;
  const KernelKnowledge* knowledge_;
  Files files_;
  Inspector inspector_;
  DumpFormat last_format_;
  bool stopped_ = false;
  bool quits_ = false;
  bool continues_ = false;
};

}  // namespace cbit::guest
