// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A decoder that grows a shape: each level splits voxels into those of their eight children that the shape passes
// through, and shares out their channels. Here the shape is a sphere, whose children are computed where a trained
// network would predict them. Prints the voxels of each level and compares the last one with the sphere itself.

#include <tessera/coords/space_filling_curve.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/grouped_conv.hpp>
#include <tessera/nn/layer_norm.hpp>
#include <tessera/ops/channels_to_space.hpp>
#include <tessera/ops/reorder.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

namespace ts = tessera;

namespace {

using Tensor = ts::SparseTensor<3, float, ts::Host>;
using Exec = ts::Execution<ts::Host>;

/// Whether the surface of the sphere in a grid of `extent` passes through a cell.
bool on_sphere(ts::IntArray<3> const& cell, int extent)
{
  double nearest = 0;
  double farthest = 0;
  for (int i = 0; i < 3; ++i) {
    double const centre = extent / 2.0;
    double const below = cell[i] - centre;
    double const above = below + 1;
    nearest += below <= 0 && above >= 0 ? 0 : std::fmin(below * below, above * above);
    farthest += std::fmax(below * below, above * above);
  }
  double const radius = 0.4 * extent;
  return nearest <= radius * radius && farthest >= radius * radius;
}

std::vector<ts::Coordinate<3>> sphere(int extent)
{
  std::vector<ts::Coordinate<3>> cells;
  for (int x = 0; x < extent; ++x) {
    for (int y = 0; y < extent; ++y) {
      for (int z = 0; z < extent; ++z) {
        if (on_sphere({x, y, z}, extent)) { cells.push_back({0, {x, y, z}}); }
      }
    }
  }
  return cells;
}

/// A logit for each child of each voxel in a grid of `extent`, first axis fastest.
Tensor predict(Tensor const& x, int extent, Exec const& exec)
{
  std::vector<float> logits;
  for (auto const& voxel : x.coordinates_on_host(exec)) {
    for (int child = 0; child < 8; ++child) {
      ts::IntArray<3> cell;
      for (int i = 0; i < 3; ++i) { cell[i] = 2 * voxel.position[i] + (child >> i & 1); }
      logits.push_back(on_sphere(cell, 2 * extent) ? 1.0F : -1.0F);
    }
  }
  return x.with_features(ts::upload_matrix(logits, 8, exec));
}

// [level]
/// One level: normalise, widen to eight pieces of channels, split, and mix what the children have.
Tensor decode(Tensor const& x, Tensor const& logits, Exec const& exec)
{
  int const channels = x.channels();
  ts::nn::LayerNorm<3, float, ts::Host> norm{channels, exec};
  ts::nn::Conv<3, float, ts::Host> widen{ts::ConvOptions<3>(channels, 8 * (channels / 2), 3), exec};
  ts::nn::GroupedConv<3, float, ts::Host> mix{ts::ConvOptions<3>(channels / 2, channels / 2, 5), channels / 2,
                                              exec};
  auto const pieces = widen(silu(norm(x, exec), exec), exec);
  auto const children =
      ts::channels_to_space_above(pieces, logits, 0.0, ts::ChildOrder::first_axis_fastest, exec);
  return mix(children, exec);  // depthwise, 5^3
}
// [level]

}  // namespace

int main()
{
  Exec const exec;
  int extent = 8;
  ts::CoordinateSetOptions<3> options;
  options.tensor_stride = 8;
  options.spatial_range = ts::SpatialRange<3>{1, {extent, extent, extent}};
  auto const cells = sphere(extent);
  std::vector<float> const ones(cells.size() * 32, 1.0F);
  Tensor x{ts::make_coordinate_set(cells, options, exec), ts::upload_matrix(ones, 32, exec)};
  std::printf("%4d^3: %lld voxels of %d channels\n", extent, static_cast<long long>(x.num_rows()),
              x.channels());
  for (; extent < 64; extent *= 2) {
    x = decode(x, predict(x, extent, exec), exec);
    std::printf("%4d^3: %lld voxels of %d channels\n", 2 * extent, static_cast<long long>(x.num_rows()),
                x.channels());
  }

  // [order]
  auto const order = ts::curve_order(*x.coordinates(), ts::SpaceFillingCurve::hilbert, exec);
  auto const along_curve = ts::reorder(x, order, exec);
  auto const as_before = ts::restore_order(along_curve, order, x, exec);
  // [order]
  bool const same = as_before.features_on_host(exec) == x.features_on_host(exec);

  // [shapes]
  auto const cross = ts::ConvOptions<3>(4, 4, 3).shape(ts::KernelShape<3>::cross());  // 7 offsets
  auto const listed = ts::ConvOptions<3>(4, 4, 1).shape(
      ts::KernelShape<3>::offsets({{0, 0, 0}, {0, 0, 1}, {0, 0, 2}, {0, 0, 4}}));
  // [shapes]
  auto const y = ts::nn::Conv<3, float, ts::Host>{cross, exec}(x, exec);
  auto const z = ts::nn::Conv<3, float, ts::Host>{listed, exec}(y, exec);

  auto const grown = static_cast<std::size_t>(x.num_rows());
  bool const is_sphere = grown == sphere(extent).size();
  std::printf("the sphere: %s; order restored: %s\n", is_sphere ? "yes" : "no", same ? "yes" : "no");
  return is_sphere && same && z.coordinates() == x.coordinates() ? 0 : 1;
}
