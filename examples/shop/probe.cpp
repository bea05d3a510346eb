// A health check without a shell or curl: probe http://HOST:PORT/PATH (an answer of 200 to 399) or probe
// tcp://HOST:PORT (a connection). Addresses are numbers. Exit code 0 or 1. Linked statically, so that every
// image can have it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

int fail(const char* what) {
  std::perror(what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string url = argc == 2 ? argv[1] : "";
  bool http = url.starts_with("http://"), tcp = url.starts_with("tcp://");
  size_t colon = url.rfind(':');
  if ((!http && !tcp) || colon < 7) {
    std::fputs("usage: probe http://ADDRESS:PORT/PATH | tcp://ADDRESS:PORT\n", stderr);
    return 1;
  }
  size_t begin = http ? 7 : 6, slash = url.find('/', begin);
  std::string host = url.substr(begin, colon - begin),
              path = slash == std::string::npos ? "/" : url.substr(slash);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(url.c_str() + colon + 1)));
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "probe: '%s' is not an IPv4 address\n", host.c_str());
    return 1;
  }
  int s = ::socket(AF_INET, SOCK_STREAM, 0);
  timeval limit = {2, 0};
  ::setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(s, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return fail("probe: connect");
  if (tcp) return 0;
  std::string ask = "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
  if (::send(s, ask.data(), ask.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(ask.size()))
    return fail("probe: send");
  std::string reply;
  char block[512];
  // To its end: a server whose answer nobody takes logs a lost connection.
  for (ssize_t n; reply.size() < 65536 && (n = ::recv(s, block, sizeof block, 0)) != 0;) {
    if (n < 0) return fail("probe: receive");
    reply.append(block, static_cast<size_t>(n));
  }
  if (reply.size() < 12) return fail("probe: a short answer");
  int status = std::atoi(reply.c_str() + 9);
  if (status >= 200 && status < 400) return 0;
  std::fprintf(stderr, "probe: %.*s\n", static_cast<int>(reply.find('\r')), reply.c_str());
  return 1;
}
