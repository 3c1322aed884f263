// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "torch_memory.hpp"

#include <tessera/core/execution.cuh>
#include <tessera/core/scalar.cuh>

#include <torch/csrc/stable/accelerator.h>

/// Weak, so that the library loads where PyTorch has no CUDA; then nothing calls it.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(std::int32_t device,
                                                                                   void** stream);

namespace tessera_torch {

template <>
class Call<tessera::Device> {
 public:
  using Space = tessera::Device;

  explicit Call(Tensor const& like)
      : device_{device_of(like)},
        guard_{device_},
        memory_{device_},
        exec_{current_stream(device_), &memory_, device_}
  {}

  [[nodiscard]] tessera::Execution<Space> const& exec() const { return exec_; }
  [[nodiscard]] std::int32_t device() const { return device_; }
  [[nodiscard]] TorchMemory& memory() { return memory_; }

 private:
  /// PyTorch chooses the kernels of GPUs where any tensor is on one.
  [[nodiscard]] static std::int32_t device_of(Tensor const& tensor)
  {
    expects(tensor.is_cuda(),
            "tessera: the first tensor is on another device than the others; all must be on one");
    return tensor.get_device_index();
  }

  [[nodiscard]] static tessera::StreamHandle current_stream(std::int32_t device)
  {
    expects(aoti_torch_get_current_cuda_stream != nullptr, "tessera: this PyTorch has no CUDA");
    void* stream = nullptr;
    check_call(aoti_torch_get_current_cuda_stream(device, &stream), "aoti_torch_get_current_cuda_stream");
    return static_cast<tessera::StreamHandle>(stream);
  }

  std::int32_t device_;
  torch::stable::accelerator::DeviceGuard guard_;
  TorchMemory memory_;
  tessera::Execution<Space> exec_;
};

}  // namespace tessera_torch
