// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/progress.hpp"
#include "../support/stopwatch.hpp"
#include "engine.hpp"
#include "json_line.hpp"
#include "output.hpp"
#include "pipeline.hpp"
#include "reading.hpp"
#include "scans.hpp"
#include "tally.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace label_scans {

/// Results of an engine in memory of its own.
struct OutputBuffer {
  std::shared_ptr<void> memory;
};

/// How results become files.
struct ResultFormat {
  bool labels = true;
  bool npy = false;
  std::vector<std::uint32_t> ids;  // of the classes, in a .label
  std::vector<std::int64_t> map_shape;

  [[nodiscard]] char const* extension() const { return labels && !npy ? ".label" : ".npy"; }

  /// Bytes of the results of so many points.
  [[nodiscard]] std::size_t bytes(std::int64_t num_points) const
  {
    if (labels) { return static_cast<std::size_t>(num_points) * sizeof(std::int32_t); }
    std::size_t size = sizeof(float);
    for (auto const extent : map_shape) { size *= static_cast<std::size_t>(extent); }
    return size;
  }
  void write(OutputFolder& folder, fs::path const& path, void const* results, std::int64_t num_points) const
  {
    std::string_view const raw{static_cast<char const*>(results), bytes(num_points)};
    if (!labels) { return folder.write(path, {npy_header("<f4", map_shape), raw}); }
    if (npy) { return folder.write(path, {npy_header("<i4", {num_points}), raw}); }
    auto const* const classes = static_cast<std::int32_t const*>(results);
    std::vector<std::uint32_t> values(static_cast<std::size_t>(num_points));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = classes[i] < 0 ? 0 : ids[static_cast<std::size_t>(classes[i])];
    }
    folder.write(path, {std::string_view{reinterpret_cast<char const*>(values.data()), raw.size()}});
  }
};

/// The work of one process, from names of scans to files.
class Labelling {
 public:
  struct Parts {
    Engine* engine;
    Task const* task;
    ScanReader const* reader;
    ResultFormat format;
    OutputFolder* folder;
    int readers;
    int writers;
    std::int64_t expected = 0;              // scans, for the time that is left; 0: not known
    program::Progress* progress = nullptr;  // none: nothing is told on the way
    std::function<std::optional<Scan>()> next;
    std::function<void(JsonLine const&)> tell;  // one call at a time
  };

  explicit Labelling(Parts parts) : parts_{std::move(parts)} {}

  /// Until there are no more scans, or Ctrl-C, after which those in hand are finished.
  [[nodiscard]] Tally run()
  {
    auto const points = static_cast<std::size_t>(parts_.task->max_points);
    auto const input_bytes = points * static_cast<std::size_t>(parts_.task->in_channels()) * sizeof(float);
    std::vector<InputBuffer> inputs(static_cast<std::size_t>(parts_.readers) + 1);
    std::vector<OutputBuffer> outputs(static_cast<std::size_t>(parts_.writers) + 1);
    for (auto& input : inputs) { input.memory = parts_.engine->allocate(input_bytes); }
    for (auto& output : outputs) {
      output.memory = parts_.engine->allocate(parts_.format.bytes(parts_.task->max_points));
    }
    Work work{
        {parts_.next, [this](Scan const& scan, InputBuffer& input) { parts_.reader->read(scan.path, input); },
         [this](Scan const& scan, InputBuffer const& input, OutputBuffer& output) {
           return compute(scan, input, output);
         },
         [this](Scan const& scan, Outcome const& outcome, OutputBuffer const* output,
                std::string const& reason) { finish(scan, outcome, output, reason); },
         [] { return program::caught_signal != 0; }},
        std::move(inputs),
        std::move(outputs),
        parts_.readers,
        parts_.writers};
    work_ = &work;
    program::Clock const clock;
    begin_ = std::chrono::steady_clock::now();
    work.run();
    work_ = nullptr;
    tally_.seconds = clock.milliseconds() / 1000;
    tally_.between = last_done_ - first_done_;
    tally_.computing = computing_;
    tally_.times = work.times();
    if (!milliseconds_.empty()) { tally_.milliseconds = program::median(milliseconds_); }
    return tally_;
  }

 private:
  using Work = Pipeline<Scan, InputBuffer, OutputBuffer, Outcome>;

  Outcome compute(Scan const& scan, InputBuffer const& input, OutputBuffer& output)
  {
    auto const begin = since_begin();
    Outcome outcome;
    try {
      outcome = parts_.engine->run(input.points(), input.num_points, output.memory.get());
    } catch (tessera::invalid_argument const& error) {
      throw ScanError{scan.path + ": " + error.what()};
    } catch (std::bad_alloc const&) {
      throw ScanError{scan.path + ": there is not enough memory to compute it"};
    }
    auto const end = since_begin();
    computing_.add(begin, end);
    outcome.milliseconds = 1000 * (end - begin);
    outcome.num_points = input.num_points;
    outcome.num_dropped = input.num_dropped;
    return outcome;
  }

  void finish(Scan const& scan, Outcome const& outcome, OutputBuffer const* output, std::string const& reason)
  {
    auto const path = parts_.folder->path_of(scan.name, parts_.format.extension());
    std::string why = reason;
    bool done = output != nullptr;
    try {
      if (done) { parts_.format.write(*parts_.folder, path, output->memory.get(), outcome.num_points); }
    } catch (ScanError const& error) {
      done = false;
      why = error.what();
    }
    auto line = JsonLine{}.add("name", scan.name).add("status", done ? "done" : "failed");
    line.add("scan", scan.path);
    if (!done) {
      line.add("reason", why);
    } else {
      line.add("result", path.string()).add("points", outcome.num_points);
      if (outcome.num_dropped > 0) { line.add("not_finite", outcome.num_dropped); }
      line.add("milliseconds", outcome.milliseconds);
    }
    std::lock_guard const lock{mutex_};
    parts_.tell(line);
    last_ = since_begin();
    if (!done) {
      ++tally_.failed;
    } else {
      last_done_ = last_;
      if (tally_.done++ == 0) { first_done_ = last_; }
      tally_.planned += outcome.planned ? 1 : 0;
      milliseconds_.push_back(outcome.milliseconds);
    }
    if (parts_.progress != nullptr) { show(); }
  }

  [[nodiscard]] double since_begin() const
  {
    return std::chrono::duration<double>{std::chrono::steady_clock::now() - begin_}.count();
  }

  /// The end of the progress line.
  void show()
  {
    auto const finished = tally_.done + tally_.failed;
    double const rate = static_cast<double>(finished) / last_;
    double const left = static_cast<double>(parts_.expected - finished) / rate;
    auto const times = work_->computing();
    char text[200];
    std::snprintf(text, sizeof(text),
                  "%.1f scans/s, %s left, the network waits %.0f %% for reading, %.0f %% for "
                  "writing",
                  rate,
                  left < 120    ? (std::to_string(static_cast<int>(left)) + " s").c_str()
                  : left < 7200 ? (std::to_string(static_cast<int>(left / 60)) + " min").c_str()
                                : (std::to_string(static_cast<int>(left / 3600)) + " h").c_str(),
                  100 * times.share(times.for_input), 100 * times.share(times.for_output));
    parts_.progress->set(static_cast<int>(finished), text);
  }

  Parts parts_;
  Work* work_ = nullptr;
  std::chrono::steady_clock::time_point begin_;
  BusyTime computing_;  // of the thread that computes
  std::mutex mutex_;    // of what follows
  Tally tally_;
  std::vector<double> milliseconds_;
  double first_done_ = 0;
  double last_done_ = 0;
  double last_ = 0;
};

}  // namespace label_scans
