// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/conv.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

// spconv's layers as options of Conv: `Conv<3, float>{SubMConv<3>(16, 32, 3), exec}`. All have a bias unless
// told otherwise, and call their weight "weight". With a spatial range the tensor has spconv's spatial shape.

/// Onto the coordinates it reads, rows in their order; stride and padding have no effect (spconv forces
/// padding `size / 2 * dilation`, spconv 1 `size / 2`: compat::spconv1).
template <int Dim>
struct SubMConv : ConvOptions<Dim> {
  SubMConv(int in, int out, IntArray<Dim> kernel_size) : ConvOptions<Dim>{in, out, kernel_size}
  {
    this->kind(ConvolutionKind::submanifold).weight_name("weight").bias(true);
  }
};

/// Onto every output that its kernel reaches: `{ o : stride * o - padding + d * dilation = in }`, in a grid
/// of `floor((extent + 2 padding - dilation (size - 1) - 1) / stride) + 1`; with stride 1 as well.
template <int Dim>
struct SparseConv : ConvOptions<Dim> {
  SparseConv(int in, int out, IntArray<Dim> kernel_size) : ConvOptions<Dim>{in, out, kernel_size}
  {
    this->kind(ConvolutionKind::strided).weight_name("weight").bias(true);
  }
};

/// Back onto the coordinates, rows and grid that a layer of the same kernel size led from. Stride, dilation
/// and padding matter only where several such layers led to one set.
template <int Dim>
struct SparseInverseConv : ConvOptions<Dim> {
  SparseInverseConv(int in, int out, IntArray<Dim> kernel_size) : ConvOptions<Dim>{in, out, kernel_size}
  {
    this->kind(ConvolutionKind::inverse).weight_name("weight").bias(true);
  }
};

/// Onto new coordinates `stride * in - padding + d * dilation`, in a grid of
/// `(extent - 1) stride - 2 padding + dilation (size - 1) + 1 + output padding` (PyTorch's ConvTranspose).
template <int Dim>
struct SparseConvTranspose : ConvOptions<Dim> {
  SparseConvTranspose(int in, int out, IntArray<Dim> kernel_size) : ConvOptions<Dim>{in, out, kernel_size}
  {
    this->kind(ConvolutionKind::expanding).weight_name("weight").bias(true);
  }
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
