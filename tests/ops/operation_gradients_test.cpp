// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The gradient of every operation that has no parameter: by record and as a plain function, against finite differences
// of the operation in double.

#include "operation_cases.hpp"

#include <tessera/ops/bev.hpp>
#include <tessera/ops/broadcast.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/ops/dropout.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/prune.hpp>
#include <tessera/ops/unpool.hpp>

#include <type_traits>
#include <utility>
#include <vector>

using namespace operation_cases;

namespace {

/// A tensor in double on a small grid of two batch entries.
template <int Dim, class Space>
SparseTensor<Dim, double, Space> tensor_on(CoordinateSetPointer<Dim, Space> const& set,
                                           std::vector<double> const& values, int channels,
                                           Execution<Space> const& exec)
{
  return {set, upload_matrix(values, channels, exec)};
}

template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> grid_set(int rows, Execution<Space> const& exec, int shift = 0)
{
  auto coordinates = test::small_grid<Dim>(rows);
  for (auto& c : coordinates) { c.position[0] += shift; }
  CoordinateSetOptions<Dim> options;
  IntArray<Dim> extent(3);
  extent[0] = Dim == 1 ? rows + shift + 2 : 6 + shift;
  if constexpr (Dim > 1) { extent[1] = rows / 6 + 2; }
  options.spatial_range = SpatialRange<Dim>{2, extent};
  return make_coordinate_set(coordinates, options, exec);
}

/// Compares backward() of the record of `run(make(values), exec)` for input number `input` with finite differences in
/// `values`, and with `plain(grad, x)`.
template <class Space, class Make, class Run, class Plain>
void check(Execution<Space> const& exec, std::vector<double> const& values, std::size_t input,
           Make const& make, Run const& run, Plain const& plain)
{
  auto const x = make(values);
  auto const y = run(x, exec);
  auto const cotangent = test::random_values(elements(y, exec).size(), 77);
  auto const record = test::recorded(exec, [&](auto const& inside) { return run(x, inside); });
  CAPTURE(record->name());
  auto const found = test::input_gradients<double>(*record, gradient_like(y, cotangent, exec), exec);
  auto const loss = [&](std::vector<double> const& v) {
    return test::dot(elements(run(make(v), exec), exec), cotangent);
  };
  test::check_close(found.at(input), test::finite_differences(values, loss), 1e-8);
  auto const grad = gradient_like(y, cotangent, exec);
  CHECK(test::same_bits(elements(plain(grad.view(), x), exec), found.at(input)));
}

template <class Body>
void for_dims(Body const& body)
{
  body(std::integral_constant<int, 1>{});
  body(std::integral_constant<int, 2>{});
  body(std::integral_constant<int, 3>{});
  body(std::integral_constant<int, 4>{});
}

constexpr int channels = 2;

}  // namespace

TEST_CASE_TEMPLATE("gradients: pools and unpooling agree with finite differences in one to four dimensions",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_dims([&](auto dim) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    using Options = PoolOptions<Dim>;
    auto const set = grid_set<Dim>(14, exec);
    auto const values = test::distinct_values(28, 3);
    auto const make = [&](auto const& v) { return tensor_on(set, v, channels, exec); };
    std::vector<Options> const all{
        Options(IntArray<Dim>(2)),
        Options(IntArray<Dim>(3)).stride(IntArray<Dim>(1)).padding(IntArray<Dim>(1))};
    for (auto const& options : all) {
      check(
          exec, values, 0, make, [&](auto const& x, auto const& e) { return max_pool(x, options, e); },
          [&](auto const& grad, auto const& x) { return max_pool_backward(grad, x, options, exec); });
      check(
          exec, values, 0, make, [&](auto const& x, auto const& e) { return average_pool(x, options, e); },
          [&](auto const& grad, auto const& x) { return average_pool_backward(grad, x, options, exec); });
      check(
          exec, values, 0, make, [&](auto const& x, auto const& e) { return sum_pool(x, options, e); },
          [&](auto const& grad, auto const& x) { return sum_pool_backward(grad, x, options, exec); });
      auto const like = make(values);
      auto const pooled = sum_pool(like, options, exec);
      check(
          exec, pooled.features_on_host(exec), 0,
          [&](auto const& v) { return tensor_on(pooled.coordinates(), v, channels, exec); },
          [&](auto const& x, auto const& e) { return unpool(x, like, options, e); },
          [&](auto const& grad, auto const&) { return unpool_backward(grad, like, options, exec); });
    }
  });
}

TEST_CASE_TEMPLATE("gradients: global pools and broadcasts agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_dims([&](auto dim) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    for (int const rows : {0, 1, 13, 150}) {
      CAPTURE(rows);
      auto const set = grid_set<Dim>(rows, exec);
      auto const values = test::distinct_values(static_cast<std::size_t>(rows * channels), 3);
      auto const make = [&](auto const& v) { return tensor_on(set, v, channels, exec); };
      check(
          exec, values, 0, make, [&](auto const& x, auto const& e) { return global_max_pool(x, e); },
          [&](auto const& grad, auto const& x) { return global_max_pool_backward(grad, x, exec); });
      check(
          exec, values, 0, make, [&](auto const& x, auto const& e) { return global_average_pool(x, e); },
          [&](auto const& grad, auto const& x) { return global_average_pool_backward(grad, x, exec); });
      // spconv's average is of channel 0 alone
      check(
          exec, values, 0, make,
          [&](auto const& x, auto const& e) { return global_average_pool(x, compat::spconv, e); },
          [&](auto const& grad, auto const& x) { return global_average_pool_backward(grad, x, exec); });
      auto const like = make(values);
      check(
          exec, test::random_values(2 * channels, 5), 0,
          [&](auto const& v) { return upload_matrix(v, channels, exec); },
          [&](auto const& v, auto const& e) { return broadcast(v, like, e); },
          [&](auto const& grad, auto const&) { return broadcast_backward(grad, like, exec); });
    }
  });
}

TEST_CASE_TEMPLATE("gradients: dense tensors and back agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_dims([&](auto dim) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    for (int const rows : {0, 1, 9}) {
      auto const set = grid_set<Dim>(rows, exec);
      auto const range = *set->spatial_range();
      auto const values = test::random_values(static_cast<std::size_t>(rows * channels), 3);
      auto const make = [&](auto const& v) { return tensor_on(set, v, channels, exec); };
      for (auto const layout : {DenseLayout::channels_first, DenseLayout::channels_last}) {
        DenseOptions<Dim> options;
        options.layout = layout;
        check(
            exec, values, 0, make, [&](auto const& x, auto const& e) { return dense(x, options, e); },
            [&](auto const& grad, auto const& x) { return dense_backward(grad, x, options, exec); });
        auto const x = make(values);
        auto const cells = elements(dense(x, options, exec), exec);
        if (cells.size() > 400) { continue; }
        auto const make_dense = [&](auto const& v) {
          return DenseTensor<Dim, double, Space>{upload(v, exec), range, channels, layout};
        };
        check(
            exec, cells, 1, make_dense,
            [&](auto const& from, auto const& e) { return gather_from_dense(x, from, e); },
            [&](auto const& grad, auto const&) {
              return gather_from_dense_backward(grad, x, range, layout, exec);
            });
      }
    }
  });
}

TEST_CASE_TEMPLATE("gradients: sparse() has that of the cells that are voxels", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  SpatialRange<2> const range{2, {3, 4}};
  for (auto const layout : {DenseLayout::channels_first, DenseLayout::channels_last}) {
    auto values = test::random_values(2 * 12 * channels, 3);
    for (std::size_t i = 0; i < values.size(); i += 3) { values[i] = 0; }
    if (layout == DenseLayout::channels_last) { values[4] = values[5] = 0; }  // a cell that is no voxel
    DenseTensor<2, double, Space> const x{upload(values, exec), range, channels, layout};
    auto const record = test::recorded(exec, [&](auto const& inside) { return sparse(x, inside); });
    auto const y = sparse(x, exec);
    auto const cotangent = test::random_values(static_cast<std::size_t>(y.num_rows()) * channels, 4);
    auto const found = test::input_gradients<double>(*record, upload_matrix(cotangent, channels, exec), exec);
    // dense() puts the gradient of each voxel where the voxel was
    auto const on_voxels = y.with_features(upload_matrix(cotangent, channels, exec));
    DenseOptions<2> options;
    options.layout = layout;
    CHECK(found.at(0) == elements(dense(on_voxels, options, exec), exec));
    CHECK(found.at(0).size() == values.size());
  }
}

TEST_CASE_TEMPLATE("gradients: bird's-eye views agree with finite differences", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = grid_set<3>(11, exec);
  auto const values = test::random_values(11 * channels, 3);
  auto const make = [&](auto const& v) { return tensor_on(set, v, channels, exec); };
  for (int const axis : {0, 1, 2}) {
    for (auto const order : {BevChannels::channel_major, BevChannels::height_major}) {
      for (auto const layout : {DenseLayout::channels_first, DenseLayout::channels_last}) {
        auto const options = BevOptions().axis(axis).channels(order).layout(layout);
        check(
            exec, values, 0, make, [&](auto const& x, auto const& e) { return bev(x, options, e); },
            [&](auto const& grad, auto const& x) { return bev_backward(grad, x, options, exec); });
      }
    }
  }
  // a map of another type has a gradient of that type
  auto const x = make(values);
  auto const record =
      test::recorded(exec, [&](auto const& inside) { return bev<float>(x, BevOptions(), inside); });
  auto const map = bev<float>(x, BevOptions(), exec);
  test::FilledGradients<Space> gradients;
  gradients.want(x.id());
  auto const id = record->outputs().at(0);
  gradients.reach(id,
                  gradient_like(map, std::vector<double>(static_cast<std::size_t>(map.size()), 0.5), exec));
  test::run_backward(*record, gradients, exec);
  CHECK(gradients.template on_host<double>(x.id(), exec) == std::vector<double>(values.size(), 0.5));
}

TEST_CASE_TEMPLATE("gradients: combinations by coordinate agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_dims([&](auto dim) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    using Tensor = SparseTensor<Dim, double, Space>;
    // the first and the last share a set; of the second some voxels are the first's
    auto const first = grid_set<Dim>(10, exec);
    auto const second = grid_set<Dim>(8, exec, 2);
    std::vector<CoordinateSetPointer<Dim, Space>> const sets{first, second, first};
    std::vector<std::size_t> const rows{10, 8, 10};
    for (auto const join : {Join::outer, Join::inner, Join::left}) {
      CAPTURE(static_cast<int>(join));
      for (std::size_t k = 0; k < 3; ++k) {
        CAPTURE(k);
        auto const values = test::random_values(rows[k] * channels, 20 + static_cast<unsigned>(k));
        auto const make = [&](std::vector<double> const& v) {
          std::vector<Tensor> tensors;
          for (std::size_t j = 0; j < 3; ++j) {
            auto const own =
                j == k ? v : test::random_values(rows[j] * channels, 20 + static_cast<unsigned>(j));
            tensors.push_back(tensor_on(sets[j], own, channels, exec));
          }
          return tensors;
        };
        check(
            exec, values, k, make,
            [&](auto const& x, auto const& e) { return add_by_coordinate(x, join, e); },
            [&](auto const& grad, auto const& x) {
              return add_by_coordinate_backward(grad, x, k, join, exec);
            });
        check(
            exec, values, k, make,
            [&](auto const& x, auto const& e) { return multiply_by_coordinate(x, join, e); },
            [&](auto const& grad, auto const& x) {
              return multiply_by_coordinate_backward(grad, x, k, join, exec);
            });
        check(
            exec, values, k, make,
            [&](auto const& x, auto const& e) { return cat_by_coordinate(x, join, e); },
            [&](auto const& grad, auto const& x) {
              return cat_by_coordinate_backward(grad, x, k, join, exec);
            });
      }
    }
  });
}

TEST_CASE_TEMPLATE("gradients: pruning and cropping agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_dims([&](auto dim) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    auto const set = grid_set<Dim>(13, exec);
    auto const values = test::random_values(13 * channels, 3);
    auto const make = [&](auto const& v) { return tensor_on(set, v, channels, exec); };
    std::vector<std::uint8_t> marks;
    for (int i = 0; i < 13; ++i) { marks.push_back(i % 3 == 0 ? 0 : 1); }
    auto const mask = upload_matrix(marks, 1, exec);
    auto const scores = tensor_on(set, test::random_values(13, 4), 1, exec);
    IntArray<Dim> upper(100);
    upper[0] = 4;
    auto const plain = [&](auto const& run) {
      return [&](auto const& grad, auto const& x) { return prune_backward(grad, run(x, exec), x, exec); };
    };
    auto const by_mask = [&](auto const& x, auto const& e) { return prune(x, mask, e); };
    auto const by_score = [&](auto const& x, auto const& e) { return prune_above(x, scores, 0.1, e); };
    auto const by_box = [&](auto const& x, auto const& e) { return crop(x, IntArray<Dim>(0), upper, e); };
    check(exec, values, 0, make, by_mask, plain(by_mask));
    check(exec, values, 0, make, by_score, plain(by_score));
    check(exec, values, 0, make, by_box, plain(by_box));
  });
}

TEST_CASE_TEMPLATE("gradients: dropout computes its mask again, which the number of steps changes", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = grid_set<3>(40, exec);
  auto const values = test::random_values(40 * channels, 3);
  auto const make = [&](auto const& v) { return tensor_on(set, v, channels, exec); };
  std::vector<std::vector<double>> masks;
  for (std::uint64_t const step : {3U, 4U}) {
    auto const steps = upload(std::vector<std::uint64_t>{step}, exec);
    for (auto const& seed : {ops::DropoutSeed{9}, ops::DropoutSeed{9, steps.data()}}) {
      check(
          exec, values, 0, make, [&](auto const& x, auto const& e) { return dropout(x, 0.3, seed, e); },
          [&](auto const& grad, auto const&) { return dropout_backward(grad, 0.3, seed, exec); });
      auto const ones = upload_matrix(std::vector<double>(400, 1), 4, exec);
      masks.push_back(elements(dropout(ones, 0.3, seed, exec), exec));
    }
  }
  CHECK(masks[0] == masks[2]);  // without a step
  CHECK(masks[1] != masks[3]);
  CHECK(masks[0] != masks[1]);
  CHECK(std::abs(test::dot(masks[3], std::vector<double>(400, 1)) - 400) < 80);
}
