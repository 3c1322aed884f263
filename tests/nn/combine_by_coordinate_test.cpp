// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "tensors.hpp"

#include <tessera/nn/sparse_pooling.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/plan/limits.hpp>

#include <limits>
#include <map>
#include <set>
#include <string>

using namespace tessera;

namespace {

using Voxel = std::vector<int>;  // batch, x, y, z

Voxel voxel_of(Coordinate<3> const& c)
{
  return {c.batch, c.position[0], c.position[1], c.position[2]};
}

/// Each cell of a grid of two batch entries with the given probability, rows in random order.
template <class Scalar>
test::HostTensor random_part(std::mt19937& random, double share, int channels)
{
  std::normal_distribution<double> noise{0.0, 2.0};
  test::HostTensor result;
  result.channels = channels;
  for (int i = 0; i < 2 * 6 * 6 * 6; ++i) {
    if (static_cast<double>(random() % 1000) >= share * 1000) { continue; }
    result.coordinates.push_back({i / 216, {i % 6 - 3, i / 6 % 6 - 3, i / 36 % 6}});
  }
  std::shuffle(result.coordinates.begin(), result.coordinates.end(), random);
  for (std::size_t i = 0; i < result.rows() * static_cast<std::size_t>(channels); ++i) {
    result.features.push_back(test::wide(test::from_double<Scalar>(noise(random))));
  }
  return result;
}

std::map<Voxel, std::size_t> rows_by_voxel(test::HostTensor const& x)
{
  std::map<Voxel, std::size_t> result;
  for (std::size_t row = 0; row < x.rows(); ++row) { result[voxel_of(x.coordinates[row])] = row; }
  return result;
}

enum class Combination { add, multiply, cat };

struct Expected {
  std::vector<Voxel> voxels;
  std::vector<double> features;
};

Expected by_definition(std::vector<test::HostTensor> const& tensors, Combination operation, Join join)
{
  std::vector<std::map<Voxel, std::size_t>> rows;
  std::set<Voxel> all;
  for (auto const& tensor : tensors) {
    rows.push_back(rows_by_voxel(tensor));
    for (auto const& [voxel, row] : rows.back()) { all.insert(voxel); }
  }
  Expected result;
  for (auto const& voxel : all) {
    bool everywhere = true;
    for (auto const& map : rows) { everywhere = everywhere && map.count(voxel) != 0; }
    if (join == Join::outer || (join == Join::inner && everywhere)) { result.voxels.push_back(voxel); }
  }
  if (join == Join::left) {
    for (auto const& c : tensors[0].coordinates) { result.voxels.push_back(voxel_of(c)); }
  }
  for (auto const& voxel : result.voxels) {
    auto const value = [&](std::size_t k, int c) {
      auto const found = rows[k].find(voxel);
      return found != rows[k].end() ? tensors[k].at(found->second, c) : 0.0;
    };
    if (operation == Combination::cat) {
      for (std::size_t k = 0; k < tensors.size(); ++k) {
        for (int c = 0; c < tensors[k].channels; ++c) { result.features.push_back(value(k, c)); }
      }
      continue;
    }
    for (int c = 0; c < tensors[0].channels; ++c) {
      double combined = operation == Combination::add ? 0 : 1;
      for (std::size_t k = 0; k < tensors.size(); ++k) {
        combined = operation == Combination::add ? combined + value(k, c) : combined * value(k, c);
      }
      result.features.push_back(combined);
    }
  }
  return result;
}

template <class Tensor, class Space>
Tensor combine(std::vector<Tensor> const& tensors, Combination operation, Join join,
               Execution<Space> const& exec)
{
  switch (operation) {
    case Combination::add: return add_by_coordinate(tensors, join, exec);
    case Combination::multiply: return multiply_by_coordinate(tensors, join, exec);
    default: return cat_by_coordinate(tensors, join, exec);
  }
}

template <class Scalar, class Space>
void expect_result(SparseTensor<3, Scalar, Space> const& found, Expected const& expected, double bound,
                   Execution<Space> const& exec)
{
  std::vector<Voxel> voxels;
  for (auto const& c : found.coordinates_on_host(exec)) { voxels.push_back(voxel_of(c)); }
  REQUIRE(voxels == expected.voxels);
  test::check_close(found.features_on_host(exec), expected.features, bound);
}

constexpr Combination operations[] = {Combination::add, Combination::multiply, Combination::cat};
constexpr Join joins[] = {Join::outer, Join::inner, Join::left};

}  // namespace

TEST_CASE_TEMPLATE("by coordinate: sums, products and channels side by side are those of the definition",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (unsigned seed = 1; seed <= 4; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      int const count = 1 + static_cast<int>(seed % 4);  // 2, 3, 4 and 1 tensors
      int const channels = seed % 2 == 0 ? 16 : 5;
      std::vector<test::HostTensor> in;
      std::vector<SparseTensor<3, Scalar, Space>> tensors;
      for (int k = 0; k < count; ++k) {
        double const share = k == 0 ? 0.6 : 0.4;
        in.push_back(random_part<Scalar>(random, share, channels));
        tensors.push_back(test::upload_tensor<Scalar>(in.back(), exec));
      }
      for (auto const operation : operations) {
        for (auto const join : joins) {
          CAPTURE(static_cast<int>(operation));
          CAPTURE(static_cast<int>(join));
          auto const found = combine(tensors, operation, join, exec);
          auto expected = by_definition(in, operation, join);
          if (count == 1) { expected = by_definition(in, operation, Join::left); }  // stays where it is
          expect_result(found, expected, test::rounding<Scalar>(), exec);
          if (join == Join::left) { CHECK(found.coordinates() == tensors[0].coordinates()); }
          auto const again = combine(tensors, operation, join, exec);
          CHECK(test::same_bits(again.features_on_host(exec), found.features_on_host(exec)));
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("by coordinate: channels that differ, empty tensors and tensors on one set", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{11};
  auto const a = random_part<float>(random, 0.5, 8);
  auto const b = random_part<float>(random, 0.5, 3);
  auto const none = random_part<float>(random, 0.0, 8);
  auto const x = test::upload_tensor<float>(a, exec);
  auto const y = test::upload_tensor<float>(b, exec);
  auto const empty = test::upload_tensor<float>(none, exec);
  for (auto const join : joins) {
    CAPTURE(static_cast<int>(join));
    expect_result(cat_by_coordinate({x, y}, join, exec), by_definition({a, b}, Combination::cat, join), 0,
                  exec);
    expect_result(cat_by_coordinate({y, empty, x}, join, exec),
                  by_definition({b, none, a}, Combination::cat, join), 0, exec);
    expect_result(add_by_coordinate({x, empty}, join, exec), by_definition({a, none}, Combination::add, join),
                  0, exec);
    expect_result(multiply_by_coordinate({empty, x}, join, exec),
                  by_definition({none, a}, Combination::multiply, join), 0, exec);
    // on one set there is nothing to match: the set stays, and the bits are those of add()
    auto const twice = add_by_coordinate({x, x}, join, exec);
    CHECK(twice.coordinates() == x.coordinates());
    CHECK(test::same_bits(twice.features_on_host(exec), add(x, x, exec).features_on_host(exec)));
    // the first set once more behind another one
    expect_result(add_by_coordinate({x, test::upload_tensor<float>(a, exec), x}, join, exec),
                  by_definition({a, a, a}, Combination::add, join), 1e-6, exec);
  }
}

TEST_CASE_TEMPLATE(
    "by coordinate: NaN passes through where there is a voxel, and is not made where there is none", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  double const nan = std::numeric_limits<double>::quiet_NaN();
  test::HostTensor a;
  a.channels = 1;
  a.coordinates = {{0, {0, 0, 0}}, {0, {1, 0, 0}}};
  a.features = {nan, 2};
  test::HostTensor b = a;
  b.coordinates = {{0, {2, 0, 0}}, {0, {1, 0, 0}}};
  auto const x = test::upload_tensor<float>(a, exec);
  auto const y = test::upload_tensor<float>(b, exec);
  auto const sum = add_by_coordinate({x, y}, Join::outer, exec).features_on_host(exec);
  REQUIRE(sum.size() == 3);
  CHECK(std::isnan(sum[0]));
  CHECK(sum[1] == 4);
  CHECK(std::isnan(sum[2]));
  auto const product = multiply_by_coordinate({x, y}, Join::outer, exec).features_on_host(exec);
  CHECK(product == std::vector<float>{0, 4, 0});  // a missing factor is 0, whatever the other one is
}

TEST_CASE_TEMPLATE("by coordinate: the same voxels reached by one step of four and by two steps of two",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{5};
  auto const in = random_part<float>(random, 0.3, 4);
  auto const x = test::upload_tensor<float>(in, exec);
  auto const halved = max_pool(x, PoolOptions<3>(2), exec);
  auto const twice = max_pool(halved, PoolOptions<3>(2), exec);
  auto const once = max_pool(x, PoolOptions<3>(4), exec);
  REQUIRE(twice.coordinates() != once.coordinates());
  REQUIRE(same_voxels(twice.coordinates(), once.coordinates(), exec));
  std::string const refusal = test::error_of([&] { (void)add(twice, once, exec); });
  CHECK(test::has(refusal, "different coordinate sets"));
  CHECK(test::has(refusal, "add_by_coordinate()"));
  CHECK(test::has(test::error_of([&] { (void)cat({twice, once}, exec); }), "cat_by_coordinate()"));
  CHECK(test::has(test::error_of([&] { (void)multiply(twice, once, exec); }), "multiply_by_coordinate()"));
  auto const values = once.features_on_host(exec);  // maxima of maxima: both tensors hold the same values
  for (auto const join : joins) {
    CAPTURE(static_cast<int>(join));
    auto const sum = add_by_coordinate({twice, once}, join, exec);
    REQUIRE(sum.num_rows() == once.num_rows());
    auto const found = sum.features_on_host(exec);
    for (std::size_t i = 0; i < values.size(); ++i) { REQUIRE(found[i] == 2 * values[i]); }
    CHECK(sum.tensor_stride() == IntArray<3>(4));
    if (join == Join::left) { CHECK(sum.coordinates() == twice.coordinates()); }
  }
}

TEST_CASE_TEMPLATE("by coordinate: rows in another order are matched, and give the bits of add()", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{8};
  auto const a = random_part<float>(random, 0.5, 6);
  auto const rows = a.rows();
  std::vector<std::size_t> order(rows);
  for (std::size_t i = 0; i < rows; ++i) { order[i] = i; }
  std::shuffle(order.begin(), order.end(), random);
  auto shuffled = a;
  for (std::size_t i = 0; i < rows; ++i) {
    shuffled.coordinates[i] = a.coordinates[order[i]];
    for (std::size_t c = 0; c < 6; ++c) { shuffled.features[i * 6 + c] = a.features[order[i] * 6 + c] + 1; }
  }
  auto const x = test::upload_tensor<float>(a, exec);
  auto const y = test::upload_tensor<float>(shuffled, exec);
  std::vector<double> plus_one = a.features;
  for (auto& value : plus_one) { value += 1; }
  auto const aligned = x.with_features(upload_matrix(test::rounded<float>(plus_one), 6, exec));
  CHECK(test::same_bits(add_by_coordinate({x, y}, Join::left, exec).features_on_host(exec),
                        add(x, aligned, exec).features_on_host(exec)));
  CHECK(test::same_bits(multiply_by_coordinate({x, y}, Join::left, exec).features_on_host(exec),
                        multiply(x, aligned, exec).features_on_host(exec)));
}

TEST_CASE_TEMPLATE(
    "by coordinate: with a fixed capacity nothing is asked of the host, and the count stays in the space",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{21};
  std::vector<test::HostTensor> const in{random_part<float>(random, 0.4, 4),
                                         random_part<float>(random, 0.4, 4),
                                         random_part<float>(random, 0.2, 4)};
  auto const make = [&](std::int64_t room) {
    std::vector<SparseTensor<3, float, Space>> tensors;
    for (auto const& part : in) {
      CoordinateSetOptions<3> options;
      options.fixed_capacity = FixedCapacity{room};
      tensors.push_back({make_coordinate_set(part.coordinates, options, exec),
                         upload_matrix(test::rounded<float>(part.features), 4, exec)});
    }
    return tensors;
  };
  auto const tensors = make(432);
  for (auto const operation : operations) {
    for (auto const join : joins) {
      CAPTURE(static_cast<int>(operation));
      CAPTURE(static_cast<int>(join));
      auto const found = combine(tensors, operation, join, exec);
      CHECK(found.coordinates()->has_device_count() == (join != Join::left));
      CHECK(found.capacity() >= found.num_rows());
      expect_result(found, by_definition(in, operation, join), 1e-5, exec);
    }
  }
  auto const tight = make(static_cast<std::int64_t>(in[0].rows()));  // the union has more
  CHECK(test::has(
      test::error_of([&] { (void)add_by_coordinate(tight, Join::outer, exec).features_on_host(exec); }),
      "more rows than the capacity"));
}

TEST_CASE_TEMPLATE("by coordinate: limits taken from a scan fit every set of one stride, not the first alone",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{31};
  auto const in = random_part<float>(random, 0.05, 4);
  auto const forward = [&](SparseTensor<3, float, Space> const& x) {
    auto const few = max_pool(x, PoolOptions<3>(2), exec);
    auto const many = max_pool(x, PoolOptions<3>(3).stride(2).padding(1), exec);
    return add_by_coordinate({few, many}, Join::outer, exec);
  };
  auto const x = test::upload_tensor<float>(in, exec);
  auto const expected = forward(x);
  auto const few = max_pool(x, PoolOptions<3>(2), exec);
  REQUIRE(expected.num_rows() > few.num_rows());
  auto const limits = PlanLimits().like(*x.coordinates(), 1.0);
  SparseTensor<3, float, Space> const same{
      make_coordinate_set(in.coordinates, limits.template set_options<3>(), exec),
      upload_matrix(test::rounded<float>(in.features), 4, exec)};
  auto const found = forward(same);
  CHECK(found.coordinates_on_host(exec) == expected.coordinates_on_host(exec));
  CHECK(test::same_bits(found.features_on_host(exec), expected.features_on_host(exec)));
}

TEST_CASE_TEMPLATE("by coordinate: what does not fit together is refused with its numbers", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Tensor = SparseTensor<3, float, Space>;
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(10, 4, {0}, 1), exec);
  auto const wide = test::upload_tensor<float>(test::random_tensor<float>(10, 5, {0}, 1), exec);
  auto const coarse = max_pool(x, PoolOptions<3>(2), exec);
  for (auto const join : joins) {
    CAPTURE(static_cast<int>(join));
    CHECK(test::has(test::error_of([&] {
                      (void)add_by_coordinate({x, wide}, join, exec);
                    }),
                    "add_by_coordinate: 4 and 5 channels"));
    CHECK(test::has(test::error_of([&] {
                      (void)multiply_by_coordinate({x, coarse}, join, exec);
                    }),
                    "multiply_by_coordinate: tensors of tensor stride [1, 1, 1] and [2, 2, 2]"));
    CHECK(test::has(test::error_of([&] {
                      (void)cat_by_coordinate({x, coarse}, join, exec);
                    }),
                    "cat_by_coordinate: tensors of tensor stride"));
    CHECK(test::error_of([&] {
            (void)cat_by_coordinate({x, Tensor{}}, join, exec);
          }) == "cat_by_coordinate: the tensor has no coordinates");
    CHECK(test::has(test::error_of([&] { (void)add_by_coordinate(std::vector<Tensor>{}, join, exec); }),
                    "no tensors"));
    CHECK(test::has(test::error_of([&] { (void)add_by_coordinate(std::vector<Tensor>(17, x), join, exec); }),
                    "17 tensors; at most 16"));
  }
}
