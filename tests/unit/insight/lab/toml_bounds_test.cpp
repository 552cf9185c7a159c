#include "base/toml_bounds.hpp"

#include <gtest/gtest.h>

#include <string>

#include "lab/experiment.hpp"

namespace cbit::lab {
namespace {

std::string repeated(std::string_view part, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += part;
  return text;
}

TEST(TomlBounds, FindsKeysOfManyPartsWhereverTheyStand) {
  const std::string key = repeated("a.", 40'000) + "a";
  for (const std::string& text :
       {key + " = 1", "[" + key + "]", "[[" + key + "]]", "x = { " + key + " = 1 }",
        "x = [{ " + key + " = 1 }]", "ok = 1\n" + key + " = 1", repeated("\"a\".", 40'000) + "a = 1",
        repeated("'a' . ", 40'000) + "a = 1", "x = \"\"\"a\"\"\"\" # \n" + key + " = 1"}) {
    EXPECT_TRUE(find_too_deep(text)) << text.substr(0, 40);
    const auto loaded = load_experiment(text, "deep.toml");
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find("too many"), std::string::npos) << loaded.error().message;
  }
}

TEST(TomlBounds, FindsValuesWithinValues) {
  for (const std::string& text : {"x = " + repeated("[", 40'000), "x = " + repeated("{ a = ", 40'000),
                                  "x = " + repeated("[{ a = ", 20'000), "x = [\n" + repeated("[\n", 40'000)})
    EXPECT_TRUE(find_too_deep(text)) << text.substr(0, 40);
}

TEST(TomlBounds, NamesThePlace) {
  const auto found = find_too_deep("a = 1\nb = " + repeated("[", 33));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->line, 2u);
  EXPECT_EQ(found->column, 4u + 33u);
}

TEST(TomlBounds, DoesNotCountWhatIsText) {
  const std::string dots(100, '.'), brackets(100, '[');
  for (const std::string& text :
       {"x = \"" + dots + brackets + "\"", "x = '" + dots + brackets + "'", "# " + dots + brackets,
        "x = \"\"\"\n" + dots + "\n" + brackets + "\"\"\"", "x = '''\n" + brackets + "'''",
        "x = \"\\\"" + brackets + "\"", "x = \"\"\"\"" + brackets + "\"\"\"\"\"\ny = 1",
        "x = [" + repeated("1.5, ", 1000) + "]", "x = [\n" + repeated("[1], \n", 1000) + "]",
        repeated("[[step]]\n", 10'000), repeated("a.b.c = 1\n", 1000)})
    EXPECT_FALSE(find_too_deep(text)) << text.substr(0, 60);
}

TEST(TomlBounds, SeesBehindQuotesThatEndAText) {
  const std::string deep = repeated("[", 40);
  EXPECT_TRUE(find_too_deep("x = [\"\"\"a\"\"\"\"\", " + deep)) << "five quotes";
  EXPECT_TRUE(find_too_deep("x = ['''a'''', " + deep)) << "four quotes";
  EXPECT_TRUE(find_too_deep("x = [\"\\\\\", " + deep)) << "an escaped backslash";
  EXPECT_TRUE(find_too_deep("x = ['\\', " + deep)) << "no escape in a literal";
  EXPECT_TRUE(find_too_deep("x = [\"\", " + deep));
}

TEST(TomlBounds, TakesAsMuchAsItSays) {
  EXPECT_FALSE(find_too_deep(repeated("a.", 31) + "a = 1"));
  EXPECT_TRUE(find_too_deep(repeated("a.", 32) + "a = 1"));
  EXPECT_FALSE(find_too_deep("x = " + repeated("[", 32) + repeated("]", 32)));
}

}  // namespace
}  // namespace cbit::lab
