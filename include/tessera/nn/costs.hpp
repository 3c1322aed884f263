// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/work.hpp>
#include <tessera/tensor/point_tensor.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Sums the multiply-adds of the convolutions that it is told of.
template <int Dim, class Scalar, class Space>
class MacCounter final : public Recorder {
 public:
  explicit MacCounter(Execution<Space> const& exec) : exec_{exec.without_recorder()} {}

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    using Record = ops::ConvolutionRecord<Dim, Scalar, Space>;
    auto const* const record = dynamic_cast<Record const*>(operation.get());
    if (record == nullptr) { return; }
    auto const& o = record->options;
    auto const& x = *record->input().value();
    auto const map = kernel_map(o.config, *x.coordinates(), o.kind, o.geometry, exec_).map;
    macs_ += count_pairs(*map, exec_) * record->in_channels * o.out_channels;
  }
  [[nodiscard]] std::int64_t macs() const noexcept { return macs_; }

 private:
  Execution<Space> exec_;
  std::int64_t macs_ = 0;
};

template <int Dim, class Scalar, class Space>
[[nodiscard]] std::int64_t rows_in_use(SparseTensor<Dim, Scalar, Space> const& x)
{
  return x.num_rows();
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::int64_t rows_in_use(PointTensor<Dim, Scalar, Space> const& z)
{
  return z.num_points();
}

}  // namespace detail

namespace nn {

/// Values that training changes: of all parameters but running statistics.
/// Cost: one pass over the names.
[[nodiscard]] inline std::int64_t num_parameters(ModuleBase const& network)
{
  std::int64_t count = 0;
  for (auto const& parameter : network.parameters()) {
    if (parameter.role != ParameterRole::buffer) { count += parameter.size; }
  }
  return count;
}

/// Multiply-adds of one forward pass: `pairs * in_channels * out_channels` for every convolution, and as many for
/// every linear layer, each of which is taken to read every row of the input.
/// @tparam Input  what the network takes, a SparseTensor or a PointTensor
/// @throws invalid_argument  what the network's forward() says
/// Cost: one forward pass, and a pass over each map. Stream: enqueues on `exec`; waits for the numbers of pairs.
template <template <int, class, class> class Input, int Dim, class Scalar, class Space, class Network>
[[nodiscard]] std::int64_t num_macs(Network& network, Input<Dim, Scalar, Space> const& x,
                                    Execution<Space> const& exec)
{
  detail::MacCounter<Dim, Scalar, Space> counter{exec};
  static_cast<void>(network.forward(x, exec.with_recorder(counter)));
  std::int64_t linear = 0;
  for (auto const& parameter : network.parameters()) {
    if (parameter.role == ParameterRole::matrix) { linear += parameter.size; }
  }
  auto const rows = detail::rows_in_use(x);
  return counter.macs() + rows * linear;
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
