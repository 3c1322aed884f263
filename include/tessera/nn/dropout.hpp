// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/elementwise.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/row_module.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Keeps element i when the random number of (seed, i) says so.
template <class Sum>
struct DropoutFunction {
  std::uint64_t seed;
  std::uint64_t threshold;  // of 2^53: below it an element is dropped
  Sum scale;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t i) const
  {
    std::uint64_t state = seed + static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ULL;
    return (next_random(state) >> 11) < threshold ? Sum{0} : x[0] * scale;
  }
};

template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> drop_elements(MatrixView<Scalar const> const& x, double probability,
                                                  std::uint64_t seed, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  expects(probability >= 0 && probability <= 1, "dropout: probability ", probability, " is not in [0, 1]");
  DropoutFunction<Sum> function{};
  function.seed = next_random(seed);
  function.threshold = static_cast<std::uint64_t>(probability * 0x1.0p53);
  function.scale = static_cast<Sum>(probability < 1 ? 1 / (1 - probability) : 0);
  return map_elements<Scalar>(function, exec, x);
}

}  // namespace detail

/// Sets every feature to 0 with the given probability and divides the others by `1 - probability`.
///
/// Element i is dropped or not by a hash of (seed, i): the same in every space and on every run.
/// @throws invalid_argument  a probability outside [0, 1]
/// Cost: one pass over the features. Stream: enqueues one kernel, does not wait. Determinism: same input and
/// seed, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> dropout(SparseTensor<Dim, Scalar, Space> const& x,
                                                       double probability, std::uint64_t seed,
                                                       Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "dropout");
  return x.with_features(detail::drop_elements(x.features(), probability, seed, exec));
}

namespace nn {

/// dropout() in training, with other elements at every call; its input in evaluation.
template <int Dim, class Scalar, class Space = Device>
class Dropout final : public RowModule<Dim, Scalar, Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;

  /// @throws invalid_argument  a probability outside [0, 1]
  explicit Dropout(double probability = 0.5, std::uint64_t seed = 0) : probability_{probability}, state_{seed}
  {
    detail::expects(probability >= 0 && probability <= 1, "Dropout: probability ", probability,
                    " is not in [0, 1]");
  }

  /// Cost, stream: as dropout() in training, none in evaluation. Determinism: the n-th call in training since
  /// the layer was made drops the same elements on every run; calls of several threads at once are not
  /// allowed.
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return this->is_training() ? dropout(x, probability_, detail::next_random(state_), exec) : x;
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(MatrixView<Scalar const> const& x,
                                              Execution<Space> const& exec) override
  {
    if (!this->is_training()) { return detail::copy_rows(x, exec); }
    return detail::drop_elements(x, probability_, detail::next_random(state_), exec);
  }

 private:
  double probability_;
  std::uint64_t state_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
