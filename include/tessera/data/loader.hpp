// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/data/data_set.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// How a DataLoader works; none of it changes what it gives.
struct LoaderOptions {
  int threads = 2;           ///< that load; 0: the thread that asks
  int prefetch = 8;          ///< samples that are loaded or being loaded at once, at least 1
  std::int64_t epochs = -1;  ///< after so many next() gives none; -1: goes on for ever
};

/// Where a DataLoader is: all there is to save.
struct LoaderState {
  std::uint64_t seed = 0;
  std::int64_t position = 0;  ///< samples that were given out, in all epochs
};

/// Loads the samples of a data set ahead of time, on threads of its own, and gives them out in order.
///
///     auto loader = make_loader(scans, ScanOrder(scans.size()).shuffle(), LoaderOptions{}, augmented);
///     while (auto scan = loader.next()) { ... }
///
/// What it gives is a function of the order alone: neither of the number of threads nor of how fast they are.
/// At most `prefetch` samples are in memory; a thread that is ahead waits. One thread asks.
///
/// What loading a sample throws is thrown by the next() that would have given it; the one after gives the
/// next sample, so that a damaged file can be passed over. The destructor waits for the samples that are
/// being loaded.
template <class Sample>
class DataLoader {
 public:
  /// Loads one sample; called by several threads at once.
  using Load = std::function<Sample(SampleIndex const&)>;

  /// @throws invalid_argument  an option is out of range
  /// @throws std::system_error  a thread cannot be started
  /// Cost: starts the threads, which begin to load.
  /// Determinism: that of `load`.
  DataLoader(ScanOrder order, LoaderOptions const& options, Load load)
      : order_{order}, options_{options}, load_{std::move(load)}
  {
    detail::expects(options.threads >= 0 && options.threads <= 1024, "DataLoader: ", options.threads,
                    " threads; 0 to 1024 are possible");
    detail::expects(options.prefetch >= 1, "DataLoader: ", options.prefetch, " samples at once; at least 1");
    detail::expects(options.epochs >= -1, "DataLoader: ", options.epochs, " epochs");
    slots_.resize(static_cast<std::size_t>(options.prefetch));
    try {
      for (int i = 0; i < options.threads; ++i) {
        threads_.emplace_back([this] { work(); });
      }
    } catch (...) {
      stop();
      throw;
    }
  }
  DataLoader(DataLoader const&) = delete;
  DataLoader& operator=(DataLoader const&) = delete;
  ~DataLoader() { stop(); }

  /// The next sample; none after the last epoch, or where there are no scans.
  /// Throws what loading it threw.
  /// Cost: waits for the sample, or loads it where there are no threads.
  [[nodiscard]] std::optional<Sample> next()
  {
    std::unique_lock lock{mutex_};
    auto const position = consumed_;
    if (is_past_end(position)) { return std::nullopt; }
    if (threads_.empty()) {
      auto const at = index_at(position);
      ++consumed_;
      lock.unlock();
      return load_(at);
    }
    auto& slot = slot_of(position);
    loaded_.wait(lock, [&] { return slot.position == position; });
    auto sample = std::exchange(slot.sample, std::nullopt);
    auto const error = std::exchange(slot.error, nullptr);
    slot.position = -1;
    ++consumed_;
    lock.unlock();
    wanted_.notify_all();
    if (error) { std::rethrow_exception(error); }
    return sample;
  }

  /// The next `count` samples; fewer at the end of the last epoch, none after it.
  /// Throws what loading one of them threw; those before it are lost then.
  [[nodiscard]] std::vector<Sample> next_batch(int count)
  {
    std::vector<Sample> batch;
    for (int i = 0; i < count; ++i) {
      auto sample = next();
      if (!sample) { break; }
      batch.push_back(std::move(*sample));
    }
    return batch;
  }

  /// What to save to go on here: seek() of a loader with the same data, order and number of processes.
  [[nodiscard]] LoaderState state() const
  {
    std::lock_guard const lock{mutex_};
    return {order_.seed(), consumed_};
  }
  /// Goes on as a loader did that had this state: next() gives the same samples as there, bit by bit.
  /// @throws invalid_argument  a negative position
  /// Cost: what was loaded ahead is dropped.
  void seek(LoaderState const& state)
  {
    detail::expects(state.position >= 0, "DataLoader: position ", state.position);
    {
      std::lock_guard const lock{mutex_};
      order_.seed(state.seed);
      consumed_ = state.position;
      claimed_ = state.position;
      ++generation_;
      permutations_.clear();
      for (auto& slot : slots_) { slot = Slot{}; }
    }
    wanted_.notify_all();
  }

  /// The epoch of the sample that next() gives.
  [[nodiscard]] std::int64_t epoch() const
  {
    std::lock_guard const lock{mutex_};
    return order_.epoch_of(consumed_);
  }
  /// Samples in an epoch, for this process; `endless` where there is no last one.
  [[nodiscard]] std::int64_t epoch_size() const noexcept { return order_.epoch_size(); }

 private:
  struct Slot {
    std::int64_t position = -1;  // of what is in it, -1: nothing
    std::optional<Sample> sample;
    std::exception_ptr error;
  };
  struct Permutation {
    std::int64_t epoch;
    std::vector<std::int64_t> order;
  };

  [[nodiscard]] Slot& slot_of(std::int64_t position)
  {
    return slots_[static_cast<std::size_t>(position) % slots_.size()];
  }

  [[nodiscard]] bool is_past_end(std::int64_t position) const
  {
    if (order_.epoch_size() == 0 || options_.epochs == 0) { return true; }
    return options_.epochs > 0 && !order_.is_endless() && position / order_.epoch_size() >= options_.epochs;
  }

  /// Under the lock: permutations are made once an epoch, and two are in use where one ends.
  [[nodiscard]] SampleIndex index_at(std::int64_t position)
  {
    auto const epoch = order_.epoch_of(position);
    for (auto const& permutation : permutations_) {
      if (permutation.epoch == epoch) { return order_.at(position, permutation.order); }
    }
    if (permutations_.size() == 2) { permutations_.erase(permutations_.begin()); }
    permutations_.push_back({epoch, order_.permutation(epoch)});
    return order_.at(position, permutations_.back().order);
  }

  void work()
  {
    std::unique_lock lock{mutex_};
    while (true) {
      wanted_.wait(lock, [this] {
        return is_stopped_ || (claimed_ < consumed_ + options_.prefetch && !is_past_end(claimed_));
      });
      if (is_stopped_) { return; }
      auto const generation = generation_;
      auto const position = claimed_++;
      Slot result;
      result.position = position;
      try {
        auto const at = index_at(position);
        lock.unlock();
        result.sample.emplace(load_(at));
      } catch (...) {
        result.error = std::current_exception();
      }
      if (!lock.owns_lock()) { lock.lock(); }
      if (generation != generation_) { continue; }  // somebody seeks: nobody asks for it any more
      slot_of(position) = std::move(result);
      loaded_.notify_all();
    }
  }

  void stop() noexcept
  {
    {
      std::lock_guard const lock{mutex_};
      is_stopped_ = true;
    }
    wanted_.notify_all();
    for (auto& thread : threads_) { thread.join(); }
  }

  ScanOrder order_;
  LoaderOptions options_;
  Load load_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_;  // a thread may load
  std::condition_variable loaded_;  // a sample is there
  std::vector<Slot> slots_;         // [prefetch], that of a position is position % prefetch
  std::vector<Permutation> permutations_;
  std::int64_t consumed_ = 0;  // position that next() gives
  std::int64_t claimed_ = 0;   // position that the next free thread loads
  std::int64_t generation_ = 0;
  bool is_stopped_ = false;
  std::vector<std::thread> threads_;
};

/// A loader of a data set, with what becomes of each scan on the loader's threads: `transform(scan,
/// SampleIndex)`.
/// @param data  has `load(index)`, which several threads call at once; outlives the loader
template <class DataSet, class Transform>
[[nodiscard]] auto make_loader(DataSet const& data, ScanOrder const& order, LoaderOptions const& options,
                               Transform transform)
{
  using Sample =
      std::decay_t<std::invoke_result_t<Transform const&, typename DataSet::Sample, SampleIndex const&>>;
  return DataLoader<Sample>{order, options, [&data, transform = std::move(transform)](SampleIndex const& at) {
                              return transform(data.load(at.index), at);
                            }};
}

/// The same of the scans as they are.
template <class DataSet>
[[nodiscard]] DataLoader<typename DataSet::Sample> make_loader(DataSet const& data, ScanOrder const& order,
                                                               LoaderOptions const& options = {})
{
  return {order, options, [&data](SampleIndex const& at) { return data.load(at.index); }};
}

}  // namespace v0
}  // namespace tessera
