// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/hash/coordinate_table.hpp>
#include <tessera/kmap/policies.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Generative convolutions: the children `q = stride * in + (size / 2 - d) * dilation` of each input
/// (TorchSparse's order of offsets for odd kernels, and a child of its own parent for even ones).
struct GenerativeUpsample {
  static constexpr char const* name = "generative";

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static int num_candidates(KernelRegion<Dim> const& region)
  {
    return region.volume();
  }
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    auto const digits = region.digits(index);
    for (int i = 0; i < Dim; ++i) {
      out[i] = region.stride[i] * in[i] + (region.size[i] / 2 - digits[i]) * region.dilation[i];
    }
    return true;
  }
};

/// Expanding convolutions: the outputs `q = stride * in - offset`, the region's dilation being negative and
/// its anchor the negative padding, so that `q = stride * in - padding + d * dilation` as in a dense
/// transposed one.
struct ExpandingUpsample {
  static constexpr char const* name = "expanding";

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static int num_candidates(KernelRegion<Dim> const& region)
  {
    return region.volume();
  }
  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region,
                                                          IntArray<Dim> const& in, int index,
                                                          IntArray<Dim>& out)
  {
    auto const offset = region.offset(index);
    for (int i = 0; i < Dim; ++i) { out[i] = region.stride[i] * in[i] - offset[i]; }
    return true;
  }
};

/// What happens to a candidate outside the bounds.
enum class AtBorder : std::uint8_t { drop, clamp };

/// Candidates of every input, each kept once: the first thread to enter its key appends it to `keys`.
///
/// `statistics->count` counts the keys, also those past `capacity`. Once there are too many, no further ones
/// are entered, so that the table never fills up. Item number i is up to 32 candidates of one input.
template <int Dim, class Key, class Downsample>
struct CollectOutputs {
  static constexpr int group = 32;

  CoordinateView<Dim> inputs;
  CoordinateBox<Dim> input_box;  // in it no candidate overflows
  KernelRegion<Dim> region;
  KeyPacking<Dim, Key> packing;  // of the outputs' box
  HashTableRef<Key> seen;
  Key* keys;  // [capacity]
  std::int64_t capacity;
  Statistics<Dim>* statistics;  // [1]
  std::uint32_t const* frame_errors;
  CoordinateBox<Dim> const* bounds;  // [1] further bounds, or null
  AtBorder border;

  /// Items of an input.
  [[nodiscard]] TESSERA_HOST_DEVICE int num_groups() const
  {
    return (Downsample::num_candidates(region) + group - 1) / group;
  }

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const together = threads_together();
    if (i == 0) { atomic_or(&statistics->errors, *frame_errors); }
    auto const row = num_groups() == 1 ? i : i / num_groups();
    auto const first = static_cast<int>(i - row * num_groups()) * group;
    std::uint32_t entered = 0;  // bit j: candidate first + j is new
    bool const used = row < inputs.size();
    auto const in = used ? inputs[row] : Coordinate<Dim>{};
    if (used && !input_box.contains(in)) {
      atomic_or(&statistics->errors, std::uint32_t{DataError::out_of_range});
    } else if (used && atomic_load(&statistics->count) <= capacity) {
      Key key;
      for (int j = 0; j < group && first + j < Downsample::num_candidates(region); ++j) {
        if (make_key(in, first + j, key) && seen.try_insert(key) != Entered::before) {
          entered |= std::uint32_t{1} << j;
        }
      }
    }
    std::int64_t place = take_places(&statistics->count, count_bits(entered), together);
    for (int j = 0; j < group && entered >> j != 0; ++j) {
      Key key;
      if ((entered >> j & 1U) == 0 || !make_key(in, first + j, key)) { continue; }
      if (place < capacity) { keys[place] = key; }
      ++place;
    }
  }

 private:
  /// The key of a candidate, where there is one.
  [[nodiscard]] TESSERA_HOST_DEVICE bool make_key(Coordinate<Dim> const& in, int candidate, Key& key) const
  {
    Coordinate<Dim> out;
    out.batch = in.batch;
    if (!Downsample::candidate(region, in.position, candidate, out.position)) { return false; }
    if (border == AtBorder::clamp) {
      for (int axis = 0; axis < Dim; ++axis) {
        auto& p = out.position[axis];
        p = p < packing.box.lower[axis] ? packing.box.lower[axis] : p;
        p = p > packing.box.upper[axis] ? packing.box.upper[axis] : p;
      }
    }
    if (!packing.contains(out) || (bounds != nullptr && !bounds->contains(out.position))) { return false; }
    key = packing.pack(out);
    return true;
  }
};

/// The number of rows of a derived set of fixed capacity, and what went wrong so far.
template <int Dim>
struct FinishCount {
  Statistics<Dim> const* statistics;  // [1]
  std::int32_t* count;                // [1]
  std::uint32_t* errors;              // [1]
  std::int64_t capacity;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    auto found = statistics->errors;
    bool const fits = statistics->count <= capacity;
    if (!fits) { found |= DataError::capacity; }
    *count = fits ? statistics->count : static_cast<std::int32_t>(capacity);
    if (found != 0) { atomic_or(errors, found); }
  }
};

/// Worker w of `workers` takes the bounds of the keys w, w + workers, ... that were collected.
template <int Dim, class Key>
struct BoundsOfKeys {
  KeyPacking<Dim, Key> packing;
  Key const* keys;
  std::int64_t workers;
  Statistics<Dim>* statistics;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    Statistics<Dim> part;
    std::int64_t const count = statistics->count;
    for (auto i = worker; i < count; i += workers) { part.include(packing.unpack(keys[i])); }
    if (worker < count) { statistics->merge_atomically(part); }
  }
};

/// rows[i] = the coordinate of keys[i]; zeros in rows that are not in use.
template <int Dim, class Key>
struct UnpackKeys {
  KeyPacking<Dim, Key> packing;
  Key const* keys;        // [num_rows.capacity]
  Coordinate<Dim>* rows;  // [num_rows.capacity]
  RowCount num_rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    rows[i] = i < num_rows.size() ? packing.unpack(keys[i]) : Coordinate<Dim>{};
  }
};

/// Bounds that every candidate of an input in `box` respects, in 64 bits, cut to what int32 holds.
template <int Dim, class Downsample>
[[nodiscard]] CoordinateBox<Dim> reachable_box(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box)
{
  CoordinateBox<Dim> result = box;
  if (box.empty()) { return result; }
  for (int i = 0; i < Dim; ++i) {
    std::int64_t const stride = region.stride[i];
    std::int64_t const reach = std::int64_t{region.size[i] - 1} * region.dilation[i];
    std::int64_t lower = 0;
    std::int64_t upper = 0;
    if constexpr (std::is_same_v<Downsample, GenerativeUpsample>) {
      lower = box.lower[i] * stride - reach;
      upper = box.upper[i] * stride + reach;
    } else if constexpr (std::is_same_v<Downsample, ExpandingUpsample>) {
      lower = box.lower[i] * stride + region.anchor[i];
      upper = box.upper[i] * stride + region.anchor[i] - reach;  // the dilation is negative
    } else {
      // also for policies of users: a candidate lies within the kernel's reach of in / stride, or at it
      lower = (box.lower[i] + std::min<std::int64_t>(0, region.anchor[i] - reach)) / stride - 2;
      upper = (box.upper[i] + region.anchor[i]) / stride + 2;
    }
    expects(lower >= INT_MIN && upper <= INT_MAX, "convolution: output coordinates ", lower, " to ", upper,
            " on axis ", i, " do not fit 32 bits");
    result.lower[i] = static_cast<int>(lower);
    result.upper[i] = static_cast<int>(upper);
  }
  return result;
}

/// An upper limit of the number of different outputs. @pre  out_box is not empty
template <int Dim, class Downsample>
[[nodiscard]] std::int64_t most_outputs(KernelRegion<Dim> const& region, std::int64_t num_in,
                                        CoordinateBox<Dim> const& out_box)
{
  std::int64_t each = Downsample::num_candidates(region);
  if constexpr (std::is_same_v<Downsample, SpconvDownsample>) {
    each = 1;  // of `size` digits an axis, those of one residue modulo the stride lie on its lattice
    for (int i = 0; i < Dim; ++i) {
      int step = region.stride[i];  // stride / gcd(stride, dilation)
      for (int a = region.stride[i], b = region.dilation[i]; b != 0;) {
        int const rest = a % b;
        a = b;
        b = rest;
        step = region.stride[i] / a;
      }
      each *= ceil_div(region.size[i], step);
    }
  }
  auto const candidates = num_in * each;
  std::int64_t cells = out_box.batches;
  for (int i = 0; i < Dim; ++i) {
    if (cells > candidates / out_box.extent(i)) { return candidates; }  // their product may exceed 64 bits
    cells *= out_box.extent(i);
  }
  return std::min(candidates, cells);
}

}  // namespace detail

/// The set of outputs that `Downsample` names for the inputs of `set`, cut to `bounds`, as a further set of
/// the frame.
///
/// Rows are lexicographic (batch, x, y, ...). Not cached: kernel_map() is.
/// @param bounds  positions outside are dropped (or clamped, `border`); without bounds nothing is lost
/// @param space_bounds  [1] further bounds that only the space knows, or null
/// @throws invalid_argument  output coordinates do not fit 32 bits or their keys 63; errors in the rows of
/// `set`
///
/// Cost: one table entry and one sort key an output, one candidate an input and offset.
/// Stream: enqueues a fill and three kernels, waits once for the number of outputs, then a sort and a
/// kernel; of a set with a fixed capacity the same, but it does not wait, and too many outputs are reported
/// where the host next waits. Determinism: same input, in any row order: same set.
template <class Downsample, int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> derive_outputs(
    CoordinateSet<Dim, Space>& set, KernelRegion<Dim> const& region,
    std::optional<CoordinateBox<Dim>> const& bounds, CoordinateBox<Dim> const* space_bounds,
    detail::AtBorder border, CoordinateSetOptions<Dim> options, Execution<Space> const& exec)
{
  options.fixed_capacity = set.fixed_capacity();
  auto box = detail::reachable_box<Dim, Downsample>(region, set.box());
  if (bounds) {
    for (int i = 0; i < Dim; ++i) {
      box.lower[i] =
          border == detail::AtBorder::clamp ? bounds->lower[i] : std::max(box.lower[i], bounds->lower[i]);
      box.upper[i] =
          border == detail::AtBorder::clamp ? bounds->upper[i] : std::min(box.upper[i], bounds->upper[i]);
    }
  }
  auto const most = box.empty() ? 0 : detail::most_outputs<Dim, Downsample>(region, set.capacity(), box);
  if (most == 0) {
    CoordinateBox<Dim> nothing;
    nothing.batches = set.num_batches();  // entries without voxels stay entries
    return set.derive({}, nothing, options, exec);
  }
  auto const room = set.fixed_capacity()
                        ? std::min(most, set.fixed_capacity()->at(max_element(options.tensor_stride)))
                        : most;
  detail::expects(room <= INT_MAX, "convolution: up to ", room, " outputs are more than row indices hold");

  return detail::with_packing(box, [&](auto const& packing) {
    using Key = typename std::decay_t<decltype(packing)>::KeyType;
    using Rows = typename CoordinateSet<Dim, Space>::Rows;
    detail::HashTable<Key, Space> seen{room, exec};
    Buffer<Key, Space> keys{room, exec};
    Buffer<detail::Statistics<Dim>, Space> statistics{1, exec};
    detail::for_each(1, detail::StoreValue<detail::Statistics<Dim>>{statistics.data(), {}}, exec);
    if (set.fixed_capacity()) { fill_bytes(keys, 0xff, exec); }  // the largest key: sorted behind all others
    detail::for_each(set.capacity() * Downsample::num_candidates(region),
                     detail::CollectOutputs<Dim, Key, Downsample>{
                         set.view(), set.box(), region, packing, seen.ref(), keys.data(), room,
                         statistics.data(), set.errors(), space_bounds, border},
                     exec);
    auto const finish = [&](Rows&& rows, CoordinateBox<Dim> const& bounds_of_rows) {
      auto const capacity = rows.rows.size();
      Buffer<Key, Space> sorted{capacity, exec};
      detail::Sort<Space>::keys(keys.data(), sorted.data(), capacity, detail::key_bits(box), exec);
      RowCount const num_rows{capacity, rows.count.data()};
      detail::for_each(
          capacity, detail::UnpackKeys<Dim, Key>{packing, sorted.data(), rows.rows.data(), num_rows}, exec);
      return set.derive(std::move(rows), bounds_of_rows, options, exec);
    };
    if (set.fixed_capacity()) {
      Rows rows{{room, exec}, {1, exec}};
      detail::for_each(1, detail::FinishCount<Dim>{statistics.data(), rows.count.data(), set.errors(), room},
                       exec);
      return finish(std::move(rows), box);
    }
    auto const workers = std::min<std::int64_t>(room, 4096);
    detail::for_each(workers,
                     detail::BoundsOfKeys<Dim, Key>{packing, keys.data(), workers, statistics.data()}, exec);
    auto const found = download(statistics, exec)[0];
    detail::report(found.errors);
    auto tight = found.box();
    tight.batches = set.box().batches;
    return finish({{found.count, exec}}, tight);
  });
}

}  // namespace v0
}  // namespace tessera
