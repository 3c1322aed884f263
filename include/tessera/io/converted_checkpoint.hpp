// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
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
  std::string prefix;                   ///< what names lost

  /// The report as text, a line a tensor; lines that deserve a look begin with '!'.
  [[nodiscard]] std::string text() const
  {
    std::string result = detail::concat("state_dict: ", where.empty() ? "the file itself" : where,
                                        "; prefix: ", prefix.empty() ? "none" : prefix, '\n');
    for (auto const& line : report) {
      result += line.warning ? "! " : "  ";
      if (line.to.empty()) {
        result += detail::concat(line.from, " ", detail::list(line.from_shape), " left out");
      } else if (line.from.empty()) {
        result += detail::concat(line.to, " ", detail::list(line.to_shape), " made");
      } else if (line.layout.empty()) {
        result += detail::concat(line.to, " ", detail::list(line.to_shape));
      } else {
        result += detail::concat(line.to, " ", line.layout, " ", detail::list(line.from_shape), " -> ",
                                 detail::list(line.to_shape));
      }
      result += ": " + line.reason + '\n';
    }
    return result;
  }
};

}  // namespace io
}  // namespace v0
}  // namespace tessera
