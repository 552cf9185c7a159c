// A rule whose reason is a cause of the catalogue: name and texts are the cause's.
#pragma once

#include "launch/rules.hpp"
#include "watch/cause_table.hpp"

namespace cbit::launch {

[[nodiscard]] consteval RuleInfo rule_of_cause(std::string_view name, Severity severity,
                                               std::string_view topic, std::string_view libvirt_remedy) {
  const watch::CauseInfo& info = watch::cause(name);
  // A cause that the operator can do nothing about is no rule: that does not compile.
  const watch::Remedy* remedy = info.remedies.begin();
  while (remedy->reader != watch::Reader::system_operator || !remedy->driver.empty()) ++remedy;
  return {.name = info.name,
          .severity = severity,
          .topic = topic,
          .title = info.title,
          .why = info.meaning,
          .remedy = remedy->text,
          .libvirt_remedy = libvirt_remedy,
          .source = info.source};
}

}  // namespace cbit::launch
