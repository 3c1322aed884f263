// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/normalize.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/row_module.hpp>

namespace tessera {
inline namespace v0 {

namespace nn {

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

}  // namespace nn

namespace detail {

inline void check_norm(nn::NormOptions const& options, char const* who)
{
  expects(options.channels >= 1, who, ": ", options.channels, " channels; at least 1");
  expects(options.eps() >= 0, who, ": epsilon ", options.eps(), " is negative");
}

/// running = (1 - momentum) running + momentum * statistic, the variance made unbiased.
template <class Sum>
struct UpdateRunning {
  Sum const* mean;        // [channels]
  Sum const* variance;    // [channels]
  Sum* running_mean;      // [channels]
  Sum* running_variance;  // [channels]
  Sum momentum;
  Sum unbiased;  // rows / (rows - 1)

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    running_mean[c] = (Sum{1} - momentum) * running_mean[c] + momentum * mean[c];
    running_variance[c] = (Sum{1} - momentum) * running_variance[c] + momentum * (unbiased * variance[c]);
  }
};

/// scale = weight / sqrt(variance + epsilon), shift = bias - mean * scale.
template <class Sum>
struct NormAsAffine {
  Sum const* mean;      // [channels]
  Sum const* variance;  // [channels]
  Sum const* weight;    // [channels], or null: ones
  Sum const* bias;      // [channels], or null: zeros
  Sum epsilon;
  Sum* scale;  // [channels]
  Sum* shift;  // [channels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    using std::sqrt;
    scale[c] = (weight != nullptr ? weight[c] : Sum{1}) / sqrt(variance[c] + epsilon);
    shift[c] = (bias != nullptr ? bias[c] : Sum{0}) - mean[c] * scale[c];
  }
};

/// batch_norm() of the rows of a matrix.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> normalize_channels(MatrixView<Scalar const> const& x,
                                                       accumulator_t<Scalar> const* mean,
                                                       accumulator_t<Scalar> const* variance,
                                                       accumulator_t<Scalar> const* weight,
                                                       accumulator_t<Scalar> const* bias, double eps,
                                                       Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  Normalization<Dim, Sum> by;
  by.mean = mean;
  by.variance = variance;
  by.weight = weight;
  by.bias = bias;
  by.epsilon = static_cast<Sum>(eps);
  by.groups = static_cast<int>(x.columns);
  return normalize<Dim, Scalar>(x, by, exec);
}

}  // namespace detail

/// `y[i, c] = (x[i, c] - mean[c]) / sqrt(variance[c] + eps) * weight[c] + bias[c]`, computed in float (double
/// for double) and rounded once.
///
/// | name                         | shape      | memory | holds                                |
/// |------------------------------|------------|--------|--------------------------------------|
/// | mean, variance, weight, bias | [channels] | Space  | float (double); the last two or null |
///
/// Cost: one pass over the features. Stream: enqueues one kernel, does not wait. Determinism: same input,
/// same bits, in any order of the rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> batch_norm(SparseTensor<Dim, Scalar, Space> const& x,
                                                          accumulator_t<Scalar> const* mean,
                                                          accumulator_t<Scalar> const* variance,
                                                          accumulator_t<Scalar> const* weight,
                                                          accumulator_t<Scalar> const* bias, double eps,
                                                          Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "batch_norm");
  return x.with_features(
      detail::normalize_channels<Dim>(x.features(), mean, variance, weight, bias, eps, exec));
}

namespace nn {

/// Batch normalisation over all rows of all batch entries: by running statistics in evaluation, by those of
/// the batch in training, when it also updates the running ones (PyTorch's BatchNorm1d on the features).
///
/// Parameters: `weight`, `bias` [channels], buffers `running_mean`, `running_var` [channels]; float for every
/// scalar but double. They start as 1, 0, 0, 1.
template <int Dim, class Scalar, class Space = Device>
class BatchNorm final : public RowModule<Dim, Scalar, Space> {
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

  /// Cost: one pass over the features; three in training. Stream: enqueues on `exec`, does not wait.
  /// Determinism: the same bits on every run; in training they depend on the order of the rows.
  /// @throws invalid_argument  x has other channels; one row alone in training, which has no variance
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    expect_channels(x.channels(), "tensor");
    if (in_layer_before_) { return x; }
    auto const rows = this->is_training() ? x.num_rows() : 0;
    return x.with_features(normalize(x.features(), rows, exec));
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(MatrixView<Scalar const> const& x,
                                              Execution<Space> const& exec) override
  {
    expect_channels(x.columns, "matrix");
    if (in_layer_before_) { return detail::copy_rows(x, exec); }
    return normalize(x, this->is_training() ? x.rows : 0, exec);
  }

  bool fuse_into(Module<Dim, Scalar, Space>& before, Execution<Space> const& exec) override
  {
    if (in_layer_before_) { return true; }
    Buffer<Sum, Space> scale{options_.channels, exec};
    Buffer<Sum, Space> shift{options_.channels, exec};
    for_each(
        options_.channels,
        detail::NormAsAffine<Sum>{running_mean_.data(), running_var_.data(), weight_.data(), bias_.data(),
                                  static_cast<Sum>(options_.eps()), scale.data(), shift.data()},
        exec);
    return in_layer_before_ = before.scale_output(scale.data(), shift.data(), exec);
  }

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

  /// @param rows  to take the statistics from, or 0: the running ones hold
  [[nodiscard]] Matrix<Scalar, Space> normalize(MatrixView<Scalar const> const& x, std::int64_t rows,
                                                Execution<Space> const& exec)
  {
    if (rows == 0) {
      return detail::normalize_channels<Dim>(x, running_mean_.data(), running_var_.data(), weight_.data(),
                                             bias_.data(), options_.eps(), exec);
    }
    detail::expects(rows > 1, "BatchNorm: training needs more than 1 row to have a variance");
    auto const batch =
        detail::row_statistics<Dim, Scalar>(x, {rows}, nullptr, nullptr, 1, options_.channels, exec);
    for_each(options_.channels,
             detail::UpdateRunning<Sum>{batch.mean.data(), batch.variance.data(), running_mean_.write(),
                                        running_var_.write(), static_cast<Sum>(options_.momentum()),
                                        static_cast<Sum>(rows) / static_cast<Sum>(rows - 1)},
             exec);
    return detail::normalize_channels<Dim>(x, batch.mean.data(), batch.variance.data(), weight_.data(),
                                           bias_.data(), options_.eps(), exec);
  }

  NormOptions options_;
  Parameter<Sum, Space> weight_;
  Parameter<Sum, Space> bias_;
  Parameter<Sum, Space> running_mean_;
  Parameter<Sum, Space> running_var_;
  bool in_layer_before_ = false;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
