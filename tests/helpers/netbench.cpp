// Requests over TCP, counted: bench/network runs this inside the namespaces that it compares.
//
//   onggi-bench-net serve PORT             answers every 64 bytes with 64 bytes
//   onggi-bench-net ask ADDRESS PORT SECONDS requests|connections
//
// "requests": over one connection; "connections": one request on each new one. Prints how many there were per
// second.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr size_t kBytes = 64;

double now() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

bool exchange_all(int fd, bool in, char* data) {
  for (size_t done = 0; done < kBytes;) {
    ssize_t n = in ? ::read(fd, data + done, kBytes - done) : ::write(fd, data + done, kBytes - done);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

sockaddr_in address(const char* text, int port) {
  sockaddr_in a = {};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(port));
  ::inet_pton(AF_INET, text, &a.sin_addr);
  return a;
}

int connected(const sockaddr_in& to) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0), on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // Closed by reset: no ports wait for old segments, so that thousands of connections per second do not run
  // out of them.
  linger now_gone = {1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_gone, sizeof now_gone);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  perror("connect");
  exit(1);
}

int serve(int port) {
  int listener = ::socket(AF_INET, SOCK_STREAM, 0), on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in any = address("0.0.0.0", port);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any) < 0 || ::listen(listener, 1024) < 0)
    return 1;
  char data[kBytes];
  for (;;) {
    int fd = ::accept(listener, nullptr, nullptr);
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (exchange_all(fd, true, data) && exchange_all(fd, false, data)) {
    }
    ::close(fd);
  }
}

int ask(const char* to, int port, double seconds, bool each) {
  sockaddr_in target = address(to, port);
  char data[kBytes] = {};
  long count = 0;
  double begin = now(), end = begin + seconds;
  for (int fd = each ? -1 : connected(target); now() < end; count++) {
    if (each) fd = connected(target);
    if (!exchange_all(fd, false, data) || !exchange_all(fd, true, data)) return 1;
    if (each) ::close(fd);
  }
  printf("%.0f\n", static_cast<double>(count) / (now() - begin));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  if (argc == 3 && std::string(argv[1]) == "serve") return serve(atoi(argv[2]));
  if (argc == 6 && std::string(argv[1]) == "ask")
    return ask(argv[2], atoi(argv[3]), atof(argv[4]), std::string(argv[5]) == "connections");
  return 2;
}
