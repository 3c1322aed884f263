// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Every test binary replaces operator new by one that counts, and that fails when told: the std::string and
// std::vector of a reader are seen too, not only what a MemoryResource hands out.

#include <cstddef>
#include <cstdint>
#include <new>

namespace test {

/// What operator new did since the watch was made, in all threads.
class AllocationWatch {
 public:
  AllocationWatch();

  [[nodiscard]] std::int64_t allocations() const;
  /// Bytes allocated and not yet freed; negative if more was freed.
  [[nodiscard]] std::int64_t bytes_in_use() const;
  /// The most that bytes_in_use() has been. One watch at a time: making another starts this count anew.
  [[nodiscard]] std::int64_t peak_bytes() const;

 private:
  std::int64_t allocations_;
  std::int64_t bytes_;
};

/// While it lives, allocation number `n` from now, counted from 0 over all threads, throws bad_alloc. The
/// others do not.
class FailingAllocation {
 public:
  explicit FailingAllocation(std::int64_t n);
  FailingAllocation(FailingAllocation const&) = delete;
  FailingAllocation& operator=(FailingAllocation const&) = delete;
  ~FailingAllocation();

  /// Whether that allocation was asked for.
  [[nodiscard]] bool happened() const;
};

/// How a run with every allocation failing once went.
struct AllocationTrial {
  std::int64_t failed = 0;    // runs that an exception ended
  std::int64_t survived = 0;  // runs that ended well although an allocation failed
  std::int64_t leaks = 0;     // runs after which more memory was in use than before
};

/// Runs `action` with allocation 0 failing, then 1, and so on, until a run needs no further one. After a run
/// that bad_alloc ended, `after_failure(n)` is called; after one that ended well in spite of it,
/// `after_success(n)`: there the results must be complete. Any other exception passes through.
/// What `action` keeps must be made by a call before, or it counts as leaked.
template <class Action, class AfterFailure, class AfterSuccess>
AllocationTrial fail_every_allocation(Action const& action, AfterFailure const& after_failure,
                                      AfterSuccess const& after_success, std::int64_t step = 1)
{
  AllocationTrial trial;
  for (std::int64_t n = 0;; n += step) {
    AllocationWatch const watch;
    bool reached = false;
    bool ended_well = true;
    {
      FailingAllocation const failing{n};
      try {
        action();
      } catch (std::bad_alloc const&) {
        ended_well = false;
      }
      reached = failing.happened();
    }
    if (!reached) { return trial; }
    trial.leaks += watch.bytes_in_use() > 0 ? 1 : 0;
    if (ended_well) {
      ++trial.survived;
      after_success(n);
    } else {
      ++trial.failed;
      after_failure(n);
    }
  }
}

}  // namespace test
