// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/record.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A list of operations with who makes and who reads each variable. Numbers of operations stay while others are
/// removed.
template <class Space>
class FuseGraph {
 public:
  using Record = ops::ReplayableRecord<Space>;
  using Operations = std::vector<std::shared_ptr<Record const>>;
  static constexpr std::size_t none = ~std::size_t{0};

  FuseGraph(Operations operations, std::vector<VariableId> const& outputs)
      : operations_{std::move(operations)}, outputs_{outputs}
  {
    for (std::size_t i = 0; i < operations_.size(); ++i) { add(i); }
  }

  [[nodiscard]] std::size_t size() const noexcept { return operations_.size(); }
  [[nodiscard]] bool is_there(std::size_t i) const { return operations_[i] != nullptr; }
  [[nodiscard]] Record const& operator[](std::size_t i) const { return *operations_[i]; }
  [[nodiscard]] bool is_output(VariableId id) const
  {
    return std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end();
  }
  /// The operations that read a variable, each as often as it does.
  [[nodiscard]] std::vector<std::size_t> readers(VariableId id) const
  {
    auto const found = readers_.find(id);
    return found != readers_.end() ? found->second : std::vector<std::size_t>{};
  }
  /// The operation that makes a variable which one operation reads, once, and nobody else; else none.
  [[nodiscard]] std::size_t only_source(VariableId id) const
  {
    auto const source = source_.find(id);
    bool const is_inner = source != source_.end() && readers(id).size() == 1 && !is_output(id);
    return is_inner ? source->second : none;
  }

  void replace(std::size_t i, std::shared_ptr<Record const> record)
  {
    forget(i);
    operations_[i] = std::move(record);
    add(i);
  }
  void remove(std::size_t i)
  {
    forget(i);
    operations_[i] = nullptr;
  }
  /// The operations that are left.
  [[nodiscard]] Operations take()
  {
    operations_.erase(std::remove(operations_.begin(), operations_.end(), nullptr), operations_.end());
    return std::move(operations_);
  }

 private:
  void add(std::size_t i)
  {
    for (auto const id : operations_[i]->inputs()) { readers_[id].push_back(i); }
    for (auto const id : operations_[i]->outputs()) { source_[id] = i; }
  }
  void forget(std::size_t i)
  {
    for (auto const id : operations_[i]->inputs()) {
      auto& readers = readers_[id];
      readers.erase(std::find(readers.begin(), readers.end(), i));
    }
    for (auto const id : operations_[i]->outputs()) {
      if (source_[id] == i) { source_.erase(id); }
    }
  }

  Operations operations_;
  std::vector<VariableId> outputs_;
  std::unordered_map<VariableId, std::size_t> source_;
  std::unordered_map<VariableId, std::vector<std::size_t>> readers_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
