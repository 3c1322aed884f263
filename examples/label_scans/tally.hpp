// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "pipeline.hpp"

#include <algorithm>
#include <cstdint>

namespace label_scans {

/// How much of its time one thread does what it is there for. The first piece of work is not counted, nor what
/// is before it, where a plan is made: there is nothing yet to wait for.
class BusyTime {
 public:
  /// A piece of work, in seconds since any point; later than those before.
  void add(double begin, double end)
  {
    if (pieces_++ == 0) {
      first_end_ = end;
    } else {
      busy_ += end - begin;
    }
    last_end_ = end;
  }
  /// 0 to 1; 1 where there was one piece only, 0 where there was none.
  [[nodiscard]] double share() const
  {
    if (pieces_ < 2) { return pieces_; }
    double const all = last_end_ - first_end_;
    return all > 0 ? std::min(busy_ / all, 1.0) : 1;  // above by a rounding at most
  }

 private:
  int pieces_ = 0;
  double first_end_ = 0;
  double last_end_ = 0;
  double busy_ = 0;
};

/// What a run came to.
struct Tally {
  std::int64_t done = 0;
  std::int64_t failed = 0;
  std::int64_t planned = 0;  // of those done, by a CUDA graph
  double seconds = 0;        // of all
  double between = 0;        // from the first result to the last; failures have none
  double milliseconds = 0;   // median of the computing of a scan
  BusyTime computing;
  PipelineTimes times;

  /// Scans per second without the beginning, in which a plan is made.
  [[nodiscard]] double rate() const
  {
    auto const results = static_cast<double>(done);
    return between > 0 ? (results - 1) / between : seconds > 0 ? results / seconds : 0;
  }
  /// The part of its time that the network computes results, 0 to 1: 1 where it never waits.
  [[nodiscard]] double efficiency() const { return computing.share(); }
};

}  // namespace label_scans
