// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A kernel of your own in the place of the built-in one, for one scalar and one pair of channel counts.
//
// The first layer of a LiDAR network has 4 input channels: its rows are 8 bytes, too short for tensor cores
// to be worth the way through shared memory. Below, a thread makes 8 of the 32 output channels of one row.

#include <tessera/conv/convolution.cuh>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace ts = tessera;

// --- what would be a header of yours: the kernel and the list, the same in every translation unit ----------

// [kernel]
__global__ void first_layer_kernel(ts::ConvolutionArguments<__half> const arguments,
                                   std::int32_t const* out_in, std::int64_t num_out, int volume)
{
  auto const thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  auto const row = thread / 4;
  auto const channel = static_cast<int>(thread % 4) * 8;
  if (row >= num_out) { return; }
  float sums[8] = {};
  for (int k = 0; k < volume; ++k) {
    auto const in = out_in[row * volume + k];
    if (in < 0) { continue; }
    for (int i = 0; i < 4; ++i) {
      float const feature = __half2float(arguments.features[std::int64_t{in} * 4 + i]);
      auto const* const weight = arguments.weight + (k * 4 + i) * 32 + channel;
      for (int c = 0; c < 8; ++c) { sums[c] += feature * __half2float(weight[c]); }
    }
  }
  for (int c = 0; c < 8; ++c) {
    float const bias = arguments.bias == nullptr ? 0.0F : __half2float(arguments.bias[channel + c]);
    arguments.output[row * 32 + channel + c] = __float2half_rn(sums[c] + bias);
  }
}
// [kernel]

// [specialise]
struct FirstLayer {
  static constexpr int in_channels = 4;
  static constexpr int out_channels = 32;
  static inline int launches = 0;  // for this program to see that it ran

  static bool supports(int compute_capability) { return compute_capability >= 75; }

  static void forward(ts::ConvolutionArguments<__half> const& arguments, ts::KernelMap<ts::Device>& map,
                      ts::Execution<ts::Device> const& exec)
  {
    ++launches;
    ts::launch(first_layer_kernel, ts::grid_for(map.num_out() * 4, 128), 128, 0, exec, arguments,
               map.out_in(exec), map.num_out(), map.volume());
  }
};

template <>
struct tessera::SpecializedKernels<__half> {
  using list = tessera::KernelList<FirstLayer>;
};
// [specialise]

// --- a program that uses it --------------------------------------------------------------------------------

namespace {

constexpr int num_rows = 3000;
constexpr int volume = 27;

std::vector<__half> random_values(std::size_t size, std::mt19937& random)
{
  std::uniform_real_distribution<float> value{-1, 1};
  std::vector<__half> values(size);
  for (auto& v : values) { v = __float2half(value(random)); }
  return values;
}

template <class Dataflow>
std::vector<__half> run(ts::ConvolutionArguments<__half> arguments, ts::KernelMap<ts::Device>& map,
                        ts::Execution<ts::Device> const& exec)
{
  ts::Buffer<__half, ts::Device> output{map.num_out() * arguments.out_channels, exec};
  arguments.output = output.data();
  Dataflow::forward(arguments, map, exec);
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
  std::vector<std::int32_t> neighbours(std::size_t{num_rows} * volume, -1);
  for (auto& in : neighbours) {
    if (random() % 4 == 0) { in = static_cast<std::int32_t>(random() % num_rows); }
  }
  ts::KernelMap<ts::Device> map{ts::upload(neighbours, exec), num_rows, num_rows, volume, -1};
  auto const features = ts::upload(random_values(std::size_t{num_rows} * 4, random), exec);
  auto const weight = ts::upload(random_values(std::size_t{volume} * 4 * 32, random), exec);
  auto const bias = ts::upload(random_values(32, random), exec);
  ts::ConvolutionArguments<__half> arguments;
  arguments.features = features.data();
  arguments.weight = weight.data();
  arguments.bias = bias.data();
  arguments.in_channels = 4;
  arguments.out_channels = 32;

  // The default mode finds the kernel by itself; a tile named in the policy asks for the built-in kernel.
  auto const mine = run<ts::ConvMode<1>>(arguments, map, exec);
  auto const built_in = run<ts::ImplicitGemm<true, 1, ts::Tile<64, 32, 16, 3>>>(arguments, map, exec);

  // Both round once, from sums in float that may differ in their last bits: two units in the last place of
  // half.
  float worst = 0;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    float const expected = __half2float(built_in[i]);
    worst = std::fmax(worst, std::fabs(__half2float(mine[i]) - expected) / (1.0F + std::fabs(expected)));
  }
  std::printf("largest difference: %g of the result\n", static_cast<double>(worst));
  bool const good = FirstLayer::launches == 1 && worst <= std::ldexp(1.0F, -9);
  std::puts(good ? "OK: the kernel ran once and agrees with the built-in one" : "FAILED");
  return good ? 0 : 1;
}
