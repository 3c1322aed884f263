// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/printable.hpp>

#include <cstddef>
#include <string>

namespace tessera {
inline namespace v0 {
namespace io {

TESSERA_INLINE std::string ConvertedCheckpoint::text() const
{
  std::string result =
      detail::concat("state_dict: ", where.empty() ? "the file itself" : detail::shown_name(where),
                     "; prefix: ", prefix.empty() ? "none" : detail::shown_name(prefix));
  for (std::size_t i = 0; i < beside.size(); ++i) {
    result += (i == 0 ? "; beside it: " : ", ") + detail::shown_name(beside[i]);
  }
  for (auto const& entry : report) {
    std::string line = entry.warning ? "! " : "  ";
    if (entry.to.empty()) {
      line += detail::concat(detail::shown_name(entry.from), " ", detail::shown_shape(entry.from_shape),
                             " left out");
    } else if (entry.from.empty()) {
      line += detail::concat(detail::shown_name(entry.to), " ", detail::shown_shape(entry.to_shape), " made");
    } else if (entry.layout.empty()) {
      line += detail::concat(detail::shown_name(entry.to), " ", detail::shown_shape(entry.to_shape));
    } else {
      line +=
          detail::concat(detail::shown_name(entry.to), " ", entry.layout, " ",
                         detail::shown_shape(entry.from_shape), " -> ", detail::shown_shape(entry.to_shape));
    }
    result += '\n' + detail::printable(line + ": " + entry.reason);
  }
  result += '\n';
  return result;
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
