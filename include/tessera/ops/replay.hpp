// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/recorder.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <memory>
#include <type_traits>
#include <typeindex>
#include <unordered_map>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Makes a second handle on the storage of a value: a copy, but of those that move only.
template <class Value>
struct Share {
  [[nodiscard]] static std::shared_ptr<Value const> share(Value const& value)
  {
    return std::make_shared<Value>(value);
  }
};
template <class T, class Space>
struct Share<Matrix<T, Space>> {
  [[nodiscard]] static std::shared_ptr<Matrix<T, Space> const> share(Matrix<T, Space> const& matrix)
  {
    return std::make_shared<Matrix<T, Space>>(ShareMatrix::share(matrix));
  }
};
template <int Dim, class Scalar, class Space>
struct Share<DenseTensor<Dim, Scalar, Space>> {
  using Tensor = DenseTensor<Dim, Scalar, Space>;
  [[nodiscard]] static std::shared_ptr<Tensor const> share(Tensor const& tensor)
  {
    return std::make_shared<Tensor>(ShareDense::share(tensor));
  }
};

}  // namespace detail

namespace ops {

/// The values of variables while recorded operations run again.
template <class Space>
class Replay {
 public:
  /// The value of a variable. @throws invalid_argument  there is none, or it is of another type
  template <class Value>
  [[nodiscard]] Value const& get(VariableId id) const
  {
    auto const found = values_.find(id);
    detail::expects(found != values_.end(), "replay: variable ", id, " has no value");
    detail::expects(found->second.type == std::type_index{typeid(Value)}, "replay: variable ", id,
                    " was recorded with a value of another type");
    return *static_cast<Value const*>(found->second.value.get());
  }
  template <class Value>
  void set(VariableId id, Value&& value)
  {
    using Stored = std::decay_t<Value>;
    values_.insert_or_assign(
        id, Typed{std::make_shared<Stored>(std::forward<Value>(value)), std::type_index{typeid(Stored)}});
  }
  /// Gives a value's storage back. One that is not there is no error.
  void give_back(VariableId id) { values_.erase(id); }

 private:
  struct Typed {
    std::shared_ptr<void const> value;
    std::type_index type;
  };

  std::unordered_map<VariableId, Typed> values_;
};

}  // namespace ops
}  // namespace v0
}  // namespace tessera
