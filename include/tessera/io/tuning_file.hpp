// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/tuning_json.hpp>
#include <tessera/nn/detail/conv_calls.hpp>
#include <tessera/nn/detail/tune_backend.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

inline constexpr std::uintmax_t longest_tuning_file = std::uintmax_t{1} << 26;

[[nodiscard]] inline std::vector<nn::Tuning> read_tunings(FileContext const& file)
{
  auto const text = [](Bytes const& bytes) {
    return std::string_view{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  };
  InputFile input{file, longest_tuning_file};
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

}  // namespace detail

namespace io {

/// Every tuning in the JSON file `path`.
/// @throws invalid_argument  the file cannot be read, is no tuning or is damaged; names the place
/// Cost: one pass over the file.
/// Determinism: same file, same tunings.
[[nodiscard]] inline std::vector<nn::Tuning> read_tunings(std::string const& path)
{
  return detail::read_tunings(detail::FileContext{"read_tunings", path});
}

/// Writes a tuning into the JSON file `path`: in place of the one for the same device, compute capability,
/// version and scalar where the file has one, beside the others. Refused choices are not written.
///
/// So one file serves one network on several GPUs and in several scalars; another network has another file. A
/// file is replaced as a whole or stays as it was.
/// @throws invalid_argument  the file cannot be written, or is there but is no tuning; it stays as it was
/// Cost: the file is read and written as a whole.
/// Determinism: same tunings, same bytes.
inline void save_tuning(std::string const& path, nn::Tuning const& tuning)
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

/// The tuning in the file `path` for the device of `exec`, this version and the scalar; for
/// nn::apply_tuning().
/// @throws invalid_argument  as read_tunings(); there is none for them: the sentence lists those there are
/// Cost: one pass over the file and a query of the device.
/// Stream: enqueues nothing, does not wait.
/// Determinism: same file and device, same tuning.
template <class Scalar, class Space>
[[nodiscard]] nn::Tuning load_tuning(std::string const& path, Execution<Space> const& exec)
{
  detail::FileContext const file{"load_tuning", path};
  nn::Tuning wanted;
  wanted.device = detail::TuneBackend<Space>::name(exec);
  wanted.compute_capability = detail::TuneBackend<Space>::compute_capability(exec);
  wanted.version = detail::library_version();
  wanted.scalar = name_of(ScalarTraits<Scalar>::dtype);
  std::vector<std::string> others;
  for (auto& tuning : detail::read_tunings(file)) {
    if (detail::same_key(tuning, wanted)) { return std::move(tuning); }
    others.push_back(detail::text_of_key(tuning));
  }
  auto const total = others.size();
  if (total > 16) { others.resize(16); }
  file.fail("has no tuning for ", detail::text_of_key(wanted), "; it has: ", detail::list(others),
            total > others.size() ? " and more" : "");
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
