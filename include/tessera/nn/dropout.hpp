// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/initialize.hpp>
#include <tessera/nn/row_module.hpp>
#include <tessera/nn/step_seeds.hpp>
#include <tessera/ops/dropout.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// dropout() in training, with other elements at every call; its input in evaluation.
template <int Dim, class Scalar, class Space = Device>
class Dropout final : public RowModule<Dim, Scalar, Space>, public StepSeeded<Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;

  /// Layers of one network that are made without a seed drop different elements each: what they drop follows
  /// from how many of them the network has before.
  /// @throws invalid_argument  a probability outside [0, 1]
  explicit Dropout(double probability = 0.5) : Dropout{probability, 0, true} {}
  /// @param seed  what is dropped follows from it alone: layers of one seed drop the same elements
  Dropout(double probability, std::uint64_t seed) : Dropout{probability, seed, false} {}

  /// Cost, stream: as dropout() in training, none in evaluation.
  /// Determinism: the n-th call in training since the layer was made drops the same elements on every run;
  /// calls of several threads at once are not allowed.
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return this->is_training() ? dropout(x, probability_, next_seed(), exec) : x;
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) override
  {
    if (!this->is_training()) { return copy(x, exec); }
    return dropout(x, probability_, next_seed(), exec);
  }

  void step(std::uint64_t const* steps) noexcept override { step_ = steps; }

 private:
  Dropout(double probability, std::uint64_t seed, bool by_place) : probability_{probability}, state_{seed}
  {
    detail::expects(probability >= 0 && probability <= 1, "Dropout: probability ", probability,
                    " is not in [0, 1]");
    this->register_random_state("random_state", state_, by_place ? &place_ : nullptr);
  }

  [[nodiscard]] ops::DropoutSeed next_seed()
  {
    auto const own = place_ * 0x8cb92ba72f3d8dd7ULL;  // far from the seeds that people choose
    return step_ != nullptr ? ops::DropoutSeed{state_ + own, step_}
                            : ops::DropoutSeed{detail::next_random(state_) + own};
  }

  double probability_;
  std::uint64_t state_;
  std::uint64_t place_ = 0;  // among the network's layers without a seed
  std::uint64_t const* step_ = nullptr;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
