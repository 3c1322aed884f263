// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "random_networks.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/spvnas_config.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/spvcnn.hpp>
#include <tessera/models/spvnas_latency.hpp>
#include <tessera/models/spvnas_search.hpp>
#include <tessera/models/spvnas_supernet.hpp>
#include <tessera/nn/costs.hpp>
#include <tessera/plan/forward_voxels.hpp>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace {

namespace ts = tessera;
using ts::models::SPVNASConfig;
using ts::models::SPVNASSpace;

/// A supernet of at most 32 channels.
SPVNASSpace small_space()
{
  return SPVNASSpace(4, 5).channels({16, 16, 32, 32, 32, 32, 32, 16, 16},
                                    {16, 16, 16, 16, 16, 16, 16, 16, 16});
}

/// The seeds of a pass's dropouts.
template <class Space>
struct DropoutSeeds final : ts::Recorder {
  void record(std::shared_ptr<ts::OperationRecord const> operation) override
  {
    using Record = ts::ops::DropoutRecord<ts::SparseTensor<3, float, Space>, Space>;
    if (auto const* const dropout = dynamic_cast<Record const*>(operation.get()); dropout != nullptr) {
      seeds.push_back(dropout->seed);
    }
  }

  std::vector<ts::ops::DropoutSeed> seeds;
};

}  // namespace

TEST_CASE("SPVNAS: MinkUNet and SPVCNN have the published numbers of parameters")
{
  ts::Execution<ts::Host> const exec;
  auto const minkunet = [&](double width) {
    return ts::nn::num_parameters(
        ts::models::MinkUNet<3, float, ts::Host>{ts::MinkUNetOptions(4, 19).width(width), exec});
  };
  auto const spvcnn = [&](double width) {
    return ts::nn::num_parameters(
        ts::models::SPVCNN<3, float, ts::Host>{ts::SPVCNNOptions(4, 19).width(width), exec});
  };
  CHECK(minkunet(1) == 21723315);  // 21.7 M
  CHECK(minkunet(0.64) == 8771298);
  CHECK(minkunet(0.5) == 5435235);
  CHECK(spvcnn(1) == 21778003);  // 21.8 M
  CHECK(spvcnn(0.64) == 8793617);
  CHECK(spvcnn(0.5) == 5449267);
}

TEST_CASE("SPVNAS: parameters and multiply-adds of a configuration are those of the network")
{
  ts::Execution<ts::Host> const exec;
  auto const x = random_networks::input<3>(24, 2, 4, exec);
  auto const work = ts::models::measure_workload(x.coordinates(), ts::ConvConfig{}, exec);
  CHECK(work.points == 2 * 24 * 24);
  std::uint64_t state = 3;
  for (int i = 0; i < 5; ++i) {
    CAPTURE(i);
    auto config = i == 0 ? small_space().largest() : ts::models::sample(small_space(), state);
    CAPTURE(ts::io::spvnas_config_text(config));
    config.classifier_channels = config.output_channels.back();
    ts::models::SPVNAS<3, float, ts::Host> network{config, exec};
    CHECK(ts::models::num_parameters(config) == ts::nn::num_parameters(network));
    CHECK(ts::models::num_macs(config, work) == ts::nn::num_macs(network, x, exec));
  }
}

TEST_CASE("SPVNAS: samples are within the space, and every network of it can be sampled")
{
  auto const space = small_space();
  auto const largest = space.largest();
  std::uint64_t state = 1;
  std::set<int> transitions;
  std::set<int> depths;
  for (int i = 0; i < 200; ++i) {
    auto const config = ts::models::sample(space, state);
    for (std::size_t k = 0; k < config.output_channels.size(); ++k) {
      CHECK(config.output_channels[k] % 16 == 0);
      CHECK(config.output_channels[k] >= 16);
      CHECK(config.output_channels[k] <= largest.output_channels[k]);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      bool const fits =
          config.down[k].has_shortcut || config.down[k].transition == config.output_channels[k + 1];
      CHECK(fits);
    }
    transitions.insert(config.up[0].transition);
    depths.insert(config.up[3].depth);
    CHECK(ts::io::parse_spvnas_config(ts::io::spvnas_config_text(config), space) == config);
  }
  CHECK(transitions == std::set<int>{16, 32});
  CHECK(depths == std::set<int>{1, 2});
  std::uint64_t again = 1;
  std::uint64_t other = 1;
  CHECK(ts::models::sample(space, again) == ts::models::sample(space, other));
}

TEST_CASE("SPVNAS: enumeration meets every network of a space once, within a limit")
{
  // two choices for one output, and depths 1 or 2 of eight stages
  auto const space =
      SPVNASSpace(4, 5).channels({16, 16, 16, 16, 32, 16, 16, 16, 16}, {16, 16, 16, 16, 16, 16, 16, 16, 16});
  std::vector<std::string> all;
  auto const cost = [](SPVNASConfig const& config) { return ts::models::num_parameters(config); };
  auto const collect = [&](SPVNASConfig const& config) {
    all.push_back(ts::io::spvnas_config_text(config));
    return true;
  };
  auto const count = ts::models::enumerate(space, cost, 1e18, collect);
  // stages of 16 channels have depth alone to choose; the one of 32: its output, and for each block 16 or 32 inside
  CHECK(count == 128 * 2 * (2 + 4));
  CHECK(std::set<std::string>(all.begin(), all.end()).size() == all.size());
  auto const smallest = static_cast<double>(cost(ts::models::smallest(space)));
  CHECK(ts::models::enumerate(space, cost, smallest, collect) == 1);
  CHECK(ts::models::enumerate(space, cost, smallest - 1, collect) == 0);
  CHECK(ts::models::enumerate(space, cost, 1e18, [](SPVNASConfig const&) { return false; }) == 1);
}

TEST_CASE("SPVNAS: evolution finds a network within the limit and tells how it goes")
{
  SPVNASSpace const space{4, 19};
  auto const cost = [](SPVNASConfig const& config) {
    return static_cast<double>(ts::models::num_parameters(config));
  };
  // as many channels at the bottom as possible, as few elsewhere: what chance does not find
  auto const score = [](SPVNASConfig const& config) {
    double result = 3 * config.output_channels[4];
    for (auto const channels : config.output_channels) { result -= channels; }
    for (auto const& stage : config.down) { result += stage.hidden[0] + 10 * stage.depth; }
    return result;
  };
  std::vector<double> best;
  std::int64_t scored = 0;
  auto const options = ts::EvolutionOptions().population(24).generations(12).seed(5);
  auto const search = [&] {
    return ts::models::evolve(space, score, cost, 8e6, options,
                              [&](ts::models::EvolutionProgress const& progress) {
                                best.push_back(progress.best.score);
                                CHECK(progress.num_generations == 12);
                                CHECK(progress.generation == static_cast<int>(best.size()));
                                scored = progress.num_scored;
                              });
  };
  auto const found = search();
  CHECK(best.size() == 12);
  CHECK(std::is_sorted(best.begin(), best.end()));
  CHECK(best.back() > best.front());
  CHECK(found.score == best.back());
  CHECK(found.cost <= 8e6);
  CHECK(found.cost == cost(found.config));
  CHECK(scored > 24);
  CHECK(scored <= 24 * 12);
  best.clear();
  CHECK(search().config == found.config);
  CHECK_THROWS_AS(static_cast<void>(ts::models::evolve(space, score, cost, 1e3, options)),
                  ts::invalid_argument);
}

TEST_CASE("SPVNAS: limits that hardly a sample is within have their networks all the same")
{
  SPVNASSpace const space{4, 19};
  auto const cost = [](SPVNASConfig const& config) {
    return static_cast<double>(ts::models::num_parameters(config));
  };
  auto const smallest = cost(ts::models::smallest(space));
  for (double const limit : std::vector<double>{2.6e6, 1.02 * smallest, smallest}) {
    CAPTURE(limit);
    std::uint64_t state = 3;
    std::set<std::string> different;
    for (int i = 0; i < 10; ++i) {
      auto const config = ts::models::sample_within(space, state, cost, limit, 20);
      REQUIRE(config.has_value());
      CHECK(cost(*config) <= limit);
      for (auto const channels : config->output_channels) { CHECK(channels % 16 == 0); }
      CHECK(ts::io::parse_spvnas_config(ts::io::spvnas_config_text(*config), space) == *config);
      different.insert(ts::io::spvnas_config_text(*config));
    }
    CHECK((different.size() > 5) == (limit > smallest));
    auto const options = ts::EvolutionOptions().population(6).generations(3);
    CHECK(ts::models::evolve(space, cost, cost, limit, options).cost <= limit);
  }
  std::uint64_t state = 3;
  CHECK(!ts::models::sample_within(space, state, cost, smallest - 1, 20).has_value());
}

TEST_CASE("SPVNAS: evolution puts scores that are NaN last, and costs that are NaN above the limit")
{
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  SPVNASSpace const space = small_space();
  auto const cost = [&](SPVNASConfig const& config) { return config.output_channels[4] == 32 ? nan : 1.0; };
  auto const score = [&](SPVNASConfig const& config) {
    auto const stages = config.down[0].depth + config.down[1].depth + config.up[0].depth;
    return stages % 2 == 0 ? nan : 0.0 + stages;
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    double best = 0;
    auto const found = ts::models::evolve(space, score, cost, 5,
                                          ts::EvolutionOptions().population(16).generations(6).seed(seed),
                                          [&](ts::models::EvolutionProgress const& progress) {
                                            CHECK(progress.best.score >= best);
                                            best = progress.best.score;
                                          });
    CHECK(found.score == 5);
    CHECK(found.cost == 1);
  }
  auto const none = [&](SPVNASConfig const&) { return nan; };
  CHECK(std::isnan(ts::models::evolve(space, none, cost, 5).score));
}

TEST_CASE_TEMPLATE("SPVNAS: a latency table measures each layer once", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec{};
  auto const x = random_networks::input<3>(24, 1, 4, exec);
  ts::models::SPVNASLatencyTable<3, float, Space> table{x, exec, ts::ConvConfig{}, 3};
  auto const config = ts::models::smallest(small_space());
  double const first = table(config);
  auto const measured = table.entries().size();
  CHECK(first > 0);
  CHECK(measured > 10);
  CHECK(table(config) == first);
  CHECK(table.entries().size() == measured);
  table.measure_overhead(config);
  CHECK(table(config) == doctest::Approx(first + table.overhead()));
  CHECK(table.entries().size() == measured);
  // times that are known are not measured again
  ts::models::SPVNASLatencyTable<3, float, Space> other{x, exec, ts::ConvConfig{}, 3};
  for (auto const& entry : table.entries()) { other.enter(entry); }
  CHECK(other(config) == first);
}

TEST_CASE_TEMPLATE("SPVNAS: a subnet has the supernet's bits; what is no part of it is refused", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec{};
  ts::models::SPVNASSupernet<3, float, Space> supernet{small_space(), exec, ts::ConvConfig{}, 4};
  auto const x = random_networks::input<3>(24, 2, 4, exec);
  auto const whole = supernet.forward(x, exec).features_on_host(exec);
  CHECK(supernet.selected() == small_space().largest());
  CHECK(supernet.extract(small_space().largest(), exec)->forward(x, exec).features_on_host(exec) == whole);
  std::uint64_t state = 9;
  auto const config = ts::models::sample(small_space(), state);
  supernet.select(config, exec);
  CHECK(supernet.selected() == config);
  auto const logits = supernet.forward(x, exec).features_on_host(exec);
  CHECK(logits != whole);
  CHECK(supernet.extract(config, exec)->forward(x, exec).features_on_host(exec) == logits);
  // points in voxels of the finest grid are the voxels themselves
  auto made = supernet.extract(config, exec)->forward(ts::points_of_voxels(x, exec), exec);
  CHECK(made.num_points() == x.num_rows());

  auto wrong = config;
  wrong.up[1].transition = 48;
  CHECK_THROWS_WITH_AS(supernet.select(wrong, exec),
                       "SPVNAS: 48 channels of a transition but the supernet has 32", ts::invalid_argument);
  CHECK(supernet.selected() == config);
  wrong = config;
  wrong.down[0].transition = 32;  // 16 -> 16 has no shortcut
  CHECK_THROWS_AS(supernet.select(wrong, exec), ts::invalid_argument);
}

TEST_CASE_TEMPLATE("SPVCNN: of voxels each is a point, and the logits are those of points at their corners",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec{};
  ts::models::SPVCNN<3, float, Space> network{ts::SPVCNNOptions(4, 5).width(0.25), exec};
  auto x = random_networks::input<3>(16, 2, 4, exec);
  auto const logits = network.forward(x, exec).features_on_host(exec);
  auto const view = ts::forward_voxels(network);
  auto const on_voxels = view.forward(x, exec);
  CHECK(on_voxels.coordinates() == x.coordinates());
  CHECK(on_voxels.features_on_host(exec) == logits);
  // voxels made of those points are in another order, the points are not; sums over rows of maps are the same
  CHECK(network.forward(ts::points_of_voxels(x, exec), exec).features_on_host(exec) == logits);
  auto const narrow = x.with_features(ts::Matrix<float, Space>{x.capacity(), 3, exec});
  CHECK_THROWS_WITH_AS(static_cast<void>(network.forward(narrow, exec)),
                       "SPVCNN: the input has 3 channels but 4 were expected", ts::invalid_argument);
}

TEST_CASE("SPVNAS: configurations that are none are refused by name")
{
  SPVNASSpace const space{4, 19};
  auto const parse = [&](std::string const& text) {
    static_cast<void>(ts::io::parse_spvnas_config(text, space));
  };
  auto const good = ts::io::spvnas_config_text(space.largest());
  CHECK_NOTHROW(parse(good));
  CHECK_THROWS_AS(parse("[]"), ts::invalid_argument);
  CHECK_THROWS_AS(parse("{\"output_channels\": [1, 2]}"), ts::invalid_argument);
  auto const without = [&](std::string const& from, std::string const& to) {
    auto text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  CHECK_THROWS_WITH_AS(parse(without("upsample.2.transition", "upsample.9.transition")),
                       doctest::Contains("upsample.2.transition"), ts::invalid_argument);
  CHECK_THROWS_WITH_AS(parse(without("\"downsample.1.feature\": 2", "\"downsample.1.feature\": 3")),
                       doctest::Contains("3 blocks"), ts::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(SPVNASSpace(4, 19).min_depth(3).largest()), ts::invalid_argument);
}

TEST_CASE_TEMPLATE("SPVCNN: its dropouts drop other elements, as do SPVNAS's, by calls and by steps", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec{};
  auto const x = random_networks::input<3>(40, 1, 4, exec);
  auto const ones = ts::upload_matrix(std::vector<float>(64, 1), 1, exec);
  auto const steps = ts::upload(std::vector<std::uint64_t>{5}, exec);
  auto const check_other = [&](auto& network) {
    network.train();
    for (bool const by_steps : {false, true}) {
      CAPTURE(by_steps);
      ts::nn::seed_by_step<Space>(network, by_steps ? steps.data() : nullptr);
      DropoutSeeds<Space> found;
      static_cast<void>(network.forward(x, exec.with_recorder(found)));
      REQUIRE(found.seeds.size() == 2);
      auto const kept = [&](std::size_t i) {
        auto const y = ts::dropout(ones, 0.5, found.seeds[i], exec);
        return ts::download(y.data(), y.size(), exec);
      };
      CHECK(kept(0) != kept(1));
    }
  };
  ts::models::SPVCNN<3, float, Space> spvcnn{ts::SPVCNNOptions(4, 5).width(0.25), exec};
  check_other(spvcnn);
  ts::models::SPVNAS<3, float, Space> spvnas{small_space().largest(), exec};
  check_other(spvnas);
}
