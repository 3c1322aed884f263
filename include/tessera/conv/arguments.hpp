// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <array>
#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How float products are made: exactly, or by tensor cores from operands rounded to TF32 (10 bits of
/// mantissa). Chosen explicitly, never by the hardware found; other scalars ignore it.
enum class MathMode : std::uint8_t { exact, tf32 };

/// Which kernel of AutoTile carries out an implicit GEMM on the device; results differ by rounding at most.
///
/// | choice         | carried out by                                                                  |
/// |----------------|---------------------------------------------------------------------------------|
/// | automatic      | what is fastest as a rule, or a kernel of SpecializedKernels                    |
/// | block          | blocks, a tile of conv/tuning.hpp each                                          |
/// | warp           | warps, 16 rows each, over a weight in shared memory: 16-bit scalars, sm_90      |
/// | warpgroup      | warpgroups, 64 rows each: 16-bit scalars and TF32, sm_90a; a block has its tile |
/// | warpgroup_pair | the same, two blocks sharing the offsets of a tile, where there are two offsets |
///
/// Where the device or the operands do not allow it, the next one of `warpgroup`, `warp` and `block` that
/// they do allow; `warpgroup` shares tiles where a block cannot hold a list of all offsets. Nothing else
/// reads it: the host, the other dataflows and a Tile of a ConvPolicy do as they would.
enum class TileChoice : std::uint8_t { automatic, block, warp, warpgroup, warpgroup_pair };

/// What is done with a sum before it is stored: `relu` max(x, 0), `leaky_relu` x or slope * x below 0, `silu`
/// x / (1 + exp(-x)). NaN stays NaN.
enum class Activation : std::uint8_t { none, relu, leaky_relu, silu };

/// What a convolution does with its sums before it rounds and stores them:
/// `output = activation(sum + bias + residual)`. A batch norm that follows is folded into weight and bias.
template <class Scalar>
struct Epilogue {
  MatrixView<Scalar const> residual;  ///< [num_out, out_channels] in the convolution's space, or none
  Activation activation = Activation::none;
  float slope = 0.01F;  ///< of leaky_relu
};

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
/// a second matrix, where ConvolutionBackend::takes_pair() says so.
template <class Scalar>
struct ConvolutionArguments {
  Scalar const* features = nullptr;  // [num_in, in_channels], without those of `more`
  Scalar const* weight = nullptr;    // [volume, in_channels, out_channels]
  Scalar const* bias = nullptr;      // [out_channels] or null
  Scalar* output = nullptr;          // [num_out, out_channels]
  int in_channels = 0;
  int out_channels = 0;
  MathMode math = MathMode::exact;
  TileChoice tiles = TileChoice::automatic;
  Epilogue<Scalar> epilogue;
  MatrixView<Scalar const> more;            // [num_in, ...] the last of the in_channels, or none
  detail::PackedWeightView<Scalar> packed;  // `weight` once more, or none
};

namespace detail {

template <class Sum>
[[nodiscard]] TESSERA_HOST_DEVICE Sum apply_activation(Sum x, Activation activation, float slope)
{
  using std::exp;
  switch (activation) {
    case Activation::relu: return x <= Sum{0} ? Sum{0} : x;
    case Activation::leaky_relu: return x <= Sum{0} ? static_cast<Sum>(slope) * x : x;
    case Activation::silu: return x / (Sum{1} + exp(-x));
    default: return x;
  }
}

/// Throws unless the arguments can be meant.
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
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
