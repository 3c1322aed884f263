// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/recorder.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <memory>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A second handle on the storage of a value: a copy, but of those that move only.
template <class Value>
[[nodiscard]] Value second_handle(Value const& value)
{
  return value;
}
template <class T, class Space>
[[nodiscard]] Matrix<T, Space> second_handle(Matrix<T, Space> const& matrix)
{
  return ShareMatrix::share(matrix);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> second_handle(DenseTensor<Dim, Scalar, Space> const& tensor)
{
  return ShareDense::share(tensor);
}

/// The same behind a pointer.
template <class Value>
struct Share {
  [[nodiscard]] static std::shared_ptr<Value const> share(Value const& value)
  {
    return std::make_shared<Value>(second_handle(value));
  }
};

/// A value that stands on the same voxels or points without features; null of one that has none.
template <class Value>
[[nodiscard]] std::shared_ptr<Value const> without_features(Value const* /*value*/)
{
  return nullptr;
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::shared_ptr<SparseTensor<Dim, Scalar, Space> const> without_features(
    SparseTensor<Dim, Scalar, Space> const* x)
{
  if (x == nullptr || x->coordinates() == nullptr) { return nullptr; }
  Matrix<Scalar, Space> none{Buffer<Scalar, Space>{}, x->capacity(), 0};
  return std::make_shared<SparseTensor<Dim, Scalar, Space>>(x->with_features(std::move(none)));
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::shared_ptr<PointTensor<Dim, Scalar, Space> const> without_features(
    PointTensor<Dim, Scalar, Space> const* z)
{
  if (z == nullptr || z->num_points() == 0) { return nullptr; }
  Matrix<Scalar, Space> none{Buffer<Scalar, Space>{}, z->num_points(), 0};
  return std::make_shared<PointTensor<Dim, Scalar, Space>>(z->with_features(std::move(none)));
}

}  // namespace detail

namespace ops {

/// The values of variables while recorded operations run again.
template <class Space>
class Replay {
 public:
  Replay() = default;
  /// @param constants  values that are there as well, for as long as this lives; or null
  explicit Replay(Replay const* constants) : constants_{constants} {}

  /// The value of a variable. @throws invalid_argument  there is none, or it is of another type
  template <class Value>
  [[nodiscard]] Value const& get(VariableId id) const
  {
    auto const* const found = find(id);
    detail::expects(found != nullptr, "replay: variable ", id, " has no value");
    detail::expects(found->type == std::type_index{typeid(Value)}, "replay: variable ", id,
                    " was recorded with a value of another type");
    return *static_cast<Value const*>(found->value.get());
  }
  template <class Value, class = std::enable_if_t<!std::is_lvalue_reference_v<Value>>>
  void set(VariableId id, Value&& value)
  {
    set(id, std::make_shared<Value const>(std::forward<Value>(value)));
  }
  template <class Value>
  void set(VariableId id, Value const& value)
  {
    set(id, detail::Share<Value>::share(value));
  }
  template <class Value>
  void set(VariableId id, std::shared_ptr<Value const> value)
  {
    give_back(id);
    values_.push_back({id, std::move(value), std::type_index{typeid(Value)}});
  }
  /// Gives a value's storage back. One that is not there is no error.
  void give_back(VariableId id)
  {
    auto const has_id = [&](Entry const& entry) { return entry.id == id; };
    values_.erase(std::remove_if(values_.begin(), values_.end(), has_id), values_.end());
  }

 private:
  struct Entry {
    VariableId id;
    std::shared_ptr<void const> value;
    std::type_index type;
  };

  [[nodiscard]] Entry const* find(VariableId id) const
  {
    auto const found =
        std::find_if(values_.rbegin(), values_.rend(), [&](Entry const& entry) { return entry.id == id; });
    if (found != values_.rend()) { return &*found; }
    return constants_ != nullptr ? constants_->find(id) : nullptr;
  }

  Replay const* constants_ = nullptr;
  std::vector<Entry> values_;  // few live at a time, and the newest are read first
};

}  // namespace ops
}  // namespace v0
}  // namespace tessera
