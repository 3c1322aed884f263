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

  /// @throws invalid_argument  a probability outside [0, 1]
  explicit Dropout(double probability = 0.5, std::uint64_t seed = 0) : probability_{probability}, state_{seed}
  {
    detail::expects(probability >= 0 && probability <= 1, "Dropout: probability ", probability,
                    " is not in [0, 1]");
    this->register_random_state("random_state", state_);
  }

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
  [[nodiscard]] ops::DropoutSeed next_seed()
  {
    return step_ != nullptr ? ops::DropoutSeed{state_, step_} : ops::DropoutSeed{detail::next_random(state_)};
  }

  double probability_;
  std::uint64_t state_;
  std::uint64_t const* step_ = nullptr;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
