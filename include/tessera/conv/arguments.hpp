// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/epilogue.hpp>
#include <tessera/conv/problem.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <array>
#include <cstdint>

namespace tessera {
inline namespace v0 {

namespace detail {

/// A weight as one of the device's kernels reads it, so that it is not laid out anew at every call.
template <class Scalar>
struct PackedWeightView {
  Scalar const* values = nullptr;
  std::array<int, 8> layout{};  ///< which kernel's, and what shapes it
};

}  // namespace detail

/// What one convolution reads and writes; all pointers lie in the space it runs in.
///
/// `output[o, :] = sum + bias`, where sum runs over k ascending with `in = map.out_in(o, k) >= 0`, and for
/// each k over the channels c ascending, of `features[in, c] * weight[k, c, :]`. It is kept in
/// accumulator_t<Scalar> and rounded to Scalar once, after bias and epilogue. The last channels may come from
/// a second matrix, where KernelPlan::reads_two_inputs says so.
template <class Scalar>
struct ConvolutionArguments {
  Scalar const* features = nullptr;  // [num_in, in_channels], without those of `more`
  Scalar const* weight = nullptr;    // [volume, in_channels, out_channels]
  Scalar const* bias = nullptr;      // [out_channels] or null
  Scalar* output = nullptr;          // [num_out, out_channels]
  int in_channels = 0;
  int out_channels = 0;
  MathMode math = MathMode::exact;
  GemmKernel tiles = GemmKernel::automatic;
  Epilogue<Scalar> epilogue;
  MatrixView<Scalar const> more;            // [num_in, ...] the last of the in_channels, or none
  detail::PackedWeightView<Scalar> packed;  // `weight` once more, or none
};

namespace detail {

/// What kernels do with the sums of a convolution.
template <class Scalar>
[[nodiscard]] EpilogueFunctor<Scalar> epilogue_of(ConvolutionArguments<Scalar> const& a)
{
  return {a.bias, a.epilogue};
}

/// Whether a pointer is a multiple of 16 bytes; null is.
[[nodiscard]] inline bool is_aligned(void const* pointer)
{
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

/// The arguments in numbers.
template <class Scalar>
[[nodiscard]] ConvProblem problem_of(ConvolutionArguments<Scalar> const& a, int splits)
{
  ConvProblem problem;
  problem.scalar = ScalarTraits<Scalar>::dtype;
  problem.math = a.math;
  problem.kernel = a.tiles;
  problem.in_channels = a.in_channels;
  problem.second_channels = a.more.data != nullptr ? static_cast<int>(a.more.columns) : 0;
  problem.out_channels = a.out_channels;
  problem.splits = splits;
  problem.has_residual = a.epilogue.residual.data != nullptr;
  problem.activation = a.epilogue.activation;
  problem.aligned_inputs = is_aligned(a.features) && is_aligned(a.more.data);
  problem.aligned_weight = is_aligned(a.weight);
  problem.aligned_output = is_aligned(a.output);
  problem.aligned_epilogue = is_aligned(a.bias) && is_aligned(a.epilogue.residual.data);
  return problem;
}

template <class Space>
[[nodiscard]] MapSummary summary_of(KernelMap<Space> const& map)
{
  return {map.num_out(), map.volume(), map.is_identity()};
}

/// Throws unless the arguments are valid.
template <class Scalar>
void check_arguments(ConvolutionArguments<Scalar> const& a, char const* who)
{
  static_assert(ScalarTraits<Scalar>::is_feature,
                "convolution: Scalar must be float, double, __half or __nv_bfloat16 (include core/scalar.cuh "
                "for the last two)");
  expects(a.in_channels >= 1 && a.out_channels >= 1, who, ": ", a.in_channels, " -> ", a.out_channels,
          " channels; both must be at least 1");
  expects(a.epilogue.residual.data == nullptr || a.epilogue.residual.columns == a.out_channels, who,
          ": a residual of ", a.epilogue.residual.columns, " channels for ", a.out_channels,
          " output channels");
  expects(is_fusable(a.epilogue.activation), who, ": an epilogue of ", name_of(a.epilogue.activation),
          "; there are none, relu, leaky_relu, silu and sigmoid");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
