// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Adds up the multiply-adds of the operations of a pass.
template <class Space>
class MacRecorder final : public Recorder {
 public:
  explicit MacRecorder(Execution<Space> const& exec) : exec_{exec.without_recorder()} {}

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    if (auto const* const known = dynamic_cast<ops::ReplayableRecord<Space> const*>(operation.get())) {
      macs_ += static_cast<std::int64_t>(known->work(exec_).multiply_adds);
    }
  }
  [[nodiscard]] std::int64_t macs() const noexcept { return macs_; }

 private:
  Execution<Space> exec_;
  std::int64_t macs_ = 0;
};

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

/// Multiply-adds of one forward pass: `pairs * in_channels * out_channels` for every convolution,
/// `rows * in_channels * out_channels` for every linear layer.
/// @tparam Input  what the network takes, a SparseTensor or a PointTensor
/// @throws invalid_argument  what the network's forward() says
/// Cost: one forward pass, and a pass over each map.
/// Stream: enqueues on `exec`; waits for the numbers of pairs.
template <template <int, class, class> class Input, int Dim, class Scalar, class Space, class Network>
[[nodiscard]] std::int64_t num_macs(Network& network, Input<Dim, Scalar, Space> const& x,
                                    Execution<Space> const& exec)
{
  detail::MacRecorder<Space> recorder{exec};
  static_cast<void>(network.forward(x, exec.with_recorder(recorder)));
  return recorder.macs();
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
