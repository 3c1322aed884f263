// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/gradient_of.hpp>
#include <tessera/ops/gradients.hpp>

#include <cstdint>
#include <memory>
#include <typeindex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The gradients of a tape: what records see of them, and what the tape does with them.
template <class Space>
class GradientStore final : public ops::Gradients<Space> {
  using Base = ops::Gradients<Space>;

 public:
  using Entries = std::unordered_map<VariableId, typename Base::Entry>;

  // --- what is wanted

  void want(VariableId id) { this->wanted_.insert(id); }
  void unwant_variables() { this->wanted_.clear(); }
  void set_target(VariableId id, GradientTarget<Space> target)
  {
    this->parameters_.insert_or_assign(id, std::move(target));
  }
  void remove_target(VariableId id) { this->parameters_.erase(id); }
  /// Sends gradients of parameters where `other` does.
  void share_targets(GradientStore const& other) { this->parameters_ = other.parameters_; }
  [[nodiscard]] bool is_parameter(VariableId id) const { return this->parameters_.count(id) > 0; }

  // --- what there is

  [[nodiscard]] bool is_reached(VariableId parameter) const { return this->reached_.count(parameter) > 0; }
  void reach(VariableId parameter) { this->reached_.insert(parameter); }
  [[nodiscard]] std::unordered_set<VariableId> const& reached() const noexcept { return this->reached_; }
  void forget_reached() { this->reached_.clear(); }

  void drop(VariableId id) { this->gradients_.erase(id); }
  void drop_all() { this->gradients_.clear(); }
  /// Takes the gradient of a variable out, into `to`.
  void move_to(Entries& to, VariableId id)
  {
    auto found = this->gradients_.extract(id);
    if (!found.empty()) { to.insert_or_assign(id, std::move(found.mapped())); }
  }
  [[nodiscard]] Entries const& gradients() const noexcept { return this->gradients_; }
  /// Puts back what move_to() took out.
  void adopt(Entries&& entries) { this->gradients_ = std::move(entries); }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
