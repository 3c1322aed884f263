// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/recorder.hpp>

#include <cstdint>
#include <optional>
#include <unordered_map>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The variables that a list of operations was given or makes, each as it was then: a write in between is no
/// operation, so the list that runs again would leave it out.
class KnownVariables {
 public:
  void add(VariableId id, std::uint64_t version) { versions_[id] = version; }
  /// One that is taken as it is when it is first read.
  void add(VariableId id) { versions_.emplace(id, std::nullopt); }

  [[nodiscard]] bool has(VariableId id) const { return versions_.count(id) > 0; }
  /// Notes that a variable is read in a version; false where it was written since it was added.
  [[nodiscard]] bool read(VariableId id, std::uint64_t version)
  {
    auto& known = versions_[id];
    if (!known) { known = version; }
    return *known == version;
  }

 private:
  std::unordered_map<VariableId, std::optional<std::uint64_t>> versions_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
