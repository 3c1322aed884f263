// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Norms that are hard to fold into a convolution, by fuse() and left as they are, against the definition in double.

#include "../support/device.hpp"

#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/sequential.hpp>
#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <random>
#include <type_traits>
#include <vector>

namespace adversarial_norms {

namespace ts = tessera;

/// What a scalar rounds to relatively, and the distance of its smallest numbers.
template <class Scalar>
struct Rounding {
  static constexpr double relative = std::is_same_v<Scalar, double>                          ? 0x1p-53
                                     : std::is_same_v<Scalar, float>                         ? 0x1p-24
                                     : ts::ScalarTraits<Scalar>::dtype == ts::DType::float16 ? 0x1p-11
                                                                                             : 0x1p-8;
  static constexpr double absolute =
      ts::ScalarTraits<Scalar>::dtype == ts::DType::float16 ? 0x1p-25 : 0x1p-126;
};

/// The statistics and parameters of a norm's channels, all alike.
struct Norm {
  double mean;
  double variance;
  double gamma;
  double beta;
};

/// A convolution of one voxel from `in` to `out` channels and a norm.
template <class Scalar, class Space>
class Network {
 public:
  using Sum = ts::accumulator_t<Scalar>;
  static constexpr int in = 12;
  static constexpr int out = 8;
  static constexpr int rows = 40;

  /// @param features  [rows, in], weight [in, out]
  Network(Norm const& norm, std::vector<double> const& features, std::vector<double> const& weight,
          ts::Execution<Space> const& exec)
      : exec_{exec}, features_{rounded(features)}, weight_{rounded(weight)}, norm_{norm}
  {
    std::vector<ts::Coordinate<3>> voxels;
    for (int i = 0; i < rows; ++i) { voxels.push_back({0, {i, 0, 0}}); }
    x_ = {make_coordinate_set(voxels, {}, exec), ts::upload_matrix(features_, in, exec)};
    auto& conv = net_.template add<ts::nn::Conv<3, Scalar, Space>>(ts::ConvOptions<3>(in, out, 1), exec);
    auto& batch_norm = net_.template add<ts::nn::BatchNorm<3, Scalar, Space>>(out, exec);
    ts::detail::Transfer<Space>::from_host(conv.weight().write(), weight_.data(),
                                           weight_.size() * sizeof(Scalar), exec);
    auto const put = [&](auto& parameter, double value) {
      std::vector<Sum> const values(out, static_cast<Sum>(value));
      ts::detail::Transfer<Space>::from_host(parameter.write(), values.data(), values.size() * sizeof(Sum),
                                             exec);
    };
    put(batch_norm.running_mean(), norm.mean);
    put(batch_norm.running_var(), norm.variance);
    put(batch_norm.weight(), norm.gamma);
    put(batch_norm.bias(), norm.beta);
  }

  [[nodiscard]] std::vector<double> run()
  {
    auto const y = (fused_ ? fused_->forward(x_, exec_) : net_.forward(x_, exec_)).features_on_host(exec_);
    std::vector<double> wide(y.size());
    std::transform(y.begin(), y.end(), wide.begin(), [](Scalar v) { return static_cast<double>(to_sum(v)); });
    return wide;
  }
  void fuse() { fused_.emplace(ts::nn::fuse(net_, x_, exec_)); }

  /// The definition, and how far rounding may take a result from it: folded or not, each product and the shift are
  /// rounded once, and so is what is stored.
  void by_definition(std::vector<double>& value, std::vector<double>& bound) const
  {
    double const scale = norm_.gamma / std::sqrt(norm_.variance + 1e-5);
    double const shift = norm_.beta - norm_.mean * scale;
    double const unit = Rounding<Scalar>::relative + 40 * 0x1p-24;  // float sums of all scalars but double
    for (int row = 0; row < rows; ++row) {
      for (int c = 0; c < out; ++c) {
        double sum = 0;
        double magnitude = 0;
        double largest = 0;
        for (int i = 0; i < in; ++i) {
          double const x = static_cast<double>(to_sum(features_[static_cast<std::size_t>(row * in + i)]));
          double const product =
              x * static_cast<double>(to_sum(weight_[static_cast<std::size_t>(i * out + c)]));
          sum += product;
          magnitude += std::abs(product);
          largest += std::abs(x);
        }
        double const result = sum * scale + shift;
        double const terms = std::abs(scale) * (magnitude + std::abs(norm_.mean)) + std::abs(norm_.beta);
        value.push_back(result);
        bound.push_back(4 * unit * (terms + std::abs(result)) +
                        Rounding<Scalar>::absolute * (largest + 2 + std::abs(scale)));
      }
    }
  }

  /// Whether weights and shift of the folded norm are numbers of Scalar.
  [[nodiscard]] bool can_be_folded() const
  {
    Sum const scale =
        static_cast<Sum>(norm_.gamma) / std::sqrt(static_cast<Sum>(norm_.variance) + static_cast<Sum>(1e-5));
    auto const holds = [](Sum v) { return std::isfinite(to_sum(static_cast<Scalar>(v))); };
    return holds(static_cast<Sum>(norm_.beta) - static_cast<Sum>(norm_.mean) * scale) &&
           std::all_of(weight_.begin(), weight_.end(), [&](Scalar w) { return holds(to_sum(w) * scale); });
  }

 private:
  [[nodiscard]] static Sum to_sum(Scalar value) { return static_cast<Sum>(value); }
  [[nodiscard]] static std::vector<Scalar> rounded(std::vector<double> const& values)
  {
    std::vector<Scalar> result;
    for (double const v : values) { result.push_back(static_cast<Scalar>(static_cast<Sum>(v))); }
    return result;
  }

  ts::Execution<Space> exec_;
  std::vector<Scalar> features_;
  std::vector<Scalar> weight_;
  Norm norm_;
  ts::SparseTensor<3, Scalar, Space> x_;
  ts::nn::Sequential<3, Scalar, Space> net_;
  std::optional<ts::nn::TracedModel<ts::SparseTensor<3, Scalar, Space>>> fused_;
};

/// A channel that is the same number everywhere, and so has no variance: the norm gives its bias, folded or not.
template <class Scalar, class Space>
void gives_the_bias_of_a_constant_channel(double constant)
{
  CAPTURE(constant);
  ts::Execution<Space> const exec{};
  using Net = Network<Scalar, Space>;
  std::vector<double> features(static_cast<std::size_t>(Net::rows * Net::in), 0.0);
  std::vector<double> weight(static_cast<std::size_t>(Net::in * Net::out), 0.0);
  for (int i = 0; i < Net::rows; ++i) { features[static_cast<std::size_t>(i * Net::in)] = 1; }
  for (int c = 0; c < Net::out; ++c) { weight[static_cast<std::size_t>(c)] = constant; }
  Net net{{constant, 0, 1, 0.5}, features, weight, exec};
  CHECK(net.run() == std::vector<double>(static_cast<std::size_t>(Net::rows * Net::out), 0.5));
  CHECK_FALSE(net.can_be_folded());
  net.fuse();
  CHECK(net.run() == std::vector<double>(static_cast<std::size_t>(Net::rows * Net::out), 0.5));
}

/// Means, variances, gammas and betas from tiny to huge: finite where they should be, and within the rounding.
template <class Scalar, class Space>
void stays_within_its_rounding()
{
  ts::Execution<Space> const exec{};
  using Net = Network<Scalar, Space>;
  std::mt19937 random{5};
  std::uniform_real_distribution<double> uniform{-1, 1};
  int folded = 0;
  int kept = 0;
  for (double const mean : {0.0, 3.0, -512.0, 3000.0}) {
    for (double const variance : {0.0, 1e-6, 1.0, 1e6, 1e12}) {
      for (double const gamma : {0.0, 1e-6, 1.0, -40.0, 3000.0}) {
        double const beta = 10 * uniform(random);
        CAPTURE(mean);
        CAPTURE(variance);
        CAPTURE(gamma);
        CAPTURE(beta);
        std::vector<double> features(static_cast<std::size_t>(Net::rows * Net::in));
        std::vector<double> weight(static_cast<std::size_t>(Net::in * Net::out));
        for (auto& v : features) { v = 2 * uniform(random); }
        for (auto& v : weight) { v = 4 * uniform(random); }
        Net net{{mean, variance, gamma, beta}, features, weight, exec};
        std::vector<double> expected;
        std::vector<double> bound;
        net.by_definition(expected, bound);
        bool const is_folded = net.can_be_folded();
        (is_folded ? folded : kept) += 1;
        auto const before = net.run();
        net.fuse();
        auto const after = net.run();
        if (!is_folded) { CHECK(after == before); }
        double worst = 0;
        for (std::size_t i = 0; i < after.size(); ++i) {
          if (std::abs(expected[i]) >
              (ts::ScalarTraits<Scalar>::dtype == ts::DType::float16 ? 60000 : 1e30)) {
            continue;  // the result itself may not fit
          }
          for (double const found : {before[i], after[i]}) {
            double const error = std::abs(found - expected[i]) / bound[i];
            worst = std::max(worst, std::isnan(error) ? 1e9 : error);
          }
        }
        CHECK(worst <= 1);
      }
    }
  }
  CHECK(folded > 50);
  CHECK((kept > 0 || ts::ScalarTraits<Scalar>::dtype != ts::DType::float16));
}

}  // namespace adversarial_norms
