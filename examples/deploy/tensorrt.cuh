// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// A sparse network as a layer of a TensorRT engine. What TensorRT declares is mocked by the few lines that
// matter here; with NvInfer.h in their place the plugin stays as it is.

#include <tessera/tessera.cuh>

#include <cstdio>
#include <memory>

namespace nvinfer1 {

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};
struct PluginTensorDesc {
  Dims dims;
};
struct IPluginV3OneRuntime {
  virtual ~IPluginV3OneRuntime() = default;
  virtual std::int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc,
                               void const* const* inputs, void* const* outputs, void* workspace,
                               cudaStream_t stream) noexcept = 0;
};

}  // namespace nvinfer1

namespace deploy {

/// Inputs: coordinates [rows, 4] int32, features [rows, channels] half, number of voxels [1] int32. Outputs:
/// logits [rows, classes] half, number of voxels [1] int32. The rows are the most there may be; how many are
/// in use stays on the device.
template <class Net>
class SegmentPlugin final : public nvinfer1::IPluginV3OneRuntime {
 public:
  /// The plan has memory of its own: TensorRT's workspace may be elsewhere at each call, and a graph's
  /// addresses are fixed. Contexts that run at once need a plugin each, with one network.
  SegmentPlugin(std::shared_ptr<Net> net, tessera::PlanLimits const& limits,
                tessera::Execution<tessera::Device> const& exec)
      : net_{std::move(net)}, plan_{*net_, limits, exec}
  {}

  // [enqueue]
  std::int32_t enqueue(nvinfer1::PluginTensorDesc const* inputDesc,
                       nvinfer1::PluginTensorDesc const* outputDesc, void const* const* inputs,
                       void* const* outputs, void* /*workspace*/, cudaStream_t stream) noexcept override
  {
    tessera::PlanDestination<__half> to;
    to.features = {static_cast<__half*>(outputs[0]), outputDesc[0].dims.d[0], outputDesc[0].dims.d[1]};
    to.num_rows = static_cast<std::int32_t*>(outputs[1]);
    tessera::RowCount const rows{inputDesc[0].dims.d[0], static_cast<std::int32_t const*>(inputs[2])};
    auto const status = plan_.try_run(static_cast<std::int32_t const*>(inputs[0]),
                                      static_cast<__half const*>(inputs[1]), rows, to, stream);
    if (!status.ok()) { std::fprintf(stderr, "segment: %s\n", status.what()); }

    auto const report = plan_.status();  // of runs that have finished: nothing waits
    if (!report.ok()) {
      std::fprintf(stderr, "segment: a scan before this one was%s%s%s\n",
                   report.over_capacity ? " too large" : "", report.duplicates ? " with duplicates" : "",
                   report.out_of_bounds ? " out of bounds" : "");
      plan_.acknowledge();
    }
    return status.ok() ? 0 : 1;
  }
  // [enqueue]

 private:
  std::shared_ptr<Net> net_;
  tessera::Plan<Net> plan_;
};

}  // namespace deploy
