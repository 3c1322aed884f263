// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <map>
#include <memory>
#include <string>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Objects by name, of any type: tables, maps and orders that later stages derive from a coordinate set.
/// A name starts with the kind of object, so one name is always one type.
class ObjectCache {
 public:
  /// The object called `name`, made by `make()` -> shared_ptr<T> when there is none yet.
  template <class T, class Make>
  std::shared_ptr<T> get_or_make(std::string const& name, Make&& make)
  {
    auto const found = objects_.find(name);
    if (found != objects_.end()) { return std::static_pointer_cast<T>(found->second); }
    std::shared_ptr<T> object = make();
    objects_.emplace(name, object);
    return object;
  }

  /// The object called `name`, or null.
  template <class T>
  [[nodiscard]] std::shared_ptr<T> find(std::string const& name) const
  {
    auto const found = objects_.find(name);
    return found == objects_.end() ? nullptr : std::static_pointer_cast<T>(found->second);
  }

  [[nodiscard]] std::size_t size() const noexcept { return objects_.size(); }

 private:
  std::map<std::string, std::shared_ptr<void>> objects_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
