#include "net/user_network.hpp"

#include <arpa/inet.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <span>
#include <system_error>

#include "base/format.hpp"

namespace cbit::net {
namespace {

using HostClock = std::chrono::steady_clock;

// SLIRP_POLL_* and poll(2)'s, one for one.
constexpr std::pair<int, short> poll_bits[] = {{SLIRP_POLL_IN, POLLIN},
                                               {SLIRP_POLL_OUT, POLLOUT},
                                               {SLIRP_POLL_PRI, POLLPRI},
                                               {SLIRP_POLL_ERR, POLLERR},
                                               {SLIRP_POLL_HUP, POLLHUP}};

short poll_events(int slirp_events) {
  int events = 0;
  for (const auto& [ours, theirs] : poll_bits)
    if ((slirp_events & ours) != 0) events |= theirs;
  return static_cast<short>(events);
}

int slirp_events(short came) {
  int events = 0;
  for (const auto& [ours, theirs] : poll_bits)
    if ((came & theirs) != 0) events |= ours;
  return events;
}

in_addr address_of(Ipv4 address) { return {.s_addr = htonl(address)}; }

in6_addr address_of(const Ipv6& address) {
  in6_addr made{};
  std::ranges::copy(address, made.s6_addr);
  return made;
}

Ipv6 with_last_byte(Ipv6 address, std::uint8_t byte) {
  address.back() |= byte;
  return address;
}

}  // namespace

std::optional<Ipv4> parse_ipv4(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string{text}.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string to_text(Ipv4 address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff);
}

std::optional<Ipv6> parse_ipv6(std::string_view text) {
  Ipv6 address{};
  if (inet_pton(AF_INET6, std::string{text}.c_str(), address.data()) != 1) return std::nullopt;
  return address;
}

std::string to_text(const Ipv6& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(AF_INET6, address.data(), text.data(), text.size());
  return text.data();
}

Ipv6 UserNetworkOptions::host6() const { return with_last_byte(base6(), 2); }
Ipv6 UserNetworkOptions::name_server6() const { return with_last_byte(base6(), 3); }

// RFC 4291, appendix A: a modified EUI-64.
Ipv6 UserNetworkOptions::guest6(const dev::MacAddress& device) const {
  constexpr std::uint8_t universal = 2;
  Ipv6 address = base6();
  auto* const interface = address.data() + ipv6_prefix_bits / 8;
  std::copy_n(device.begin(), 3, interface);
  interface[0] ^= universal;
  interface[3] = 0xff;
  interface[4] = 0xfe;
  std::copy_n(device.begin() + 3, 3, interface + 5);
  return address;
}

// libslirp with the functions that it calls.
class UserNetwork::Stack {
 public:
  Stack(const UserNetworkOptions& options, std::function<void(ConstByteSpan)> send) : send_{std::move(send)} {
    SlirpConfig config{};
    config.version = 1;
    config.restricted = options.restricted ? 1 : 0;
    config.in_enabled = options.ipv4;
    config.vnetwork = address_of(options.base());
    config.vnetmask = address_of(~Ipv4{0} << (32 - options.prefix_bits));
    config.vhost = address_of(options.host());
    config.vnameserver = address_of(options.name_server());
    config.vdhcp_start = address_of(options.guest());
    config.in6_enabled = options.ipv6;
    config.vprefix_addr6 = address_of(options.base6());
    config.vprefix_len = ipv6_prefix_bits;
    config.vhost6 = address_of(options.host6());
    config.vnameserver6 = address_of(options.name_server6());
    slirp_ = slirp_new(&config, &callbacks, this);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() { slirp_cleanup(slirp_); }

  // errno, as slirp_add_hostfwd() leaves it; 0: it is forwarded.
  int forward(const PortForward& port) {
    errno = 0;
    const int failed =
        slirp_add_hostfwd(slirp_, port.protocol == PortForward::Protocol::udp ? 1 : 0, address_of(port.host),
                          port.host_port, address_of(port.guest), port.guest_port);
    return failed < 0 ? std::max(errno, 1) : 0;
  }

  void input(ConstByteSpan frame) {
    slirp_input(slirp_, reinterpret_cast<const std::uint8_t*>(frame.data()), static_cast<int>(frame.size()));
  }

  void prepare(os::PollSet& set) {
    std::uint32_t most_ms = std::numeric_limits<std::uint32_t>::max();
    slirp_pollfds_fill(
        slirp_, &most_ms,
        [](int fd, int events, void* to) {
          return static_cast<int>(static_cast<os::PollSet*>(to)->add(fd, poll_events(events)));
        },
        &set);
    set.limit(std::chrono::milliseconds{most_ms});
    for (const auto& timer : timers_)
      if (timer->due_ms)
        set.limit(std::chrono::milliseconds{std::max<std::int64_t>(*timer->due_ms - now_ms(), 0)});
  }

  void serve(const os::PollSet& set) {
    slirp_pollfds_poll(
        slirp_, 0,
        [](int number, void* from) {
          return slirp_events(static_cast<const os::PollSet*>(from)->came(static_cast<std::size_t>(number)));
        },
        const_cast<os::PollSet*>(&set));
    fire_timers();
  }

 private:
  // When a router is to advertise itself.
  struct Timer {
    SlirpTimerCb call;
    void* with;
    std::optional<std::int64_t> due_ms;
  };
  static const SlirpCb callbacks;

  static std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(HostClock::now().time_since_epoch()).count();
  }
  static std::int64_t now_ms() { return now_ns() / 1'000'000; }

  // A timer that is called may be set anew.
  void fire_timers() {
    for (const auto& timer : timers_) {
      if (!timer->due_ms || *timer->due_ms > now_ms()) continue;
      timer->due_ms.reset();
      timer->call(timer->with);
    }
  }
  Timer* make_timer(SlirpTimerCb call, void* with) {
    return timers_.emplace_back(std::make_unique<Timer>(Timer{call, with, std::nullopt})).get();
  }
  void drop_timer(const void* timer) {
    std::erase_if(timers_, [timer](const auto& one) { return one.get() == timer; });
  }

  std::vector<std::unique_ptr<Timer>> timers_;
  std::function<void(ConstByteSpan)> send_;
  Slirp* slirp_;
};

const SlirpCb UserNetwork::Stack::callbacks = {
    .send_packet =
        [](const void* frame, std::size_t bytes, void* opaque) {
          static_cast<Stack*>(opaque)->send_(
              std::as_bytes(std::span{static_cast<const char*>(frame), bytes}));
          return static_cast<ssize_t>(bytes);
        },
    .guest_error = [](const char*, void*) {},
    .clock_get_ns = [](void*) { return now_ns(); },
    .timer_new = [](SlirpTimerCb call, void* with, void* opaque) -> void* {
      return static_cast<Stack*>(opaque)->make_timer(call, with);
    },
    .timer_free = [](void* timer, void* opaque) { static_cast<Stack*>(opaque)->drop_timer(timer); },
    .timer_mod = [](void* timer, std::int64_t due_ms, void*) { static_cast<Timer*>(timer)->due_ms = due_ms; },
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = nullptr,
};

UserNetwork::UserNetwork() = default;
UserNetwork::~UserNetwork() = default;

OrError<std::unique_ptr<UserNetwork>> UserNetwork::create(const UserNetworkOptions& options) {
  std::unique_ptr<UserNetwork> made{new UserNetwork};
  UserNetwork* const network = made.get();
  made->stack_ = std::make_unique<Stack>(options, [network](ConstByteSpan frame) { network->send(frame); });
  for (const PortForward& port : options.forwards)
    if (const int error = made->stack_->forward(port); error != 0)
      return bad_input(
          fmt::format("cannot forward {} port {} of {}: {}",
                      port.protocol == PortForward::Protocol::udp ? "UDP" : "TCP", port.host_port,
                      to_text(port.host), std::generic_category().message(error)),
          "use an address of this host's and a port that nobody has, above 1023 unless you are root");
  return made;
}

bool UserNetwork::receive(ConstByteSpan frame) {
  stack_->input(frame);
  deliver();
  return true;
}

void UserNetwork::prepare(os::PollSet& set) { stack_->prepare(set); }

void UserNetwork::serve(const os::PollSet& set) {
  stack_->serve(set);
  deliver();
}

}  // namespace cbit::net
