// A check of the histogram: reads nanoseconds from standard input, one a line, and prints their percentiles as `load` does.

#include "latency-histogram.hpp"

#include <cstdio>

int main() {
  static LatencyHistogram histogram;
  unsigned long long nanoseconds = 0;
  while (std::scanf("%llu", &nanoseconds) == 1) histogram.record(nanoseconds);
  std::printf("{\"total\":%llu", static_cast<unsigned long long>(histogram.total()));
  for (const double percent : {0.0, 50.0, 90.0, 99.0, 99.9, 100.0})
    std::printf(",\"p%gUs\":%.4f", percent, histogram.percentileUs(percent / 100));
  std::printf(",\"maxUs\":%.4f}\n", histogram.maxUs());
}
