// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/models/spvnas_config.hpp>

#include <string>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace io {

/// A subnet from SPVNAS's net.config, or from a sample of its supernet: `{"output_channels": [32, ...],
/// "downsample.0.transition": 32, "downsample.0.feature": 2, "downsample.0.feature.layers.0.net.layers.0":
/// 48, ...}`.
///
/// `num_classes`, `pres` and `vres` are taken where they are given. Channels of outputs are those of
/// `output_channels`, as SPVNAS itself has it; entries of blocks that are not used may be null.
/// @param space  of the supernet that it is a part of: its input, and how wide its classifier is
/// @throws invalid_argument  not valid JSON, an entry is missing or no number
/// Cost: one pass over the text.
/// Source: SPVNAS's model_zoo and manual_select.
[[nodiscard]] models::SPVNASConfig parse_spvnas_config(std::string_view json,
                                                       models::SPVNASSpace const& space);

/// The same from the JSON file `path`.
/// @throws invalid_argument  also: the file cannot be read
[[nodiscard]] models::SPVNASConfig read_spvnas_config(std::string const& path,
                                                      models::SPVNASSpace const& space);

/// The JSON text that parse_spvnas_config() reads back, with every entry that SPVNAS's manual_select asks for.
[[nodiscard]] std::string spvnas_config_text(models::SPVNASConfig const& config);

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/spvnas_config_body.hpp>
#endif
