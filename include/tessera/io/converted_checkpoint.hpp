// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/safetensors.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// What became of one tensor, and why.
struct ConvertedTensor {
  std::string from;  ///< name in the file; empty: made by folding a norm
  std::string to;    ///< name afterwards; empty: left out
  std::vector<std::int64_t> from_shape;
  std::vector<std::int64_t> to_shape;
  std::string layout;  ///< of a sparse convolution's kernel, e.g. "krsc"; else empty
  std::string reason;
  bool warning = false;  ///< whether the reason deserves a look
};

/// A checkpoint in Tessera's layout.
struct ConvertedCheckpoint {
  Safetensors tensors;  ///< for load(net, tensors, Tessera{}, exec); save_checkpoint() writes it
  std::vector<ConvertedTensor> report;  ///< every tensor of the state_dict, in the order of the file
  std::string where;                    ///< the state_dict's place in the file
  std::string prefix;                   ///< what names lost, wrappers of training included
  std::vector<std::string> beside;      ///< what else the file has that could have been meant

  /// The report as text, a line a tensor; lines that deserve a look begin with '!'. Control characters in
  /// names are shown as `\x1b`, and of a long name its beginning.
  [[nodiscard]] std::string text() const;
};

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/converted_checkpoint_body.hpp>
#endif
