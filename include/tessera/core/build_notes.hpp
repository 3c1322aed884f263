// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// 1 where notes are shown, 0 where not; asked of the environment at first.
[[nodiscard]] inline std::atomic<int>& build_notes_setting()
{
  static std::atomic<int> setting{[] {
    char const* const value = std::getenv("TESSERA_NOTES");
    return value != nullptr && std::string_view{value} == "0" ? 0 : 1;
  }()};
  return setting;
}

/// Writes the sentence to stderr at the first call with this `told`, if notes are shown.
inline void note_build(std::atomic<bool>& told, std::string const& sentence)
{
  if (sentence.empty() || build_notes_setting() == 0 || told.exchange(true)) { return; }
  std::fprintf(stderr, "tessera: %s (TESSERA_NOTES=0 silences this)\n", sentence.c_str());
}

#if defined(__OPTIMIZE__)
inline constexpr bool is_optimized = true;
#else
inline constexpr bool is_optimized = false;
#endif

/// Tells of a program that is compiled without optimisation, when it is given so much work that this matters.
inline void note_unoptimized(double multiply_adds)
{
  if constexpr (!is_optimized) {
    constexpr double seconds_of_work = 1e9;
    static std::atomic<bool> told{false};
    if (multiply_adds < seconds_of_work) { return; }
    note_build(
        told,
        "this program is compiled without optimisation, which makes it some ten times slower; compile with "
        "-O2, or by CMake with -DCMAKE_BUILD_TYPE=Release");
  }
}

/// The note for a program whose device code is older than the device; empty where nothing is lost.
/// @param device          compute capability of the device, 90 for 9.0
/// @param code            compute capability that the program is compiled for, or 0: not known
/// @param has_warpgroup   whether the kernels of sm_90a are in the program
/// @param is_16_bit       whether the scalar is half or bfloat16, which have the most kernels of their own
[[nodiscard]] inline std::string outdated_code(int device, int code, bool has_warpgroup, bool is_16_bit)
{
  if (code == 0) { return {}; }
  bool const lacks_tensor_cores = device >= 80 && code < 80;
  bool const lacks_kernels = is_16_bit && device >= 90 && (code < 90 || (device == 90 && !has_warpgroup));
  if (!lacks_tensor_cores && !lacks_kernels) { return {}; }
  auto const wanted = device == 90 ? std::string{"90a"} : std::to_string(device);
  return "this program is compiled for sm_" + std::to_string(code) + " and runs on an sm_" +
         std::to_string(device) + " device, whose tensor-core kernels are not in it; compile with -arch=sm_" +
         wanted + ", or by CMake with -DCMAKE_CUDA_ARCHITECTURES=" + wanted;
}

/// Prints it once; for arguments see outdated_code().
inline void note_outdated_code(int device, int code, bool has_warpgroup, bool is_16_bit)
{
  static std::atomic<bool> told{false};
  note_build(told, outdated_code(device, code, has_warpgroup, is_16_bit));
}

}  // namespace detail

/// Whether a program is told on stderr, once in a process, that it was built to be slow: without optimisation
/// and given seconds of work on the host, or with device code for an older GPU than the one it runs on. It
/// is, unless the environment variable TESSERA_NOTES is 0 or this says otherwise.
inline void show_build_notes(bool on)
{
  detail::build_notes_setting() = on ? 1 : 0;
}

}  // namespace v0
}  // namespace tessera
