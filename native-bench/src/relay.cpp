// The floor: the least that a proxy of HTTP/1.1 can do, four system calls a request and as good as nothing in between.
// It forwards bytes as they come and looks into them only for where messages end. README.md says what it omits.

#include "command-line.hpp"
#include "message-reader.hpp"
#include "sockets.hpp"

#include <algorithm>
#include <vector>

namespace {

const char *const usage =
    "relay --to-port N [flags]: passes each request to one address over connections that it keeps, one request at a time on each\n"
    "  --address IP     where it listens (127.0.0.1)\n"
    "  --port N         0: any free one (0); when it is ready it prints {\"ready\":\"relay\",\"port\":N}\n"
    "  --to-address IP  whom it calls (127.0.0.1)\n";

/// One side of a connection: a client, or the upstream that has its request.
struct Peer {
  Peer(int socketOfPeer, MessageKind kind) : socket(socketOfPeer), reader(kind), isClient(kind == MessageKind::request) {}

  int socket;
  MessageReader reader;
  bool isClient;
  /// The two of a request point at each other; null between requests.
  Peer *other = nullptr;
  /// What the socket did not take. While there is any, the other side is not read from.
  std::string unsent;
  /// A client's request has come whole: nothing is read from it until it has its answer.
  bool isWhole = false;
  bool mayRead = false;
  bool sawEnd = false;
  bool isGone = false;
};

class Relay {
 public:
  Relay(int listener, const Address &to) : listener_(listener), to_(to), poller_(epoll_create1(EPOLL_CLOEXEC)) {
    if (poller_ < 0) endWith("epoll_create1");
    watch(poller_, listener, nullptr);
  }

  [[noreturn]] void run() {
    static epoll_event events[eventsPerWait];
    while (true) {
      const int ready = epoll_wait(poller_, events, eventsPerWait, -1);
      if (ready < 0 && errno != EINTR) endWith("epoll_wait");
      for (int i = 0; i < ready; ++i) {
        auto *peer = static_cast<Peer *>(events[i].data.ptr);
        if (peer == nullptr) acceptAll(listener_, [&](int socket) { enter(new Peer(socket, MessageKind::request)); });
        else if (!peer->isGone) serve(*peer, events[i].events);
      }
      // Not before: an event of this wait may still point at one of them.
      for (const Peer *peer : gone_) delete peer;
      gone_.clear();
    }
  }

 private:
  int listener_;
  Address to_;
  int poller_;
  /// Upstreams without a request, the last used on top.
  std::vector<Peer *> idle_;
  std::vector<Peer *> gone_;
  char buffer_[65'536];

  Peer *enter(Peer *peer) {
    watch(poller_, peer->socket, peer);
    return peer;
  }

  void serve(Peer &peer, std::uint32_t events) {
    if (!peer.unsent.empty()) {
      if (!sendRest(peer)) return end(peer);
      if (peer.unsent.empty() && peer.other != nullptr) pump(*peer.other);
    }
    if (peer.isGone || (events & ~EPOLLOUT) == 0) return;
    peer.mayRead = true;
    peer.sawEnd = peer.sawEnd || (events & EPOLLRDHUP) != 0;
    pump(peer);
  }

  /// Reads from a peer as long as it has something and the other side takes it.
  void pump(Peer &from) {
    while (from.mayRead && !from.isGone && isWanted(from)) {
      const ssize_t received = recv(from.socket, buffer_, sizeof buffer_, 0);
      if (received == 0 || (received < 0 && errno != EAGAIN)) return end(from);
      if (received < 0 || (static_cast<std::size_t>(received) < sizeof buffer_ && !from.sawEnd)) from.mayRead = false;
      if (received > 0 && !(from.isClient ? takeRequest(from, received) : takeAnswer(from, received))) return end(from);
    }
  }

  static bool isWanted(const Peer &from) {
    if (from.other != nullptr && !from.other->unsent.empty()) return false;
    return !from.isClient || from.other == nullptr || !from.isWhole;
  }

  bool takeRequest(Peer &client, std::size_t length) {
    if (client.other == nullptr && !findUpstream(client)) return false;
    const char *at = buffer_;
    const auto result = client.reader.read(at, buffer_ + length, [](const char *, std::size_t) {});
    client.isWhole = result == MessageReader::Result::whole;
    if (result == MessageReader::Result::broken || at < buffer_ + length) return false;
    return send(*client.other, length);
  }

  bool takeAnswer(Peer &upstream, std::size_t length) {
    Peer *client = upstream.other;
    // Nobody asked, or not to the end.
    if (client == nullptr || !client->isWhole) return false;
    const char *at = buffer_;
    const auto result = upstream.reader.read(at, buffer_ + length, [](const char *, std::size_t) {});
    if (result == MessageReader::Result::broken || at < buffer_ + length || !send(*client, length)) return false;
    if (result == MessageReader::Result::needsMore) return true;
    client->other = upstream.other = nullptr;
    const bool isKept = !upstream.reader.asksToClose();
    if (isKept) idle_.push_back(&upstream);
    if (!isKept || client->reader.asksToClose()) end(*client);
    else pump(*client);
    return isKept;
  }

  bool findUpstream(Peer &client) {
    Peer *upstream = nullptr;
    if (!idle_.empty()) {
      upstream = idle_.back();
      idle_.pop_back();
    } else {
      const int socket = connectTo(to_);
      if (socket < 0) return false;
      upstream = enter(new Peer(socket, MessageKind::answer));
    }
    client.other = upstream;
    upstream->other = &client;
    return true;
  }

  /// @return false when the socket is broken.
  bool send(Peer &to, std::size_t length) {
    ssize_t sent = ::send(to.socket, buffer_, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return false;
    sent = std::max<ssize_t>(sent, 0);
    if (static_cast<std::size_t>(sent) < length) to.unsent.append(buffer_ + sent, length - sent);
    return true;
  }

  bool sendRest(Peer &to) {
    const ssize_t sent = ::send(to.socket, to.unsent.data(), to.unsent.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    to.unsent.erase(0, sent);
    return true;
  }

  /// Ends a peer and whom it is busy with.
  void end(Peer &peer) {
    if (peer.isGone) return;
    peer.isGone = true;
    close(peer.socket);
    gone_.push_back(&peer);
    idle_.erase(std::remove(idle_.begin(), idle_.end(), &peer), idle_.end());
    if (peer.other != nullptr) end(*peer.other);
  }
};

}  // namespace

int main(int count, char **words) {
  CommandLine flags(count, words, usage);
  const std::string host = flags.text("address", "127.0.0.1");
  const int port = static_cast<int>(flags.number("port", 0, 0, 65'535));
  const int toPort = static_cast<int>(flags.number("to-port", 0, 1, 65'535));
  if (toPort == 0) flags.fail("--to-port is missing.");
  const Address to = addressOf(flags.text("to-address", "127.0.0.1"), toPort);
  flags.refuseOthers();
  const int listener = listenOn(host, port);
  std::printf("{\"ready\":\"relay\",\"port\":%d}\n", portOf(listener));
  std::fflush(stdout);
  static Relay relay(listener, to);
  relay.run();
}
