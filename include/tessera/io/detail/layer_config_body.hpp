// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/layer_config.hpp>
#include <tessera/nn/layer_config.hpp>

#include <climits>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The config that a JSON object describes.
[[nodiscard]] inline nn::LayerConfig layer_config_of(Json const& json, FileContext const& file)
{
  auto const* const object = json.get<Json::Object>();
  file.expects(object != nullptr, "a layer is a JSON object, {\"type\": \"SubMConv3d\", ...}");
  auto const* const type = json.find("type");
  file.expects(type != nullptr && type->get<std::string>() != nullptr, "a layer needs a \"type\", a text");
  nn::LayerConfig config{*type->get<std::string>()};
  for (std::size_t i = 0; i < object->keys.size(); ++i) {
    auto const& key = object->keys[i];
    auto const& value = object->values[i];
    if (key == "type" || value.is_null()) { continue; }  // Python's None: not set
    if (auto const* const truth = value.get<bool>()) {
      config.set(key, *truth);
    } else if (auto const* const integer = value.get<std::int64_t>()) {
      config.set(key, *integer);
    } else if (auto const* const number = value.get<double>()) {
      config.set(key, *number);
    } else if (auto const* const text = value.get<std::string>()) {
      config.set(key, *text);
    } else {
      auto const* const list = value.get<Json::Array>();
      file.expects(list != nullptr, "option ", in_quotes(key), " of layer ", in_quotes(config.type()),
                   " is an object; options are numbers, texts, truth values and lists of integers");
      std::vector<int> integers;
      for (auto const& entry : *list) {
        auto const* const one = entry.get<std::int64_t>();
        file.expects(one != nullptr && *one >= INT_MIN && *one <= INT_MAX, "option ", in_quotes(key),
                     " of layer ", in_quotes(config.type()), " is a list of something else than integers");
        integers.push_back(static_cast<int>(*one));
      }
      config.set(key, std::move(integers));
    }
  }
  return config;
}

[[nodiscard]] inline std::vector<nn::LayerConfig> layer_configs_of(std::string_view text,
                                                                   FileContext const& file)
{
  auto const json = parse_json(text, file);
  auto const* const list = json.get<Json::Array>();
  if (list == nullptr) { return {layer_config_of(json, file)}; }
  std::vector<nn::LayerConfig> result;
  for (auto const& entry : *list) { result.push_back(layer_config_of(entry, file)); }
  return result;
}

}  // namespace detail

namespace io {

TESSERA_INLINE nn::LayerConfig parse_layer_config(std::string_view json)
{
  detail::FileContext const text{"parse_layer_config", "text"};
  return detail::layer_config_of(detail::parse_json(json, text), text);
}

TESSERA_INLINE std::vector<nn::LayerConfig> parse_layer_configs(std::string_view json)
{
  return detail::layer_configs_of(json, detail::FileContext{"parse_layer_configs", "text"});
}

TESSERA_INLINE std::vector<nn::LayerConfig> read_layer_configs(std::string const& path)
{
  detail::FileContext const file{"read_layer_configs", path};
  auto const bytes = detail::read_file(file, detail::longest_json_file);
  return detail::layer_configs_of({reinterpret_cast<char const*>(bytes.data()), bytes.size()}, file);
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
