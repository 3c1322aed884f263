// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/spvnas.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace models {

/// The supernet of SPVNAS: the weights of every network in a SPVNASSpace at once.
///
/// A subnet takes the first channels of each layer; after a concatenation the first of both tensors. forward()
/// runs the selected subnet, which is the largest at first. Parameter names are those of SPVNAS's supernet
/// (`downsample.0.feature.layers.0.net.layers.0.net.conv.kernel`, `classifier.linear.weight`, ...).
///
/// Source: Tang et al., SPVNAS, ECCV 2020.
template <int Dim, class Scalar, class Space = Device>
class SPVNASSupernet final : public nn::ModuleBase {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;
  using Subnet = SPVNAS<Dim, Scalar, Space>;

  /// @throws invalid_argument  a space without networks
  /// Stream: enqueues the upload of the initial values.
  SPVNASSupernet(SPVNASSpace const& space, Execution<Space> const& exec,
                 std::optional<ConvConfig> const& conv_config = {}, std::uint64_t seed = 0)
      : space_{space}, whole_{space.largest(), detail::SPVNASNames{true}, conv_config, seed, exec}
  {
    this->register_child("", whole_);
  }

  /// A network of its own with the weights and statistics of `config`.
  ///
  /// @throws invalid_argument  more channels or blocks than the supernet has, other shortcuts
  /// Cost: one pass over the subnet's parameters.
  /// Stream: enqueues a kernel for each, does not wait.
  /// Determinism: the values are copies, so that the subnet gives the bits of the supernet run with that
  /// configuration.
  [[nodiscard]] std::unique_ptr<Subnet> extract(SPVNASConfig const& config, Execution<Space> const& exec)
  {
    check(config);
    auto subnet =
        std::unique_ptr<Subnet>(new Subnet{config, detail::SPVNASNames{false}, whole_.conv_config_, 0, exec});
    for (std::size_t part = 0; part < subnet->parts_.size(); ++part) {
      auto& own = subnet->parts_[part];
      for (std::size_t k = 0; k < own.size(); ++k) {
        auto& from = whole_.parts_[part][k];
        take(*from.conv, *own[k].conv, own[k].split, from.split, exec);
        take(*from.norm, *own[k].norm, exec);
      }
    }
    for (std::size_t k = 0; k < whole_.transforms_.size(); ++k) {
      take(whole_.transforms_[k]->linear(), subnet->transforms_[k]->linear(), exec);
      take(whole_.transforms_[k]->norm(), subnet->transforms_[k]->norm(), exec);
    }
    take(whole_.classifier_->linear(), subnet->classifier_->linear(), exec);
    return subnet;
  }

  /// Makes `config` the network that forward() runs, with the parameters as they are now.
  /// @throws invalid_argument  as extract(); the selection stays
  /// Cost, stream: as extract().
  void select(SPVNASConfig const& config, Execution<Space> const& exec) { selected_ = extract(config, exec); }

  /// forward() of the selected network.
  /// @throws invalid_argument  what SPVNAS::forward() throws
  /// Cost, stream, determinism: as SPVNAS::forward().
  template <class Input>
  [[nodiscard]] Points forward(Input const& x, Execution<Space> const& exec)
  {
    return (selected_ ? *selected_ : whole_).forward(x, exec);
  }

  [[nodiscard]] SPVNASSpace const& space() const noexcept { return space_; }
  [[nodiscard]] SPVNASConfig const& selected() const noexcept
  {
    return (selected_ ? *selected_ : whole_).config();
  }

 private:
  void check(SPVNASConfig const& config) const
  {
    detail::check_config(config, "SPVNAS");
    auto const& most = whole_.config();
    auto const at_most = [](int value, int limit, char const* what) {
      detail::expects(value <= limit, "SPVNAS: ", value, " ", what, " but the supernet has ", limit);
    };
    detail::expects(config.in_channels == most.in_channels && config.num_classes == most.num_classes &&
                        config.classifier_channels == most.classifier_channels &&
                        config.output_channels[0] == most.output_channels[0],
                    "SPVNAS: a subnet has the supernet's input, stem and classifier");
    for (std::size_t i = 1; i < most.output_channels.size(); ++i) {
      at_most(config.output_channels[i], most.output_channels[i], "channels of an output");
    }
    for (std::size_t i = 0; i < 2 * SPVNASConfig::num_stages; ++i) {
      auto const n = i % SPVNASConfig::num_stages;
      auto const& stage = i < SPVNASConfig::num_stages ? config.down[n] : config.up[n];
      auto const& whole = i < SPVNASConfig::num_stages ? most.down[n] : most.up[n];
      at_most(stage.transition, whole.transition, "channels of a transition");
      for (std::size_t j = 0; j < static_cast<std::size_t>(stage.depth); ++j) {
        at_most(stage.hidden[j], whole.hidden[j], "channels of a block");
      }
      detail::expects(stage.has_shortcut == whole.has_shortcut,
                      "SPVNAS: a subnet has the shortcuts of the supernet");
    }
  }

  template <class T>
  static void take(nn::Parameter<T, Space>& from, nn::Parameter<T, Space>& to, std::int64_t split,
                   std::int64_t from_split, Execution<Space> const& exec)
  {
    auto const extent = [](nn::Parameter<T, Space> const& of, std::size_t from_last) {
      auto const& shape = of.shape();
      return from_last < shape.size() ? shape[shape.size() - 1 - from_last] : std::int64_t{1};
    };
    for_each(to.size(),
             detail::TakeChannels<T>{from.data(), to.write(), extent(from, 1), extent(from, 0), extent(to, 1),
                                     extent(to, 0), split, from_split},
             exec);
  }
  static void take(nn::Conv<Dim, Scalar, Space>& from, nn::Conv<Dim, Scalar, Space>& to, std::int64_t split,
                   std::int64_t from_split, Execution<Space> const& exec)
  {
    take(from.weight(), to.weight(), split, from_split, exec);
  }
  static void take(nn::BatchNorm<Dim, Scalar, Space>& from, nn::BatchNorm<Dim, Scalar, Space>& to,
                   Execution<Space> const& exec)
  {
    take(from.weight(), to.weight(), 0, 0, exec);
    take(from.bias(), to.bias(), 0, 0, exec);
    take(from.running_mean(), to.running_mean(), 0, 0, exec);
    take(from.running_var(), to.running_var(), 0, 0, exec);
  }
  static void take(nn::Linear<Dim, Scalar, Space>& from, nn::Linear<Dim, Scalar, Space>& to,
                   Execution<Space> const& exec)
  {
    take(from.weight(), to.weight(), 0, 0, exec);
    take(from.bias(), to.bias(), 0, 0, exec);
  }

  SPVNASSpace space_;
  Subnet whole_;
  std::unique_ptr<Subnet> selected_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
