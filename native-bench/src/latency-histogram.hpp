// Latencies by size, with a constant relative width of a bucket (as HdrHistogram has it): at most 0.05 % from the true value.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

class LatencyHistogram {
 public:
  void record(std::uint64_t nanoseconds) {
    ++counts_[bucketOf(std::min(nanoseconds, nanosecondsMax))];
    ++total_;
    max_ = std::max(max_, nanoseconds);
  }

  std::uint64_t total() const { return total_; }
  double maxUs() const { return max_ / 1e3; }

  /// The latency that this share (0 to 1) of the requests had at most, microseconds; 0 without requests.
  double percentileUs(double share) const {
    const auto wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(share * total_ + 0.5));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) return std::min(middleOf(i) / 1e3, maxUs());
    }
    return maxUs();
  }

 private:
  /// 1,024 buckets for every power of two: three digits of every latency hold.
  static constexpr int bits = 10;
  static constexpr std::uint64_t perPower = 1u << bits;
  /// 18 minutes; more is counted as this, and kept exactly in `max_` only.
  static constexpr std::uint64_t nanosecondsMax = (1ull << 40) - 1;

  std::array<std::uint64_t, (40 - bits + 1) * perPower> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ = 0;

  static std::size_t bucketOf(std::uint64_t value) {
    if (value < perPower) return value;
    const int shift = 63 - __builtin_clzll(value) - bits;
    return (shift + 1) * perPower + (value >> shift) - perPower;
  }

  static double middleOf(std::size_t bucket) {
    if (bucket < perPower) return bucket;
    const int shift = static_cast<int>(bucket / perPower) - 1;
    const double lower = static_cast<double>((bucket % perPower + perPower) << shift);
    return lower + static_cast<double>(1ull << shift) / 2;
  }
};
