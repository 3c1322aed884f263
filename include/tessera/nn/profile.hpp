// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/nn/detail/layer_names.hpp>
#include <tessera/nn/detail/operation_clock.hpp>
#include <tessera/nn/detail/parameters_of.hpp>
#include <tessera/nn/detail/tune_backend.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/nn/profile_table.hpp>
#include <tessera/ops/record.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Options of profile(): `ProfileOptions().repetitions(50)`.
class ProfileOptions {
 public:
  /// Forward passes that are timed, after two that are not; at least 1.
  ProfileOptions& repetitions(int value) { return repetitions_ = value, *this; }
  [[nodiscard]] int repetitions() const noexcept { return repetitions_; }
  /// What the machine reaches, for the floors. Without it: memory as a copy measures it, and, of a GPU of
  /// compute capability 9.0, the rest as an H100's.
  ProfileOptions& ceilings(nn::Ceilings const& value)
  {
    return ceilings_ = value, has_ceilings_ = true, *this;
  }
  [[nodiscard]] nn::Ceilings const& ceilings() const noexcept { return ceilings_; }
  [[nodiscard]] bool has_ceilings() const noexcept { return has_ceilings_; }

 private:
  int repetitions_ = 20;
  nn::Ceilings ceilings_;
  bool has_ceilings_ = false;
};

namespace detail {

/// Reads the clock after each operation, and keeps the records of one pass.
template <class Space>
class ProfileRecorder final : public Recorder {
 public:
  explicit ProfileRecorder(OperationClock<Space>& clock) : clock_{clock} {}

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    clock_.mark();
    if (keeps_) { records_.push_back(std::move(operation)); }
  }
  void keep(bool on) { keeps_ = on; }
  [[nodiscard]] std::vector<std::shared_ptr<OperationRecord const>> take()
  {
    return std::exchange(records_, {});
  }

 private:
  OperationClock<Space>& clock_;
  bool keeps_ = false;
  std::vector<std::shared_ptr<OperationRecord const>> records_;
};

/// to[i] = from[i].
struct CopyWords {
  struct Word {
    std::uint64_t parts[2];
  };
  Word const* from;
  Word* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { to[i] = from[i]; }
};

/// Bytes that a large copy reads and writes in a second.
/// Stream: waits.
template <class Space>
[[nodiscard]] double measure_bandwidth(OperationClock<Space>& clock, Execution<Space> const& exec)
{
  constexpr std::int64_t words =
      std::is_same_v<Space, Device> ? std::int64_t{1} << 24 : std::int64_t{1} << 21;
  Buffer<CopyWords::Word, Space> from{words, exec};
  Buffer<CopyWords::Word, Space> to{words, exec};
  fill_bytes(from, 0, exec);
  fill_bytes(to, 0, exec);
  clock.start();
  for (int i = 0; i < 5; ++i) {
    for_each(words, CopyWords{from.data(), to.data()}, exec);
    clock.mark();
  }
  auto const seconds = clock.stop();
  return 2.0 * static_cast<double>(from.bytes()) / *std::min_element(seconds.begin(), seconds.end());
}

template <class Space>
[[nodiscard]] nn::Ceilings ceilings_of(ProfileOptions const& options, OperationClock<Space>& clock,
                                       Execution<Space> const& exec)
{
  if (options.has_ceilings()) { return options.ceilings(); }
  constexpr int hopper = 90;
  auto result =
      TuneBackend<Space>::compute_capability(exec) == hopper ? nn::Ceilings::h100() : nn::Ceilings{};
  result.bytes_per_s = measure_bandwidth(clock, exec);
  return result;
}

}  // namespace detail

namespace nn {

/// Times each operation of a forward pass of `model` on `x`, and says how far it is from what the machine
/// reaches: `std::puts(nn::profile(net, x, exec).table().c_str())`; io::save_trace() writes it for
/// chrome://tracing and Perfetto.
///
/// A time is that from the end of the operation before to the end of this one, so what runs in between without
/// being an operation counts for the one that follows; maps and packed weights are there already. On the
/// device operations follow one another without waiting for the host. The floor of an operation is
/// `max(bytes / memory, gathered bytes / cache, multiply-adds / tensor cores) + launch`.
///
/// | name    | holds                                                                          |
/// |---------|--------------------------------------------------------------------------------|
/// | model   | has `forward(x, exec)`, a network or what fuse() makes of it; in evaluation; `parameters()` name its layers if it has it |
/// | x       | an input like those to come, in `Space`                                        |
/// | returns | one line per recorded operation, in the order in which they ran                |
///
/// @throws invalid_argument  a model in training, repetitions below 1, a forward pass that does other
/// operations each time, and what forward() throws
/// Cost: repetitions + 2 forward passes, of one of which all activations are kept; a copy of some megabytes
/// where no ceilings are given.
/// Stream: waits often.
/// Determinism: the operations; times are the clock's.
template <class Model, class Tensor, class Space>
[[nodiscard]] Profile profile(Model& model, Tensor const& x, ProfileOptions const& options,
                              Execution<Space> const& exec)
{
  detail::expects(options.repetitions() >= 1, "profile: ", options.repetitions(), " repetitions; at least 1");
  if constexpr (std::is_base_of_v<ModuleBase, Model>) {
    detail::expects(!model.is_training(), "profile: the module is in training; call eval()");
  }
  auto const plain = exec.without_recorder();
  detail::OperationClock<Space> clock{plain};
  detail::ProfileRecorder<Space> recorder{clock};
  auto const recording = plain.with_recorder(recorder);
  static_cast<void>(model.forward(x, plain));  // makes maps and packs weights

  Profile result;
  result.device = detail::TuneBackend<Space>::name(plain);
  result.ceilings = detail::ceilings_of(options, clock, plain);
  recorder.keep(true);
  clock.start();
  static_cast<void>(model.forward(x, recording));
  recorder.keep(false);
  static_cast<void>(clock.stop());
  auto const layers = detail::layers_by_parameter(detail::parameters_of(std::as_const(model)));
  for (auto& record : recorder.take()) {
    ProfiledOperation operation;
    operation.name = record->name();
    for (auto const id : record->parameters()) {
      auto const found = layers.find(id);
      if (found != layers.end() && operation.layer.empty()) { operation.layer = found->second; }
    }
    if (auto const* const known = dynamic_cast<ops::ReplayableRecord<Space> const*>(record.get())) {
      operation.work = known->work(plain);
    }
    operation.floor_seconds = detail::floor_of(operation.work, result.ceilings);
    result.operations.push_back(std::move(operation));
    record.reset();  // gives its activations back
  }

  std::vector<std::vector<double>> times(result.operations.size());
  for (int i = 0; i < options.repetitions(); ++i) {
    clock.start();
    static_cast<void>(model.forward(x, recording));
    auto const seconds = clock.stop();
    detail::expects(seconds.size() == times.size(), "profile: forward() did ", times.size(),
                    " operations, then ", seconds.size(), "; it must do the same each time");
    for (std::size_t k = 0; k < times.size(); ++k) { times[k].push_back(seconds[k]); }
  }
  for (std::size_t k = 0; k < times.size(); ++k) {
    result.operations[k].seconds = detail::median_of(std::move(times[k]));
  }
  return result;
}

/// The same with default options.
template <class Model, class Tensor, class Space>
[[nodiscard]] Profile profile(Model& model, Tensor const& x, Execution<Space> const& exec)
{
  return profile(model, x, ProfileOptions{}, exec);
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
