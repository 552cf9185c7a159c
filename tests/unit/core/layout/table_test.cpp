#include "layout/table.hpp"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "base/text.hpp"
#include "layout/text.hpp"

namespace cbit::layout {
namespace {

const Table cities{.columns = {{"city"}, {"people", true}, {"known for"}},
                   .rows = {{"Oslo", "709000", "a fjord"}, {"Rome", "2800000", "seven hills, ruins"}}};

TEST(LayoutTable, IsAsWideAsItsCellsWhereNothingLimitsIt) {
  EXPECT_EQ(render(cities, std::nullopt),
            "city   people  known for\n"
            "Oslo   709000  a fjord\n"
            "Rome  2800000  seven hills, ruins\n");
  EXPECT_EQ(render(cities, 33), render(cities, std::nullopt));
}

TEST(LayoutTable, WrapsTheWidestCellsFirstAndAtWords) {
  EXPECT_EQ(render(cities, 26),
            "city   people  known for\n"
            "Oslo   709000  a fjord\n"
            "Rome  2800000  seven\n"
            "               hills,\n"
            "               ruins\n");
}

TEST(LayoutTable, StacksRowsWhereALongestWordDoesNotFitBesideTheOthers) {
  EXPECT_EQ(render(cities, 17),
            "city: Oslo\n"
            "people: 709000\n"
            "known for: a\n"
            "  fjord\n"
            "\n"
            "city: Rome\n"
            "people: 2800000\n"
            "known for:\n"
            "  seven hills,\n"
            "  ruins\n");
}

TEST(LayoutTable, StacksAListWithoutNamesAndLeavesOutEmptyCells) {
  const Table list{.columns = {{}, {}}, .rows = {{"a-long-name", "what it is about"}, {"b", ""}}};
  EXPECT_EQ(render(list, std::nullopt), "a-long-name  what it is about\nb\n");
  EXPECT_EQ(render(list, 14), "a-long-name\n  what it is\n  about\n\nb\n");
}

TEST(LayoutTable, AlignsWideCharacters) {
  const Table list{.columns = {{}, {}}, .rows = {{"漢字", "wide"}, {"e\u0301", "combined"}}};
  EXPECT_EQ(render(list, std::nullopt), "漢字  wide\ne\u0301     combined\n");
}

TEST(LayoutTable, SeparatesGroupsOfItsFirstColumn) {
  const Table groups{
      .columns = {{"a"}, {"b"}}, .rows = {{"x", "1"}, {"x", "2"}, {"y", "3"}}, .grouped = true};
  EXPECT_EQ(render(groups, std::nullopt), "a  b\nx  1\nx  2\n\ny  3\n");
}

TEST(LayoutTable, NeedsNoRows) {
  EXPECT_EQ(render({.columns = {{"a"}, {"b"}}}, std::nullopt), "a  b\n");
  EXPECT_EQ(render({.columns = {}}, 10), "");
}

RC_GTEST_PROP(LayoutTable, NoLineIsLongerThanItsLimitOrItsLongestWord, ()) {
  const auto columns = *rc::gen::inRange<std::size_t>(1, 60);
  const auto width_of_rows = *rc::gen::inRange<std::size_t>(1, 5);
  const auto cell = rc::gen::container<std::string>(rc::gen::element('a', 'b', ' '));
  Table table{.columns = std::vector<Column>(width_of_rows, {"heading"})};
  table.rows = *rc::gen::container<std::vector<std::vector<std::string>>>(
      rc::gen::container<std::vector<std::string>>(width_of_rows, cell));
  std::size_t longest = width("heading:");
  for (const auto& row : table.rows)
    for (const std::string& text : row)
      for (const std::string_view word : words_of(text)) longest = std::max(longest, width(word));
  const std::string text = render(table, columns);
  for (const std::string_view line : lines_of(text))
    RC_ASSERT(width(trimmed(line)) <= std::max(columns, longest));
}

}  // namespace
}  // namespace cbit::layout
