// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/nn/layer_config.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// The layer that JSON text describes, `{"type": "SparseConv3d", "stride": 2, "padding": [0, 1, 1]}`: the
/// type by name, options as numbers, texts, truth values or lists of integers; null is an option not set.
/// Which options a layer takes is checked when it is built.
/// @throws invalid_argument  not valid JSON, no type, an option of another kind
/// Cost: one pass over the text, as of the two below.
[[nodiscard]] nn::LayerConfig parse_layer_config(std::string_view json);

/// The layers of JSON text that is a list of such objects, or one of them.
/// @throws invalid_argument  as parse_layer_config()
[[nodiscard]] std::vector<nn::LayerConfig> parse_layer_configs(std::string_view json);

/// The same from the JSON file `path`.
/// @throws invalid_argument  also: the file cannot be read
[[nodiscard]] std::vector<nn::LayerConfig> read_layer_configs(std::string const& path);

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/layer_config_body.hpp>
#endif
