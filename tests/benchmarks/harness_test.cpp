// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What the benchmarks compute on the host: statistics, floors, files of results, workloads.

#include "../../benchmarks/support/floor.hpp"
#include "../../benchmarks/support/networks.hpp"
#include "../../benchmarks/support/result.hpp"
#include "../../benchmarks/support/statistics.hpp"
#include "../../benchmarks/support/thin_tracks.hpp"
#include "../../benchmarks/support/workloads.hpp"
#include "../support/data.hpp"

#include <tessera/io/detail/json.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

namespace ts = tessera;

namespace {

bench::Environment environment()
{
  return {"bench_layers", "GPU \"X\"", "1.2", "13.0", "abc", "2000-01-02T03:04:05Z"};
}

bench::Result layer()
{
  bench::Result result;
  result.name = "submanifold 3x3x3";
  result.workload = "a, b";
  result.variant = "C64 \"fp16\"";
  result.method = "calls";
  result.rows = 10;
  result.times = bench::summary({0.5, 0.25, 0.5});
  result.floor_ms = 0.125;
  result.peak_bytes = std::int64_t{1} << 40;
  result.host_syncs = 0;
  return result;
}

bench::Work work_of(bench::Voxels const& voxels, bench::Network const& network)
{
  ts::Execution<ts::Host> const host;
  auto const set = ts::make_coordinate_set(voxels.rows, {1, ts::SpatialRange<3>{1, voxels.grid}}, host);
  return bench::network_work(network, *set, 2, host);
}

}  // namespace

TEST_CASE("benchmark statistics: median, smallest and the 99th percentile by nearest rank")
{
  CHECK(bench::summary({3}).median_ms == 3);
  CHECK(bench::summary({3}).p99_ms == 3);
  CHECK(bench::summary({4, 1, 2}).median_ms == 2);
  CHECK(bench::summary({4, 1, 2, 3}).median_ms == 2.5);
  CHECK(bench::summary({4, 1, 2, 3}).min_ms == 1);
  for (int n : {1, 2, 99, 100, 101, 200, 1000}) {
    CAPTURE(n);
    std::vector<double> times;
    for (int i = n; i >= 1; --i) { times.push_back(i); }
    auto const found = bench::summary(times);
    CHECK(found.calls == times.size());
    int rank = 1;  // the definition: at least 99 % are not above it
    while (100 * rank < 99 * n) { ++rank; }
    CHECK(found.p99_ms == rank);
  }
  CHECK_THROWS_AS(static_cast<void>(bench::summary({})), std::invalid_argument);
}

TEST_CASE("benchmark floors: the longer of arithmetic and gathers, and a launch for each step")
{
  bench::Work arithmetic;
  arithmetic.add({1000000, 256, 256, 2});
  CHECK(arithmetic.multiply_adds() == 65536e6);
  CHECK(arithmetic.gathered_bytes() == 512e6);
  CHECK(arithmetic.floor_ms() == doctest::Approx(2 * 65.536e9 / 600e12 * 1e3 + 0.002));
  bench::Work gathers;
  gathers.add({1000000, 32, 32, 2});
  CHECK(gathers.floor_ms() == doctest::Approx(64e6 / 5.5e12 * 1e3 + 0.002));
  gathers.add_steps(5);
  CHECK(gathers.steps() == 6);
  CHECK(gathers.floor_ms() == doctest::Approx(64e6 / 5.5e12 * 1e3 + 0.012));

  auto result = layer();
  CHECK(result.percent_of_floor().value() == doctest::Approx(25));
  result.floor_ms.reset();
  CHECK_FALSE(result.percent_of_floor().has_value());
}

TEST_CASE("benchmark results: JSON says what was measured and leaves out what was not")
{
  using ts::detail::Json;
  auto bare = layer();
  bare.floor_ms = std::numeric_limits<double>::quiet_NaN();
  bare.peak_bytes.reset();
  auto const parse = [](std::string const& text) {
    return ts::detail::parse_json(text, ts::detail::FileContext{"to_json", "results"});
  };
  auto const file = parse(bench::to_json(environment(), {layer(), bare}));
  auto const text = [](Json const& object, char const* key) { return *object.find(key)->get<std::string>(); };
  CHECK(text(file, "format") == "tessera benchmark 1");
  CHECK(text(file, "gpu") == "GPU \"X\"");
  CHECK(text(file, "date") == "2000-01-02T03:04:05Z");
  auto const& results = *file.find("results")->get<Json::Array>();
  REQUIRE(results.size() == 2);
  CHECK(text(results[0], "case") == "submanifold 3x3x3");
  CHECK(text(results[0], "variant") == "C64 \"fp16\"");
  CHECK(*results[0].find("rows")->get<std::int64_t>() == 10);
  CHECK(*results[0].find("min_ms")->get<double>() == 0.25);
  CHECK(*results[0].find("floor_ms")->get<double>() == 0.125);
  CHECK(*results[0].find("percent_of_floor")->get<std::int64_t>() == 25);
  CHECK(*results[0].find("peak_bytes")->get<std::int64_t>() == std::int64_t{1} << 40);
  CHECK(*results[0].find("host_syncs")->get<std::int64_t>() == 0);
  CHECK(results[0].find("kernels") == nullptr);
  for (char const* const absent : {"floor_ms", "percent_of_floor", "peak_bytes", "tflops"}) {
    CAPTURE(absent);
    CHECK(results[1].find(absent) == nullptr);
  }
  CHECK(parse(bench::to_json(environment(), {})).find("results")->get<Json::Array>()->empty());
}

TEST_CASE("benchmark results: CSV has a name for every column and quotes around every text")
{
  auto const text = bench::to_csv(environment(), {layer()});
  auto const end = text.find('\n');
  CHECK(text.substr(0, end) ==
        "case,workload,variant,method,rows,calls,median_ms,min_ms,p99_ms,floor_ms,percent_of_floor,tflops,"
        "gather_gbs,executed_ratio,peak_bytes,kernels,host_syncs,program,gpu,driver,cuda,revision,date");
  CHECK(text.substr(end + 1) ==
        "\"submanifold 3x3x3\",\"a, b\",\"C64 \"\"fp16\"\"\",\"calls\",10,3,0.5,0.25,0.5,0.125,25,,,,"
        "1099511627776,,0,\"bench_layers\",\"GPU \"\"X\"\"\",\"1.2\",\"13.0\",\"abc\","
        "\"2000-01-02T03:04:05Z\"\n");
}

TEST_CASE("benchmark workloads: spheres are the cells whose centre lies in the shell")
{
  for (int const extent : {8, 9, 64}) {
    CAPTURE(extent);
    bench::Rows expected;
    for (int i = 0; i < extent; ++i) {
      for (int j = 0; j < extent; ++j) {
        for (int k = 0; k < extent; ++k) {
          auto const from = [&](int at) { return at + 0.5 - 0.5 * extent; };
          auto const distance = std::sqrt(from(i) * from(i) + from(j) * from(j) + from(k) * from(k));
          if (distance <= 0.5 * extent && distance >= 0.5 * extent - 1.25) {
            expected.push_back({0, {i, j, k}});
          }
        }
      }
    }
    CHECK(bench::sphere(extent).rows == expected);
  }
  CHECK(bench::sphere(64).size() == 15192);
  CHECK(bench::sphere(128).size() == 64160);
  CHECK(bench::sphere(256).size() == 252392);
  CHECK(bench::sphere(512).size() == 1026536);
}

TEST_CASE("benchmark workloads: a cell has children on the sphere if and only if it is on the sphere")
{
  for (int const extent : {16, 48, 64}) {
    CAPTURE(extent);
    CHECK(bench::coarser(bench::sphere_surface(2 * extent)).rows == bench::sphere_surface(extent).rows);
  }
  CHECK(bench::sphere_surface(8).size() > 8 * 8);
}

TEST_CASE("benchmark floors: of the decoder they are what its levels come to")
{
  auto const finest = bench::sphere_surface(64);
  auto const work = work_of(finest, bench::shape_decoder_layers());
  double expected = 0;
  auto level = finest;
  ts::Execution<ts::Host> const host;
  for (std::size_t k = bench::shape_decoder_channels.size(); k-- > 0;) {
    auto const set = ts::make_coordinate_set(level.rows, {1, ts::SpatialRange<3>{1, level.grid}}, host);
    auto const map = ts::kernel_map(*set, ts::ConvolutionKind::submanifold, {}, ts::compat::none, host).map;
    auto const pairs = static_cast<double>(bench::count_pairs(*map, host));
    auto const rows = static_cast<double>(level.size());
    double const c = bench::shape_decoder_channels[k];
    if (k > 0) { expected += pairs * c * c; }                             // after the split
    if (k == 0) { expected += rows * bench::shape_decoder_inputs * c; }   // the first layer
    if (k == 4) { expected += rows * bench::shape_decoder_outputs * c; }  // the last one
    if (k < 4) { expected += 2 * (pairs * c * c + 8 * rows * c * c) + pairs * c * 4 * c; }
    level = bench::coarser(level);
  }
  CHECK(work.multiply_adds() == doctest::Approx(expected));
  CHECK(work.floor_ms() > 0);
}

TEST_CASE("benchmark workloads: a coarser level has the rows of a convolution of size and stride 2")
{
  auto level = bench::sphere(33);  // odd: the last cells have no output
  ts::Execution<ts::Host> const host;
  auto set = ts::make_coordinate_set(level.rows, {1, ts::SpatialRange<3>{1, level.grid}}, host);
  for (int i = 0; i < 3; ++i) {
    level = bench::coarser(level);
    set = ts::kernel_map(*set, ts::ConvolutionKind::strided, bench::geometry_of(2, 2, 0), ts::compat::none,
                         host)
              .coordinates;
    CHECK(level.rows == ts::download(set->data(), set->num_rows(), host));
    CHECK(level.grid == set->spatial_range()->extent);
  }
}

TEST_CASE("benchmark workloads: simulated scans stand in for absent ones")
{
  bench::ScanFolder const nothing{"/there/is/nothing/here"};
  for (auto const& voxels : {bench::semkitti(nothing), bench::nuscenes(nothing), bench::ten_sweeps(nothing),
                             bench::spconv_benchmark(nothing, 1), bench::spconv_benchmark(nothing, 2),
                             bench::nuscenes_frames(3), bench::waymo(1), bench::waymo(3)}) {
    CAPTURE(voxels.name);
    CHECK(voxels.name.find("simulated") == 0);
    CHECK(voxels.size() > 10000);
    CHECK(static_cast<std::int64_t>(voxels.features.size()) == voxels.size() * voxels.channels);
    std::set<std::array<int, 3>> cells;
    bool inside = true;
    for (auto const& row : voxels.rows) {
      cells.insert({row.position[0], row.position[1], row.position[2]});
      for (int i = 0; i < 3; ++i) {
        inside = inside && row.position[i] >= 0 && row.position[i] < voxels.grid[i];
      }
    }
    CHECK(inside);
    CHECK(static_cast<std::int64_t>(cells.size()) == voxels.size());
  }
  CHECK(2 * bench::nuscenes_frames(3).size() > 3 * bench::nuscenes_frames(1).size());
  CHECK(bench::nuscenes_frames(1).rows == bench::nuscenes(nothing).rows);
  auto const cloud = bench::simulated_points(130000);
  CHECK(cloud.size() >= 130000);
  CHECK(cloud.size() < 135000);
}

TEST_CASE("benchmark workloads: recorded scans have the voxels that other libraries were measured on")
{
  for (char const* const file :
       {"data/semkitti_000000.bin", "data/nuscenes_lidar_top.bin", "data/nuscenes_10sweep_features.tensor",
        "data/nuscenes_10sweep_indices_bzyx.tensor", "data/spconv_benchmark_pc.npz"}) {
    if (!test::data_file(file)) { return; }
  }
  bench::ScanFolder const folder{test::data_root()};
  CHECK(bench::semkitti_points(folder).size() == 123389);
  auto level = bench::semkitti(folder);
  CHECK(level.size() == 94444);
  for (std::int64_t const rows : {68841, 42154, 21428, 9504}) {
    level = bench::coarser(level);
    CHECK(level.size() == rows);
  }
  CHECK(bench::nuscenes(folder).size() == 17885);
  CHECK(bench::ten_sweeps(folder).size() == 79745);
  CHECK(bench::spconv_benchmark(folder, 1).size() == 125562);
  CHECK(bench::spconv_benchmark(folder, 8).size() == 913903);
}

TEST_CASE("benchmark floors: of the networks on recorded scans they are those that were published")
{
  for (char const* const file :
       {"data/semkitti_000000.bin", "data/nuscenes_lidar_top.bin", "data/nuscenes_10sweep_features.tensor",
        "data/nuscenes_10sweep_indices_bzyx.tensor", "data/spconv_benchmark_pc.npz"}) {
    if (!test::data_file(file)) { return; }
  }
  bench::ScanFolder const folder{test::data_root()};
  auto const check = [](bench::Work const& work, double gflop, double megabytes, double floor_ms) {
    CHECK(std::round(2e-9 * work.multiply_adds()) == gflop);
    CHECK(std::abs(1e-6 * work.gathered_bytes() - megabytes) <
          0.004 * megabytes);  // other grids, other borders
    CHECK(std::round(100 * work.floor_ms()) == std::round(100 * floor_ms));
  };
  auto const scan = bench::semkitti(folder);
  check(work_of(scan, bench::minkunet_layers(4, 1.0)), 274, 1869, 0.64);
  check(work_of(scan, bench::minkunet_layers(4, 0.5)), 68, 936, 0.35);
  check(work_of(bench::nuscenes(folder), bench::minkunet_layers(4, 1.0)), 47, 313, 0.26);
  check(work_of(bench::ten_sweeps(folder), bench::encoder_layers(ts::models::centerpoint_0_075())), 51, 793,
        0.26);
  check(work_of(bench::spconv_benchmark(folder, 1), bench::spconv_benchmark_layers()), 60, 528, 0.25);
}

TEST_CASE("benchmark workloads: thin tracks are as many voxels as asked for, each once, and thin")
{
  for (int const events : {1, 16}) {
    CAPTURE(events);
    auto const voxels = bench::thin_tracks(events);
    CHECK(voxels.size() == (events == 1 ? 4690 : 56700));
    CHECK(voxels.features.size() == voxels.rows.size());
    CHECK(voxels.rows.back().batch == events - 1);
    ts::Execution<ts::Host> const exec;
    ts::CoordinateSetOptions<3> options;
    options.spatial_range = ts::SpatialRange<3>{events, voxels.grid};
    auto const set = ts::make_coordinate_set(voxels.rows, options, exec);
    auto const map = ts::kernel_map(*set, ts::ConvolutionKind::submanifold, {}, ts::compat::none, exec).map;
    set->check(exec);  // duplicates, and voxels outside
    auto const neighbours =
        static_cast<double>(bench::count_pairs(*map, exec)) / static_cast<double>(voxels.size());
    CHECK(neighbours > 2.5);
    CHECK(neighbours < 8);
    CHECK(bench::thin_tracks(events).features == voxels.features);
  }
}
