// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/bounds_and_count.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/train/communicator.hpp>
#include <tessera/train/parameter_arena.hpp>
#include <tessera/train/step_state.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// gate = 1 where the data are not what the plan was made for, or the step is a trial; else 0.
struct CloseGate {
  std::uint32_t const* errors;  // [1], not read of a trial
  bool is_trial;
  std::uint32_t* gate;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const { *gate = is_trial || *errors != 0 ? 1 : 0; }
};

/// to[i] = from[i] where the gate is closed.
template <class T>
struct RestoreRefused {
  std::uint32_t const* gate;  // [1]
  T const* from;
  T* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (*gate != 0) { to[i] = from[i]; }
  }
};

/// What a run is noted with: the errors of its data, those of another rank, or a gradient that is not finite.
struct JudgeRun {
  std::uint32_t const* errors;  // [2]
  std::uint32_t const* gate;    // [1]
  train::StepState const* state;
  StepOptions options;
  std::uint32_t* verdict;  // [2]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    auto bits = errors[0];
    if (bits == 0 && *gate != 0) { bits = DataError::other_rank; }
    if (is_stuck(*state, options)) { bits |= DataError::not_finite; }
    verdict[0] = bits;
    verdict[1] = errors[1];
  }
};

/// to[0] = from[0].
template <class T>
struct CopyOne {
  T const* from;
  T* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const { *to = *from; }
};

/// Keeps a step whose data are at fault from changing anything: steps pass its gate(), and the running
/// statistics, which the forward pass changes, are put back.
template <class Scalar, class Space>
class StepGuard {
 public:
  using Sum = accumulator_t<Scalar>;
  using Arena = train::ParameterArena<Scalar, Space>;

  /// Cost: as much memory as the running statistics.
  StepGuard(Arena& arena, Execution<Space> const& exec)
      : arena_{arena},
        sums_{arena.size() - arena.gradient_size(), exec},
        narrow_{Arena::has_masters ? arena.size() - arena.gradient_size() : 0, exec},
        words_{3, exec}
  {
    fill_bytes(words_, 0, exec);
  }

  /// Keeps the running statistics, before the forward pass.
  /// Stream: enqueues at most two copies.
  void keep(Execution<Space> const& exec)
  {
    auto const first = arena_.gradient_size();
    Transfer<Space>::copy(sums_.data(), arena_.masters() + first, sums_.bytes(), exec);
    if constexpr (Arena::has_masters) {
      Transfer<Space>::copy(narrow_.data(), arena_.narrow() + first, narrow_.bytes(), exec);
    }
  }
  /// Closes the gate where `errors` [1] are not 0 or the step is a trial, on every rank where it is on one.
  /// Stream: enqueues a kernel, and with several ranks a collective.
  void judge_data(std::uint32_t const* errors, bool is_trial, train::Communicator<Space> const& ranks,
                  Execution<Space> const& exec)
  {
    for_each(1, CloseGate{errors, is_trial, words_.data()}, exec);
    ranks.all_reduce_sum(words_.data(), 1, exec);
  }
  /// [1] in `Space`: not 0 where the step is not to be taken.
  [[nodiscard]] std::uint32_t const* gate() const noexcept { return words_.data(); }
  /// Puts the running statistics back where the gate is closed.
  /// Stream: enqueues at most two kernels.
  void restore(Execution<Space> const& exec)
  {
    auto const first = arena_.gradient_size();
    for_each(sums_.size(), RestoreRefused<Sum>{gate(), sums_.data(), arena_.masters() + first}, exec);
    if constexpr (Arena::has_masters) {
      for_each(narrow_.size(), RestoreRefused<Scalar>{gate(), narrow_.data(), arena_.narrow() + first}, exec);
    }
  }
  /// What to note of the run: [2] in `Space`, bits of DataError and the code of a row.
  /// Stream: enqueues a kernel.
  [[nodiscard]] std::uint32_t const* judge_run(std::uint32_t const* errors, train::StepState const* state,
                                               StepOptions const& options, Execution<Space> const& exec)
  {
    for_each(1, JudgeRun{errors, gate(), state, options, words_.data() + 1}, exec);
    return words_.data() + 1;
  }

 private:
  Arena& arena_;
  Buffer<Sum, Space> sums_;
  Buffer<Scalar, Space> narrow_;
  Buffer<std::uint32_t, Space> words_;  // the gate, and the verdict
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
