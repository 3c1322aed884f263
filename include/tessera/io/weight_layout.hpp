// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/policies.hpp>
#include <tessera/nn/parameter.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// Where a file holds the elements of a convolution's weight: element (k, in, out), k counting offsets
/// row-major as Tessera does, lies at `first[k] + in * in_step + out * out_step`.
struct WeightPlacement {
  std::vector<std::int64_t> shape;  ///< the tensor's shape in the file
  std::vector<std::int64_t> first;  ///< [volume]
  std::int64_t in_step = 0;
  std::int64_t out_step = 1;
};

// A layout is an empty type with `static WeightPlacement place(ParameterView const&)`, called for parameters
// of role conv_weight; all others are alike everywhere: those of role matrix transposed, the rest as they are.

}  // namespace io

namespace detail {

/// Number of offsets of a weight [volume, in, out] or [in, out].
[[nodiscard]] inline std::int64_t volume_of(nn::ParameterView const& weight) noexcept
{
  return weight.shape.size() == 2 ? 1 : weight.shape.front();
}

/// The number of offset `k`, which counts row-major, where the first axis runs fastest.
[[nodiscard]] inline std::int64_t first_axis_fastest(std::int64_t k, std::vector<int> const& kernel_size)
{
  expects(k == 0 || !kernel_size.empty(),
          "weight layout: a kernel that is no box has no order of its axes; its offsets are in Tessera's "
          "order alone");
  // the digits of k, last axis first, are those of the number, first axis last
  std::int64_t step = 1;
  for (auto const size : kernel_size) { step *= size; }
  std::int64_t number = 0;
  for (auto axis = kernel_size.size(); axis-- > 0;) {
    step /= kernel_size[axis];
    number += k % kernel_size[axis] * step;
    k /= kernel_size[axis];
  }
  return number;
}

/// Where spconv holds a weight: `shape` is the tensor's, element (k, in, out) lies at
/// `k * offset_step + in * in_step + out * out_step`.
[[nodiscard]] inline io::WeightPlacement place_strided(nn::ParameterView const& weight,
                                                       std::vector<std::int64_t> shape,
                                                       std::int64_t offset_step, std::int64_t in_step,
                                                       std::int64_t out_step)
{
  io::WeightPlacement result{std::move(shape), {}, in_step, out_step};
  auto const volume = volume_of(weight);
  for (std::int64_t k = 0; k < volume; ++k) { result.first.push_back(k * offset_step); }
  // spconv 2 multiplies by the memory as [in, out] where size and stride are 1, whatever the shape says.
  if (weight.shape.size() == 2) {
    result.in_step = weight.shape.back();
    result.out_step = 1;
  }
  return result;
}

}  // namespace detail

namespace io {

/// Tessera's own: [volume, in, out], offsets row-major (the last axis fastest); [in, out] for a kernel of one
/// voxel and stride 1.
struct Tessera {
  [[nodiscard]] static WeightPlacement place(nn::ParameterView const& weight)
  {
    WeightPlacement result;
    result.shape = weight.shape;
    result.out_step = 1;
    result.in_step = weight.shape.back();
    auto const matrix = weight.shape[weight.shape.size() - 2] * weight.shape.back();
    auto const volume = weight.size / matrix;
    for (std::int64_t k = 0; k < volume; ++k) { result.first.push_back(k * matrix); }
    return result;
  }
};

/// TorchSparse's: as Tessera's, but where every axis of the kernel is odd the first axis runs fastest.
/// Source: TorchSparse 2.1, whose kernels number offsets by the parity of the volume.
struct TorchSparse {
  [[nodiscard]] static WeightPlacement place(nn::ParameterView const& weight)
  {
    auto result = Tessera::place(weight);
    auto const volume = detail::volume_of(weight);
    if (volume % 2 == 0) { return result; }
    auto const matrix = weight.size / volume;
    for (std::int64_t k = 0; k < volume; ++k) {
      result.first[static_cast<std::size_t>(k)] = detail::first_axis_fastest(k, weight.kernel_size) * matrix;
    }
    return result;
  }
};

/// MinkowskiEngine's: as Tessera's, but the first axis runs fastest in every kernel.
/// Source: MinkowskiEngine 0.5, kernel_region_iterator of src/kernel_region.hpp.
struct Minkowski {
  [[nodiscard]] static WeightPlacement place(nn::ParameterView const& weight)
  {
    auto result = Tessera::place(weight);
    auto const volume = detail::volume_of(weight);
    auto const matrix = weight.size / volume;
    for (std::int64_t k = 0; k < volume; ++k) {
      result.first[static_cast<std::size_t>(k)] = detail::first_axis_fastest(k, weight.kernel_size) * matrix;
    }
    return result;
  }
};

/// spconv's since 2.2: [out, kernel size..., in], offsets row-major. `Rules` tell how a kernel of one voxel
/// and stride 1 is meant: Compatibility::spconv by its memory as [in, out], because spconv multiplies by it
/// so; Compatibility::none and Compatibility::spconv1 by its shape, as every other kernel. Source: spconv
/// 2.3, pytorch/conv.py.
template <Compatibility Rules>
struct KrscUnder {
  [[nodiscard]] static WeightPlacement place(nn::ParameterView const& weight)
  {
    auto const in = weight.shape[weight.shape.size() - 2];
    auto const out_step = in * detail::volume_of(weight);
    std::vector<std::int64_t> shape{weight.shape.back()};
    shape.insert(shape.end(), weight.kernel_size.begin(), weight.kernel_size.end());
    shape.push_back(in);
    auto result = detail::place_strided(weight, std::move(shape), in, 1, out_step);
    if constexpr (Rules != Compatibility::spconv) {
      result.in_step = 1;
      result.out_step = out_step;
    }
    return result;
  }
};

/// As spconv computes, for the checkpoints it wrote. KrscUnder<Compatibility::none> is for weights that mean
/// what their shape says: those of spconv 1 brought to this shape, and of layers that work around spconv 2.
using Krsc = KrscUnder<Compatibility::spconv>;

/// FlexGEMM's, also of TRELLIS.2: [out, kd, kh, kw, in], the kernel's axes in the order of the coordinate's,
/// offsets row-major; a kernel of one voxel by its shape. Source: FlexGEMM, ops/spconv/submanifold_conv3d.py,
/// which calls the axes Kw, Kh, Kd.
using FlexGemm = KrscUnder<Compatibility::none>;

/// The layout of spconv 2.0 and 2.1 with its "Native" algorithm: [kernel size..., out, in], offsets
/// row-major; a kernel of one voxel as in Krsc.
struct Rskc {
  [[nodiscard]] static WeightPlacement place(nn::ParameterView const& weight)
  {
    auto const in = weight.shape[weight.shape.size() - 2];
    auto const out = weight.shape.back();
    std::vector<std::int64_t> shape(weight.kernel_size.begin(), weight.kernel_size.end());
    shape.insert(shape.end(), {out, in});
    return detail::place_strided(weight, std::move(shape), in * out, 1, in);
  }
};

/// spconv 1's, also of mmcv.ops and BEVFusion's own copy: [kernel size..., in, out], offsets row-major.
struct Rsck {
  [[nodiscard]] static WeightPlacement place(nn::ParameterView const& weight)
  {
    auto const in = weight.shape[weight.shape.size() - 2];
    auto const out = weight.shape.back();
    std::vector<std::int64_t> shape(weight.kernel_size.begin(), weight.kernel_size.end());
    shape.insert(shape.end(), {in, out});
    return detail::place_strided(weight, std::move(shape), in * out, out, 1);
  }
};

/// A layout chosen at run time; `tessera` stands for io::Tessera, and so on.
enum class WeightLayout : std::uint8_t { tessera, torchsparse, minkowski, krsc, rskc, rsck, flexgemm };

[[nodiscard]] constexpr char const* name_of(WeightLayout layout) noexcept
{
  constexpr char const* names[] = {"tessera", "torchsparse", "minkowski", "krsc", "rskc", "rsck", "flexgemm"};
  return names[static_cast<std::size_t>(layout)];
}

/// Calls `body` with the layout's type, e.g. `body(Krsc{})`, and returns what it returns.
template <class Body>
auto with_layout(WeightLayout layout, Body const& body)
{
  switch (layout) {
    case WeightLayout::torchsparse: return body(TorchSparse{});
    case WeightLayout::minkowski: return body(Minkowski{});
    case WeightLayout::krsc: return body(Krsc{});
    case WeightLayout::rskc: return body(Rskc{});
    case WeightLayout::rsck: return body(Rsck{});
    case WeightLayout::flexgemm: return body(FlexGemm{});
    default: return body(Tessera{});
  }
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
