// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// MinkUNet over one scan in half precision, layer by layer and as a plan: coordinates on the device in,
// logits on the device out.

#include "../support/harness.hpp"

namespace ts = tessera;

int main(int argc, char** argv)
{
  return bench::guarded([&] {
    auto const scan = bench::load_scan(argc, argv);
    cudaStream_t stream = nullptr;
    ts::detail::cuda_check(cudaStreamCreate(&stream));
    auto pool = std::make_unique<ts::PoolMemoryResource>(0);
    ts::Execution const exec{stream, pool.get()};
    auto const rows = ts::upload(scan.voxels, exec);
    std::vector<__half> features;
    for (auto const value : scan.features) { features.push_back(static_cast<__half>(value)); }
    auto const values = ts::upload(features, exec);
    bench::print_header();
    for (double width : {1.0, 0.5}) {
      ts::models::MinkUNet<3, __half> net(ts::models::MinkUNetOptions(4, 19).width(width), exec);
      auto const frame = [&](bool forward) {
        ts::SparseTensor<3, __half> const x{
            {reinterpret_cast<std::int32_t const*>(rows.data()), rows.size(), 4},
            {values.data(), rows.size(), 4},
            exec};
        if (forward) { static_cast<void>(net(x, exec)); }
      };
      exec.wait();
      auto const times = bench::time_calls(exec, 50, [&] { frame(true); });
      bench::print("MinkUNet " + std::to_string(width).substr(0, 3) + " eager, maps included", scan,
                   rows.size(), times);
      pool->reset_peak();
      frame(true);
      exec.wait();
      std::printf("# peak %.0f MB, weights and input included\n",
                  static_cast<double>(pool->peak_bytes()) / 1e6);

      ts::SparseTensor<3, __half> const x{
          {reinterpret_cast<std::int32_t const*>(rows.data()), rows.size(), 4},
          {values.data(), rows.size(), 4},
          exec};
      static_cast<void>(net(x, exec));
      auto limits = ts::PlanLimits().like(*x.coordinates(), 1.1);
      limits.box(x.coordinates()->box());
      for (bool const fused : {false, true}) {
        std::string const name = "MinkUNet " + std::to_string(width).substr(0, 3) + (fused ? " fused" : "");
        if (fused) {
          ts::nn::fuse(net, exec);
          auto const eager = bench::time_calls(exec, 50, [&] { frame(true); });
          bench::print(name + " eager, maps included", scan, rows.size(), eager);
        }
        ts::Plan plan(net, limits, exec);
        auto const planned = bench::time_calls(exec, 1000, [&] { static_cast<void>(plan.run(x, exec)); });
        plan.check();
        bench::print(name + " planned, maps included", scan, rows.size(), planned);
        std::printf("# arena %.0f MB, %zu nodes\n", static_cast<double>(plan.bytes()) / 1e6,
                    plan.num_nodes());
      }
    }
  });
}
