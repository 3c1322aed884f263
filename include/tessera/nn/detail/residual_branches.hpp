// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/conv.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/combine.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// `relu(main(x) + shortcut(x))`: the branches of a residual block, both of which begin with a convolution.
template <int Dim, class Scalar, class Space>
struct ResidualBranches {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Conv = nn::Conv<Dim, Scalar, Space>;

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    auto const skipped = shortcut.forward(x, exec);
    return add_activate(main.forward(x, exec), skipped, Activation::relu, exec);
  }
  /// Of the channels of two tensors, which are copied into one unless both convolutions read two.
  [[nodiscard]] Tensor forward(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    bool const both =
        shortcut_conv != nullptr && conv->reads_two(a, b, exec) && shortcut_conv->reads_two(a, b, exec);
    if (!both) { return forward(cat({a, b}, exec), exec); }
    auto const skipped = shortcut.forward_from(1, shortcut_conv->forward(a, b, exec), exec);
    return add_activate(main.forward_from(1, conv->forward(a, b, exec), exec), skipped, Activation::relu,
                        exec);
  }

  nn::Sequential<Dim, Scalar, Space> main;
  nn::Sequential<Dim, Scalar, Space> shortcut;  // empty: x itself
  Conv* conv = nullptr;                         // the first layer of main
  Conv* shortcut_conv = nullptr;                // that of the shortcut, or null
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
