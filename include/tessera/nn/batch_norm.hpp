// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/initialize.hpp>
#include <tessera/nn/row_module.hpp>
#include <tessera/nn/synchronize.hpp>
#include <tessera/ops/normalization.hpp>

namespace tessera {
inline namespace v0 {

/// Options of a normalisation: `NormOptions(64).eps(1e-3)`.
struct NormOptions {
  explicit NormOptions(int num_channels) : channels{num_channels} {}

  /// Added to the variance.
  NormOptions& eps(double value) { return eps_ = value, *this; }
  [[nodiscard]] double eps() const noexcept { return eps_; }
  /// Weight of the newest batch in running statistics.
  NormOptions& momentum(double value) { return momentum_ = value, *this; }
  [[nodiscard]] double momentum() const noexcept { return momentum_; }
  /// Whether there are a weight and a bias to train.
  NormOptions& affine(bool value) { return affine_ = value, *this; }
  [[nodiscard]] bool affine() const noexcept { return affine_; }

  int channels;

 private:
  double eps_ = 1e-5;
  double momentum_ = 0.1;
  bool affine_ = true;
};

namespace detail {

inline void check_norm(NormOptions const& options, char const* who)
{
  expects(options.channels >= 1, who, ": ", options.channels, " channels; at least 1");
  expects(options.eps() >= 0, who, ": epsilon ", options.eps(), " is negative");
}

}  // namespace detail

namespace nn {

/// Batch normalisation over all rows of all batch entries: by running statistics in evaluation, by those of
/// the batch in training, when it also updates the running ones (PyTorch's BatchNorm1d on the features).
///
/// Parameters: `weight`, `bias` [channels], buffers `running_mean`, `running_var` [channels]; float for every
/// scalar but double. They start as 1, 0, 0, 1.
template <int Dim, class Scalar, class Space = Device>
class BatchNorm final : public RowModule<Dim, Scalar, Space>, public Synchronizable<Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;
  using Sum = accumulator_t<Scalar>;

  /// @throws invalid_argument  channels below 1, a negative epsilon
  /// Stream: enqueues the upload of the initial values.
  BatchNorm(NormOptions const& options, Execution<Space> const& exec) : options_{options}
  {
    detail::check_norm(options, "BatchNorm");
    auto const make = [&](Parameter<Sum, Space>& parameter, char const* name, ParameterRole role,
                          double value) {
      parameter = Parameter<Sum, Space>{{options.channels}, exec};
      detail::fill_constant(parameter, value, exec);
      this->register_parameter(name, role, parameter);
    };
    if (options.affine()) {
      make(weight_, "weight", ParameterRole::weight, 1);
      make(bias_, "bias", ParameterRole::bias, 0);
    }
    make(running_mean_, "running_mean", ParameterRole::buffer, 0);
    make(running_var_, "running_var", ParameterRole::buffer, 1);
  }
  BatchNorm(int channels, Execution<Space> const& exec) : BatchNorm{NormOptions{channels}, exec} {}

  /// Cost: one pass over the features; two in training.
  /// Stream: enqueues on `exec`, does not wait.
  /// Determinism: the same bits on every run; in training they depend on the order of the rows.
  /// @throws invalid_argument  x has other channels; one row alone in training, which has no variance
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    expect_channels(x.channels(), "tensor");
    return normalize(x, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) override
  {
    expect_channels(x.columns(), "matrix");
    return normalize(x, exec);
  }

  /// The same of points.
  [[nodiscard]] PointTensor<Dim, Scalar, Space> forward(PointTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec)
  {
    expect_channels(x.channels(), "tensor");
    return normalize(x, exec);
  }

  void synchronize(ops::RowExchange<Space>* exchange) noexcept override { exchange_ = exchange; }

  [[nodiscard]] NormOptions& options() noexcept { return options_; }
  [[nodiscard]] NormOptions const& options() const noexcept { return options_; }
  [[nodiscard]] Parameter<Sum, Space>& weight() noexcept { return weight_; }
  [[nodiscard]] Parameter<Sum, Space>& bias() noexcept { return bias_; }
  [[nodiscard]] Parameter<Sum, Space>& running_mean() noexcept { return running_mean_; }
  [[nodiscard]] Parameter<Sum, Space>& running_var() noexcept { return running_var_; }

 private:
  void expect_channels(std::int64_t channels, char const* what) const
  {
    detail::expects(channels == options_.channels, "BatchNorm: the ", what, " has ", channels,
                    " channels but ", options_.channels, " were expected");
    detail::expects(options_.channels == running_mean_.size(), "BatchNorm: ", options_.channels,
                    " channels; they stay the ", running_mean_.size(), " the layer was made with");
  }

  template <class Value>
  [[nodiscard]] Value normalize(Value const& x, Execution<Space> const& exec)
  {
    if (!this->is_training()) {
      return detail::batch_norm<Value, Scalar>(
          x, {running_mean_, running_var_, weight_, bias_, options_.channels, options_.eps()}, exec);
    }
    return detail::batch_norm_training<Value, Scalar>(x, {weight_, bias_, options_.channels, options_.eps()},
                                                      {{running_mean_.write(), running_mean_.id()},
                                                       {running_var_.write(), running_var_.id()},
                                                       options_.momentum()},
                                                      exchange_, "BatchNorm", exec);
  }

  NormOptions options_;
  Parameter<Sum, Space> weight_;
  Parameter<Sum, Space> bias_;
  Parameter<Sum, Space> running_mean_;
  Parameter<Sum, Space> running_var_;
  ops::RowExchange<Space>* exchange_ = nullptr;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
