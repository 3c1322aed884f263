// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A tile of your own for the implicit GEMM, and what it must not change: the result.
//
// Tile<Rows, Channels, Depth, Stages> says how the work is cut. Any empty type with the same four constants
// does as well, as below. Every tile gives the same bits; what the library would choose for half on this
// device may add a row's products in another order, which shows in the last bit at most.

#include <tessera/conv/convolution.cuh>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace ts = tessera;

// [tile]
/// 128 rows by 64 channels: reads the weights half as often as a tile of 64 rows.
struct TallTile {
  static constexpr int rows = 128;
  static constexpr int channels = 64;
  static constexpr int depth = 32;
  static constexpr int stages = 3;
};
// [tile]

// [policy]
// Mode 1 (sorted by neighbour mask, one split) with that tile, and with the one the library would choose.
using MyPolicy = ts::ConvPolicy<ts::ImplicitGemm<true, 1, TallTile>>;
using DefaultPolicy = ts::ConvPolicy<ts::ConvMode<1>>;
// [policy]

namespace {

constexpr int num_rows = 5000;
constexpr int volume = 27;
constexpr int channels = 64;

std::vector<__half> random_values(std::size_t size, std::mt19937& random)
{
  std::uniform_real_distribution<float> value{-1, 1};
  std::vector<__half> values(size);
  for (auto& v : values) { v = __float2half(value(random)); }
  return values;
}

/// Rows in a line, of which every fourth neighbour is present.
std::vector<std::int32_t> neighbours(std::mt19937& random)
{
  std::vector<std::int32_t> map(std::size_t{num_rows} * volume, -1);
  for (int row = 0; row < num_rows; ++row) {
    for (int k = 0; k < volume; ++k) {
      int const in = row + k - volume / 2;
      bool const present = in >= 0 && in < num_rows && (k == volume / 2 || random() % 4 == 0);
      if (present) { map[static_cast<std::size_t>(row * volume + k)] = in; }
    }
  }
  return map;
}

template <class Policy>
std::vector<__half> run(ts::ConvolutionArguments<__half> arguments, ts::KernelMap<ts::Device>& map,
                        ts::Execution<ts::Device> const& exec)
{
  ts::Buffer<__half, ts::Device> output{std::int64_t{num_rows} * channels, exec};
  arguments.output = output.data();
  Policy::dataflow::forward(arguments, map, exec);
  return ts::download(output, exec);
}

}  // namespace

int main()
{
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  ts::Execution<ts::Device> const exec;
  std::mt19937 random{1};
  auto const features = ts::upload(random_values(std::size_t{num_rows} * channels, random), exec);
  auto const weight = ts::upload(random_values(std::size_t{volume} * channels * channels, random), exec);
  ts::KernelMap<ts::Device> map{ts::upload(neighbours(random), exec), num_rows, num_rows, volume, volume / 2};

  ts::ConvolutionArguments<__half> arguments;
  arguments.features = features.data();
  arguments.weight = weight.data();
  arguments.in_channels = channels;
  arguments.out_channels = channels;

  auto const mine = run<MyPolicy>(arguments, map, exec);
  auto const expected = run<DefaultPolicy>(arguments, map, exec);
  bool same = true;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    float const value = __half2float(expected[i]);
    same = same && std::abs(__half2float(mine[i]) - value) <= 0x1p-10F * std::abs(value) + 0x1p-14F;
  }
  std::puts(same ? "OK: the tile of 128 x 64 x 32 gives what the chosen one gives"
                 : "FAILED: the results differ");
  return same ? 0 : 1;
}
