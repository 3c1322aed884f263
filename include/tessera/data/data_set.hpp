// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/data/detail/random.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The size of a data set without a last scan.
inline constexpr std::int64_t endless = -1;

/// Which scan is loaded, as what.
struct SampleIndex {
  std::int64_t index = 0;     ///< in the data set
  std::int64_t epoch = 0;     ///< how often all scans were gone through before
  std::int64_t position = 0;  ///< how many scans this process took before, in all epochs
  std::uint64_t seed = 0;  ///< for what is drawn, such as augmentation: of (the order's seed, epoch, index)
};

/// The order in which scans are gone through: `ScanOrder(data.size()).shuffle(true).seed(7).shard(rank,
/// ranks)`.
///
/// In each epoch every scan comes once, in the order of their numbers or in one drawn for (seed, epoch). Of
/// that order process `rank` of `ranks` takes every `ranks`-th scan from `rank` on: what N processes take
/// together is what one process with N times the batch takes. Where scans do not divide evenly, an epoch
/// begins again with its first ones, so that each process takes as many and none waits for others;
/// even(false) leaves some with one less instead, for evaluation.
///
/// An endless data set has one epoch and its own order.
class ScanOrder {
 public:
  /// @throws invalid_argument  a negative size other than `endless`
  explicit ScanOrder(std::int64_t size) : size_{size}
  {
    detail::expects(size >= endless, "ScanOrder: a data set of ", size, " scans");
  }

  ScanOrder& shuffle(bool on = true) { return shuffle_ = on, *this; }
  ScanOrder& seed(std::uint64_t value) { return seed_ = value, *this; }
  /// @throws invalid_argument  there is no such process
  ScanOrder& shard(int rank, int ranks)
  {
    detail::expects(ranks >= 1 && rank >= 0 && rank < ranks, "ScanOrder: process ", rank, " of ", ranks);
    rank_ = rank;
    ranks_ = ranks;
    return *this;
  }
  ScanOrder& even(bool on) { return even_ = on, *this; }

  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  [[nodiscard]] bool is_endless() const noexcept { return size_ == endless; }

  /// Scans that this process takes in an epoch; `endless` of an endless data set.
  [[nodiscard]] std::int64_t epoch_size() const noexcept
  {
    if (is_endless()) { return endless; }
    auto const others = even_ ? ranks_ - 1 : ranks_ - 1 - rank_;
    return (size_ + others) / ranks_;
  }

  /// The order of an epoch, [size]; empty where it is that of the numbers.
  /// Cost: one pass over the numbers.
  /// Determinism: the same on every machine.
  [[nodiscard]] std::vector<std::int64_t> permutation(std::int64_t epoch) const
  {
    if (!shuffle_ || is_endless()) { return {}; }
    std::vector<std::int64_t> order(static_cast<std::size_t>(size_));
    for (std::size_t i = 0; i < order.size(); ++i) { order[i] = static_cast<std::int64_t>(i); }
    detail::Random random{seed_, 5, static_cast<std::uint64_t>(epoch)};
    for (auto left = order.size(); left > 1; --left) {  // Fisher-Yates
      std::swap(order[left - 1], order[static_cast<std::size_t>(random.next() % left)]);
    }
    return order;
  }

  /// The scan at a position, given the permutation of its epoch.
  [[nodiscard]] SampleIndex at(std::int64_t position, std::vector<std::int64_t> const& permutation) const
  {
    SampleIndex result;
    result.position = position;
    result.epoch = epoch_of(position);
    auto const within = is_endless() ? position : position % epoch_size();
    result.index = within * ranks_ + rank_;
    if (!is_endless()) { result.index %= size_; }
    if (!permutation.empty()) { result.index = permutation[static_cast<std::size_t>(result.index)]; }
    result.seed = detail::splitmix64(
        seed_ + detail::splitmix64(static_cast<std::uint64_t>(result.epoch) +
                                   detail::splitmix64(static_cast<std::uint64_t>(result.index))));
    return result;
  }
  [[nodiscard]] std::int64_t epoch_of(std::int64_t position) const noexcept
  {
    return is_endless() || epoch_size() == 0 ? 0 : position / epoch_size();
  }

 private:
  std::int64_t size_;
  std::uint64_t seed_ = 1;
  int rank_ = 0;
  int ranks_ = 1;
  bool shuffle_ = false;
  bool even_ = true;
};

}  // namespace v0
}  // namespace tessera
