// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/group_tuner.hpp>
#include <tessera/nn/detail/traced_convs.hpp>
#include <tessera/ops/detail/convolution_gradients.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The group of each layer by its first call; none for layers without calls.
template <class Convs, class Calls>
[[nodiscard]] std::vector<std::optional<nn::LayerGroup>> groups_of_layers(Convs const& convs,
                                                                          Calls const& calls)
{
  std::vector<std::optional<nn::LayerGroup>> result(convs.size());
  for (auto const& call : calls) {
    auto& group = result[call.layer];
    if (group) { continue; }
    group = group_of(*convs[call.layer].layer);
    group->tensor_stride = to_vector(call.x.tensor_stride());
    group->operation = call.arguments.operation;
  }
  return result;
}

/// The groups of a model's convolutions, their times, and the choice among them.
template <class Model>
class TuneGroups {
 public:
  using Tensor = typename Model::Tensor;
  using Scalar = typename Tensor::scalar;
  using Space = typename Tensor::space;
  using Convs = decltype(convs_of(std::declval<Model&>()));
  using Calls = std::vector<ConvCall<Tensor::dim, Scalar, Space>>;
  using Forms = typename GroupTuner<Tensor::dim, Scalar, Space>::Forms;

  TuneGroups(Convs const& convs, TuneOptions const& options)
      : convs_{convs}, options_{options}, group_of_layer_(convs.size(), none)
  {}

  /// Adds the times of one sample.
  /// @param there  forms that maps have whatever is chosen
  void run(int sample, int num_samples, Calls const& calls, nn::TuneTimer const& timer, Forms there,
           Execution<Space> const& exec)
  {
    auto const keys = groups_of_layers(convs_, calls);
    for (auto const& call : calls) {  // in the order of calls, so that names are
      if (group_of_layer_[call.layer] == none) { add_layer(call, *keys[call.layer]); }
    }
    std::vector<std::vector<typename Calls::value_type const*>> calls_of(groups_.size());
    for (auto const& call : calls) { calls_of[group_of_layer_[call.layer]].push_back(&call); }
    join_families(calls);
    GroupTuner<Tensor::dim, Scalar, Space> tuner{timer, options_.repetitions(), sample, std::move(there),
                                                 exec};
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      list_choices(groups_[g], calls_of[g], exec);
      auto const before = groups_[g].seconds;
      tuner.run(groups_[g], g, calls_of[g], forms_);
      if (options_.progress()) { options_.progress()(progress(sample, num_samples, g, before)); }
    }
  }

  /// The least sum for each family of groups, and what it is.
  [[nodiscard]] nn::Tuning choose(int num_samples)
  {
    nn::Tuning result;
    result.version = library_version();
    result.scalar = name_of(ScalarTraits<Scalar>::dtype);
    for (auto& group : groups_) { allow_for_plan(group); }
    for (std::size_t family = 0; family < groups_.size(); ++family) {
      choose_family(family, num_samples, result);
    }
    for (auto& group : groups_) { result.groups.push_back(group.result); }
    for (std::size_t i = 0; i < convs_.size(); ++i) {
      if (group_of_layer_[i] == none) { result.not_run.push_back(convs_[i].name); }
    }
    return result;
  }

  /// The choice for layer number `i`, or null.
  [[nodiscard]] nn::ConvChoice const* choice_of(nn::Tuning const& tuning, std::size_t i) const
  {
    return group_of_layer_[i] == none ? nullptr : &tuning.groups[group_of_layer_[i]].choice;
  }
  /// The forms that the chosen layers read of the maps of `calls`.
  [[nodiscard]] Forms forms_in_use(nn::Tuning const& tuning, Calls const& calls,
                                   Execution<Space> const& exec) const
  {
    Forms result;
    for (auto const& call : calls) {
      auto const* const choice = choice_of(tuning, call.layer);
      if (choice == nullptr || call.empty()) { continue; }
      std::vector<typename Calls::value_type const*> const one{&call};
      int const tile_rows = choice->fits_plan() ? plans_of(one, *choice, exec).front().tile_rows : 0;
      result.emplace(call.map.get(), form_of(*choice, call.map->volume(), tile_rows));
    }
    return result;
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};

  void add_layer(typename Calls::value_type const& call, nn::LayerGroup const& key)
  {
    auto const& conv = convs_[call.layer];
    std::size_t g = 0;
    while (g < groups_.size() && groups_[g].result.group != key) { ++g; }
    if (g == groups_.size()) {
      auto& group = groups_.emplace_back();
      group.result.group = key;
      bool const is_forward = key.operation == Operation::forward;
      auto const config = conv.layer->config();
      group.result.before = nn::ConvChoice::of(is_forward ? config : backward_config(config));
      group.volume = call.map->volume();
      group.choices = {group.result.before};
      group.forms = {"none"};
      group.seconds = {0.0};
      group.family = g;
    }
    groups_[g].result.layers.push_back(conv.name);
    group_of_layer_[call.layer] = g;
  }

  /// A group whose calls had no outputs has one choice; it gets another if a plan cannot capture that.
  void allow_for_plan(GroupState& group) const
  {
    if (group.is_listed || !options_.is_for_plan() || group.result.before.fits_plan()) { return; }
    group.choices.push_back({});
    group.forms.push_back("none");
    group.seconds.push_back(0.0);
  }

  /// The group's choices, once it has calls that show what they come to.
  void list_choices(GroupState& group, std::vector<typename Calls::value_type const*> const& calls,
                    Execution<Space> const& exec) const
  {
    bool const shows = std::any_of(calls.begin(), calls.end(), [](auto* call) { return !call->empty(); });
    if (group.is_listed || !shows) { return; }
    auto const how = [&](nn::ConvChoice const& choice) { return plans_of(calls, choice, exec); };
    group.is_listed = true;
    group.choices = choices_to_try(options_, group.result.before, group.volume, how);
    group.seconds.assign(group.choices.size(), 0.0);
    group.forms.clear();
    for (auto const& choice : group.choices) {
      int const tile_rows = choice.fits_plan() ? how(choice).front().tile_rows : 0;
      group.forms.push_back(form_of(choice, group.volume, tile_rows));
    }
  }

  /// Groups that read one map become one family, which is called by its first group.
  void join_families(Calls const& calls)
  {
    std::map<void const*, std::size_t> first_on;
    for (auto const& call : calls) {
      auto const own = groups_[group_of_layer_[call.layer]].family;
      auto const other =
          groups_[first_on.emplace(call.map.get(), group_of_layer_[call.layer]).first->second].family;
      for (auto& group : groups_) {
        if (group.family == own || group.family == other) { group.family = std::min(own, other); }
      }
    }
  }

  [[nodiscard]] nn::TuneProgress progress(int sample, int num_samples, std::size_t g,
                                          std::vector<double> const& before) const
  {
    auto const& group = groups_[g];
    nn::TuneProgress result{sample,
                            num_samples,
                            static_cast<int>(g),
                            static_cast<int>(groups_.size()),
                            group.result.group,
                            static_cast<int>(group.result.layers.size()),
                            group.choices[0]};
    result.seconds_before = result.seconds = group.seconds[0] - before[0];
    for (std::size_t i = 1; i < group.choices.size(); ++i) {
      auto const seconds = group.seconds[i] - before[i];
      if (group.seconds[i] == barred || !(seconds < result.seconds)) { continue; }
      result.seconds = seconds;
      result.fastest = group.choices[i];
    }
    return result;
  }

  void choose_family(std::size_t family, int num_samples, nn::Tuning& result)
  {
    std::vector<GroupState*> members;
    std::map<std::string, std::size_t> number_of;  // of a form
    std::vector<double> form_seconds;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].family != family) { continue; }
      members.push_back(&groups_[g]);
      for (auto const& form : groups_[g].forms) {
        bool const is_new = number_of.emplace(form, form_seconds.size()).second;
        if (is_new) { form_seconds.push_back(0.0); }
      }
    }
    for (auto const& [timed, seconds] : forms_) {
      auto const& [group, form] = timed;
      if (groups_[group].family == family) { form_seconds[number_of.at(form)] += seconds / num_samples; }
    }
    std::vector<ChoiceCosts> costs;
    for (auto* const group : members) {
      auto& of_group = costs.emplace_back();
      for (std::size_t i = 0; i < group->choices.size(); ++i) {
        bool const allowed = !options_.is_for_plan() || group->choices[i].fits_plan();
        of_group.seconds.push_back(allowed ? group->seconds[i] / num_samples : barred);
        of_group.form.push_back(number_of.at(group->forms[i]));
      }
    }
    auto const chosen = ChooseCosts{costs, form_seconds, options_.margin()}.choose();
    std::vector<bool> used(form_seconds.size(), false);
    std::vector<bool> used_before(form_seconds.size(), false);
    for (std::size_t m = 0; m < members.size(); ++m) {
      auto& found = members[m]->result;
      auto const form = costs[m].form[chosen[m]];
      auto const form_before = costs[m].form[0];
      found.choice = members[m]->choices[chosen[m]];
      found.seconds = members[m]->seconds[chosen[m]] / num_samples;
      found.seconds_before = members[m]->seconds[0] / num_samples;
      found.map_seconds = form_seconds[form];
      found.map_seconds_before = form_seconds[form_before];
      result.seconds += found.seconds + (used[form] ? 0 : form_seconds[form]);
      result.seconds_before +=
          found.seconds_before + (used_before[form_before] ? 0 : form_seconds[form_before]);
      used[form] = true;
      used_before[form_before] = true;
    }
  }

  Convs const& convs_;
  TuneOptions const& options_;
  std::vector<std::size_t> group_of_layer_;
  std::vector<GroupState> groups_;  // in order of the first call
  FormCosts forms_;
};

/// Throws unless a tuning was made for this device, scalar and version.
template <class Scalar, class Space>
void expect_tuning_fits(nn::Tuning const& tuning, Execution<Space> const& exec)
{
  auto const device = TuneBackend<Space>::name(exec);
  auto const capability = TuneBackend<Space>::compute_capability(exec);
  expects(tuning.device == device && tuning.compute_capability == capability, "apply_tuning: tuned for \"",
          tuning.device, "\" of compute capability ", tuning.compute_capability, " but this is \"", device,
          "\" of ", capability);
  auto const* const scalar = name_of(ScalarTraits<Scalar>::dtype);
  expects(tuning.scalar == scalar, "apply_tuning: tuned in ", tuning.scalar, " but the model is in ", scalar);
  expects(tuning.version == library_version(), "apply_tuning: tuned with version ", tuning.version,
          " but this is ", library_version());
}

/// The first group for which `fits(group)`, or null.
template <class Fits>
[[nodiscard]] nn::TunedGroup const* find_group(nn::Tuning const& tuning, Fits const& fits)
{
  auto const found = std::find_if(tuning.groups.begin(), tuning.groups.end(), fits);
  return found == tuning.groups.end() ? nullptr : &*found;
}

/// The choice of the first group for which `fits(group)`, or null.
template <class Fits>
[[nodiscard]] nn::ConvChoice const* find_choice(nn::Tuning const& tuning, Fits const& fits)
{
  auto const* const found = find_group(tuning, fits);
  return found != nullptr ? &found->choice : nullptr;
}

[[nodiscard]] inline bool has_name(std::vector<std::string> const& names, std::string const& name)
{
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
