// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/coords/collate.hpp>
#include <tessera/kmap/build.hpp>

#include <climits>
#include <random>
#include <thread>
#include <vector>

using namespace tessera;

namespace {

ConvolutionGeometry<2> halving()
{
  ConvolutionGeometry<2> g;
  g.kernel_size = 2;
  g.stride = 2;
  return g;
}

}  // namespace

TEST_CASE_TEMPLATE("derived sets: batch entries without voxels stay entries, also where no entry has one",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<2> options;
  options.spatial_range = SpatialRange<2>{4, {8, 8}};
  using Rows = std::vector<Coordinate<2>>;
  for (auto const& rows : {Rows{}, Rows{{1, {2, 3}}}}) {
    CAPTURE(rows.size());
    auto const set = make_coordinate_set(rows, options, exec);
    auto const down = kernel_map(*set, ConvolutionKind::strided, halving(), compat::none, exec).coordinates;
    CHECK(down->num_rows() == static_cast<std::int64_t>(rows.size()));
    CHECK(down->num_batches() == 4);
    auto const further =
        kernel_map(*down, ConvolutionKind::strided, halving(), compat::none, exec).coordinates;
    CHECK(further->num_batches() == 4);
    // so that what is put behind them begins at entry 4
    auto const joined = collate_coordinates<2, Space>({further, further}, exec);
    CHECK(joined->num_batches() == 8);
  }
}

TEST_CASE_TEMPLATE("derived sets: strides whose product or whose grid would overflow are refused", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<1> options;
  options.tensor_stride = 1 << 20;
  options.spatial_range = SpatialRange<1>{1, (1 << 20) + 1};
  auto const set = make_coordinate_set(std::vector<Coordinate<1>>{{0, {5}}}, options, exec);
  ConvolutionGeometry<1> g;
  g.kernel_size = 1;
  g.stride = 1 << 12;
  CHECK_THROWS_WITH_AS((void)kernel_map(*set, ConvolutionKind::generative, g, compat::none, exec),
                       "convolution: grid extent 1048577 times stride 4096 exceeds 2^30", invalid_argument);
  CHECK_THROWS_WITH_AS((void)kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec),
                       "convolution: tensor stride 1048576 times stride 4096 exceeds 2^30", invalid_argument);
  g.stride = 2;
  CHECK(kernel_map(*set, ConvolutionKind::generative, g, compat::none, exec).map->num_out() == 1);
}

TEST_CASE_TEMPLATE("derived sets: new coordinates keep the limits of those of an input", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<1> options;
  options.tensor_stride = 2;
  auto const set = make_coordinate_set(std::vector<Coordinate<1>>{{0, {(1 << 29) + 1}}}, options, exec);
  ConvolutionGeometry<1> g;
  g.kernel_size = 1;
  g.stride = 2;
  CHECK_THROWS_WITH_AS((void)kernel_map(*set, ConvolutionKind::generative, g, compat::none, exec),
                       doctest::Contains("exceed 2^30"), invalid_argument);
}

TEST_CASE_TEMPLATE("derived sets: Minkowski's outputs are a parent of every input, however large the padding",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Coordinate<1>> rows;
  std::vector<Coordinate<1>> parents;
  for (int i = -20; i < 20; ++i) {
    rows.push_back({0, {2 * i}});
    parents.push_back({0, {i}});
  }
  for (int const padding : {0, 1, 7, 40}) {
    CAPTURE(padding);
    auto const set = make_coordinate_set(rows, {}, exec);
    ConvolutionGeometry<1> g;
    g.kernel_size = 2;
    g.stride = 2;
    g.padding = padding;
    auto const down = kernel_map<HashmapOnTheFly, MinkowskiDownsample>(*set, ConvolutionKind::strided, g,
                                                                       compat::none, exec);
    CHECK(download(down.coordinates->data(), down.coordinates->num_rows(), exec) == parents);
  }
}

// Bounds of few cells are gone through cell by cell, others are not: the definition says the same of both.
TEST_CASE_TEMPLATE("derived sets: a voxel far away changes none of the others' outputs", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Rows = std::vector<Coordinate<3>>;
  for (unsigned const seed : {1U, 2U, 3U, 4U}) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    auto const below = [&](unsigned n) { return static_cast<int>(random() % n); };
    ConvolutionGeometry<3> g;
    for (int i = 0; i < 3; ++i) {
      g.kernel_size[i] = 2 + below(3);
      g.stride[i] = 1 + below(3);
      g.padding[i] = below(3);
      g.dilation[i] = 1 + below(2);
    }
    std::vector<bool> taken(2 * 70 * 12 * 9);
    Rows near;
    for (int i = 0; i < 400; ++i) {
      auto const cell = static_cast<int>(random() % taken.size());
      if (taken[static_cast<std::size_t>(cell)]) { continue; }
      taken[static_cast<std::size_t>(cell)] = true;
      near.push_back({cell % 2, {cell / 2 % 70 - 30, cell / 140 % 12, cell / 1680 - 4}});
    }
    auto far = near;
    far.push_back({0, {1 << 18, 1 << 18, 100}});
    for (auto const kind : {ConvolutionKind::strided, ConvolutionKind::expanding}) {
      CAPTURE(static_cast<int>(kind));
      auto const outputs_of = [&](Rows const& rows) {
        auto const set = make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec);
        auto const outputs = kernel_map(*set, kind, g, compat::none, exec).coordinates;
        auto const all = download(outputs->data(), outputs->num_rows(), exec);
        Rows kept;
        for (auto const& row : all) {
          if (row.position[0] < 1 << 14) { kept.push_back(row); }
        }
        CHECK(detail::fits_cells<Space>(set->box(), set->num_rows()) == (rows.size() == near.size()));
        return std::make_pair(kept, outputs->box());
      };
      auto const by_cells = outputs_of(near);
      auto const by_table = outputs_of(far);
      REQUIRE(!by_cells.first.empty());
      CHECK(by_cells.first == by_table.first);
      for (int i = 0; i < 3; ++i) {  // bounds are those of the rows
        int lower = INT_MAX;
        int upper = INT_MIN;
        for (auto const& row : by_cells.first) {
          lower = std::min(lower, row.position[i]);
          upper = std::max(upper, row.position[i]);
        }
        CHECK(by_cells.second.lower[i] == lower);
        CHECK(by_cells.second.upper[i] == upper);
      }
    }
  }
}

TEST_CASE_TEMPLATE("derived sets: a row outside the declared range is reported by the first strided map",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<2> options;
  options.spatial_range = SpatialRange<2>{1, {8, 8}};
  for (auto const& bad :
       {Coordinate<2>{0, {INT_MIN, 0}}, Coordinate<2>{1, {1, 1}}, Coordinate<2>{0, {8, 0}}}) {
    auto const set = make_coordinate_set(std::vector<Coordinate<2>>{{0, {1, 1}}, bad}, options, exec);
    for (int again = 0; again < 2; ++again) {
      CHECK_THROWS_WITH_AS((void)kernel_map(*set, ConvolutionKind::strided, halving(), compat::none, exec),
                           doctest::Contains("outside the declared spatial range"), invalid_argument);
    }
  }
}

TEST_CASE_TEMPLATE("derived sets: kernels that tile the grid lead to the outputs and maps of the definition",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  unsigned seed = 0;
  for (auto const& size :
       {IntArray<3>(2), IntArray<3>{3, 1, 2}, IntArray<3>{1, 2, 1}, IntArray<3>{4, 4, 3}}) {
    for (int const padding : {0, 1, 2}) {
      for (bool const with_range : {false, true}) {
        CAPTURE(detail::list(size));
        CAPTURE(padding);
        CAPTURE(with_range);
        ++seed;
        CAPTURE(seed);
        IntArray<3> const lower = with_range ? 0 : -7;
        auto const in = test::random_coordinates<3>(150, 2, lower, IntArray<3>{9, 5, 8}, seed);
        CoordinateSetOptions<3> options;
        if (with_range) { options.spatial_range = SpatialRange<3>{2, {10, 6, 9}}; }
        auto const set = make_coordinate_set(in, options, exec);
        ConvolutionGeometry<3> g;
        g.kernel_size = size;
        g.stride = size;
        g.padding = padding;
        KernelRegion<3> const region{size, size, 1, g.padding};
        auto const down = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
        auto const out = test::spconv_outputs_by_definition(in, region, options.spatial_range);
        REQUIRE(down.coordinates->num_rows() == static_cast<std::int64_t>(out.size()));
        CHECK(download(down.coordinates->data(), down.coordinates->num_rows(), exec) == out);
        for (auto const& row : out) { CHECK(down.coordinates->box().contains(row)); }
        auto const expected = test::kernel_map_by_definition(in, out, region);
        CHECK(download(down.map->out_in(exec), down.map->num_out() * g.volume(), exec) == expected);
        auto const up = transpose(*down.map, exec);
        CHECK(download(up->out_in(exec), up->num_out() * g.volume(), exec) ==
              test::transposed_map_by_definition(expected, in.size(), static_cast<std::size_t>(g.volume())));
        set->check(exec);
      }
    }
  }
}

TEST_CASE_TEMPLATE(
    "derived sets: duplicates are reported by the first map, also of a kernel that tiles the grid", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Coordinate<2>> const rows{{0, {1, 1}}, {0, {4, 2}}, {0, {5, 3}}, {0, {4, 2}}};
  auto const set = make_coordinate_set(rows, {}, exec);
  auto const map_and_wait = [&] {
    static_cast<void>(kernel_map(*set, ConvolutionKind::strided, halving(), compat::none, exec));
    set->check(exec);
  };
  CHECK_THROWS_WITH_AS(map_and_wait(), doctest::Contains("two rows hold the same coordinate"),
                       invalid_argument);
}

TEST_CASE("derived sets: the limit of their rows is right where the product of the extents exceeds 64 bits")
{
  KernelRegion<3> region;
  region.size = 100;
  region.stride = 1;
  region.anchor = 0;
  CoordinateBox<3> box;
  box.batches = 1;
  box.lower = IntArray<3>(0);
  box.upper = IntArray<3>{(1 << 30) - 1, (1 << 19) - 1, (1 << 30) - 1};
  auto const rows = std::int64_t{1} << 30;  // 2^79 cells, which wrap to 0
  CHECK(detail::most_outputs<3, SpconvDownsample>(region, rows, box) == rows * 1000000);
  box.upper = IntArray<3>{1, 2, 3};
  CHECK(detail::most_outputs<3, SpconvDownsample>(region, rows, box) == 24);
}

TEST_CASE("derived sets: several threads ask one set for its maps and get the same <Host>")
{
  Execution<Host> const exec{2};
  auto const in = test::random_coordinates<2>(200, 2, IntArray<2>(-9), IntArray<2>(9), 3);
  auto const set = make_coordinate_set(in, {}, exec);
  std::vector<MappedCoordinates<2, Host>> found(4);
  std::vector<std::shared_ptr<KernelMap<Host>>> back(found.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < found.size(); ++i) {
    threads.emplace_back([&, i] {
      found[i] = kernel_map(*set, ConvolutionKind::strided, halving(), compat::none, exec);
      back[i] =
          kernel_map(*found[i].coordinates, ConvolutionKind::transposed, halving(), compat::none, exec).map;
    });
  }
  for (auto& thread : threads) { thread.join(); }
  for (std::size_t i = 1; i < found.size(); ++i) {
    CHECK(found[i].coordinates == found[0].coordinates);
    CHECK(found[i].map == found[0].map);
    CHECK(back[i] == back[0]);
  }
}
