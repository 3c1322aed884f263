// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/layer_config.hpp>
#include <tessera/nn/module.hpp>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// ProducerLayers of layers by name: what a configuration's `type` means.
///
/// A registry that was made knows nothing; layer_registry() knows Tessera's layers. Names are added once,
/// from any thread and any translation unit, also before main().
template <int Dim, class Scalar, class Space = Device>
class Registry {
 public:
  using Pointer = ModulePointer<Dim, Scalar, Space>;
  /// Makes a layer from its configuration; throws invalid_argument where the configuration cannot be meant.
  using Maker = std::function<Pointer(LayerConfig const&, Execution<Space> const&)>;

  Registry() = default;
  Registry(Registry const&) = delete;
  Registry& operator=(Registry const&) = delete;

  /// Adds a kind of layer. @throws invalid_argument  the name is taken, or there is no maker
  Registry& add(std::string const& name, Maker maker)
  {
    detail::expects(static_cast<bool>(maker), "Registry: \"", name, "\" has no maker");
    std::lock_guard lock{mutex_};
    bool const added = makers_.emplace(name, std::move(maker)).second;
    detail::expects(added, "Registry: \"", name, "\" is registered already");
    return *this;
  }

  [[nodiscard]] bool contains(std::string const& name) const
  {
    std::lock_guard lock{mutex_};
    return makers_.count(name) != 0;
  }
  /// Every name, in alphabetical order.
  [[nodiscard]] std::vector<std::string> names() const
  {
    std::lock_guard lock{mutex_};
    std::vector<std::string> result;
    for (auto const& entry : makers_) { result.push_back(entry.first); }
    return result;
  }

  /// The layer that `config` describes.
  /// @throws invalid_argument  no such type: the sentence lists those there are; what the maker says
  [[nodiscard]] Pointer build(LayerConfig const& config, Execution<Space> const& exec) const
  {
    Maker maker;
    {
      std::lock_guard lock{mutex_};
      auto const found = makers_.find(config.type());
      if (found != makers_.end()) { maker = found->second; }
    }
    detail::expects(static_cast<bool>(maker), "Registry: there is no layer \"", config.type(), "\" in ", Dim,
                    " dimensions; there are: ", detail::list(names()));
    return maker(config, exec);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Maker> makers_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
