// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A set with room to spare, of which only the space knows how many rows are in use, gives the bits of a set that just
// fits, forward and backward. What is behind the rows in use is NaN, so that it shows where it is read.

#include "gradient_check.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/conv/convolution_backward.hpp>
#include <tessera/ops/broadcast.hpp>
#include <tessera/ops/grouped_convolution.hpp>
#include <tessera/ops/prune.hpp>
#include <tessera/ops/reorder.hpp>
#include <tessera/ops/unpool.hpp>

#include <limits>
#include <vector>

using namespace tessera;

namespace {

constexpr std::size_t used = 300;
constexpr int channels = 4;

/// The same rows in a set that just fits and in one with room to spare.
template <class Space>
struct Both {
  using Tensor = SparseTensor<3, float, Space>;

  explicit Both(Execution<Space> const& exec)
  {
    auto host = test::random_tensor<float>(used, channels, {0, 1}, 31);
    fits = test::upload_tensor<float>(host, exec, 2);
    host.coordinates.resize(used + 130, {1, {9, 3, 0}});
    host.features.resize(channels * host.rows(), std::numeric_limits<double>::quiet_NaN());
    CoordinateSetOptions<3> options;
    options.spatial_range = SpatialRange<3>{2, {50, 50, 50}};
    options.fixed_capacity = FixedCapacity{500};
    spare = test::tensor_in_room(host.coordinates, test::rounded<float>(host.features), used, options, exec);
  }

  Tensor fits;
  Tensor spare;
};

template <class Space>
void check_same(SparseTensor<3, float, Space> const& fits, SparseTensor<3, float, Space> const& spare,
                Execution<Space> const& exec)
{
  CHECK(spare.coordinates()->has_device_count());
  CHECK(spare.capacity() > fits.capacity());
  CHECK(fits.num_rows() > 0);
  CHECK(spare.coordinates_on_host(exec) == fits.coordinates_on_host(exec));
  CHECK(test::same_bits(spare.features_on_host(exec), fits.features_on_host(exec)));
}

/// Of gradients for rows: those in use, and 0 behind them.
template <class Space>
void check_same(Matrix<float, Space> const& fits, Matrix<float, Space> const& spare,
                Execution<Space> const& exec)
{
  auto expected = download(fits.data(), fits.size(), exec);
  CHECK(spare.rows() >= fits.rows());
  CHECK(std::any_of(expected.begin(), expected.end(), [](float value) { return value != 0; }));
  expected.resize(static_cast<std::size_t>(spare.size()));
  CHECK(download(spare.data(), spare.size(), exec) == expected);
}

}  // namespace

TEST_CASE_TEMPLATE("room to spare: unpool has the bits of a set that just fits", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Both<Space> const x{exec};
  auto const back = [&](SparseTensor<3, float, Space> const& of, PoolOptions<3> const& options) {
    return unpool(average_pool(of, options, exec), of, options, exec);
  };
  auto const gradient = [&](SparseTensor<3, float, Space> const& of, PoolOptions<3> const& options) {
    return unpool_backward<3, float, Space>(of.features(), of, options, exec);
  };
  for (int const size : {2, 3}) {
    CAPTURE(size);
    auto const options = PoolOptions<3>(size).stride(2).padding(size / 2 * (size % 2));
    check_same(back(x.fits, options), back(x.spare, options), exec);
    check_same(gradient(x.fits, options), gradient(x.spare, options), exec);
  }
}

TEST_CASE_TEMPLATE("room to spare: crop has the bits of a set that just fits", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Both<Space> const x{exec};
  auto const fits = crop(x.fits, {7, 1, 0}, {50, 50, 50}, exec);
  auto const spare = crop(x.spare, {7, 1, 0}, {50, 50, 50}, exec);
  check_same(fits, spare, exec);
  check_same(prune_backward<3, float, Space>(fits.features(), fits, x.fits, exec),
             prune_backward<3, float, Space>(spare.features(), spare, x.spare, exec), exec);
}

TEST_CASE_TEMPLATE("room to spare: broadcast has the bits of a set that just fits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Both<Space> const x{exec};
  auto const values = upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6}, 3, exec);
  auto const spare = broadcast(values, x.spare, exec);
  check_same(broadcast(values, x.fits, exec), spare, exec);
  auto const all = download(spare.features().data, spare.features().rows * spare.features().columns, exec);
  CHECK(all.size() > 3 * used);
  for (auto i = 3 * used; i < all.size(); ++i) { REQUIRE(all[i] == 0); }  // rows that are not in use
  check_same(broadcast_backward<3, float, Space>(x.fits.features(), x.fits, exec),
             broadcast_backward<3, float, Space>(x.spare.features(), x.spare, exec), exec);
}

TEST_CASE_TEMPLATE("room to spare: reorder and restore_order have the bits of a set that just fits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Both<Space> const x{exec};
  auto const order_of = [&](SparseTensor<3, float, Space> const& of) {
    return curve_order(*of.coordinates(), SpaceFillingCurve::hilbert, exec);
  };
  auto const fits_order = order_of(x.fits);
  auto const spare_order = order_of(x.spare);
  auto const fits = reorder(x.fits, fits_order, exec);
  auto const spare = reorder(x.spare, spare_order, exec);
  check_same(fits, spare, exec);
  check_same(restore_order(fits, fits_order, x.fits, exec), restore_order(spare, spare_order, x.spare, exec),
             exec);
}

TEST_CASE_TEMPLATE("room to spare: grouped convolutions have the bits of a set that just fits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Both<Space> const x{exec};
  GroupedConvolutionOptions<3> options;
  options.out_channels = 8;
  for (int const groups : {4, 2}) {
    CAPTURE(groups);
    options.groups = groups;
    auto const size = static_cast<std::size_t>(27 * channels / groups * options.out_channels);
    auto const weight = upload(test::rounded<float>(test::random_values(size, 3)), exec);
    auto const bias = upload(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, exec);
    for (int const stride : {1, 2}) {
      CAPTURE(stride);
      options.kind = stride == 1 ? ConvolutionKind::submanifold : ConvolutionKind::strided;
      options.geometry.stride = stride;
      auto const forward = [&](SparseTensor<3, float, Space> const& of) {
        return grouped_convolution(of, weight.data(), bias.data(), options, exec);
      };
      auto const map_of = [&](SparseTensor<3, float, Space> const& of) {
        return detail::kernel_map(options.config, *of.coordinates(), options.kind, options.geometry, exec)
            .map;
      };
      auto const data = [&](SparseTensor<3, float, Space> const& of) {
        return grouped_convolution_backward_data<float>(forward(of).features(), weight.data(), channels,
                                                        groups, *map_of(of), exec);
      };
      auto const of_weight = [&](SparseTensor<3, float, Space> const& of) {
        Buffer<float, Space> result{weight.size(), exec};
        auto const y = forward(of);
        grouped_convolution_backward_weight<float>(of.features(), y.features(), groups, *map_of(of),
                                                   result.data(), GradientMode::overwrite, exec);
        return download(result, exec);
      };
      auto const of_bias = [&](SparseTensor<3, float, Space> const& of) {
        Buffer<float, Space> result{options.out_channels, exec};
        auto const y = forward(of);
        convolution_backward_bias(y.features(), *map_of(of), result.data(), GradientMode::overwrite, exec);
        return download(result, exec);
      };
      check_same(forward(x.fits), forward(x.spare), exec);
      check_same(data(x.fits), data(x.spare), exec);
      CHECK(test::same_bits(of_weight(x.spare), of_weight(x.fits)));
      CHECK(test::same_bits(of_bias(x.spare), of_bias(x.fits)));
    }
  }
}
