// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// Told of every call of the layers that it is set in, before they run; what tune() learns from.
template <int Dim, class Scalar, class Space = Device>
class ConvObserver {
 public:
  ConvObserver() = default;
  ConvObserver(ConvObserver const&) = delete;
  ConvObserver& operator=(ConvObserver const&) = delete;
  virtual ~ConvObserver() = default;

  /// @param residual  the tensor that `epilogue` adds, or null
  virtual void called(ModuleBase const& layer, SparseTensor<Dim, Scalar, Space> const& x,
                      SparseTensor<Dim, Scalar, Space> const* residual, Epilogue<Scalar> const& epilogue) = 0;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
