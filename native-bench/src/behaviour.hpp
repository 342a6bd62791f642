// What the upstream answers, and when: by its flags, and by the query of each request. All bytes are made once, not per request.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <unordered_map>

/// A request's body as it comes: how long it is, and whether it is one byte, repeated.
struct RequestBody {
  std::uint64_t bytes = 0;
  char byte = 0;
  bool isMixed = false;

  void take(const char *from, std::size_t length) {
    if (length == 0) return;
    if (bytes == 0) byte = *from;
    if (*from != byte || std::memcmp(from, from + 1, length - 1) != 0) isMixed = true;
    bytes += length;
  }
};

struct Behaviour {
  static constexpr const char *names[] = {"bytes", "delay", "fail", "every", "takes"};
  static constexpr std::uint64_t bodyBytesMax = 64 * 1'048'576;
  static constexpr std::uint64_t delayMsMax = 600'000;

  std::uint64_t bodyBytes = 100;
  std::uint64_t delayNs = 0;
  /// Status of the requests that fail; 0: none does, 1: their connection ends without an answer.
  int failStatus = 0;
  std::uint64_t failEvery = 1;
  /// Length that a request's body must have, if it is checked.
  std::uint64_t takesBytes = 0;
  bool isBodyChecked = false;

  /// @return false when there is no such value; an unknown name is nobody's concern here.
  bool set(const std::string &name, const std::string &value) {
    if (name == "fail" && value == "close") {
      failStatus = 1;
      return true;
    }
    std::uint64_t number = 0;
    if (name == "bytes") return read(value, 0, bodyBytesMax, bodyBytes);
    if (name == "every") return read(value, 1, UINT64_MAX, failEvery);
    if (name == "takes") {
      isBodyChecked = read(value, 0, UINT64_MAX, takesBytes);
      return isBodyChecked;
    }
    if (name == "delay") {
      if (!read(value, 0, delayMsMax, number)) return false;
      delayNs = number * 1'000'000;
    } else if (name == "fail") {
      if (!read(value, 200, 599, number)) return false;
      failStatus = static_cast<int>(number);
    }
    return true;
  }

  /// To be called once when all is set.
  void makeAnswers(char bodyByte) {
    good_ = answerOf("200 OK", bodyBytes, bodyByte);
    unwanted_ = answerOf("422 Unprocessable Content", 0, bodyByte);
    failed_ = answerOf(std::to_string(failStatus) + " Failure", 0, bodyByte);
  }

  /// Null: none, and the connection ends.
  const std::string *answerTo(const RequestBody &body) {
    if (isBodyChecked && (body.isMixed || body.bytes != takesBytes)) return &unwanted_;
    if (failStatus == 0 || ++asked_ % failEvery != 0) return &good_;
    return failStatus == 1 ? nullptr : &failed_;
  }

 private:
  std::string good_;
  std::string unwanted_;
  std::string failed_;
  std::uint64_t asked_ = 0;

  static bool read(const std::string &text, std::uint64_t min, std::uint64_t max, std::uint64_t &number) {
    char *end = nullptr;
    const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
    if (text.empty() || text[0] < '0' || text[0] > '9' || *end != '\0' || value < min || value > max) return false;
    number = value;
    return true;
  }

  static std::string answerOf(const std::string &status, std::uint64_t bodyBytes, char bodyByte) {
    char date[64];
    const time_t now = time(nullptr);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    return "HTTP/1.1 " + status + "\r\nServer: upstream\r\nDate: " + date +
           "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(bodyBytes) +
           "\r\nConnection: keep-alive\r\n\r\n" + std::string(bodyBytes, bodyByte);
  }
};

/// The behaviour for each target that was asked for.
class Behaviours {
 public:
  Behaviours(const Behaviour &fallback, char bodyByte) : bodyByte_(bodyByte), fallback_(fallback) {
    fallback_.makeAnswers(bodyByte);
  }

  Behaviour &of(const std::string &target) {
    // Nearly always the one of before.
    if (last_ != nullptr && target == lastTarget_) return *last_;
    lastTarget_ = target;
    return *(last_ = &find(target));
  }

 private:
  static constexpr std::size_t targetsMax = 256;

  char bodyByte_;
  Behaviour fallback_;
  std::unordered_map<std::string, Behaviour> byTarget_;
  std::string lastTarget_;
  Behaviour *last_ = nullptr;

  Behaviour &find(const std::string &target) {
    const std::size_t queryAt = target.find('?');
    if (queryAt == std::string::npos) return fallback_;
    const auto found = byTarget_.find(target);
    if (found != byTarget_.end()) return found->second;
    // Connections owe bytes of these, so none is ever taken away.
    if (byTarget_.size() == targetsMax) return fallback_;
    Behaviour behaviour = fallback_;
    for (std::size_t at = queryAt + 1; at < target.size();) {
      const std::size_t end = std::min(target.find('&', at), target.size());
      const std::size_t equals = std::min(target.find('=', at), end);
      if (equals < end) behaviour.set(target.substr(at, equals - at), target.substr(equals + 1, end - equals - 1));
      at = end + 1;
    }
    behaviour.makeAnswers(bodyByte_);
    return byTarget_.emplace(target, std::move(behaviour)).first->second;
  }
};
