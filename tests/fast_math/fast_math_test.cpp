// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A program that is compiled with -ffast-math (nvcc: --use_fast_math) gets the same of NaN and infinity. The compiler
// takes it that there are none, so everything here is made of bits and compared as bits.

#include "../support/device.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/voxelize.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sparse_pooling.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/points/point_cloud.hpp>
#include <tessera/tensor/labels.hpp>
#ifdef __CUDACC__
#include <tessera/coords/voxelize.cuh>
#endif

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#ifndef __FAST_MATH__
#error "compile this with -ffast-math: that is what it tests"
#endif

using namespace tessera;

namespace {

using Bits = std::uint32_t;
constexpr Bits nan_bits = 0x7fc00000U;
constexpr Bits negative_nan = 0xffc00001U;
constexpr Bits infinite = 0x7f800000U;
constexpr Bits minus_infinite = 0xff800000U;

float from_bits(Bits bits)
{
  Bits volatile hidden = bits;  // nothing is known of it when compiling
  return detail::bit_cast<float>(Bits{hidden});
}

std::vector<Bits> bits_of(std::vector<float> const& values)
{
  std::vector<Bits> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

std::vector<float> from_bits(std::vector<Bits> const& bits)
{
  std::vector<float> values(bits.size());
  std::memcpy(values.data(), bits.data(), bits.size() * sizeof(float));
  return values;
}

bool is_nan_bits(Bits bits)
{
  return (bits & 0x7fffffffU) > infinite;
}

constexpr Bits one = 0x3f800000U;
constexpr Bits minus_two = 0xc0000000U;

/// `rows` voxels side by side, all of batch entry 0, with one channel.
template <class Space>
SparseTensor<3, float, Space> column_tensor(std::vector<Bits> const& channel, Execution<Space> const& exec)
{
  std::vector<Coordinate<3>> rows;
  for (std::size_t i = 0; i < channel.size(); ++i) { rows.push_back({0, {static_cast<int>(i), 0, 0}}); }
  return {make_coordinate_set(rows, {}, exec), upload_matrix(from_bits(channel), 1, exec)};
}

template <class Space>
std::string error_of_quantize(QuantizeOptions<3> const& options, Execution<Space> const& exec)
{
  auto const points = upload_matrix(std::vector<float>{1, 2, 3}, 3, exec);
  PointsView<float> view;
  view.positions = points.view();
  view.features = points.view();
  try {
    static_cast<void>(sparse_quantize(view, options, exec));
  } catch (invalid_argument const& e) {
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("fast math: numbers are told from NaN and infinity by their bits")
{
  struct Case {
    Bits bits;
    bool is_nan;
    bool is_finite;
  };
  for (auto const& c : {Case{0, false, true},
                        {0x80000000U, false, true},
                        {1, false, true},
                        {one, false, true},
                        {0x7f7fffffU, false, true},
                        {infinite, false, false},
                        {minus_infinite, false, false},
                        {0x7f800001U, true, false},
                        {nan_bits, true, false},
                        {negative_nan, true, false}}) {
    CAPTURE(c.bits);
    CHECK(detail::is_nan(from_bits(c.bits)) == c.is_nan);
    CHECK(detail::is_finite(from_bits(c.bits)) == c.is_finite);
    auto const wide = static_cast<double>(from_bits(c.bits));
    CHECK(detail::is_nan(wide) == c.is_nan);
    CHECK(detail::is_finite(wide) == c.is_finite);
    auto const back = detail::bit_cast<Bits>(detail::round_to_float(wide));
    CHECK((back == c.bits || (c.is_nan && is_nan_bits(back))));
  }
}

TEST_CASE("fast math: the box of a cloud leaves out points that are not finite")
{
  PointCloud cloud;
  for (Bits const odd : {nan_bits, negative_nan, infinite, minus_infinite}) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      float p[] = {9, 9, 9};
      p[axis] = from_bits(odd);
      cloud.positions.insert(cloud.positions.end(), p, p + 3);
    }
  }
  CHECK(bounds(cloud).num_points == 0);
  cloud.positions.insert(cloud.positions.begin(), {-1, 2, 3});
  cloud.positions.insert(cloud.positions.end(), {1, -2, 4});
  auto const box = bounds(cloud);
  CHECK(box.num_points == 2);
  CHECK(box.min == std::array<float, 3>{-1, -2, 3});
  CHECK(box.max == std::array<float, 3>{1, 2, 4});
}

TEST_CASE_TEMPLATE("fast math: a maximum over voxels is NaN wherever the NaN is, and may be infinite", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (auto const& c :
       std::vector<std::pair<std::vector<Bits>, Bits>>{{{one, nan_bits, minus_two}, nan_bits},
                                                       {{nan_bits, one, minus_two}, nan_bits},
                                                       {{minus_two, one, negative_nan}, negative_nan},
                                                       {{nan_bits, infinite}, nan_bits},
                                                       {{minus_infinite, minus_infinite}, minus_infinite},
                                                       {{minus_infinite, minus_two}, minus_two},
                                                       {{one, infinite, minus_two}, infinite}}) {
    CAPTURE(c.first);
    auto const x = column_tensor(c.first, exec);
    auto const global = global_max_pool(x, exec);
    auto const windows = max_pool(x, PoolOptions<3>(4), exec);
    REQUIRE(windows.num_rows() == 1);
    for (auto const& values :
         {download(global.data(), global.size(), exec), windows.features_on_host(exec)}) {
      REQUIRE(values.size() == 1);
      auto const found = bits_of(values)[0];
      CHECK(is_nan_bits(found) == is_nan_bits(c.second));
      if (!is_nan_bits(c.second)) { CHECK(found == c.second); }
    }
  }
}

TEST_CASE_TEMPLATE("fast math: the largest of a row is never NaN, and -1 where all are", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Bits> const rows{
      nan_bits,       one,          minus_two,      minus_two, nan_bits,       one,      nan_bits,
      nan_bits,       negative_nan, minus_infinite, nan_bits,  minus_infinite, infinite, nan_bits,
      minus_infinite, one,          infinite,       nan_bits};
  auto const matrix = upload_matrix(from_bits(rows), 3, exec);
  CHECK(download(argmax(matrix.view(), exec), exec) == std::vector<std::int32_t>{1, 2, -1, 0, 0, 1});
}

TEST_CASE_TEMPLATE("fast math: quantization drops points that are not finite, and its maximum keeps NaN",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<float> positions{0.5F, 0.5F, 0.5F, 0.25F, 0.5F, 0.5F, 3.5F, 0.5F, 0.5F};
  std::vector<Bits> features{one, nan_bits, minus_two};
  for (Bits const odd : {nan_bits, negative_nan, infinite, minus_infinite}) {
    positions.insert(positions.end(), {0.5F, from_bits(odd), 0.5F});
    features.push_back(one);
  }
  auto const points = upload_matrix(positions, 3, exec);
  auto const values = upload_matrix(from_bits(features), 1, exec);
  PointsView<float> view;
  view.positions = points.view();
  view.features = values.view();
  for (auto const origin : {GridOrigin::fixed, GridOrigin::lowest_point, GridOrigin::lowest_voxel}) {
    CAPTURE(static_cast<int>(origin));
    auto const voxels =
        sparse_quantize(view, QuantizeOptions<3>(1.0F).origin(origin).features(VoxelFeatures::maximum), exec);
    CHECK(voxels.num_voxels() == 2);
    CHECK(voxels.num_dropped == 4);
    CHECK(download(voxels.inverse, exec) == std::vector<std::int32_t>{0, 0, 1, -1, -1, -1, -1});
    auto const found = bits_of(download(voxels.features.data(), voxels.features.size(), exec));
    REQUIRE(found.size() == 2);
    CHECK(is_nan_bits(found[0]));
    CHECK(found[1] == minus_two);
  }
  VoxelizeOptions const grid({1, 1, 1}, {0, 0, 0}, {8, 8, 8});
  auto const hard = hard_voxelize(points.view(), grid, exec);
  CHECK(hard.num_voxels() == 2);
}

TEST_CASE("fast math: sizes and origins that are not numbers are refused")
{
  Execution<Host> const exec{1};
  for (Bits const odd : {nan_bits, negative_nan, infinite, minus_infinite}) {
    CAPTURE(odd);
    float const value = from_bits(odd);
    CHECK_FALSE(error_of_quantize(QuantizeOptions<3>(value), exec).empty());
    CHECK_FALSE(error_of_quantize(QuantizeOptions<3>(1.0F).origin({value, 0, 0}), exec).empty());
    CHECK_THROWS_AS(static_cast<void>(grid_shape(VoxelizeOptions({1, value, 1}, {0, 0, 0}, {8, 8, 8}))),
                    invalid_argument);
    CHECK_THROWS_AS(static_cast<void>(grid_shape(VoxelizeOptions({1, 1, 1}, {0, 0, value}, {8, 8, 8}))),
                    invalid_argument);
  }
  for (Bits const odd : {nan_bits, negative_nan}) {
    float const value = from_bits(odd);
    CHECK_FALSE(error_of_quantize(QuantizeOptions<3>(1.0F).range({0, value, 0}, {8, 8, 8}), exec).empty());
    CHECK_FALSE(error_of_quantize(QuantizeOptions<3>(1.0F).range({0, 0, 0}, {value, 8, 8}), exec).empty());
  }
}

TEST_CASE("fast math: a quotient that decides a voxel is rounded as it is without the flag")
{
  Execution<Host> const exec{1};
  std::vector<float> positions;
  std::vector<int> expected;
  for (int i = 1; i <= 3000; ++i) {
    float const size = 0.1F;
    float const at = 0.1F * static_cast<float>(i);
    double volatile quotient = static_cast<double>(size);  // 53 bits: rounding it to float is rounding once
    quotient = static_cast<double>(at) / quotient;
    expected.push_back(static_cast<int>(static_cast<float>(quotient)));
    positions.insert(positions.end(), {at, 0, 0});
  }
  PointsView<float> view;
  view.positions = {positions.data(), 3000, 3};
  auto const voxels = sparse_quantize(view, QuantizeOptions<3>(0.1F), exec);
  auto const rows = voxels.coordinates->data();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(rows[voxels.inverse.data()[i]].position[0] == expected[i]);
  }
}

TEST_CASE_TEMPLATE("fast math: activations keep NaN", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = column_tensor({nan_bits, one, negative_nan, minus_two, minus_infinite, infinite}, exec);
  for (int const kind : {0, 1, 2}) {
    CAPTURE(kind);
    auto const y = kind == 0 ? relu(x, exec) : kind == 1 ? leaky_relu(x, 0.5, exec) : silu(x, exec);
    auto const found = bits_of(y.features_on_host(exec));
    CHECK(is_nan_bits(found[0]));
    CHECK(is_nan_bits(found[2]));
    CHECK_FALSE(is_nan_bits(found[1]));
    CHECK_FALSE(is_nan_bits(found[3]));
    if (kind == 0) {
      CHECK(std::vector<Bits>(found.begin() + 3, found.end()) == std::vector<Bits>{0, 0, infinite});
    }
    if (kind == 1) { CHECK(found[4] == minus_infinite); }
  }
}

TEST_CASE("fast math: a convolution's epilogue keeps NaN, in every dataflow")
{
  Execution<Host> const exec{2};
  auto const x = column_tensor({one, minus_two, nan_bits, one, minus_two}, exec);
  std::vector<float> const weight(12, 1.0F);
  ConvolutionGeometry<3> voxel;
  voxel.kernel_size = 1;
  for (auto const dataflow : {Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand}) {
    for (auto const activation : {Activation::relu, Activation::leaky_relu, Activation::silu}) {
      CAPTURE(static_cast<int>(dataflow));
      CAPTURE(static_cast<int>(activation));
      ConvConfig config;
      config.dataflow = dataflow;
      Epilogue<float> epilogue;
      epilogue.activation = activation;
      float const* const no_bias = nullptr;
      auto const y = convolution(x, weight.data(), no_bias, 12, ConvolutionKind::submanifold, voxel, config,
                                 epilogue, exec);
      auto const found = bits_of(y.features_on_host(exec));
      REQUIRE(found.size() == 60);
      for (std::size_t i = 0; i < found.size(); ++i) { CHECK(is_nan_bits(found[i]) == (i / 12 == 2)); }
    }
  }
}
