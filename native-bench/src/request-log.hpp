// Requests that can be told apart: each has a trace id of its own in `traceparent`, and each right answer a line that says what it took.
#pragma once

#include "sockets.hpp"

#include <cstdint>
#include <cstdio>
#include <string>

class RequestLog {
 public:
  /// Its end, for a head that all requests share; `mark` fills in what is zero here.
  static constexpr const char *field = "traceparent: 00-00000000000000000000000000000000-0000000000000000-01\r\n";

  /// `path` empty: there is none.
  explicit RequestLog(const std::string &path) : run_(nowNs() ^ static_cast<std::uint64_t>(getpid()) << 40) {
    if (path.empty()) return;
    file_ = std::fopen(path.c_str(), "w");
    if (file_ == nullptr) endWith("cannot write " + path);
    // One write for many lines: the requests in between should not wait for the disk.
    std::setvbuf(file_, nullptr, _IOFBF, bufferBytes);
  }

  bool isOn() const { return file_ != nullptr; }

  /// Gives the request, whose `field` begins at `at`, its trace id and a span id. `number` from 1.
  void mark(std::string &request, std::size_t at, std::uint64_t number) const {
    char ids[traceIdChars + 1 + spanIdChars + 1];
    std::snprintf(ids, sizeof ids, "%016llx%016llx-%016llx", asLong(run_), asLong(number), asLong(number));
    request.replace(at + std::strlen("traceparent: 00-"), sizeof ids - 1, ids);
  }

  /// `sinceDueNs`: from when it was to leave; `sinceSentNs`: from when it did.
  void write(std::uint64_t number, std::uint64_t sinceDueNs, std::uint64_t sinceSentNs) {
    std::fprintf(file_, "%016llx%016llx %llu %llu\n", asLong(run_), asLong(number), asLong(sinceDueNs), asLong(sinceSentNs));
  }

  void close() {
    if (file_ != nullptr && (std::ferror(file_) != 0 || std::fclose(file_) != 0)) endWith("the log could not be written");
    file_ = nullptr;
  }

 private:
  static constexpr std::size_t bufferBytes = 1'048'576;
  static constexpr std::size_t traceIdChars = 32;
  static constexpr std::size_t spanIdChars = 16;

  /// Tells the requests of this run from those of others.
  std::uint64_t run_;
  std::FILE *file_ = nullptr;

  static unsigned long long asLong(std::uint64_t number) { return number; }
};
