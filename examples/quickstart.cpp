// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// The first convolution, on the CPU: a scan becomes voxels, voxels become a sparse tensor, layers run on it.
// quickstart_gpu.cu is the same on the GPU.

#include <tessera/tessera.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <map>

namespace ts = tessera;

namespace {

/// y[o, :] = bias + sum over the 27 cells around voxel o that hold a voxel i of x[i, :] * weight[k, :, :].
std::vector<double> by_hand(std::vector<ts::Coordinate<3>> const& voxels, std::vector<float> const& x,
                            std::vector<float> const& weight, std::vector<float> const& bias)
{
  auto const out_channels = bias.size();
  auto const in_channels = x.size() / voxels.size();
  std::map<std::array<int, 3>, std::size_t> row_of;
  for (std::size_t row = 0; row < voxels.size(); ++row) {
    auto const& p = voxels[row].position;
    row_of[{p[0], p[1], p[2]}] = row;
  }
  std::vector<double> y;
  for (auto const& voxel : voxels) {
    std::vector<double> sums(bias.begin(), bias.end());
    std::size_t k = 0;
    for (int dx = -1; dx <= 1; ++dx) {
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dz = -1; dz <= 1; ++dz, ++k) {
          auto const& p = voxel.position;
          auto const found = row_of.find({p[0] + dx, p[1] + dy, p[2] + dz});
          if (found == row_of.end()) { continue; }
          for (std::size_t i = 0; i < in_channels; ++i) {
            for (std::size_t o = 0; o < out_channels; ++o) {
              sums[o] += double{x[found->second * in_channels + i]} *
                         double{weight[(k * in_channels + i) * out_channels + o]};
            }
          }
        }
      }
    }
    y.insert(y.end(), sums.begin(), sums.end());
  }
  return y;
}

}  // namespace

int main()
{
  // [execution]
  ts::Execution<ts::Host> const exec;  // all threads of this machine
  // [execution]

  // [scan]
  ts::PointCloud const scan = ts::simulate_lidar();  // or read_point_cloud("scan.bin")
  // [scan]

  // [voxels]
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(scan.features, scan.channels, exec);
  auto voxels = ts::sparse_quantize(ts::PointsView<float>{positions, intensity}, ts::QuantizeOptions<3>(0.2F),
                                    exec);  // 0.2 m
  ts::SparseTensor<3, float, ts::Host> const x{voxels.coordinates, std::move(voxels.features)};
  // [voxels]

  // [layers]
  using Conv = ts::nn::Conv<3, float, ts::Host>;
  Conv conv(ts::ConvOptions<3>(scan.channels, 16, 3).bias(true), exec);  // in, out channels, kernel size
  Conv down(ts::ConvOptions<3>(16, 32, 2).stride(2), exec);
  Conv up(ts::ConvOptions<3>(32, 16, 2).stride(2).transposed(), exec);

  auto const y = conv(x, exec);        // on the voxels of x
  auto const coarse = down(y, exec);   // on new voxels, twice as large
  auto const fine = up(coarse, exec);  // on the voxels of x again
  auto const sum = add(y, fine, exec);
  // [layers]

  // [result]
  std::vector<ts::Coordinate<3>> const rows = x.coordinates_on_host(exec);  // (batch, x, y, z)
  std::vector<float> const values = y.features_on_host(exec);               // [y.num_rows(), y.channels()]
  // [result]

  std::printf("%lld points, %lld voxels, %lld coarse voxels\n", static_cast<long long>(scan.size()),
              static_cast<long long>(x.num_rows()), static_cast<long long>(coarse.num_rows()));
  auto const expected =
      by_hand(rows, x.features_on_host(exec), ts::download(conv.weight().data(), conv.weight().size(), exec),
              ts::download(conv.bias().data(), conv.bias().size(), exec));
  double worst = values.size() == expected.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < values.size() && worst < INFINITY; ++i) {
    worst = std::fmax(worst, std::fabs(double{values[i]} - expected[i]));
  }
  bool const good = worst <= 1e-5 && coarse.num_rows() < x.num_rows() && sum.coordinates() == x.coordinates();
  std::puts(good ? "ok" : "FAILED: the layer differs from the loop");
  return good ? 0 : 1;
}
