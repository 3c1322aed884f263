// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/nn/detail/conv_calls.hpp>
#include <tessera/nn/detail/tune_backend.hpp>
#include <tessera/nn/tuning.hpp>

#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The tuning in the file `path` for the device, version and scalar of `wanted`.
/// @throws invalid_argument  as io::load_tuning()
[[nodiscard]] nn::Tuning find_tuning(std::string const& path, nn::Tuning const& wanted);

}  // namespace detail

namespace io {

/// Every tuning in the JSON file `path`.
/// @throws invalid_argument  the file cannot be read, is no tuning or is damaged; names the place
/// Cost: one pass over the file.
/// Determinism: same file, same tunings.
[[nodiscard]] std::vector<nn::Tuning> read_tunings(std::string const& path);

/// Writes a tuning into the JSON file `path`: in place of the one for the same device, compute capability,
/// version and scalar where the file has one, beside the others. Refused choices are not written.
///
/// So one file serves one network on several GPUs and in several scalars; another network has another file. A
/// file is replaced as a whole or stays as it was.
/// @throws invalid_argument  the file cannot be written, or is there but is no tuning; it stays as it was
/// Cost: the file is read and written as a whole.
/// Determinism: same tunings, same bytes.
void save_tuning(std::string const& path, nn::Tuning const& tuning);

/// The tuning in the file `path` for the device of `exec`, this version and the scalar; for
/// nn::apply_tuning().
/// @throws invalid_argument  as read_tunings(); there is none for them: the sentence lists those there are
/// Cost: one pass over the file and a query of the device.
/// Stream: enqueues nothing, does not wait.
/// Determinism: same file and device, same tuning.
template <class Scalar, class Space>
[[nodiscard]] nn::Tuning load_tuning(std::string const& path, Execution<Space> const& exec)
{
  nn::Tuning wanted;
  wanted.device = detail::TuneBackend<Space>::name(exec);
  wanted.compute_capability = detail::TuneBackend<Space>::compute_capability(exec);
  wanted.version = detail::library_version();
  wanted.scalar = name_of(ScalarTraits<Scalar>::dtype);
  return detail::find_tuning(path, wanted);
}

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/tuning_file_body.hpp>
#endif
