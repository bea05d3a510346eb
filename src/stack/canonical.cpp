#include "stack/canonical.h"

#include <arpa/inet.h>

#include <algorithm>
#include <functional>

#include "base/file.h"
#include "stack/schema.h"

namespace onggi::stack {

namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0;;) {
    size_t end = text.find(separator, at);
    parts.emplace_back(text.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) return parts;
    at = end + 1;
  }
}

bool skipped(const Node& n) { return n.tag == Node::Tag::kReset || n.is_null(); }

// What replaces a value keeps its key and tag.
void replace(Node& old, Node value) {
  value.key = std::move(old.key);
  value.key_mark = old.key_mark;
  value.tag = old.tag;
  old = std::move(value);
}

void listed(Node* n) {
  if (!n || skipped(*n) || !n->is_scalar()) return;
  Node list = Node::list(n->mark);
  list.items.push_back(Node::string(n->text, n->mark));
  replace(*n, std::move(list));
}

// ["A=b", "C"] -> {A: b, C: (null or "")}.
void mapped(Node* n, bool bare_is_null) {
  if (!n || skipped(*n) || !n->is_list()) return;
  Node map = Node::map(n->mark);
  for (const auto& item : n->items) {
    size_t equals = item.text.find('=');
    std::string key = item.text.substr(0, equals);
    Node value = equals == std::string::npos ? (bare_is_null ? Node{} : Node::string(""))
                                             : Node::string(item.text.substr(equals + 1));
    value.mark = value.key_mark = item.mark;
    map.set(key, std::move(value));
  }
  replace(*n, std::move(map));
}
// Labels and the like: a value that is not there is empty.
void labels(Node* n) {
  mapped(n, false);
  if (n && n->is_map())
    for (auto& item : n->items)
      if (item.is_null() && item.tag == Node::Tag::kNone) item.kind = Node::Kind::kString;
}

// [a, b] -> {a: null, b: null}
void keyed(Node* n, const std::function<Node(const Mark&)>& value) {
  if (!n || skipped(*n) || !n->is_list()) return;
  Node map = Node::map(n->mark);
  for (const auto& item : n->items) {
    Node v = value(item.mark);
    v.mark = v.key_mark = item.mark;
    map.set(item.text, std::move(v));
  }
  replace(*n, std::move(map));
}

Result<> words(Node* n) {
  if (!n || skipped(*n) || !n->is_scalar()) return {};
  auto parts = shell_words(n->text);
  if (!parts) return fail(error_at(n->mark, parts.error().text()));
  Node list = Node::list(n->mark);
  for (auto& part : *parts) list.items.push_back(Node::string(std::move(part), n->mark));
  replace(*n, std::move(list));
  return {};
}

void size(Node* n) {
  if (!n || skipped(*n)) return;
  n->text = std::to_string(size_of(n->text).value_or(0));
  n->kind = Node::Kind::kString;
}
void duration(Node* n) {
  if (n && !skipped(*n)) n->text = duration_text(duration_of(n->text).value_or(0));
}
void sizes_of(Node* owner, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (owner) size(owner->find(name));
}
void durations_of(Node* owner, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (owner) duration(owner->find(name));
}

// --- ports ---

struct PortRange {
  int64_t first = 0, last = 0;
};
Result<PortRange> port_range(std::string_view text, const Mark& mark) {
  size_t dash = text.find('-');
  auto first = parse_u64(text.substr(0, dash), "port");
  auto last = dash == std::string_view::npos ? first : parse_u64(text.substr(dash + 1), "port");
  if (!first || !last || *first > 65535 || *last > 65535 || *last < *first)
    return fail(error_at(mark, "'" + std::string(text) + "' is no port or range of ports (1 to 65535)"));
  return PortRange{static_cast<int64_t>(*first), static_cast<int64_t>(*last)};
}

// "[[IP:]HOST:]CONTAINER[/PROTOCOL]"
Result<> short_port(const Node& n, std::vector<Node>& out) {
  std::string_view text = n.text;
  std::string protocol = "tcp", address;
  if (size_t slash = text.rfind('/'); slash != std::string_view::npos) {
    protocol = text.substr(slash + 1);
    text = text.substr(0, slash);
  }
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp")
    return fail(error_at(n.mark, "the protocol '" + protocol + "' is not one of: tcp udp sctp"));
  std::string_view container = text, host;
  if (size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    container = text.substr(colon + 1);
    std::string_view left = text.substr(0, colon);
    size_t before = left.rfind(':');
    host = before == std::string_view::npos ? left : left.substr(before + 1);
    if (before != std::string_view::npos) address = left.substr(0, before);
  }
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  unsigned char parsed[16];
  if (!address.empty() && ::inet_pton(AF_INET, address.c_str(), parsed) != 1 &&
      ::inet_pton(AF_INET6, address.c_str(), parsed) != 1)
    return fail(error_at(n.mark, "'" + address + "' is no address ([[ADDRESS:]HOST:]CONTAINER[/PROTOCOL])"));
  PortRange inside = TRY(port_range(container, n.mark));
  PortRange outside;
  if (!host.empty()) outside = TRY(port_range(host, n.mark));
  int64_t count = inside.last - inside.first + 1, given = outside.last - outside.first + 1;
  if (!host.empty() && count != given && count != 1)
    return fail(error_at(n.mark, "the ranges '" + std::string(host) + "' and '" + std::string(container) +
                                     "' differ in length"));
  for (int64_t i = 0; i < count; i++) {
    Node port = Node::map(n.mark);
    port.set("mode", Node::string("ingress", n.mark));
    if (!address.empty()) port.set("host_ip", Node::string(address, n.mark));
    port.set("target", Node::integer(inside.first + i, n.mark));
    if (!host.empty()) {
      std::string published = count == given ? std::to_string(outside.first + i) : std::string(host);
      port.set("published", Node::string(published, n.mark));
    }
    port.set("protocol", Node::string(protocol, n.mark));
    out.push_back(std::move(port));
  }
  return {};
}

Result<> ports(Node* n) {
  if (!n || skipped(*n)) return {};
  std::vector<Node> all;
  for (auto& item : n->items) {
    if (item.is_scalar()) {
      TRY_VOID(short_port(item, all));
      continue;
    }
    const Node* target = item.get("target");
    if (!target) return fail(error_at(item.mark, "the port has no target"));
    TRY(port_range(target->text, target->mark));
    if (const Node* published = item.get("published")) TRY(port_range(published->text, published->mark));
    if (!item.get("mode")) item.set("mode", Node::string("ingress", item.mark));
    if (!item.get("protocol")) item.set("protocol", Node::string("tcp", item.mark));
    all.push_back(std::move(item));
  }
  n->items = std::move(all);
  return {};
}

// --- mounts ---

bool is_path(std::string_view s) { return !s.empty() && (s[0] == '/' || s[0] == '.' || s[0] == '~'); }

Result<Node> short_mount(const Node& n) {
  auto parts = split(n.text, ':');
  if (n.text.empty() || parts.size() > 3)
    return fail(error_at(n.mark, "'" + n.text + "' is no volume ([SOURCE:]TARGET[:MODE])"));
  std::string source = parts.size() > 1 ? parts[0] : "", target = parts.size() > 1 ? parts[1] : parts[0];
  if (target.empty() || (parts.size() > 1 && source.empty()))
    return fail(error_at(n.mark, "'" + n.text + "' is no volume ([SOURCE:]TARGET[:MODE])"));
  Node m = Node::map(n.mark);
  bool bind = is_path(source);
  m.set("type", Node::string(bind ? "bind" : "volume", n.mark));
  if (!source.empty()) m.set("source", Node::string(source, n.mark));
  m.set("target", Node::string(clean_path(target), n.mark));
  Node details = Node::map(n.mark);
  if (parts.size() == 3)
    for (const auto& option : split(parts[2], ',')) {
      bool known = option == "rw" || option == "consistent" || option == "cached" || option == "delegated";
      if (option == "ro")
        m.set("read_only", Node::boolean(true, n.mark));
      else if (option == "nocopy" && !bind)
        details.set("nocopy", Node::boolean(true, n.mark));
      else if (option == "z" || option == "Z")
        details.set("selinux", Node::string(option, n.mark));
      else if (option == "squash" || option == "idmap" || option == "noidmap")
        m.set("x-onggi-ids", Node::string(option, n.mark));
      else if (option.ends_with("private") || option.ends_with("slave") || option.ends_with("shared"))
        details.set("propagation", Node::string(option, n.mark));
      else if (!known)
        return fail(error_at(
            n.mark, "'" + option + "' is no mode of a volume (ro, rw, z, Z, nocopy, rslave, rprivate)"));
    }
  if (bind)
    details.set("create_host_path", Node::boolean(true, n.mark));
  else
    details.erase("selinux");
  m.set(bind ? "bind" : "volume", std::move(details));
  return m;
}

Result<> mounts(Node* n) {
  if (!n || skipped(*n)) return {};
  for (auto& item : n->items) {
    if (item.is_scalar()) {
      item = TRY(short_mount(item));
      continue;
    }
    std::string type = item.text_of("type");
    Node* target = item.find("target");
    if (!target) return fail(error_at(item.mark, "the volume has no target"));
    target->text = clean_path(target->text);
    if (type == "bind" && !item.get("source")) return fail(error_at(item.mark, "a bind mount has a source"));
    if (type == "bind" && !item.get("bind")) item.set("bind", Node::map(item.mark));
    if (type == "volume" && !item.get("volume")) item.set("volume", Node::map(item.mark));
    if (Node* tmpfs = item.find("tmpfs")) sizes_of(tmpfs, {"size"});
    if (Node* volume = item.find("volume")) labels(volume->find("labels"));
  }
  return {};
}

// --- the rest of a service ---

void grants(Node* n, const char* directory, bool default_target) {
  if (!n || skipped(*n)) return;
  for (auto& item : n->items) {
    if (item.is_scalar()) {
      Node long_form = Node::map(item.mark);
      long_form.set("source", Node::string(item.text, item.mark));
      item = std::move(long_form);
    }
    const Node* target = item.get("target");
    if (!target && default_target)
      item.set("target", Node::string(std::string(directory) + item.text_of("source"), item.mark));
    else if (target && default_target && target->text[0] != '/')
      item.set("target", Node::string(std::string(directory) + target->text, target->mark));
  }
}

Result<> devices(Node* n) {
  if (!n || skipped(*n)) return {};
  for (auto& item : n->items) {
    std::string source, target, access = "rwm";
    if (item.is_scalar()) {
      auto parts = split(item.text, ':');
      if (parts.size() > 3 || parts[0].empty())
        return fail(error_at(item.mark, "'" + item.text + "' is no device (HOST[:CONTAINER[:rwm]])"));
      source = target = parts[0];
      bool letters =
          parts.size() == 2 && !parts[1].empty() && parts[1].find_first_not_of("rwm") == std::string::npos;
      if (letters)
        access = parts[1];
      else if (parts.size() > 1)
        target = parts[1];
      if (parts.size() == 3) access = parts[2];
    } else {
      source = item.text_of("source");
      target = item.text_of("target", source);
      access = item.text_of("permissions", "rwm");
    }
    Node d = Node::map(item.mark);
    d.set("source", Node::string(source, item.mark));
    d.set("target", Node::string(target, item.mark));
    d.set("permissions", Node::string(access, item.mark));
    item = std::move(d);
  }
  return {};
}

// "HOST:IP", "HOST=IP" or a mapping -> ["HOST=IP"]
Result<> hosts(Node* n) {
  if (!n || skipped(*n)) return {};
  Node list = Node::list(n->mark);
  for (const auto& item : n->items) {
    if (n->is_list()) {
      size_t at = item.text.find('=');
      if (at == std::string::npos) at = item.text.find(':');
      if (at == std::string::npos || at == 0)
        return fail(error_at(item.mark, "'" + item.text + "' is no extra host (HOST=ADDRESS)"));
      list.items.push_back(Node::string(item.text.substr(0, at) + "=" + item.text.substr(at + 1), item.mark));
    } else if (item.is_list()) {
      for (const auto& address : item.items)
        list.items.push_back(Node::string(item.key + "=" + address.text, address.mark));
    } else {
      list.items.push_back(Node::string(item.key + "=" + item.text, item.mark));
    }
  }
  for (auto& item : list.items)  // IPv6 may stand in brackets
    if (size_t at = item.text.find("=["); at != std::string::npos && item.text.back() == ']')
      item.text = item.text.substr(0, at + 1) + item.text.substr(at + 2, item.text.size() - at - 3);
  replace(*n, std::move(list));
  return {};
}

void env_files(Node* n) {
  if (!n || skipped(*n)) return;
  listed(n);
  for (auto& item : n->items) {
    if (item.is_scalar()) {
      Node entry = Node::map(item.mark);
      entry.set("path", Node::string(item.text, item.mark));
      item = std::move(entry);
    }
    if (!item.get("required")) item.set("required", Node::boolean(true, item.mark));
  }
}

Result<> health(Node* n) {
  if (!n || skipped(*n)) return {};
  durations_of(n, {"interval", "timeout", "start_period", "start_interval"});
  Node* test = n->find("test");
  if (!test || skipped(*test)) return {};
  if (test->is_scalar()) {
    Node list = Node::list(test->mark);
    if (test->text == "NONE")
      list.items = {Node::string("NONE", test->mark)};
    else
      list.items = {Node::string("CMD-SHELL", test->mark), Node::string(test->text, test->mark)};
    replace(*test, std::move(list));
  }
  if (test->items.empty()) return {};
  const std::string& kind = test->items[0].text;
  for (const char* known : {"NONE", "CMD", "CMD-SHELL", "HTTP", "TCP", "UNIX"})
    if (kind == known) return {};
  return fail(error_at(
      test->mark,
      "healthcheck.test begins with NONE, CMD or CMD-SHELL (or Onggi's HTTP, TCP, UNIX), not with '" + kind +
          "'"));
}

void deploy(Node* n) {
  if (!n || skipped(*n)) return;
  labels(n->find("labels"));
  for (const char* name : {"update_config", "rollback_config"})
    durations_of(n->find(name), {"delay", "monitor"});
  durations_of(n->find("restart_policy"), {"delay", "window"});
  if (Node* resources = n->find("resources"); resources && resources->is_map())
    for (const char* name : {"limits", "reservations"}) sizes_of(resources->find(name), {"memory"});
}

Result<> hooks(Node* n) {
  if (!n || skipped(*n)) return {};
  for (auto& hook : n->items) {
    TRY_VOID(words(hook.find("command")));
    mapped(hook.find("environment"), true);
  }
  return {};
}

Result<> build(Node* n) {
  if (!n || skipped(*n)) return {};
  if (n->is_scalar()) {
    Node map = Node::map(n->mark);
    map.set("context", Node::string(n->text, n->mark));
    replace(*n, std::move(map));
  }
  mapped(n->find("args"), true);
  labels(n->find("labels"));
  mapped(n->find("additional_contexts"), false);
  mapped(n->find("ssh"), false);
  grants(n->find("secrets"), "", false);
  sizes_of(n, {"shm_size"});
  if (!n->get("context")) n->set("context", Node::string(".", n->mark));
  if (!n->get("dockerfile") && !n->get("dockerfile_inline"))
    n->set("dockerfile", Node::string("Dockerfile", n->mark));
  return hosts(n->find("extra_hosts"));
}

void watches(Node* develop) {
  Node* list = develop && develop->is_map() ? develop->find("watch") : nullptr;
  if (!list || skipped(*list)) return;
  for (auto& w : list->items)
    for (const char* name : {"ignore", "include"}) listed(w.find(name));
}

Result<> service(Node& s) {
  if (skipped(s)) return {};
  Mark mark = s.mark;
  if (Node* extends = s.find("extends"); extends && extends->is_scalar() && !skipped(*extends)) {
    Node map = Node::map(extends->mark);
    map.set("service", Node::string(extends->text, extends->mark));
    replace(*extends, std::move(map));
  }
  TRY_VOID(build(s.find("build")));
  for (const char* name : {"command", "entrypoint"}) TRY_VOID(words(s.find(name)));
  mapped(s.find("environment"), true);
  for (const char* name : {"annotations", "labels", "sysctls"}) labels(s.find(name));
  for (const char* name : {"dns", "dns_search", "tmpfs", "label_file"}) listed(s.find(name));
  keyed(s.find("depends_on"), [](const Mark& at) {
    Node d = Node::map(at);
    d.set("condition", Node::string("service_started", at));
    d.set("required", Node::boolean(true, at));
    return d;
  });
  if (Node* depends = s.find("depends_on"); depends && depends->is_map())
    for (auto& d : depends->items)
      if (d.is_map() && !d.get("required")) d.set("required", Node::boolean(true, d.mark));
  keyed(s.find("networks"), [](const Mark&) { return Node{}; });
  keyed(s.find("models"), [](const Mark&) { return Node{}; });
  env_files(s.find("env_file"));
  TRY_VOID(hosts(s.find("extra_hosts")));
  TRY_VOID(ports(s.find("ports")));
  TRY_VOID(mounts(s.find("volumes")));
  grants(s.find("secrets"), "/run/secrets/", true);
  grants(s.find("configs"), "/", false);
  TRY_VOID(devices(s.find("devices")));
  TRY_VOID(health(s.find("healthcheck")));
  deploy(s.find("deploy"));
  watches(s.find("develop"));
  for (const char* name : {"post_start", "pre_stop"}) TRY_VOID(hooks(s.find(name)));
  sizes_of(&s, {"mem_limit", "mem_reservation", "memswap_limit", "shm_size"});
  durations_of(&s, {"stop_grace_period"});
  if (Node* blkio = s.find("blkio_config"); blkio && blkio->is_map())
    for (auto& list : blkio->items)
      if (list.is_list())
        for (auto& device : list.items) sizes_of(&device, {"rate"});
  if (Node* policy = s.find("pull_policy"); policy && policy->text == "if_not_present")
    policy->text = "missing";
  if (Node* gpus = s.find("gpus"); gpus && gpus->is_scalar() && !skipped(*gpus)) {
    Node list = Node::list(gpus->mark), all = Node::map(gpus->mark);
    all.set("count", Node::integer(-1, gpus->mark));
    list.items.push_back(std::move(all));
    replace(*gpus, std::move(list));
  }
  s.mark = mark;
  return {};
}

// external: {name: x} -> external: true, name: x
Result<> resource(Node& r) {
  if (skipped(r)) return {};
  labels(r.find("labels"));
  if (Node* external = r.find("external"); external && external->is_map()) {
    std::string name = external->text_of("name");
    if (r.get("name") && !name.empty() && r.text_of("name") != name)
      return fail(
          error_at(external->mark, "the name is given twice: by 'name' and by 'external.name' (deprecated)"));
    if (!name.empty()) r.set("name", Node::string(name, external->mark));
    replace(*external, Node::boolean(true, external->mark));
  }
  return {};
}

}  // namespace

Result<> canonicalize(Node& file) {
  if (Node* services = file.find("services"); services && services->is_map())
    for (auto& s : services->items) TRY_VOID(service(s));
  for (const char* section : {"networks", "volumes", "secrets", "configs"})
    if (Node* list = file.find(section); list && list->is_map())
      for (auto& r : list->items) TRY_VOID(resource(r));
  if (Node* includes = file.find("include"); includes && includes->is_list())
    for (auto& i : includes->items) {
      if (i.is_scalar()) {
        Node map = Node::map(i.mark);
        map.set("path", Node::string(i.text, i.mark));
        i = std::move(map);
      }
      listed(i.find("path"));
      listed(i.find("env_file"));
    }
  return {};
}

// --- paths ---

std::string clean_path(std::string_view path) {
  std::vector<std::string> kept;
  bool absolute = path.starts_with('/');
  for (auto& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." && !kept.empty() && kept.back() != "..")
      kept.pop_back();
    else if (part != ".." || !absolute)
      kept.push_back(std::move(part));
  }
  std::string out = absolute ? "/" : "";
  for (size_t i = 0; i < kept.size(); i++) out += (i ? "/" : "") + kept[i];
  return out.empty() ? "." : out;
}

namespace {

void resolve(Node* n, const std::string& directory, const std::string& home) {
  if (!n || !n->is_scalar() || skipped(*n) || n->text.empty()) return;
  if (n->text == "~" || n->text.starts_with("~/")) n->text = home + n->text.substr(1);
  if (n->text[0] != '/') n->text = directory + "/" + n->text;
  n->text = clean_path(n->text);
}

void resolve_list(Node* n, const std::string& directory, const std::string& home, const char* member) {
  if (!n || !n->is_list()) return;
  for (auto& item : n->items) resolve(member ? item.find(member) : &item, directory, home);
}

bool is_remote(std::string_view context) {
  return context.find("://") != std::string_view::npos || context.starts_with("git@") ||
         context.starts_with("github.com/");
}

}  // namespace

void resolve_paths(Node& file, const std::string& directory, const std::string& home) {
  if (Node* services = file.find("services"); services && services->is_map())
    for (auto& s : services->items) {
      if (Node* b = s.find("build"))
        if (Node* context = b->find("context"); context && !is_remote(context->text))
          resolve(context, directory, home);
      resolve_list(s.find("env_file"), directory, home, "path");
      resolve_list(s.find("label_file"), directory, home, nullptr);
      if (Node* extends = s.find("extends")) resolve(extends->find("file"), directory, home);
      if (Node* volumes = s.find("volumes"); volumes && volumes->is_list())
        for (auto& m : volumes->items)
          if (m.text_of("type") == "bind") resolve(m.find("source"), directory, home);
      if (Node* develop = s.find("develop")) resolve_list(develop->find("watch"), directory, home, "path");
      if (Node* credential = s.find("credential_spec")) resolve(credential->find("file"), directory, home);
    }
  for (const char* section : {"secrets", "configs"})
    if (Node* list = file.find(section); list && list->is_map())
      for (auto& r : list->items) resolve(r.find("file"), directory, home);
  if (Node* volumes = file.find("volumes"); volumes && volumes->is_map())
    for (auto& v : volumes->items)
      if (Node* options = v.find("driver_opts");
          options && options->text_of("o").find("bind") != std::string::npos)
        resolve(options->find("device"), directory, home);
}

Result<std::vector<std::string>> shell_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (quote) {
      if (c == quote)
        quote = 0;
      else if (c == '\\' && quote == '"' && i + 1 < text.size() &&
               std::string_view("\"\\$`\n").find(text[i + 1]) != std::string_view::npos)
        word += text[++i];
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == '\\') {
      if (++i == text.size()) return fail(Error::invalid("the command ends with a backslash"));
      word += text[i];
      in_word = true;
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote) return fail(Error::invalid("a quote in the command is not closed: " + std::string(text)));
  if (in_word) words.push_back(std::move(word));
  return words;
}

}  // namespace onggi::stack
