// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/kernel_mark.hpp>
#include <tessera/io/detail/layout_text.hpp>
#include <tessera/io/detail/printable.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/parameter.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Where a file has the elements of parameters: in the layout that it says, or else in the one that the
/// caller says.
class StoredLayout {
 public:
  /// @param text   the name of the caller's layout; empty for one of somebody else's
  /// @param where  it has kernels
  StoredLayout(Safetensors const& file, std::string_view text, Place where)
      : metadata_{file.metadata()}, text_{text}, place_{where}
  {
    auto const mark = metadata_.find(layout_key);
    if (mark == metadata_.end() || mark->second == text_) { return; }
    auto const marked = place_of_text(mark->second);
    expects(marked != nullptr && !text_.empty(), "load: ", printable(file.path()),
            " says that its layout is ", in_quotes(mark->second),
            marked == nullptr ? ", which is not known" : ", another than the one asked for");
    text_ = mark->second;
    place_ = marked;
  }

  /// The layout's name; empty for a layout of somebody else's.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }

  /// Where the file has `parameter` under `name`.
  /// @throws invalid_argument  the file has it for another kernel size
  [[nodiscard]] io::WeightPlacement place(nn::ParameterView const& parameter, std::string const& name) const
  {
    auto result = placement(parameter, place_);
    auto const entry = metadata_.find(kernel_mark_key(name));
    bool const marked =
        parameter.role == nn::ParameterRole::conv_weight && text_ == "tessera" && entry != metadata_.end();
    if (!marked) { return result; }
    auto const mark = parse_kernel_mark(entry->second);
    expects(mark.has_value(), "load: the file says of the kernel size of \"", shown_name(name), "\" ",
            in_quotes(entry->second), ", which cannot be read");
    apply(*mark, parameter, name, result);
    return result;
  }

 private:
  /// Changes `place` to what the mark says of the offsets' order.
  static void apply(KernelMark const& mark, nn::ParameterView const& parameter, std::string const& name,
                    io::WeightPlacement& place)
  {
    auto const& size = parameter.kernel_size;
    auto const volume = static_cast<std::int64_t>(place.first.size());
    if (!mark.size.empty() && volume_of(mark.size) != volume) {
      return;
    }  // another shape, which the caller sees
    bool const same =
        mark.size.size() == size.size() ? mark.size == size : long_axes(mark.size) == long_axes(size);
    expects(mark.size.empty() || same || mark.from_volume, "load: tensor \"", shown_name(name),
            "\" is a kernel of size ", list(mark.size), " in the file, but the module needs ", list(size),
            "; are its axes in another order?");
    expects(mark.order != OffsetNumbering::unknown || long_axes(size).size() <= 1, "load: tensor \"",
            shown_name(name), "\" is a kernel ", list(size),
            " of TorchSparse's or MinkowskiEngine's, which number offsets in another "
            "order, and nothing in the checkpoint tells which of them wrote it; convert it again and give "
            "its layout, "
            "torchsparse or minkowski (ConvertOptions::layout, --layout)");
    bool const first_fastest = mark.order == OffsetNumbering::first_axis_fastest;
    bool const renumbered = mark.from_volume && long_axes(mark.size) != long_axes(size);
    if (!first_fastest && !renumbered) { return; }
    auto const in_order = place.first;
    std::vector<int> const reversed(mark.size.rbegin(), mark.size.rend());
    for (std::int64_t k = 0; k < volume; ++k) {
      auto const number = first_axis_fastest(k, size);
      auto const at = renumbered ? first_axis_fastest(number, reversed) : number;
      place.first[static_cast<std::size_t>(k)] = in_order[static_cast<std::size_t>(at)];
    }
  }

  std::map<std::string, std::string> const& metadata_;
  std::string_view text_;
  Place place_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
