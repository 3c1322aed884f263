// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/combine.hpp>
#include <tessera/nn/layer_registry.hpp>

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

/// `act(norm(conv(x)) + residual)`, in one pass over the features where `act` is one that passes can take
/// along and, once fused, the norm is a part of the convolution.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> end_block(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& residual,
    nn::Module<Dim, Scalar, Space>& conv, nn::Module<Dim, Scalar, Space>& norm, bool norm_is_fused,
    nn::Module<Dim, Scalar, Space>& act, Execution<Space> const& exec)
{
  auto const epilogue = act.as_epilogue();
  auto const y = norm_is_fused ? conv.forward_add(x, residual, epilogue, exec)
                               : norm.forward_add(conv.forward(x, exec), residual, epilogue, exec);
  return epilogue.activation == Activation::none ? act.forward(y, exec) : y;
}

}  // namespace detail

namespace nn {

/// mmdetection3d's norm_cfg of sparse encoders: batch normalisation of epsilon 1e-3 and momentum 0.01.
[[nodiscard]] inline LayerConfig sparse_norm_config()
{
  return LayerConfig{"BN1d"}.set("eps", 1e-3).set("momentum", 0.01);
}

/// Options of make_sparse_convmodule(): `ConvModuleOptions<3>(16, 32, 3).type("SparseConv3d").stride(2)`.
template <int Dim>
struct ConvModuleOptions {
  ConvModuleOptions(int in, int out, IntArray<Dim> size)
      : in_channels{in}, out_channels{out}, kernel_size{size}, conv{"SubMConv" + std::to_string(Dim) + "d"}
  {
    conv.set("bias", false);
  }

  ConvModuleOptions& stride(IntArray<Dim> value) { return step = value, *this; }
  ConvModuleOptions& padding(IntArray<Dim> value) { return border = value, *this; }
  /// The convolution's type; an inverse one takes no stride and padding.
  ConvModuleOptions& type(std::string name) { return conv.type(std::move(name)), *this; }
  /// Seed of the convolution's initial values.
  ConvModuleOptions& seed(std::uint64_t value) { return conv.set("seed", value), *this; }
  /// Run-time choices of the convolution; without them those of the calling thread.
  ConvModuleOptions& config(ConvConfig const& value) { return conv.conv_config = value, *this; }
  /// The convolution's whole configuration, without a bias unless it says so.
  ConvModuleOptions& conv_config(LayerConfig const& value)
  {
    bool const bias = value.get("bias", false);
    return conv = value, conv.set("bias", bias), *this;
  }
  ConvModuleOptions& norm_config(LayerConfig const& value) { return norm = value, *this; }
  ConvModuleOptions& activation(LayerConfig const& value) { return act = value, *this; }
  /// "conv", "norm" and "act" in any order; any may be left out.
  ConvModuleOptions& order(std::vector<std::string> value) { return parts = std::move(value), *this; }

  int in_channels;
  int out_channels;
  IntArray<Dim> kernel_size;
  IntArray<Dim> step = IntArray<Dim>(1);
  IntArray<Dim> border = IntArray<Dim>(0);
  LayerConfig conv;
  LayerConfig norm = sparse_norm_config();
  LayerConfig act{"relu"};
  std::vector<std::string> parts{"conv", "norm", "act"};
};

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
  for (auto const& part : options.parts) {
    if (part == "conv") {
      result->append(build_conv_layer<Dim, Scalar>(options.conv, options.in_channels, options.out_channels,
                                                   options.kernel_size, options.step, options.border, exec));
      channels = options.out_channels;
    } else if (part == "norm") {
      result->append(build_norm_layer<Dim, Scalar>(options.norm, channels, exec));
    } else {
      detail::expects(part == "act", "make_sparse_convmodule: there is no part \"", part,
                      "\"; there are: [conv, norm, act]");
      result->append(build_activation_layer<Dim, Scalar>(options.act, exec));
    }
  }
  return result;
}

/// Options of the residual blocks: `SparseBlockOptions<3>(16, 16).activation("swish")`.
template <int Dim>
struct SparseBlockOptions {
  /// @param planes_of_block  channels of the block; a bottleneck puts out four times as many
  SparseBlockOptions(int in, int planes_of_block)
      : in_channels{in}, planes{planes_of_block}, conv{"SubMConv" + std::to_string(Dim) + "d"}
  {
    conv.set("bias", false);
  }

  SparseBlockOptions& stride(IntArray<Dim> value) { return step = value, *this; }
  /// Of the convolutions; det3d's blocks have one.
  SparseBlockOptions& bias(bool value) { return conv.set("bias", value), *this; }
  /// Seed of the first convolution's initial values; the second's is 2 larger, the third's 4.
  SparseBlockOptions& seed(std::uint64_t value) { return conv.set("seed", value), *this; }
  /// Run-time choices of the convolutions; without them those of the calling thread.
  SparseBlockOptions& config(ConvConfig const& value) { return conv.conv_config = value, *this; }
  /// The convolutions' whole configuration, without a bias unless it says so.
  SparseBlockOptions& conv_config(LayerConfig const& value)
  {
    bool const bias = value.get("bias", false);
    return conv = value, conv.set("bias", bias), *this;
  }
  SparseBlockOptions& norm_config(LayerConfig const& value) { return norm = value, *this; }
  SparseBlockOptions& activation(LayerConfig const& value) { return act = value, *this; }

  int in_channels;
  int planes;
  IntArray<Dim> step = IntArray<Dim>(1);
  LayerConfig conv;
  LayerConfig norm = sparse_norm_config();
  LayerConfig act{"relu"};
};

/// `act(bn2(conv2(act(bn1(conv1(x))))) + shortcut)`, the shortcut being x or `downsample(x)`.
///
/// Children as mmdetection3d names them: `conv1`, `bn1`, `conv2`, `bn2`, `downsample`. Both convolutions have
/// kernels of 3.
/// @throws invalid_argument  the branches end on different voxels or channels
///
/// Cost, stream: those of its layers. Determinism: as convolution().
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
      return build_conv_layer<Dim, Scalar, Space>(detail::nth_conv(options.conv, number), in, options.planes,
                                                  3, stride, 1, exec);
    };
    conv1_ = conv(0, options.in_channels, options.step);
    bn1_ = build_norm_layer<Dim, Scalar>(options.norm, options.planes, exec);
    conv2_ = conv(1, options.planes, 1);
    bn2_ = build_norm_layer<Dim, Scalar>(options.norm, options.planes, exec);
    act_ = build_activation_layer<Dim, Scalar>(options.act, exec);
    this->register_child("conv1", *conv1_);
    this->register_child("bn1", *bn1_);
    this->register_child("conv2", *conv2_);
    this->register_child("bn2", *bn2_);
    if (downsample_) { this->register_child("downsample", *downsample_); }
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    auto y = bn1_->forward(conv1_->forward(x, exec), exec);
    if (!act1_is_fused_) { y = act_->forward(y, exec); }
    return detail::end_block(y, downsample_ ? downsample_->forward(x, exec) : x, *conv2_, *bn2_,
                             bn2_is_fused_, *act_, exec);
  }

  void fuse(Execution<Space> const& exec) override
  {
    bool const bn1_is_fused = bn1_->fuse_into(*conv1_, exec);
    act1_is_fused_ = act1_is_fused_ || (bn1_is_fused && conv1_->activate_output(act_->as_epilogue()));
    bn2_is_fused_ = bn2_->fuse_into(*conv2_, exec);
    this->fuse_children(*this, exec);
  }

 private:
  Pointer conv1_, bn1_, conv2_, bn2_, act_, downsample_;
  bool act1_is_fused_ = false;
  bool bn2_is_fused_ = false;
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
          build_conv_layer<Dim, Scalar, Space>(detail::nth_conv(options.conv, i), in, out, size,
                                               i == 1 ? options.step : IntArray<Dim>(1), size / 2, exec);
      bn_[i] = build_norm_layer<Dim, Scalar>(options.norm, out, exec);
      this->register_child("conv" + std::to_string(i + 1), *conv_[i]);
      this->register_child("bn" + std::to_string(i + 1), *bn_[i]);
      in = out;
    }
    act_ = build_activation_layer<Dim, Scalar>(options.act, exec);
    if (downsample_) { this->register_child("downsample", *downsample_); }
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    Tensor y = x;
    for (int i = 0; i < 2; ++i) {
      y = act_->forward(bn_[i]->forward(conv_[i]->forward(y, exec), exec), exec);
    }
    return detail::end_block(y, downsample_ ? downsample_->forward(x, exec) : x, *conv_[2], *bn_[2],
                             bn3_is_fused_, *act_, exec);
  }

  void fuse(Execution<Space> const& exec) override
  {
    for (int i = 0; i < 3; ++i) { bn3_is_fused_ = bn_[i]->fuse_into(*conv_[i], exec); }
    this->fuse_children(*this, exec);
  }

 private:
  Pointer conv_[3], bn_[3], act_, downsample_;
  bool bn3_is_fused_ = false;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
