// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/autograd/tape.hpp>
#include <tessera/nn/synchronize.hpp>
#include <tessera/train/communicator.hpp>
#include <tessera/train/gradient_reducer.hpp>
#include <tessera/train/parameter_arena.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace train {

/// A communicator as the exchange of synchronised norms and of losses that count what all ranks have.
template <class Space>
class CommunicatorExchange final : public ops::RowExchange<Space> {
 public:
  explicit CommunicatorExchange(Communicator<Space> communicator) : communicator_{std::move(communicator)} {}

  [[nodiscard]] int rank() const override { return communicator_.rank(); }
  [[nodiscard]] int size() const override { return communicator_.size(); }
  void all_reduce_sum(float* data, std::int64_t size, Execution<Space> const& exec) override
  {
    communicator_.all_reduce_sum(data, size, exec);
  }
  void all_reduce_sum(double* data, std::int64_t size, Execution<Space> const& exec) override
  {
    communicator_.all_reduce_sum(data, size, exec);
  }

 private:
  Communicator<Space> communicator_;
};

/// Where the trained parameters of an arena lie in its gradients.
template <class Scalar, class Space>
[[nodiscard]] std::vector<GradientRange> gradient_ranges(ParameterArena<Scalar, Space> const& arena)
{
  std::vector<GradientRange> ranges;
  for (auto const& segment : arena.segments()) {
    if (!segment.is_trainable() || segment.size() == 0) { continue; }
    ranges.push_back(
        {segment.parameter.parameter->id(), segment.offset, segment.size(), !segment.is_trained()});
  }
  return ranges;
}

}  // namespace train

/// How DataParallel works.
struct DataParallelOptions {
  bool synchronize_norms = true;  ///< whether batch norms normalise by the rows of all ranks
  std::int64_t bucket_bytes = train::default_bucket_bytes;
};

namespace train {

/// Trains one network on several ranks, each with its part of the batch.
///
/// It gives every rank the parameters of rank 0, has batch norms normalise by the rows of all ranks, and sums
/// the gradients of all ranks while backward runs:
///
///     DataParallel parallel{ranks, network, arena, tape, exec};
///     for each step:
///       arena.zero_grad(exec);
///       forward and loss, recorded by the tape
///       parallel.backward(loss, exec);   // tape.backward(), and the sums of all ranks
///       optimizer.step(exec);            // the same step on every rank
///
/// With a loss that is divided by what all ranks have (exchange()), N ranks take the step of one rank with N
/// times the batch, within rounding. Where several backward passes accumulate, tape.backward() is called for
/// all but the last. In a process by itself it does nothing but call the tape. Every rank runs the same
/// operations.
template <class Scalar, class Space>
class DataParallel {
 public:
  using Sum = accumulator_t<Scalar>;

  /// Collective: sends the parameters of rank 0.
  /// @param network, arena, tape  outlive this; the tape has no other callback for parameters
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: sends the parameters once.
  /// Stream: enqueues on `exec`; on the host waits for the other ranks.
  /// Determinism: copies.
  DataParallel(Communicator<Space> communicator, nn::ModuleBase& network,
               ParameterArena<Scalar, Space>& arena, Tape<Space>& tape, Execution<Space> const& exec,
               DataParallelOptions const& options = {})
      : communicator_{std::move(communicator)},
        exchange_{std::make_unique<CommunicatorExchange<Space>>(communicator_)},
        network_{network},
        arena_{arena},
        tape_{tape},
        reducer_{communicator_, arena.gradients().data, gradient_ranges(arena), exec, options.bucket_bytes}
  {
    if (communicator_.is_alone()) { return; }
    if (options.synchronize_norms) { nn::synchronize<Space>(network, exchange_.get()); }
    tape.on_parameter_done([this](VariableId id, Execution<Space> const& on) { reducer_.ready(id, on); });
    broadcast(exec);
  }
  DataParallel(DataParallel const&) = delete;
  DataParallel& operator=(DataParallel const&) = delete;
  ~DataParallel()
  {
    if (communicator_.is_alone()) { return; }
    nn::synchronize<Space>(network_, nullptr);
    tape_.on_parameter_done({});
  }

  [[nodiscard]] Communicator<Space> const& communicator() const noexcept { return communicator_; }
  [[nodiscard]] Tape<Space>& tape() const noexcept { return tape_; }
  /// For losses that divide by what all ranks have; null in a process by itself.
  [[nodiscard]] ops::RowExchange<Space>* exchange() const noexcept
  {
    return communicator_.is_alone() ? nullptr : exchange_.get();
  }
  [[nodiscard]] GradientReducer<Sum, Space> const& reducer() const noexcept { return reducer_; }

  /// `tape.backward(loss, exec)`, after which the gradients are the sums of those of all ranks.
  /// @throws invalid_argument  what Tape::backward() throws
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: that of backward and of reducing what it has not hidden.
  /// Stream: as GradientReducer::finish().
  /// Determinism: the same bits on every run, and on every rank.
  template <class Loss>
  void backward(Loss const& loss, Execution<Space> const& exec)
  {
    run([&] { tape_.backward(loss, exec); }, exec);
  }
  /// The same from a gradient of the loss, such as Optimizer::loss_gradient().
  template <class Loss, class Gradient>
  void backward(Loss const& loss, Gradient const& gradient, Execution<Space> const& exec)
  {
    run([&] { tape_.backward(loss, gradient, exec); }, exec);
  }
  /// The same of what add_gradient() gave the tape.
  void backward(Execution<Space> const& exec)
  {
    run([&] { tape_.backward(exec); }, exec);
  }

  /// Gives every rank the parameters and running statistics of rank 0, after a checkpoint was loaded there.
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Cost: sends the arena.
  /// Stream: enqueues on `exec`; on the host waits for the other ranks.
  /// Determinism: copies.
  void broadcast(Execution<Space> const& exec)
  {
    if (communicator_.is_alone()) { return; }
    arena_.follow_parameters(exec);
    communicator_.broadcast(arena_.masters(), arena_.size(), 0, exec);
    if constexpr (ParameterArena<Scalar, Space>::has_masters) {
      communicator_.broadcast(arena_.narrow(), arena_.size(), 0, exec);
    }
    arena_.mark_written();
  }

 private:
  template <class Backward>
  void run(Backward const& backward, Execution<Space> const& exec)
  {
    if (communicator_.is_alone()) { return backward(); }
    reducer_.begin();
    backward();
    reducer_.finish(exec);
  }

  Communicator<Space> communicator_;
  std::unique_ptr<CommunicatorExchange<Space>> exchange_;  // layers keep its address
  nn::ModuleBase& network_;
  ParameterArena<Scalar, Space>& arena_;
  Tape<Space>& tape_;
  GradientReducer<Sum, Space> reducer_;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
