#include "engine/container_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "engine/network_live.h"
#include "engine/network_store.h"

namespace onggi::engine {

namespace {

Result<> write_own_file(int dir, const char* name, const std::string& text, uint32_t owner) {
  TRY_VOID(write_file_at(dir, name, text, O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
  if (::fchownat(dir, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(Error::os("give the file to the container", name));
  return {};
}

std::string host_name() {
  char name[256] = {};
  (void)::gethostname(name, sizeof name - 1);
  return name;
}

// "host-gateway" is the host's address on the container's first network.
std::string extra_hosts(Engine& engine, const ContainerConfig& c) {
  std::string text;
  for (const auto& [name, given] : c.extra_hosts) {
    std::string address = given;
    size_t gateway = given == "host-gateway" ? gateway_endpoint(engine, c) : std::string::npos;
    if (gateway < c.endpoints.size())
      if (auto network = read_network(engine, c.endpoints[gateway].network_id))
        address = subnet_of(*network, true).gateway.text();
    if (given == "host-gateway" && address == given) address = "127.0.0.1";
    text += address + "\t" + name + "\n";
  }
  return text;
}

std::string hosts_text(Engine& engine, const ContainerConfig& c, const std::string& hostname) {
  std::string text =
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
      "ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
      "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
  text += extra_hosts(engine, c);
  if (c.network == "none") return text + "127.0.1.1\t" + hostname + "\n";
  std::string names = c.domainname.empty() ? hostname : hostname + "." + c.domainname + " " + hostname;
  for (const auto& e : c.endpoints)
    for (const std::string* address : {&e.ipv4, &e.ipv6})
      if (!address->empty()) text += *address + "\t" + names + "\n";
  return text;
}

std::string host_search() {
  auto host = read_file("/etc/resolv.conf", 65536);
  std::string found;
  for (size_t at = 0; host && at < host->size();) {
    size_t end = std::min(host->find('\n', at), host->size());
    std::string_view line(host->data() + at, end - at);
    if (line.starts_with("search ")) found = std::string(trim(line.substr(7)));
    at = end + 1;
  }
  return found;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& w : words) text += (text.empty() ? "" : " ") + w;
  return text;
}

// On a network every question goes to the network's name service, which knows the servers that were asked
// for.
std::string network_resolver_text(Engine& engine, const ContainerConfig& c) {
  bool on_bridge = false;
  size_t gateway = gateway_endpoint(engine, c);
  if (gateway < c.endpoints.size())
    if (auto network = read_network(engine, c.endpoints[gateway].network_id))
      on_bridge = network->driver == "bridge";
  std::string text =
      std::string("nameserver ") + (on_bridge ? kResolverAddress : kLocalResolverAddress) + "\n";
  std::string search = c.dns_search.empty() ? host_search() : joined(c.dns_search);
  if (!search.empty() && search != ".") text += "search " + search + "\n";
  // A name service that is just being restarted has lost a question: it is asked again after a second.
  text +=
      "options " + (c.dns_options.empty() ? "ndots:0 timeout:1 attempts:5" : joined(c.dns_options)) + "\n";
  return text;
}

std::string resolver_text(Engine& engine, const ContainerConfig& c) {
  if (!c.endpoints.empty()) return network_resolver_text(engine, c);
  std::string text;
  if (c.dns.empty() && c.dns_search.empty() && c.dns_options.empty()) {
    auto host = read_file("/etc/resolv.conf", 65536);
    return c.network == "none" || c.network == "bridge" || !host ? "" : *host;
  }
  for (const auto& server : c.dns) text += "nameserver " + server + "\n";
  if (!c.dns_search.empty()) text += "search " + joined(c.dns_search) + "\n";
  for (const auto& option : c.dns_options) text += "options " + option + "\n";
  return text;
}

}  // namespace

Result<> write_own_files(Engine& engine, const ContainerConfig& c, int dir, bool in_place) {
  std::string hostname = c.uts_mode == "host" ? host_name()
                         : c.hostname.empty() ? c.id.substr(0, 12)
                                              : c.hostname;
  if (!in_place) TRY_VOID(write_own_file(dir, "hostname", hostname + "\n", c.id_base));
  // Over the host's network names mean what they mean on the host; over another container's, what they mean
  // there.
  std::string hosts = hosts_text(engine, c, hostname);
  if (c.network == "host")
    if (auto text = read_file("/etc/hosts", 1 << 20)) hosts = *text + extra_hosts(engine, c);
  std::string resolver = resolver_text(engine, c);
  if (c.network.starts_with("container:")) {
    std::string other = engine.paths().container(c.network.substr(10));
    if (auto text = read_file(other + "/hosts", 1 << 20)) hosts = *text + extra_hosts(engine, c);
    if (auto text = read_file(other + "/resolv.conf", 65536); text && c.dns.empty()) resolver = *text;
  }
  TRY_VOID(write_own_file(dir, "hosts", hosts, c.id_base));
  return write_own_file(dir, "resolv.conf", resolver, c.id_base);
}

}  // namespace onggi::engine
