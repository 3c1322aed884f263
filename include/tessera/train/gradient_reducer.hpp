// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.hpp>
#include <tessera/core/recorder.hpp>
#include <tessera/train/communicator.hpp>
#include <tessera/train/detail/reduction_stream.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace train {

/// Where the gradient of a parameter lies in a buffer of gradients.
struct GradientRange {
  VariableId parameter = 0;
  std::int64_t offset = 0;
  std::int64_t size = 0;
  bool frozen = false;  ///< nobody reads its gradient
};

/// A part of the buffer of gradients that is reduced by one collective.
struct GradientBucket {
  std::int64_t offset = 0;
  std::int64_t size = 0;
  int parameters = 0;  ///< whose gradients it waits for
};

/// 4 MB: above some 1 MB a ring of GPUs reaches its bandwidth, and a small network still has several buckets.
inline constexpr std::int64_t default_bucket_bytes = std::int64_t{4} << 20;

/// Sums the gradients of all ranks, bucket by bucket, while backward computes the rest.
///
/// The buffer is cut into buckets from its end, where the parameters of the last layers are, whose gradients
/// come first. A bucket is reduced when all its gradients are complete and the buckets before it have been
/// begun: every rank begins them in one order, that in which they became complete on rank 0 in the first
/// backward pass. On a device this runs on a stream of its own, beside backward.
///
///     reducer.begin();                       // before the backward pass whose gradients are stepped with
///     reducer.ready(parameter.id(), exec);   // for each parameter, as soon as its gradient is complete
///     reducer.finish(exec);                  // the sums of all ranks, for work enqueued on `exec`
///
/// Gradients are added up, not averaged: a loss that is divided by what all ranks have makes N ranks take the
/// step of one with N times the batch. Without begin(), ready() does nothing, so that several backward passes
/// accumulate before one reduction. One thread at a time; every rank passes the same ranges.
/// @tparam Sum  type of gradients: float, or double for networks in double
template <class Sum, class Space>
class GradientReducer {
 public:
  /// | name         | shape          | memory | holds                                                      |
  /// |--------------|----------------|--------|------------------------------------------------------------|
  /// | gradients    | [largest end]  | Space  | of all parameters; outlives the reducer                    |
  /// | ranges       | [parameters]   | host   | where each one's is; those that overlap are refused        |
  /// | bucket_bytes |                | host   | least size of a bucket                                     |
  ///
  /// @throws invalid_argument  ranges overlap, a parameter has two or none, or bucket_bytes is not positive
  /// Cost: sorts the ranges.
  /// Stream: enqueues nothing; on a device makes a stream of the execution's device.
  /// Determinism: buckets follow from the ranges.
  GradientReducer(Communicator<Space> communicator, Sum* gradients, std::vector<GradientRange> ranges,
                  Execution<Space> const& exec, std::int64_t bucket_bytes = default_bucket_bytes)
      : communicator_{std::move(communicator)}, gradients_{gradients}, stream_{exec}
  {
    detail::expects(bucket_bytes > 0, "GradientReducer: buckets of ", bucket_bytes, " bytes");
    cut(std::move(ranges), bucket_bytes);
    order_.resize(buckets_.size());
    std::iota(order_.begin(), order_.end(), std::int32_t{0});
  }

  /// From here on ready() counts, for one backward pass.
  void begin()
  {
    is_active_ = true;
    next_ = 0;
    completed_.clear();
    is_ready_.assign(is_ready_.size(), false);
    missing_.clear();
    for (auto const& bucket : buckets_) { missing_.push_back(bucket.parameters); }
  }

  /// Tells that the gradient of a parameter is complete: what has been enqueued on `exec` writes it.
  /// @throws invalid_argument  the parameter has no range, or was ready in this pass before
  /// @throws std::runtime_error  communication_error
  /// Cost: that of a collective where a bucket is complete.
  /// Stream: enqueues it on the reducer's stream; on the host waits for the other ranks.
  /// Determinism: as Communicator::all_reduce_sum().
  void ready(VariableId parameter, Execution<Space> const& exec)
  {
    auto const found = bucket_of_.find(parameter);
    detail::expects(found != bucket_of_.end(), "GradientReducer: parameter ", parameter, " has no range");
    auto const& place = found->second;
    if (!is_active_ || place.bucket < 0) { return; }
    detail::expects(!is_ready_[place.index], "GradientReducer: the gradient of parameter ", parameter,
                    " was complete before; begin() starts another pass");
    is_ready_[place.index] = true;
    auto const bucket = static_cast<std::size_t>(place.bucket);
    if (--missing_[bucket] == 0) { completed_.push_back(place.bucket); }
    while (next_ < order_.size() && missing_[static_cast<std::size_t>(order_[next_])] == 0) {
      reduce_next(exec);
    }
  }

  /// Reduces the buckets that are left, such as those of parameters that nothing reached, and ends the pass.
  /// @throws invalid_argument  there was no begin()
  /// @throws std::runtime_error  communication_error
  /// Cost: what is left.
  /// Stream: work enqueued on `exec` afterwards sees the sums; waits only in the first pass, for rank 0's order
  /// of buckets, and on the host.
  /// Determinism: as ready().
  void finish(Execution<Space> const& exec)
  {
    detail::expects(is_active_, "GradientReducer: finish() without begin()");
    while (next_ < order_.size()) { reduce_next(exec); }
    stream_.join(exec);
    if (!has_order_ && !communicator_.is_alone() && !detail::WorkEvent<Space>::is_capturing(exec)) {
      learn_order(exec);
    }
    is_active_ = false;
  }

  [[nodiscard]] std::vector<GradientBucket> const& buckets() const noexcept { return buckets_; }
  /// The order in which buckets are reduced, as indices of buckets().
  [[nodiscard]] std::vector<std::int32_t> const& order() const noexcept { return order_; }

 private:
  struct Place {
    std::int32_t bucket;  // -1: frozen
    std::size_t index;    // of is_ready_
  };

  static constexpr std::int64_t most_frozen = 16384;  // elements that cost less than another collective

  void cut(std::vector<GradientRange> ranges, std::int64_t bucket_bytes)
  {
    std::sort(ranges.begin(), ranges.end(), [](GradientRange const& a, GradientRange const& b) {
      return a.offset != b.offset ? a.offset > b.offset : a.size > b.size;
    });
    auto const least = std::max<std::int64_t>(1, bucket_bytes / static_cast<std::int64_t>(sizeof(Sum)));
    std::int64_t above = INT64_MAX;  // where the range before, higher up in memory, begins
    bool open = false;
    for (auto const& range : ranges) {
      auto const end = range.offset + range.size;
      detail::expects(range.offset >= 0 && range.size >= 0 && end <= above, "GradientReducer: the range [",
                      range.offset, ", ", end, ") of parameter ", range.parameter,
                      " is negative or overlaps another");
      above = range.offset;
      auto const index = is_ready_.size();
      is_ready_.push_back(false);
      // A bucket is one piece of memory. It reaches over what is frozen, whose gradient nobody reads, where
      // that is small: the running statistics of a norm, say.
      if (range.frozen) {
        open = open && range.size <= most_frozen;
      } else {
        if (!open || buckets_.back().size >= least) { buckets_.push_back({end, 0, 0}); }
        open = true;
        auto& bucket = buckets_.back();
        bucket.size += bucket.offset - range.offset;
        bucket.offset = range.offset;
        ++bucket.parameters;
      }
      auto const bucket = range.frozen ? -1 : static_cast<std::int32_t>(buckets_.size()) - 1;
      bool const is_new = bucket_of_.emplace(range.parameter, Place{bucket, index}).second;
      detail::expects(is_new && range.parameter != 0, "GradientReducer: parameter ", range.parameter,
                      " has no identity or two ranges");
    }
  }

  void reduce_next(Execution<Space> const& exec)
  {
    auto const& bucket = buckets_[static_cast<std::size_t>(order_[next_])];
    ++next_;
    if (communicator_.is_alone()) { return; }
    communicator_.all_reduce_sum(gradients_ + bucket.offset, bucket.size, stream_.after(exec));
  }

  /// Rank 0's order of completion, then what was not completed.
  void learn_order(Execution<Space> const& exec)
  {
    auto order = completed_;
    for (auto const bucket : order_) {
      if (std::find(order.begin(), order.end(), bucket) == order.end()) { order.push_back(bucket); }
    }
    if (!order.empty()) {
      auto shared = upload(order, exec);
      communicator_.broadcast(shared.data(), shared.size(), 0, exec);
      order_ = download(shared, exec);
    }
    communicator_.check();
    has_order_ = true;
  }

  Communicator<Space> communicator_;
  Sum* gradients_;
  detail::ReductionStream<Space> stream_;
  std::vector<GradientBucket> buckets_;  // from the end of the buffer
  std::unordered_map<VariableId, Place> bucket_of_;
  std::vector<bool> is_ready_;           // of each range
  std::vector<int> missing_;             // of each bucket: gradients that are not complete
  std::vector<std::int32_t> order_;      // of buckets
  std::vector<std::int32_t> completed_;  // buckets in the order of this pass
  std::size_t next_ = 0;                 // place in order_
  bool is_active_ = false;
  bool has_order_ = false;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
