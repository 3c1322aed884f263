// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/policies.hpp>

#include <optional>
#include <string_view>

namespace tessera {
inline namespace v0 {

enum class Dataflow : std::uint8_t { implicit_gemm, gather_scatter, fetch_on_demand };
enum class KmapMode : std::uint8_t { hashmap_on_the_fly, hashmap };
enum class DownsampleMode : std::uint8_t { spconv, minkowski };

/// How a data gradient is computed, where that is not as the convolution itself is.
struct GradientConfig {
  Dataflow dataflow = Dataflow::implicit_gemm;
  bool sort = true;
  int splits = 1;
  GemmKernel kernel = GemmKernel::automatic;
};

/// The choices of a convolution at run time; the same compiled kernels as ConvPolicy's.
struct ConvConfig {
  Dataflow dataflow = Dataflow::implicit_gemm;
  bool sort = true;                           ///< implicit GEMM: rows sorted by neighbour mask
  int splits = 1;                             ///< implicit GEMM: parts of the offsets
  GemmKernel kernel = GemmKernel::automatic;  ///< implicit GEMM on the device: its kernel
  KmapMode kmap = KmapMode::hashmap_on_the_fly;
  DownsampleMode downsample = DownsampleMode::spconv;
  MathMode math = MathMode::exact;
  Compatibility compat = Compatibility::none;
  std::optional<GradientConfig> data_gradient{};  ///< none: as the convolution, by the automatic kernel
};

/// `config` with TorchSparse's conv mode 0, 1 or 2. @throws invalid_argument  any other mode
[[nodiscard]] inline ConvConfig with_conv_mode(ConvConfig config, int mode)
{
  detail::expects(mode >= 0 && mode <= 2, "conv mode ", mode, " does not exist; choose 0, 1 or 2");
  config.dataflow = Dataflow::implicit_gemm;
  config.sort = mode != 0;
  config.splits = mode == 2 ? 3 : 1;
  return config;
}

/// The mode called `name`: "hashmap_on_the_fly" or "hashmap". @throws invalid_argument  neither
[[nodiscard]] inline KmapMode kmap_mode(std::string_view name)
{
  if (name == HashmapOnTheFly::name) { return KmapMode::hashmap_on_the_fly; }
  detail::expects(name == Hashmap::name, "kmap mode \"", name, "\" does not exist; choose \"",
                  HashmapOnTheFly::name, "\" or \"", Hashmap::name, "\"");
  return KmapMode::hashmap;
}

/// The mode called `name`: "spconv" or "minkowski". @throws invalid_argument  neither
[[nodiscard]] inline DownsampleMode downsample_mode(std::string_view name)
{
  if (name == SpconvDownsample::name) { return DownsampleMode::spconv; }
  detail::expects(name == MinkowskiDownsample::name, "downsample mode \"", name,
                  "\" does not exist; choose \"", SpconvDownsample::name, "\" or \"",
                  MinkowskiDownsample::name, "\"");
  return DownsampleMode::minkowski;
}

/// The configuration of layers on this thread that have none of their own; it starts as ConvConfig{}.
/// Each thread has its own, so setting it never changes another thread's layers.
[[nodiscard]] inline ConvConfig& thread_conv_config()
{
  static thread_local ConvConfig config;
  return config;
}

/// @name TorchSparse's switches, for the calling thread
/// @throws invalid_argument  the mode does not exist; nothing changes
/// @{
inline void set_conv_mode(int mode)
{
  thread_conv_config() = with_conv_mode(thread_conv_config(), mode);
}
inline void set_kmap_mode(std::string_view name)
{
  thread_conv_config().kmap = kmap_mode(name);
}
inline void set_downsample_mode(std::string_view name)
{
  thread_conv_config().downsample = downsample_mode(name);
}
/// @}

/// Sets the thread's configuration while it lives and puts the old one back.
class ScopedConvConfig {
 public:
  explicit ScopedConvConfig(ConvConfig const& config) : previous_{thread_conv_config()}
  {
    thread_conv_config() = config;
  }
  ScopedConvConfig(ScopedConvConfig const&) = delete;
  ScopedConvConfig& operator=(ScopedConvConfig const&) = delete;
  ~ScopedConvConfig() { thread_conv_config() = previous_; }

 private:
  ConvConfig previous_;
};

}  // namespace v0
}  // namespace tessera
