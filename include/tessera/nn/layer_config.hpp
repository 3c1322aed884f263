// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/int_array.hpp>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// A layer as configurations write it, Python's `dict(type='SubMConv3d', padding=1)`:
/// `LayerConfig("SubMConv3d").set("padding", 1)`. io/layer_config.hpp reads one from JSON.
class LayerConfig {
 public:
  using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<int>>;

  LayerConfig() = default;
  LayerConfig(std::string type) : type_{std::move(type)} {}          // NOLINT(google-explicit-constructor)
  LayerConfig(char const* type) : LayerConfig{std::string{type}} {}  // NOLINT(google-explicit-constructor)

  /// The name that a Registry knows the layer by.
  [[nodiscard]] std::string const& type() const noexcept { return type_; }
  /// The same options of another type.
  LayerConfig& type(std::string name) { return type_ = std::move(name), *this; }
  [[nodiscard]] std::map<std::string, Value> const& values() const noexcept { return values_; }
  [[nodiscard]] bool has(std::string const& key) const { return values_.count(key) != 0; }

  /// Sets an option; a later value replaces an earlier one.
  LayerConfig& set(std::string const& key, bool value) { return values_[key] = value, *this; }
  LayerConfig& set(std::string const& key, int value) { return values_[key] = std::int64_t{value}, *this; }
  LayerConfig& set(std::string const& key, std::int64_t value) { return values_[key] = value, *this; }
  LayerConfig& set(std::string const& key, std::uint64_t value)
  {
    return set(key, static_cast<std::int64_t>(value));
  }
  LayerConfig& set(std::string const& key, double value) { return values_[key] = value, *this; }
  LayerConfig& set(std::string const& key, std::string value)
  {
    return values_[key] = std::move(value), *this;
  }
  LayerConfig& set(std::string const& key, char const* value) { return set(key, std::string{value}); }
  LayerConfig& set(std::string const& key, std::vector<int> value)
  {
    return values_[key] = std::move(value), *this;
  }
  template <int Dim>
  LayerConfig& set(std::string const& key, IntArray<Dim> const& value)
  {
    return set(key, std::vector<int>(value.begin(), value.end()));
  }

  /// The option `key` as a bool, int, std::uint64_t, double, std::string or IntArray, or `absent`.
  /// @throws invalid_argument  the option is of another type
  template <class T>
  [[nodiscard]] T get(std::string const& key, T const& absent) const
  {
    auto const found = values_.find(key);
    if (found == values_.end()) { return absent; }
    auto const result = convert<T>(found->second);
    detail::expects(result.has_value(), "config of \"", type_, "\": \"", key, "\" is ",
                    kind_of(found->second), ", but ", kind_wanted<T>(), " was expected");
    return *result;
  }

  /// The option `key`. @throws invalid_argument  there is none, or it is of another type
  template <class T>
  [[nodiscard]] T require(std::string const& key) const
  {
    detail::expects(has(key), "config of \"", type_, "\": \"", key, "\" is missing");
    return get<T>(key, T{});
  }

  /// @throws invalid_argument  there is an option that is not one of `known`
  void expect_only(std::set<std::string> const& known) const
  {
    for (auto const& entry : values_) {
      detail::expects(known.count(entry.first) != 0, "config of \"", type_, "\": there is no option \"",
                      entry.first, "\"; there are: ", detail::list(known));
    }
  }

  /// Run-time choices of a convolution; without them those of the thread it runs in.
  std::optional<ConvConfig> conv_config;

 private:
  template <class T>
  [[nodiscard]] static std::optional<T> convert(Value const& value)
  {
    auto const* const integer = std::get_if<std::int64_t>(&value);
    if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string>) {
      auto const* const same = std::get_if<T>(&value);
      return same != nullptr ? std::optional<T>{*same} : std::nullopt;
    } else if constexpr (std::is_integral_v<T>) {
      if (integer == nullptr || static_cast<std::int64_t>(static_cast<T>(*integer)) != *integer) {
        return {};
      }
      return static_cast<T>(*integer);
    } else if constexpr (std::is_same_v<T, double>) {
      if (integer != nullptr) { return static_cast<double>(*integer); }
      auto const* const same = std::get_if<double>(&value);
      return same != nullptr ? std::optional<double>{*same} : std::nullopt;
    } else {  // IntArray: one number for all axes, or one per axis
      constexpr auto axes = static_cast<int>(sizeof(T) / sizeof(int));
      if (integer != nullptr) {
        auto const one = static_cast<int>(*integer);
        return one == *integer ? std::optional<T>{T{one}} : std::nullopt;
      }
      auto const* const list = std::get_if<std::vector<int>>(&value);
      if (list == nullptr || (list->size() != 1 && static_cast<int>(list->size()) != axes)) { return {}; }
      T result{0};
      for (int i = 0; i < axes; ++i) {
        result[i] = (*list)[list->size() == 1 ? 0 : static_cast<unsigned>(i)];
      }
      return result;
    }
  }

  [[nodiscard]] static std::string kind_of(Value const& value)
  {
    if (auto const* const list = std::get_if<std::vector<int>>(&value)) {
      return "the list " + detail::list(*list);
    }
    static constexpr char const* names[] = {"a truth value", "an integer", "a number", "a text"};
    return names[value.index()];
  }
  template <class T>
  [[nodiscard]] static std::string kind_wanted()
  {
    if constexpr (std::is_same_v<T, bool>) { return "a truth value"; }
    if constexpr (std::is_same_v<T, std::string>) { return "a text"; }
    if constexpr (std::is_integral_v<T>) { return "an integer that fits"; }
    if constexpr (std::is_same_v<T, double>) { return "a number"; }
    return detail::concat("one integer that fits or a list of ", sizeof(T) / sizeof(int));
  }

  std::string type_;
  std::map<std::string, Value> values_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
