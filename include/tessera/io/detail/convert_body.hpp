// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/convert_options.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/checkpoint_converter.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/file_kind.hpp>
#include <tessera/io/detail/safetensors_header.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/state_dict.hpp>
#include <tessera/io/torch_checkpoint.hpp>

#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

TESSERA_INLINE ConvertedCheckpoint convert_checkpoint(StateDict state, std::string const& name,
                                                      ConvertOptions const& options)
{
  detail::FileContext const file{"convert_checkpoint", name};
  return detail::CheckpointConverter{std::move(state), options, file}.convert();
}

TESSERA_INLINE ConvertedCheckpoint convert_checkpoint(TorchCheckpoint const& checkpoint,
                                                      ConvertOptions const& options)
{
  return convert_checkpoint(find_state_dict(checkpoint, options.key()), checkpoint.path(), options);
}

TESSERA_INLINE ConvertedCheckpoint convert_checkpoint(Safetensors const& file, ConvertOptions const& options)
{
  return convert_checkpoint(find_state_dict(file), file.path(), options);
}

TESSERA_INLINE ConvertedCheckpoint convert_checkpoint(std::string const& path, ConvertOptions const& options)
{
  detail::FileContext const file{"convert_checkpoint", path};
  detail::InputFile input{file};
  auto const& beginning = input.beginning();
  bool const named = detail::ends_with(path, ".safetensors") && !detail::begins_as_torch(beginning);
  if (named || detail::begins_as_safetensors(beginning)) {
    detail::check_safetensors_beginning(input, detail::FileContext{"Safetensors", path});
    return convert_checkpoint(Safetensors{std::move(input).all(), path}, options);
  }
  detail::check_torch_beginning(input, detail::FileContext{"read_torch_checkpoint", path});
  return convert_checkpoint(TorchCheckpoint{std::move(input).all(), path}, options);
}

TESSERA_INLINE void save_checkpoint(ConvertedCheckpoint const& checkpoint, std::string const& path)
{
  std::vector<NamedTensor> tensors;
  for (auto const& name : checkpoint.tensors.names()) {
    tensors.emplace_back(name, checkpoint.tensors.tensor(name));
  }
  write_safetensors(path, tensors, checkpoint.tensors.metadata());
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
