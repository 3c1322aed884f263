// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/conv/epilogue.hpp>
#include <tessera/conv/problem.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// The scalars of a convolution: of what it reads, of its weight, of its sums, and of what it writes.
template <class InType, class WeightType = InType, class AccType = accumulator_t<InType>,
          class OutType = InType>
struct ConvTypes {
  using In = InType;
  using Weight = WeightType;
  using Acc = AccType;
  using Out = OutType;
};

namespace detail {

/// A weight as one of the device's kernels reads it, so that it is not packed at every call.
template <class Scalar>
struct PackedWeightView {
  Scalar const* values = nullptr;
  PackedLayout layout{};  ///< which kernel's, what shapes it, and the order it was packed from
};

}  // namespace detail

/// What a convolution reads and writes; all pointers are of the space it runs in.
template <class Types>
struct ConvOperands {
  using In = typename Types::In;
  using Weight = typename Types::Weight;
  using Out = typename Types::Out;

  In const* features = nullptr;    ///< [num_in, in_channels], without those of `second_features`
  Weight const* weight = nullptr;  ///< element [0, 0, 0] of the weight
  Out const* bias = nullptr;       ///< [out_channels] or null
  Out* output = nullptr;           ///< [num_out, out_channels]
  Epilogue<Out> epilogue;
  MatrixView<In const> second_features;     ///< [num_in, ...] the last of the in_channels, or none
  detail::PackedWeightView<Weight> packed;  ///< `weight` once more, or none
};

/// A convolution that a dataflow is asked for: its operands and what to do with them.
///
/// `output[o, :] = sum + bias`, where sum runs over k ascending with `in = map.out_in(o, k) >= 0`, and for
/// each k over the channels c ascending, of `features[in, c] * weight[k, c, :]`. It is kept in Types::Acc and
/// rounded to Types::Out once, after bias and epilogue. The last channels may come from a second matrix,
/// where KernelPlan::reads_two_inputs says so.
template <class Types>
struct ConvArguments : ConvOperands<Types> {
  int in_channels = 0;
  int out_channels = 0;
  MathMode math = MathMode::exact;
  GemmKernel kernel = GemmKernel::automatic;
  Operation operation = Operation::forward;
  WeightSteps weight_steps;  ///< by default [volume, in_channels, out_channels]
};

/// Those of one scalar, which dataflows and SpecializedKernels take. `forward()` of a dataflow or a kernel of
/// yours gets Operation::forward and a weight in the plain order, never another.
template <class Scalar>
using ConvolutionArguments = ConvArguments<ConvTypes<Scalar, Scalar, accumulator_t<Scalar>, Scalar>>;

/// What the gradient of a convolution's weight is computed from, and where its sums go.
template <class Scalar>
struct WeightGradientArguments {
  Scalar const* features = nullptr;              ///< [num_in, in_channels]
  Scalar const* grad_output = nullptr;           ///< [num_out, out_channels]
  accumulator_t<Scalar>* grad_weight = nullptr;  ///< [volume, in_channels, out_channels]
  int in_channels = 0;
  int out_channels = 0;
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

/// The weight of the arguments, for a kernel of `volume` offsets.
template <class Types>
[[nodiscard]] WeightView<typename Types::Weight> weight_of(ConvArguments<Types> const& a, int volume)
{
  auto view = plain_weight(a.weight, volume, a.in_channels, a.out_channels);
  if (!a.weight_steps.is_plain()) {
    view.offset_step = a.weight_steps.offset;
    view.in_step = a.weight_steps.in;
    view.out_step = a.weight_steps.out;
  }
  return view;
}

/// Whether a kernel or dataflow that knows nothing but the forward convolution of a plain weight can run it.
template <class Types>
[[nodiscard]] bool is_plain_forward(ConvArguments<Types> const& a)
{
  return a.operation == Operation::forward && a.weight_steps.is_plain();
}

/// The arguments in numbers.
template <class Types>
[[nodiscard]] ConvProblem problem_of(ConvArguments<Types> const& a, int splits)
{
  ConvProblem problem;
  problem.operation = a.operation;
  problem.in_type = ScalarTraits<typename Types::In>::dtype;
  problem.weight_type = ScalarTraits<typename Types::Weight>::dtype;
  problem.sum_type = ScalarTraits<typename Types::Acc>::dtype;
  problem.out_type = ScalarTraits<typename Types::Out>::dtype;
  problem.weight_steps = a.weight_steps;
  problem.math = a.math;
  problem.kernel = a.kernel;
  problem.in_channels = a.in_channels;
  problem.second_channels =
      a.second_features.data != nullptr ? static_cast<int>(a.second_features.columns) : 0;
  problem.out_channels = a.out_channels;
  problem.splits = splits;
  problem.has_residual = a.epilogue.residual.data != nullptr;
  problem.activation = a.epilogue.activation;
  problem.aligned_inputs = is_aligned(a.features) && is_aligned(a.second_features.data);
  // Any other order is packed into memory of its own.
  problem.aligned_weight = !a.weight_steps.is_plain() || is_aligned(a.weight);
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
