// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/parameter.hpp>

#include <cstdint>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// Where a file holds the elements of a convolution's kernel: element (k, in, out), k counting offsets
/// row-major as Tessera does, lies at `first[k] + in * in_step + out * out_step`.
struct KernelPlacement {
  std::vector<std::int64_t> shape;  ///< the tensor's shape in the file
  std::vector<std::int64_t> first;  ///< [volume]
  std::int64_t in_step = 0;
  std::int64_t out_step = 1;
};

// A layout is an empty type with `static KernelPlacement place(ParameterView const&)`, called for parameters
// of role kernel; all others are alike everywhere.

/// Tessera's own: [volume, in, out], offsets row-major (the last axis fastest); [in, out] for a kernel of one
/// voxel and stride 1.
struct Tessera {
  [[nodiscard]] static KernelPlacement place(nn::ParameterView const& kernel)
  {
    KernelPlacement result;
    result.shape = kernel.shape;
    result.out_step = 1;
    result.in_step = kernel.shape.back();
    auto const matrix = kernel.shape[kernel.shape.size() - 2] * kernel.shape.back();
    auto const volume = kernel.size / matrix;
    for (std::int64_t k = 0; k < volume; ++k) { result.first.push_back(k * matrix); }
    return result;
  }
};

/// TorchSparse's: as Tessera's, but where every axis of the kernel is odd the first axis runs fastest.
/// Source: TorchSparse 2.1, whose kernels number offsets by the parity of the volume.
struct TorchSparse {
  [[nodiscard]] static KernelPlacement place(nn::ParameterView const& kernel)
  {
    auto result = Tessera::place(kernel);
    auto const volume = static_cast<std::int64_t>(result.first.size());
    if (volume % 2 == 0) { return result; }
    auto const matrix = kernel.size / volume;
    for (std::int64_t k = 0; k < volume; ++k) {
      // the digits of k, last axis first, are those of the file's number, first axis last
      std::int64_t rest = k;
      std::int64_t step = volume;
      std::int64_t number = 0;
      for (auto axis = kernel.kernel_size.size(); axis-- > 0;) {
        auto const size = kernel.kernel_size[axis];
        step /= size;
        number += rest % size * step;
        rest /= size;
      }
      result.first[static_cast<std::size_t>(k)] = number * matrix;
    }
    return result;
  }
};

}  // namespace io
}  // namespace v0
}  // namespace tessera
