// Where HTTP/1.1 messages end in a stream of bytes, however the bytes are split over reads; bodies are handed on as they come.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <strings.h>

/// Requests without a length have no body; answers without one are broken, because a kept connection could not tell where they end.
enum class MessageKind { request, answer };

/// Reads one message after the other (RFC 9112, sections 4 to 7). After `broken` the connection is of no more use.
class MessageReader {
 public:
  enum class Result { needsMore, whole, broken };

  explicit MessageReader(MessageKind kind) : kind_(kind) {}

  /// Takes bytes from `at` until the message or the bytes end, and moves `at` behind what it took.
  /// `onBody(bytes, length)` gets the body's bytes, without the framing of chunks.
  template <class OnBody>
  Result read(const char *&at, const char *end, OnBody &&onBody) {
    if (phase_ == Phase::head) {
      const Result result = takeHead(at, end);
      if (result != Result::whole || bodyLeft_ == 0 && phase_ == Phase::head) return result;
    }
    while (at < end) {
      if (phase_ == Phase::body || phase_ == Phase::chunk) {
        const std::uint64_t length = std::min<std::uint64_t>(bodyLeft_, end - at);
        onBody(at, static_cast<std::size_t>(length));
        at += length;
        bodyLeft_ -= length;
        if (bodyLeft_ > 0) return Result::needsMore;
        if (phase_ == Phase::body) return finish();
        phase_ = Phase::chunkEnd;
      } else {
        const Result result = takeChunkFraming(*at++);
        if (result != Result::needsMore) return result;
      }
    }
    return Result::needsMore;
  }

  /// Of the last head that was read: the answer's status, and whether its sender closes (or wants closed) the connection after it.
  int status() const { return status_; }
  bool asksToClose() const { return asksToClose_; }
  /// The last request's target, as it was sent.
  const std::string &target() const { return target_; }
  /// Whether a message has begun and not ended.
  bool isWithin() const { return phase_ != Phase::head || !partialHead_.empty(); }

 private:
  enum class Phase { head, body, chunkSize, chunk, chunkEnd, trailer };

  static constexpr std::size_t headBytesMax = 65'536;
  static constexpr int chunkDigitsMax = 8;

  MessageKind kind_;
  Phase phase_ = Phase::head;
  /// What came of a head that has not all come. Empty nearly always: a head that comes whole is read where it lies.
  std::string partialHead_;
  std::uint64_t bodyLeft_ = 0;
  int status_ = 0;
  std::string target_;
  bool asksToClose_ = false;
  bool isChunked_ = false;
  bool hasLength_ = false;
  int chunkDigits_ = 0;
  bool isInExtension_ = false;
  std::size_t lineBytes_ = 0;
  std::size_t trailerBytes_ = 0;

  Result finish() {
    phase_ = Phase::head;
    bodyLeft_ = 0;
    return Result::whole;
  }

  /// `whole` when the head was, and `phase_` says what follows it: another head when there is no body.
  Result takeHead(const char *&at, const char *end) {
    const char *after = nullptr;
    bool isBroken = false;
    if (partialHead_.empty()) {
      after = parseHead(at, end, isBroken);
      if (after == nullptr) partialHead_.assign(at, end);
      at = after == nullptr ? end : after;
    } else {
      const std::size_t before = partialHead_.size();
      partialHead_.append(at, end);
      const char *start = partialHead_.data();
      after = parseHead(start, start + partialHead_.size(), isBroken);
      at = after == nullptr ? end : at + (after - start - before);
      if (after != nullptr) partialHead_.clear();
    }
    if (isBroken || partialHead_.size() > headBytesMax) return Result::broken;
    if (after == nullptr) return Result::needsMore;
    return enterBody();
  }

  Result enterBody() {
    if (isChunked_) {
      phase_ = Phase::chunkSize;
      bodyLeft_ = 0;
      chunkDigits_ = 0;
      isInExtension_ = false;
    } else if (bodyLeft_ > 0) {
      phase_ = Phase::body;
    } else if (kind_ == MessageKind::answer && !hasLength_ && status_ != 204 && status_ != 304) {
      return Result::broken;
    }
    return Result::whole;
  }

  /// Where the head ends, or null when it has not all come.
  const char *parseHead(const char *begin, const char *end, bool &isBroken) {
    status_ = 0;
    bodyLeft_ = 0;
    asksToClose_ = isChunked_ = hasLength_ = false;
    for (const char *line = begin; line < end;) {
      const auto *newline = static_cast<const char *>(std::memchr(line, '\n', end - line));
      if (newline == nullptr) return nullptr;
      const bool isEmpty = newline == line || (newline == line + 1 && *line == '\r');
      if (line == begin) isBroken = isEmpty || !readStartLine(line, newline);
      else if (isEmpty) return newline + 1;
      else isBroken = !readField(line, newline);
      if (isBroken) return newline + 1;
      line = newline + 1;
    }
    return nullptr;
  }

  bool readStartLine(const char *line, const char *newline) {
    if (kind_ == MessageKind::request) return readRequestLine(line, newline);
    if (newline - line < 12 || std::memcmp(line, "HTTP/1.", 7) != 0) return false;
    for (int i = 9; i < 12; ++i) status_ = status_ * 10 + (line[i] - '0');
    return status_ >= 100 && status_ <= 999;
  }

  bool readRequestLine(const char *line, const char *newline) {
    if (newline - line < 14) return false;
    const auto *from = static_cast<const char *>(std::memchr(line, ' ', newline - line));
    const auto *to = from == nullptr ? nullptr : static_cast<const char *>(std::memchr(from + 1, ' ', newline - from - 1));
    if (to == nullptr) return false;
    // Most requests of a connection ask for the same.
    const std::size_t length = to - from - 1;
    if (length != target_.size() || std::memcmp(from + 1, target_.data(), length) != 0) target_.assign(from + 1, length);
    return true;
  }

  /// Only three fields matter here, and their first letters sort out nearly all others.
  bool readField(const char *line, const char *newline) {
    const char first = static_cast<char>(*line | 0x20);
    if (first != 'c' && first != 't') return true;
    const auto is = [&](const char *name, std::ptrdiff_t length) {
      return newline - line > length && strncasecmp(line, name, length) == 0;
    };
    if (is("content-length:", 15)) return readLength(line + 15, newline);
    if (is("transfer-encoding:", 18)) isChunked_ = contains(line + 18, newline, "chunked");
    else if (is("connection:", 11)) asksToClose_ = contains(line + 11, newline, "close");
    return true;
  }

  bool readLength(const char *at, const char *newline) {
    std::uint64_t length = 0;
    int digits = 0;
    for (; at < newline; ++at) {
      if (*at >= '0' && *at <= '9') {
        if (++digits > 15) return false;
        length = length * 10 + (*at - '0');
      } else if (*at != ' ' && *at != '\t' && *at != '\r') {
        return false;
      }
    }
    bodyLeft_ = length;
    hasLength_ = true;
    return digits > 0;
  }

  static bool contains(const char *at, const char *end, const char *word) {
    const std::ptrdiff_t length = std::strlen(word);
    for (; end - at >= length; ++at)
      if (strncasecmp(at, word, length) == 0) return true;
    return false;
  }

  Result takeChunkFraming(char byte) {
    switch (phase_) {
      case Phase::chunkSize:
        return takeChunkSize(byte);
      case Phase::chunkEnd:
        if (byte == '\n') {
          phase_ = Phase::chunkSize;
          chunkDigits_ = 0;
          isInExtension_ = false;
          return Result::needsMore;
        }
        return byte == '\r' ? Result::needsMore : Result::broken;
      default:
        return takeTrailer(byte);
    }
  }

  Result takeChunkSize(char byte) {
    if (byte == '\n') {
      if (chunkDigits_ == 0) return Result::broken;
      phase_ = bodyLeft_ == 0 ? Phase::trailer : Phase::chunk;
      lineBytes_ = trailerBytes_ = 0;
      return Result::needsMore;
    }
    if (++lineBytes_ > headBytesMax) return Result::broken;
    if (byte == '\r' || isInExtension_) return Result::needsMore;
    if (byte == ';' || byte == ' ' || byte == '\t') {
      isInExtension_ = true;
      return Result::needsMore;
    }
    const int digit = hexDigit(byte);
    if (digit < 0 || ++chunkDigits_ > chunkDigitsMax) return Result::broken;
    bodyLeft_ = bodyLeft_ * 16 + digit;
    return Result::needsMore;
  }

  Result takeTrailer(char byte) {
    if (++trailerBytes_ > headBytesMax) return Result::broken;
    if (byte == '\n') {
      if (lineBytes_ == 0) return finish();
      lineBytes_ = 0;
    } else if (byte != '\r') {
      ++lineBytes_;
    }
    return Result::needsMore;
  }

  static int hexDigit(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    const char lower = static_cast<char>(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  }
};
