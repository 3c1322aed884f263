// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace label_scans {

/// What is wrong with one scan; the others go on.
class ScanError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A queue between threads of at most `capacity` items; after close() it takes none and gives what it has.
template <class Item>
class Channel {
 public:
  explicit Channel(std::size_t capacity) : capacity_{capacity} {}

  /// Waits for room; false where the channel is closed.
  bool push(Item item)
  {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return closed_ || items_.size() < capacity_; });
    if (closed_) { return false; }
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }
  /// Waits for an item; nothing where the channel is closed and empty.
  std::optional<Item> pop()
  {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) { return std::nullopt; }
    std::optional<Item> item{std::move(items_.front())};
    items_.pop_front();
    changed_.notify_all();
    return item;
  }
  void close()
  {
    std::lock_guard const lock{mutex_};
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;
  bool closed_ = false;
};

/// Seconds of the threads of a stage. What is neither waited for nor the other is work.
struct StageTimes {
  double total = 0;
  double for_input = 0;   // waiting for the stage before
  double for_output = 0;  // waiting for room that the stage after makes

  [[nodiscard]] double waiting() const { return for_input + for_output; }
  [[nodiscard]] double busy() const { return total - waiting(); }
  /// Of its time, 0 to 1.
  [[nodiscard]] double share(double seconds) const { return total > 0 ? seconds / total : 0; }

  StageTimes& operator+=(StageTimes const& other)
  {
    total += other.total;
    for_input += other.for_input;
    for_output += other.for_output;
    return *this;
  }
};

struct PipelineTimes {
  StageTimes read;
  StageTimes compute;
  StageTimes write;

  /// The stage that the others wait for: the one that waits least itself.
  [[nodiscard]] char const* bottleneck() const
  {
    double const waits[] = {read.share(read.waiting()), compute.share(compute.waiting()),
                            write.share(write.waiting())};
    constexpr char const* names[] = {"reading", "computing", "writing"};
    return names[std::min_element(std::begin(waits), std::end(waits)) - std::begin(waits)];
  }
};

/// Reads, computes and writes items, the three stages at once, in reused buffers.
///
/// `Job` is what is to be done, `Input` memory that it is read into, `Output` memory that results are computed
/// in, `Outcome` what is known of a result. The thread that calls run() computes. A job that cannot be read or
/// computed (ScanError) reaches finish() with the reason and without memory; any other exception ends all.
template <class Job, class Input, class Output, class Outcome>
class Pipeline {
 public:
  struct Stages {
    std::function<std::optional<Job>()>
        next;  // one call at a time; nothing: there are no more, or it was told to stop
    std::function<void(Job const&, Input&)> read;
    std::function<Outcome(Job const&, Input const&, Output&)> compute;
    std::function<void(Job const&, Outcome const&, Output const*, std::string const&)>
        finish;                   // several at once
    std::function<bool()> stops;  // whether to begin nothing more
  };

  Pipeline(Stages stages, std::vector<Input> inputs, std::vector<Output> outputs, int readers, int writers)
      : stages_{std::move(stages)},
        inputs_{std::move(inputs)},
        outputs_{std::move(outputs)},
        free_inputs_{inputs_.size()},
        free_outputs_{outputs_.size()},
        read_{inputs_.size()},
        computed_{outputs_.size()},
        num_readers_{readers},
        num_writers_{writers}
  {
    for (auto& input : inputs_) { free_inputs_.push(&input); }
    for (auto& output : outputs_) { free_outputs_.push(&output); }
  }

  /// Everything; returns when all that was begun is finished.
  /// @throws  what a stage threw that is no ScanError
  void run()
  {
    start_ = Clock::now();
    readers_left_ = num_readers_;
    std::vector<std::thread> writers;
    std::vector<std::thread> readers;
    for (int i = 0; i < num_writers_; ++i) {
      writers.emplace_back([this] { work(times_.write, [this](StageTimes& times) { write_all(times); }); });
    }
    for (int i = 0; i < num_readers_; ++i) {
      readers.emplace_back([this] { work(times_.read, [this](StageTimes& times) { read_all(times); }); });
    }
    work(times_.compute, [this](StageTimes& times) { compute_all(times); });
    free_inputs_.close();
    read_.close();
    for (auto& reader : readers) { reader.join(); }
    computed_.close();  // only now: readers put failures there
    for (auto& writer : writers) { writer.join(); }
    if (error_) { std::rethrow_exception(error_); }
  }

  /// Seconds of all threads that have ended, and since the beginning.
  [[nodiscard]] PipelineTimes times() const
  {
    std::lock_guard const lock{mutex_};
    return times_;
  }

  /// How the computing thread has spent its time so far: which stage it waits for. Any thread.
  [[nodiscard]] StageTimes computing() const
  {
    StageTimes times;
    times.total = std::chrono::duration<double>{Clock::now() - start_}.count();
    times.for_input = waited_for_input_.load(std::memory_order_relaxed);
    times.for_output = waited_for_output_.load(std::memory_order_relaxed);
    return times;
  }

 private:
  using Clock = std::chrono::steady_clock;

  struct Result {
    Job job;
    Outcome outcome{};
    Output* output = nullptr;  // none: it failed
    std::string reason{};
  };
  struct Loaded {
    Job job;
    Input* input;
  };

  /// Adds the seconds that `wait()` takes.
  template <class Wait>
  static auto timed(double& seconds, Wait const& wait)
  {
    auto const begin = Clock::now();
    auto result = wait();
    seconds += std::chrono::duration<double>{Clock::now() - begin}.count();
    return result;
  }

  /// The whole of a thread.
  template <class Body>
  void work(StageTimes& sum, Body const& body)
  {
    auto const begin = Clock::now();
    StageTimes times;
    try {
      body(times);
    } catch (...) {
      fail(std::current_exception());
    }
    times.total = std::chrono::duration<double>{Clock::now() - begin}.count();
    std::lock_guard const lock{mutex_};
    sum += times;
  }
  void fail(std::exception_ptr error)
  {
    {
      std::lock_guard const lock{mutex_};
      if (!error_) { error_ = std::move(error); }
    }
    failed_ = true;
    free_inputs_.close();
    free_outputs_.close();
    read_.close();
    computed_.close();
  }

  void read_all(StageTimes& times)
  {
    while (!failed_) {
      auto const input = timed(times.for_output, [&] { return free_inputs_.pop(); });
      if (!input || failed_) { break; }
      // Where jobs come from a pipe, the wait for the next one is one for input.
      auto job = timed(times.for_input, [&]() -> std::optional<Job> {
        std::lock_guard const lock{next_mutex_};
        return stages_.stops() ? std::nullopt : stages_.next();
      });
      if (!job) { break; }
      std::string reason;
      try {
        stages_.read(*job, **input);
        timed(times.for_output, [&] { return read_.push({std::move(*job), *input}); });
        continue;
      } catch (ScanError const& error) {
        reason = error.what();
      }
      timed(times.for_output, [&] { return computed_.push({std::move(*job), {}, nullptr, reason}); });
      free_inputs_.push(*input);
    }
    if (--readers_left_ == 0) { read_.close(); }
  }

  void compute_all(StageTimes& times)
  {
    while (!failed_ && !stages_.stops()) {
      auto loaded = timed(times.for_input, [&] { return read_.pop(); });
      waited_for_input_.store(times.for_input, std::memory_order_relaxed);
      if (!loaded || failed_ || stages_.stops()) { break; }
      auto const output = timed(times.for_output, [&] { return free_outputs_.pop(); });
      waited_for_output_.store(times.for_output, std::memory_order_relaxed);
      if (!output) { break; }
      Result result{std::move(loaded->job)};
      try {
        result.outcome = stages_.compute(result.job, *loaded->input, **output);
        result.output = *output;
      } catch (ScanError const& error) {
        result.reason = error.what();
        free_outputs_.push(*output);
      }
      free_inputs_.push(loaded->input);
      timed(times.for_output, [&] { return computed_.push(std::move(result)); });
    }
  }

  void write_all(StageTimes& times)
  {
    while (auto result = timed(times.for_input, [&] { return computed_.pop(); })) {
      stages_.finish(result->job, result->outcome, result->output, result->reason);
      if (result->output != nullptr) { free_outputs_.push(result->output); }
    }
  }

  Stages stages_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  Channel<Input*> free_inputs_;
  Channel<Output*> free_outputs_;
  Channel<Loaded> read_;
  Channel<Result> computed_;
  int num_readers_;
  int num_writers_;

  std::mutex next_mutex_;
  std::atomic<int> readers_left_{0};
  std::atomic<bool> failed_{false};
  std::atomic<double> waited_for_input_{0};
  std::atomic<double> waited_for_output_{0};
  Clock::time_point start_;
  mutable std::mutex mutex_;  // of what follows
  PipelineTimes times_;
  std::exception_ptr error_;
};

}  // namespace label_scans
