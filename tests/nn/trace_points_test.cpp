// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/difference.hpp"

#include <tessera/models/spvcnn.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/spvconv.hpp>

#include <doctest/doctest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tessera;

namespace {

using Points = PointTensor<3, float, Host>;
using Tensor = SparseTensor<3, float, Host>;

Points random_points(int count, unsigned seed, Execution<Host> const& exec)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> place{0, 20};
  std::uniform_real_distribution<float> value{-1, 1};
  std::vector<float> positions;
  std::vector<float> features;
  for (int i = 0; i < count; ++i) {
    positions.insert(positions.end(), {0, place(random), place(random), place(random) / 4});
    for (int c = 0; c < 4; ++c) { features.push_back(value(random)); }
  }
  return {MatrixView<float const>{positions.data(), count, 4},
          MatrixView<float const>{features.data(), count, 4}, exec};
}

}  // namespace

TEST_CASE("trace: a network of points and voxels gives its bits on other points, and fuses")
{
  Execution<Host> const exec{};
  models::SPVCNN<3, float, Host> net{SPVCNNOptions(4, 3).width(0.25), exec};
  auto traced = nn::trace(net, random_points(400, 1, exec), exec);
  auto const z = random_points(600, 2, exec);
  auto const before = net.forward(z, exec).features_on_host(exec);
  REQUIRE(test::magnitude(before) > 0);
  CHECK(traced.forward(z, exec).features_on_host(exec) == before);
  nn::fuse(traced, exec);
  std::set<std::string> names;
  for (auto const& operation : traced.operations()) { names.insert(operation->name()); }
  CHECK(names.count("batch_norm") == 0);
  CHECK(names.count("relu") == 0);
  CHECK(test::largest_difference(traced.forward(z, exec).features_on_host(exec), before) <
        1e-4 * (1 + test::magnitude(before)));
}

TEST_CASE("trace: points gathered on a coordinate set are refused, on a tensor's voxels they are not")
{
  Execution<Host> const exec{};
  auto const z = random_points(50, 3, exec);
  struct Net {
    bool by_set;
    Tensor forward(Points const& of, Execution<Host> const& with)
    {
      auto const made = initial_voxelize(of, 1, 1, with);
      return by_set ? point_to_voxel(made.points, made.voxels.coordinates(), with)
                    : point_to_voxel(made.points, made.voxels, with);
    }
  };
  Net by_set{true};
  CHECK_THROWS_WITH_AS(
      static_cast<void>(nn::trace(by_set, z, exec)),
      "trace: point_to_voxel cannot be run again: it names a coordinate set; give it a tensor "
      "on that set",
      invalid_argument);
  Net by_tensor{false};
  auto const other = random_points(70, 4, exec);
  CHECK(nn::trace(by_tensor, z, exec).forward(other, exec).features_on_host(exec) ==
        by_set.forward(other, exec).features_on_host(exec));
}

TEST_CASE("PointTensor: on other points the features are another variable")
{
  Execution<Host> const exec{};
  auto const z = random_points(10, 5, exec);
  auto const copied = z;
  CHECK(z.id() != 0);
  CHECK(copied.id() == z.id());
  CHECK(z.matrix().id() == z.id());
  auto const moved = z.with_points(random_points(10, 6, exec).points());
  CHECK(moved.id() != z.id());
  CHECK(moved.features().data == z.features().data);
}
