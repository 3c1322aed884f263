// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Which offsets a kernel has: all of a box, those of it that lie on an axis, or a list of one's own.
///
/// | shape         | offsets, in the order of the weights                                                   |
/// |---------------|----------------------------------------------------------------------------------------|
/// | box()         | digits of every axis in [0, size), row-major: the last axis runs fastest               |
/// | cross()       | those of the box with at most one digit off the middle, in the box's order; odd sizes  |
/// | offsets(list) | the list, in its order; kernel size and padding have no meaning and stay 1 and 0       |
///
/// Source: MinkowskiEngine's HYPER_CUBE, HYPER_CROSS and CUSTOM regions, whose cross numbers its offsets
/// otherwise.
template <int Dim>
class KernelShape {
 public:
  /// Offsets of a list, at most: it travels with every kernel launch.
  static constexpr int most_offsets = 128;

  /// The box, which is the default.
  KernelShape() = default;
  [[nodiscard]] static KernelShape box() { return {}; }
  [[nodiscard]] static KernelShape cross()
  {
    KernelShape shape;
    shape.kind_ = Kind::cross;
    return shape;
  }
  /// `in = stride * out + dilation * list[k]`: the weight of offset k reads the input there.
  /// @throws invalid_argument  no offset or more than most_offsets; one that is there twice or leaves 16 bits
  [[nodiscard]] static KernelShape offsets(std::vector<IntArray<Dim>> const& list)
  {
    detail::expects(!list.empty() && list.size() <= most_offsets, "KernelShape: a list of ", list.size(),
                    " offsets; 1 to ", most_offsets);
    KernelShape shape;
    shape.kind_ = Kind::list;
    for (auto const& offset : list) {
      for (int k = 0; k < shape.count_; ++k) {
        detail::expects(shape.listed(k) != offset, "KernelShape: offset ", detail::list(offset),
                        " is there twice");
      }
      for (int i = 0; i < Dim; ++i) {
        detail::expects(std::abs(static_cast<long>(offset[i])) <= INT16_MAX, "KernelShape: offset ",
                        detail::list(offset), " does not fit 16 bits");
        shape.offsets_[shape.count_][i] = static_cast<std::int16_t>(offset[i]);
      }
      ++shape.count_;
    }
    return shape;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE constexpr bool is_box() const { return kind_ == Kind::box; }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr bool is_cross() const { return kind_ == Kind::cross; }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr bool is_list() const { return kind_ == Kind::list; }

  /// Offsets of a kernel of this shape whose box has `size`.
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr int volume(IntArray<Dim> const& size) const
  {
    if (is_box()) { return product(size); }
    return is_cross() ? volume_of_cross(size, 0) : count_;
  }

  /// Offset number k before dilation and anchor: digits of the box, or the list's k-th entry.
  /// @pre  0 <= k < volume(size)
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr IntArray<Dim> digits(int k, IntArray<Dim> const& size) const
  {
    if (is_box()) { return digits_of_box(k, size); }
    return is_cross() ? digits_of_cross(k, size) : listed(k);
  }
  /// The smallest and the largest digit of an axis.
  [[nodiscard]] constexpr int lowest_digit(int axis) const
  {
    int lowest = is_list() ? offsets_[0][axis] : 0;
    for (int k = 1; k < count_; ++k) { lowest = offsets_[k][axis] < lowest ? offsets_[k][axis] : lowest; }
    return lowest;
  }
  [[nodiscard]] constexpr int highest_digit(int axis, IntArray<Dim> const& size) const
  {
    int highest = is_list() ? offsets_[0][axis] : size[axis] - 1;
    for (int k = 1; k < count_; ++k) { highest = offsets_[k][axis] > highest ? offsets_[k][axis] : highest; }
    return highest;
  }

  friend bool operator==(KernelShape const& a, KernelShape const& b)
  {
    if (a.kind_ != b.kind_ || a.count_ != b.count_) { return false; }
    for (int k = 0; k < a.count_; ++k) {
      if (a.listed(k) != b.listed(k)) { return false; }
    }
    return true;
  }
  friend bool operator!=(KernelShape const& a, KernelShape const& b) { return !(a == b); }

 private:
  enum class Kind : std::uint8_t { box, cross, list };

  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr IntArray<Dim> digits_of_box(int k,
                                                                                 IntArray<Dim> const& size)
  {
    IntArray<Dim> result;
    for (int i = Dim - 1; i >= 0; --i) {
      int const rest = detail::divide(k, size[i]);
      result[i] = k - rest * size[i];
      k = rest;
    }
    return result;
  }
  /// Cells of the cross over the axes from `axis` on.
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr int volume_of_cross(IntArray<Dim> const& size, int axis)
  {
    int volume = 1;
    for (int i = axis; i < Dim; ++i) { volume += size[i] - 1; }
    return volume;
  }
  /// In row-major order the cells below the middle of an axis come first, then the cross of the later axes.
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr IntArray<Dim> digits_of_cross(int k,
                                                                                   IntArray<Dim> const& size)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = (size[i] - 1) / 2; }
    bool found = false;  // instead of a return, so that a GPU has the digits in registers
    for (int i = 0; i < Dim; ++i) {
      int const below = result[i];
      int const inner = volume_of_cross(size, i + 1);
      bool const is_inner = k >= below && k < below + inner;
      if (!found && !is_inner) { result[i] = k < below ? k : k - inner + 1; }
      found = found || !is_inner;
      k -= below;
    }
    return result;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE constexpr IntArray<Dim> listed(int k) const
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = offsets_[k][i]; }
    return result;
  }

  std::int16_t offsets_[most_offsets][Dim] = {};
  std::int16_t count_ = 0;  // of a list
  Kind kind_ = Kind::box;
};

}  // namespace v0
}  // namespace tessera
