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
  /// Makes a layer from its configuration; throws invalid_argument where the configuration is invalid.
  using Factory = std::function<Pointer(LayerConfig const&, Execution<Space> const&)>;

  Registry() = default;
  Registry(Registry const&) = delete;
  Registry& operator=(Registry const&) = delete;

  /// Adds a kind of layer. @throws invalid_argument  the name is taken, or there is no factory
  Registry& add(std::string const& name, Factory factory)
  {
    detail::expects(static_cast<bool>(factory), "Registry: \"", name, "\" has no factory");
    std::lock_guard lock{mutex_};
    bool const added = factories_.emplace(name, std::move(factory)).second;
    detail::expects(added, "Registry: \"", name, "\" is registered already");
    return *this;
  }

  [[nodiscard]] bool contains(std::string const& name) const
  {
    std::lock_guard lock{mutex_};
    return factories_.count(name) != 0;
  }
  /// Every name, in alphabetical order.
  [[nodiscard]] std::vector<std::string> names() const
  {
    std::lock_guard lock{mutex_};
    std::vector<std::string> result;
    for (auto const& entry : factories_) { result.push_back(entry.first); }
    return result;
  }

  /// The layer that `config` describes.
  /// @throws invalid_argument  no such type: the sentence lists those there are; what the factory says
  [[nodiscard]] Pointer build(LayerConfig const& config, Execution<Space> const& exec) const
  {
    Factory factory;
    {
      std::lock_guard lock{mutex_};
      auto const found = factories_.find(config.type());
      if (found != factories_.end()) { factory = found->second; }
    }
    detail::expects(static_cast<bool>(factory), "Registry: there is no layer \"", config.type(), "\" in ",
                    Dim, " dimensions; there are: ", detail::list(names()));
    return factory(config, exec);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Factory> factories_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
