// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Convolutions over a map that is there already.

#include "../support/device.hpp"
#include "../support/oracle.hpp"
#include "../support/ways.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/conv/over_map.hpp>
#include <tessera/ops/convolution.hpp>

#include <random>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE(
    "convolution over a map: the same bits as the convolution that finds its map, in every way", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{11};
  auto const rows = test::random_coordinates<3>(300, 2, IntArray<3>(0), IntArray<3>(9), 7);
  auto const values = [&](std::size_t count) {
    std::vector<float> result(count);
    for (auto& value : result) { value = std::uniform_real_distribution<float>{-1, 1}(random); }
    return result;
  };
  SparseTensor<3, float, Space> const x{make_coordinate_set(rows, {}, exec),
                                        upload_matrix(values(300 * 5), 5, exec)};
  auto const weight = upload(values(27 * 5 * 7), exec);
  auto const bias = upload(values(7), exec);
  ConvolutionGeometry<3> g;
  g.stride = 2;
  for (auto const& way : test::every_way(ConvConfig{})) {
    CAPTURE(way.name);
    auto const expected =
        convolution(x, weight.data(), bias.data(), 7, ConvolutionKind::strided, g, way.config, exec);
    auto const mapped = kernel_map(*x.coordinates(), ConvolutionKind::strided, g, way.config.compat, exec);
    Matrix<float, Space> y{mapped.map->num_out(), 7, exec};
    ConvolutionArguments<float> arguments;
    arguments.features = x.features().data;
    arguments.weight = weight.data();
    arguments.bias = bias.data();
    arguments.output = y.data();
    arguments.in_channels = 5;
    arguments.out_channels = 7;
    arguments.math = way.config.math;
    convolve_over_map(way.config, arguments, *mapped.map, exec);
    CHECK(download(y.data(), y.size(), exec) == expected.features_on_host(exec));

    auto const rows_of_tiles = tile_rows_of(way.config, arguments, {mapped.map->num_out(), 27, false}, exec);
    if (std::is_same_v<Space, Host> || way.config.dataflow != Dataflow::implicit_gemm) {
      CHECK(rows_of_tiles == 0);
    }

    auto wrong = way.config;
    wrong.splits = 0;
    CHECK_THROWS_WITH_AS(convolve_over_map(wrong, arguments, *mapped.map, exec),
                         doctest::Contains("0 splits"), invalid_argument);
    arguments.in_channels = 0;
    CHECK_THROWS_WITH_AS(convolve_over_map(way.config, arguments, *mapped.map, exec),
                         doctest::Contains("0 -> 7 channels"), invalid_argument);
  }
}

TEST_CASE("convolution over a map: splits that own no offset are not counted")
{
  CHECK(used_splits(27, 1) == 1);
  CHECK(used_splits(27, 3) == 3);
  CHECK(used_splits(8, 3) == 3);
  CHECK(used_splits(9, 6) == 5);  // of two offsets each
  CHECK(used_splits(1, 4) == 1);
}
