// Archives as tar(5) describes them; the guest's disk is written here as its script writes it.
#include "guest/hand_out.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace cbit::guest {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t archive_at = 1 << 16;

Bytes tar_of(const std::string& name, const Bytes& contents) {
  Bytes to(contents.size() + (64 << 10));
  std::size_t used = 0;
  archive* const a = archive_write_new();
  archive_write_set_format_ustar(a);
  archive_write_open_memory(a, to.data(), to.size(), &used);
  archive_entry* const e = archive_entry_new();
  archive_entry_set_pathname(e, name.c_str());
  archive_entry_set_filetype(e, AE_IFREG);
  archive_entry_set_perm(e, 0644);
  archive_entry_set_size(e, static_cast<la_int64_t>(contents.size()));
  archive_write_header(a, e);
  archive_write_data(a, contents.data(), contents.size());
  archive_write_close(a);
  archive_entry_free(e);
  archive_write_free(a);
  to.resize(used);
  return to;
}

HandOut handed_out(std::string_view mark, const Bytes& archive) {
  HandOut made = HandOut::create(1 << 20).value();
  EXPECT_TRUE(made.disk().write(archive_at, archive));
  Bytes first(512);
  std::ranges::copy(std::as_bytes(std::span{mark}), first.begin());
  EXPECT_TRUE(made.disk().write(0, first));
  return made;
}

std::string refusal(const HandOut& handed) {
  std::ostringstream out;
  const auto written = handed.write_to(out);
  EXPECT_TRUE(out.str().empty());
  return written ? "none" : written.error().message;
}

TEST(HandOut, IsTheArchiveUpToItsEndAndNoByteOfTheDiskBehindIt) {
  const Bytes contents = pattern_bytes(100'001, 7);
  std::ostringstream out;
  ASSERT_TRUE(handed_out("complete\n", tar_of("results/a file", contents)).write_to(out));
  const std::string bytes = out.str();
  EXPECT_EQ(bytes.size(), 512 + 100'352 + 1024) << "a header, the contents in blocks of 512, two of zeros";

  archive* const a = archive_read_new();
  archive_read_support_format_tar(a);
  archive_entry* e = nullptr;
  ASSERT_EQ(archive_read_open_memory(a, bytes.data(), bytes.size()), ARCHIVE_OK);
  ASSERT_EQ(archive_read_next_header(a, &e), ARCHIVE_OK);
  EXPECT_STREQ(archive_entry_pathname(e), "results/a file");
  EXPECT_EQ(archive_entry_size(e), 100'001);
  EXPECT_EQ(archive_read_next_header(a, &e), ARCHIVE_EOF);
  archive_read_free(a);
}

TEST(HandOut, IsNothingWithoutTheMarkThatItIsComplete) {
  EXPECT_THAT(refusal(handed_out("", tar_of("a", Bytes(3)))), HasSubstr("it ended before"));
}

TEST(HandOut, IsNothingWhereTheDiskHoldsNoArchive) {
  EXPECT_THAT(refusal(handed_out("complete", Bytes(1 << 20, std::byte{0xff}))), HasSubstr("no tar archive"));
  Bytes endless = tar_of("a", {});
  std::ranges::fill(std::span{endless}.subspan(124, 11), std::byte{'7'});
  EXPECT_THAT(refusal(handed_out("complete", endless)), HasSubstr("no tar archive"));
}

}  // namespace
}  // namespace cbit::guest
