// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/spvnas_config.hpp>
#include <tessera/nn/initialize.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The values that one number of a configuration may have.
struct SPVNASChoice {
  int* value;
  int first;
  int last;
  int step;

  [[nodiscard]] int count() const { return (last - first) / step + 1; }
};

/// The largest multiple of 16 that is not above `channels`, and at least 16.
[[nodiscard]] inline int divisible_channels(int channels)
{
  return std::max(16, channels / 16 * 16);
}

/// Every number of `config` that networks of the space may differ in; those without effect in this one are left
/// out. Output channels and depths come first, since they decide what has an effect.
[[nodiscard]] inline std::vector<SPVNASChoice> choices_of(models::SPVNASConfig& config,
                                                          models::SPVNASSpace const& space)
{
  auto const whole = space.largest();
  std::vector<SPVNASChoice> choices;
  auto const quarter = [](int channels) { return divisible_channels(channels / 4); };
  for (std::size_t i = 1; i < config.output_channels.size(); ++i) {
    choices.push_back(
        {&config.output_channels[i], divisible_channels(space.lower()[i]), space.upper()[i], 16});
  }
  auto const for_each_stage = [&](auto const& body) {
    for (std::size_t i = 0; i < config.down.size(); ++i) { body(config.down[i], whole.down[i]); }
    for (std::size_t i = 0; i < config.up.size(); ++i) { body(config.up[i], whole.up[i]); }
  };
  using Stage = models::SPVNASConfig::Stage;
  for_each_stage([&](Stage& stage, Stage const&) {
    choices.push_back({&stage.depth, space.min_depth(), models::SPVNASConfig::most_blocks, 1});
  });
  for_each_stage([&](Stage& stage, Stage const& most) {
    if (stage.has_shortcut) {
      choices.push_back({&stage.transition, quarter(most.transition), most.transition, 16});
    }
    for (std::size_t j = 0; j < static_cast<std::size_t>(stage.depth); ++j) {
      choices.push_back({&stage.hidden[j], quarter(most.hidden[j]), most.hidden[j], 16});
    }
  });
  return choices;
}

/// Makes the numbers agree that follow from others: a stage without a shortcut keeps its channels.
inline void settle(models::SPVNASConfig& config)
{
  for (std::size_t i = 0; i < config.down.size(); ++i) {
    if (!config.down[i].has_shortcut) { config.down[i].transition = config.output_channels[i + 1]; }
  }
}

/// A number from 0 to count - 1.
[[nodiscard]] inline int random_below(std::uint64_t& state, int count)
{
  return static_cast<int>(next_random(state) % static_cast<std::uint64_t>(count));
}
[[nodiscard]] inline double random_unit(std::uint64_t& state)
{
  return static_cast<double>(next_random(state) >> 11) * 0x1.0p-53;
}

}  // namespace detail

namespace models {

/// The network of the space with the fewest channels and blocks.
/// @throws invalid_argument  a space without networks
[[nodiscard]] inline SPVNASConfig smallest(SPVNASSpace const& space)
{
  auto config = space.largest();
  for (auto const& choice : detail::choices_of(config, space)) { *choice.value = choice.first; }
  detail::settle(config);
  return config;
}

/// A network of the space, every number with equal odds for each of its values.
/// @param state  of the random numbers; the same state gives the same network, and is moved on
/// @throws invalid_argument  a space without networks
[[nodiscard]] inline SPVNASConfig sample(SPVNASSpace const& space, std::uint64_t& state)
{
  auto config = space.largest();
  for (auto const& choice : detail::choices_of(config, space)) {
    *choice.value = choice.first + choice.step * detail::random_below(state, choice.count());
  }
  detail::settle(config);
  return config;
}

}  // namespace models

namespace detail {

/// The smallest network, a number drawn at random a step larger again and again, until it no longer fits the limit;
/// nothing where it never does.
template <class Cost>
[[nodiscard]] std::optional<models::SPVNASConfig> grow_within(models::SPVNASSpace const& space,
                                                              std::uint64_t& state, Cost const& cost,
                                                              double limit)
{
  constexpr int most_failures = 50;  // one after the other: about as many as there are numbers
  auto config = models::smallest(space);
  auto const fits = [&](models::SPVNASConfig const& one) { return static_cast<double>(cost(one)) <= limit; };
  if (!fits(config)) { return std::nullopt; }
  int failures = 0;
  while (failures < most_failures) {
    ++failures;
    auto larger = config;
    auto const choices = choices_of(larger, space);
    auto const& choice =
        choices[static_cast<std::size_t>(random_below(state, static_cast<int>(choices.size())))];
    if (*choice.value >= choice.last) { continue; }
    *choice.value += choice.step;
    settle(larger);
    if (!fits(larger)) { continue; }
    config = larger;
    failures = 0;
  }
  return config;
}

}  // namespace detail

namespace models {

/// A sample whose cost is within the limit. Where there is none in so many tries, the smallest network with its numbers
/// raised at random as far as the limit lets them, or nothing where that is above it.
/// @param cost  called with a SPVNASConfig: multiply-adds, parameters, milliseconds of a SPVNASLatencyTable
template <class Cost>
[[nodiscard]] std::optional<SPVNASConfig> sample_within(SPVNASSpace const& space, std::uint64_t& state,
                                                        Cost const& cost, double limit, int tries = 1000)
{
  for (int i = 0; i < tries; ++i) {
    auto config = sample(space, state);
    if (static_cast<double>(cost(config)) <= limit) { return config; }
  }
  return detail::grow_within(space, state, cost, limit);
}

/// Calls `body` with every network of the space whose cost is within the limit, each once, until it returns
/// false. Which is meant for spaces made small: the published one has about 10^29 networks.
/// @returns how many there were
/// @throws invalid_argument  a space without networks
template <class Cost, class Body>
std::int64_t enumerate(SPVNASSpace const& space, Cost const& cost, double limit, Body const& body)
{
  auto config = smallest(space);
  std::int64_t count = 0;
  for (;;) {
    auto settled = config;
    detail::settle(settled);
    if (static_cast<double>(cost(settled)) <= limit) {
      ++count;
      if (!body(settled)) { return count; }
    }
    // counts up, the last choice fastest; where an earlier one moves, those after it begin again
    auto choices = detail::choices_of(config, space);
    auto at = choices.size();
    while (at > 0 && *choices[at - 1].value == choices[at - 1].last) { --at; }
    if (at == 0) { return count; }
    *choices[at - 1].value += choices[at - 1].step;
    choices = detail::choices_of(config, space);
    for (auto i = at; i < choices.size(); ++i) { *choices[i].value = choices[i].first; }
  }
}

}  // namespace models

/// Options of evolve(): `EvolutionOptions().population(50).generations(20)`.
struct EvolutionOptions {
  /// Networks of a generation: a quarter are the best so far, the others half mutations of those, half
  /// crossovers.
  EvolutionOptions& population(int value) { return population_ = value, *this; }
  [[nodiscard]] int population() const noexcept { return population_; }
  EvolutionOptions& generations(int value) { return generations_ = value, *this; }
  [[nodiscard]] int generations() const noexcept { return generations_; }
  /// Of each number of a network to change in a mutation.
  EvolutionOptions& mutation(double probability) { return mutation_ = probability, *this; }
  [[nodiscard]] double mutation() const noexcept { return mutation_; }
  EvolutionOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

 private:
  int population_ = 50;
  int generations_ = 20;
  double mutation_ = 0.1;
  std::uint64_t seed_ = 0;
};

namespace models {

/// A network that evolve() found.
struct Evolved {
  SPVNASConfig config;
  double score = 0;
  double cost = 0;
};

/// What evolve() tells after each generation.
struct EvolutionProgress {
  int generation = 0;  ///< from 1 on
  int num_generations = 0;
  std::int64_t num_scored = 0;  ///< networks so far
  Evolved best;                 ///< so far
};

}  // namespace models

namespace detail {

/// The population of evolve(), the best first.
template <class Score, class Cost>
class Evolution {
 public:
  Evolution(models::SPVNASSpace const& space, Score const& score, Cost const& cost, double limit,
            EvolutionOptions const& options)
      : space_{space}, score_{score}, cost_{cost}, limit_{limit}, options_{options}, state_{options.seed()}
  {}

  void begin()
  {
    while (population_.size() < size()) {
      auto const config = models::sample_within(space_, state_, cost_, limit_);
      expects(config.has_value(), "evolve: found no network within the limit of ", limit_,
              "; the smallest costs ", static_cast<double>(cost_(models::smallest(space_))));
      enter(*config);
    }
    rank();
  }
  void next()
  {
    auto const parents = std::max<std::size_t>(1, size() / 4);
    population_.resize(parents);
    int failures = 0;
    for (std::size_t n = 0; population_.size() < size(); ++n) {
      auto const& mother = population_[pick(parents)].config;
      auto const& father = population_[pick(parents)].config;
      auto child = n % 2 == 0 ? mutation_of(mother) : crossover_of(mother, father);
      bool const fits = static_cast<double>(cost_(child)) <= limit_;  // which NaN does not
      if (!fits && ++failures < 1000) { continue; }
      enter(failures < 1000 ? child : mother);
    }
    rank();
  }
  [[nodiscard]] models::Evolved const& best() const { return population_.front(); }
  [[nodiscard]] std::int64_t num_scored() const noexcept { return static_cast<std::int64_t>(known_.size()); }

 private:
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(options_.population()); }
  [[nodiscard]] std::size_t pick(std::size_t count)
  {
    return static_cast<std::size_t>(random_below(state_, static_cast<int>(count)));
  }

  [[nodiscard]] models::SPVNASConfig mutation_of(models::SPVNASConfig config)
  {
    for (auto const& choice : choices_of(config, space_)) {
      if (random_unit(state_) >= options_.mutation()) { continue; }
      *choice.value = choice.first + choice.step * random_below(state_, choice.count());
    }
    settle(config);
    return config;
  }
  /// Each stage and each output from one or the other.
  [[nodiscard]] models::SPVNASConfig crossover_of(models::SPVNASConfig config,
                                                  models::SPVNASConfig const& other)
  {
    auto const take = [&](auto& to, auto const& from) {
      for (std::size_t i = 0; i < to.size(); ++i) {
        if (random_below(state_, 2) == 1) { to[i] = from[i]; }
      }
    };
    take(config.output_channels, other.output_channels);
    take(config.down, other.down);
    take(config.up, other.up);
    settle(config);
    return config;
  }

  /// Scores what is new.
  void enter(models::SPVNASConfig const& config)
  {
    auto const at =
        std::find_if(known_.begin(), known_.end(), [&](auto const& k) { return k.config == config; });
    if (at != known_.end()) {
      population_.push_back(*at);
      return;
    }
    known_.push_back({config, static_cast<double>(score_(config)), static_cast<double>(cost_(config))});
    population_.push_back(known_.back());
  }
  void rank()
  {
    auto const rank_of = [](models::Evolved const& one) {  // NaN has none, and would upset the order
      return std::isnan(one.score) ? -std::numeric_limits<double>::infinity() : one.score;
    };
    std::stable_sort(population_.begin(), population_.end(),
                     [&](auto const& a, auto const& b) { return rank_of(a) > rank_of(b); });
  }

  models::SPVNASSpace const& space_;
  Score const& score_;
  Cost const& cost_;
  double limit_;
  EvolutionOptions const& options_;
  std::uint64_t state_;
  std::vector<models::Evolved> population_;
  std::vector<models::Evolved> known_;
};

}  // namespace detail

namespace models {

/// Searches the network of the highest score whose cost is within the limit, by evolution.
///
/// @param score     called with a SPVNASConfig, once for each network: its accuracy, say, of
///                  SPVNASSupernet::select() on scans with labels. NaN, of a training that diverged, is below
///                  every number
/// @param cost      called with a SPVNASConfig: multiply-adds, parameters, milliseconds of a SPVNASLatencyTable;
///                  NaN is above the limit
/// @param progress  called with an EvolutionProgress after each generation; may be empty
/// @throws invalid_argument  options that are not positive; no network within the limit was found; what the
/// functions throw
/// Cost: `population * generations` scores at most.
/// Determinism: same seed and functions, same network.
/// Source: Real et al., AAAI 2019; the search of SPVNAS.
template <class Score, class Cost>
[[nodiscard]] Evolved evolve(SPVNASSpace const& space, Score const& score, Cost const& cost, double limit,
                             EvolutionOptions const& options = {},
                             std::function<void(EvolutionProgress const&)> const& progress = {})
{
  detail::expects(options.population() >= 1 && options.generations() >= 1, "evolve: a population of ",
                  options.population(), " over ", options.generations(), " generations; both at least 1");
  detail::Evolution<Score, Cost> evolution{space, score, cost, limit, options};
  for (int generation = 1; generation <= options.generations(); ++generation) {
    generation == 1 ? evolution.begin() : evolution.next();
    if (progress) { progress({generation, options.generations(), evolution.num_scored(), evolution.best()}); }
  }
  return evolution.best();
}

}  // namespace models
}  // namespace v0
}  // namespace tessera
