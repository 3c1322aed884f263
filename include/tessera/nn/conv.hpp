// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/nn/conv_observer.hpp>
#include <tessera/nn/conv_options.hpp>
#include <tessera/nn/detail/scale_channels.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/module.hpp>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// Sparse convolution with its weight: of any ConvolutionKind, by its options.
///
/// Parameters: `kernel` (or as told) [volume, in_channels, out_channels], or [in_channels, out_channels] where
/// size and stride are 1 (as TorchSparse stores it); `bias` [out_channels] if asked for. Initial values are
/// uniform in `+-1 / sqrt(channels * volume)`, channels being in_channels, or out_channels of a transposed
/// layer (TorchSparse).
///
/// @tparam Policy  RuntimePolicy (default): chosen by options or thread; or a ConvPolicy: chosen at compile time
template <int Dim, class Scalar, class Space = Device, class Policy = RuntimePolicy>
class Conv final : public Module<Dim, Scalar, Space> {
  static_assert(std::is_same_v<Policy, RuntimePolicy> || is_conv_policy<Policy>::value,
                "Conv<Dim, Scalar, Space, Policy>: Policy must be RuntimePolicy, a ConvPolicy or a type with "
                "its members");

 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  /// @throws invalid_argument  channels, kernel size, stride or dilation below 1, padding below 0
  /// Stream: enqueues the upload of the initial values.
  Conv(ConvOptions<Dim> const& options, Execution<Space> const& exec) : options_{options}
  {
    detail::check_geometry(options.geometry, "Conv");
    if (options.kind() == ConvolutionKind::submanifold) { options_.stride(1); }
    detail::expects(options.in_channels >= 1 && options.out_channels >= 1, "Conv: ", options.in_channels,
                    " -> ", options.out_channels, " channels; both must be at least 1");
    auto const volume = options.geometry.volume();
    bool const pointwise = volume == 1 && all_equal(options_.geometry.stride, 1);
    std::vector<std::int64_t> shape{options.in_channels, options.out_channels};
    if (!pointwise) { shape.insert(shape.begin(), volume); }
    auto const channels = options.is_transposed() ? options.out_channels : options.in_channels;
    auto const bound = 1.0 / std::sqrt(static_cast<double>(channels) * volume);
    kernel_ = detail::uniform_parameter<Scalar>(std::move(shape), bound, options.seed(), exec);
    std::vector<int> const size(options.geometry.kernel_size.begin(), options.geometry.kernel_size.end());
    this->register_parameter(options.weight_name(), ParameterRole::kernel, kernel_,
                             ScalarTraits<Scalar>::dtype, size);
    if (options.bias()) {
      bias_ = detail::uniform_parameter<Scalar>({options.out_channels}, bound, options.seed() + 1, exec);
      this->register_parameter("bias", ParameterRole::bias, bias_, ScalarTraits<Scalar>::dtype);
    }
  }

  /// The layer's convolution of `x`; cost, stream and determinism are those of convolution().
  /// @throws invalid_argument  x has other channels than in_channels, and what convolution() says
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    expect_channels(x.channels());
    if (observer_ != nullptr) { observer_->called(*this, x, nullptr, epilogue_); }
    return convolve(x, epilogue_, exec);
  }

  [[nodiscard]] Tensor forward_add(Tensor const& x, Tensor const& residual, Epilogue<Scalar> const& epilogue,
                                   Execution<Space> const& exec) override
  {
    bool const keeps_voxels = options_.kind() == ConvolutionKind::submanifold;
    if (!has_epilogue || !keeps_voxels || epilogue_.activation != Activation::none) {
      return Module<Dim, Scalar, Space>::forward_add(x, residual, epilogue, exec);
    }
    expect_channels(x.channels());
    detail::expect_same_voxels(x, residual, "residual block");
    auto with_residual = epilogue;
    with_residual.residual = residual.features();
    if (observer_ != nullptr) { observer_->called(*this, x, &residual, with_residual); }
    return convolve(x, with_residual, exec);
  }

  [[nodiscard]] bool takes_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const override
  {
    auto const config = this->config();
    if (!has_epilogue || observer_ != nullptr || config.dataflow != Dataflow::implicit_gemm ||
        config.splits != 1) {
      return false;
    }
    auto arguments =
        detail::make_arguments<Scalar>(kernel_.data(), nullptr, options_.out_channels, config.math);
    arguments.kernel = config.kernel;
    arguments.features = a.features().data;
    arguments.in_channels = a.channels() + b.channels();
    arguments.more = b.features();
    return detail::ConvolutionBackend<Space>::plan(arguments, {0, options_.geometry.volume()}, 1, exec)
        .reads_two_inputs;
  }

  [[nodiscard]] Tensor forward_pair(Tensor const& a, Tensor const& b, Execution<Space> const& exec) override
  {
    detail::expect_same_voxels(a, b, "Conv of two tensors", "cat_by_coordinate()");
    expect_channels(a.channels() + b.channels());
    return convolve(a, epilogue_, exec, b.features());
  }

  /// Folds what was folded into the weight, and lays it out as the space's kernels read it.
  void fuse(Execution<Space> const& exec) override
  {
    this->mark_fused();
    keep(pack(config(), exec));
  }

  bool activate_output(Epilogue<Scalar> const& epilogue) override
  {
    if (!has_epilogue || epilogue.activation == Activation::none ||
        epilogue_.activation != Activation::none) {
      return false;
    }
    epilogue_.activation = epilogue.activation;
    epilogue_.slope = epilogue.slope;
    return true;
  }

  bool scale_output(accumulator_t<Scalar> const* scale, accumulator_t<Scalar> const* shift,
                    Execution<Space> const& exec) override
  {
    if (epilogue_.activation != Activation::none) { return false; }
    detail::ScaledChannels<Scalar> const scaled{kernel_.data(), options_.bias() ? bias_.data() : nullptr,
                                                scale, shift, options_.out_channels};
    if (!detail::holds_scaled(scaled, kernel_.size(), exec)) { return false; }
    if (!options_.bias()) { bias_ = Parameter<Scalar, Space>{{options_.out_channels}, exec}; }
    options_.bias(true);
    for_each(kernel_.size() + bias_.size(),
             detail::WriteScaled<Scalar>{scaled, kernel_.size(), kernel_.data(), bias_.data()}, exec);
    if (this->is_fused()) { keep(pack(config(), exec)); }
    return true;
  }

  /// To be changed, but for channels and kernel size, which the weight has.
  [[nodiscard]] ConvOptions<Dim>& options() noexcept { return options_; }
  [[nodiscard]] ConvOptions<Dim> const& options() const noexcept { return options_; }
  /// The run-time choices that forward() makes on this thread: the layer's own, or the thread's.
  [[nodiscard]] ConvConfig config() const
  {
    auto result = options_.config() ? *options_.config() : thread_conv_config();
    if (options_.compat()) { result.compat = *options_.compat(); }
    return result;
  }
  /// A weight as a configuration's kernel reads it.
  struct LaidOut {
    ConvConfig config;
    detail::PackedWeight<Scalar, Space> weight;
  };
  /// The weight as `config` wants it, for configure(); none where fuse() laid none out, or has laid it out
  /// so.
  /// Stream: enqueues at most a kernel, does not wait.
  [[nodiscard]] std::optional<LaidOut> lay_out(ConvConfig const& config, Execution<Space> const& exec) const
  {
    bool const fits =
        laid_out_ && laid_out_->config.kernel == config.kernel && laid_out_->config.math == config.math;
    if (!laid_out_ || fits) { return std::nullopt; }
    return pack(config, exec);
  }
  /// Makes `config` the layer's own, with what lay_out() gave for it. The weight as it was laid out before
  /// stays, for plans that were made with it.
  void configure(ConvConfig const& config, std::optional<LaidOut> laid_out)
  {
    if (laid_out && laid_out_) { change_layout(std::move(*laid_out)); }
    options_.config(config);
  }
  /// Makes `config` the layer's own; options().config() does too, but leaves the weight of a fused layer as
  /// it was laid out, so that other tiles have to lay it out at every call. Laid out anew, it lies in memory
  /// of `exec`, and calls on other streams must wait for it.
  /// Stream: enqueues at most a kernel, does not
  /// wait. Where memory runs out, nothing changes.
  void configure(ConvConfig const& config, Execution<Space> const& exec)
  {
    configure(config, lay_out(config, exec));
  }
  /// Who is told of every call, or null; must live as long as it is set. Returns who was before.
  ConvObserver<Dim, Scalar, Space>* observe(ConvObserver<Dim, Scalar, Space>* observer) noexcept
  {
    return std::exchange(observer_, observer);
  }
  /// Whoever asks may write, so what fuse() laid out is dropped.
  [[nodiscard]] Parameter<Scalar, Space>& kernel() noexcept
  {
    laid_out_.reset();
    former_.clear();
    return kernel_;
  }
  [[nodiscard]] Parameter<Scalar, Space> const& kernel() const noexcept { return kernel_; }
  [[nodiscard]] Parameter<Scalar, Space>& bias() noexcept { return bias_; }
  [[nodiscard]] Parameter<Scalar, Space> const& bias() const noexcept { return bias_; }
  /// The weight as fuse() or configure() laid it out, or none.
  [[nodiscard]] detail::PackedWeightView<Scalar> packed() const
  {
    return laid_out_ ? laid_out_->weight.view() : detail::PackedWeightView<Scalar>{};
  }
  /// Whether fuse() laid the weight out, and nobody may have written to it since.
  [[nodiscard]] bool is_laid_out() const noexcept { return laid_out_.has_value(); }

 private:
  static constexpr bool has_epilogue = std::is_same_v<Policy, RuntimePolicy>;

  void expect_channels(int channels) const
  {
    detail::expects(channels == options_.in_channels, "Conv: the tensor has ", channels, " channels but ",
                    options_.in_channels, " -> ", options_.out_channels, " were expected");
  }

  /// @param more  features that follow those of `x`, or none
  [[nodiscard]] Tensor convolve(Tensor const& x, [[maybe_unused]] Epilogue<Scalar> const& epilogue,
                                Execution<Space> const& exec,
                                [[maybe_unused]] MatrixView<Scalar const> const& more = {}) const
  {
    auto const channels = std::int64_t{options_.in_channels} * options_.out_channels;
    detail::expects(kernel_.size() == channels * options_.geometry.volume(), "Conv: a weight of ",
                    kernel_.size(), " values; channels and kernel size stay those the layer was made with");
    auto const* const bias = options_.bias() ? bias_.data() : nullptr;
    auto const config = this->config();
    if constexpr (has_epilogue) {
      auto arguments = detail::make_arguments(kernel_.data(), bias, options_.out_channels, config.math);
      arguments.epilogue = epilogue;
      arguments.more = more;
      arguments.packed = packed();
      return detail::convolution(x, arguments, options_.kind(), options_.geometry, config, exec);
    } else {
      return convolution<Policy>(x, kernel_.data(), bias, options_.out_channels, options_.kind(),
                                 options_.geometry, config.math, config.compat, exec);
    }
  }

  [[nodiscard]] LaidOut pack(ConvConfig const& config, [[maybe_unused]] Execution<Space> const& exec) const
  {
    LaidOut result{config, {}};
    if constexpr (has_epilogue) {
      auto arguments =
          detail::make_arguments<Scalar>(kernel_.data(), nullptr, options_.out_channels, config.math);
      arguments.kernel = config.kernel;
      arguments.in_channels = options_.in_channels;
      auto const plan =
          detail::ConvolutionBackend<Space>::plan(arguments, {0, options_.geometry.volume()}, 1, exec);
      result.weight = detail::pack_weight(
          plan, detail::weight_of(arguments, options_.geometry.volume()), exec);
    }
    return result;
  }
  /// Makes `next` the weight in use, or one of before that has its layout.
  void change_layout(LaidOut next)
  {
    auto const is_alike = [&](LaidOut const& other) { return other.weight.layout == next.weight.layout; };
    if (!is_alike(*laid_out_)) {
      auto const found = std::find_if(former_.begin(), former_.end(), is_alike);
      std::swap(*laid_out_, found != former_.end() ? *found : former_.emplace_back(std::move(next)));
    }
    laid_out_->config = next.config;
  }
  void keep(LaidOut laid_out)
  {
    laid_out_.emplace(std::move(laid_out));
    former_.clear();
  }

  ConvOptions<Dim> options_;
  Parameter<Scalar, Space> kernel_;
  Parameter<Scalar, Space> bias_;
  Epilogue<Scalar> epilogue_;        // an activation that fuse() put here
  std::optional<LaidOut> laid_out_;  // the kernel once more, of a fused layer
  std::vector<LaidOut> former_;      // the same in the layouts it had before, for earlier plans
  ConvObserver<Dim, Scalar, Space>* observer_ = nullptr;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
