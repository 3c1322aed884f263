// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Every call of operator new fails once, not only those of a MemoryResource: a call throws bad_alloc and
// leaves nothing behind, or its result is complete. TESSERA_TEST_ROUNDS above 1 tries every allocation of a
// network.

#include "../support/allocations.hpp"
#include "../support/files.hpp"
#include "../support/rounds.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/voxelize.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/torch_checkpoint.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/ops/bev.hpp>
#include <tessera/ops/dense.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace tessera;

namespace {

/// Runs `action`, which returns what there is to compare, with every `step`-th allocation failing.
template <class Action>
void check_result(std::string const& what, Action const& action, std::int64_t step = 1)
{
  CAPTURE(what);
  auto const expected = action();
  bool same = true;  // nothing of doctest's while allocations fail
  auto const trial = test::fail_every_allocation([&] { same = same && action() == expected; },
                                                 [&](std::int64_t n) {
                                                   CAPTURE(n);
                                                   bool const again = action() == expected;
                                                   REQUIRE(again);
                                                 },
                                                 [&](std::int64_t n) {
                                                   CAPTURE(n);
                                                   REQUIRE(same);
                                                 },
                                                 step);
  CHECK(trial.failed > 0);
  CHECK(trial.leaks == 0);
  MESSAGE(what << ": " << trial.failed << " allocations failed, " << trial.survived << " were done without");
}

std::vector<Coordinate<3>> surface(int size)
{
  std::vector<Coordinate<3>> rows;
  for (int i = 0; i < 2 * size * size; ++i) {
    int const x = i / size % size;
    rows.push_back({i / (size * size), {x, i % size, (x * x / 7 + i % size) / 5}});
  }
  return rows;
}

std::vector<float> numbers(std::size_t count)
{
  std::vector<float> result;
  for (std::size_t i = 0; i < count; ++i) { result.push_back(static_cast<float>(i * 7 % 11) / 5 - 1); }
  return result;
}

SparseTensor<3, float, Host> input(Execution<Host> const& exec)
{
  auto const rows = surface(8);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{2, {16, 16, 16}};
  return {make_coordinate_set(rows, options, exec), upload_matrix(numbers(3 * rows.size()), 3, exec)};
}

}  // namespace

TEST_CASE("allocations that fail: a network leaks nothing and can be used again, on one and on three threads")
{
  for (int const threads : {1, 3}) {
    for (int const mode : {0, 2}) {
      CAPTURE(threads);
      CAPTURE(mode);
      Execution<Host> const exec{threads};
      models::MinkUNet<3, float, Host> network{
          MinkUNetOptions(3, 5).width(0.125).config(with_conv_mode({}, mode)).seed(9), exec};
      auto const run = [&] { return network(input(exec), exec).features_on_host(exec); };
      auto const expected = run();
      bool same = true;
      auto const trial =
          test::fail_every_allocation([&] { same = same && run() == expected; },
                                      [&](std::int64_t n) {
                                        CAPTURE(n);
                                        bool const again = run() == expected;
                                        REQUIRE(again);
                                      },
                                      [&](std::int64_t) { REQUIRE(same); }, test::rounds(1) > 1 ? 1 : 29);
      CHECK(trial.failed > 20);
      CHECK(trial.leaks == 0);
      MESSAGE("a forward pass: " << trial.failed << " allocations failed, " << trial.survived
                                 << " were done without");
    }
  }
}

TEST_CASE("allocations that fail: voxels and dense grids are whole or not there")
{
  Execution<Host> const exec{2};
  auto const positions = numbers(3 * 200);
  auto const features = numbers(2 * 200);
  check_result("sparse_quantize", [&] {
    PointsView<float> points;
    points.positions = {positions.data(), 200, 3};
    points.features = {features.data(), 200, 2};
    auto const voxels = sparse_quantize<3>(points, QuantizeOptions<3>(0.3F), exec);
    return download(voxels.inverse, exec);
  });
  check_result("hard_voxelize", [&] {
    PointsView<float> points;
    points.positions = {positions.data(), 200, 3};
    points.features = {features.data(), 200, 2};
    auto const voxels =
        hard_voxelize(points, VoxelizeOptions({0.5F, 0.5F, 0.5F}, {-1, -1, -1}, {2, 2, 2}), exec);
    return download(voxels.coordinates->data(), voxels.coordinates->num_rows(), exec);
  });
  check_result("dense", [&] {
    auto const grid = dense(input(exec), exec);
    return download(grid.data(), grid.size(), exec);
  });
  check_result("bev", [&] {
    auto const map = bev(input(exec), BevOptions(), exec);
    return download(map.data(), map.size(), exec);
  });
}

TEST_CASE("allocations that fail: readers give the whole file or bad_alloc")
{
  check_result("safetensors", [] {
    Safetensors const file{test::fixture("all_types.safetensors")};
    return file.to_float(file.names().front());
  });
  for (char const* const name : {"float32_2x3.npy", "float64_2x3x2_fortran.npy", "int64_4_version3.npy"}) {
    check_result(name, [&] { return read_npy(test::fixture(name)).bytes; });
  }
  for (char const* const name : {"faces_first_ascii.ply", "faces_first_little.ply", "faces_first_big.ply",
                                 "points_ascii.pcd", "points_binary.pcd", "points_compressed.pcd"}) {
    check_result(name, [&] { return read_point_cloud(test::fixture(name)).positions; });
  }
  for (char const* const name :
       {"torch_zip.pth", "torch_protocol5.pth", "torch_stream.pth", "torch_detector.pth"}) {
    check_result(name, [&] {
      auto const file = io::read_torch_checkpoint(test::fixture(name));
      std::vector<std::string> names;
      for (auto const& tensor : io::find_state_dict(file).tensors) { names.push_back(tensor.first); }
      return names;
    });
    check_result(name, [&] {
      auto const converted = io::convert_checkpoint(test::fixture(name));
      return converted.text();
    });
  }
}
