// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/tune_groups.hpp>
#include <tessera/nn/tune_options.hpp>

#include <string>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// Chooses how each convolution of `model` is computed, by timing on samples, and sets it in the layers;
/// of a traced model in its operations, so that the model it was traced from stays as it is.
///
/// Layers of one kind, channels, kernel size, stride, dilation and math on inputs of one tensor stride are a
/// group and get one choice of dataflow, sort, splits and tiles. A layer belongs to the group of its first
/// call. A choice costs its layers' time and, once for each
/// map, that of the form in which it reads the map (sorted order, split, pair list); groups whose layers read
/// the same maps share the forms, so they are chosen together: the sum
///
///     sum over groups (seconds of the layers) + sum over maps and forms in use (seconds of the form)
///
/// is least, where what is not there already counts `1 + margin` times. Means over the samples.
/// TuneOptions::gradients() then does the same for the data gradients of the layers, on gradients that are made
/// up.
///
/// Results stay, up to rounding: a choice whose output differs from the one before by more than `e *
/// max|output|` in some layer is refused, e being two steps of half or bfloat16 (2^-9, 2^-6), 2^-16 in float
/// (2^-13 with TF32), 2^-40 in double. Kernel map, downsample rule, math and compat stay as they were: the
/// layer's or the calling thread's, which its layers no longer follow then. Layers with a ConvPolicy are left
/// alone.
///
/// | name    | holds                                                                                    |
/// |---------|------------------------------------------------------------------------------------------|
/// | model   | what will run: what fuse() or trace() makes, or a ModuleBase with `Tensor` and `forward(Tensor, exec)`, in evaluation |
/// | samples | inputs like those to come, in `Space`; forward() is called once with each                |
/// | returns | the choices with their times, for io::save_tuning()                                      |
///
/// @throws invalid_argument  no samples, no convolution that is configured at run time, a model in training,
/// invalid options, and what forward() throws. The layers are then as they were.
/// @pre  Nobody else uses the model or its layers meanwhile.
/// Cost: for each sample and choice some hundred runs of each layer; one sample's activations are kept. Plans
/// made before stay as they were.
/// Stream: waits often.
/// Determinism: the choice depends on the clock, results on the choice by rounding alone.
/// Source: what is grouped and tried is TorchSparse's tune (Tang et al., TorchSparse++, MICRO 2023).
template <class Model, class Space>
Tuning tune(Model& model, std::vector<typename Model::Tensor> const& samples, TuneOptions const& options,
            Execution<Space> const& exec)
{
  detail::check_options(options);
  detail::expects(!samples.empty(), "tune: no samples");
  detail::expects(!detail::is_training(model), "tune: the module is in training; call eval()");
  auto const convs = detail::convs_of(model);
  detail::expects(!convs.empty(), "tune: the module has no convolution that is configured at run time");
  using Groups = detail::TuneGroups<Model>;
  Groups forward{convs, options};
  auto const timer = detail::make_timer(options, exec);
  auto const num_samples = static_cast<int>(samples.size());
  for (int i = 0; i < num_samples; ++i) {
    auto const& sample = samples[static_cast<std::size_t>(i)];
    forward.run(i, num_samples, detail::record_calls(model, convs, sample, exec), timer, {}, exec);
  }
  auto result = forward.choose(num_samples);
  Groups backward{convs, options};
  Tuning of_gradients;
  if (options.tunes_gradients()) {
    for (int i = 0; i < num_samples; ++i) {
      auto const calls = detail::record_calls(model, convs, samples[static_cast<std::size_t>(i)], exec);
      backward.run(i, num_samples, detail::data_gradient_calls(calls, exec), timer,
                   forward.forms_in_use(result, calls, exec), exec);
    }
    of_gradients = backward.choose(num_samples);
  }
  result.device = detail::TuneBackend<Space>::name(exec);
  result.compute_capability = detail::TuneBackend<Space>::compute_capability(exec);
  detail::ConvChanges<std::decay_t<decltype(convs)>> changes;
  for (std::size_t i = 0; i < convs.size(); ++i) {
    changes.add_choices(convs[i].layer, forward.choice_of(result, i), backward.choice_of(of_gradients, i),
                        exec);
  }
  changes.make(exec);
  result.groups.insert(result.groups.end(), of_gradients.groups.begin(), of_gradients.groups.end());
  result.seconds += of_gradients.seconds;
  result.seconds_before += of_gradients.seconds_before;
  return result;
}

/// The same with default options.
template <class Model, class Space>
Tuning tune(Model& model, std::vector<typename Model::Tensor> const& samples, Execution<Space> const& exec)
{
  return tune(model, samples, TuneOptions{}, exec);
}

/// What apply_tuning() did.
struct TuningReport {
  std::vector<std::string> applied;  ///< layers that have their choice now
  std::vector<std::string> unknown;  ///< layers of the model that the tuning says nothing of; as they were
};

/// Sets the choices of a tuning in the layers of `model`, or in the operations of a traced model. Layers are
/// found by name and have to be of the group that the tuning says, its tensor stride aside.
/// @throws invalid_argument  the tuning is of another device, scalar or version; nothing changes then
/// Cost: packing the weights of layers that get other kernels; plans made before keep theirs.
/// Stream: enqueues a kernel for each and waits for them.
/// Determinism: same tuning, same choices.
template <class Model, class Space>
TuningReport apply_tuning(Model& model, Tuning const& tuning, Execution<Space> const& exec)
{
  detail::expect_tuning_fits<typename Model::Tensor::scalar>(tuning, exec);
  TuningReport report;
  auto const convs = detail::convs_of(model);
  detail::ConvChanges<std::decay_t<decltype(convs)>> changes;
  for (auto const& conv : convs) {
    auto const find = [&](Operation operation) {
      auto group = detail::group_of(*conv.layer);
      group.operation = operation;
      return detail::find_choice(tuning, [&](auto const& tuned) {
        return tuned.group.same_layer(group) && detail::has_name(tuned.layers, conv.name);
      });
    };
    bool const found =
        changes.add_choices(conv.layer, find(Operation::forward), find(Operation::backward_data), exec);
    (found ? report.applied : report.unknown).push_back(conv.name);
  }
  changes.make(exec);
  return report;
}

/// The same by what the layers do, whatever they are called: one forward pass on `sample` shows the tensor
/// strides. So networks that share groups can share a tuning.
/// @throws invalid_argument  as above, and what forward() throws; nothing changes then
/// Cost, stream: those of forward(), and as above.
/// Determinism: same tuning and sample, same choices.
template <class Model, class Space>
TuningReport apply_tuning(Model& model, Tuning const& tuning, typename Model::Tensor const& sample,
                          Execution<Space> const& exec)
{
  detail::expect_tuning_fits<typename Model::Tensor::scalar>(tuning, exec);
  auto const convs = detail::convs_of(model);
  auto const group_of_layer =
      detail::groups_of_layers(convs, detail::record_calls(model, convs, sample, exec));
  TuningReport report;
  detail::ConvChanges<std::decay_t<decltype(convs)>> changes;
  for (std::size_t i = 0; i < convs.size(); ++i) {
    auto const find = [&](Operation operation) {
      auto group = group_of_layer[i];
      if (group) { group->operation = operation; }
      return detail::find_choice(tuning, [&](auto const& tuned) { return group && tuned.group == *group; });
    };
    bool const found =
        changes.add_choices(convs[i].layer, find(Operation::forward), find(Operation::backward_data), exec);
    (found ? report.applied : report.unknown).push_back(convs[i].name);
  }
  changes.make(exec);
  return report;
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
