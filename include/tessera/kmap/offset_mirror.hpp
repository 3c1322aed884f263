// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/geometry.hpp>

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The negative of each offset of a kernel, where its offsets are closed under negation; else nothing.
///
/// Over one set of coordinates that is all a convolution read backwards needs: `in = out + offset(k)` exactly
/// when `out = in + offset(mirror(k))`.
class OffsetMirror {
 public:
  /// None: some offset has no negative.
  OffsetMirror() = default;

  /// The mirror of a centred region: offset k and offset `volume - 1 - k`.
  [[nodiscard]] static OffsetMirror reversal(int volume)
  {
    OffsetMirror mirror;
    mirror.volume_ = volume;
    return mirror;
  }

  /// The mirror under which offset k and offset `partners[k]` are a pair. [volume]
  /// @throws invalid_argument  the partner of a partner is another offset
  explicit OffsetMirror(std::vector<int> partners) : volume_{static_cast<int>(partners.size())}
  {
    bool reverses = true;
    for (int k = 0; k < volume_; ++k) {
      int const partner = partners[static_cast<std::size_t>(k)];
      bool const exists = partner >= 0 && partner < volume_;
      detail::expects(exists && partners[static_cast<std::size_t>(partner)] == k, "offset mirror: offset ", k,
                      " has partner ", partner, " of ", volume_, " offsets, which has another");
      reverses = reverses && partner == volume_ - 1 - k;
    }
    if (!reverses) { partners_ = std::move(partners); }
  }

  [[nodiscard]] bool exists() const noexcept { return volume_ > 0; }
  [[nodiscard]] int volume() const noexcept { return volume_; }
  /// Whether offset k's partner is offset `volume - 1 - k`, so that a mirrored weight is one read backwards.
  [[nodiscard]] bool is_reversal() const noexcept { return exists() && partners_.empty(); }
  /// The offset whose negative is offset k. @pre  exists()
  [[nodiscard]] int operator()(int k) const
  {
    return partners_.empty() ? volume_ - 1 - k : partners_[static_cast<std::size_t>(k)];
  }

 private:
  int volume_ = 0;             // 0: none
  std::vector<int> partners_;  // [volume], or empty: a reversal
};

/// The mirror of a list of offsets, in any order; none where one has no negative or occurs twice.
/// Cost: a sorted look-up per offset.
template <int Dim>
[[nodiscard]] OffsetMirror mirror_of(std::vector<IntArray<Dim>> const& offsets)
{
  using Axes = std::vector<long long>;
  auto const axes_of = [](IntArray<Dim> const& offset, int sign) {
    Axes axes;
    for (int const axis : offset) { axes.push_back(static_cast<long long>(sign) * axis); }
    return axes;
  };
  std::map<Axes, int> number_of;
  for (std::size_t k = 0; k < offsets.size(); ++k) {
    bool const is_new = number_of.emplace(axes_of(offsets[k], 1), static_cast<int>(k)).second;
    if (!is_new) { return {}; }
  }
  std::vector<int> partners;
  for (auto const& offset : offsets) {
    auto const found = number_of.find(axes_of(offset, -1));
    if (found == number_of.end()) { return {}; }
    partners.push_back(found->second);
  }
  return OffsetMirror{std::move(partners)};
}

/// The mirror of a region: there is one where the stride is 1 and its offsets are closed under negation, of a
/// box or cross where `2 anchor = (size - 1) dilation` on every axis.
template <int Dim>
[[nodiscard]] OffsetMirror mirror_of(KernelRegion<Dim> const& region)
{
  if (!all_equal(region.stride, 1)) { return {}; }
  if (region.shape.is_list()) {
    std::vector<IntArray<Dim>> offsets;
    for (int k = 0; k < region.volume(); ++k) { offsets.push_back(region.offset(k)); }
    return mirror_of(offsets);
  }
  for (int i = 0; i < Dim; ++i) {
    bool const is_centred = 2LL * region.anchor[i] == (region.size[i] - 1LL) * region.dilation[i];
    if (!is_centred) { return {}; }
  }
  return OffsetMirror::reversal(region.volume());
}

}  // namespace v0
}  // namespace tessera
