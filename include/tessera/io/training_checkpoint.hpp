// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/layout_text.hpp>
#include <tessera/io/detail/training_tensors.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/train/moving_average.hpp>
#include <tessera/train/optimizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// What a training consists of, by reference, and numbers of the program's own: an epoch, a seed, a place in
/// the data.
template <class Rule, class Scalar, class Space>
struct TrainingState {
  using Optimizer = train::Optimizer<Rule, Scalar, Space>;
  using Average = train::MovingAverage<Scalar, Space>;

  /// @param trained    the network of the optimizer's arena
  /// @param averaging  of that arena; null: there is none
  TrainingState(nn::ModuleBase& trained, Optimizer& stepping, Average* averaging = nullptr)
      : network{trained}, optimizer{stepping}, average{averaging}
  {}

  nn::ModuleBase& network;
  Optimizer& optimizer;
  Average* average;
  std::map<std::string, std::int64_t> numbers;
};

/// Writes a training to the safetensors file `path`, so that resume_training() goes on from there with the
/// same bits as if nothing had come between: parameters, masters, running statistics, what the optimizer
/// keeps, step, learning rate schedule, loss scale, averages, states of random numbers, and the numbers.
///
/// The file takes its name when it is complete and on the disk: whoever is killed while writing has the file
/// before. Between steps only, since gradients are not kept. The parameters are there as `model.<name>`, so
/// that `load(net, path, Tessera{}, exec, LoadOptions{}.prefix("model."))` reads the file as well.
/// @throws invalid_argument  the file cannot be written
/// Cost: a copy of all of it on the host.
/// Stream: waits for the work enqueued on `exec`.
/// Determinism: same training, same bytes.
template <class Rule, class Scalar, class Space>
void save_training(std::string const& path, TrainingState<Rule, Scalar, Space> const& training,
                   Execution<Space> const& exec)
{
  auto& arena = training.optimizer.arena();
  arena.follow_parameters(exec);
  detail::TensorList tensors;
  for (auto const& parameter : training.network.parameters()) {
    auto const place = detail::placement(parameter, &Tessera::place);
    tensors.add_bytes("model." + parameter.name, parameter.dtype, place.shape,
                      detail::bytes_of(parameter, place, exec));
  }
  auto const add_slices = [&](std::string const& kind, auto const& values, auto const& is_there) {
    for (auto const& segment : arena.segments()) {
      if (!is_there(segment)) { continue; }
      auto const first = values.begin() + segment.offset;
      tensors.add(kind + segment.name(), segment.parameter.shape, std::vector(first, first + segment.size()));
    }
  };
  if constexpr (train::ParameterArena<Scalar, Space>::has_masters) {
    add_slices("master.", download(arena.masters(), arena.size(), exec),
               [](auto const& segment) { return segment.parameter.dtype == ScalarTraits<Scalar>::dtype; });
  }
  auto const is_trainable = [](auto const& segment) { return segment.is_trainable(); };
  auto const& rule = training.optimizer.rule();
  for (int i = 0; i < rule.num_states(); ++i) {
    add_slices(detail::concat("optimizer.", rule.state_name(i), "."),
               download(training.optimizer.kept(i), exec), is_trainable);
  }
  if (training.average != nullptr) {
    add_slices("average.", download(training.average->values(), exec), [](auto const&) { return true; });
  }
  auto const steps = download(training.optimizer.segment_steps(), exec);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    tensors.add("optimizer.steps." + arena.segments()[i].name(), {}, std::vector{steps[i]});
  }
  tensors.add_state(training.optimizer.state(exec));
  tensors.add("state.scales_loss", {},
              std::vector{std::int64_t{training.optimizer.options().scales_loss() ? 1 : 0}});
  tensors.add_numbers("schedule", training.optimizer.schedule().numbers());
  tensors.add_numbers("rule", rule.numbers());
  for (auto const& [name, state] : training.network.random_states()) {
    tensors.add("random." + name, {}, std::vector{static_cast<std::int64_t>(*state)});
  }
  for (auto const& [name, number] : training.numbers) {
    tensors.add("number." + name, {}, std::vector{number});
  }
  write_safetensors(path, tensors.named(),
                    {{detail::layout_key, std::string{detail::layout_text<Tessera>()}},
                     {detail::training_key, rule.name()}});
}

/// Goes on with the training that save_training() wrote: everything is as it was then. The schedule and the
/// numbers of the rule are those of the file; set_schedule() and set_rule() change them afterwards. What the
/// program decides stays: parameter groups, clipping, the numbers of the loss scaler.
///
/// Everything is checked first: when this throws, nothing has changed.
/// @param training  of the same network, rule and scalar; its numbers become those of the file
/// @throws invalid_argument  the file cannot be read, is damaged or no checkpoint of a training; it is of
///                           another network or rule; an average is asked for that it does not have
/// Cost: one pass over the file.
/// Stream: waits for copies, as long as they read the file.
/// Determinism: same file, same bits.
template <class Rule, class Scalar, class Space>
void resume_training(std::string const& path, TrainingState<Rule, Scalar, Space>& training,
                     Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  auto& optimizer = training.optimizer;
  auto& arena = optimizer.arena();
  Safetensors const file{path};
  detail::TrainingReader const reader{file, optimizer.rule().name()};
  auto const rule = Rule::from(reader.template numbers<typename Rule::Numbers>("rule"));
  auto const schedule = train::Schedule::from(reader.template numbers<train::Schedule::Numbers>("schedule"));
  auto state = reader.state();
  auto const& options = optimizer.options();
  if (!options.scales_loss() || reader.number("state.scales_loss") == 0) {
    state.loss_scale = options.scales_loss() ? options.loss_scaler().initial() : 1;
    state.good_steps = 0;
  }
  detail::expects(rule.num_states() == optimizer.rule().num_states(), "resume_training: ", path,
                  " is of a rule that keeps ", rule.num_states(), " numbers of a parameter, not ",
                  optimizer.rule().num_states());
  auto const gather = [&](std::string const& kind, std::int64_t size, auto const& is_there) {
    std::vector<Sum> result(static_cast<std::size_t>(size), Sum{0});
    for (auto const& segment : arena.segments()) {
      if (!is_there(segment)) { continue; }
      auto const values = reader.template values<Sum>(kind + segment.name(), segment.parameter.shape);
      std::copy(values.begin(), values.end(), result.begin() + segment.offset);
    }
    return result;
  };
  auto const is_trainable = [](auto const& segment) { return segment.is_trainable(); };
  auto const is_narrow = [](auto const& segment) {
    return !std::is_same_v<Scalar, Sum> && segment.parameter.dtype == ScalarTraits<Scalar>::dtype;
  };
  auto const masters = gather("master.", arena.size(), is_narrow);
  std::vector<std::vector<Sum>> kept;
  for (int i = 0; i < rule.num_states(); ++i) {
    kept.push_back(
        gather(detail::concat("optimizer.", rule.state_name(i), "."), arena.gradient_size(), is_trainable));
  }
  std::vector<Sum> averages;
  if (training.average != nullptr) {
    averages = gather("average.", arena.size(), [](auto const&) { return true; });
  }
  std::vector<std::int64_t> steps;
  for (auto const& segment : arena.segments()) {
    if (segment.is_trainable()) { steps.push_back(reader.number("optimizer.steps." + segment.name())); }
  }
  auto const random_states = training.network.random_states();
  std::vector<std::int64_t> random;
  for (auto const& [name, own] : random_states) { random.push_back(reader.number("random." + name)); }
  auto numbers = reader.all_numbers("number.");

  // From here on nothing of the file is refused but by load(), which changes nothing then.
  load(training.network, file, Tessera{}, exec, LoadOptions{}.prefix("model.").strict());
  auto const upload_to = [&](auto* to, auto const& values) {
    detail::Transfer<Space>::from_host(to, values.data(), values.size() * sizeof(values[0]), exec);
  };
  for (auto const& segment : arena.segments()) {
    if (!is_narrow(segment)) { continue; }
    auto const first = masters.begin() + segment.offset;
    upload_to(arena.masters() + segment.offset, std::vector<Sum>(first, first + segment.size()));
  }
  arena.mark_written();
  for (std::size_t i = 0; i < kept.size(); ++i) {
    upload_to(optimizer.kept(static_cast<int>(i)).data(), kept[i]);
  }
  if (training.average != nullptr) { upload_to(training.average->values().data(), averages); }
  upload_to(optimizer.segment_steps().data(), steps);
  optimizer.set_rule(rule);
  optimizer.set_schedule(schedule);
  optimizer.set_state(state, exec);
  for (std::size_t i = 0; i < random.size(); ++i) {
    *random_states[i].second = static_cast<std::uint64_t>(random[i]);
  }
  training.numbers = std::move(numbers);
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
