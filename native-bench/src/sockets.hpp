// The system calls of a loop over loopback TCP connections or unix sockets, with what goes wrong at start said in words.
#pragma once

#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

constexpr int eventsPerWait = 1'024;
constexpr std::uint64_t secondNs = 1'000'000'000;
constexpr int listenBacklog = 4'096;
constexpr int connectTimeoutSeconds = 5;

[[noreturn]] inline void endWith(const std::string &what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

/// Monotonic, nanoseconds.
inline std::uint64_t nowNs() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * secondNs + time.tv_nsec;
}

/// An IPv4 address with a port, or a unix socket.
struct Address {
  union {
    sockaddr any;
    sockaddr_in ip;
    sockaddr_un path;
  };
  socklen_t length;
  bool isUnix() const { return any.sa_family == AF_UNIX; }
};

const std::string unixPrefix = "unix:";
inline bool isUnixAddress(const std::string &text) { return text.rfind(unixPrefix, 0) == 0; }

/// Of `IP` and a port, or of `unix:PATH`.
inline Address addressOf(const std::string &host, int port) {
  Address address{};
  if (isUnixAddress(host)) {
    const std::string path = host.substr(unixPrefix.size());
    address.length = sizeof address.path;
    address.path.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.path.sun_path) {
      errno = ENAMETOOLONG;
      endWith("not a path that a unix socket can have: " + path);
    }
    std::memcpy(address.path.sun_path, path.c_str(), path.size() + 1);
    return address;
  }
  address.length = sizeof address.ip;
  address.ip.sin_family = AF_INET;
  address.ip.sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.ip.sin_addr) != 1) {
    errno = EINVAL;
    endWith("not an IPv4 address: " + host);
  }
  return address;
}

inline void setOption(int socket, int level, int name, int value) {
  if (setsockopt(socket, level, name, &value, sizeof value) != 0) endWith("setsockopt");
}

/// Edge-triggered, for both directions, once for the connection's life: afterwards no epoll_ctl is needed, and what was read
/// empty is not looked at again. A read that filled less than its buffer has emptied the socket (epoll(7), question 9).
inline void watch(int poller, int socket, void *owner) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = owner;
  if (epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event) != 0) endWith("epoll_ctl");
}

/// A listener whose connections send at once.
inline int listenOn(const std::string &host, int port) {
  const Address address = addressOf(host, port);
  const int listener = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) endWith("socket");
  if (!address.isUnix()) {
    setOption(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    // Those that are accepted inherit it.
    setOption(listener, IPPROTO_TCP, TCP_NODELAY, 1);
  }
  if (bind(listener, &address.any, address.length) != 0) endWith("bind");
  if (listen(listener, listenBacklog) != 0) endWith("listen");
  return listener;
}

/// 0 for a unix socket.
inline int portOf(int listener) {
  Address address{};
  address.length = sizeof address.path;
  if (getsockname(listener, &address.any, &address.length) != 0) endWith("getsockname");
  return address.isUnix() ? 0 : ntohs(address.ip.sin_port);
}

/// Hands every connection that waits to `onSocket(socket)`, which does not block and belongs to it.
template <class OnSocket>
void acceptAll(int listener, OnSocket &&onSocket) {
  while (true) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) onSocket(socket);
    else if (errno == EAGAIN) return;
    else if (errno != ECONNABORTED && errno != EINTR) endWith("accept");
  }
}

/// Blocks until it is connected, because loopback answers at once; what comes after does not block.
/// @return -1 with `errno` when nobody is there.
inline int connectTo(const Address &address) {
  const int socket = ::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  const timeval limit{connectTimeoutSeconds, 0};
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (!address.isUnix()) setOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (connect(socket, &address.any, address.length) != 0) {
    const int reason = errno;
    close(socket);
    errno = reason;
    return -1;
  }
  if (fcntl(socket, F_SETFL, O_NONBLOCK) != 0) endWith("fcntl");
  return socket;
}
