// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/scalar.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The type that elements of `T` are summed as, if they can be: unsigned integers have the bits of signed ones.
template <class T>
[[nodiscard]] constexpr std::optional<DType> reduced_type() noexcept
{
  if (std::is_same_v<T, float>) { return DType::float32; }
  if (std::is_same_v<T, double>) { return DType::float64; }
  if (!std::is_integral_v<T>) { return std::nullopt; }
  if (sizeof(T) == 4) { return DType::int32; }
  if (sizeof(T) == 8) { return DType::int64; }
  return std::nullopt;
}

/// a + b; integers wrap around, as unsigned ones do that are summed as signed ones.
template <class T>
[[nodiscard]] constexpr T wrapping_sum(T a, T b) noexcept
{
  if constexpr (std::is_integral_v<T>) {
    using Bits = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<Bits>(a) + static_cast<Bits>(b));
  } else {
    return static_cast<T>(a + b);
  }
}

}  // namespace detail

namespace train {

/// Thrown when ranks no longer answer or their transport fails; the sentence names them where they are known.
class communication_error : public std::runtime_error {
 public:
  explicit communication_error(std::string const& what, std::vector<int> ranks = {})
      : std::runtime_error{what}, ranks_{std::move(ranks)}
  {}

  /// The ranks that did not answer, ascending; empty where the transport does not tell.
  [[nodiscard]] std::vector<int> const& ranks() const noexcept { return ranks_; }

 private:
  std::vector<int> ranks_;
};

/// How long a rank may keep the others waiting before it counts as gone.
inline constexpr std::chrono::milliseconds default_rank_timeout{20'000};

/// How ranks exchange data: what a Communicator calls. Derive from it to bring a transport of your own.
///
/// Memory is that of the space. Every rank makes the same calls in the same order. A call may return before
/// its work is done where the execution is a stream, in whose order it then runs.
template <class Space>
class Collectives {
 public:
  Collectives() = default;
  Collectives(Collectives const&) = delete;
  Collectives& operator=(Collectives const&) = delete;
  virtual ~Collectives() = default;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;
  /// @param type  float32, float64, int32 or int64
  virtual void all_reduce_sum(void* data, std::int64_t n, DType type, Execution<Space> const& exec) = 0;
  virtual void broadcast(void* data, std::size_t bytes, int root, Execution<Space> const& exec) = 0;
  virtual void all_gather(void const* mine, void* all, std::size_t bytes, Execution<Space> const& exec) = 0;
  virtual void barrier(Execution<Space> const& exec) = 0;
  /// Throws communication_error if a rank is known to be gone; does not communicate.
  virtual void check() = 0;
  /// Whether a CUDA graph can have its calls in it: they enqueue, and do not wait for the host.
  [[nodiscard]] virtual bool is_capturable() const noexcept { return false; }
  /// A graph that has collectives in it was launched on `exec`.
  virtual void watch(Execution<Space> const& /*exec*/) {}
};

/// The ranks of a data parallel program: as many processes as there are, each with its part of the batch.
///
/// Made by default it is a process by itself, rank 0 of 1, whose collectives return at once; so one program
/// serves both. mpi_communicator() (train/mpi_communicator.hpp) makes one of the processes that `mpirun` or
/// `srun` started, nccl_communicator() (train/nccl_communicator.cuh) one of GPUs. Copies are the same
/// communicator. Every rank makes the same calls in the same order, from one thread at a time.
///
/// A rank that dies or hangs makes the calls of the others throw communication_error with its number once the
/// time that the communicator was given has passed; from then on every call does.
template <class Space>
class Communicator {
 public:
  /// A process by itself.
  Communicator() = default;
  explicit Communicator(std::shared_ptr<Collectives<Space>> collectives)
      : collectives_{std::move(collectives)}
  {
    detail::expects(collectives_ != nullptr, "Communicator: no collectives");
  }

  /// Number of this process, in [0, size()).
  [[nodiscard]] int rank() const noexcept { return collectives_ ? collectives_->rank() : 0; }
  [[nodiscard]] int size() const noexcept { return collectives_ ? collectives_->size() : 1; }
  /// Whether it is a process by itself, without a transport; a transport may have one rank too.
  [[nodiscard]] bool is_alone() const noexcept { return collectives_ == nullptr; }
  /// Whether a CUDA graph can have its collectives in it: of a process by itself and of NCCL, not of MPI.
  [[nodiscard]] bool is_capturable() const noexcept { return is_alone() || collectives_->is_capturable(); }

  /// data[i] = the sum of data[i] over all ranks, on every rank.
  ///
  /// | name | shape | memory | holds                                                  |
  /// |------|-------|--------|--------------------------------------------------------|
  /// | data | [n]   | Space  | float, double, or integers of 4 or 8 bytes, unsigned   |
  /// |      |       |        | ones too, which wrap around; the same n on each rank   |
  ///
  /// @throws invalid_argument  n is negative
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: each rank sends and receives 2 n (size - 1) / size elements; none on a process by itself.
  /// Stream: NCCL enqueues and does not wait, MPI returns when it is done.
  /// Determinism: MPI adds in the order of the ranks; NCCL's order is fixed by n, the number of ranks and how
  /// they are connected: the same bits on every run, and on every rank.
  template <class T>
  void all_reduce_sum(T* data, std::int64_t n, Execution<Space> const& exec) const
  {
    static_assert(detail::reduced_type<T>().has_value(),
                  "all_reduce_sum: float, double, or integers of 4 or 8 bytes");
    detail::expects(n >= 0, "all_reduce_sum: ", n, " elements");
    if (collectives_ && n > 0) { collectives_->all_reduce_sum(data, n, *detail::reduced_type<T>(), exec); }
  }

  /// Gives every rank the elements [n] of rank `root`.
  /// @throws invalid_argument  n is negative, or there is no rank `root`
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: n elements to each rank.
  /// Stream: as all_reduce_sum().
  /// Determinism: copies.
  template <class T>
  void broadcast(T* data, std::int64_t n, int root, Execution<Space> const& exec) const
  {
    static_assert(std::is_trivially_copyable_v<T>, "broadcast: T must be trivially copyable");
    detail::expects(n >= 0, "broadcast: ", n, " elements");
    detail::expects(root >= 0 && root < size(), "broadcast: root ", root, " of ", size(), " ranks");
    if (collectives_ && n > 0) {
      collectives_->broadcast(data, static_cast<std::size_t>(n) * sizeof(T), root, exec);
    }
  }

  /// all[r, i] = mine[i] of rank r, on every rank.
  ///
  /// | name | shape     | memory | holds                                    |
  /// |------|-----------|--------|------------------------------------------|
  /// | mine | [n]       | Space  | a few values; the same n on each rank    |
  /// | all  | [size, n] | Space  | those of all ranks; not overlapping mine |
  ///
  /// @throws invalid_argument  n is negative
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: n (size - 1) elements from and to each rank.
  /// Stream: as all_reduce_sum().
  /// Determinism: copies.
  template <class T>
  void all_gather(T const* mine, T* all, std::int64_t n, Execution<Space> const& exec) const
  {
    static_assert(std::is_trivially_copyable_v<T>, "all_gather: T must be trivially copyable");
    detail::expects(n >= 0, "all_gather: ", n, " elements");
    auto const bytes = static_cast<std::size_t>(n) * sizeof(T);
    if (n == 0) { return; }
    if (collectives_) {
      collectives_->all_gather(mine, all, bytes, exec);
    } else {
      detail::Transfer<Space>::copy(all, mine, bytes, exec);
    }
  }

  /// Returns when every rank has called it and the work enqueued before on `exec` has finished.
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: a small message to each rank.
  /// Stream: waits.
  /// Determinism: no values.
  void barrier(Execution<Space> const& exec) const
  {
    if (collectives_) {
      collectives_->barrier(exec);
    } else {
      exec.wait();
    }
  }

  /// To be called after a CUDA graph that has collectives in it was launched on `exec`, so that it is given up
  /// when a rank is gone; collectives outside of graphs are watched anyway.
  /// Cost: an event.
  /// Stream: records it, does not wait.
  /// Determinism: no values.
  void watch(Execution<Space> const& exec) const
  {
    if (collectives_) { collectives_->watch(exec); }
  }

  /// Throws if a rank is known to be gone. To be called after waiting for a stream: where a rank is gone,
  /// enqueued collectives end without a result.
  /// @throws std::runtime_error  communication_error
  /// Cost: none.
  /// Stream: enqueues nothing, does not wait.
  /// Determinism: no values.
  void check() const
  {
    if (collectives_) { collectives_->check(); }
  }

 private:
  std::shared_ptr<Collectives<Space>> collectives_;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
