// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/variable.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace ops {

/// Number, mean and sum of squared distances from the mean of some values. Those of parts merge into those of
/// the whole: of parts of a tensor, and of the tensors of several processes.
template <class Sum>
struct Moments {
  Sum count = 0;
  Sum mean = 0;
  Sum m2 = 0;  ///< sum of (value - mean)^2; the variance is m2 / count

  /// With `n = count + other.count` and `d = other.mean - mean`: `mean += d * other.count / n`,
  /// `m2 += other.m2 + d^2 * count * other.count / n`. One side without values leaves the other's bits.
  /// Source: Chan, Golub, LeVeque 1979.
  TESSERA_HOST_DEVICE void merge(Moments const& other)
  {
    if (other.count == 0) { return; }
    if (count == 0) {
      *this = other;
      return;
    }
    auto const n = count + other.count;
    auto const share = other.count / n;
    auto const distance = other.mean - mean;
    m2 += other.m2 + distance * distance * count * share;
    mean += distance * share;
    count = n;
  }
};

/// What rows are normalised by: of each group of channels, or of each (batch entry, group).
template <class Sum, class Space>
struct RowStatistics {
  Buffer<Sum, Space> mean;      ///< 0 without values
  Buffer<Sum, Space> variance;  ///< biased: the mean of (value - mean)^2; 0 without values
  Buffer<Sum, Space> count;     ///< number of values
};

/// Where sums over the rows of several processes become one, for batch normalisation that is synchronised: a
/// communicator implements it. Every rank makes the same calls in the same order.
template <class Space>
class RowExchange {
 public:
  RowExchange() = default;
  RowExchange(RowExchange const&) = delete;
  RowExchange& operator=(RowExchange const&) = delete;
  virtual ~RowExchange() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// data [size] in `Space` becomes the sum of that of all ranks, on each of them.
  /// Stream: enqueued on `exec`, in order with what is there.
  virtual void all_reduce_sum(float* data, std::int64_t size, Execution<Space> const& exec) = 0;
  virtual void all_reduce_sum(double* data, std::int64_t size, Execution<Space> const& exec) = 0;
};

}  // namespace ops

namespace detail {

/// An exchange as an argument: null, or a pointer to what derives from it.
template <class Space>
using ExchangeArgument = typename TypeIdentity<ops::RowExchange<Space>*>::type;

/// to[rank, i] = from[i] of the own rank, 0 of the others.
template <class Sum>
struct PlaceOwnRank {
  Sum const* from;  // [size]
  Sum* to;          // [ranks, size]
  std::int64_t size;
  std::int64_t rank;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    to[n] = n / size == rank ? from[n - rank * size] : Sum{0};
  }
};

/// The values of every rank, [ranks, size]: a sum in which all terms but one are 0 is exact, so that whoever
/// adds them up in the order of the ranks gets the same bits on each, however the communicator sums.
template <class Sum, class Space>
[[nodiscard]] Buffer<Sum, Space> gather_ranks(Sum const* own, std::int64_t size,
                                              ops::RowExchange<Space>& exchange, Execution<Space> const& exec)
{
  Buffer<Sum, Space> all{exchange.size() * size, exec};
  for_each(all.size(), PlaceOwnRank<Sum>{own, all.data(), size, exchange.rank()}, exec);
  exchange.all_reduce_sum(all.data(), all.size(), exec);
  return all;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
