// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/layer_registry.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/combine.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// `config` with the seed of convolution `number` of a block.
[[nodiscard]] inline nn::LayerConfig nth_conv(nn::LayerConfig config, std::uint64_t number)
{
  return config.set("seed", config.get("seed", std::uint64_t{0}) + 2 * number);
}

/// The activation of a block: a module, and what it is in an Epilogue where that has a name for it.
template <int Dim, class Scalar, class Space>
class BlockActivation {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  BlockActivation() = default;
  explicit BlockActivation(nn::ModulePointer<Dim, Scalar, Space> module_of_it)
      : module_{std::move(module_of_it)}
  {
    if (auto const* const info = dynamic_cast<ops::ActivationInfo const*>(module_.get())) { info_ = *info; }
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    return module_->forward(x, exec);
  }
  /// Of the sum of two tensors, in one pass over the features where the Epilogue knows the activation.
  [[nodiscard]] Tensor forward_sum(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    auto const y = add_activate(a, b, info_.activation, info_.slope, exec);
    return info_.activation == Activation::none ? module_->forward(y, exec) : y;
  }

 private:
  nn::ModulePointer<Dim, Scalar, Space> module_;
  ops::ActivationInfo info_;
};

}  // namespace detail

namespace nn {

/// mmdetection3d's norm_cfg of sparse encoders: batch normalisation of epsilon 1e-3 and momentum 0.01.
[[nodiscard]] inline LayerConfig sparse_norm_config()
{
  return LayerConfig{"BN1d"}.set("eps", 1e-3).set("momentum", 0.01);
}

}  // namespace nn

/// Options of make_sparse_convmodule(): `ConvModuleOptions<3>(16, 32, 3).type("SparseConv3d").stride(2)`.
template <int Dim>
struct ConvModuleOptions {
  ConvModuleOptions(int in, int out, IntArray<Dim> size)
      : in_channels{in},
        out_channels{out},
        kernel_size{size},
        conv_config_{"SubMConv" + std::to_string(Dim) + "d"}
  {
    conv_config_.set("bias", false);
  }

  ConvModuleOptions& stride(IntArray<Dim> value) { return stride_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& stride() const noexcept { return stride_; }
  ConvModuleOptions& padding(IntArray<Dim> value) { return padding_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& padding() const noexcept { return padding_; }
  /// The convolution's type; an inverse one takes no stride and padding.
  ConvModuleOptions& type(std::string name) { return conv_config_.type(std::move(name)), *this; }
  [[nodiscard]] std::string const& type() const noexcept { return conv_config_.type(); }
  /// Seed of the convolution's initial values.
  ConvModuleOptions& seed(std::uint64_t value) { return conv_config_.set("seed", value), *this; }
  /// Run-time choices of the convolution; without them those of the calling thread.
  ConvModuleOptions& config(std::optional<ConvConfig> const& value)
  {
    return conv_config_.conv_config = value, *this;
  }
  /// The convolution's whole configuration, without a bias unless it says so.
  ConvModuleOptions& conv_config(nn::LayerConfig const& value)
  {
    bool const bias = value.get("bias", false);
    return conv_config_ = value, conv_config_.set("bias", bias), *this;
  }
  [[nodiscard]] nn::LayerConfig const& conv_config() const noexcept { return conv_config_; }
  ConvModuleOptions& norm_config(nn::LayerConfig const& value) { return norm_config_ = value, *this; }
  [[nodiscard]] nn::LayerConfig const& norm_config() const noexcept { return norm_config_; }
  ConvModuleOptions& activation(nn::LayerConfig const& value) { return activation_ = value, *this; }
  [[nodiscard]] nn::LayerConfig const& activation() const noexcept { return activation_; }
  /// "conv", "norm" and "act" in any order; any may be left out.
  ConvModuleOptions& order(std::vector<std::string> value) { return order_ = std::move(value), *this; }
  [[nodiscard]] std::vector<std::string> const& order() const noexcept { return order_; }

  int in_channels;
  int out_channels;
  IntArray<Dim> kernel_size;

 private:
  IntArray<Dim> stride_ = IntArray<Dim>(1);
  IntArray<Dim> padding_ = IntArray<Dim>(0);
  nn::LayerConfig conv_config_;
  nn::LayerConfig norm_config_ = nn::sparse_norm_config();
  nn::LayerConfig activation_{"relu"};
  std::vector<std::string> order_{"conv", "norm", "act"};
};

namespace nn {

/// Convolution without bias, normalisation and activation one after the other, named "0", "1", "2".
///
/// The normalisation has the channels it stands behind: those of the output after the convolution, of the
/// input before it.
/// @throws invalid_argument  a part that is not "conv", "norm" or "act", and what the layers say
/// Stream: enqueues the upload of the initial values.
/// Source: mmdetection3d's make_sparse_convmodule (whose norm has the output's channels wherever it stands).
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::unique_ptr<Sequential<Dim, Scalar, Space>> make_sparse_convmodule(
    ConvModuleOptions<Dim> const& options, Execution<Space> const& exec)
{
  auto result = std::make_unique<Sequential<Dim, Scalar, Space>>();
  int channels = options.in_channels;
  for (auto const& part : options.order()) {
    if (part == "conv") {
      result->append(build_conv_layer<Dim, Scalar>(options.conv_config(), options.in_channels,
                                                   options.out_channels, options.kernel_size,
                                                   options.stride(), options.padding(), exec));
      channels = options.out_channels;
    } else if (part == "norm") {
      result->append(build_norm_layer<Dim, Scalar>(options.norm_config(), channels, exec));
    } else {
      detail::expects(part == "act", "make_sparse_convmodule: there is no part \"", part,
                      "\"; there are: [conv, norm, act]");
      result->append(build_activation_layer<Dim, Scalar>(options.activation(), exec));
    }
  }
  return result;
}

}  // namespace nn

/// Options of the residual blocks: `SparseBlockOptions<3>(16, 16).activation("swish")`.
template <int Dim>
struct SparseBlockOptions {
  /// @param channels  of the block; a bottleneck puts out four times as many
  SparseBlockOptions(int in, int channels)
      : in_channels{in}, planes{channels}, conv_config_{"SubMConv" + std::to_string(Dim) + "d"}
  {
    conv_config_.set("bias", false);
  }

  SparseBlockOptions& stride(IntArray<Dim> value) { return stride_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& stride() const noexcept { return stride_; }
  /// Of the convolutions; det3d's blocks have one.
  SparseBlockOptions& bias(bool value) { return conv_config_.set("bias", value), *this; }
  /// Seed of the first convolution's initial values; the second's is 2 larger, the third's 4.
  SparseBlockOptions& seed(std::uint64_t value) { return conv_config_.set("seed", value), *this; }
  /// Run-time choices of the convolutions; without them those of the calling thread.
  SparseBlockOptions& config(std::optional<ConvConfig> const& value)
  {
    return conv_config_.conv_config = value, *this;
  }
  /// The convolutions' whole configuration, without a bias unless it says so.
  SparseBlockOptions& conv_config(nn::LayerConfig const& value)
  {
    bool const bias = value.get("bias", false);
    return conv_config_ = value, conv_config_.set("bias", bias), *this;
  }
  [[nodiscard]] nn::LayerConfig const& conv_config() const noexcept { return conv_config_; }
  SparseBlockOptions& norm_config(nn::LayerConfig const& value) { return norm_config_ = value, *this; }
  [[nodiscard]] nn::LayerConfig const& norm_config() const noexcept { return norm_config_; }
  SparseBlockOptions& activation(nn::LayerConfig const& value) { return activation_ = value, *this; }
  [[nodiscard]] nn::LayerConfig const& activation() const noexcept { return activation_; }

  int in_channels;
  int planes;

 private:
  IntArray<Dim> stride_ = IntArray<Dim>(1);
  nn::LayerConfig conv_config_;
  nn::LayerConfig norm_config_ = nn::sparse_norm_config();
  nn::LayerConfig activation_{"relu"};
};

namespace nn {

/// `act(bn2(conv2(act(bn1(conv1(x))))) + shortcut)`, the shortcut being x or `downsample(x)`.
///
/// Children as mmdetection3d names them: `conv1`, `bn1`, `conv2`, `bn2`, `downsample`. Both convolutions have
/// kernels of 3.
/// @throws invalid_argument  the branches end on different voxels or channels
///
/// Cost, stream: those of its layers.
/// Determinism: as convolution().
template <int Dim, class Scalar, class Space = Device>
class SparseBasicBlock final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;
  using Pointer = ModulePointer<Dim, Scalar, Space>;

  SparseBasicBlock(SparseBlockOptions<Dim> const& options, Execution<Space> const& exec,
                   Pointer downsample = nullptr)
      : downsample_{std::move(downsample)}
  {
    auto const conv = [&](std::uint64_t number, int in, IntArray<Dim> const& stride) {
      return build_conv_layer<Dim, Scalar, Space>(detail::nth_conv(options.conv_config(), number), in,
                                                  options.planes, 3, stride, 1, exec);
    };
    conv1_ = conv(0, options.in_channels, options.stride());
    bn1_ = build_norm_layer<Dim, Scalar>(options.norm_config(), options.planes, exec);
    conv2_ = conv(1, options.planes, 1);
    bn2_ = build_norm_layer<Dim, Scalar>(options.norm_config(), options.planes, exec);
    act_ = Activate{build_activation_layer<Dim, Scalar>(options.activation(), exec)};
    this->register_child("conv1", *conv1_);
    this->register_child("bn1", *bn1_);
    this->register_child("conv2", *conv2_);
    this->register_child("bn2", *bn2_);
    if (downsample_) { this->register_child("downsample", *downsample_); }
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    auto const y = act_.forward(bn1_->forward(conv1_->forward(x, exec), exec), exec);
    auto const shortcut = downsample_ ? downsample_->forward(x, exec) : x;
    return act_.forward_sum(bn2_->forward(conv2_->forward(y, exec), exec), shortcut, exec);
  }

 private:
  using Activate = detail::BlockActivation<Dim, Scalar, Space>;

  Pointer conv1_, bn1_, conv2_, bn2_, downsample_;
  Activate act_;
};

/// `act(bn3(conv3(act(bn2(conv2(act(bn1(conv1(x)))))))) + shortcut)`: kernels of 1, 3 and 1 voxels, the last
/// with four times the channels, the second with the stride.
///
/// Children as mmdetection3d names them: `conv1`, `bn1`, ..., `bn3`, `downsample`. Errors, cost, stream,
/// determinism: as SparseBasicBlock.
template <int Dim, class Scalar, class Space = Device>
class SparseBottleneck final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;
  using Pointer = ModulePointer<Dim, Scalar, Space>;
  static constexpr int expansion = 4;

  SparseBottleneck(SparseBlockOptions<Dim> const& options, Execution<Space> const& exec,
                   Pointer downsample = nullptr)
      : downsample_{std::move(downsample)}
  {
    int in = options.in_channels;
    for (unsigned i = 0; i < 3; ++i) {
      int const size = i == 1 ? 3 : 1;
      int const out = i == 2 ? expansion * options.planes : options.planes;
      conv_[i] =
          build_conv_layer<Dim, Scalar, Space>(detail::nth_conv(options.conv_config(), i), in, out, size,
                                               i == 1 ? options.stride() : IntArray<Dim>(1), size / 2, exec);
      bn_[i] = build_norm_layer<Dim, Scalar>(options.norm_config(), out, exec);
      this->register_child("conv" + std::to_string(i + 1), *conv_[i]);
      this->register_child("bn" + std::to_string(i + 1), *bn_[i]);
      in = out;
    }
    act_ = Activate{build_activation_layer<Dim, Scalar>(options.activation(), exec)};
    if (downsample_) { this->register_child("downsample", *downsample_); }
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    Tensor y = x;
    for (int i = 0; i < 2; ++i) { y = act_.forward(bn_[i]->forward(conv_[i]->forward(y, exec), exec), exec); }
    auto const shortcut = downsample_ ? downsample_->forward(x, exec) : x;
    return act_.forward_sum(bn_[2]->forward(conv_[2]->forward(y, exec), exec), shortcut, exec);
  }

 private:
  using Activate = detail::BlockActivation<Dim, Scalar, Space>;

  Pointer conv_[3], bn_[3], downsample_;
  Activate act_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
