// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/layout_detection.hpp>
#include <tessera/io/detail/norm_pairs.hpp>
#include <tessera/io/detail/printable.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Who wrote the kernels [volume, in, out] of a file, and what says so.
struct KernelOrder {
  WeightLayout layout = WeightLayout::torchsparse;
  bool is_known = false;  ///< else kernels of even volume may be MinkowskiEngine's as well
  std::string reason = "named kernel, and nothing of MinkowskiEngine's";
};

/// Tells TorchSparse from MinkowskiEngine, which call their kernels alike.
///
/// MinkowskiEngine's norms are modules around a norm of PyTorch called `bn`, with nothing beside it; its biases
/// and the weights of its instance norms are [1, channels]. TorchSparse's norms are PyTorch's own, right behind
/// a kernel of as many channels, and its biases have one axis. A norm elsewhere is a dense head's, of either.
class KernelOrderFinder {
 public:
  explicit KernelOrderFinder(std::vector<NamedTensor> const& tensors) : tensors_{tensors}, table_{tensors}
  {
    for (auto const& tensor : tensors) { sorted_.push_back(tensor.first); }
    std::sort(sorted_.begin(), sorted_.end());
  }

  [[nodiscard]] KernelOrder find() const
  {
    KernelOrder order;
    bool torchsparse = false;
    bool minkowski = false;
    std::int64_t channels = 0;  // that the layer before the one at hand puts out, if it has a kernel
    std::int64_t channels_here = 0;
    std::string layer;
    for (auto const& [name, tensor] : tensors_) {
      auto const [parent, last] = split_name(name);
      auto const rank = tensor.shape.size();
      if (auto here = module_of(name); here != layer) {
        layer = std::move(here);
        channels = channels_here;
        channels_here = 0;
      }
      if (last == "kernel" && (rank == 2 || rank == 3)) { channels_here = tensor.shape.back(); }
      bool const mean = last == "running_mean" && rank == 1;
      if ((mean && is_wrapped(layer)) || is_row(parent, last, tensor)) {
        if (!minkowski) {
          order.reason =
              concat("named kernel, and ", shown_name(name), " of shape ", shown_shape(tensor.shape),
                     mean ? " is a norm as MinkowskiEngine's" : " is as MinkowskiEngine's");
        }
        minkowski = true;
      } else if (mean) {
        torchsparse = torchsparse || tensor.shape[0] == channels;
      } else if (last == "bias" && rank == 1 && table_.find(parent + "kernel") != nullptr) {
        torchsparse = true;
      }
    }
    if (minkowski && torchsparse) {
      order.reason = "named kernel, with norms and biases of both TorchSparse and MinkowskiEngine";
      return order;
    }
    if (minkowski) { order.layout = WeightLayout::minkowski; }
    order.is_known = minkowski || torchsparse;
    return order;
  }

 private:
  /// Whether the norm `layer` is called `bn` and is all that there is in the module that holds it. A block of
  /// a convolution and a norm called `bn` holds a kernel as well.
  [[nodiscard]] bool is_wrapped(std::string const& layer) const
  {
    auto const [outer, last] = split_name(layer);
    if (last != "bn" || outer.empty()) { return false; }
    std::string_view const below{outer};
    auto const first = std::lower_bound(sorted_.begin(), sorted_.end(), below);
    auto const end = std::partition_point(
        first, sorted_.end(), [&](std::string_view name) { return name.substr(0, below.size()) == below; });
    auto const inner = layer + ".";
    return first != end && begins_with(*first, inner) && begins_with(*(end - 1), inner);
  }

  /// Whether this is a bias [1, channels] of a kernel or of an instance norm. A weight of that shape alone is
  /// a linear layer's of one channel out.
  [[nodiscard]] bool is_row(std::string const& parent, std::string const& last, RawTensor const& tensor) const
  {
    if (last != "bias" || tensor.shape.size() != 2 || tensor.shape[0] != 1) { return false; }
    if (table_.find(parent + "running_mean") != nullptr) { return false; }
    auto const* const weight = table_.find(parent + "weight");
    return table_.find(parent + "kernel") != nullptr || (weight != nullptr && weight->shape == tensor.shape);
  }

  std::vector<NamedTensor> const& tensors_;
  TensorTable table_;
  std::vector<std::string_view> sorted_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
