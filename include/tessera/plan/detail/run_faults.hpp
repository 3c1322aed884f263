// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/plan/status.hpp>

#include <cstdint>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which faults of a plan's runs have been taken notice of. Any thread may ask.
class RunFaults {
 public:
  /// What the runs since take() met with; `finished` and `cuda` are for others to say.
  [[nodiscard]] PlanReport report(PlanRecord const& record) const noexcept
  {
    std::lock_guard const lock{mutex_};
    auto const now = load(record);
    return report_of(new_faults(now, known_), now.runs);
  }
  /// Bits of DataError of the runs since the last call.
  [[nodiscard]] std::uint32_t take(PlanRecord const& record) noexcept
  {
    std::lock_guard const lock{mutex_};
    auto const now = load(record);
    return new_faults(now, std::exchange(known_, now));
  }

 private:
  mutable std::mutex mutex_;
  PlanRecord known_{};
};

/// The record of a plan's runs in its space.
template <class Space>
class RunRecord;

/// On the host: a run has ended when it is noted.
template <>
class RunRecord<Host> {
 public:
  /// Counts a run that has ended with these errors, bits of DataError and the code of a row.
  void note(std::uint32_t const* errors) noexcept
  {
    for (int kind = 0; kind < PlanRecord::kinds; ++kind) {
      if ((errors[0] >> kind & 1U) != 0) {
        __atomic_fetch_add(&record_.faulty[kind], std::uint32_t{1}, __ATOMIC_RELAXED);
      }
    }
    if ((errors[0] & DataError::bad_label) != 0) {
      __atomic_store_n(&record_.row, errors[1], __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&record_.runs, std::uint64_t{1}, __ATOMIC_RELEASE);
  }
  [[nodiscard]] PlanReport report() const noexcept { return faults_.report(record_); }
  [[nodiscard]] std::uint32_t take_faults() noexcept { return faults_.take(record_); }
  /// code_of_row() of the last run with a bad label.
  [[nodiscard]] std::uint32_t bad_row() const noexcept { return load(record_).row; }

 private:
  PlanRecord record_{};
  RunFaults faults_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
