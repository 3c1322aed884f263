// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/train/data_parallel.hpp>
#include <tessera/train/moving_average.hpp>

#include <vector>

namespace tessera {
inline namespace v0 {

/// What a TrainPlan does besides the optimizer's step: `TrainPlanOptions<Scalar, Space>().average(average)`.
template <class Scalar, class Space = Device>
class TrainPlanOptions {
 public:
  /// Updates a moving average after every step that is taken; it outlives the plan. Several may be given.
  TrainPlanOptions& average(train::MovingAverage<Scalar, Space>& value)
  {
    averages_.push_back(&value);
    return *this;
  }
  [[nodiscard]] std::vector<train::MovingAverage<Scalar, Space>*> const& averages() const noexcept
  {
    return averages_;
  }
  /// Trains with the ranks of a DataParallel, whose tape the plan then uses; it outlives the plan. All ranks
  /// make their plans and run them together. Its collectives must be those of NCCL, or of a process by itself.
  TrainPlanOptions& parallel(train::DataParallel<Scalar, Space>& value) { return parallel_ = &value, *this; }
  [[nodiscard]] train::DataParallel<Scalar, Space>* parallel() const noexcept { return parallel_; }

 private:
  std::vector<train::MovingAverage<Scalar, Space>*> averages_;
  train::DataParallel<Scalar, Space>* parallel_ = nullptr;
};

}  // namespace v0
}  // namespace tessera
