#include "engine/port_explain.h"

#include <linux/netfilter.h>

#include <algorithm>

#include "base/file.h"
#include "engine/network_live.h"
#include "engine/network_ports.h"
#include "sys/links.h"
#include "sys/nftables_read.h"

namespace onggi::engine {

namespace {

class Explainer {
 public:
  Explainer(Engine& engine, const LiveRecord& record, sys::NetlinkSocket& socket)
      : engine_(engine), record_(record), socket_(socket) {}

  Result<PortExplanation> explain(const LivePort& port, const network::FirewallPort& place) {
    PortExplanation out;
    out.from = host(port.host_ip) + ":" + std::to_string(port.host_port) + "/" + port.protocol;
    out.to = host(port.target) + ":" + std::to_string(port.container_port);
    steps_ = &out.steps;
    host_programs(port);
    auto chains = TRY(sys::nft_base_chains(socket_));
    foreign(chains, NF_INET_PRE_ROUTING, "before the address is translated");
    TRY_VOID(translation(port, place));
    routing(port);
    foreign(chains, NF_INET_FORWARD, "while it is forwarded");
    links();
    listener(port);
    return out;
  }

 private:
  static std::string host(const std::string& ip) {
    return ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  }
  void say(bool good, std::string what) { steps_->push_back({good, std::move(what)}); }

  void host_programs(const LivePort& port) {
    if (port.protocol != "tcp") return;
    if (listens("/proc/self/net/", port.host_port))
      say(true, "a program of the host listens on port " + std::to_string(port.host_port) +
                    ", too; packets go to the container before they would come to it");
  }

  // Every base chain of somebody else's at the hook: an accept of ours does not end their say.
  void foreign(const std::vector<sys::NftBaseChain>& chains, uint32_t hook, const std::string& when) {
    for (const auto& c : chains) {
      if (c.hook != hook || c.type == "route" || c.family == "bridge" || c.family.starts_with("family"))
        continue;
      std::string name = c.family + " " + c.table + " " + c.chain;
      std::string at = " (" + c.type + ", priority " + std::to_string(c.priority) + ")";
      if (c.table == firewall_table(engine_)) {
        say(true, when + ": our chain " + name + at);
      } else if (c.drops) {
        say(false, when + ": chain " + name + at +
                       " of another program drops what it does not accept by a rule; it must accept our "
                       "bridges (docs: network)");
      } else {
        say(true,
            when + ": chain " + name + at + " of another program; its policy is accept, its rules may drop");
      }
    }
  }

  Result<> translation(const LivePort& port, const network::FirewallPort& place) {
    auto where = network::firewall_place(place);
    auto element = TRY(sys::nft_element(socket_, firewall_table(engine_), where.map, where.key));
    if (!element) {
      say(false, "the map " + where.map +
                     " has no element for it: the packet would stay on the host. The keeper puts it back; is "
                     "it running? (pgrep onggi-keeper)");
      return {};
    }
    if (!element->chain.empty()) {
      say(true, "map " + where.map + ": goes to chain " + element->chain +
                    ", which takes one of the replicas of " + record_.group + " at random");
      return {};
    }
    bool right = element->data == where.value;
    say(right, "map " + where.map + ": destination becomes " +
                   (right ? host(port.target) + ":" + std::to_string(port.container_port)
                          : "another container's: the table is not ours"));
    return {};
  }

  void routing(const LivePort& port) {
    bool v4 = port.target.find(':') == std::string::npos;
    std::string path = v4 ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding";
    auto text = read_file(path, 16);
    bool on = text && trim(*text) != "0";
    say(on, path.substr(10) + (on ? " is on: the host routes"
                                  : " is off: the host does not route; onggi restart switches it on"));
    if (port.host_ip == "0.0.0.0" || port.host_ip.starts_with("127."))
      for (const auto& link : record_.links) {
        if (link.ipv4 != port.target) continue;
        auto local = read_file("/proc/sys/net/ipv4/conf/" + link.master + "/route_localnet", 16);
        bool may = local && trim(*local) == "1";
        say(may, link.master + (may ? " takes packets from 127.0.0.1"
                                    : " refuses packets from 127.0.0.1 (route_localnet is 0)"));
      }
  }

  void links() {
    for (const auto& link : record_.links) {
      bool bridge = sys::link_index(link.master) != 0, port = sys::link_index(link.host_link) != 0;
      say(bridge && port, "link " + link.master + (bridge ? " -> " : " is missing -> ") + link.host_link +
                              (port ? " -> " : " is missing -> ") + link.interface + " in the container");
    }
  }

  static bool listens(const std::string& net, uint16_t port) {
    char hex[8];
    snprintf(hex, sizeof hex, ":%04X ", port);
    for (const char* file : {"tcp", "tcp6"}) {
      auto text = read_file(net + file, 64u << 20);
      for (size_t at = text ? text->find('\n') : std::string::npos; at != std::string::npos;
           at = text->find('\n', at + 1)) {
        std::string_view line(text->data() + at + 1, std::min<size_t>(text->size() - at - 1, 120));
        line = line.substr(0, line.find('\n'));
        if (line.substr(0, 50).find(hex) < 46 && line.find(":0000 0A ") != std::string_view::npos)
          return true;
      }
    }
    return false;
  }

  void listener(const LivePort& port) {
    if (port.protocol != "tcp") return say(true, "then the container has it");
    bool there = listens("/proc/" + std::to_string(record_.pid) + "/net/", port.container_port);
    say(there, there ? "a program in the container listens on port " + std::to_string(port.container_port)
                     : "nothing in the container listens on port " + std::to_string(port.container_port) +
                           ": connection refused");
  }

  Engine& engine_;
  const LiveRecord& record_;
  sys::NetlinkSocket& socket_;
  std::vector<PortStep>* steps_ = nullptr;
};

}  // namespace

Result<std::vector<PortExplanation>> explain_port(Engine& engine, const std::string& container,
                                                  const std::string& wanted) {
  ContainerConfig config = TRY(TRY(engine.containers().find(container)).config());
  auto record = read_live(engine, config.id);
  if (!record || !is_alive(*record))
    return fail(Error::busy("container " + config.name + " is not running, or on no network"));
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_NETFILTER));
  auto places = TRY(firewall_ports(*record));
  Explainer explainer(engine, *record, socket);
  std::vector<PortExplanation> list;
  std::string full = wanted.find('/') == std::string::npos ? wanted + "/tcp" : wanted;
  for (size_t n = 0; n < record->ports.size(); n++)
    if (std::to_string(record->ports[n].container_port) + "/" + record->ports[n].protocol == full)
      list.push_back(TRY(explainer.explain(record->ports[n], places[n])));
  if (!list.empty()) return list;
  return fail(Error::not_found("No public port '" + full + "' published for " + config.name +
                               ": packets from outside its networks are dropped"));
}

}  // namespace onggi::engine
