#include "os/interruption.hpp"

namespace cbit::os {
namespace {

volatile sig_atomic_t interrupted = 0;

extern "C" void note_interruption(int) { interrupted = 1; }

}  // namespace

Interruption::Interruption(std::span<const int> signals) {
  interrupted = 0;
  for (const int number : signals) {
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = note_interruption;
    ::sigaction(number, nullptr, &before);
    if (before.sa_handler == SIG_IGN || ::sigaction(number, &action, nullptr) != 0) continue;
    before_.emplace_back(number, before);
  }
}

Interruption::~Interruption() {
  for (const auto& [number, before] : before_) ::sigaction(number, &before, nullptr);
}

bool Interruption::came() const { return interrupted != 0; }

}  // namespace cbit::os
