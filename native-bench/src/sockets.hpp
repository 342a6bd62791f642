// The system calls of a loop over loopback TCP connections, with what goes wrong at start said in words.
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

inline sockaddr_in addressOf(const std::string &host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
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
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) endWith("socket");
  setOption(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  // Those that are accepted inherit it.
  setOption(listener, IPPROTO_TCP, TCP_NODELAY, 1);
  const sockaddr_in address = addressOf(host, port);
  if (bind(listener, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) endWith("bind");
  if (listen(listener, listenBacklog) != 0) endWith("listen");
  return listener;
}

inline int portOf(int listener) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length) != 0) endWith("getsockname");
  return ntohs(address.sin_port);
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
inline int connectTo(const sockaddr_in &address) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  const timeval limit{connectTimeoutSeconds, 0};
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (connect(socket, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) {
    const int reason = errno;
    close(socket);
    errno = reason;
    return -1;
  }
  if (fcntl(socket, F_SETFL, O_NONBLOCK) != 0) endWith("fcntl");
  return socket;
}
