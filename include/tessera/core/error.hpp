// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace tessera {
inline namespace v0 {

/// Thrown when an argument, a file or a combination of options cannot be meant; before any work is
/// enqueued, and with the offending numbers in the sentence.
class invalid_argument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Thrown when the CUDA runtime reports a failure (an allocation, a launch, a copy, no device).
class cuda_error : public std::runtime_error {
 public:
  cuda_error(int status, std::string const& what) : std::runtime_error{what}, status_{status} {}

  /// The `cudaError_t` as an integer, so that host-only code can catch this type too.
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

namespace detail {

/// The parts, written one after the other.
template <class... Parts>
[[nodiscard]] std::string concat(Parts const&... parts)
{
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

/// `[a, b, c]`, for the sizes in error sentences.
template <class Range>
[[nodiscard]] std::string list(Range const& values)
{
  std::ostringstream text;
  char const* separator = "[";
  for (auto const& value : values) {
    text << separator << value;
    separator = ", ";
  }
  if (*separator == '[') { text << '['; }
  text << ']';
  return text.str();
}

/// Throws invalid_argument with the parts as its sentence unless `held`; the sentence is only put
/// together when it is needed.
template <class... Parts>
void expects(bool held, Parts const&... parts)
{
  if (!held) { throw invalid_argument{concat(parts...)}; }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
