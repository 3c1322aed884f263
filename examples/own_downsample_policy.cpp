// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Policies of your own: where a kernel sits, and which outputs a strided convolution has. Here for radar
// frames stacked in time, (batch, x, y, t): no layer may read the future, and coarse levels keep only voxels
// that were measured.

#include <tessera/conv/convolution.hpp>
#include <tessera/nn/conv.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

namespace ts = tessera;

// [kmap_policy]
/// Centred on every axis but the last, which is time: there the kernel ends at the voxel itself.
struct CausalInTime {
  static constexpr char const* name = "causal_in_time";

  /// How far below `stride * out` the kernel begins, on each axis.
  template <int Dim>
  static ts::IntArray<Dim> anchor(ts::ConvolutionGeometry<Dim> const& g, ts::ConvolutionKind,
                                  ts::Compatibility)
  {
    ts::IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) {
      int const steps = i == Dim - 1 ? g.kernel_size[i] - 1 : (g.kernel_size[i] - 1) / 2;
      result[i] = steps * g.dilation[i];
    }
    return result;
  }
};
// [kmap_policy]

// [downsample_policy]
/// An output only where an input lies on the stride's lattice: o = in / stride where that is exact.
struct OnLattice {
  static constexpr char const* name = "on_lattice";

  /// How many outputs one input may name; candidate() is asked for each.
  template <int Dim>
  TESSERA_HOST_DEVICE static int num_candidates(ts::KernelRegion<Dim> const&)
  {
    return 1;
  }

  /// Writes candidate number `index` of the input at `in` to `out`; false when there is none.
  template <int Dim>
  TESSERA_HOST_DEVICE static bool candidate(ts::KernelRegion<Dim> const& region, ts::IntArray<Dim> const& in,
                                            int /*index*/, ts::IntArray<Dim>& out)
  {
    for (int i = 0; i < Dim; ++i) {
      if (in[i] % region.stride[i] != 0) { return false; }
      out[i] = in[i] / region.stride[i];
    }
    return true;
  }

  /// The output's grid, for tensors with a spatial range; outputs outside are dropped.
  template <int Dim>
  static ts::IntArray<Dim> output_extent(ts::ConvolutionGeometry<Dim> const& g,
                                         ts::IntArray<Dim> const& extent)
  {
    ts::IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = (extent[i] + g.stride[i] - 1) / g.stride[i]; }
    return result;
  }
};
// [downsample_policy]

// [use]
using CausalPolicy = ts::ConvPolicy<ts::ConvMode<1>, CausalInTime, OnLattice>;
using CausalConv = ts::nn::Conv<3, float, ts::Host, CausalPolicy>;
// [use]

namespace {

using Cell = std::array<int, 3>;
constexpr int channels = 4;

/// A blob that moves and fades, with holes.
std::vector<ts::Coordinate<3>> make_frames()
{
  std::vector<ts::Coordinate<3>> frames;
  for (int t = 0; t < 8; ++t) {
    for (int x = -6; x < 7; ++x) {
      for (int y = -6; y < 7; ++y) {
        bool const inside = (x - t) * (x - t) + y * y < 30;
        if (inside && (x * 7 + y * 3 + t * 5) % 4 != 0) { frames.push_back({0, {x, y, t}}); }
      }
    }
  }
  return frames;
}

/// The largest difference of `y` to the definition, in a loop; infinite when its voxels are not the right
/// ones.
double difference(ts::SparseTensor<3, float, ts::Host> const& x, CausalConv& layer,
                  ts::SparseTensor<3, float, ts::Host> const& y, ts::Execution<ts::Host> const& exec)
{
  auto const& g = layer.options().geometry;
  auto const rows_in = x.coordinates_on_host(exec);
  auto const rows_out = y.coordinates_on_host(exec);
  std::map<Cell, std::int64_t> row_of;
  std::set<Cell> outputs;
  for (auto const& c : rows_in) {
    auto const& p = c.position;
    row_of.emplace(Cell{p[0], p[1], p[2]}, static_cast<std::int64_t>(row_of.size()));
    if (p[0] % g.stride[0] == 0 && p[1] % g.stride[1] == 0 && p[2] % g.stride[2] == 0) {
      outputs.insert({p[0] / g.stride[0], p[1] / g.stride[1], p[2] / g.stride[2]});
    }
  }
  if (rows_out.size() != outputs.size()) { return INFINITY; }
  double worst = 0;
  for (std::size_t row = 0; row < rows_out.size(); ++row) {
    auto const& p = rows_out[row].position;
    if (outputs.count({p[0], p[1], p[2]}) == 0) { return INFINITY; }
    std::array<double, channels> sums{};
    int k = 0;
    for (int dx = -1; dx <= 1; ++dx) {
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dt = -2; dt <= 0; ++dt, ++k) {
          auto const in =
              row_of.find({p[0] * g.stride[0] + dx, p[1] * g.stride[1] + dy, p[2] * g.stride[2] + dt});
          if (in == row_of.end()) { continue; }
          for (int i = 0; i < channels; ++i) {
            for (int o = 0; o < channels; ++o) {
              sums[static_cast<std::size_t>(o)] +=
                  double{x.features().data[in->second * channels + i]} *
                  double{layer.weight().data()[(k * channels + i) * channels + o]};
            }
          }
        }
      }
    }
    for (std::size_t o = 0; o < channels; ++o) {
      worst = std::fmax(worst, std::fabs(sums[o] - double{y.features().data[row * channels + o]}));
    }
  }
  return worst;
}

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  auto const frames = make_frames();
  std::vector<float> values(frames.size() * channels);
  for (std::size_t i = 0; i < values.size(); ++i) { values[i] = static_cast<float>(i * 37 % 101) / 101; }
  ts::SparseTensor<3, float, ts::Host> const x{ts::make_coordinate_set(frames, {}, exec),
                                               ts::upload_matrix(values, channels, exec)};

  CausalConv same(ts::ConvOptions<3>(channels, channels, 3), exec);
  CausalConv down(ts::ConvOptions<3>(channels, channels, 3).stride({2, 2, 1}).seed(1), exec);
  auto const y = same(x, exec);
  auto const z = down(y, exec);
  double const worst = std::fmax(difference(x, same, y, exec), difference(y, down, z, exec));

  std::printf("%lld voxels, %lld on the lattice, largest difference to the loop %g\n",
              static_cast<long long>(x.num_rows()), static_cast<long long>(z.num_rows()), worst);
  bool const good = worst <= 1e-5 && z.num_rows() > 0;
  std::puts(good ? "ok" : "FAILED: the layers differ from the loop");
  return good ? 0 : 1;
}
