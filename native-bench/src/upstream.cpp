// The app behind the proxies: answers every HTTP/1.1 request with bytes made beforehand, for as little CPU time as a process can.

#include "behaviour.hpp"
#include "command-line.hpp"
#include "message-reader.hpp"
#include "sockets.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <sys/uio.h>
#include <utility>
#include <vector>

namespace {

const char *const usage =
    "upstream [flags]: answers every request with status 200 and a body of one byte, repeated\n"
    "  --address IP    where it listens (127.0.0.1), or unix:PATH; may be said again\n"
    "  --port N        0: any free one (0); when it is ready it prints {\"ready\":\"upstream\",\"port\":N}\n"
    "  --body-byte C   the byte that bodies of answers consist of (w)\n"
    "  --bytes N       length of the answer's body (100)\n"
    "  --delay MS      how long after its request an answer leaves (0)\n"
    "  --fail HOW      answers with this status and no body, or `close`: no answer, the connection ends (none)\n"
    "  --every N       only every Nth request fails (1)\n"
    "  --takes N       requests must have a body of N times the same byte, others get 422 (any)\n"
    "A request's query has the last word for itself: /?bytes=65536&delay=20, by the names above.\n";

constexpr std::size_t answersPerWrite = 64;
const std::string refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

class Connection;
/// Who waits until when, the earliest first.
using Waiting = std::set<std::pair<std::uint64_t, Connection *>>;

class Connection {
 public:
  Connection(int socket, Behaviours &behaviours, Waiting &waiting)
      : socket_(socket), behaviours_(behaviours), waiting_(waiting) {}
  ~Connection() {
    stopWaiting();
    close(socket_);
  }

  /// Reads, answers, and says whether the connection goes on.
  bool serve(std::uint32_t events, char *buffer, std::size_t bufferBytes) {
    // The other side's end is told once.
    sawEnd_ = sawEnd_ || (events & EPOLLRDHUP) != 0;
    if ((events & ~EPOLLOUT) != 0) mayRead_ = true;
    if (!write()) return false;
    // Who does not take its answers is not read from, so what it is owed has a bound.
    while (mayRead_ && owed_.empty() && !isClosing_) {
      const ssize_t received = recv(socket_, buffer, bufferBytes, 0);
      if (received == 0 || (received < 0 && errno != EAGAIN)) return false;
      if (received < 0 || (static_cast<std::size_t>(received) < bufferBytes && !sawEnd_)) mayRead_ = false;
      if (received > 0) take(buffer, buffer + received);
      if (!write()) return false;
    }
    return !(isClosing_ && owed_.empty());
  }

 private:
  struct Owed {
    const std::string *bytes;
    /// 0: at once.
    std::uint64_t dueNs;
  };

  int socket_;
  Behaviours &behaviours_;
  Waiting &waiting_;
  MessageReader reader_{MessageKind::request};
  RequestBody body_;
  /// In the order of the requests; those before `written_` have left, and `writtenBytes_` of the next one.
  std::vector<Owed> owed_;
  std::size_t written_ = 0;
  std::size_t writtenBytes_ = 0;
  std::uint64_t waitsUntilNs_ = 0;
  bool mayRead_ = false;
  bool sawEnd_ = false;
  bool isClosing_ = false;

  void take(const char *at, const char *end) {
    while (at < end && !isClosing_) {
      const auto result = reader_.read(at, end, [&](const char *bytes, std::size_t length) { body_.take(bytes, length); });
      if (result == MessageReader::Result::needsMore) return;
      if (result == MessageReader::Result::broken) {
        owed_.push_back({&refusal, 0});
        isClosing_ = true;
        return;
      }
      Behaviour &behaviour = behaviours_.of(reader_.target());
      const std::string *answer = behaviour.answerTo(body_);
      body_ = RequestBody{};
      if (answer != nullptr) owed_.push_back({answer, behaviour.delayNs == 0 ? 0 : nowNs() + behaviour.delayNs});
      isClosing_ = answer == nullptr || reader_.asksToClose();
    }
  }

  /// @return false when the connection is gone.
  bool write() {
    while (written_ < owed_.size()) {
      if (!isDue()) return true;
      const ssize_t sent = send();
      if (sent < 0) return errno == EAGAIN;
      account(sent);
    }
    owed_.clear();
    written_ = 0;
    return true;
  }

  bool isDue() {
    const std::uint64_t dueNs = owed_[written_].dueNs;
    if (dueNs == 0) return true;
    stopWaiting();
    if (dueNs <= nowNs()) return true;
    waitsUntilNs_ = dueNs;
    waiting_.emplace(dueNs, this);
    return false;
  }

  void stopWaiting() {
    if (waitsUntilNs_ != 0) waiting_.erase({waitsUntilNs_, this});
    waitsUntilNs_ = 0;
  }

  ssize_t send() {
    const std::string &next = *owed_[written_].bytes;
    const std::size_t left = next.size() - writtenBytes_;
    if (owed_.size() == written_ + 1) return ::send(socket_, next.data() + writtenBytes_, left, MSG_NOSIGNAL);
    std::array<iovec, answersPerWrite> parts;
    std::size_t count = 0;
    // Those with a delay leave one by one.
    for (std::size_t i = written_; i < owed_.size() && count < parts.size(); ++i) {
      if (i > written_ && owed_[i].dueNs != 0) break;
      const std::size_t from = i == written_ ? writtenBytes_ : 0;
      parts[count++] = {const_cast<char *>(owed_[i].bytes->data() + from), owed_[i].bytes->size() - from};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    return sendmsg(socket_, &message, MSG_NOSIGNAL);
  }

  void account(std::size_t sent) {
    writtenBytes_ += sent;
    while (written_ < owed_.size() && writtenBytes_ >= owed_[written_].bytes->size())
      writtenBytes_ -= owed_[written_++].bytes->size();
  }
};

Behaviour readBehaviour(CommandLine &flags, char &bodyByte) {
  const std::string byte = flags.text("body-byte", "w");
  if (byte.size() != 1) flags.fail("--body-byte wants one byte.");
  bodyByte = byte[0];
  Behaviour behaviour;
  for (const char *name : Behaviour::names) {
    const std::string value = flags.text(name, "");
    if (!value.empty() && !behaviour.set(name, value)) flags.fail("--" + std::string(name) + " cannot be " + value + ".");
  }
  return behaviour;
}

/// Until the next answer with a delay is due, milliseconds, rounded up; -1 without one.
int untilDueMs(const Waiting &waiting) {
  if (waiting.empty()) return -1;
  const std::uint64_t atNs = nowNs();
  const std::uint64_t dueNs = waiting.begin()->first;
  return dueNs <= atNs ? 0 : static_cast<int>((dueNs - atNs) / 1'000'000 + 1);
}

}  // namespace

int main(int count, char **words) {
  CommandLine flags(count, words, usage);
  std::vector<std::string> hosts = flags.list("address");
  if (hosts.empty()) hosts.push_back("127.0.0.1");
  const int port = static_cast<int>(flags.number("port", 0, 0, 65'535));
  char bodyByte = 0;
  const Behaviour fallback = readBehaviour(flags, bodyByte);
  flags.refuseOthers();

  Behaviours behaviours(fallback, bodyByte);
  Waiting waiting;
  // What epoll tells of a listener is its place here; connections have none.
  std::vector<int> listeners;
  for (const std::string &host : hosts) listeners.push_back(listenOn(host, port));
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) endWith("epoll_create1");
  for (int &listener : listeners) watch(poller, listener, &listener);
  int boundPort = 0;
  for (const int listener : listeners) boundPort = std::max(boundPort, portOf(listener));
  std::printf("{\"ready\":\"upstream\",\"port\":%d}\n", boundPort);
  std::fflush(stdout);

  static char buffer[65'536];
  static epoll_event events[eventsPerWait];
  const auto serve = [&](Connection *connection, std::uint32_t what) {
    if (!connection->serve(what, buffer, sizeof buffer)) delete connection;
  };
  while (true) {
    const int ready = epoll_wait(poller, events, eventsPerWait, untilDueMs(waiting));
    if (ready < 0 && errno != EINTR) endWith("epoll_wait");
    for (int i = 0; i < ready; ++i) {
      void *owner = events[i].data.ptr;
      const bool isListener = owner >= &listeners.front() && owner <= &listeners.back();
      // A socket appears once in what one wait answers, so nobody else looks at it after its end.
      if (!isListener) serve(static_cast<Connection *>(owner), events[i].events);
      else acceptAll(*static_cast<int *>(owner), [&](int socket) { watch(poller, socket, new Connection(socket, behaviours, waiting)); });
    }
    while (untilDueMs(waiting) == 0) serve(waiting.begin()->second, 0);
  }
}
