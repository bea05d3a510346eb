#include "network/ports.h"

#include <netinet/in.h>

#include "base/file.h"

namespace onggi::network {

namespace {

struct Range {
  uint16_t first = 0, last = 0;
  [[nodiscard]] unsigned size() const { return last - first + 1u; }
};

Result<uint16_t> parse_port(std::string_view text, const std::string& whole) {
  auto n = parse_u64(text, "port");
  if (n && *n <= 65535) return static_cast<uint16_t>(*n);
  return fail(Error::invalid("invalid port specification: \"" + whole + "\""));
}

Result<Range> parse_range(std::string_view text, const std::string& whole, const char* what) {
  size_t dash = text.find('-');
  Range r;
  auto first = parse_port(text.substr(0, dash), whole);
  auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1), whole);
  if (!first || !last || *first > *last)
    return fail(
        Error::invalid(std::string("invalid ") + what + ": " + std::string(text) + " in \"" + whole + "\""));
  r.first = *first;
  r.last = *last;
  return r;
}

Result<std::string> parse_protocol(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (protocol_number(text)) return text;
  return fail(Error::invalid("invalid proto: " + text));
}

// [IP, HOST, CONTAINER], missing ones empty.
Result<std::vector<std::string>> split_parts(const std::string& text) {
  std::vector<std::string> parts;
  std::string rest = text, ip;
  if (rest.starts_with('[')) {
    size_t end = rest.find("]:");
    if (end == std::string::npos) return fail(Error::invalid("invalid IP address in \"" + text + "\""));
    ip = rest.substr(1, end - 1);
    rest = rest.substr(end + 2);
  }
  for (size_t at = 0;;) {
    size_t colon = rest.find(':', at);
    parts.push_back(rest.substr(at, colon == std::string::npos ? colon : colon - at));
    if (colon == std::string::npos) break;
    at = colon + 1;
  }
  if (!ip.empty()) parts.insert(parts.begin(), ip);
  if (!ip.empty() && parts.size() == 2) parts.insert(parts.begin() + 1, "");
  // An IPv6 address without brackets.
  while (parts.size() > 3) {
    parts[0] += ":" + parts[1];
    parts.erase(parts.begin() + 1);
  }
  while (parts.size() < 3) parts.insert(parts.begin(), "");
  return parts;
}

Result<std::vector<PortSpec>> parse_short(const std::string& text) {
  size_t slash = text.rfind('/');
  std::string protocol = TRY(parse_protocol(slash == std::string::npos ? "tcp" : text.substr(slash + 1)));
  auto parts = TRY(split_parts(text.substr(0, slash)));
  if (parts[2].empty()) return fail(Error::invalid("no port specified: " + text + "<empty>"));
  Range inside = TRY(parse_range(parts[2], text, "containerPort"));
  if (inside.first == 0) return fail(Error::invalid("invalid containerPort: 0 in \"" + text + "\""));
  std::optional<IpAddress> host;
  if (!parts[0].empty()) {
    auto address = IpAddress::parse(parts[0]);
    if (!address) return fail(Error::invalid("invalid IP address: " + parts[0]));
    host = *address;
  }
  Range outside;
  if (!parts[1].empty()) outside = TRY(parse_range(parts[1], text, "hostPort"));
  bool chosen = parts[1].empty() || (outside.first == 0 && outside.last == 0);
  if (!chosen && outside.size() != inside.size() && inside.size() != 1)
    return fail(Error::invalid("invalid ranges specified for container and host Ports: " + parts[2] +
                               " and " + parts[1]));
  std::vector<PortSpec> list;
  for (unsigned n = 0; n < inside.size(); n++) {
    PortSpec spec;
    spec.host = host;
    spec.container_port = static_cast<uint16_t>(inside.first + n);
    spec.protocol = protocol;
    if (!chosen) {
      spec.host_port = static_cast<uint16_t>(outside.first + n);
      spec.host_last = inside.size() == 1 && outside.size() > 1 ? outside.last : spec.host_port;
    }
    list.push_back(spec);
  }
  return list;
}

Result<std::vector<PortSpec>> parse_long(const std::string& text) {
  std::string target, published, protocol = "tcp", ip;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    size_t equals = part.find('=');
    std::string key = part.substr(0, equals),
                value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "target")
      target = value;
    else if (key == "published")
      published = value;
    else if (key == "protocol")
      protocol = value;
    else if (key == "host_ip")
      ip = value;
    else if (key != "mode" || (value != "host" && value != "ingress"))
      return fail(Error::invalid("invalid field '" + part + "' in the port \"" + text + "\""));
    at = end + 1;
  }
  if (target.empty()) return fail(Error::invalid("missing mandatory field \"target\""));
  if (ip.find(':') != std::string::npos) ip = "[" + ip + "]";
  return parse_short((ip.empty() ? "" : ip + ":") + (published.empty() && ip.empty() ? "" : published + ":") +
                     target + "/" + protocol);
}

}  // namespace

uint8_t protocol_number(const std::string& name) {
  return name == "tcp" ? IPPROTO_TCP : name == "udp" ? IPPROTO_UDP : name == "sctp" ? IPPROTO_SCTP : 0;
}
std::string protocol_name(uint8_t n) { return n == IPPROTO_UDP ? "udp" : n == IPPROTO_SCTP ? "sctp" : "tcp"; }

Result<std::vector<PortSpec>> parse_publish(const std::string& text) {
  return text.find('=') != std::string::npos ? parse_long(text) : parse_short(text);
}

std::string port_text(const PortSpec& p) {
  std::string host = p.host ? (p.host->is_v6() ? "[" + p.host->text() + "]" : p.host->text()) : "";
  std::string outside = std::to_string(p.host_port);
  if (p.host_last > p.host_port) outside += "-" + std::to_string(p.host_last);
  return host + ":" + outside + ":" + std::to_string(p.container_port) + "/" + p.protocol;
}

Result<std::vector<std::string>> parse_expose(const std::string& text) {
  size_t slash = text.find('/');
  std::string protocol = TRY(parse_protocol(slash == std::string::npos ? "tcp" : text.substr(slash + 1)));
  Range range = TRY(parse_range(text.substr(0, slash), text, "range format for --expose"));
  std::vector<std::string> list;
  for (unsigned port = range.first; port <= range.last; port++)
    list.push_back(std::to_string(port) + "/" + protocol);
  return list;
}

}  // namespace onggi::network
