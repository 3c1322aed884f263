// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/torch_checkpoint.hpp>
#include <tessera/io/weight_layout.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// The tensors of a model by name; views of the checkpoint they come from.
struct StateDict {
  std::vector<NamedTensor> tensors;              ///< in the order of the file
  std::map<std::string, std::int64_t> versions;  ///< PyTorch's `_version` of modules, where the file has it
  std::vector<std::string> others;               ///< names of entries that are no tensors, each once
  std::string where;                             ///< e.g. "state_dict", empty for the file's root
  std::vector<std::string> beside;               ///< what else could have been meant, e.g. "state_dict_ema"

  /// @name What a file of Tessera's says of itself
  /// @{
  std::optional<WeightLayout> layout;
  bool is_as_shaped =
      false;  ///< kernels of one voxel mean what their shape says: KrscUnder<Compatibility::none>
  bool is_converted = false;                        ///< it comes from convert_checkpoint()
  std::string lost;                                 ///< what its names lost then
  std::map<std::string, std::string> kernel_marks;  ///< what is known of kernels [volume, in, out], by name
  std::map<std::string, std::string> description;   ///< texts whose keys begin with `tessera.network.`
  /// @}
};

/// Finds the state_dict of a checkpoint.
///
/// It is what is under `state_dict`, `model_state`, `model_state_dict`, `model`, `network`, `net` or
/// `module`, in this order, one in another if need be, if that holds tensors, else the root; or exactly under
/// `key`, if one is given.
/// @throws invalid_argument  there is none; a name appears twice in it; its tensors share memory so often
/// that they are more than eight times the file and 1 MiB
///
/// Cost: a pass over the names; tensors are not copied.
/// Source: `state_dict` is what mmdetection3d, det3d, BEVFusion and Lightning write, `model_state` OpenPCDet,
/// `model` SPVNAS, `module` DeepSpeed.
[[nodiscard]] StateDict find_state_dict(TorchCheckpoint const& checkpoint, std::string const& key = {});

/// A checkpoint that is gone after the call has no tensors to refer to: give it a name.
StateDict find_state_dict(TorchCheckpoint const&& checkpoint, std::string const& key = {}) = delete;

/// The tensors of a safetensors file, which is a state_dict as it is, and what it says of itself if it is one
/// of Tessera's.
/// @throws invalid_argument  a tensor is of a type that DType lacks; it says that its layout is one that is
/// not known
[[nodiscard]] StateDict find_state_dict(Safetensors const& file);

/// As with a checkpoint.
StateDict find_state_dict(Safetensors const&& file) = delete;

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/state_dict_body.hpp>
#endif
