// The system calls of a loop over loopback TCP connections, with what goes wrong at start said in words.
#pragma once

#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

constexpr int eventsPerWait = 1'024;
constexpr std::uint64_t secondNs = 1'000'000'000;

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
