// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// A training from beginning to end, on either space and any number of ranks.

#include "../support/picture_file.hpp"
#include "../support/progress.hpp"
#include "curve.hpp"
#include "evaluate.hpp"
#include "export.hpp"
#include "history.hpp"
#include "task.hpp"
#include "trainer.hpp"
#include "validation.hpp"

#include <tessera/nn/costs.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

namespace train_segmentation {

/// Where results go; only rank 0 writes.
struct OutputNames {
  explicit OutputNames(Options const& options)
  {
    auto const folder = options.output.empty() ? std::string{"."} : options.output;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (!std::filesystem::is_directory(folder, error)) {
      throw program::Failure{"--output: there is no folder " + folder + ", and none can be made"};
    }
    program::expect_folder_of(options.export_file, "--export");
    auto const in_folder = [&](char const* name) { return (std::filesystem::path{folder} / name).string(); };
    checkpoint = in_folder("checkpoint.safetensors");
    history = in_folder("history.csv");
    curve = in_folder("curve") + program::picture_extension();
    network = options.export_file.empty() ? in_folder("network.safetensors") : options.export_file;
  }

  std::string checkpoint;
  std::string history;
  std::string curve;
  std::string network;
};

/// The command line that goes on, with quotes where a shell needs them.
[[nodiscard]] inline std::string resuming_command(Options const& options)
{
  std::string command = "train_segmentation";
  auto const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  for (auto const& argument : options.arguments) {
    if (argument == "--resume" || argument == "--restart") { continue; }
    bool const quoted = argument.empty() || argument.find_first_not_of(plain) != std::string::npos;
    command += quoted ? " '" + argument + "'" : " " + argument;
  }
  return command + " --resume";
}

/// `75 s` or `2 h 05 min`
[[nodiscard]] inline std::string duration_text(double seconds)
{
  char text[48];
  auto const whole = static_cast<long long>(seconds);
  if (whole < 120) {
    std::snprintf(text, sizeof(text), "%lld s", whole);
  } else if (whole < 7200) {
    std::snprintf(text, sizeof(text), "%lld min", whole / 60);
  } else {
    std::snprintf(text, sizeof(text), "%lld h %02lld min", whole / 3600, whole / 60 % 60);
  }
  return text;
}

template <class Scalar, class Space>
class Run {
 public:
  Run(Task const& task, ts::train::Communicator<Space> const& ranks, ts::Execution<Space> const& exec)
      : task_{task},
        options_{*task.options},
        exec_{exec},
        ranks_{ranks},
        names_{options_},
        scan_options_{validated(options_)},
        training_{scan_options_, true},
        validation_{scan_options_, false},
        trainer_{options_, static_cast<int>(training_.classes().size()), config(task), ranks, exec},
        history_{speaks() ? names_.history : ""}
  {
    if (options_.batch % ranks.size() != 0) {
      throw program::Failure{"--batch: " + std::to_string(options_.batch) + " scans do not divide among " +
                             std::to_string(ranks.size()) + " ranks"};
    }
    if (training_.size() == 0) { throw program::Failure{options_.scans.kitti + " has no scans to train on"}; }
  }

  void run()
  {
    begin();
    auto loader = training_loader(training_, scan_options_, ranks_.rank(), ranks_.size(), loading());
    auto const per_rank = options_.batch / ranks_.size();
    auto state = trainer_.state();
    loader.seek({options_.scans.seed, static_cast<std::int64_t>(state.calls) * per_rank});
    if (speaks()) { progress_.begin("train", static_cast<int>(options_.last_step()), "steps"); }
    show(state.step);
    bool stopped = false;
    while (state.step < options_.last_step() && !stopped) {
      auto const outcome = trainer_.step(loader.next_batch(per_rank), program::caught_signal != 0);
      auto const before = state.step;
      state = trainer_.state();
      ++steps_here_;
      stopped = outcome.stopped;
      if (state.step == before) { continue; }  // an overflow of half precision
      history_.add(state.step, outcome.loss);
      loss_ = loss_ ? 0.95 * *loss_ + 0.05 * static_cast<double>(outcome.loss)
                    : static_cast<double>(outcome.loss);
      bool const last = state.step == options_.last_step();
      if (!stopped && (state.step % options_.validate_every == 0 || last)) { validate_now(state.step); }
      if (!stopped && (state.step % options_.checkpoint_every == 0 || last)) { save(); }
      show(state.step);
    }
    if (stopped) {
      save();
      end_early(state.step);
    }
    finish(state);
  }

 private:
  static ScanOptions validated(Options const& options)
  {
    auto result = options.scans;
    result.held_out = options.validation_scans;
    if (!result.held_out) { result.held_out = result.kitti.empty() ? 10 : 50; }
    return result;
  }
  static ts::ConvConfig config(Task const& task)
  {
    auto result = ts::with_conv_mode({}, 1);
    if (task.machine.precision == program::Precision::tf32) { result.math = ts::MathMode::tf32; }
    return result;
  }
  [[nodiscard]] bool speaks() const { return ranks_.rank() == 0; }
  [[nodiscard]] ts::LoaderOptions loading() const
  {
    return {options_.loader_threads,
            std::max(1, 2 * options_.loader_threads + options_.batch / ranks_.size()), -1};
  }

  /// From the checkpoint, or from nothing.
  void begin()
  {
    std::error_code error;
    bool const there = std::filesystem::exists(names_.checkpoint, error);
    if (options_.resume && !there) {
      throw program::Failure{"--resume: there is no checkpoint " + names_.checkpoint};
    }
    if (there && !options_.resume && !options_.restart) {
      throw program::Failure{
          "there is a checkpoint already, " + names_.checkpoint +
          "; --resume goes on from it, --restart begins anew, --output names another folder"};
    }
    if (options_.resume) {
      trainer_.resume(names_.checkpoint);
      history_.read_until(trainer_.state().step);
    }
    ranks_.barrier(exec_);  // before rank 0 writes what others read
    if (!speaks()) { return; }
    remove_unfinished(names_.checkpoint);
    remove_unfinished(names_.network);
    remove_unfinished(names_.curve);
    auto const& scans = scan_options_;
    std::printf("scans     %s\n", program::printable(scans.kitti.empty() ? "simulated scenes, seed " +
                                                                               std::to_string(scans.seed)
                                                                         : "SemanticKITTI, " + scans.kitti)
                                      .c_str());
    std::printf("network   MinkUNet, width %s, %d channels in, %zu classes, %s parameters, voxels of %s m\n",
                program::segmentation::short_number(options_.width).c_str(), in_channels,
                training_.classes().size(),
                program::with_commas(ts::nn::num_parameters(trainer_.network())).c_str(),
                program::segmentation::short_number(options_.voxel_size).c_str());
    std::printf("training  %s steps of %d scans%s\n", program::with_commas(options_.steps).c_str(),
                options_.batch,
                ranks_.size() > 1 ? (" on " + std::to_string(ranks_.size()) + " ranks").c_str() : "");
    if (options_.resume) {
      std::printf("resumed   %s, after step %s\n", program::printable(names_.checkpoint).c_str(),
                  program::with_commas(trainer_.state().step).c_str());
    }
    std::fflush(stdout);
  }
  /// Removes what a run that was killed has not written to the end of `whole`.
  static void remove_unfinished(std::string const& whole)
  {
    namespace fs = std::filesystem;
    auto const start = fs::path{whole}.filename().string() + ".";
    std::error_code error;
    for (auto const& entry : fs::directory_iterator{fs::absolute(whole).parent_path(), error}) {
      auto const name = entry.path().filename().string();
      if (name.rfind(start, 0) == 0 && entry.path().extension() == ".tmp") {
        fs::remove(entry.path(), error);
      }
    }
  }

  /// The line of progress: `loss 0.41, mIoU 82.1 %, 1.9 scans/s, 12 min left`.
  void show(std::int64_t step)
  {
    if (!speaks()) { return; }
    std::string remark;
    char text[96];
    if (loss_) {
      std::snprintf(text, sizeof(text), "loss %.3f", *loss_);
      remark = text;
    }
    if (auto const iou = history_.mean_iou()) {
      std::snprintf(text, sizeof(text), "%smIoU %.1f %%", remark.empty() ? "" : ", ", 100 * *iou);
      remark += text;
    }
    if (steps_here_ > 0) {
      auto const seconds = clock_.milliseconds() / 1000;
      auto const rate = static_cast<double>(steps_here_) / std::max(1e-9, seconds);
      std::snprintf(text, sizeof(text), ", %.2f scans/s, ", rate * options_.batch);
      remark += text + duration_text(static_cast<double>(options_.last_step() - step) / rate) + " left";
    }
    progress_.set(static_cast<int>(step), remark);
  }

  void validate_now(std::int64_t step)
  {
    int done = 0;
    ts::train::SegmentationScores scores;
    {
      ts::train::AveragedWeights const averaged{trainer_.average(), exec_};
      scores = validate<Scalar, Space>(trainer_.network(), validation_, scan_options_, options_.voxels(),
                                       ranks_, std::max(1, options_.loader_threads), exec_, [&] {
                                         ++done;
                                         if (speaks()) {
                                           progress_.set(static_cast<int>(step),
                                                         "validating, scan " + std::to_string(done));
                                         }
                                       });
    }
    history_.add_mean_iou(scores.mean_iou);
    if (speaks()) { program::write_picture(names_.curve, curve()); }
    scores_ = scores;
  }
  [[nodiscard]] Picture curve() const
  {
    return draw_curve(history_.entries(), options_.steps,
                      "MinkUNet, width " + program::segmentation::short_number(options_.width) +
                          ", voxels of " + program::segmentation::short_number(options_.voxel_size) +
                          " m, on " + (options_.scans.kitti.empty() ? "simulated scenes" : "SemanticKITTI"));
  }

  void save()
  {
    if (!speaks()) { return; }
    history_.write();  // first: what it has more than the checkpoint is passed over
    trainer_.save(names_.checkpoint);
  }

  [[noreturn]] void end_early(std::int64_t step)
  {
    progress_.stop();
    if (speaks()) {
      std::printf("\nstopped after step %s; saved: %s\nto go on:  %s\n", program::with_commas(step).c_str(),
                  program::printable(names_.checkpoint).c_str(),
                  program::printable(resuming_command(options_)).c_str());
      std::fflush(stdout);
    }
    throw program::Interrupted{program::caught_signal != 0 ? program::caught_signal : SIGTERM};
  }

  void finish(ts::train::StepState const& state)
  {
    if (!speaks()) { return; }
    progress_.stop();
    export_network(trainer_, options_, task_.machine.precision, names_.network, exec_);
    if (!history_.entries().empty()) { program::write_picture(names_.curve, curve()); }
    if (scores_) { print_scores(*scores_, training_.classes()); }
    std::printf("\n%s steps, of which %s here in %s\nwritten: %s, %s\n",
                program::with_commas(state.step).c_str(), program::with_commas(steps_here_).c_str(),
                duration_text(clock_.milliseconds() / 1000).c_str(),
                program::printable(names_.network).c_str(), program::printable(names_.curve).c_str());
    program::print_picture_note();
  }

  Task const& task_;
  Options const& options_;
  ts::Execution<Space> exec_;
  ts::train::Communicator<Space> ranks_;
  OutputNames names_;
  ScanOptions scan_options_;
  ScanSet training_;
  ScanSet validation_;
  Trainer<Scalar, Space> trainer_;
  History history_;
  std::optional<ts::train::SegmentationScores> scores_;
  std::optional<double> loss_;  // the mean of late steps
  std::int64_t steps_here_ = 0;
  program::Clock clock_;
  program::Progress progress_;
};

/// What the options ask for.
template <class Scalar, class Space>
void run(Task const& task, ts::train::Communicator<Space> const& ranks, ts::Execution<Space> const& exec)
{
  if (!task.options->evaluate.empty()) { return evaluate<Scalar, Space>(task, ranks, exec); }
  Run<Scalar, Space>{task, ranks, exec}.run();
}

}  // namespace train_segmentation
