// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/tuning.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What is timed.
enum class TuneStep : std::uint8_t {
  layers,     ///< all layers of the group once, on maps that have what the choice reads
  layer,      ///< the first layer on one map, which has it
  first_use,  ///< the same layer on a map that does not: what it takes longer is the map's price
};

/// One timing: of which group, with which choice, on which sample.
struct TuneTrial {
  TuneStep step = TuneStep::layers;
  LayerGroup group;
  ConvChoice choice;
  int sample = 0;
};

/// Seconds that `work()` takes. It may be called as often as is useful, but in TuneStep::first_use once only.
using TuneTimer = std::function<double(TuneTrial const& trial, std::function<void()> const& work)>;

/// How far tune() has come: group number `group` of `num_groups` was timed on sample `sample` of
/// `num_samples`.
struct TuneProgress {
  int sample = 0;
  int num_samples = 0;
  int group = 0;
  int num_groups = 0;
  LayerGroup key;
  int num_layers = 0;
  ConvChoice fastest;         ///< on this sample and by itself; what is chosen depends on all of them
  double seconds = 0;         ///< the group's layers with it
  double seconds_before = 0;  ///< and as they were
};

/// One line a group on stderr.
inline void print_progress(TuneProgress const& p)
{
  std::fprintf(stderr, "tune: sample %d/%d, group %d/%d: %s, layers %d: %s %.1f us, was %.1f us\n",
               p.sample + 1, p.num_samples, p.group + 1, p.num_groups, detail::text_of(p.key).c_str(),
               p.num_layers, detail::text_of(p.fastest).c_str(), p.seconds * 1e6, p.seconds_before * 1e6);
}

}  // namespace nn

/// Options of tune(): `TuneOptions().splits({1, 2}).quiet()`.
struct TuneOptions {
  /// Only what a Plan can capture, timed as in a Plan: the time of the kernels without that of their launch.
  /// Without it the dataflows on pair lists, which wait for the host once per map, take part, and times are
  /// those of an eager call. Default true.
  TuneOptions& for_plan(bool value = true) { return for_plan_ = value, *this; }
  [[nodiscard]] bool is_for_plan() const noexcept { return for_plan_; }
  /// Whether data gradients get choices of their own, which training then takes: groups of
  /// Operation::backward_data. Forms of maps that the forward pass has chosen cost them nothing. (A weight
  /// gradient has one kernel, so there is nothing to choose.) Default false.
  TuneOptions& gradients(bool value = true) { return gradients_ = value, *this; }
  [[nodiscard]] bool tunes_gradients() const noexcept { return gradients_; }
  /// Numbers of splits to try, each sorted and unsorted, by the automatic kernel.
  TuneOptions& splits(std::vector<int> value) { return splits_ = std::move(value), *this; }
  [[nodiscard]] std::vector<int> const& splits() const noexcept { return splits_; }
  /// Kernels to try: `automatic` in every number of splits, others in one, sorted and unsorted, where they
  /// come to something else. Default all; the host has `automatic` alone.
  TuneOptions& kernels(std::vector<GemmKernel> value) { return kernels_ = std::move(value), *this; }
  [[nodiscard]] std::vector<GemmKernel> const& kernels() const noexcept { return kernels_; }
  /// What another choice must be faster by, as a fraction, to replace what was there.
  TuneOptions& margin(double value) { return margin_ = value, *this; }
  [[nodiscard]] double margin() const noexcept { return margin_; }
  /// Timings of which the median counts.
  TuneOptions& repetitions(int value) { return repetitions_ = value, *this; }
  [[nodiscard]] int repetitions() const noexcept { return repetitions_; }
  /// Called after each group; by default print_progress().
  TuneOptions& progress(std::function<void(nn::TuneProgress const&)> value)
  {
    return progress_ = std::move(value), *this;
  }
  /// No progress.
  TuneOptions& quiet() { return progress_ = nullptr, *this; }
  [[nodiscard]] std::function<void(nn::TuneProgress const&)> const& progress() const noexcept
  {
    return progress_;
  }
  /// What measures; by default CUDA events on the device and the steady clock on the host.
  TuneOptions& timer(nn::TuneTimer value) { return timer_ = std::move(value), *this; }
  [[nodiscard]] nn::TuneTimer const& timer() const noexcept { return timer_; }

 private:
  bool for_plan_ = true;
  bool gradients_ = false;
  std::vector<int> splits_{1, 2, 3, 4};
  std::vector<GemmKernel> kernels_{GemmKernel::automatic, GemmKernel::block, GemmKernel::warp,
                                   GemmKernel::warpgroup, GemmKernel::warpgroup_pair};
  double margin_ = 0.02;  // two runs of one kernel differ by about so much
  int repetitions_ = 7;
  std::function<void(nn::TuneProgress const&)> progress_ = nn::print_progress;
  nn::TuneTimer timer_;
};

namespace detail {

/// Throws unless the options are valid.
inline void check_options(TuneOptions const& options)
{
  auto const& splits = options.splits();
  expects(!splits.empty() && splits.size() <= 6, "tune: ", splits.size(),
          " numbers of splits to try; there may be 1 to 6");
  for (int const number : splits) {
    expects(number >= 1 && number <= 1024, "tune: ", number, " splits; 1 to 1024 may be tried");
  }
  expects(!options.kernels().empty(), "tune: no kernels to try; GemmKernel::automatic at least");
  expects(options.margin() >= 0 && options.margin() <= 1, "tune: a margin of ", options.margin(),
          "; it is a fraction from 0 to 1");
  expects(options.repetitions() >= 1, "tune: ", options.repetitions(), " repetitions; at least 1");
}

/// What `choice` comes to for a kernel of `volume` offsets: there is nothing to sort by for one, and splits
/// without offsets are none.
[[nodiscard]] inline nn::ConvChoice effective_choice(nn::ConvChoice const& choice, int volume)
{
  if (choice.dataflow != Dataflow::implicit_gemm) { return choice; }
  auto const length = ceil_div(volume, choice.splits);
  return {choice.dataflow, choice.sort && volume > 1, ceil_div(volume, length), choice.kernel};
}

/// The choices to try for a kernel of `volume` offsets: the one there is first, and none that comes to the
/// same as another.
/// @param plans  the KernelPlans of a choice
template <class Plans>
[[nodiscard]] std::vector<nn::ConvChoice> choices_to_try(TuneOptions const& options,
                                                         nn::ConvChoice const& before, int volume,
                                                         Plans const& plans)
{
  std::vector<nn::ConvChoice> result{before};
  auto const same = [&](nn::ConvChoice a, nn::ConvChoice b) {
    if (a.fits_plan() && b.fits_plan() && !(plans(a) == plans(b))) { return false; }
    a.kernel = b.kernel = GemmKernel::automatic;
    return effective_choice(a, volume) == effective_choice(b, volume);
  };
  auto const add = [&](nn::ConvChoice const& choice) {
    bool const is_new =
        std::none_of(result.begin(), result.end(), [&](auto const& other) { return same(other, choice); });
    if (is_new) { result.push_back(choice); }
  };
  for (auto asked : options.kernels()) {
    // A space that has no choice calls it so, whatever it was asked for.
    auto const kernel = plans({Dataflow::implicit_gemm, true, 1, asked}).front().kernel;
    bool const automatic = asked == GemmKernel::automatic || kernel == GemmKernel::automatic ||
                           kernel == GemmKernel::specialized;
    if (automatic) { asked = GemmKernel::automatic; }
    for (int const splits : automatic ? options.splits() : std::vector<int>{1}) {
      add({Dataflow::implicit_gemm, true, splits, asked});
      add({Dataflow::implicit_gemm, false, splits, asked});
    }
  }
  if (!options.is_for_plan()) {
    add({Dataflow::fetch_on_demand, true, 1});
    add({Dataflow::gather_scatter, true, 1});
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
