// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/convert_options.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/state_dict.hpp>
#include <tessera/io/torch_checkpoint.hpp>

#include <string>

namespace tessera {
inline namespace v0 {
namespace io {

/// Brings a state_dict of spconv, TorchSparse or MinkowskiEngine into Tessera's layout.
///
/// Kernels of sparse convolutions become [volume, in, out] with offsets row-major, or [in, out] where they
/// are of one voxel; everything else is copied. Which tensors are kernels, and in which layout, is told from
/// names, shapes, the channels of biases and norms, and module versions; the report says what was decided and
/// why.
/// @param name  of the file, for error sentences
/// @throws invalid_argument  a kernel fits no layout or several; no tensor has the prefix; a name appears
/// twice
///
/// Cost: one pass over the tensors, and a copy of them.
[[nodiscard]] ConvertedCheckpoint convert_checkpoint(StateDict state, std::string const& name,
                                                     ConvertOptions const& options = {});

/// The same of the state_dict in a PyTorch checkpoint: see find_state_dict().
[[nodiscard]] ConvertedCheckpoint convert_checkpoint(TorchCheckpoint const& checkpoint,
                                                     ConvertOptions const& options = {});

/// The same of a safetensors file. A file that says its layout, as save() and save_checkpoint() write them,
/// is read in that; one that was converted before keeps its names unless a prefix is given.
/// @throws invalid_argument  also: the options name another layout than the file says
[[nodiscard]] ConvertedCheckpoint convert_checkpoint(Safetensors const& file,
                                                     ConvertOptions const& options = {});

/// Reads any checkpoint: what torch.save() wrote in each of its forms (.pth, .pt, .ckpt), safetensors, or a
/// file that was converted before; which of them it is, its content says, not its name.
///
/// This is how a program reads weights: `load(net, convert_checkpoint(path), exec)`.
/// @throws invalid_argument  also: the file cannot be read, or is none of these
[[nodiscard]] ConvertedCheckpoint convert_checkpoint(std::string const& path,
                                                     ConvertOptions const& options = {});

/// Writes a converted checkpoint to the safetensors file `path`.
/// @throws invalid_argument  the file cannot be written
/// Cost: one pass over the tensors.
/// Determinism: same tensors, same bytes.
void save_checkpoint(ConvertedCheckpoint const& checkpoint, std::string const& path);

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/convert_body.hpp>
#endif
