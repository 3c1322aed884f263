// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>

#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// A list of kernels for SpecializedKernels.
template <class... Kernels>
struct KernelList {};

/// Kernels of the user's own, which stand in for the built-in ones where they fit; empty unless specialised.
///
/// A kernel is an empty type that names the channels it is for, says on which devices it runs, and enqueues
/// the whole convolution of ConvolutionArguments:
///
/// ```
/// struct FirstLayer {
///   static constexpr int in_channels = 4;
///   static constexpr int out_channels = 32;
///   static bool supports(int compute_capability) { return compute_capability >= 80; }  // 90 is 9.0
///   static void forward(tessera::ConvolutionArguments<__half> const&, tessera::KernelMap<tessera::Device>&,
///                       tessera::Execution<tessera::Device> const&);
/// };
/// template <>
/// struct tessera::SpecializedKernels<__half> {
///   using list = tessera::KernelList<FirstLayer>;
/// };
/// ```
///
/// ImplicitGemm with AutoTile on the device runs the first kernel of the list whose channels and device fit,
/// whatever the map, sort and splits: of a forward convolution whose weight is [volume, in_channels,
/// out_channels], never of a gradient. A Tile of the user's own, a GemmKernel other than automatic and the
/// other dataflows never do. `num_out` is at least 1 then, and every element of the output must be written;
/// the order of sums is the kernel's own.
///
/// One rule: a program has one specialisation for a scalar, the same in every translation unit, before the
/// first convolution of that scalar. Put it into one header that all of them include; anything else breaks
/// C++'s one-definition rule, which no compiler has to diagnose.
template <class Scalar>
struct SpecializedKernels {
  using list = KernelList<>;
};

/// Whether Kernel can be in SpecializedKernels<Scalar>'s list.
template <class Kernel, class Scalar, class = void>
struct is_specialized_kernel : std::false_type {};
template <class Kernel, class Scalar>
struct is_specialized_kernel<
    Kernel, Scalar,
    std::void_t<std::integral_constant<int, Kernel::in_channels>,
                std::integral_constant<int, Kernel::out_channels>, decltype(bool{Kernel::supports(int{})}),
                decltype(Kernel::forward(
                    std::declval<ConvolutionArguments<Scalar> const&>(), std::declval<KernelMap<Device>&>(),
                    std::declval<Execution<Device> const&>()))>> : std::is_empty<Kernel> {};

namespace detail {

template <class Kernel, class Scalar>
[[nodiscard]] bool fits_specialized_kernel(ConvolutionArguments<Scalar> const& arguments,
                                           int compute_capability)
{
  static_assert(
      is_specialized_kernel<Kernel, Scalar>::value,
      "SpecializedKernels: each kernel of the list must be an empty type with constants `in_channels` "
      "and `out_channels`, `supports(int compute_capability)` and `forward(arguments, map, exec)`");
  return is_plain_forward(arguments) && arguments.in_channels == Kernel::in_channels &&
         arguments.out_channels == Kernel::out_channels && Kernel::supports(compute_capability);
}

template <class Kernel, class Scalar>
bool run_specialized_kernel(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                            int compute_capability, Execution<Device> const& exec)
{
  if (!fits_specialized_kernel<Kernel>(arguments, compute_capability)) { return false; }
  Kernel::forward(arguments, map, exec);
  return true;
}

/// Whether a kernel of the list fits.
template <class Scalar, class... Kernels>
[[nodiscard]] bool has_specialized_kernel(KernelList<Kernels...>,
                                          [[maybe_unused]] ConvolutionArguments<Scalar> const& arguments,
                                          [[maybe_unused]] int compute_capability)
{
  return (... || fits_specialized_kernel<Kernels>(arguments, compute_capability));
}

/// Runs the first kernel of the list that fits; false when there is none.
template <class Scalar, class... Kernels>
bool run_specialized_kernels(KernelList<Kernels...>,
                             [[maybe_unused]] ConvolutionArguments<Scalar> const& arguments,
                             [[maybe_unused]] KernelMap<Device>& map, [[maybe_unused]] int compute_capability,
                             [[maybe_unused]] Execution<Device> const& exec)
{
  return (... || run_specialized_kernel<Kernels>(arguments, map, compute_capability, exec));
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
