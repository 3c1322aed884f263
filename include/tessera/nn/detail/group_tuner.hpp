// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/choose_costs.hpp>
#include <tessera/nn/detail/conv_calls.hpp>
#include <tessera/nn/detail/output_difference.hpp>
#include <tessera/nn/detail/tune_backend.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The form of a map of `volume` offsets that a choice reads; choices that read one form give one name.
/// @param tile_rows  of the KernelPlan
[[nodiscard]] inline std::string form_of(nn::ConvChoice const& choice, int volume, int tile_rows)
{
  if (!choice.fits_plan()) { return "pairs"; }
  if (tile_rows == 0) { return "none"; }
  auto const effective = effective_choice(choice, volume);
  return concat("sort ", effective.sort, ", splits ", effective.splits, ", rows ", tile_rows);
}

/// A map like `map` of which nothing is derived yet.
/// Stream: enqueues copies.
template <class Space>
[[nodiscard]] std::unique_ptr<KernelMap<Space>> fresh_copy(KernelMap<Space> const& map,
                                                           Execution<Space> const& exec)
{
  KernelMapParts<Space> parts;
  parts.offset_order = map.parts().offset_order;
  auto const& keys = map.parts().mask_keys;
  if (!keys.empty()) { parts.mask_keys = copy(keys.data(), keys.size(), exec); }
  return std::make_unique<KernelMap<Space>>(copy(map.out_in(exec), map.num_out() * map.volume(), exec),
                                            map.num_in(), map.num_out(), map.volume(), map.centre(),
                                            std::move(parts));
}

/// What is known of one group so far.
struct GroupState {
  nn::TunedGroup result;
  int volume = 1;
  std::vector<nn::ConvChoice> choices;  // the one there was first; the others once a call has outputs
  std::vector<std::string> forms;       // of maps that each reads
  std::vector<double> seconds;          // of each, summed over the samples; `barred` once refused
  bool is_listed = false;               // whether all choices are there
  std::size_t family = 0;               // groups with maps in common have one number
};

/// Seconds that the forms of maps cost, summed over the samples, by the group that was timed first and the
/// form.
using FormCosts = std::map<std::pair<std::size_t, std::string>, double>;

/// The plans of the calls that have outputs, with a choice that is an implicit GEMM.
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::vector<KernelPlan> plans_of(std::vector<ConvCall<Dim, Scalar, Space> const*> const& calls,
                                               nn::ConvChoice const& choice, Execution<Space> const& exec)
{
  std::vector<KernelPlan> result;
  for (auto const* const call : calls) {
    if (call->empty()) { continue; }
    auto arguments = call->arguments;
    arguments.kernel = choice.kernel;
    result.push_back(ConvolutionBackend<Space>::plan(arguments, summary_of(*call->map), choice.splits, exec));
  }
  return result;
}

/// Times the choices of the groups on the calls of one sample.
template <int Dim, class Scalar, class Space>
class GroupTuner {
 public:
  using Call = ConvCall<Dim, Scalar, Space>;
  using Map = KernelMap<Space>;

  /// Maps with forms that they have whatever is chosen.
  using Forms = std::set<std::pair<Map const*, std::string>>;

  GroupTuner(nn::TuneTimer const& timer, int repetitions, int sample, Forms there,
             Execution<Space> const& exec)
      : timer_{timer}, repetitions_{repetitions}, sample_{sample}, exec_{exec}, timed_{std::move(there)}
  {}

  /// Adds the times of `group`, number `number`, on `calls`, to it and to `forms`; calls without outputs do
  /// nothing. The choice there is timed first and last and has the shorter time, so that a device that speeds
  /// up meanwhile does not speak against it.
  void run(GroupState& group, std::size_t number, std::vector<Call const*> const& calls, FormCosts& forms)
  {
    std::vector<Matrix<Scalar, Space>> reference;
    std::int64_t most = 0;
    for (auto const* const call : calls) { most = std::max(most, call->num_outputs()); }
    if (most == 0) { return; }
    output_ = Buffer<Scalar, Space>{most, exec_};
    trial_.group = group.result.group;
    trial_.sample = sample_;
    double first = 0;
    for (std::size_t i = 0; i < group.choices.size(); ++i) {
      if (group.seconds[i] == barred) { continue; }
      begin_trial(group, i);
      auto const refuse = [&](std::string reason) {
        group.seconds[i] = barred;
        group.result.refused.push_back({group.choices[i], std::move(reason)});
      };
      try {
        pack(calls);
        copy_maps(calls);
        auto const fault = i == 0 ? keep_outputs(calls, reference) : compare_outputs(calls, reference);
        if (!fault.empty()) {
          refuse(fault);
          continue;
        }
        auto const seconds = time(calls);
        if (i == 0) { first = seconds; }
        group.seconds[i] += i == 0 ? 0 : seconds;
        time_forms(calls, number, forms);
      } catch (std::bad_alloc const&) {
        if (i == 0) { throw; }
        refuse("there is not enough memory");
      } catch (cuda_error const& error) {
        constexpr int memory_allocation = 2;  // cudaErrorMemoryAllocation
        if (i == 0 || error.status() != memory_allocation) { throw; }
        refuse("there is not enough memory");
      }
    }
    begin_trial(group, 0);
    pack(calls);
    copy_maps(calls);
    for (auto const* const call : calls) { convolve(*call); }
    group.seconds[0] += std::min(first, time(calls));
  }

 private:
  void begin_trial(GroupState const& group, std::size_t number)
  {
    trial_.choice = group.choices[number];
    form_ = group.forms[number];
  }

  /// The weights as the layers pack them once they have the choice. Those of gradients are packed at each call.
  void pack(std::vector<Call const*> const& calls)
  {
    weights_.clear();
    if (!trial_.choice.fits_plan()) { return; }  // these read none
    for (auto const* const call : calls) {
      if (call->arguments.operation != Operation::forward) { continue; }
      if (effective_choice(trial_.choice, call->map->volume()).splits > 1) { continue; }
      auto const* const weight = call->arguments.weight;
      if (weights_.count(weight) != 0) { continue; }
      auto arguments = call->arguments;
      arguments.kernel = trial_.choice.kernel;
      auto const plan = ConvolutionBackend<Space>::plan(arguments, {0, call->map->volume()}, 1, exec_);
      weights_[weight] = pack_weight(plan, weight_of(arguments, call->map->volume()), exec_);
    }
  }

  /// Maps of our own: what the choices derive must neither be there before nor stay with the sample.
  void copy_maps(std::vector<Call const*> const& calls)
  {
    maps_.clear();
    for (auto const* const call : calls) {
      auto& map = maps_[call->map.get()];
      if (!map && !call->empty()) { map = fresh_copy(*call->map, exec_); }
    }
  }

  void convolve(Call const& call, Map& map, Scalar* output)
  {
    auto arguments = call.arguments;
    arguments.output = output;
    auto const weight = weights_.find(arguments.weight);
    if (weight != weights_.end()) { arguments.packed = weight->second.view(); }
    run_dataflow(trial_.choice.in({}), arguments, map, exec_);
  }
  void convolve(Call const& call)
  {
    if (!call.empty()) { convolve(call, *maps_.at(call.map.get()), output_.data()); }
  }

  [[nodiscard]] std::string keep_outputs(std::vector<Call const*> const& calls,
                                         std::vector<Matrix<Scalar, Space>>& reference)
  {
    for (auto const* const call : calls) {
      reference.emplace_back(call->map->num_out(), call->arguments.out_channels, exec_);
      if (!call->empty()) { convolve(*call, *maps_.at(call->map.get()), reference.back().data()); }
    }
    return {};
  }

  /// What is wrong with the outputs; nothing where only rounding tells them apart.
  [[nodiscard]] std::string compare_outputs(std::vector<Call const*> const& calls,
                                            std::vector<Matrix<Scalar, Space>> const& reference)
  {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (calls[i]->empty()) { continue; }
      convolve(*calls[i]);
      auto const found =
          measure_difference(reference[i].data(), output_.data(), calls[i]->num_outputs(), exec_);
      auto const bound = rounding_between<Scalar>(calls[i]->arguments.math) * found.largest;
      if (found.most > bound) {
        return concat("differs by ", found.most, " from outputs of up to ", found.largest,
                      "; rounding explains ", bound);
      }
    }
    return {};
  }

  [[nodiscard]] double time(std::vector<Call const*> const& calls)
  {
    trial_.step = nn::TuneStep::layers;
    return timer_(trial_, [&] {
      for (auto const* const call : calls) { convolve(*call); }
    });
  }

  /// What the choice's form of each map costs, once per map and form: a layer's first use less a later one.
  void time_forms(std::vector<Call const*> const& calls, std::size_t number, FormCosts& forms)
  {
    for (auto const* const call : calls) {
      if (call->empty() || !timed_.insert({call->map.get(), form_}).second) { continue; }
      trial_.step = nn::TuneStep::layer;
      auto const later = timer_(trial_, [&] { convolve(*call); });
      trial_.step = nn::TuneStep::first_use;
      std::vector<double> first;
      for (int i = 0; i < repetitions_; ++i) {
        auto const map = fresh_copy(*call->map, exec_);
        first.push_back(timer_(trial_, [&] { convolve(*call, *map, output_.data()); }));
      }
      forms[{number, form_}] += std::max(0.0, median_of(std::move(first)) - later);
    }
  }

  nn::TuneTimer const& timer_;
  int repetitions_;
  int sample_;
  Execution<Space> const& exec_;
  nn::TuneTrial trial_;
  std::string form_;
  Buffer<Scalar, Space> output_;
  std::map<Map const*, std::unique_ptr<Map>> maps_;
  std::map<Scalar const*, PackedWeight<Scalar, Space>> weights_;  // by the unpacked weight
  Forms timed_;  // a map lives as long as the calls, so as this
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
