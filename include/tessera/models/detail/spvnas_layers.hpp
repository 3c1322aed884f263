// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/layer_factory.hpp>
#include <tessera/models/spvnas_config.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/linear.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What SPVNAS calls its parts: those of the supernet wrap one layer more, which a subnet does not have.
struct SPVNASNames {
  explicit SPVNASNames(bool is_supernet)
      : feature{is_supernet ? "feature.layers." : "feature."},
        main{is_supernet ? "net.layers." : "net."},
        norm{is_supernet ? "net.bn.bn" : "net.bn"},
        linear{is_supernet ? "net.conv.linear" : "net.conv"}
  {}

  std::string feature;
  std::string main;
  std::string conv = "net.conv";
  std::string norm;
  std::string linear;
};

/// A convolution and its norm: what a subnet takes a part of. It takes the first channels; after a
/// concatenation the first of both tensors.
template <int Dim, class Scalar, class Space>
struct ElasticLayer {
  nn::Conv<Dim, Scalar, Space>* conv;
  nn::BatchNorm<Dim, Scalar, Space>* norm;
  std::int64_t split = 0;  // channels of the first tensor; 0: no concatenation
};

/// Appends convolution and norm to `to`, named with `prefix`.
template <int Dim, class Scalar, class Space>
[[nodiscard]] ElasticLayer<Dim, Scalar, Space> add_layer(nn::Sequential<Dim, Scalar, Space>& to,
                                                         ConvOptions<Dim> const& options,
                                                         std::string const& prefix, SPVNASNames const& names,
                                                         Execution<Space> const& exec)
{
  auto conv = std::make_unique<nn::Conv<Dim, Scalar, Space>>(options, exec);
  auto norm = std::make_unique<nn::BatchNorm<Dim, Scalar, Space>>(options.out_channels, exec);
  ElasticLayer<Dim, Scalar, Space> const result{conv.get(), norm.get()};
  to.append(std::move(conv), prefix + names.conv);
  to.append(std::move(norm), prefix + names.norm);
  return result;
}

/// `relu(main(x) + shortcut(x))` with channels of its own between the convolutions of main.
template <int Dim, class Scalar, class Space>
class SPVNASBlock final : public nn::Module<Dim, Scalar, Space> {
 public:
  using typename nn::Module<Dim, Scalar, Space>::Tensor;
  using Layers = std::vector<ElasticLayer<Dim, Scalar, Space>>;

  /// @param split   channels before concatenated ones, or 0
  /// @param layers  gets convolutions and norms
  SPVNASBlock(int in, int hidden, int out, bool has_shortcut, int split, LayerFactory<Dim>& factory,
              SPVNASNames const& names, Layers& layers, Execution<Space> const& exec)
  {
    auto& main = branches_.main;
    layers.push_back(add_layer(main, factory.conv(in, hidden, 3), "0.", names, exec));
    layers.back().split = split;
    branches_.conv = layers.back().conv;
    main.append(std::make_unique<nn::ReLU<Dim, Scalar, Space>>(), "0.net.act");
    layers.push_back(add_layer(main, factory.conv(hidden, out, 3), "1.", names, exec));
    auto name = names.main;
    name.pop_back();  // the dot
    this->register_child(name, main);
    if (!has_shortcut) { return; }
    layers.push_back(add_layer(branches_.shortcut, factory.conv(in, out, 1), "", names, exec));
    layers.back().split = split;
    branches_.shortcut_conv = layers.back().conv;
    this->register_child("downsample", branches_.shortcut);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return branches_.forward(x, exec);
  }
  /// `forward(cat({a, b}))`, without the copy where the kernels of both branches read two tensors.
  [[nodiscard]] Tensor forward(Tensor const& a, Tensor const& b, Execution<Space> const& exec)
  {
    return branches_.forward(a, b, exec);
  }

 private:
  ResidualBranches<Dim, Scalar, Space> branches_;
};

/// A stage down or up: a convolution of stride 2, the skipped features beside it on the way up, and blocks.
template <int Dim, class Scalar, class Space>
class SPVNASStage final : public nn::ModuleBase {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Block = SPVNASBlock<Dim, Scalar, Space>;

  /// @param skip    channels of the skipped features; of a stage down 0
  /// @param layers  of each part, in order: the transition, then the blocks
  SPVNASStage(int in, int skip, int out, models::SPVNASConfig::Stage const& stage, bool is_up,
              LayerFactory<Dim>& factory, SPVNASNames const& names,
              std::vector<typename Block::Layers>& layers, Execution<Space> const& exec)
  {
    auto options = factory.conv(in, stage.transition, 2);
    options.stride(2);
    if (is_up) { options.transposed(); }
    layers.push_back({add_layer(transition_, options, "", names, exec)});
    transition_.append(std::make_unique<nn::ReLU<Dim, Scalar, Space>>(), "net.act");
    this->register_child("transition", transition_);
    for (int j = 0; j < stage.depth; ++j) {
      auto const& hidden = stage.hidden[static_cast<std::size_t>(j)];
      layers.emplace_back();
      blocks_.push_back(std::make_unique<Block>(
          j == 0 ? stage.transition + skip : out, hidden, out, j == 0 && stage.has_shortcut,
          j == 0 && is_up ? stage.transition : 0, factory, names, layers.back(), exec));
      this->register_child(names.feature + std::to_string(j), *blocks_.back());
    }
  }

  /// @param x     given back as soon as it has been read
  /// @param skip  of a stage up, else null
  [[nodiscard]] Tensor forward(Tensor x, Tensor const* skip, Execution<Space> const& exec)
  {
    auto y = transition_.forward(std::exchange(x, {}), exec);
    y = skip != nullptr ? blocks_[0]->forward(y, *skip, exec) : blocks_[0]->forward(y, exec);
    for (std::size_t j = 1; j < blocks_.size(); ++j) { y = blocks_[j]->forward(y, exec); }
    return y;
  }

 private:
  nn::Sequential<Dim, Scalar, Space> transition_;
  std::vector<std::unique_ptr<Block>> blocks_;
};

/// A linear layer that has weights for more channels than it may be given: the first are used.
template <int Dim, class Scalar, class Space>
class LeadingLinear final : public nn::ModuleBase {
 public:
  LeadingLinear(LinearOptions const& options, Execution<Space> const& exec) : linear_{options, exec}
  {
    this->register_child("linear", linear_);
  }

  [[nodiscard]] PointTensor<Dim, Scalar, Space> forward(PointTensor<Dim, Scalar, Space> const& z,
                                                        Execution<Space> const& exec)
  {
    auto const& options = linear_.options();
    if (z.channels() == options.in_channels) { return linear_.forward(z, exec); }
    expects(z.channels() >= 1 && z.channels() < options.in_channels, "SPVNAS: ", z.channels(),
            " channels for a classifier of ", options.in_channels);
    // rows of the weight are input channels, so that the first of them are a matrix too
    return detail::linear<PointTensor<Dim, Scalar, Space>, Scalar, Space>(
        z, linear_.weight(), linear_.bias(), {options.out_channels, options.math()}, nullptr, exec);
  }
  [[nodiscard]] nn::Linear<Dim, Scalar, Space>& linear() noexcept { return linear_; }

 private:
  nn::Linear<Dim, Scalar, Space> linear_;
};

/// to[v, i, o] = from[v, channel of i, o], the channel being i, or `i - split + from_split` from `split` on.
template <class T>
struct TakeChannels {
  T const* from;
  T* to;
  std::int64_t from_in;
  std::int64_t from_out;
  std::int64_t in;
  std::int64_t out;
  std::int64_t split;  // 0: none
  std::int64_t from_split;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / out;
    auto const v = row / in;
    auto const i = row - v * in;
    auto const channel = i < split || split == 0 ? i : i - split + from_split;
    to[n] = from[(v * from_in + channel) * from_out + (n - row * out)];
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
