// The app behind the proxies: answers every HTTP/1.1 request with the same bytes, for as little CPU time as a process can.

#include "command-line.hpp"
#include "message-reader.hpp"
#include "sockets.hpp"

#include <array>
#include <sys/uio.h>

namespace {

const char *const usage =
    "upstream [flags]: answers every request with status 200 and a body of one byte, repeated\n"
    "  --address IP    where it listens (127.0.0.1)\n"
    "  --port N        0: any free one (0); when it is ready it prints {\"ready\":\"upstream\",\"port\":N}\n"
    "  --body-bytes N  length of the body (100)\n"
    "  --body-byte C   the byte (w)\n";

constexpr std::size_t bodyBytesMax = 64 * 1'048'576;
constexpr int backlog = 4'096;
constexpr std::size_t answersPerWrite = 64;
const char *const refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// One connection: what it still has to write is a number, because all answers are the same bytes.
class Connection {
 public:
  Connection(int socket, const std::string &answer) : socket_(socket), answer_(answer) {}
  ~Connection() { close(socket_); }

  /// Reads, answers, and says whether the connection goes on.
  bool serve(std::uint32_t events, char *buffer, std::size_t bufferBytes) {
    if (owedBytes_ > 0 && !write()) return false;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0) mayRead_ = true;
    // Who does not take its answers is not read from, so what it is owed has a bound.
    while (mayRead_ && owedBytes_ == 0 && !isClosing_) {
      const ssize_t received = recv(socket_, buffer, bufferBytes, 0);
      if (received == 0) return false;
      if (received < 0) {
        if (errno != EAGAIN) return false;
        mayRead_ = false;
        break;
      }
      // The other side's end is told by its own event, and that one alone.
      if (static_cast<std::size_t>(received) < bufferBytes && (events & EPOLLRDHUP) == 0) mayRead_ = false;
      if (!take(buffer, buffer + received)) return false;
      if (owedBytes_ > 0 && !write()) return false;
    }
    return !(isClosing_ && owedBytes_ == 0);
  }

 private:
  int socket_;
  const std::string &answer_;
  MessageReader reader_{MessageKind::request};
  std::uint64_t owedBytes_ = 0;
  bool mayRead_ = false;
  bool isClosing_ = false;

  bool take(const char *at, const char *end) {
    while (at < end && !isClosing_) {
      switch (reader_.read(at, end, [](const char *, std::size_t) {})) {
        case MessageReader::Result::needsMore:
          return true;
        case MessageReader::Result::broken:
          send(socket_, refusal, std::strlen(refusal), MSG_NOSIGNAL);
          return false;
        case MessageReader::Result::whole:
          owedBytes_ += answer_.size();
          isClosing_ = reader_.asksToClose();
      }
    }
    return true;
  }

  /// @return false when the connection is gone.
  bool write() {
    while (owedBytes_ > 0) {
      const ssize_t sent = owedBytes_ == answer_.size() ? send(socket_, answer_.data(), answer_.size(), MSG_NOSIGNAL)
                                                        : sendSeveral();
      if (sent < 0) return errno == EAGAIN;
      owedBytes_ -= sent;
    }
    return true;
  }

  ssize_t sendSeveral() {
    std::array<iovec, answersPerWrite> parts;
    const std::size_t wholeBytes = answer_.size();
    std::size_t rest = owedBytes_ % wholeBytes;
    std::uint64_t left = owedBytes_;
    std::size_t count = 0;
    while (left > 0 && count < parts.size()) {
      const std::size_t length = rest > 0 ? rest : wholeBytes;
      parts[count++] = {const_cast<char *>(answer_.data() + (wholeBytes - length)), length};
      left -= length;
      rest = 0;
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    return sendmsg(socket_, &message, MSG_NOSIGNAL);
  }
};

std::string answerOf(std::size_t bodyBytes, char bodyByte) {
  char date[64];
  const time_t now = time(nullptr);
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
  return std::string("HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: ") + date +
         "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(bodyBytes) +
         "\r\nConnection: keep-alive\r\n\r\n" + std::string(bodyBytes, bodyByte);
}

int listenOn(const std::string &host, int port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) endWith("socket");
  setOption(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  // Those that are accepted inherit it.
  setOption(listener, IPPROTO_TCP, TCP_NODELAY, 1);
  const sockaddr_in address = addressOf(host, port);
  if (bind(listener, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) endWith("bind");
  if (listen(listener, backlog) != 0) endWith("listen");
  return listener;
}

int portOf(int listener) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length) != 0) endWith("getsockname");
  return ntohs(address.sin_port);
}

void acceptAll(int poller, int listener, const std::string &answer) {
  while (true) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) watch(poller, socket, new Connection(socket, answer));
    else if (errno == EAGAIN) return;
    else if (errno != ECONNABORTED && errno != EINTR) endWith("accept");
  }
}

}  // namespace

int main(int count, char **words) {
  CommandLine flags(count, words, usage);
  const std::string host = flags.text("address", "127.0.0.1");
  const int port = static_cast<int>(flags.number("port", 0, 0, 65'535));
  const auto bodyBytes = static_cast<std::size_t>(flags.number("body-bytes", 100, 0, bodyBytesMax));
  const std::string bodyByte = flags.text("body-byte", "w");
  flags.refuseOthers();
  if (bodyByte.size() != 1) flags.fail("--body-byte wants one byte.");

  const std::string answer = answerOf(bodyBytes, bodyByte[0]);
  const int listener = listenOn(host, port);
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) endWith("epoll_create1");
  watch(poller, listener, nullptr);
  std::printf("{\"ready\":\"upstream\",\"port\":%d}\n", portOf(listener));
  std::fflush(stdout);

  static char buffer[65'536];
  static epoll_event events[eventsPerWait];
  while (true) {
    const int ready = epoll_wait(poller, events, eventsPerWait, -1);
    if (ready < 0 && errno != EINTR) endWith("epoll_wait");
    for (int i = 0; i < ready; ++i) {
      auto *connection = static_cast<Connection *>(events[i].data.ptr);
      if (connection == nullptr) acceptAll(poller, listener, answer);
      // A socket appears once in what one wait answers, so nobody else looks at it after its end.
      else if (!connection->serve(events[i].events, buffer, sizeof buffer)) delete connection;
    }
  }
}
