// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/spvnas_config.hpp>
#include <tessera/models/spvnas_config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Reads the members of SPVNAS's net.config.
class SPVNASConfigReader {
 public:
  SPVNASConfigReader(Json const& json, FileContext const& file) : json_{json}, file_{file}
  {
    file.expects(json.get<Json::Object>() != nullptr, "a configuration is a JSON object");
  }

  [[nodiscard]] models::SPVNASConfig read(models::SPVNASSpace const& space) const
  {
    auto config = space.largest();
    if (json_.find("num_classes") != nullptr) { config.num_classes = integer("num_classes"); }
    if (json_.find("pres") != nullptr) { config.point_unit = number("pres"); }
    if (json_.find("vres") != nullptr) { config.voxel_size = number("vres"); }
    auto const* const list = json_.find("output_channels");
    auto const* const channels = list == nullptr ? nullptr : list->get<Json::Array>();
    file_.expects(channels != nullptr && channels->size() == config.output_channels.size(),
                  "\"output_channels\" must be a list of 9 numbers");
    for (std::size_t i = 0; i < channels->size(); ++i) {
      config.output_channels[i] = checked((*channels)[i], "output_channels");
    }
    for (std::size_t i = 0; i < models::SPVNASConfig::num_stages; ++i) {
      read_stage("downsample." + std::to_string(i), config.down[i]);
      read_stage("upsample." + std::to_string(i), config.up[i]);
    }
    return config;
  }

 private:
  void read_stage(std::string const& name, models::SPVNASConfig::Stage& stage) const
  {
    stage.transition = integer(name + ".transition");
    stage.depth = integer(name + ".feature");
    file_.expects(stage.depth >= 1 && stage.depth <= models::SPVNASConfig::most_blocks,
                  in_quotes(name + ".feature"), " is ", stage.depth, " blocks; 1 or 2 are possible");
    auto const layers = name + ".feature.layers.";
    for (int j = 0; j < stage.depth; ++j) {
      stage.hidden[static_cast<std::size_t>(j)] = integer(layers + std::to_string(j) + ".net.layers.0");
    }
    stage.has_shortcut = json_.find(layers + "0.downsample") != nullptr;
  }

  [[nodiscard]] Json const& at(std::string const& key) const
  {
    auto const* const value = json_.find(key);
    file_.expects(value != nullptr, "there is no ", in_quotes(key));
    return *value;
  }
  [[nodiscard]] int checked(Json const& value, std::string const& key) const
  {
    auto const* const found = value.get<std::int64_t>();
    file_.expects(found != nullptr && *found >= 1 && *found <= 1 << 20, in_quotes(key),
                  " is no number from 1 to 2^20");
    return static_cast<int>(*found);
  }
  [[nodiscard]] int integer(std::string const& key) const { return checked(at(key), key); }
  [[nodiscard]] float number(std::string const& key) const
  {
    auto const& value = at(key);
    auto const* const whole = value.get<std::int64_t>();
    auto const* const real = value.get<double>();
    file_.expects(whole != nullptr || real != nullptr, in_quotes(key), " is no number");
    return static_cast<float>(whole != nullptr ? static_cast<double>(*whole) : *real);
  }

  Json const& json_;
  FileContext const& file_;
};

}  // namespace detail

namespace io {

TESSERA_INLINE models::SPVNASConfig parse_spvnas_config(std::string_view json,
                                                        models::SPVNASSpace const& space)
{
  detail::FileContext const text{"parse_spvnas_config", "text"};
  auto const value = detail::parse_json(json, text);
  return detail::SPVNASConfigReader{value, text}.read(space);
}

TESSERA_INLINE models::SPVNASConfig read_spvnas_config(std::string const& path,
                                                       models::SPVNASSpace const& space)
{
  detail::FileContext const file{"read_spvnas_config", path};
  auto const bytes = detail::read_file(file, detail::longest_json_file);
  auto const value = detail::parse_json({reinterpret_cast<char const*>(bytes.data()), bytes.size()}, file);
  return detail::SPVNASConfigReader{value, file}.read(space);
}

TESSERA_INLINE std::string spvnas_config_text(models::SPVNASConfig const& config)
{
  auto const& c = config.output_channels;
  std::string text = "{\"output_channels\": [";
  for (std::size_t i = 0; i < c.size(); ++i) { text += (i > 0 ? ", " : "") + std::to_string(c[i]); }
  text += "]";
  auto const entry = [&](std::string const& key, std::string const& value) {
    text += ", " + detail::json_quoted(key) + ": " + value;
  };
  auto const add_stage = [&](std::string const& name, models::SPVNASConfig::Stage const& stage, int out) {
    entry(name + ".transition", std::to_string(stage.transition));
    entry(name + ".feature", std::to_string(stage.depth));
    for (int j = 0; j < models::SPVNASConfig::most_blocks; ++j) {
      bool const is_used = j < stage.depth;
      auto const text_of = [&](int value) { return is_used ? std::to_string(value) : std::string{"null"}; };
      auto const layer = name + ".feature.layers." + std::to_string(j);
      entry(layer + ".net", text_of(2));
      entry(layer + ".net.layers.0", text_of(stage.hidden[static_cast<std::size_t>(j)]));
      entry(layer + ".net.layers.1", text_of(out));
      if (j == 0 && stage.has_shortcut) { entry(layer + ".downsample", text_of(out)); }
    }
  };
  for (std::size_t i = 0; i < config.down.size(); ++i) {
    add_stage("downsample." + std::to_string(i), config.down[i], c[i + 1]);
  }
  for (std::size_t i = 0; i < config.up.size(); ++i) {
    add_stage("upsample." + std::to_string(i), config.up[i], c[i + 5]);
  }
  for (std::size_t k = 0; k < 3; ++k) {
    entry("point_transforms." + std::to_string(k), std::to_string(c[4 + 2 * k]));
  }
  entry("num_classes", std::to_string(config.num_classes));
  entry("pres", detail::concat(config.point_unit));
  entry("vres", detail::concat(config.voxel_size));
  return text + "}";
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
