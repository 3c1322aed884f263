// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/batch_norm.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// running = those of a batch, the variance made unbiased. Fewer than two rows have none: the running ones
/// stay.
template <class Sum>
struct TakeStatistics {
  Sum const* mean;        // [channels]
  Sum const* variance;    // [channels]
  Sum const* count;       // [channels]
  Sum* running_mean;      // [channels]
  Sum* running_variance;  // [channels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    if (count[c] < 2) { return; }
    running_mean[c] = mean[c];
    running_variance[c] = count[c] / (count[c] - Sum{1}) * variance[c];
  }
};

/// Sets running statistics to those of the batch, as soon as they were taken.
template <class Sum, class Space>
class StatisticsRecorder final : public Recorder {
 public:
  explicit StatisticsRecorder(Execution<Space> const& exec) : exec_{exec.without_recorder()} {}

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    auto const* const norm = dynamic_cast<ops::BatchNormTraining<Sum, Space> const*>(operation.get());
    if (norm == nullptr || norm->statistics == nullptr) { return; }
    auto const& batch = *norm->statistics;
    for_each(norm->affine.channels,
             TakeStatistics<Sum>{batch.mean.data(), batch.variance.data(), batch.count.data(),
                                 norm->running.mean.data, norm->running.variance.data},
             exec_);
  }

 private:
  Execution<Space> exec_;
};

}  // namespace detail

namespace nn {

/// Sets the running statistics of every batch normalisation in `model` to the batch statistics of one pass
/// over `x`, and leaves the model in evaluation.
///
/// A network with random weights then has activations of mean 0 and variance 1 where it normalises, instead
/// of ones that vanish with depth; a network moved to another domain is adapted to it.
/// @throws invalid_argument  what the model's forward() says; one row alone at some level; the statistics of
/// some layers may have changed then
/// Cost: one forward pass in training.
/// Stream: as the model's forward().
/// Determinism: same model and input, same bits, for one order of the rows.
///
/// @tparam Tensor  SparseTensor, or PointTensor for a model that takes points
template <template <int, class, class> class Tensor, int Dim, class Scalar, class Space, class Model>
void calibrate(Model& model, Tensor<Dim, Scalar, Space> const& x, Execution<Space> const& exec)
{
  struct Training {  // while it lives
    explicit Training(Model& of) : model{of} { of.train(); }
    Training(Training const&) = delete;
    Training& operator=(Training const&) = delete;
    ~Training() { model.eval(); }

    Model& model;
  };
  Training const training{model};
  detail::StatisticsRecorder<accumulator_t<Scalar>, Space> statistics{exec};
  if (auto* const other = exec.recorder()) {
    RecorderChain both{statistics, *other};
    static_cast<void>(model.forward(x, exec.with_recorder(both)));
  } else {
    static_cast<void>(model.forward(x, exec.with_recorder(statistics)));
  }
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
