#include "keeper/firewall_watch.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
// After the C library's own.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>

namespace onggi::keeper {

struct FirewallWatch::State {
  std::string table;
  std::function<void()> heal;
  sys::NetlinkSocket socket;
  bool touched = false;  // in the transaction that is being told

  // The first attribute of all messages about tables, chains, rules, sets and elements is the table's name.
  [[nodiscard]] bool is_ours(const nlmsghdr* h) const {
    auto* m = static_cast<const nfgenmsg*>(NLMSG_DATA(const_cast<nlmsghdr*>(h)));
    bool ours = false;
    if (m->nfgen_family == NFPROTO_INET)
      sys::each_attribute(sys::attributes_of(h, sizeof *m), [&](uint16_t type, std::string_view data) {
        if (type == 1) ours = data.substr(0, data.find('\0')) == table;
      });
    return ours;
  }
  // Who committed the transaction: the kernel tells the name of the process.
  static bool by_engine(const nlmsghdr* h) {
    std::string name;
    sys::each_attribute(sys::attributes_of(h, sizeof(nfgenmsg)), [&](uint16_t type, std::string_view data) {
      if (type == NFTA_GEN_PROC_NAME) name = data.substr(0, data.find('\0'));
    });
    return name.starts_with("onggi");
  }

  void read() {
    char buffer[65536];
    bool heal_now = false;
    for (;;) {
      ssize_t n = ::recv(socket.fd(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (n < 0 && errno == ENOBUFS) {
        heal_now = true;  // some were dropped: nobody knows which
        continue;
      }
      if (n <= 0) break;
      auto left = static_cast<unsigned>(n);
      for (auto* h = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES) continue;
        if ((h->nlmsg_type & 0xff) != NFT_MSG_NEWGEN) {
          touched |= is_ours(h);
          continue;
        }
        heal_now |= touched && !by_engine(h);
        touched = false;
      }
    }
    if (heal_now) heal();
  }
};

Result<FirewallWatch> FirewallWatch::start(Loop& loop, std::string table, std::function<void()> heal) {
  FirewallWatch watch;
  watch.state_ = std::make_shared<State>();
  watch.state_->table = std::move(table);
  watch.state_->heal = std::move(heal);
  watch.state_->socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER, {NFNLGRP_NFTABLES}));
  constexpr int kBytes = 1 << 20;
  (void)::setsockopt(watch.state_->socket.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kBytes, sizeof kBytes);
  TRY_VOID(loop.add(watch.state_->socket.fd(), EPOLLIN, [state = watch.state_](uint32_t) { state->read(); }));
  return watch;
}

}  // namespace onggi::keeper
