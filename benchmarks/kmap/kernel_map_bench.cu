// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Kernel maps from coordinates that lie on the device: table, map, tile order.

#include "../support/harness.hpp"

namespace ts = tessera;

int main(int argc, char** argv)
{
  return bench::guarded([&] {
    auto const scan = bench::load_scan(argc, argv);
    cudaStream_t stream = nullptr;
    ts::detail::cuda_check(cudaStreamCreate(&stream));
    ts::Execution const exec{stream};
    auto const rows = ts::upload(scan.voxels, exec);
    auto const* const data = reinterpret_cast<std::int32_t const*>(rows.data());

    auto const time = [&](std::string const& name, ts::ConvolutionKind kind,
                          ts::ConvolutionGeometry<3> const& g, bool sort) {
      std::int64_t num_out = 0;
      auto const times = bench::time_calls(exec, 50, [&] {
        auto const set = ts::make_coordinate_set<3>(data, rows.size(), {}, exec);
        auto const mapped = ts::kernel_map(*set, kind, g, ts::compat::none, exec);
        static_cast<void>(ts::tile_map(*mapped.map, sort, 1, 64, exec));
        num_out = mapped.map->num_out();
      });
      bench::print(name, scan, num_out, times);
    };
    bench::print_header();
    ts::ConvolutionGeometry<3> submanifold;
    ts::ConvolutionGeometry<3> halve;
    halve.kernel_size = 2;
    halve.stride = 2;
    ts::ConvolutionGeometry<3> overlap;
    overlap.stride = 2;
    overlap.padding = 1;
    for (bool sort : {false, true}) {
      std::string const suffix = sort ? " sorted" : " unsorted";
      time("submanifold 3x3x3" + suffix, ts::ConvolutionKind::submanifold, submanifold, sort);
      time("strided k2 s2" + suffix, ts::ConvolutionKind::strided, halve, sort);
      time("strided k3 s2 p1" + suffix, ts::ConvolutionKind::strided, overlap, sort);
    }
  });
}
