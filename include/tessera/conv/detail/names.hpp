// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/core/space.hpp>
#include <tessera/kmap/geometry.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

// Names of choices in tables, messages and files.

[[nodiscard]] constexpr char const* name_of(Dataflow dataflow) noexcept
{
  switch (dataflow) {
    case Dataflow::gather_scatter: return GatherScatter::name;
    case Dataflow::fetch_on_demand: return FetchOnDemand::name;
    default: return "implicit_gemm";
  }
}

[[nodiscard]] constexpr char const* name_of(ConvolutionKind kind) noexcept
{
  switch (kind) {
    case ConvolutionKind::submanifold: return "submanifold";
    case ConvolutionKind::strided: return "strided";
    case ConvolutionKind::transposed: return "transposed";
    case ConvolutionKind::generative: return "generative";
    case ConvolutionKind::inverse: return "inverse";
    default: return "expanding";
  }
}

[[nodiscard]] constexpr char const* name_of(MathMode math) noexcept
{
  return math == MathMode::tf32 ? "tf32" : "exact";
}

[[nodiscard]] constexpr char const* name_of(GemmKernel kernel) noexcept
{
  switch (kernel) {
    case GemmKernel::block: return "block";
    case GemmKernel::warp: return "warp";
    case GemmKernel::warpgroup: return "warpgroup";
    case GemmKernel::warpgroup_pair: return "warpgroup_pair";
    default: return "automatic";
  }
}

/// The name of the kernel that runs in a space; the host has one.
template <class Space>
[[nodiscard]] constexpr char const* name_of_kernel(GemmKernel kernel) noexcept
{
  if (std::is_same_v<Space, Host>) { return "host"; }
  return kernel == GemmKernel::specialized ? "specialized" : name_of(kernel);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
