// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/ops/detail/columns.hpp>
#include <tessera/ops/detail/product_gradients.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Hands out the gradient of an input of two tensors side by side.
/// @param channels  of the first
template <class Scalar, class Space>
void add_pair_gradient(ops::Gradients<Space>& gradients, VariableId first, VariableId second,
                       std::int64_t channels, Matrix<Scalar, Space>&& both, Execution<Space> const& exec)
{
  auto const add_part = [&](VariableId id, std::int64_t from, std::int64_t count) {
    if (gradients.wants(id)) {
      gradients.add(id, take_columns<Scalar>(both.view(), from, count, exec), exec);
    }
  };
  add_part(first, 0, channels);
  add_part(second, channels, both.columns() - channels);
}

/// The configuration of a data gradient: its own, or the convolution's, whose kernel by name is a forward's.
[[nodiscard]] inline ConvConfig backward_config(ConvConfig config)
{
  config.kernel = GemmKernel::automatic;
  if (config.data_gradient) {
    auto const& own = *config.data_gradient;
    config.dataflow = own.dataflow;
    config.sort = own.sort;
    config.splits = own.splits;
    config.kernel = own.kernel;
  }
  return config;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
