// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/nn/profile_table.hpp>

#include <string>

namespace tessera {
inline namespace v0 {
namespace io {

/// A profile in Chrome's trace event format, for chrome://tracing, Perfetto or speedscope: one complete event
/// per operation, one after the other from 0 on, in microseconds, with its layer, kernel and work as arguments.
/// Cost: one pass over the operations.
/// Determinism: same profile, same text.
[[nodiscard]] std::string trace_json(nn::Profile const& profile);

/// Writes trace_json() to the file `path`, which is replaced as a whole or stays unchanged.
/// @throws invalid_argument  the file cannot be written
/// Cost: one pass over the operations.
/// Determinism: same profile, same bytes.
void save_trace(std::string const& path, nn::Profile const& profile);

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/trace_file_body.hpp>
#endif
