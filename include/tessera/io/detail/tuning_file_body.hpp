// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/detail/tuning_json.hpp>
#include <tessera/io/tuning_file.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] inline std::vector<nn::Tuning> read_tunings(FileContext const& file)
{
  auto const text = [](Bytes const& bytes) {
    return std::string_view{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  };
  InputFile input{file, longest_json_file};
  check_tuning_beginning(text(input.beginning()), file);
  auto const bytes = std::move(input).all();
  return tunings_of(text(bytes), file);
}

/// What a tuning in a file is found by.
[[nodiscard]] inline bool same_key(nn::Tuning const& a, nn::Tuning const& b)
{
  return a.device == b.device && a.compute_capability == b.compute_capability && a.version == b.version &&
         a.scalar == b.scalar;
}

[[nodiscard]] inline std::string text_of_key(nn::Tuning const& tuning)
{
  return concat(in_quotes(tuning.device), " (", tuning.compute_capability, "), ", in_quotes(tuning.scalar),
                ", version ", in_quotes(tuning.version));
}

TESSERA_INLINE nn::Tuning find_tuning(std::string const& path, nn::Tuning const& wanted)
{
  FileContext const file{"load_tuning", path};
  std::vector<std::string> others;
  for (auto& tuning : read_tunings(file)) {
    if (same_key(tuning, wanted)) { return std::move(tuning); }
    others.push_back(text_of_key(tuning));
  }
  auto const total = others.size();
  if (total > 16) { others.resize(16); }
  file.fail("has no tuning for ", text_of_key(wanted), "; it has: ", list(others),
            total > others.size() ? " and more" : "");
}

}  // namespace detail

namespace io {

TESSERA_INLINE std::vector<nn::Tuning> read_tunings(std::string const& path)
{
  return detail::read_tunings(detail::FileContext{"read_tunings", path});
}

TESSERA_INLINE void save_tuning(std::string const& path, nn::Tuning const& tuning)
{
  detail::FileContext const file{"save_tuning", path};
  std::vector<nn::Tuning> all;
  std::error_code error;
  if (std::filesystem::exists(path, error)) { all = detail::read_tunings(file); }
  auto const at = std::find_if(all.begin(), all.end(),
                               [&](auto const& other) { return detail::same_key(other, tuning); });
  if (at != all.end()) {
    *at = tuning;
  } else {
    all.push_back(tuning);
  }
  auto text = detail::concat("{\n  \"tessera_tuning\": ", detail::tuning_format, ",\n  \"tunings\": [");
  char const* separator = "\n";
  for (auto const& each : all) {
    text += separator + detail::json_tuning(each);
    separator = ",\n";
  }
  text += "]\n}\n";
  detail::AtomicFile out{file};
  out.write(text);
  out.commit();
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
