// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Whole networks give the same bits on every run, on any number of threads, for every order of the rows,
// after any number of other scans; and what a scan took is given back. TESSERA_TEST_ROUNDS makes the runs
// longer.

#include "../support/allocations.hpp"
#include "../support/rounds.hpp"
#include "../support/ways.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_resnet21d.hpp>
#include <tessera/nn/calibrate.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

using namespace tessera;

namespace {

struct Cloud {
  std::vector<Coordinate<3>> rows;
  std::vector<float> features;  // [rows, 4]
};

Cloud random_cloud(int rows, unsigned seed)
{
  std::mt19937 random{seed};
  std::map<std::tuple<int, int, int, int>, bool> seen;
  Cloud cloud;
  while (static_cast<int>(cloud.rows.size()) < rows) {
    int const x = static_cast<int>(random() % 40);
    int const y = static_cast<int>(random() % 40);
    int const z = (x * x / 9 + y) / 4 % 12 + static_cast<int>(random() % 2);
    int const b = static_cast<int>(random() % 2);
    if (!seen.emplace(std::make_tuple(b, x, y, z), true).second) { continue; }
    cloud.rows.push_back({b, {x, y, z}});
    for (int c = 0; c < 4; ++c) {
      cloud.features.push_back(std::uniform_real_distribution<float>{-1, 1}(random));
    }
  }
  return cloud;
}

SparseTensor<3, float, Host> tensor_of(Cloud const& cloud, Execution<Host> const& exec)
{
  return {make_coordinate_set(cloud.rows, {}, exec), upload_matrix(cloud.features, 4, exec)};
}

Cloud shuffled(Cloud const& cloud, unsigned seed)
{
  std::vector<std::size_t> order(cloud.rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random{seed};
  std::shuffle(order.begin(), order.end(), random);
  Cloud result;
  for (auto const row : order) {
    result.rows.push_back(cloud.rows[row]);
    for (std::size_t c = 0; c < 4; ++c) { result.features.push_back(cloud.features[4 * row + c]); }
  }
  return result;
}

/// The features of each row by its coordinate, as bits.
using Bits = std::map<std::tuple<int, int, int, int>, std::vector<std::uint32_t>>;

Bits bits_of(SparseTensor<3, float, Host> const& x, Execution<Host> const& exec)
{
  auto const rows = x.coordinates_on_host(exec);
  auto const values = x.features_on_host(exec);
  auto const channels = static_cast<std::size_t>(x.channels());
  Bits result;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const& at = rows[i].position;
    auto& bits = result[std::make_tuple(rows[i].batch, at[0], at[1], at[2])];
    bits.resize(channels);
    std::memcpy(bits.data(), values.data() + i * channels, channels * sizeof(float));
  }
  return result;
}

template <class Scalar, class Space, std::size_t Count>
SparseTensor<3, Scalar, Space> const& last(std::array<SparseTensor<3, Scalar, Space>, Count> const& tensors)
{
  return tensors.back();
}
template <class Scalar, class Space>
SparseTensor<3, Scalar, Space> const& last(SparseTensor<3, Scalar, Space> const& tensor)
{
  return tensor;
}

/// Runs, threads and orders of rows; returns how many results were compared.
template <class Network, class Options>
int check_same_bits(Options const& options)
{
  int compared = 0;
  Execution<Host> const one{1};
  auto const cloud = random_cloud(1500, 5);
  for (auto const& way : test::every_way({})) {
    CAPTURE(way.name);
    ScopedConvConfig const scope{way.config};
    Network network{options, one};
    nn::calibrate(network, tensor_of(cloud, one), one);
    auto const run = [&](Cloud const& input, Execution<Host> const& exec) {
      return bits_of(last(network(tensor_of(input, exec), exec)), exec);
    };
    auto const expected = run(cloud, one);
    auto const check = [&](Bits const& found) {
      bool const same = found == expected;
      CHECK(same);
      ++compared;
    };
    for (int const threads : {1, 2, 7}) {
      CAPTURE(threads);
      Execution<Host> const exec{threads};
      for (int n = 0; n < test::rounds(1); ++n) { check(run(cloud, exec)); }
    }
    for (unsigned seed = 1; seed <= static_cast<unsigned>(test::rounds(2)); ++seed) {
      CAPTURE(seed);
      check(run(shuffled(cloud, seed), one));
    }
  }
  return compared;
}

}  // namespace

TEST_CASE("same bits: networks do not depend on the run, the threads or the order of the rows")
{
  int compared =
      check_same_bits<models::MinkUNet<3, float, Host>>(MinkUNetOptions(4, 5).width(0.125).seed(3));
  compared +=
      check_same_bits<models::SparseResNet21D<3, float, Host>>(BackboneOptions(4).width(0.25).seed(3));
  MESSAGE(compared << " results compared, bit by bit");
}

TEST_CASE("soak: scans of changing size leave nothing behind, and the first comes out as it did")
{
  Execution<Host> const exec{2};
  models::MinkUNet<3, float, Host> network{MinkUNetOptions(4, 5).width(0.125).seed(3), exec};
  nn::calibrate(network, tensor_of(random_cloud(1500, 1), exec), exec);
  auto const first = random_cloud(800, 2);
  auto const expected = bits_of(network(tensor_of(first, exec), exec), exec);
  std::mt19937 random{7};
  int const scans = test::rounds(20);
  for (int n = 0; n < scans; ++n) {
    CAPTURE(n);
    test::AllocationWatch const watch;
    {
      auto cloud = random_cloud(static_cast<int>(random() % 3000), static_cast<unsigned>(n));
      if (n % 5 == 1 && !cloud.rows.empty()) { cloud.features.front() = NAN; }
      if (n % 5 == 2 && !cloud.rows.empty()) {  // a row twice: told, and no harm to the next scan
        cloud.rows.push_back(cloud.rows.front());
        cloud.features.insert(cloud.features.end(), 4, 0.0F);
        CHECK_THROWS_AS(static_cast<void>(network(tensor_of(cloud, exec), exec)), invalid_argument);
      } else {
        CHECK(network(tensor_of(cloud, exec), exec).num_rows() ==
              static_cast<std::int64_t>(cloud.rows.size()));
      }
    }
    REQUIRE(watch.bytes_in_use() == 0);
    if (n % 4 == 3) {
      bool const same = bits_of(network(tensor_of(first, exec), exec), exec) == expected;
      REQUIRE(same);
    }
  }
  MESSAGE(scans << " scans");
}
