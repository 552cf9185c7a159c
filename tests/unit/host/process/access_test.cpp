#include "process/access.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace cbit::process {
namespace {

using testing::HasSubstr;
using testing::Not;

// Somebody's own process, without privileges on either side.
AccessFacts own_process() {
  AccessFacts facts{.pid = 38572, .command = "qemu-system-x86", .own_uid = 1000, .own_gid = 1000};
  for (std::uint32_t& id : facts.uids) id = 1000;
  for (std::uint32_t& id : facts.gids) id = 1000;
  return facts;
}

std::string text_of(const AccessFacts& facts) {
  const Error error = explain_refusal(facts);
  EXPECT_EQ(error.code, ExitCode::bad_input);
  EXPECT_THAT(error.message, HasSubstr("process 38572 (qemu-system-x86)"));
  EXPECT_FALSE(error.hint.empty());
  return error.message + " / " + error.hint;
}

TEST(Refusal, NamesTheOtherUser) {
  AccessFacts facts = own_process();
  facts.uids[1] = facts.uids[2] = 64055;
  EXPECT_THAT(text_of(facts),
              HasSubstr("user ids are 1000 (real), 64055 (effective), 64055 (saved), this user's is 1000"));
  facts.own_sys_ptrace = true;
  EXPECT_THAT(text_of(facts), Not(HasSubstr("user ids")));
}

TEST(Refusal, NamesTheOtherGroup) {
  AccessFacts facts = own_process();
  facts.gids[1] = 109;
  EXPECT_THAT(text_of(facts), HasSubstr("group ids are 1000 (real), 109 (effective)"));
}

TEST(Refusal, NamesAProcessThatIsNotDumpable) {
  AccessFacts facts = own_process();
  facts.dumpable = false;
  EXPECT_THAT(text_of(facts), HasSubstr("PR_SET_DUMPABLE"));
}

TEST(Refusal, NamesCapabilitiesThatTheCallerLacks) {
  AccessFacts facts = own_process();
  facts.permitted = 0x3000;
  facts.own_permitted = 0x1000;
  EXPECT_THAT(text_of(facts), HasSubstr("capabilities that this process lacks (0x2000)"));
}

TEST(Refusal, NamesYamasScope) {
  AccessFacts facts = own_process();
  facts.ptrace_scope = 1;
  EXPECT_THAT(text_of(facts), HasSubstr("ptrace_scope is 1: only a process's ancestors"));
  facts.descendant = true;
  EXPECT_THAT(text_of(facts), Not(HasSubstr("ptrace_scope")));
  facts.ptrace_scope = 2;
  EXPECT_THAT(text_of(facts), HasSubstr("ptrace_scope is 2"));
  facts.ptrace_scope = 3;
  facts.own_sys_ptrace = true;
  EXPECT_THAT(text_of(facts), HasSubstr("no privilege helps"));
}

TEST(Refusal, SaysWhenItDoesNotKnow) {
  AccessFacts facts = own_process();
  EXPECT_THAT(text_of(facts), HasSubstr("none of the common reasons holds"));
  facts.security_module = "libvirt-1234 (enforce)";
  EXPECT_THAT(text_of(facts), HasSubstr("\"libvirt-1234 (enforce)\""));
}

TEST(AccessFacts, AreThoseOfTheProcess) {
  const AccessFacts facts = read_access_facts(getpid());
  EXPECT_EQ(facts.uids[0], getuid());
  EXPECT_EQ(facts.uids[1], geteuid());
  EXPECT_EQ(facts.gids[1], getegid());
  EXPECT_FALSE(facts.command.empty());
  EXPECT_TRUE(facts.descendant);
  EXPECT_TRUE(facts.dumpable);
  EXPECT_EQ(facts.permitted, facts.own_permitted);
}

TEST(StatusField, IsTheOneOfThatName) {
  constexpr std::string_view status = "Name:\tqemu\nUidX:\t1\nUid:\t0\t1\t2\t3\nEmpty:\n";
  EXPECT_EQ(status_field(status, "Uid"), "0\t1\t2\t3");
  EXPECT_EQ(status_field(status, "Name"), "qemu");
  EXPECT_EQ(status_field(status, "Empty"), "");
  EXPECT_EQ(status_field(status, "Gid"), "");
}

}  // namespace
}  // namespace cbit::process
