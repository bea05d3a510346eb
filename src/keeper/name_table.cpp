#include "keeper/name_table.h"

#include <algorithm>

#include "base/file.h"

namespace onggi::keeper {

namespace {

void erase_one(std::vector<std::string>& list, const std::string& item) {
  if (auto at = std::find(list.begin(), list.end(), item); at != list.end()) list.erase(at);
}

// "5.0.208.10.in-addr.arpa" -> 10.208.0.5
std::optional<IpAddress> address_of_reverse(const std::string& name) {
  constexpr std::string_view kFour = ".in-addr.arpa", kSix = ".ip6.arpa";
  std::string bytes;
  if (name.ends_with(kFour)) {
    std::string rest = name.substr(0, name.size() - kFour.size());
    std::string text;
    for (size_t end = rest.size(); end != std::string::npos && end > 0;) {
      size_t dot = rest.rfind('.', end - 1);
      text += (text.empty() ? "" : ".") + rest.substr(dot == std::string::npos ? 0 : dot + 1,
                                                      end - (dot == std::string::npos ? 0 : dot + 1));
      end = dot;
    }
    auto a = IpAddress::parse(text);
    return a && a->is_v4() ? std::optional(*a) : std::nullopt;
  }
  if (!name.ends_with(kSix)) return std::nullopt;
  constexpr size_t kDigits = 32;
  if (name.size() != 2 * kDigits - 1 + kSix.size()) return std::nullopt;
  for (size_t n = 0; n < kDigits; n += 2) {
    auto digit = [&](size_t at) {
      char c = name[2 * (kDigits - 1 - at)];
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    int high = digit(n), low = digit(n + 1);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high << 4 | low);
  }
  return IpAddress::from_bytes(bytes);
}

}  // namespace

uint16_t service_port(const std::string& name, const std::string& protocol) {
  if (auto n = parse_u64(name, "port"); n && *n <= 65535) return static_cast<uint16_t>(*n);
  static const std::string kServices = read_file("/etc/services", 1 << 20).value_or("");
  // "http  80/tcp  www  # ..."
  for (size_t at = 0; at < kServices.size();) {
    size_t end = std::min(kServices.find('\n', at), kServices.size());
    std::string_view line(kServices.data() + at, end - at);
    at = end + 1;
    if (!line.starts_with(name)) continue;
    line.remove_prefix(name.size());
    size_t begin = line.find_first_not_of(" \t"), slash = line.find('/');
    if (begin == 0 || begin == std::string_view::npos || slash == std::string_view::npos) continue;
    auto port = parse_u64(line.substr(begin, slash - begin), "port");
    std::string_view kind = line.substr(slash + 1);
    if (port && *port <= 65535 && kind.substr(0, kind.find_first_of(" \t#")) == protocol)
      return static_cast<uint16_t>(*port);
  }
  return 0;
}

void NameTable::set_network(NamedNetwork network) {
  Members& m = networks_[network.id];
  m.network = std::move(network);
}

void NameTable::remove_network(const std::string& id) {
  auto at = networks_.find(id);
  if (at == networks_.end()) return;
  std::vector<std::string> all;
  for (const auto& [container, endpoint] : at->second.endpoints) all.push_back(container);
  for (const auto& container : all) remove_endpoint(id, container);
  networks_.erase(id);
}

void NameTable::forget(Members& m, const std::string& container) {
  auto at = m.endpoints.find(container);
  if (at == m.endpoints.end()) return;
  for (const auto& name : at->second.names) {
    auto& list = m.by_name[name];
    erase_one(list, container);
    if (list.empty()) m.by_name.erase(name);
  }
  for (const IpAddress* a : {&at->second.ipv4, &at->second.ipv6})
    if (auto owner = m.by_address.find(std::string(a->bytes()));
        owner != m.by_address.end() && owner->second == container)
      m.by_address.erase(owner);
  m.endpoints.erase(at);
}

void NameTable::set_endpoint(const std::string& network, NamedEndpoint e) {
  auto at = networks_.find(network);
  if (at == networks_.end()) return;
  Members& m = at->second;
  forget(m, e.container);
  std::sort(e.names.begin(), e.names.end());
  e.names.erase(std::unique(e.names.begin(), e.names.end()), e.names.end());
  for (const auto& name : e.names) m.by_name[name].push_back(e.container);
  for (const IpAddress* a : {&e.ipv4, &e.ipv6})
    if (!a->empty()) m.by_address[std::string(a->bytes())] = e.container;
  auto& on = on_[e.container];
  if (std::find(on.begin(), on.end(), network) == on.end()) on.push_back(network);
  m.endpoints[e.container] = std::move(e);
}

void NameTable::remove_endpoint(const std::string& network, const std::string& container) {
  if (auto at = networks_.find(network); at != networks_.end()) forget(at->second, container);
  auto on = on_.find(container);
  if (on == on_.end()) return;
  erase_one(on->second, network);
  if (on->second.empty()) on_.erase(on);
}

const NamedEndpoint* NameTable::client(const std::string& network, const IpAddress& address) const {
  auto at = networks_.find(network);
  if (at == networks_.end()) return nullptr;
  auto owner = at->second.by_address.find(std::string(address.bytes()));
  if (owner == at->second.by_address.end()) return nullptr;
  auto endpoint = at->second.endpoints.find(owner->second);
  return endpoint == at->second.endpoints.end() ? nullptr : &endpoint->second;
}

std::vector<const NameTable::Members*> NameTable::networks_of(const std::string& container) const {
  std::vector<const Members*> list;
  if (auto on = on_.find(container); on != on_.end())
    for (const auto& id : on->second)
      if (auto at = networks_.find(id); at != networks_.end()) list.push_back(&at->second);
  return list;
}

void NameTable::find(const Members& m, const std::string& name,
                     std::vector<const NamedEndpoint*>& out) const {
  auto list = m.by_name.find(name);
  if (list == m.by_name.end()) return;
  for (const auto& container : list->second)
    if (auto e = m.endpoints.find(container); e != m.endpoints.end()) out.push_back(&e->second);
}

// NAME, and NAME.NETWORK.
std::vector<const NamedEndpoint*> NameTable::named(const std::string& container,
                                                   const std::string& name) const {
  std::vector<const NamedEndpoint*> found;
  for (const Members* m : networks_of(container)) {
    find(*m, name, found);
    std::string suffix = "." + m->network.name;
    if (name.size() > suffix.size() && name.ends_with(suffix))
      find(*m, name.substr(0, name.size() - suffix.size()), found);
  }
  return found;
}

void NameTable::rotate(std::vector<IpAddress>& list) {
  if (list.size() > 1)
    std::rotate(list.begin(), list.begin() + static_cast<long>(turn_++ % list.size()), list.end());
}

Answer NameTable::ask_address(const std::string& container, const std::string& name) const {
  Answer answer;
  auto address = address_of_reverse(name);
  if (!address) return answer;
  for (const Members* m : networks_of(container)) {
    auto owner = m->by_address.find(std::string(address->bytes()));
    if (owner != m->by_address.end()) {
      // The container's own name is the one that its record has first; aliases may be others', too.
      auto e = m->endpoints.find(owner->second);
      if (e == m->endpoints.end()) continue;
      answer.kind = Answer::Kind::kNames;
      for (const auto& n : e->second.names)
        if (n != e->second.container.substr(0, 12)) answer.names.push_back(n + "." + m->network.name);
    }
    for (const auto& subnet : m->network.subnets)
      if (answer.kind == Answer::Kind::kForward && subnet.contains(*address))
        answer.kind = Answer::Kind::kNone;
  }
  return answer;
}

// _SERVICE._PROTOCOL.NAME: the replicas of NAME that expose the port (a port's number is a service, too).
Answer NameTable::ask_service(const std::string& container, const std::string& name) const {
  Answer answer;
  size_t first = name.find('.'), second = first == std::string::npos ? first : name.find('.', first + 1);
  if (second == std::string::npos || name[0] != '_' || name[first + 1] != '_') return answer;
  std::string service = name.substr(1, first - 1), protocol = name.substr(first + 2, second - first - 2);
  auto found = named(container, name.substr(second + 1));
  if (found.empty()) return answer;
  uint16_t port = service_port(service, protocol);
  answer.kind = Answer::Kind::kNoData;
  for (const auto* e : found) {
    bool exposed =
        std::find(e->ports.begin(), e->ports.end(), std::to_string(port) + "/" + protocol) != e->ports.end();
    if (!port || !exposed || e->drained) continue;
    answer.kind = Answer::Kind::kServices;
    answer.services.push_back({e->container.substr(0, 12), port});
  }
  return answer;
}

Answer NameTable::ask(const std::string& container, const std::string& name, Wanted wanted) {
  if (name.ends_with(".arpa")) {
    Answer answer = ask_address(container, name);
    if (answer.kind == Answer::Kind::kNames && wanted != Wanted::kPtr && wanted != Wanted::kAny)
      answer.kind = Answer::Kind::kNoData;
    return answer;
  }
  if (name.starts_with("_")) {
    Answer answer = ask_service(container, name);
    if (answer.kind == Answer::Kind::kServices && wanted != Wanted::kSrv && wanted != Wanted::kAny)
      answer.kind = Answer::Kind::kNoData;
    return answer;
  }
  Answer answer;
  auto found = named(container, name);
  if (found.empty()) return answer;
  answer.kind = Answer::Kind::kNoData;
  for (const auto* e : found) {
    if (e->drained) continue;
    for (const IpAddress* a : {&e->ipv4, &e->ipv6}) {
      if (a->is_v6() && !a->empty() && wanted != Wanted::kA && hides_v6_ && hides_v6_(e->container)) continue;
      bool fits = wanted == Wanted::kAny || (wanted == Wanted::kA && a->is_v4()) ||
                  (wanted == Wanted::kAaaa && a->is_v6());
      if (!a->empty() && fits &&
          std::find(answer.addresses.begin(), answer.addresses.end(), *a) == answer.addresses.end())
        answer.addresses.push_back(*a);
    }
  }
  if (!answer.addresses.empty()) answer.kind = Answer::Kind::kAddresses;
  rotate(answer.addresses);
  return answer;
}

bool NameTable::may_forward(const std::string& container) const {
  for (const Members* m : networks_of(container))
    if (!m->network.internal) return true;
  return false;
}

std::vector<IpAddress> NameTable::resolvers_of(const std::string& container) const {
  for (const Members* m : networks_of(container))
    if (auto e = m->endpoints.find(container); e != m->endpoints.end()) return e->second.resolvers;
  return {};
}

const NamedNetwork* NameTable::network(const std::string& id) const {
  auto at = networks_.find(id);
  return at == networks_.end() ? nullptr : &at->second.network;
}

size_t NameTable::size() const {
  size_t n = 0;
  for (const auto& [id, m] : networks_) n += m.endpoints.size();
  return n;
}

}  // namespace onggi::keeper
