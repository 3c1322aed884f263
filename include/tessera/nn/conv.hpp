// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/conv_options.hpp>
#include <tessera/nn/detail/packed_weights.hpp>
#include <tessera/nn/detail/plan_of_weight.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/ops/convolution.hpp>

#include <cmath>
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
/// Where the space's kernels read the weight in an order of their own, the layer packs it at its first call
/// and again when the weight's version has changed: see Parameter::write() and Parameter::mark_written().
///
/// @tparam Policy  RuntimePolicy (default): chosen by options or thread; or a ConvPolicy: chosen at compile
///                 time
template <int Dim, class Scalar, class Space = Device, class Policy = RuntimePolicy>
class Conv final : public Module<Dim, Scalar, Space>, private ops::WeightSource<Scalar, Space> {
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
    weight_ = detail::uniform_parameter<Scalar>(std::move(shape), bound, options.seed(), exec);
    auto const& box = options.geometry.kernel_size;  // by which checkpoints number the offsets of one
    auto const size =
        options.shape().is_box() ? std::vector<int>(box.begin(), box.end()) : std::vector<int>{};
    this->register_parameter(options.weight_name(), ParameterRole::conv_weight, weight_, size);
    if (options.bias()) {
      bias_ = detail::uniform_parameter<Scalar>({options.out_channels}, bound, options.seed() + 1, exec);
      this->register_parameter("bias", ParameterRole::bias, bias_);
    }
  }

  /// The layer's convolution of `x`; cost, stream and determinism are those of convolution().
  /// @throws invalid_argument  x has other channels than in_channels, and what convolution() throws
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    expect_channels(x.channels());
    return detail::convolve<Dim, Scalar, Space>({x}, weight_, used_bias(), convolution_options(), means(),
                                                exec);
  }

  /// `forward(cat({a, b}))`, without the copy where the layer's kernel reads two tensors: `a` [rows, m] and `b`
  /// [rows, n] on the same voxels, for a layer of m + n input channels.
  /// @throws invalid_argument  the two are on different voxels, and what forward() throws
  /// Cost: that of forward(), and of cat() unless reads_two(). Stream, determinism: as forward().
  [[nodiscard]] Tensor forward(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    detail::expect_same_voxels(a, b, "Conv of two tensors", "cat_by_coordinate()");
    expect_channels(a.channels() + b.channels());
    return detail::convolve<Dim, Scalar, Space>({a, &b}, weight_, used_bias(), convolution_options(), means(),
                                                exec);
  }
  [[nodiscard]] Tensor operator()(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return forward(a, b, exec);
  }
  using Module<Dim, Scalar, Space>::operator();
  /// Whether the kernel of forward() reads two tensors as they are.
  [[nodiscard]] bool reads_two(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const
  {
    return detail::reads_two_tensors(a, b, weight_.data(), convolution_options(), method(), exec);
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
  /// Packs the weight now as `config` wants it, which forward() does at its first call: so that it allocates
  /// nothing there.
  /// Stream: enqueues at most a kernel, does not wait.
  void pack(ConvConfig const& config, Execution<Space> const& exec) const
  {
    static_cast<void>(packed(config, exec));
  }
  /// Makes `config` the layer's own, with its weight packed for it; packed copies that no plan holds and the
  /// layer needs no longer are dropped.
  /// @pre  nobody else uses the layer meanwhile; its calls on streams other than that of its constructor have
  ///       ended
  /// Stream: enqueues at most a kernel, does not wait. Where memory runs out, nothing changes.
  void configure(ConvConfig const& config, Execution<Space> const& exec)
  {
    pack(config, exec);
    options_.config(config);
    drop_unused_packs();
  }
  /// Drops the packed copies that the layer's own config does not read and no plan holds.
  /// @pre  as configure()
  void drop_unused_packs() { packed_.keep_only(key_of(config())); }
  [[nodiscard]] Parameter<Scalar, Space>& weight() noexcept { return weight_; }
  [[nodiscard]] Parameter<Scalar, Space> const& weight() const noexcept { return weight_; }
  [[nodiscard]] Parameter<Scalar, Space>& bias() noexcept { return bias_; }
  [[nodiscard]] Parameter<Scalar, Space> const& bias() const noexcept { return bias_; }
  /// The weight as the kernels of forward() read it, packed where it is not yet; none where that is the order
  /// it has.
  /// Stream: enqueues at most a kernel, does not wait.
  [[nodiscard]] detail::PackedWeightView<Scalar> packed(Execution<Space> const& exec) const
  {
    return packed(config(), exec);
  }
  /// Bytes of its packed copies.
  [[nodiscard]] std::size_t packed_bytes() const { return packed_.bytes(); }

 private:
  static constexpr bool is_runtime = std::is_same_v<Policy, RuntimePolicy>;

  /// Throws unless tensor and weight have the channels that the layer was made with.
  void expect_channels(int channels) const
  {
    detail::expects(channels == options_.in_channels, "Conv: the tensor has ", channels, " channels but ",
                    options_.in_channels, " -> ", options_.out_channels, " were expected");
    auto const pairs = std::int64_t{options_.in_channels} * options_.out_channels;
    detail::expects(weight_.size() == pairs * options_.geometry.volume(), "Conv: a weight of ",
                    weight_.size(), " values; channels and kernel size stay those the layer was made with");
  }

  [[nodiscard]] ConvolutionOptions<Dim> convolution_options() const
  {
    return {options_.out_channels, options_.kind(), options_.geometry, this->config()};
  }
  /// That of the policy; null where choices are made at run time.
  [[nodiscard]] static ops::ConvolutionMethod<Dim, Scalar, Space> const* method()
  {
    if constexpr (is_runtime) {
      return nullptr;
    } else {
      return &detail::policy_method<Policy, Dim, Scalar, Space>();
    }
  }

  /// What forward() computes by.
  [[nodiscard]] detail::ConvolutionMeans<Dim, Scalar, Space> means() const
  {
    detail::ConvolutionMeans<Dim, Scalar, Space> result;
    result.method = method();
    if constexpr (is_runtime) {
      ops::WeightSource<Scalar, Space> const& source = *this;
      result.source = &source;
    }
    return result;
  }
  [[nodiscard]] ParameterRef<Scalar> used_bias() const
  {
    return options_.bias() ? ParameterRef<Scalar>{bias_} : ParameterRef<Scalar>{};
  }

  using Packs = detail::PackedWeights<Scalar, Space>;

  [[nodiscard]] static typename Packs::Key key_of(ConvConfig const& config)
  {
    return {config.kernel, config.math};
  }
  [[nodiscard]] detail::PackedWeightView<Scalar> packed(
      [[maybe_unused]] ConvConfig const& config, [[maybe_unused]] Execution<Space> const& exec) const final
  {
    if constexpr (is_runtime) {
      auto const volume = options_.geometry.volume();
      bool const reads_packed = config.dataflow == Dataflow::implicit_gemm &&
                                (config.splits == 1 || volume == 1);  // one offset is one split
      if (reads_packed) {
        return packed_.get(key_of(config), weight_, exec, [&] {
          return detail::plan_of_weight(weight_.data(), options_.in_channels, options_.out_channels, volume,
                                        false, config, exec);
        });
      }
    }
    return {};
  }

  ConvOptions<Dim> options_;
  Parameter<Scalar, Space> weight_;
  Parameter<Scalar, Space> bias_;
  mutable Packs packed_;  // of the weight, as the kernels read it
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
