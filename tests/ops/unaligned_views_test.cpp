// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Views of a caller's memory that begin where no pack of 16 bytes does. A device stops at a load of 16 bytes
// from there, the sanitizer of undefined behaviour on the host.

#include "gradient_check.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/ops/activation_backward.hpp>
#include <tessera/ops/channels_to_space.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/detail/columns.hpp>
#include <tessera/ops/dropout.hpp>
#include <tessera/ops/grouped_convolution.hpp>
#include <tessera/ops/layer_norm.hpp>
#include <tessera/ops/point_features.hpp>
#include <tessera/ops/pool_over_map.hpp>
#include <tessera/ops/pooling.hpp>
#include <tessera/ops/prune.hpp>
#include <tessera/ops/unpool.hpp>

#include <memory>
#include <vector>

using namespace tessera;

namespace {

constexpr int channels = 16;  // whole packs of every scalar

/// Random elements twice: as the library allocates them, and from the second element of an allocation on.
template <class Scalar, class Space>
struct Placed {
  Placed(std::int64_t num_rows, std::int64_t num_columns, unsigned seed, Execution<Space> const& exec)
      : rows{num_rows}, columns{num_columns}
  {
    auto values = test::random_values(static_cast<std::size_t>(rows * columns), seed);
    own = upload(test::rounded<Scalar>(values), exec);
    values.insert(values.begin(), 0);
    shifted = upload(test::rounded<Scalar>(values), exec);
  }
  [[nodiscard]] Scalar const* data(bool whole) const { return whole ? own.data() : shifted.data() + 1; }
  [[nodiscard]] MatrixView<Scalar const> view(bool whole) const { return {data(whole), rows, columns}; }

  std::int64_t rows;
  std::int64_t columns;
  Buffer<Scalar, Space> own;
  Buffer<Scalar, Space> shifted;
};

/// Checks that `run(whole)`, a matrix, has the same bits wherever its views begin.
template <class Space, class Run>
void check_anywhere(Execution<Space> const& exec, Run const& run)
{
  auto const expected = run(true);
  auto const found = run(false);
  REQUIRE(expected.size() > 0);
  CHECK(test::same_bits(download(found.data(), found.size(), exec),
                        download(expected.data(), expected.size(), exec)));
}

template <class Scalar, class Space>
SparseTensor<3, Scalar, Space> tensor_of(int num_channels, unsigned seed, Execution<Space> const& exec)
{
  return test::upload_tensor<Scalar>(test::random_tensor<Scalar>(200, num_channels, {0, 2}, seed), exec);
}

}  // namespace

TEST_CASE_TEMPLATE("unaligned views: elements one by one, columns and rows of a norm have the same bits",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    using Sum = accumulator_t<Scalar>;
    Placed<Scalar, Space> const x{37, channels, 1, exec};
    Placed<Scalar, Space> const grad{37, channels, 2, exec};
    check_anywhere(exec, [&](bool whole) {
      return activation_backward(grad.view(whole), x.view(true), Activation::gelu, 0, exec);
    });
    check_anywhere(exec, [&](bool whole) {
      return activation_backward(grad.view(true), x.view(whole), Activation::gelu, 0, exec);
    });
    check_anywhere(exec, [&](bool whole) {
      return dropout_backward(grad.view(whole), 0.3, {7, nullptr}, exec);
    });
    check_anywhere(exec, [&](bool whole) { return detail::take_columns<Scalar>(x.view(whole), 8, 8, exec); });
    auto const weight = upload(test::rounded<Sum>(test::random_values(channels, 3)), exec);
    for (bool const whole_grad : std::vector<bool>{true, false}) {
      check_anywhere(exec, [&](bool whole) {
        return layer_norm_backward<Scalar, Space>(grad.view(whole_grad), x.view(whole), {37, nullptr},
                                                  {weight.data(), 0}, 1e-5, nullptr, nullptr,
                                                  GradientMode::overwrite, exec);
      });
    }
  });
}

TEST_CASE_TEMPLATE("unaligned views: what points and voxels gather has the same bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    std::vector<std::int32_t> const rows{0, 2, 2, -1, 1, 0};
    PointMap<Space> map{upload(rows, exec), upload(std::vector<float>{0.5F, 0.25F, 1, 0, 0.75F, 2}, exec), 3,
                        4, 2};
    PointMap<Space> means{upload(rows, exec), {}, 6, 4, 1};
    Placed<Scalar, Space> const voxels{4, channels, 1, exec};
    Placed<Scalar, Space> const points{3, channels, 2, exec};
    Placed<Scalar, Space> const more_points{6, channels, 3, exec};
    check_anywhere(exec, [&](bool whole) { return voxelize_features(more_points.view(whole), means, exec); });
    check_anywhere(exec,
                   [&](bool whole) { return voxelize_features_backward(voxels.view(whole), means, exec); });
    check_anywhere(exec, [&](bool whole) { return devoxelize_features(voxels.view(whole), map, exec); });
    check_anywhere(exec,
                   [&](bool whole) { return devoxelize_features_backward(points.view(whole), map, exec); });
  });
}

TEST_CASE_TEMPLATE("unaligned views: pools over a map and their gradients have the same bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    auto const x = tensor_of<Scalar>(channels, 5, exec);
    auto const options = PoolOptions<3>(3).stride(2).padding(1);
    auto const found = detail::pool_map(x, options, "test", exec);
    auto& map = *found.map;
    Placed<Scalar, Space> const features{x.capacity(), channels, 1, exec};
    Placed<Scalar, Space> const grad{map.num_out(), channels, 2, exec};
    std::vector<PoolKind> const kinds{PoolKind::max, PoolKind::average, PoolKind::sum};
    for (auto const kind : kinds) {
      check_anywhere(exec,
                     [&](bool whole) { return pool_over_map(kind, features.view(whole), map, false, exec); });
      check_anywhere(exec, [&](bool whole) {
        return pool_over_map_backward(kind, grad.view(whole), features.view(whole), map, false, exec);
      });
    }
    check_anywhere(exec, [&](bool whole) { return unpool_backward(features.view(whole), x, options, exec); });
  });
}

TEST_CASE_TEMPLATE("unaligned views: gradients of rows that were kept, joined or split have the same bits",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    auto const x = tensor_of<Scalar>(8 * channels, 5, exec);
    std::vector<std::uint8_t> bits(static_cast<std::size_t>(x.capacity()));
    for (std::size_t i = 0; i < bits.size(); ++i) { bits[i] = static_cast<std::uint8_t>(i * 37 + 1); }
    auto const mask = upload_matrix(bits, 1, exec);

    auto const kept = prune(x, mask, exec);
    Placed<Scalar, Space> const on_kept{kept.capacity(), 8 * channels, 1, exec};
    check_anywhere(exec, [&](bool whole) { return prune_backward(on_kept.view(whole), kept, x, exec); });

    auto const order = ChildOrder::last_axis_fastest;
    auto const split = channels_to_space(x, mask, order, exec);
    Placed<Scalar, Space> const on_split{split.capacity(), channels, 2, exec};
    check_anywhere(exec, [&](bool whole) {
      return channels_to_space_backward(on_split.view(whole), split, x, order, exec);
    });
    auto const joined = space_to_channels(split, order, exec);
    Placed<Scalar, Space> const on_joined{joined.capacity(), 8 * channels, 3, exec};
    check_anywhere(exec, [&](bool whole) {
      return space_to_channels_backward(on_joined.view(whole), split, order, exec);
    });

    std::vector<SparseTensor<3, Scalar, Space>> const both{x, tensor_of<Scalar>(8 * channels, 6, exec)};
    auto const sum = add_by_coordinate(both, Join::outer, exec);
    Placed<Scalar, Space> const on_sum{sum.capacity(), 8 * channels, 4, exec};
    Placed<Scalar, Space> const on_cat{sum.capacity(), 16 * channels, 5, exec};
    for (std::size_t k = 0; k < 2; ++k) {
      check_anywhere(exec, [&](bool whole) {
        return add_by_coordinate_backward(on_sum.view(whole), both, k, Join::outer, exec);
      });
      check_anywhere(exec, [&](bool whole) {
        return multiply_by_coordinate_backward(on_sum.view(whole), both, k, Join::outer, exec);
      });
      check_anywhere(exec, [&](bool whole) {
        return cat_by_coordinate_backward(on_cat.view(whole), both, k, Join::outer, exec);
      });
    }
  });
}

TEST_CASE_TEMPLATE("unaligned views: grouped convolution of weights and gradients has the same bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    auto const x = tensor_of<Scalar>(channels, 5, exec);
    for (int groups = 4; groups <= channels; groups *= 4) {  // of four channels, and depthwise
      CAPTURE(groups);
      GroupedConvolutionOptions<3> options;
      options.groups = groups;
      options.out_channels = channels;
      options.geometry.kernel_size = 3;
      Placed<Scalar, Space> const weight{27 * channels / groups, channels, 1, exec};
      Placed<Scalar, Space> const grad{x.capacity(), channels, 2, exec};
      check_anywhere(exec, [&](bool whole) {
        auto const y =
            grouped_convolution(x, weight.data(whole), static_cast<Scalar const*>(nullptr), options, exec);
        return upload_matrix(y.features_on_host(exec), channels, exec);
      });
      auto const found =
          detail::kernel_map(options.config, *x.coordinates(), options.kind, options.geometry, exec);
      auto& map = *found.map;
      for (bool const whole_weight : std::vector<bool>{true, false}) {
        check_anywhere(exec, [&](bool whole) {
          return grouped_convolution_backward_data(grad.view(whole), weight.data(whole_weight), channels,
                                                   groups, map, exec);
        });
      }
      check_anywhere(exec, [&](bool whole) {
        Matrix<accumulator_t<Scalar>, Space> sums{weight.rows, channels, exec};
        grouped_convolution_backward_weight(grad.view(whole), grad.view(whole), groups, map, sums.data(),
                                            GradientMode::overwrite, exec);
        return sums;
      });
    }
  });
}
