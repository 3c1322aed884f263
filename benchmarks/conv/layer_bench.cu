// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// One submanifold 3x3x3 convolution of half features, C -> C, its map and order cached.

#include "../support/harness.hpp"

namespace ts = tessera;

int main(int argc, char** argv)
{
  return bench::guarded([&] {
    auto const scan = bench::load_scan(argc, argv);
    cudaStream_t stream = nullptr;
    ts::detail::cuda_check(cudaStreamCreate(&stream));
    ts::Execution const exec{stream};
    auto const set = ts::make_coordinate_set(scan.voxels, {}, exec);
    bench::print_header();
    for (int channels : {32, 64, 128, 256}) {
      ts::nn::Conv<3, __half> conv(ts::nn::ConvOptions<3>(channels, channels, 3), exec);
      std::vector<__half> features(static_cast<std::size_t>(set->num_rows() * channels));
      std::uint64_t state = 1;
      for (auto& value : features) {
        value =
            static_cast<__half>(static_cast<float>(ts::detail::next_random(state) >> 40) * 0x1p-24F - 0.5F);
      }
      ts::SparseTensor<3, __half> const x{set, ts::upload_matrix(features, channels, exec)};
      for (int mode : {0, 1, 2}) {
        conv.options().config(ts::with_conv_mode({}, mode));
        auto const times = bench::time_calls(exec, 50, [&] { static_cast<void>(conv(x, exec)); });
        bench::print("layer C" + std::to_string(channels) + " mode " + std::to_string(mode), scan,
                     set->num_rows(), times);
      }
    }
  });
}
