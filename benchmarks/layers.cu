// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// One submanifold 3x3x3 convolution, C -> C, without bias, its map and order cached: a scan, the coarser
// levels of a network on it, ten sweeps, dense shells.

#include "support/session.cuh"
#include "support/tile_maps.cuh"

#include <tessera/tessera.cuh>

#include <algorithm>
#include <memory>

namespace ts = tessera;

namespace {

template <class Scalar>
std::vector<Scalar> random_features(std::int64_t size)
{
  std::vector<Scalar> features(static_cast<std::size_t>(size));
  std::uint64_t state = 1;
  for (auto& value : features) {
    auto const bits = ts::detail::next_random(state) >> 40;
    value = static_cast<Scalar>(static_cast<float>(bits) * 0x1p-24F - 0.5F);
  }
  return features;
}

template <class Scalar>
void measure(bench::Session& session, bench::Voxels const& voxels, int channels, ts::MathMode math)
{
  bench::Result result;
  result.name = "submanifold 3x3x3";
  result.workload = voxels.name;
  result.variant = "C" + std::to_string(channels) + " " + session.options().precision;
  result.rows = voxels.size();
  if (!session.wants(result)) { return; }

  auto const& exec = session.exec();
  ts::CoordinateSetOptions<3> const options{1, ts::SpatialRange<3>{1, voxels.grid}};
  auto const set = ts::make_coordinate_set(voxels.rows, options, exec);
  auto const map = ts::kernel_map(*set, ts::ConvolutionKind::submanifold, bench::geometry_of(3, 1, 0),
                                  ts::compat::none, exec)
                       .map;
  bench::Work work;
  work.add({bench::count_pairs(*map, exec), channels, channels, static_cast<int>(sizeof(Scalar))});
  if (sizeof(Scalar) == 2) {
    result.floor_ms = work.floor_ms();
    result.executed_ratio = bench::executed_ratio(*map, true, exec);
  }

  // weights and input lie in the default pool, what a call asks for in one of its own
  auto pool = std::make_unique<ts::PoolMemoryResource>(exec.device());
  {
    ts::Execution<ts::Device> const pooled{exec.stream(), pool.get()};
    auto config = ts::thread_conv_config();
    config.math = math;
    ts::nn::Conv<3, Scalar> conv(ts::ConvOptions<3>(channels, channels, 3).config(config), exec);
    ts::SparseTensor<3, Scalar> const x{
        set, ts::upload_matrix(random_features<Scalar>(voxels.size() * channels), channels, exec)};
    auto const run = [&](ts::Execution<ts::Device> const& where) { static_cast<void>(conv(x, where)); };
    auto const call = [&] { run(pooled); };

    run(exec);  // makes what layer and map keep, in memory that outlives them
    call();
    exec.wait();
    pool->reset_peak();
    auto const kept = pool->peak_bytes();
    session.count(result, call);
    exec.wait();
    result.peak_bytes = static_cast<std::int64_t>(pool->peak_bytes() - kept);

    auto const calls = session.options().calls;
    session.add(result, "calls", session.timer().calls(calls, call), &work);
    session.add(result, "cold", session.timer().cold(calls, call), &work);
    session.add(result, "batched", session.timer().batched(std::max(1, calls / 10), 20, call), &work);
    if (auto const graph = session.timer().graph(calls, run)) {
      result.kernels = graph->nodes;
      session.add(result, "graph", graph->times, &work);
    }
  }
  exec.wait();
}

void measure(bench::Session& session, bench::Voxels const& voxels, std::initializer_list<int> channels)
{
  auto const& precision = session.options().precision;
  auto const exact = ts::MathMode::exact;
  for (int const c : channels) {
    if (precision == "fp16") { measure<__half>(session, voxels, c, exact); }
    if (precision == "bf16") { measure<__nv_bfloat16>(session, voxels, c, exact); }
    if (precision == "fp32") { measure<float>(session, voxels, c, exact); }
    if (precision == "tf32") { measure<float>(session, voxels, c, ts::MathMode::tf32); }
  }
}

void measure_all(bench::Session& session)
{
  auto voxels = bench::semkitti(session.folder());
  measure(session, voxels, {32, 64, 128, 256});
  int level = 0;
  for (int const channels : {64, 128, 256, 256}) {
    auto coarse = bench::coarser(voxels);
    auto const name = voxels.name;
    voxels = std::move(coarse);
    auto named = voxels;
    named.name = name + " level " + std::to_string(++level);
    measure(session, named, {channels});
  }
  measure(session, bench::ten_sweeps(session.folder()), {16, 32, 64, 128});
  measure(session, bench::sphere(64), {1024});
  measure(session, bench::sphere(128), {512});
  measure(session, bench::sphere(256), {256});
  measure(session, bench::sphere(512), {128});
}

}  // namespace

int main(int argc, char** argv)
{
  return bench::run_benchmark("bench_layers",
                              "Times one submanifold 3x3x3 convolution on scans and shells, its map cached.",
                              {"fp16", "bf16", "fp32", "tf32"}, argc, argv, measure_all);
}
