#include "keeper/name_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "engine/container_store.h"
#include "engine/network_live.h"
#include "network/links.h"
#include "sys/namespace.h"

namespace onggi::keeper {

namespace {

constexpr size_t kMostConnections = 128, kMostOfSource = 16;
constexpr int64_t kIdleMs = 10'000;
constexpr uint16_t kDns = 53;
constexpr int kMostAtOnce = 64;  // datagrams before others have their turn

sockaddr_in listen_address(const IpAddress& a) {
  sockaddr_in out = {};
  out.sin_family = AF_INET;
  out.sin_port = htons(kDns);
  memcpy(&out.sin_addr, a.bytes().data(), 4);
  return out;
}

IpAddress address_of(const sockaddr_in& a) {
  return IpAddress::from_bytes({reinterpret_cast<const char*>(&a.sin_addr), 4});
}

Result<UniqueFd> bound_socket(int type, const IpAddress& at) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int on = 1;
  sockaddr_in address = listen_address(at);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return fail(Error::os("listen for questions", at.text()));
  return fd;
}

}  // namespace

struct NameServer::Connection {
  uint64_t key = 0;
  UniqueFd fd;
  IpAddress from;
  std::string in, out;
  int64_t last = 0;
  size_t waiting = 0;  // questions without an answer yet
};

NameServer::NameServer(Loop& loop, NameTable& table, Forwarder& forwarder)
    : loop_(loop), table_(table), forwarder_(forwarder) {}

Result<> NameServer::listen(const std::string& text) {
  IpAddress at = TRY(IpAddress::parse(text));
  datagrams_ = TRY(bound_socket(SOCK_DGRAM, at));
  streams_ = TRY(bound_socket(SOCK_STREAM, at));
  // One client's burst should not be what another's question is dropped for.
  constexpr int kBurst = 1 << 20;  // bytes
  (void)::setsockopt(datagrams_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kBurst, sizeof kBurst);
  if (::listen(streams_.get(), 64) < 0) return fail(Error::os("listen for questions", text));
  return {};
}

Result<> NameServer::watch() {
  TRY_VOID(loop_.add(datagrams_.get(), EPOLLIN, [this](uint32_t) { read_datagrams(); }));
  return loop_.add(streams_.get(), EPOLLIN, [this](uint32_t) { accept_connections(); });
}

Result<std::unique_ptr<NameServer>> NameServer::on_network(Loop& loop, NameTable& table, Forwarder& forwarder,
                                                           const NamedNetwork& network,
                                                           const std::string& bridge) {
  std::unique_ptr<NameServer> server(new NameServer(loop, table, forwarder));
  server->network_ = network.id;
  NsFd netns = TRY(sys::make_network_namespace());
  network::LinkPlan plan;
  plan.host_link = "ogn" + network.id.substr(0, 6) + engine::random_id().substr(0, 6);
  plan.master = bridge;
  plan.interface = "eth0";
  plan.mac = network::mac_from("names of " + network.id);
  IpAddress own = TRY(IpAddress::parse(engine::kResolverAddress));
  constexpr unsigned kOne = 32;
  plan.addresses = {{own, kOne}};
  auto host = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(network::attach_links(host, netns.get(), {plan}, true));
  auto visit = TRY(sys::NetworkVisit::enter_fd(netns.get(), "the name service's"));
  auto inside = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  sys::NetlinkBatch routes;
  for (const auto& subnet : network.subnets)
    if (subnet.is_v4()) sys::add_route(routes, sys::link_index("eth0"), subnet, {}, own);
  TRY_VOID(inside.run(routes));
  TRY_VOID(server->listen(engine::kResolverAddress));
  TRY_VOID(server->watch());
  return server;
}

Result<std::unique_ptr<NameServer>> NameServer::in_container(Loop& loop, NameTable& table,
                                                             Forwarder& forwarder,
                                                             const std::string& container, int pid) {
  std::unique_ptr<NameServer> server(new NameServer(loop, table, forwarder));
  server->container_ = container;
  auto visit = TRY(sys::NetworkVisit::enter(pid));
  TRY_VOID(server->listen(engine::kLocalResolverAddress));
  TRY_VOID(server->watch());
  return server;
}

NameServer::~NameServer() {
  *alive_ = false;
  for (const auto& [key, c] : connections_) loop_.remove(c->fd.get());
  for (const UniqueFd* fd : {&datagrams_, &streams_})
    if (*fd) loop_.remove(fd->get());
}

void NameServer::answer(std::string_view packet, const IpAddress& from, bool stream,
                        std::function<void(std::string)> reply) {
  Reply code = Reply::kOk;
  auto question = parse_question(packet, code);
  if (!question) return;
  size_t limit = stream ? kMaxMessage : std::min(question->udp_size, kMaxUdp);
  if (code != Reply::kOk) return reply(build_reply(*question, {}, code, limit));
  if (refresh_) refresh_();
  const NamedEndpoint* client = container_.empty() ? table_.client(network_, from) : nullptr;
  std::string container = client ? client->container : container_;
  if (container.empty()) return reply(build_reply(*question, {}, Reply::kRefused, limit));
  Answer found = table_.ask(container, question->name, question->wanted);
  if (found.kind == Answer::Kind::kForward && table_.may_forward(container)) {
    std::vector<IpAddress> servers = client ? client->resolvers : table_.resolvers_of(container);
    auto late = [question = *question, limit, reply = std::move(reply)](std::string raw) {
      reply(raw.empty() ? build_reply(question, {}, Reply::kFailure, limit) : std::move(raw));
    };
    return forwarder_.ask(*question, container, std::move(servers), stream, std::move(late));
  }
  bool none = found.kind == Answer::Kind::kForward || found.kind == Answer::Kind::kNone;
  reply(build_reply(*question, found, none ? Reply::kNoName : Reply::kOk, limit));
}

void NameServer::read_datagrams() {
  static char buffer[kMaxQuery + 1];
  for (int n = 0; n < kMostAtOnce; n++) {
    sockaddr_in from = {};
    socklen_t size = sizeof from;
    ssize_t got =
        ::recvfrom(datagrams_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return;
    std::weak_ptr<bool> alive = alive_;
    answer({buffer, static_cast<size_t>(got)}, address_of(from), false,
           [this, alive, from](const std::string& reply) {
             auto still = alive.lock();
             if (!still || !*still || reply.empty()) return;
             (void)::sendto(datagrams_.get(), reply.data(), reply.size(), MSG_NOSIGNAL,
                            reinterpret_cast<const sockaddr*>(&from), sizeof from);
           });
  }
}

void NameServer::accept_connections() {
  for (;;) {
    sockaddr_in from = {};
    socklen_t size = sizeof from;
    UniqueFd fd(
        ::accept4(streams_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    IpAddress source = address_of(from);
    auto same = std::count_if(connections_.begin(), connections_.end(),
                              [&](const auto& c) { return c.second->from == source; });
    if (connections_.size() >= kMostConnections || static_cast<size_t>(same) >= kMostOfSource) continue;
    auto c = std::make_unique<Connection>();
    c->key = next_key_++;
    c->from = source;
    c->last = steady_ms();
    c->fd = std::move(fd);
    if (!loop_.add(c->fd.get(), EPOLLIN, [this, key = c->key](uint32_t e) { read_connection(key, e); }))
      continue;
    connections_[c->key] = std::move(c);
  }
}

void NameServer::close_connection(uint64_t key) {
  auto at = connections_.find(key);
  if (at == connections_.end()) return;
  loop_.remove(at->second->fd.get());
  connections_.erase(at);
}

void NameServer::write_connection(Connection& c) {
  while (!c.out.empty()) {
    ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return close_connection(c.key);
    c.out.erase(0, static_cast<size_t>(n));
    c.last = steady_ms();
  }
  // Whoever does not read is not read from either.
  loop_.change(c.fd.get(), c.out.empty() ? EPOLLIN : EPOLLOUT);
}

void NameServer::read_connection(uint64_t key, uint32_t events) {
  auto at = connections_.find(key);
  if (at == connections_.end()) return;
  Connection& c = *at->second;
  if (events & EPOLLOUT) return write_connection(c);
  char buffer[8192];
  ssize_t n = ::recv(c.fd.get(), buffer, sizeof buffer, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return close_connection(key);
  c.in.append(buffer, static_cast<size_t>(n));
  c.last = steady_ms();
  constexpr size_t kMostWaiting = 32;
  while (c.in.size() >= 2) {
    size_t length = static_cast<size_t>(static_cast<uint8_t>(c.in[0]) << 8 | static_cast<uint8_t>(c.in[1]));
    if (length > kMaxQuery || c.waiting >= kMostWaiting) return close_connection(key);
    if (c.in.size() < length + 2) return;
    std::string packet = c.in.substr(2, length);
    c.in.erase(0, length + 2);
    c.waiting++;
    std::weak_ptr<bool> alive = alive_;
    answer(packet, c.from, true, [this, alive, key](const std::string& reply) {
      auto still = alive.lock();
      if (!still || !*still || reply.empty()) return;
      auto found = connections_.find(key);
      if (found == connections_.end()) return;
      Connection& open = *found->second;
      open.waiting--;
      open.out += std::string{static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size())} + reply;
      write_connection(open);
    });
    if (connections_.find(key) == connections_.end()) return;
  }
}

void NameServer::expire() {
  std::vector<uint64_t> idle;
  for (const auto& [key, c] : connections_)
    if (steady_ms() - c->last > kIdleMs) idle.push_back(key);
  for (uint64_t key : idle) close_connection(key);
}

}  // namespace onggi::keeper
