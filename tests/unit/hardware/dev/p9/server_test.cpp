#include "dev/p9/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/host_folder.hpp"
#include "support/p9_messages.hpp"

namespace cbit::dev {
namespace {

using namespace spec;
using namespace test;
using testing::ElementsAre;

constexpr std::uint32_t root = 1;

class P9ServerTest : public ::testing::Test {
 protected:
  P9ServerTest() {
    EXPECT_EQ(ask(p9_ask_version()).type, p9_type::tversion + 1);
    EXPECT_EQ(ask(p9_ask_attach(root)).type, p9_type::tattach + 1);
  }
  P9Answer ask(const Bytes& message, std::size_t room = P9Server::msize_max) {
    P9Answer answer{server.answer(message, room)};
    EXPECT_EQ(answer.size, answer.bytes.size());
    EXPECT_LE(answer.size, room);
    EXPECT_EQ(answer.tag, p9_tag);
    return answer;
  }
  // 0: it was done.
  int error_of(const Bytes& message) { return ask(message).error; }
  template <class... Fields>
  int error_of(std::uint8_t type, const Fields&... fields) {
    return error_of(p9_ask(type, fields...));
  }
  int walk(std::uint32_t fid, const std::vector<std::string_view>& names) {
    return error_of(p9_ask_walk(root, fid, names));
  }
  std::string read(std::uint32_t fid, std::uint64_t offset = 0, std::uint32_t count = 4096) {
    return ask(p9_ask_read(fid, offset, count)).data();
  }

  struct Entry {
    P9Qid qid;
    std::uint64_t offset = 0;
    std::uint8_t type = 0;
    std::string name;
  };
  std::vector<Entry> entries(std::uint32_t fid, std::uint64_t offset, std::uint32_t count) {
    const P9Answer answer = ask(p9_ask(p9_type::treaddir, fid, offset, count));
    EXPECT_EQ(answer.error, 0);
    P9Reader in = answer.body();
    EXPECT_LE(in.take<std::uint32_t>(), count);
    std::vector<Entry> found;
    while (!in.is_done() && found.size() < 100) {
      Entry entry;
      entry.qid = in.take_qid();
      entry.offset = in.take<std::uint64_t>();
      entry.type = in.take<std::uint8_t>();
      entry.name = in.take_text();
      found.push_back(entry);
    }
    return found;
  }

  HostFolder host;
  P9Server server{*host.shared};
};

// ---- what a client does with a folder -------------------------------------------------------------------

TEST_F(P9ServerTest, ReadsAFile) {
  ASSERT_EQ(walk(2, {"file"}), 0);
  const P9Answer opened = ask(p9_ask_open(2));
  ASSERT_EQ(opened.type, p9_type::tlopen + 1);
  P9Reader in = opened.body();
  EXPECT_EQ(in.take_qid().type, p9_qid_type::file);
  EXPECT_EQ(in.take<std::uint32_t>(), 8192u - p9_io_header_bytes);
  EXPECT_EQ(read(2), HostFolder::words);
  EXPECT_EQ(read(2, 5, 3), "wor");
  EXPECT_EQ(read(2, 11), "");
  EXPECT_EQ(read(2, 1 << 30), "");
  EXPECT_EQ(error_of(p9_type::tclunk, std::uint32_t{2}), 0);
  EXPECT_EQ(error_of(p9_ask_read(2, 0, 1)), EBADF);
}

TEST_F(P9ServerTest, AnswersNoMoreThanTheMessageSizeAndTheRoomAllow) {
  host.write("large", std::string(100'000, 'x'));
  ASSERT_EQ(walk(2, {"large"}), 0);
  ASSERT_EQ(error_of(p9_ask_open(2)), 0);
  EXPECT_EQ(read(2, 0, 100'000).size(), 8192u - p9_data_header_bytes);
  EXPECT_EQ(ask(p9_ask_read(2, 0, 100'000), 50).data().size(), 50u - p9_data_header_bytes);
  EXPECT_EQ(ask(p9_ask_read(2, 0, 100'000), p9_error_bytes).data(), "");
  EXPECT_EQ(ask(p9_ask(p9_type::tgetattr, std::uint32_t{2}, std::uint64_t{0}), 100).error, EMSGSIZE);
}

TEST_F(P9ServerTest, ListsAFolderInOrderOfNames) {
  ASSERT_EQ(walk(2, {}), 0);
  ASSERT_EQ(error_of(p9_ask_open(2, p9_open::directory)), 0);
  const auto all = entries(2, 0, 4096);
  std::vector<std::string> names;
  for (const Entry& entry : all) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre(".", "..", "absolute", "empty", "fifo", "file", "folder", "inside", "out",
                                 "socket"));
  EXPECT_EQ(all[0].qid, all[1].qid) << "above it is nothing else";
  EXPECT_EQ(all[2].qid.type, p9_qid_type::link);
  EXPECT_EQ(all[3].qid.type, p9_qid_type::folder);
  EXPECT_EQ(all[4].type, 1) << "DT_FIFO";
  EXPECT_EQ(all[5].type, 8) << "DT_REG";
}

TEST_F(P9ServerTest, GoesOnListingWhereItEnded) {
  ASSERT_EQ(walk(2, {}), 0);
  ASSERT_EQ(error_of(p9_ask_open(2)), 0);
  std::vector<std::string> names;
  for (std::uint64_t offset = 0;;) {
    const auto some = entries(2, offset, 70);
    if (some.empty()) break;
    for (const Entry& entry : some) names.push_back(entry.name);
    offset = some.back().offset;
    host.write("made meanwhile", "");
  }
  EXPECT_EQ(names.size(), 10u);
  EXPECT_EQ(error_of(p9_type::treaddir, std::uint32_t{2}, std::uint64_t{2}, std::uint32_t{10}), EINVAL);
  EXPECT_TRUE(entries(2, ~std::uint64_t{0}, 4096).empty());
  EXPECT_EQ(entries(2, 0, 4096).size(), 11u) << "from the start it looks anew";
}

TEST_F(P9ServerTest, TellsAttributesAsTheHostHasThem) {
  ASSERT_EQ(walk(2, {"file"}), 0);
  struct stat status{};
  ASSERT_EQ(lstat(host.path("file").c_str(), &status), 0);
  const P9Answer answer = ask(p9_ask(p9_type::tgetattr, std::uint32_t{2}, p9_stats_basic));
  P9Reader in = answer.body();
  EXPECT_EQ(in.take<std::uint64_t>(), p9_stats_basic);
  EXPECT_EQ(in.take_qid().path, status.st_ino);
  EXPECT_EQ(in.take<std::uint32_t>(), S_IFREG | 0640u);
  EXPECT_EQ(in.take<std::uint32_t>(), status.st_uid);
  EXPECT_EQ(in.take<std::uint32_t>(), status.st_gid);
  EXPECT_EQ(in.take<std::uint64_t>(), 1u);
  EXPECT_EQ(in.take<std::uint64_t>(), 0u);
  EXPECT_EQ(in.take<std::uint64_t>(), 11u);
  in.take_bytes(16);
  in.take_bytes(16);
  EXPECT_EQ(in.take<std::uint64_t>(), static_cast<std::uint64_t>(status.st_mtim.tv_sec));
  EXPECT_EQ(in.take<std::uint64_t>(), static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
  in.take_bytes(16 + 16 + 16);
  EXPECT_TRUE(in.is_done());
}

TEST_F(P9ServerTest, TellsTheFileSystem) {
  const P9Answer answer = ask(p9_ask(p9_type::tstatfs, root));
  P9Reader in = answer.body();
  struct statfs status{};
  ASSERT_EQ(statfs(host.path("").c_str(), &status), 0);
  EXPECT_EQ(in.take<std::uint32_t>(), static_cast<std::uint32_t>(status.f_type));
  EXPECT_EQ(in.take<std::uint32_t>(), static_cast<std::uint32_t>(status.f_bsize));
  EXPECT_EQ(in.take<std::uint64_t>(), status.f_blocks);
  in.take_bytes(5 * 8 + 4);
  EXPECT_TRUE(in.is_done());
}

TEST_F(P9ServerTest, WalksSeveralNamesAndClones) {
  const P9Answer answer = ask(p9_ask_walk(root, 2, {"folder", "deep", "leaf"}));
  P9Reader in = answer.body();
  EXPECT_EQ(in.take<std::uint16_t>(), 3);
  EXPECT_EQ(in.take_qid().type, p9_qid_type::folder);
  in.take_qid();
  EXPECT_EQ(in.take_qid().type, p9_qid_type::file);
  ASSERT_EQ(error_of(p9_ask_walk(2, 3, {})), 0);
  ASSERT_EQ(error_of(p9_ask_open(3)), 0);
  EXPECT_EQ(read(3), "leaf");
  EXPECT_EQ(error_of(p9_ask_read(2, 0, 1)), EBADF) << "the other is not open";
}

// walk(5) of Plan 9.
TEST_F(P9ServerTest, TellsHowFarItCameAndMakesNoFidOfAWayThatEnds) {
  const P9Answer answer = ask(p9_ask_walk(root, 2, {"folder", "nothing", "leaf"}));
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(answer.body().take<std::uint16_t>(), 1);
  EXPECT_EQ(error_of(p9_ask_open(2)), EBADF);
  EXPECT_EQ(walk(2, {"nothing"}), ENOENT);
  EXPECT_EQ(server.fids(), 1u);
}

TEST_F(P9ServerTest, SyncsLocksAndFlushesWithoutDoingAnything) {
  ASSERT_EQ(walk(2, {"file"}), 0);
  ASSERT_EQ(error_of(p9_ask_open(2)), 0);
  constexpr std::uint32_t fid = 2;
  EXPECT_EQ(error_of(p9_type::tfsync, fid, std::uint32_t{0}), 0);
  EXPECT_EQ(error_of(p9_type::tflush, std::uint16_t{3}), 0);
  const P9Answer locked = ask(p9_ask(p9_type::tlock, fid, std::uint8_t{1}, std::uint32_t{0}, std::uint64_t{0},
                                     std::uint64_t{0}, std::uint32_t{9}, "guest"));
  EXPECT_EQ(locked.body().take<std::uint8_t>(), p9_lock_success);
  const P9Answer tested = ask(p9_ask(p9_type::tgetlock, fid, std::uint8_t{1}, std::uint64_t{5},
                                     std::uint64_t{6}, std::uint32_t{9}, "guest"));
  P9Reader in = tested.body();
  EXPECT_EQ(in.take<std::uint8_t>(), p9_lock_type_unlck);
  EXPECT_EQ(in.take<std::uint64_t>(), 5u);
  EXPECT_EQ(in.take<std::uint64_t>(), 6u);
  EXPECT_EQ(in.take<std::uint32_t>(), 9u);
  EXPECT_EQ(in.take_text(), "guest");
}

// ---- what it does not let out or in ---------------------------------------------------------------------

TEST_F(P9ServerTest, LeadsNowhereOutside) {
  const P9Answer up = ask(p9_ask_walk(root, 2, {"..", "..", "folder", "..", "..", "file"}));
  EXPECT_EQ(up.body().take<std::uint16_t>(), 6) << "above the folder is the folder";
  ASSERT_EQ(error_of(p9_ask_open(2)), 0);
  EXPECT_EQ(read(2), HostFolder::words);
  EXPECT_EQ(walk(3, {"../outside/secret"}), ENOENT);
  EXPECT_EQ(walk(3, {host.temporary.file("outside/secret")}), ENOENT);
  EXPECT_EQ(ask(p9_ask_walk(root, 3, {"out", "secret"})).body().take<std::uint16_t>(), 1);
  ASSERT_EQ(walk(3, {"absolute"}), 0);
  EXPECT_EQ(error_of(p9_ask_open(3)), ELOOP);
  const P9Answer link = ask(p9_ask(p9_type::treadlink, std::uint32_t{3}));
  EXPECT_EQ(link.body().take_text(), host.temporary.file("outside/secret")) << "it is the guest's to follow";
  EXPECT_EQ(error_of(p9_type::treadlink, root), EINVAL);
}

TEST_F(P9ServerTest, ShowsFifosAndSocketsAndOpensNone) {
  for (const char* const name : {"fifo", "socket"}) {
    ASSERT_EQ(walk(2, {name}), 0);
    EXPECT_EQ(error_of(p9_type::tgetattr, std::uint32_t{2}, p9_stats_basic), 0);
    EXPECT_EQ(error_of(p9_ask_open(2)), EACCES) << name;
    EXPECT_EQ(error_of(p9_type::tclunk, std::uint32_t{2}), 0);
  }
}

TEST_F(P9ServerTest, ChangesNothing) {
  ASSERT_EQ(walk(2, {"file"}), 0);
  for (const std::uint32_t flags : {01u, 02u, 03u, 01000u, 0100u})
    EXPECT_EQ(error_of(p9_ask_open(2, flags)), EROFS);
  ASSERT_EQ(error_of(p9_ask_open(2)), 0);
  for (const std::uint8_t type : {p9_type::tlcreate, p9_type::tsymlink, p9_type::tmknod, p9_type::trename,
                                  p9_type::tsetattr, p9_type::txattrcreate, p9_type::tlink, p9_type::tmkdir,
                                  p9_type::trenameat, p9_type::tunlinkat, p9_type::twrite}) {
    EXPECT_EQ(error_of(type, root, "name", std::uint64_t{0}), EROFS) << unsigned{type};
    EXPECT_EQ(error_of(type, std::uint32_t{99}), EBADF) << unsigned{type};
  }
  EXPECT_EQ(error_of(p9_type::tremove, std::uint32_t{2}), EROFS);
  EXPECT_EQ(error_of(p9_ask_read(2, 0, 1)), EBADF) << "remove(5): the fid is gone all the same";
  EXPECT_TRUE(std::filesystem::exists(host.path("file")));
}

TEST_F(P9ServerTest, KnowsNoOtherMessages) {
  constexpr std::uint8_t tauth = 102, topen = 112, tcreate = 114, tstat = 124, twstat = 126;
  for (const std::uint8_t type : {std::uint8_t{0}, tauth, topen, tcreate, tstat, twstat, std::uint8_t{255},
                                  p9_type::rlerror, std::uint8_t{p9_type::tread + 1}})
    EXPECT_EQ(error_of(type, root), EOPNOTSUPP) << unsigned{type};
  EXPECT_EQ(error_of(p9_type::txattrwalk, root, std::uint32_t{5}, "user.x"), EOPNOTSUPP);
  EXPECT_EQ(server.fids(), 1u);
}

// ---- the connection -------------------------------------------------------------------------------------

TEST_F(P9ServerTest, AgreesOnASizeThatItCanHold) {
  const P9Answer answer = ask(p9_ask_version(1 << 30));
  P9Reader in = answer.body();
  EXPECT_EQ(in.take<std::uint32_t>(), P9Server::msize_max);
  EXPECT_EQ(in.take_text(), "9P2000.L");
  EXPECT_EQ(error_of(p9_ask_version(4095)), EMSGSIZE);
  EXPECT_EQ(error_of(p9_ask_attach(root)), EINVAL) << "nothing is agreed on now";
}

TEST_F(P9ServerTest, AVersionBeginsAnew) {
  ASSERT_EQ(walk(2, {"file"}), 0);
  EXPECT_EQ(error_of(p9_ask_version()), 0);
  EXPECT_EQ(server.fids(), 0u);
  EXPECT_EQ(error_of(p9_ask_attach(root)), 0);
}

TEST_F(P9ServerTest, SpeaksNoOtherVersion) {
  for (const char* const version : {"9P2000", "9P2000.u", "9P2000.L2", ""}) {
    const P9Answer answer = ask(p9_ask_version(8192, version));
    P9Reader in = answer.body();
    in.take<std::uint32_t>();
    EXPECT_EQ(in.take_text(), "unknown") << version;
    EXPECT_EQ(error_of(p9_ask_attach(root)), EINVAL);
  }
}

TEST_F(P9ServerTest, RefusesFidsThatAreTakenOrUnknown) {
  EXPECT_EQ(error_of(p9_ask_attach(root)), EINVAL);
  EXPECT_EQ(error_of(p9_ask_attach(p9_no_fid)), EINVAL);
  ASSERT_EQ(walk(2, {"file"}), 0);
  EXPECT_EQ(walk(2, {"folder"}), EINVAL);
  EXPECT_EQ(error_of(p9_ask_walk(99, 3, {})), EBADF);
  EXPECT_EQ(error_of(p9_ask(p9_type::tattach, std::uint32_t{5}, std::uint32_t{2}, "", "", std::uint32_t{0})),
            EBADF)
      << "there is no authentication";
  ASSERT_EQ(error_of(p9_ask_open(2)), 0);
  EXPECT_EQ(error_of(p9_ask_open(2)), EINVAL);
  EXPECT_EQ(error_of(p9_ask_walk(2, 2, {})), EINVAL) << "open fids stay where they are";
  EXPECT_EQ(error_of(p9_type::tclunk, std::uint32_t{77}), EBADF);
  EXPECT_EQ(error_of(p9_type::treaddir, std::uint32_t{2}, std::uint64_t{0}, std::uint32_t{99}), ENOTDIR);
  EXPECT_EQ(error_of(p9_type::treaddir, root, std::uint64_t{0}, std::uint32_t{99}), EBADF);
  ASSERT_EQ(error_of(p9_ask_open(root)), 0);
  EXPECT_EQ(error_of(p9_ask_read(root, 0, 1)), EISDIR);
}

TEST_F(P9ServerTest, HoldsABoundedNumberOfFids) {
  for (std::uint32_t fid = 2; fid < 1 + P9Server::default_fids_max; ++fid) ASSERT_EQ(walk(fid, {}), 0) << fid;
  EXPECT_EQ(walk(5000, {}), EMFILE);
  EXPECT_EQ(error_of(p9_ask_attach(5000)), EMFILE);
  EXPECT_EQ(error_of(p9_ask_walk(2, 2, {"file"})), 0) << "one that there is may go on";
  EXPECT_EQ(error_of(p9_type::tclunk, std::uint32_t{3}), 0);
  EXPECT_EQ(walk(5000, {}), 0);
}

TEST_F(P9ServerTest, HoldsAsManyFidsAsItIsMadeFor) {
  P9Server small{*host.shared, 2};
  const auto error_of = [&small](const Bytes& message) {
    return P9Answer{small.answer(message, P9Server::msize_max)}.error;
  };
  EXPECT_EQ(error_of(p9_ask_version()), 0);
  EXPECT_EQ(error_of(p9_ask_attach(root)), 0);
  EXPECT_EQ(error_of(p9_ask_walk(root, 2, {})), 0);
  EXPECT_EQ(error_of(p9_ask_walk(root, 3, {})), EMFILE);
}

TEST_F(P9ServerTest, AnswersMessagesThatAreCutShortOrTooLong) {
  ASSERT_EQ(walk(2, {"file"}), 0);
  const Bytes messages[] = {p9_ask_version(),
                            p9_ask_attach(9),
                            p9_ask_walk(root, 9, {"folder", "deep"}),
                            p9_ask_open(2),
                            p9_ask_read(2, 0, 10),
                            p9_ask(p9_type::treaddir, root, std::uint64_t{0}, std::uint32_t{0}),
                            p9_ask(p9_type::tgetattr, root, std::uint64_t{0}),
                            p9_ask(p9_type::treadlink, root),
                            p9_ask(p9_type::tstatfs, root),
                            p9_ask(p9_type::txattrwalk, root, std::uint32_t{9}, "name"),
                            p9_ask(p9_type::tflush, std::uint16_t{1}),
                            p9_ask(p9_type::tfsync, root, std::uint32_t{0}),
                            p9_ask(p9_type::tclunk, root)};
  for (const Bytes& message : messages) {
    for (std::size_t bytes = 7; bytes < message.size(); ++bytes) {
      Bytes cut{message.begin(), message.begin() + static_cast<std::ptrdiff_t>(bytes)};
      EXPECT_EQ(error_of(cut), EINVAL) << "its size is that of the whole";
      store(cut, 0, static_cast<std::uint32_t>(bytes));
      EXPECT_EQ(error_of(cut), EINVAL)
          << unsigned{std::to_integer<std::uint8_t>(message[4])} << ", " << bytes;
    }
    Bytes longer = message;
    longer.push_back(std::byte{0});
    store(longer, 0, static_cast<std::uint32_t>(longer.size()));
    EXPECT_EQ(error_of(longer), EINVAL);
  }
  EXPECT_EQ(server.fids(), 2u);
  EXPECT_EQ(P9Answer{server.answer(Bytes(3), 11)}.error, EINVAL);
}

TEST_F(P9ServerTest, RefusesAWalkOfTooManyNames) {
  EXPECT_EQ(walk(2, std::vector<std::string_view>(17, "..")), EINVAL);
  EXPECT_EQ(walk(2, std::vector<std::string_view>(16, "..")), 0);
}

}  // namespace
}  // namespace cbit::dev
