// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/pair_list.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/tensor/point_tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Multiply-adds of one convolution of x.
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::int64_t macs_of(nn::Conv<Dim, Scalar, Space> const& layer,
                                   SparseTensor<Dim, Scalar, Space> const& x, Execution<Space> const& exec)
{
  auto const& options = layer.options();
  auto const mapped = kernel_map(layer.config(), *x.coordinates(), options.kind(), options.geometry, exec);
  auto const pairs = mapped.map->is_identity() ? x.num_rows() : pair_list(*mapped.map, exec)->num_pairs();
  return pairs * options.in_channels * options.out_channels;
}

/// Sums over the convolutions of a network while it lives.
template <int Dim, class Scalar, class Space>
class MacCounter final : public nn::ConvObserver<Dim, Scalar, Space> {
 public:
  using Layer = nn::Conv<Dim, Scalar, Space>;

  MacCounter(nn::ModuleBase& network, Execution<Space> const& exec) : exec_{&exec}
  {
    collect(network);
    for (auto* const layer : layers_) { before_.push_back(layer->observe(this)); }
  }
  MacCounter(MacCounter const&) = delete;
  MacCounter& operator=(MacCounter const&) = delete;
  ~MacCounter() override
  {
    for (std::size_t i = 0; i < layers_.size(); ++i) { layers_[i]->observe(before_[i]); }
  }

  void called(nn::ModuleBase const& layer, SparseTensor<Dim, Scalar, Space> const& x,
              SparseTensor<Dim, Scalar, Space> const*, Epilogue<Scalar> const&) override
  {
    macs_ += macs_of(dynamic_cast<Layer const&>(layer), x, *exec_);
  }
  [[nodiscard]] std::int64_t macs() const noexcept { return macs_; }

 private:
  void collect(nn::ModuleBase& module)
  {
    if (auto* const layer = dynamic_cast<Layer*>(&module)) { layers_.push_back(layer); }
    for (auto const& child : module.children()) { collect(*child.second); }
  }

  Execution<Space> const* exec_;
  std::vector<Layer*> layers_;
  std::vector<nn::ConvObserver<Dim, Scalar, Space>*> before_;
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
  detail::MacCounter<Dim, Scalar, Space> const counter{network, exec};
  static_cast<void>(network.forward(x, exec));
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
