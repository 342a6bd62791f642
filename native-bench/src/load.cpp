// The load generator: keeps connections busy with one request (closed loop), or sends it at fixed times (open loop), and checks every answer.

#include "command-line.hpp"
#include "latency-histogram.hpp"
#include "message-reader.hpp"
#include "request-log.hpp"
#include "sockets.hpp"

#include <deque>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <vector>

namespace {

const char *const usage =
    "load --port N | --address unix:PATH [flags]: sends one request again and again, checks the answers, prints one line of JSON\n"
    "  --address IP       whom it loads (127.0.0.1), or unix:PATH\n"
    "  --connections N    kept open (64)\n"
    "  --seconds N        what is measured (5)\n"
    "  --warm-up N        seconds of load before that (0)\n"
    "  --rate N           requests a second at fixed times; latency counts from when a request was to leave (0: connections kept busy)\n"
    "  --host NAME        the Host field (localhost)\n"
    "  --path PATH        (/)\n"
    "  --header 'K: V'    one more field; may be said again\n"
    "  --request-bytes N  length of the request's body, which makes it a POST (0: a GET)\n"
    "  --request-byte C   the byte that it consists of (q)\n"
    "  --body-bytes N     length that every answer's body must have (100)\n"
    "  --body-byte C      the byte that it must consist of (w)\n"
    "  --log FILE         a traceparent in each request, and a line for each right answer: TRACE-ID NS NS, since it was due and since it left\n";

/// After that many the run ends: the figures are worth nothing.
constexpr std::uint64_t failuresMax = 1'000;
constexpr std::size_t requestBytesMax = 64 * 1'048'576;
/// How long after the end an answer is waited for.
constexpr std::uint64_t graceNs = 5 * secondNs;

struct Options {
  Address address;
  std::size_t connections;
  double seconds;
  double warmUpSeconds;
  double rate;
  std::string request;
  std::uint64_t bodyBytes;
  char bodyByte;
  std::string log;
  /// Where in the request its RequestLog::field is, if there is a log.
  std::size_t fieldAt;
};

/// Which moments requests leave at: those that a rate gives, or at once while the time lasts.
class Schedule {
 public:
  Schedule(std::uint64_t startNs, std::uint64_t endNs, double rate)
      : startNs_(startNs), endNs_(endNs), periodNs_(rate > 0 ? secondNs / rate : 0) {}

  /// Whether a request is due, and since when.
  bool takeNext(std::uint64_t atNs, std::uint64_t &intendedNs) {
    intendedNs = periodNs_ > 0 ? nextNs() : atNs;
    if (intendedNs > atNs || intendedNs >= endNs_) return false;
    ++taken_;
    return true;
  }

  /// No request is to leave any more. In the open loop that may be after the end, when connections were missing.
  bool isOver(std::uint64_t atNs) const { return (periodNs_ > 0 ? nextNs() : atNs) >= endNs_; }
  bool isOpenLoop() const { return periodNs_ > 0; }
  std::uint64_t nextNs() const { return startNs_ + static_cast<std::uint64_t>(taken_ * periodNs_); }
  /// How many requests of the schedule never left.
  std::uint64_t untaken() const {
    if (!isOpenLoop() || nextNs() >= endNs_) return 0;
    return 1 + static_cast<std::uint64_t>((endNs_ - 1 - nextNs()) / periodNs_);
  }

 private:
  std::uint64_t startNs_;
  std::uint64_t endNs_;
  double periodNs_;
  std::uint64_t taken_ = 0;
};

struct Connection {
  int socket = -1;
  MessageReader reader{MessageKind::answer};
  bool isBusy = false;
  std::uint64_t intendedNs = 0;
  /// With a log: when the request left, its number, and the request itself.
  std::uint64_t sentNs = 0;
  std::uint64_t number = 0;
  std::string request;
  std::size_t unsentBytes = 0;
  std::uint64_t bodyBytes = 0;
  bool isBodyWrong = false;
};

class Load {
 public:
  explicit Load(const Options &options)
      : options_(options),
        poller_(epoll_create1(EPOLL_CLOEXEC)),
        connections_(options.connections),
        startNs_(0),
        measuredFromNs_(0),
        endNs_(0),
        schedule_(0, 0, 0),
        log_(options.log) {
    if (poller_ < 0) endWith("epoll_create1");
    for (Connection &connection : connections_) {
      if (!open(connection)) endWith("no connection");
      idle_.push_back(&connection);
    }
    startNs_ = nowNs();
    measuredFromNs_ = startNs_ + static_cast<std::uint64_t>(options.warmUpSeconds * secondNs);
    endNs_ = measuredFromNs_ + static_cast<std::uint64_t>(options.seconds * secondNs);
    lastAnswerNs_ = measuredFromNs_;
    schedule_ = Schedule(startNs_, endNs_, options.rate);
  }

  void run() {
    static epoll_event events[eventsPerWait];
    std::uint64_t atNs = nowNs();
    double cpuBefore = cpuSeconds();
    bool isMeasuring = false;
    while (failures_ <= failuresMax) {
      std::uint64_t intendedNs;
      while (!idle_.empty() && schedule_.takeNext(atNs, intendedNs)) {
        Connection *connection = idle_.back();
        idle_.pop_back();
        send(*connection, intendedNs);
      }
      const bool isOver = schedule_.isOver(atNs);
      if ((isOver && idle_.size() == connections_.size()) || atNs >= endNs_ + graceNs) break;
      const int ready = wait(events, isOver, atNs);
      for (int i = 0; i < ready; ++i) serve(*static_cast<Connection *>(events[i].data.ptr), events[i].events);
      atNs = nowNs();
      if (!isMeasuring && atNs >= measuredFromNs_) {
        isMeasuring = true;
        cpuBefore = cpuSeconds();
      }
    }
    cpuSeconds_ = cpuSeconds() - cpuBefore;
    countUnanswered();
    log_.close();
  }

  void print() const {
    const double seconds = (lastAnswerNs_ - measuredFromNs_) / 1e9;
    const std::uint64_t requests = latencies_.total();
    std::printf(
        "{\"requests\":%llu,\"failures\":%llu,\"firstFailure\":%s,\"reconnects\":%llu,\"seconds\":%.6f,\"rps\":%.1f,"
        "\"p50Us\":%.1f,\"p90Us\":%.1f,\"p99Us\":%.1f,\"p999Us\":%.1f,\"maxUs\":%.1f,\"cpuSeconds\":%.6f}\n",
        static_cast<unsigned long long>(requests), static_cast<unsigned long long>(failures_),
        firstFailure_.empty() ? "null" : ("\"" + firstFailure_ + "\"").c_str(),
        static_cast<unsigned long long>(reconnects_), seconds, seconds > 0 ? requests / seconds : 0.0,
        latencies_.percentileUs(0.5), latencies_.percentileUs(0.9), latencies_.percentileUs(0.99),
        latencies_.percentileUs(0.999), latencies_.maxUs(), cpuSeconds_);
  }

 private:
  const Options &options_;
  int poller_;
  /// A deque, because epoll keeps pointers into it.
  std::deque<Connection> connections_;
  std::vector<Connection *> idle_;
  std::uint64_t startNs_;
  std::uint64_t measuredFromNs_;
  std::uint64_t endNs_;
  Schedule schedule_;
  RequestLog log_;
  std::uint64_t sent_ = 0;
  LatencyHistogram latencies_;
  std::uint64_t failures_ = 0;
  std::uint64_t reconnects_ = 0;
  std::string firstFailure_;
  std::uint64_t lastAnswerNs_ = 0;
  double cpuSeconds_ = 0;
  char buffer_[262'144];

  bool open(Connection &connection) {
    const int socket = connectTo(options_.address);
    if (socket < 0) return false;
    connection = Connection{};
    connection.socket = socket;
    watch(poller_, socket, &connection);
    return true;
  }

  int wait(epoll_event *events, bool isOver, std::uint64_t atNs) {
    std::uint64_t untilNs = endNs_;
    if (isOver || endNs_ <= atNs) untilNs = endNs_ + graceNs;
    if (schedule_.isOpenLoop() && !isOver && !idle_.empty()) untilNs = std::min(untilNs, schedule_.nextNs());
    const std::uint64_t forNs = untilNs > atNs ? untilNs - atNs : 0;
    const timespec limit{static_cast<time_t>(forNs / secondNs), static_cast<long>(forNs % secondNs)};
    const int ready = epoll_pwait2(poller_, events, eventsPerWait, &limit, nullptr);
    if (ready < 0 && errno != EINTR) endWith("epoll_pwait2");
    return ready;
  }

  void send(Connection &connection, std::uint64_t intendedNs) {
    connection.isBusy = true;
    connection.intendedNs = intendedNs;
    connection.unsentBytes = options_.request.size();
    connection.bodyBytes = 0;
    connection.isBodyWrong = false;
    if (log_.isOn()) {
      connection.request = options_.request;
      connection.number = ++sent_;
      log_.mark(connection.request, options_.fieldAt, connection.number);
      connection.sentNs = nowNs();
    }
    sendRest(connection);
  }

  void sendRest(Connection &connection) {
    const std::string &request = log_.isOn() ? connection.request : options_.request;
    const char *from = request.data() + (request.size() - connection.unsentBytes);
    const ssize_t sent = ::send(connection.socket, from, connection.unsentBytes, MSG_NOSIGNAL);
    if (sent >= 0) connection.unsentBytes -= sent;
    else if (errno != EAGAIN) replace(connection, "the connection broke while a request was sent");
  }

  void serve(Connection &connection, std::uint32_t events) {
    if (connection.unsentBytes > 0) sendRest(connection);
    if ((events & ~EPOLLOUT) == 0) return;
    while (true) {
      const ssize_t received = recv(connection.socket, buffer_, sizeof buffer_, 0);
      if (received > 0) {
        if (!take(connection, buffer_, buffer_ + received)) return;
        if (static_cast<std::size_t>(received) < sizeof buffer_ && (events & EPOLLRDHUP) == 0) return;
      } else if (received < 0 && errno == EAGAIN) {
        return;
      } else {
        replace(connection, connection.isBusy ? "the connection was closed before the answer was whole" : nullptr);
        return;
      }
    }
  }

  /// @return false when the connection was replaced by another.
  bool take(Connection &connection, const char *at, const char *end) {
    if (!connection.isBusy) return replace(connection, "bytes came that nobody asked for");
    const char expected = options_.bodyByte;
    const auto result = connection.reader.read(at, end, [&](const char *bytes, std::size_t length) {
      connection.bodyBytes += length;
      if (*bytes != expected || std::memcmp(bytes, bytes + 1, length - 1) != 0) connection.isBodyWrong = true;
    });
    if (result == MessageReader::Result::needsMore) return true;
    if (result == MessageReader::Result::broken) return replace(connection, "the answer is no HTTP/1.1, or has no length");
    if (at < end) return replace(connection, "bytes came behind the answer");
    if (connection.unsentBytes > 0) return replace(connection, "the answer came before the request had left");
    const std::uint64_t atNs = nowNs();
    finish(connection, atNs);
    if (connection.reader.asksToClose()) return replace(connection, nullptr);
    std::uint64_t intendedNs;
    if (schedule_.takeNext(atNs, intendedNs)) send(connection, intendedNs);
    else idle_.push_back(&connection);
    return true;
  }

  void finish(Connection &connection, std::uint64_t atNs) {
    connection.isBusy = false;
    const int status = connection.reader.status();
    if (status != 200) countFailure("status " + std::to_string(status));
    else if (connection.bodyBytes != options_.bodyBytes)
      countFailure("a body of " + std::to_string(connection.bodyBytes) + " bytes");
    else if (connection.isBodyWrong) countFailure("a body of other bytes than expected");
    else if (connection.intendedNs >= measuredFromNs_) {
      latencies_.record(atNs - connection.intendedNs);
      if (log_.isOn()) log_.write(connection.number, atNs - connection.intendedNs, atNs - connection.sentNs);
      lastAnswerNs_ = atNs;
    }
  }

  /// Closes the connection and opens another in its place, which is idle; `failure` is null when nothing was lost.
  bool replace(Connection &connection, const char *failure) {
    if (failure != nullptr) countFailure(failure);
    const bool wasIdle = std::find(idle_.begin(), idle_.end(), &connection) != idle_.end();
    close(connection.socket);
    ++reconnects_;
    if (!open(connection)) endWith("no connection any more, after " + (failure == nullptr ? "a close" : std::string(failure)));
    if (!wasIdle) idle_.push_back(&connection);
    return false;
  }

  void countFailure(const std::string &what) {
    ++failures_;
    if (firstFailure_.empty()) firstFailure_ = what;
  }

  void countUnanswered() {
    const std::uint64_t missing = connections_.size() - idle_.size() + schedule_.untaken();
    if (missing == 0 || failures_ > failuresMax) return;
    failures_ += missing;
    if (firstFailure_.empty()) firstFailure_ = "no answer " + std::to_string(graceNs / secondNs) + " s after the end";
  }

  static double cpuSeconds() {
    rusage use{};
    getrusage(RUSAGE_SELF, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
  }
};

Options readOptions(int count, char **words) {
  CommandLine flags(count, words, usage);
  const int port = static_cast<int>(flags.number("port", 0, 1, 65'535));
  const std::string host = flags.text("address", "127.0.0.1");
  if (port == 0 && !isUnixAddress(host)) flags.fail("--port is missing.");
  Options options{};
  options.address = addressOf(host, port);
  options.connections = static_cast<std::size_t>(flags.number("connections", 64, 1, 16'384));
  options.seconds = flags.number("seconds", 5, 0.01, 3'600);
  options.warmUpSeconds = flags.number("warm-up", 0, 0, 3'600);
  options.rate = flags.number("rate", 0, 0, 10'000'000);
  options.bodyBytes = static_cast<std::uint64_t>(flags.number("body-bytes", 100, 0, 1e12));
  const std::string bodyByte = flags.text("body-byte", "w");
  if (bodyByte.size() != 1) flags.fail("--body-byte wants one byte.");
  options.bodyByte = bodyByte[0];
  const auto requestBytes = static_cast<std::size_t>(flags.number("request-bytes", 0, 0, requestBytesMax));
  const std::string requestByte = flags.text("request-byte", "q");
  if (requestByte.size() != 1) flags.fail("--request-byte wants one byte.");
  options.request = requestBytes > 0 ? "POST " : "GET ";
  options.request += flags.text("path", "/") + " HTTP/1.1\r\nHost: " + flags.text("host", "localhost") + "\r\n";
  for (const std::string &header : flags.list("header")) {
    if (header.find(": ") == std::string::npos) flags.fail("--header wants 'Name: value', not " + header + ".");
    options.request += header + "\r\n";
  }
  if (requestBytes > 0) options.request += "Content-Length: " + std::to_string(requestBytes) + "\r\n";
  options.log = flags.text("log", "");
  options.fieldAt = options.request.size();
  if (!options.log.empty()) options.request += RequestLog::field;
  options.request += "\r\n" + std::string(requestBytes, requestByte[0]);
  flags.refuseOthers();
  return options;
}

}  // namespace

int main(int count, char **words) {
  const Options options = readOptions(count, words);
  // The kernel may wake a thread 50 microseconds late to save wake-ups: too late for a schedule.
  prctl(PR_SET_TIMERSLACK, 1);
  static Load load(options);
  load.run();
  load.print();
}
