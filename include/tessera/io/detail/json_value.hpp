// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A JSON value, of 16 bytes and what it holds. Members of an object keep the order of the text; a number
/// without fraction and exponent that fits is an std::int64_t, every other one a double.
class Json {
 public:
  using Array = std::vector<Json>;
  struct Object {
    std::vector<std::string> keys;
    std::vector<Json> values;  ///< values[i] belongs to keys[i]
  };

  Json() = default;
  explicit Json(bool value) : value_{value} {}
  explicit Json(std::int64_t value) : value_{value} {}
  explicit Json(double value) : value_{value} {}
  explicit Json(std::string value) : value_{Box<std::string>{std::move(value), value.empty()}} {}
  explicit Json(Array value) : value_{Box<Array>{std::move(value), value.empty()}} {}
  explicit Json(Object value) : value_{Box<Object>{std::move(value), value.keys.empty()}} {}

  [[nodiscard]] bool is_null() const noexcept { return std::holds_alternative<std::nullptr_t>(value_); }

  /// The value as a bool, std::int64_t, double, std::string, Array or Object; null if it is another kind.
  template <class T>
  [[nodiscard]] T const* get() const
  {
    if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Array> || std::is_same_v<T, Object>) {
      auto const* const box = std::get_if<Box<T>>(&value_);
      return box == nullptr ? nullptr : box->get();
    } else {
      return std::get_if<T>(&value_);
    }
  }

  /// The member `key` of an object; null if this is no object or has no such member.
  [[nodiscard]] Json const* find(std::string_view key) const
  {
    auto const* const object = get<Object>();
    if (object == nullptr) { return nullptr; }
    auto const at = std::find(object->keys.begin(), object->keys.end(), key);
    if (at == object->keys.end()) { return nullptr; }
    return object->values.data() + (at - object->keys.begin());
  }

 private:
  /// A value on the heap, unless it is empty.
  template <class T>
  class Box {
   public:
    Box(T&& value, bool empty) : value_{empty ? nullptr : std::make_unique<T>(std::move(value))} {}
    Box(Box const& other) : value_{other.value_ == nullptr ? nullptr : std::make_unique<T>(*other.value_)} {}
    Box(Box&&) noexcept = default;
    Box& operator=(Box const& other) { return *this = Box{other}; }
    Box& operator=(Box&&) noexcept = default;
    ~Box() = default;

    [[nodiscard]] T const* get() const
    {
      static T const none{};
      return value_ == nullptr ? &none : value_.get();
    }

   private:
    std::unique_ptr<T> value_;
  };

  std::variant<std::nullptr_t, bool, std::int64_t, double, Box<std::string>, Box<Array>, Box<Object>> value_{
      nullptr};
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
