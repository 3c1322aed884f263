// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/normalize.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/module.hpp>

namespace tessera {
inline namespace v0 {

/// Options of a normalisation: `NormOptions(64).eps(1e-3)`.
struct NormOptions {
  explicit NormOptions(int num_channels) : channels{num_channels} {}

  NormOptions& eps(double value) { return epsilon = value, *this; }
  /// Weight of the newest batch in running statistics.
  NormOptions& momentum(double value) { return newest = value, *this; }
  /// Whether there are a weight and a bias to train.
  NormOptions& affine(bool value) { return is_affine = value, *this; }

  int channels;
  double epsilon = 1e-5;
  double newest = 0.1;
  bool is_affine = true;
};

namespace detail {

inline void check_norm(NormOptions const& options, char const* who)
{
  expects(options.channels >= 1, who, ": ", options.channels, " channels; at least 1");
  expects(options.epsilon >= 0, who, ": epsilon ", options.epsilon, " is negative");
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
  using Sum = accumulator_t<Scalar>;
  detail::expect_coordinates(x, "batch_norm");
  detail::Normalization<Dim, Sum> by;
  by.mean = mean;
  by.variance = variance;
  by.weight = weight;
  by.bias = bias;
  by.epsilon = static_cast<Sum>(eps);
  by.groups = x.channels();
  return x.with_features(detail::normalize<Dim, Scalar>(x.features(), by, exec));
}

namespace nn {

/// Batch normalisation over all rows of all batch entries: by running statistics in evaluation, by those of
/// the batch in training, when it also updates the running ones (PyTorch's BatchNorm1d on the features).
///
/// Parameters: `weight`, `bias` [channels], buffers `running_mean`, `running_var` [channels]; float for every
/// scalar but double. They start as 1, 0, 0, 1.
template <int Dim, class Scalar, class Space = Device>
class BatchNorm final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;
  using Sum = accumulator_t<Scalar>;

  /// @throws invalid_argument  channels below 1, a negative epsilon
  /// Stream: enqueues the upload of the initial values.
  BatchNorm(NormOptions const& options, Execution<Space> const& exec) : options_{options}
  {
    detail::check_norm(options, "BatchNorm");
    auto const make = [&](char const* name, ParameterRole role, double value) {
      Parameter<Sum, Space> parameter{{options.channels}, exec};
      detail::fill_constant(parameter, value, exec);
      this->register_parameter(name, role, parameter, ScalarTraits<Sum>::dtype);
      return parameter;
    };
    if (options.is_affine) {
      weight_ = make("weight", ParameterRole::weight, 1);
      bias_ = make("bias", ParameterRole::bias, 0);
    }
    running_mean_ = make("running_mean", ParameterRole::buffer, 0);
    running_var_ = make("running_var", ParameterRole::buffer, 1);
  }
  BatchNorm(int channels, Execution<Space> const& exec) : BatchNorm{NormOptions{channels}, exec} {}

  /// Cost: one pass over the features; three in training. Stream: enqueues on `exec`, does not wait.
  /// Determinism: the same bits on every run; in training they depend on the order of the rows.
  /// @throws invalid_argument  x has other channels; one row alone in training, which has no variance
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    detail::expects(x.channels() == options_.channels, "BatchNorm: the tensor has ", x.channels(),
                    " channels but ", options_.channels, " were expected");
    detail::expects(options_.channels == running_mean_.size(), "BatchNorm: ", options_.channels,
                    " channels; they stay the ", running_mean_.size(), " the layer was made with");
    if (in_layer_before_) { return x; }
    auto const rows = this->is_training() ? x.num_rows() : 0;
    if (rows == 0) {
      return batch_norm(x, running_mean_.data(), running_var_.data(), weight_.data(), bias_.data(),
                        options_.epsilon, exec);
    }
    detail::expects(rows > 1, "BatchNorm: training needs more than 1 row to have a variance");
    auto const batch = detail::row_statistics<Dim, Scalar>(x.features(), {rows}, nullptr, nullptr, 1,
                                                           options_.channels, exec);
    for_each(options_.channels,
             detail::UpdateRunning<Sum>{batch.mean.data(), batch.variance.data(), running_mean_.data(),
                                        running_var_.data(), static_cast<Sum>(options_.newest),
                                        static_cast<Sum>(rows) / static_cast<Sum>(rows - 1)},
             exec);
    return batch_norm(x, batch.mean.data(), batch.variance.data(), weight_.data(), bias_.data(),
                      options_.epsilon, exec);
  }

  bool fuse_into(Module<Dim, Scalar, Space>& before, Execution<Space> const& exec) override
  {
    if (in_layer_before_) { return true; }
    Buffer<Sum, Space> scale{options_.channels, exec};
    Buffer<Sum, Space> shift{options_.channels, exec};
    for_each(
        options_.channels,
        detail::NormAsAffine<Sum>{running_mean_.data(), running_var_.data(), weight_.data(), bias_.data(),
                                  static_cast<Sum>(options_.epsilon), scale.data(), shift.data()},
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
