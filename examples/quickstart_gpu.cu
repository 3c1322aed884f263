// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// The first convolution on the GPU: quickstart.cpp with tensors in device memory and half-precision features.

#include <tessera/tessera.cuh>

#include <cmath>
#include <cstdio>
#include <vector>

namespace ts = tessera;

namespace {

/// y[o, :] = sum over the 27 cells around voxel o that hold a voxel i of x[i, :] * weight[k, :, :]; each
/// voxel is compared with each.
std::vector<float> by_hand(std::vector<ts::Coordinate<3>> const& voxels, std::vector<__half> const& x,
                           std::vector<__half> const& weight, std::size_t in_channels,
                           std::size_t out_channels)
{
  std::vector<float> y(voxels.size() * out_channels);
  for (std::size_t o = 0; o < voxels.size(); ++o) {
    for (std::size_t i = 0; i < voxels.size(); ++i) {
      int k = 0;  // row-major: the last axis runs fastest
      bool near = true;
      for (int axis = 0; axis < 3; ++axis) {
        int const digit = voxels[i].position[axis] - voxels[o].position[axis] + 1;
        near = near && digit >= 0 && digit < 3;
        k = 3 * k + digit;
      }
      for (std::size_t c = 0; near && c < in_channels; ++c) {
        for (std::size_t d = 0; d < out_channels; ++d) {
          y[o * out_channels + d] +=
              __half2float(x[i * in_channels + c]) *
              __half2float(weight[(static_cast<std::size_t>(k) * in_channels + c) * out_channels + d]);
        }
      }
    }
  }
  return y;
}

}  // namespace

int main()
{
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }

  // [execution]
  cudaStream_t stream = nullptr;
  if (cudaStreamCreate(&stream) != cudaSuccess) { return 1; }
  ts::Execution const exec{stream};  // Execution<Device>: work is enqueued on this stream
  // [execution]
  {
    ts::PointCloud const scan = ts::simulate_lidar();

    // [layers]
    auto const positions = ts::upload_matrix(scan.positions, 3, exec);
    auto const intensity = ts::cast<__half>(ts::upload_matrix(scan.features, scan.channels, exec), exec);
    auto voxels =
        ts::sparse_quantize(ts::PointsView<__half>{positions, intensity}, ts::QuantizeOptions<3>(0.5F), exec);
    ts::SparseTensor<3, __half> const x{voxels.coordinates, std::move(voxels.features)};

    ts::nn::Conv<3, __half> conv(ts::ConvOptions<3>(scan.channels, 16, 3), exec);
    auto const y = conv(x, exec);                  // enqueued, not yet computed
    auto const values = y.features_on_host(exec);  // waits for the stream
    // [layers]

    auto const expected =
        by_hand(x.coordinates_on_host(exec), x.features_on_host(exec),
                ts::download(conv.weight().data(), conv.weight().size(), exec),
                static_cast<std::size_t>(x.channels()), static_cast<std::size_t>(y.channels()));
    float worst = values.size() == expected.size() ? 0 : INFINITY;
    for (std::size_t i = 0; i < values.size() && worst < INFINITY; ++i) {
      worst =
          std::fmax(worst, std::fabs(__half2float(values[i]) - expected[i]) / (1 + std::fabs(expected[i])));
    }
    std::printf("%lld points, %lld voxels, largest difference to the loop %g\n",
                static_cast<long long>(scan.size()), static_cast<long long>(x.num_rows()),
                static_cast<double>(worst));
    if (!(worst <= 2e-3F)) {
      std::puts("FAILED: the layer differs from the loop");
      return 1;
    }
  }
  if (cudaStreamDestroy(stream) != cudaSuccess) { return 1; }
  std::puts("ok");
  return 0;
}
