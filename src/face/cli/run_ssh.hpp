// `cbit run --ssh`: a port of this host's that leads to an ssh server in the guest.
//
// Threading: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "guest/network.hpp"

namespace cbit::cli {

struct RunSsh {
  std::string keys;  // those of all who may come in, as lines
  std::string line;  // how they do

  // nullopt: nobody asked. Adds the port to the first user network, which is added where nobody named a
  // network. `is_replay`: nothing of the host's is opened, so any port will do.
  // Errors: no root that could have a server, no user network with IPv4 (usage); no port, no key, no server
  // in the root (input).
  static OrError<std::optional<RunSsh>> open(const Arguments& arguments,
                                             std::vector<guest::NetworkRequest>& networks, bool is_replay);
};

}  // namespace cbit::cli
