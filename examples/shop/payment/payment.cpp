// Takes payments: POST /pay {"buyer": "...", "amount": N} -> {"receipt": "...", "amount": N}. One static
// program, a thread per connection. Amounts over a million won are declined, so that a buyer can see an order
// fail.
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

constexpr size_t kMost = 65536;  // bytes of a request

std::string answer(const char* status, const std::string& body) {
  return std::string("HTTP/1.1 ") + status +
         "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// The number after "name": in a flat JSON object; -1 when there is none.
long number(const std::string& body, const std::string& name) {
  size_t at = body.find('"' + name + '"');
  if (at == std::string::npos || (at = body.find(':', at)) == std::string::npos) return -1;
  char* end = nullptr;
  long n = std::strtol(body.c_str() + at + 1, &end, 10);
  return end == body.c_str() + at + 1 ? -1 : n;
}

std::string respond(const std::string& head, const std::string& body) {
  static std::atomic<unsigned> count{0};
  if (head.starts_with("GET /healthz "))
    return answer("200 OK", "{\"receipts\": " + std::to_string(count.load()) + "}");
  if (!head.starts_with("POST /pay ")) return answer("404 Not Found", "{\"error\": \"no such page\"}");
  long amount = number(body, "amount");
  if (amount <= 0) return answer("400 Bad Request", "{\"error\": \"amount: a number above 0 is wanted\"}");
  if (amount > 1'000'000)
    return answer("402 Payment Required", "{\"error\": \"declined: over a million won\"}");
  char receipt[32];
  std::snprintf(receipt, sizeof receipt, "R%08X", ++count + static_cast<unsigned>(::getpid()) * 65536u);
  return answer("200 OK", "{\"receipt\": \"" + std::string(receipt) +
                              "\", \"amount\": " + std::to_string(amount) + "}");
}

void serve(int connection) {
  std::string text;
  size_t wanted = 0, head = std::string::npos;
  for (char block[4096]; head == std::string::npos || text.size() < wanted;) {
    pollfd p = {connection, POLLIN, 0};
    ssize_t n = ::poll(&p, 1, 10'000) > 0 ? ::read(connection, block, sizeof block) : 0;
    if (n <= 0 || text.size() > kMost) break;
    text.append(block, static_cast<size_t>(n));
    if (head != std::string::npos || (head = text.find("\r\n\r\n")) == std::string::npos) continue;
    std::string lower = text.substr(0, head);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    size_t length = lower.find("content-length:");
    wanted =
        head + 4 + (length == std::string::npos ? 0 : std::strtoul(lower.c_str() + length + 15, nullptr, 10));
  }
  if (head != std::string::npos && text.size() >= wanted) {
    std::string out = respond(text.substr(0, head), text.substr(head + 4));
    for (size_t at = 0; at < out.size();) {
      ssize_t n = ::send(connection, out.data() + at, out.size() - at, MSG_NOSIGNAL);
      if (n <= 0) break;
      at += static_cast<size_t>(n);
    }
  }
  ::close(connection);
}

}  // namespace

int main() {
  ::signal(SIGTERM, [](int) { ::_exit(0); });
  int listener = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0;
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(8000);
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  ::setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(listener, 128) < 0) {
    std::perror("payment: listen on port 8000");
    return 1;
  }
  std::puts("payment: listening");
  std::fflush(stdout);
  for (;;) {
    int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) std::thread(serve, connection).detach();
  }
}
