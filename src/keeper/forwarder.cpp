#include "keeper/forwarder.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>

#include "base/file.h"

namespace onggi::keeper {

namespace {

constexpr size_t kMostPending = 1024, kMostOfClient = 128;
constexpr int64_t kTimeoutMs = 2000;  // of one server
constexpr size_t kMostServers = 3;

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

SocketAddress server_address(const IpAddress& a) {
  SocketAddress out;
  constexpr uint16_t kDns = 53;
  if (a.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(kDns);
    memcpy(&v4->sin_addr, a.bytes().data(), 4);
    out.size = sizeof *v4;
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(kDns);
    memcpy(&v6->sin6_addr, a.bytes().data(), 16);
    out.size = sizeof *v6;
  }
  return out;
}

uint16_t random_id16() {
  uint16_t id = 0;
  (void)!::getrandom(&id, sizeof id, 0);
  return id;
}

}  // namespace

struct Forwarder::Pending {
  uint64_t key = 0;
  Question question;
  std::string client;
  std::vector<IpAddress> servers;
  size_t server = 0;
  bool stream = false;
  Done done;
  UniqueFd fd;
  uint16_t id = 0;
  std::string out, in;  // of a stream
  int64_t deadline = 0;
};

std::vector<IpAddress> host_resolvers(const std::string& path) {
  static std::vector<IpAddress> known;
  static timespec read_at = {};
  struct stat st;
  if (::stat(path.c_str(), &st) < 0) return {};
  if (st.st_mtim.tv_sec == read_at.tv_sec && st.st_mtim.tv_nsec == read_at.tv_nsec) return known;
  auto text = read_file(path, 65536);
  if (!text) return {};
  known.clear();
  read_at = st.st_mtim;
  for (size_t at = 0; at < text->size() && known.size() < kMostServers;) {
    size_t end = std::min(text->find('\n', at), text->size());
    std::string_view line(text->data() + at, end - at);
    at = end + 1;
    if (!line.starts_with("nameserver")) continue;
    if (auto a = IpAddress::parse(trim(line.substr(10)))) known.push_back(*a);
  }
  return known;
}

Forwarder::Forwarder(Loop& loop) : loop_(loop) {}

Forwarder::~Forwarder() {
  for (auto& [key, p] : pending_)
    if (p->fd) loop_.remove(p->fd.get());
}

void Forwarder::ask(const Question& question, const std::string& client, std::vector<IpAddress> servers,
                    bool stream, Done done) {
  if (servers.empty()) servers = host_resolvers();
  size_t& count = of_client_[client];
  if (servers.empty() || pending_.size() >= kMostPending || count >= kMostOfClient) {
    if (count == 0) of_client_.erase(client);
    return done("");
  }
  count++;
  auto p = std::make_unique<Pending>();
  p->key = next_key_++;
  p->question = question;
  p->client = client;
  p->servers = std::move(servers);
  p->stream = stream;
  p->done = std::move(done);
  Pending& ref = *p;
  pending_[p->key] = std::move(p);
  begin(ref);
}

// Asks the server whose turn it is.
void Forwarder::begin(Pending& p) {
  SocketAddress to = server_address(p.servers[p.server]);
  int type = (p.stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  p.fd = UniqueFd(::socket(to.storage.ss_family, type, 0));
  p.id = random_id16();
  p.deadline = steady_ms() + kTimeoutMs;
  p.in.clear();
  p.out = p.question.packet;
  p.out[0] = static_cast<char>(p.id >> 8);
  p.out[1] = static_cast<char>(p.id);
  bool ok = p.fd && (::connect(p.fd.get(), reinterpret_cast<sockaddr*>(&to.storage), to.size) == 0 ||
                     errno == EINPROGRESS);
  if (ok && !p.stream) ok = ::send(p.fd.get(), p.out.data(), p.out.size(), MSG_NOSIGNAL) >= 0;
  if (p.stream)
    p.out = std::string{static_cast<char>(p.out.size() >> 8), static_cast<char>(p.out.size())} + p.out;
  uint32_t events = p.stream ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (ok) ok = loop_.add(p.fd.get(), events, [this, key = p.key](uint32_t e) { ready(key, e); }).has_value();
  if (!ok) {
    p.fd.reset();
    next(p);
  }
}

void Forwarder::next(Pending& p) {
  if (p.fd) loop_.remove(p.fd.get());
  p.fd.reset();
  if (++p.server < p.servers.size()) return begin(p);
  finish(p, "");
}

void Forwarder::finish(Pending& p, std::string reply) {
  if (p.fd) loop_.remove(p.fd.get());
  auto done = std::move(p.done);
  if (auto count = of_client_.find(p.client); count != of_client_.end() && --count->second == 0)
    of_client_.erase(count);
  pending_.erase(p.key);
  done(std::move(reply));
}

void Forwarder::read_stream(Pending& p) {
  char buffer[16384];
  for (;;) {
    ssize_t n = ::recv(p.fd.get(), buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return next(p);
    p.in.append(buffer, static_cast<size_t>(n));
    if (p.in.size() < 2) continue;
    size_t length = static_cast<size_t>(static_cast<uint8_t>(p.in[0]) << 8 | static_cast<uint8_t>(p.in[1]));
    if (p.in.size() < length + 2) continue;
    std::string reply = p.in.substr(2, length);
    if (!fits_question(reply, p.question, p.id)) return next(p);
    return finish(p, std::move(reply));
  }
}

void Forwarder::ready(uint64_t key, uint32_t events) {
  auto at = pending_.find(key);
  if (at == pending_.end()) return;
  Pending& p = *at->second;
  if (p.stream) {
    if ((events & EPOLLOUT) && !p.out.empty()) {
      ssize_t n = ::send(p.fd.get(), p.out.data(), p.out.size(), MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return next(p);
      if (n > 0) p.out.erase(0, static_cast<size_t>(n));
      if (p.out.empty()) loop_.change(p.fd.get(), EPOLLIN);
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) read_stream(p);
    return;
  }
  std::string reply(kMaxMessage, '\0');
  ssize_t n = ::recv(p.fd.get(), reply.data(), reply.size(), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return next(p);  // refused: nobody listens there
  reply.resize(static_cast<size_t>(n));
  // A forged one does not end the wait for the real one.
  if (!fits_question(reply, p.question, p.id)) return;
  // A server that is in trouble itself; the next one may not be.
  constexpr int kFailure = 2, kRefusedCode = 5;
  int code = reply[3] & 15;
  if ((code == kFailure || code == kRefusedCode) && p.server + 1 < p.servers.size()) return next(p);
  finish(p, std::move(reply));
}

int Forwarder::expire() {
  int64_t now = steady_ms(), soonest = -1;
  std::vector<uint64_t> overdue;
  for (const auto& [key, p] : pending_) {
    if (p->deadline <= now)
      overdue.push_back(key);
    else if (soonest < 0 || p->deadline < soonest)
      soonest = p->deadline;
  }
  for (uint64_t key : overdue)
    if (auto at = pending_.find(key); at != pending_.end()) next(*at->second);
  if (!overdue.empty()) return 0;
  return soonest < 0 ? -1 : static_cast<int>(soonest - now);
}

}  // namespace onggi::keeper
