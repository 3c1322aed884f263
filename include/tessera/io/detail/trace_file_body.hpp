// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/detail/tuning_json.hpp>
#include <tessera/io/trace_file.hpp>
#include <tessera/nn/profile_table.hpp>

#include <string>

namespace tessera {
inline namespace v0 {
namespace io {

TESSERA_INLINE std::string trace_json(nn::Profile const& profile)
{
  using detail::concat;
  using detail::json_microseconds;
  using detail::json_quoted;
  auto text =
      concat("{\"displayTimeUnit\": \"ns\", \"otherData\": {\"device\": ", json_quoted(profile.device),
             "},\n \"traceEvents\": [");
  char const* separator = "\n  ";
  double begin = 0;
  for (auto const& operation : profile.operations) {
    auto const& work = operation.work;
    auto const& shown = operation.layer.empty() ? operation.name : operation.layer;
    text += concat(separator, "{\"name\": ", json_quoted(shown), ", \"cat\": ", json_quoted(operation.name),
                   ", \"ph\": \"X\", \"pid\": 0, \"tid\": 0, \"ts\": ", json_microseconds(begin),
                   ", \"dur\": ", json_microseconds(operation.seconds),
                   ",\n   \"args\": {\"operation\": ", json_quoted(operation.name),
                   ", \"kernel\": ", json_quoted(work.kernel), ", \"rows\": ", work.rows,
                   ", \"in_channels\": ", work.in_channels, ", \"out_channels\": ", work.out_channels,
                   ", \"pairs\": ", work.pairs,
                   ", \"floor_us\": ", json_microseconds(operation.floor_seconds), "}}");
    separator = ",\n  ";
    begin += operation.seconds;
  }
  return text + "]}\n";
}

TESSERA_INLINE void save_trace(std::string const& path, nn::Profile const& profile)
{
  detail::AtomicFile out{detail::FileContext{"save_trace", path}};
  out.write(trace_json(profile));
  out.commit();
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
