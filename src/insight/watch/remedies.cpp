#include "watch/remedies.hpp"

#include <algorithm>

#include "base/format.hpp"

namespace cbit::watch {
namespace {

bool holds_for(const Remedy& remedy, const RemedyQuestion& question) {
  if (!remedy.driver.empty() && remedy.driver != question.driver) return false;
  if (!question.kernel) return !remedy.end;
  return (!remedy.first || *question.kernel >= *remedy.first) &&
         (!remedy.end || *question.kernel < *remedy.end);
}

}  // namespace

std::string to_string(Reader reader) {
  std::string text{word_of(reader_words, reader)};
  std::ranges::replace(text, '-', ' ');
  return text;
}

std::vector<Remedy> remedies_for(const RemedyList& all, const RemedyQuestion& question) {
  std::vector<Remedy> found;
  for (const Remedy& remedy : all)
    if (holds_for(remedy, question)) found.push_back(remedy);
  const auto superseded = [&](const Remedy& general) {
    return general.driver.empty() && std::ranges::any_of(found, [&](const Remedy& special) {
             return special.reader == general.reader && !special.driver.empty();
           });
  };
  std::vector<Remedy> left;
  for (const bool of_the_asking : {true, false})
    for (const Remedy& remedy : found)
      if ((remedy.reader == question.reader) == of_the_asking && !superseded(remedy)) left.push_back(remedy);
  return left;
}

std::string kernels_of(const Remedy& remedy) {
  const auto name = [](const spec::KernelRelease& release) {
    return fmt::format("{}.{}", release.major, release.minor);
  };
  if (remedy.first && remedy.end)
    return fmt::format(" (Linux {} and later, before {})", name(*remedy.first), name(*remedy.end));
  if (remedy.first) return fmt::format(" (Linux {} and later)", name(*remedy.first));
  if (remedy.end) return fmt::format(" (Linux before {})", name(*remedy.end));
  return {};
}

std::string to_text(const Remedy& remedy) {
  return fmt::format("{}: {}", to_string(remedy.reader), remedy.text);
}

}  // namespace cbit::watch
