// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What the library of the target tessera::compiled holds. That target defines TESSERA_COMPILED, whereupon
// tessera.hpp and tessera.cuh include this and declare it all `extern template`; a program that includes
// headers of single stages includes <tessera/compiled.hpp>, or <tessera/compiled.cuh> for the device, after
// them. It also holds what io reads and writes files with: no list names those functions, a header declares
// them and leaves out its *_body.hpp (core/inline.hpp). Anything else is compiled where it is used, as ever.
//
// The lists are macros because a declaration and a definition differ in their first word alone: `prefix` is
// `extern` in headers and nothing in the library's sources.

#include <tessera/conv/detail/microkernel_host.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/coords/voxelize.hpp>
#include <tessera/kmap/build.hpp>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/tile_map.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/batch_norm.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/layer_norm.hpp>
#include <tessera/ops/linear.hpp>
#include <tessera/ops/pooling.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstddef>
#include <memory>

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are types and a keyword
/// Products of the host, for each instruction set.
#define TESSERA_COMPILED_PRODUCTS(prefix)                                                              \
  prefix template tessera::detail::MultiplyPanels<float> tessera::detail::multiply_panels<float>(int); \
  prefix template tessera::detail::MultiplyPanels<double> tessera::detail::multiply_panels<double>(int);

/// What depends on the space alone.
#define TESSERA_COMPILED_SPACE(prefix, Space)                                                               \
  prefix template std::shared_ptr<tessera::KernelMap<Space>> tessera::transpose<Space>(                     \
      tessera::KernelMap<Space>&, tessera::Execution<Space> const&);                                        \
  prefix template std::shared_ptr<tessera::TileMap<Space>> tessera::tile_map<Space>(                        \
      tessera::KernelMap<Space>&, bool, int, int, tessera::Execution<Space> const&);                        \
  prefix template std::shared_ptr<tessera::PairList<Space>> tessera::pair_list<Space>(                      \
      tessera::KernelMap<Space>&, tessera::Execution<Space> const&);                                        \
  prefix template tessera::HardVoxels<Space> tessera::hard_voxelize<Space>(                                 \
      tessera::PointsView<float> const&, tessera::VoxelizeOptions const&, tessera::Execution<Space> const&, \
      tessera::VoxelOutputs const&);

/// Coordinate sets and kernel maps of `Dim` dimensions.
#define TESSERA_COMPILED_MAPS(prefix, Dim, Space)                                                      \
  prefix template class tessera::CoordinateSet<Dim, Space>;                                            \
  prefix template std::shared_ptr<tessera::CoordinateTable<Dim, Space>>                                \
  tessera::coordinate_table<Dim, Space>(tessera::CoordinateSet<Dim, Space>&,                           \
                                        tessera::Execution<Space> const&);                             \
  TESSERA_COMPILED_MAPS_BY(prefix, tessera::HashmapOnTheFly, tessera::SpconvDownsample, Dim, Space)    \
  TESSERA_COMPILED_MAPS_BY(prefix, tessera::HashmapOnTheFly, tessera::MinkowskiDownsample, Dim, Space) \
  TESSERA_COMPILED_MAPS_BY(prefix, tessera::Hashmap, tessera::SpconvDownsample, Dim, Space)            \
  TESSERA_COMPILED_MAPS_BY(prefix, tessera::Hashmap, tessera::MinkowskiDownsample, Dim, Space)

#define TESSERA_COMPILED_MAPS_BY(prefix, Kmap, Downsample, Dim, Space)                                      \
  prefix template tessera::MappedCoordinates<Dim, Space> tessera::kernel_map<Kmap, Downsample, Dim, Space>( \
      tessera::CoordinateSet<Dim, Space>&, tessera::ConvolutionKind,                                        \
      tessera::ConvolutionGeometry<Dim> const&, tessera::Compatibility, tessera::Execution<Space> const&);

/// Operations, with their gradients, on rows of the type that comes last: a tensor or a matrix.
#define TESSERA_COMPILED_OPERATIONS(prefix, Scalar, Space, ...)                                       \
  prefix template __VA_ARGS__ tessera::detail::batch_norm<__VA_ARGS__, Scalar, Space>(                \
      __VA_ARGS__ const&, tessera::BatchNormOptions<tessera::accumulator_t<Scalar>> const&,           \
      tessera::Execution<Space> const&);                                                              \
  prefix template __VA_ARGS__ tessera::detail::batch_norm_training<__VA_ARGS__, Scalar, Space>(       \
      __VA_ARGS__ const&, tessera::AffineOptions<tessera::accumulator_t<Scalar>> const&,              \
      tessera::ops::RunningStatistics<tessera::accumulator_t<Scalar>> const&,                         \
      tessera::ops::RowExchange<Space>*, char const*, tessera::Execution<Space> const&);              \
  prefix template __VA_ARGS__ tessera::detail::layer_norm<__VA_ARGS__, Scalar, Space>(                \
      __VA_ARGS__ const&, tessera::AffineOptions<tessera::accumulator_t<Scalar>> const&,              \
      tessera::Execution<Space> const&);                                                              \
  prefix template __VA_ARGS__ tessera::detail::linear<__VA_ARGS__, Scalar, Space>(                    \
      __VA_ARGS__ const&, tessera::detail::ParameterArgument<Scalar> const&,                          \
      tessera::detail::ParameterArgument<Scalar> const&, tessera::ops::LinearMethod const&,           \
      tessera::ops::WeightSource<Scalar, Space> const*, tessera::Execution<Space> const&);            \
  TESSERA_COMPILED_ACTIVATION(prefix, tessera::detail::ReluFunction, Scalar, Space, __VA_ARGS__)      \
  TESSERA_COMPILED_ACTIVATION(prefix, tessera::detail::LeakyReluFunction, Scalar, Space, __VA_ARGS__) \
  TESSERA_COMPILED_ACTIVATION(prefix, tessera::detail::SiluFunction, Scalar, Space, __VA_ARGS__)      \
  TESSERA_COMPILED_ACTIVATION(prefix, tessera::detail::SigmoidFunction, Scalar, Space, __VA_ARGS__)   \
  TESSERA_COMPILED_ACTIVATION(prefix, tessera::detail::TanhFunction, Scalar, Space, __VA_ARGS__)      \
  TESSERA_COMPILED_ACTIVATION(prefix, tessera::detail::GeluFunction, Scalar, Space, __VA_ARGS__)

#define TESSERA_COMPILED_ACTIVATION(prefix, Function, Scalar, Space, ...)                  \
  prefix template __VA_ARGS__                                                              \
  tessera::detail::activate<__VA_ARGS__, Space, Function<tessera::accumulator_t<Scalar>>>( \
      __VA_ARGS__ const&, Function<tessera::accumulator_t<Scalar>> const&,                 \
      tessera::Execution<Space> const&);

#define TESSERA_COMPILED_POOL(prefix, Rule, Dim, Scalar, Space)                                             \
  prefix template tessera::SparseTensor<Dim, Scalar, Space>                                                 \
  tessera::detail::pool<Rule<Scalar>, Dim, Scalar, Space>(tessera::SparseTensor<Dim, Scalar, Space> const&, \
                                                          tessera::PoolOptions<Dim> const&,                 \
                                                          tessera::Execution<Space> const&);

/// Tensors and layers of one scalar.
#define TESSERA_COMPILED_LAYERS(prefix, Dim, Scalar, Space)                                                  \
  TESSERA_COMPILED_OPERATIONS(prefix, Scalar, Space, tessera::SparseTensor<Dim, Scalar, Space>)              \
  TESSERA_COMPILED_OPERATIONS(prefix, Scalar, Space, tessera::Matrix<Scalar, Space>)                         \
  TESSERA_COMPILED_POOL(prefix, tessera::detail::LargestInWindow, Dim, Scalar, Space)                        \
  TESSERA_COMPILED_POOL(prefix, tessera::detail::MeanOfWindow, Dim, Scalar, Space)                           \
  TESSERA_COMPILED_POOL(prefix, tessera::detail::SumOfWindow, Dim, Scalar, Space)                            \
  prefix template tessera::SparseTensor<Dim, Scalar, Space>                                                  \
  tessera::detail::add_activate<Dim, Scalar, Space>(                                                         \
      tessera::SparseTensor<Dim, Scalar, Space> const&, tessera::SparseTensor<Dim, Scalar, Space> const&,    \
      tessera::Activation, float, char const*, tessera::Execution<Space> const&);                            \
  prefix template tessera::QuantizedPoints<Dim, Scalar, Space> tessera::sparse_quantize<Dim, Scalar, Space>( \
      tessera::PointsView<Scalar> const&, tessera::QuantizeOptions<Dim> const&,                              \
      tessera::Execution<Space> const&);                                                                     \
  prefix template class tessera::SparseTensor<Dim, Scalar, Space>;                                           \
  prefix template tessera::SparseTensor<Dim, Scalar, Space> tessera::detail::convolve<Dim, Scalar, Space>(   \
      tessera::detail::ConvolutionInputs<Dim, Scalar, Space> const&,                                         \
      tessera::detail::ParameterArgument<Scalar> const&, tessera::detail::ParameterArgument<Scalar> const&,  \
      tessera::ConvolutionOptions<Dim> const&, tessera::detail::ConvolutionMeans<Dim, Scalar, Space> const&, \
      tessera::Execution<Space> const&);                                                                     \
  prefix template tessera::SparseTensor<Dim, Scalar, Space> tessera::add<Dim, Scalar, Space>(                \
      tessera::SparseTensor<Dim, Scalar, Space> const&, tessera::SparseTensor<Dim, Scalar, Space> const&,    \
      tessera::Execution<Space> const&);                                                                     \
  prefix template tessera::SparseTensor<Dim, Scalar, Space> tessera::detail::cat<Dim, Scalar, Space>(        \
      tessera::SparseTensor<Dim, Scalar, Space> const*, std::size_t, tessera::Execution<Space> const&);      \
  prefix template tessera::SparseTensor<Dim, Scalar, Space> tessera::relu<Dim, Scalar, Space>(               \
      tessera::SparseTensor<Dim, Scalar, Space> const&, tessera::Execution<Space> const&);                   \
  prefix template class tessera::nn::Conv<Dim, Scalar, Space>;                                               \
  prefix template class tessera::nn::BatchNorm<Dim, Scalar, Space>;                                          \
  prefix template class tessera::nn::Linear<Dim, Scalar, Space>;                                             \
  prefix template class tessera::nn::ReLU<Dim, Scalar, Space>;                                               \
  prefix template class tessera::nn::Sequential<Dim, Scalar, Space>;                                         \
  prefix template class tessera::nn::SparseConvBlock<Dim, Scalar, Space>;                                    \
  prefix template class tessera::nn::SparseResBlock<Dim, Scalar, Space>;

// NOLINTEND(bugprone-macro-parentheses)

#ifdef TESSERA_COMPILED
TESSERA_COMPILED_PRODUCTS(extern)
TESSERA_COMPILED_SPACE(extern, tessera::Host)
TESSERA_COMPILED_MAPS(extern, 3, tessera::Host)
TESSERA_COMPILED_LAYERS(extern, 3, float, tessera::Host)
#endif
