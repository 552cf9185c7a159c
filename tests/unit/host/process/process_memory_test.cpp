#include "process/process_memory.hpp"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "base/random.hpp"
#include "process/page_runs.hpp"
#include "process/survey.hpp"

namespace cbit::process {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Pages of this process, and of its children.
class Area {
 public:
  explicit Area(std::size_t pages, int flags = MAP_PRIVATE)
      : bytes_{pages * page_size},
        start_{mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0)} {
    madvise(start_, bytes_, MADV_NOHUGEPAGE);
  }
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;
  ~Area() { munmap(start_, bytes_); }

  [[nodiscard]] VirtAddr at(std::size_t page) const {
    return VirtAddr{reinterpret_cast<std::uintptr_t>(start_) + page * page_size};
  }
  [[nodiscard]] ByteSpan page(std::size_t index) const {
    return {static_cast<std::byte*>(start_) + index * page_size, page_size};
  }
  [[nodiscard]] VirtRange range() const { return {at(0), at(0) + bytes_}; }
  void protect(std::size_t index, int protection) const {
    mprotect(page(index).data(), page_size, protection);
  }

 private:
  std::size_t bytes_;
  void* start_;
};

void fill_text(ByteSpan page) {
  constexpr std::string_view secret = "the password is swordfish; ";
  for (std::size_t i = 0; i < page.size(); ++i) page[i] = static_cast<std::byte>(secret[i % secret.size()]);
}
void fill_random(ByteSpan page, std::uint64_t seed) {
  Random random{seed};
  for (std::size_t i = 0; i < page.size(); i += 8) store(page, i, random.next());
}

// A child that does something and then waits to be killed.
class Child {
 public:
  explicit Child(const std::function<void()>& act) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      act();
      static_cast<void>(!write(ready[1], "", 1));
      for (;;) pause();
    }
    char byte = 0;
    close(ready[1]);
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    close(ready[0]);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill_it();
    waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] int pid() const { return pid_; }
  // Leaves a zombie.
  void kill_it() const {
    kill(pid_, SIGKILL);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }

 private:
  int pid_;
};

std::vector<PagesSeen> survey_of(const ProcessMemory& process, const VirtRange& range,
                                 SurveyOptions options = {}) {
  std::vector<PagesSeen> all;
  for (const Segment& segment : split_by_mapping(range, process.mappings()))
    EXPECT_TRUE(survey(process, segment, options, [&](const PagesSeen& seen) { all.push_back(seen); }));
  return all;
}
std::vector<watch::PageLooks> looks_of(const std::vector<PagesSeen>& all) {
  std::vector<watch::PageLooks> looks;
  for (const PagesSeen& seen : all) looks.insert(looks.end(), seen.pages, seen.look.looks);
  return looks;
}

TEST(ProcessMemory, ShowsAnotherProcessesSecrets) {
  const Area area{4};
  const Child child{[&] {
    fill_text(area.page(0));
    fill_random(area.page(1), 1);
    std::ranges::fill(area.page(2), std::byte{0});
  }};
  const auto process = ProcessMemory::open(child.pid());
  ASSERT_TRUE(process) << process.error().message;
  Bytes bytes(27);
  ASSERT_EQ(process->read(area.at(0), bytes).end, ReadEnd::complete);
  EXPECT_EQ(0, std::memcmp(bytes.data(), "the password is swordfish; ", 27));
  EXPECT_THAT(looks_of(survey_of(*process, area.range())),
              ElementsAre(watch::PageLooks::text, watch::PageLooks::ciphertext, watch::PageLooks::zeros,
                          watch::PageLooks::absent));
}

TEST(ProcessMemory, IsReadWithoutAllocatingWhatWasNeverTouched) {
  const Area area{64, MAP_SHARED};
  fill_text(area.page(5));
  const auto process = ProcessMemory::open(getpid());
  ASSERT_TRUE(process);
  const auto present = [&] {
    std::vector<Presence> pages(64);
    process->presence(area.at(0), pages);
    return std::ranges::count(pages, Presence::present);
  };
  EXPECT_EQ(looks_of(survey_of(*process, area.range()))[6], watch::PageLooks::absent);
  EXPECT_EQ(present(), 1) << "a look has no effect";
  EXPECT_EQ(looks_of(survey_of(*process, area.range(), {.fault_in = true}))[6], watch::PageLooks::zeros);
}

TEST(ProcessMemory, StepsOverPagesThatCannotBeRead) {
  const Area area{6};
  for (std::size_t i = 0; i < 6; ++i) fill_text(area.page(i));
  munmap(area.page(2).data(), page_size);
  const auto process = ProcessMemory::open(getpid());
  ASSERT_TRUE(process);
  const auto seen = survey_of(*process, area.range());
  EXPECT_THAT(looks_of(seen),
              ElementsAre(watch::PageLooks::text, watch::PageLooks::text, watch::PageLooks::unreadable,
                          watch::PageLooks::text, watch::PageLooks::text, watch::PageLooks::text));
  EXPECT_EQ(seen[2].look.why, "not mapped");

  // Unmapped after the maps were read.
  munmap(area.page(4).data(), page_size);
  const Segment rest{{area.at(3), area.at(6)}, &process->mappings().front()};
  std::vector<PagesSeen> late;
  EXPECT_TRUE(survey(*process, rest, {.fault_in = true}, [&](const PagesSeen& s) { late.push_back(s); }));
  EXPECT_THAT(looks_of(late),
              ElementsAre(watch::PageLooks::text, watch::PageLooks::unreadable, watch::PageLooks::text));
  EXPECT_EQ(late[1].look.why, "cannot be read");
}

TEST(ProcessMemory, IsJudgedAlsoWhereTheProcessItselfMayNotRead) {
  const Area area{2};
  fill_text(area.page(0));
  fill_random(area.page(1), 3);
  area.protect(0, PROT_NONE);
  area.protect(1, PROT_NONE);
  const auto process = ProcessMemory::open(getpid());
  ASSERT_TRUE(process);
  const auto looks = looks_of(survey_of(*process, area.range()));
  // fs/proc/base.c: FOLL_FORCE, which a kernel can be told to refuse (proc_mem.force_override).
  EXPECT_THAT(looks, testing::AnyOf(ElementsAre(watch::PageLooks::text, watch::PageLooks::ciphertext),
                                    ElementsAre(watch::PageLooks::unreadable, watch::PageLooks::unreadable)));
}

TEST(ProcessMemory, SaysWhenTheProcessExitsWhileItIsRead) {
  const Area area{1024};
  const Child child{[&] {
    for (std::size_t i = 0; i < 1024; ++i) fill_text(area.page(i));
  }};
  const auto process = ProcessMemory::open(child.pid());
  ASSERT_TRUE(process);
  const auto segments = split_by_mapping(area.range(), process->mappings());
  ASSERT_EQ(segments.size(), 1u);
  std::uint64_t seen = 0;
  const bool complete = survey(*process, segments[0], {}, [&](const PagesSeen& pages) {
    if (seen == 300) child.kill_it();
    seen += pages.pages;
  });
  EXPECT_FALSE(complete);
  EXPECT_GE(seen, 300u);
  EXPECT_LT(seen, 1024u) << "what was not read is not reported";
}

TEST(ProcessMemory, SaysWhenTheProcessRunsAnotherProgram) {
  const Area area{1};
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const int pid = fork();
  if (pid == 0) {
    char byte = 0;
    static_cast<void>(!::read(go[0], &byte, 1));
    execl("/bin/sleep", "sleep", "1000", nullptr);
    _exit(1);
  }
  const auto process = ProcessMemory::open(pid);
  ASSERT_TRUE(process);
  Bytes bytes(16);
  const VirtAddr code{reinterpret_cast<std::uintptr_t>(&fill_text)};
  EXPECT_EQ(process->read(code, bytes).end, ReadEnd::complete);
  static_cast<void>(!write(go[1], "", 1));
  ReadEnd end = ReadEnd::complete;
  for (int i = 0; i < 600'000 && end != ReadEnd::gone; ++i) {
    usleep(1000);
    end = process->read(code, bytes).end;
  }
  EXPECT_EQ(end, ReadEnd::gone);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  close(go[0]);
  close(go[1]);
}

std::string error_of(int pid) {
  const auto process = ProcessMemory::open(pid);
  return process ? "" : process.error().message;
}

TEST(ProcessMemory, IsRefusedWhereThereIsNoProcess) {
  EXPECT_THAT(error_of(0x7fffffff), HasSubstr("there is no process 2147483647"));
}

TEST(ProcessMemory, IsRefusedOfAZombie) {
  const Child child{[] {}};
  child.kill_it();
  EXPECT_THAT(error_of(child.pid()), HasSubstr("has exited already"));
}

TEST(ProcessMemory, IsRefusedOfAKernelThread) {
  std::string name;
  std::ifstream{"/proc/2/comm"} >> name;
  if (name != "kthreadd") GTEST_SKIP() << "process 2 is not kthreadd here (a PID namespace)";
  EXPECT_THAT(error_of(2), HasSubstr("is a kernel thread"));
}

// In a child that has become somebody else; what it prints comes back. nullopt: it may not.
std::optional<std::string> error_without_privileges(int pid) {
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  const int child = fork();
  if (child == 0) {
    static_cast<void>(setgroups(0, nullptr));
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(1);
    const std::string text = error_of(pid);
    static_cast<void>(!write(out[1], text.data(), text.size()));
    _exit(0);
  }
  close(out[1]);
  std::string text(4096, '\0');
  const ssize_t got = ::read(out[0], text.data(), text.size());
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? std::optional{text} : std::nullopt;
}

TEST(ProcessMemory, IsRefusedOfAnotherUserWithTheReason) {
  const auto error = error_without_privileges(getpid());
  if (geteuid() != 0 || !error) GTEST_SKIP() << "only root can become somebody else";
  EXPECT_THAT(*error, HasSubstr("its user ids are 0 (real), 0 (effective), 0 (saved), this user's is 65534"));
}

TEST(ProcessMemory, IsRefusedWhereItIsNotDumpable) {
  if (!error_without_privileges(getpid())) GTEST_SKIP() << "only root can become somebody else";
  const Child child{[] {
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(1);
    prctl(PR_SET_DUMPABLE, 0);
  }};
  EXPECT_THAT(error_without_privileges(child.pid()).value(), HasSubstr("it is not dumpable"));
}

TEST(DefaultSegments, AreTheMemoryThatCanBeWritten) {
  const auto mappings = parse_maps(
                            "1000-2000 r-xp 0 fd:01 1 /usr/bin/vmm\n2000-3000 rw-p 0 fd:01 1 "
                            "/usr/bin/vmm\n3000-4000 ---p 0 00:00 0\n"
                            "4000-5000 rw-p 0 00:00 0 [heap]\n5000-6000 rw-s 0 00:05 7 "
                            "/dev/vfio/12\n6000-7000 r--p 0 00:00 0 [vvar]\n"
                            "7000-8000 rw-s 0 00:01 9 /dev/zero (deleted)\n")
                            .value();
  std::vector<std::uint64_t> starts;
  for (const Segment& segment : default_segments(mappings)) starts.push_back(segment.range.start.value());
  EXPECT_THAT(starts, ElementsAre(0x2000u, 0x4000u, 0x7000u));
}

TEST(Survey, DoesNotReadADevicesMappingUnlessToldTo) {
  const Area area{1};
  fill_text(area.page(0));
  const auto process = ProcessMemory::open(getpid());
  ASSERT_TRUE(process);
  Mapping device{.range = area.range(), .readable = true, .writable = true, .name = "/dev/uio0"};
  std::vector<PagesSeen> seen;
  const auto sink = [&](const PagesSeen& pages) { seen.push_back(pages); };
  EXPECT_TRUE(survey(*process, {area.range(), &device}, {}, sink));
  EXPECT_TRUE(survey(*process, {area.range(), &device}, {.devices = true}, sink));
  EXPECT_THAT(looks_of(seen), ElementsAre(watch::PageLooks::unreadable, watch::PageLooks::text));
}

}  // namespace
}  // namespace cbit::process
