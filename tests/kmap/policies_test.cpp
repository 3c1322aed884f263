// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a downsample policy may say besides its candidates, and that policies of users are asked as those of
// the library are.

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

using namespace tessera;

namespace {

/// SpconvDownsample, written once more, without anything that is optional.
struct PlainSpconv {
  static constexpr char const* name = "plain_spconv";

  template <int Dim>
  TESSERA_HOST_DEVICE static int num_candidates(KernelRegion<Dim> const& region)
  {
    return region.volume();
  }
  template <int Dim>
  TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region, IntArray<Dim> const& in,
                                            int index, IntArray<Dim>& out)
  {
    auto const offset = region.offset(index);
    for (int i = 0; i < Dim; ++i) {
      int const scaled = in[i] - offset[i];
      out[i] = scaled / region.stride[i] - (scaled % region.stride[i] < 0 ? 1 : 0);
      if (out[i] * region.stride[i] != scaled) { return false; }
    }
    return true;
  }
  template <int Dim>
  static IntArray<Dim> output_extent(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& extent)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) {
      int const rest = extent[i] + 2 * g.padding[i] - g.dilation[i] * (g.kernel_size[i] - 1) - 1;
      result[i] = rest < 0 ? 0 : rest / g.stride[i] + 1;
    }
    return result;
  }
};

/// The same with everything that SpconvDownsample says of itself. (Deriving shares the members only.)
struct CopiedSpconv : PlainSpconv {
  static constexpr char const* name = "copied_spconv";
  static constexpr bool keeps_positions = true;
  static constexpr bool reads_torchsparse_lattice = true;
  using product_of_axes = CopiedSpconv;

  template <int Dim>
  TESSERA_HOST_DEVICE static bool candidate_of_axis(KernelRegion<Dim> const& region, int axis, int in,
                                                    int digit, int& out)
  {
    int const scaled = in + region.anchor[axis] - digit * region.dilation[axis];
    out = scaled / region.stride[axis] - (scaled % region.stride[axis] < 0 ? 1 : 0);
    return out * region.stride[axis] == scaled;
  }
  template <int Dim>
  static std::optional<ParentRule<Dim>> parent(KernelRegion<Dim> const& region)
  {
    if (!region.tiles_inputs()) { return std::nullopt; }
    return ParentRule<Dim>{region.stride, region.anchor};
  }
  template <int Dim>
  static std::int64_t max_outputs(KernelRegion<Dim> const& region)
  {
    std::int64_t most = 1;
    for (int i = 0; i < Dim; ++i) {
      int step = 1;  // the first multiple of the dilation that the stride divides
      while (step * region.dilation[i] % region.stride[i] != 0) { ++step; }
      most *= (region.size[i] + step - 1) / step;
    }
    return most;
  }
};

/// MinkowskiDownsample likewise.
struct PlainMinkowski {
  static constexpr char const* name = "plain_minkowski";

  template <int Dim>
  TESSERA_HOST_DEVICE static int num_candidates(KernelRegion<Dim> const&)
  {
    return 1;
  }
  template <int Dim>
  TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region, IntArray<Dim> const& in, int,
                                            IntArray<Dim>& out)
  {
    for (int i = 0; i < Dim; ++i) {
      out[i] = in[i] / region.stride[i] - (in[i] % region.stride[i] < 0 ? 1 : 0);
    }
    return true;
  }
  template <int Dim>
  static IntArray<Dim> output_extent(ConvolutionGeometry<Dim> const& g, IntArray<Dim> const& extent)
  {
    IntArray<Dim> result;
    for (int i = 0; i < Dim; ++i) { result[i] = (extent[i] + g.stride[i] - 1) / g.stride[i]; }
    return result;
  }
};

struct CopiedMinkowski : PlainMinkowski {
  static constexpr char const* name = "copied_minkowski";
  static constexpr bool keeps_positions = true;
  static constexpr bool depends_on_stride_alone = true;

  template <int Dim>
  static std::optional<ParentRule<Dim>> parent(KernelRegion<Dim> const& region)
  {
    return ParentRule<Dim>{region.stride, 0};
  }
};

/// HashmapOnTheFly, written once more.
struct CopiedOnTheFly {
  static constexpr char const* name = "copied_on_the_fly";
  static constexpr bool finds_torchsparse_outputs = true;

  template <int Dim>
  static IntArray<Dim> anchor(ConvolutionGeometry<Dim> const& g, ConvolutionKind kind, Compatibility compat)
  {
    return HashmapOnTheFly::anchor(g, kind, compat);
  }
};

static_assert(is_downsample_policy<PlainSpconv>::value && is_downsample_policy<CopiedSpconv>::value);
static_assert(is_downsample_policy<PlainMinkowski>::value && is_downsample_policy<CopiedMinkowski>::value);
static_assert(is_kmap_policy<CopiedOnTheFly>::value);

struct Case {
  ConvolutionGeometry<3> geometry;
  bool with_range;
  Compatibility compat;
};

std::vector<Case> cases()
{
  std::vector<Case> all;
  auto const add = [&](IntArray<3> const& size, IntArray<3> const& stride, int padding, int dilation) {
    for (bool const with_range : {false, true}) {
      for (auto const compat : {compat::none, compat::torchsparse, compat::spconv}) {
        all.push_back({{size, stride, padding, dilation, 0}, with_range, compat});
      }
    }
  };
  for (int const padding : {0, 1}) {
    add(2, 2, padding, 1);  // tiles the grid
    add({3, 1, 2}, {3, 1, 2}, padding, 1);
    add(3, 2, padding, 1);
    add({3, 2, 1}, {2, 2, 1}, padding, 2);
    add(2, 3, padding, 1);
    add(1, 2, padding, 1);
    add(3, 1, padding, 1);
    add(1, 1, padding, 1);  // keeps the set where its padding is nought
  }
  return all;
}

/// What a strided map came to, and how.
struct Outcome {
  std::vector<Coordinate<3>> rows;
  std::vector<std::int32_t> entries;
  IntArray<3> tensor_stride;
  bool is_same_set;
  std::int64_t allocations;  // of all memory, in numbers and bytes: another algorithm has others
  std::int64_t bytes;
};

template <class Kmap, class Downsample, class Space>
Outcome outcome_of(Case const& c, bool is_far = false)
{
  CAPTURE(Kmap::name);
  CAPTURE(Downsample::name);
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  auto rows = test::random_coordinates<3>(90, 2, IntArray<3>(c.with_range ? 0 : -5), {8, 6, 7}, 11);
  CoordinateSetOptions<3> options;
  if (c.with_range) { options.spatial_range = SpatialRange<3>{2, {9, 7, 8}}; }
  if (is_far && !c.with_range) { rows.push_back({0, {1 << 20, 1 << 20, 0}}); }  // so that cells are too many
  auto const set = make_coordinate_set(rows, options, exec);
  auto const allocations = memory.allocations();
  auto const bytes = memory.bytes_in_use();
  auto const down = kernel_map<Kmap, Downsample>(*set, ConvolutionKind::strided, c.geometry, c.compat, exec);
  Outcome outcome{{},
                  {},
                  down.coordinates->tensor_stride(),
                  down.coordinates == set,
                  memory.allocations() - allocations,
                  memory.bytes_in_use() - bytes};
  outcome.rows = download(down.coordinates->data(), down.coordinates->num_rows(), exec);
  outcome.entries = download(down.map->out_in(exec), down.map->num_out() * down.map->volume(), exec);
  set->check(exec);
  return outcome;
}

void check_same_result(Outcome const& a, Outcome const& b)
{
  CHECK(a.rows == b.rows);
  CHECK(a.entries == b.entries);
  CHECK(a.tensor_stride == b.tensor_stride);
  CHECK(a.is_same_set == b.is_same_set);
}

template <class Kmap, class Downsample, class CopiedKmap, class Copied, class Space>
void check_copy()
{
  for (auto const& c : cases()) {
    for (bool const is_far : {false, true}) {
      CAPTURE(detail::list(c.geometry.kernel_size));
      CAPTURE(detail::list(c.geometry.stride));
      CAPTURE(detail::list(c.geometry.padding));
      CAPTURE(c.with_range);
      CAPTURE(static_cast<int>(c.compat));
      CAPTURE(is_far);
      auto const expected = outcome_of<Kmap, Downsample, Space>(c, is_far);
      auto const found = outcome_of<CopiedKmap, Copied, Space>(c, is_far);
      check_same_result(found, expected);
      CHECK(found.allocations == expected.allocations);
      CHECK(found.bytes == expected.bytes);
    }
  }
}

/// A plain policy finds the same rows in the general way, where TorchSparse's rules ask nothing of it.
template <class Downsample, class Plain, class Space>
void check_plain()
{
  bool any_differs = false;
  for (auto const& c : cases()) {
    bool const is_one_voxel = c.geometry.volume() == 1 && all_equal(c.geometry.stride, 1);
    if (c.compat == Compatibility::torchsparse || is_one_voxel) { continue; }
    CAPTURE(detail::list(c.geometry.kernel_size));
    CAPTURE(detail::list(c.geometry.stride));
    CAPTURE(c.with_range);
    auto const expected = outcome_of<HashmapOnTheFly, Downsample, Space>(c);
    auto const found = outcome_of<HashmapOnTheFly, Plain, Space>(c);
    check_same_result(found, expected);
    any_differs = any_differs || found.allocations != expected.allocations;
  }
  CHECK(any_differs);  // so that memory tells algorithms apart
}

/// CopiedSpconv that counts how often it is asked for a candidate; what it says of axes is of the one it is made of.
struct CountingSpconv : CopiedSpconv {
  static std::atomic<int>& count()
  {
    static std::atomic<int> calls{0};
    return calls;
  }
  template <int Dim>
  TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region, IntArray<Dim> const& in,
                                            int index, IntArray<Dim>& out)
  {
#if !defined(__CUDA_ARCH__)
    ++count();
#endif
    return PlainSpconv::candidate(region, in, index, out);
  }
};

/// The output far from each input that is not in the kernel's reach of it.
struct FarAway : PlainMinkowski {
  static constexpr int distance = 1000;

  template <int Dim>
  TESSERA_HOST_DEVICE static bool candidate(KernelRegion<Dim> const& region, IntArray<Dim> const& in,
                                            int index, IntArray<Dim>& out)
  {
    PlainMinkowski::candidate(region, in, index, out);
    for (int i = 0; i < Dim; ++i) { out[i] += distance; }
    return true;
  }
};

struct FarAwayAndSaysSo : FarAway {
  template <int Dim>
  static AxisBounds reach(KernelRegion<Dim> const& region, CoordinateBox<Dim> const& box, int axis)
  {
    return {box.lower[axis] / region.stride[axis] - 1 + distance,
            box.upper[axis] / region.stride[axis] + distance};
  }
};

}  // namespace

TEST_CASE_TEMPLATE("policies: a user's that says what spconv's says has its outputs, map and algorithm",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_copy<HashmapOnTheFly, SpconvDownsample, HashmapOnTheFly, CopiedSpconv, Space>();
  check_copy<Hashmap, SpconvDownsample, Hashmap, CopiedSpconv, Space>();
}

TEST_CASE_TEMPLATE("policies: a user's that says what Minkowski's says has its outputs, map and algorithm",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_copy<Hashmap, MinkowskiDownsample, Hashmap, CopiedMinkowski, Space>();
  check_copy<HashmapOnTheFly, MinkowskiDownsample, CopiedOnTheFly, CopiedMinkowski, Space>();
}

TEST_CASE_TEMPLATE("policies: one that says nothing of itself has the same outputs in the general way", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_plain<SpconvDownsample, PlainSpconv, Space>();
  check_plain<MinkowskiDownsample, PlainMinkowski, Space>();
  // a set that might be another is another
  Case const one_voxel{{1, 1, 0, 1, 0}, false, compat::none};
  CHECK(outcome_of<HashmapOnTheFly, SpconvDownsample, Space>(one_voxel).is_same_set);
  CHECK(!outcome_of<HashmapOnTheFly, PlainSpconv, Space>(one_voxel).is_same_set);
}

TEST_CASE("policies: where each input has a parent nobody asks for candidates <Host>")
{
  Case const tiles{{2, 2, 1, 1, 0}, false, compat::none};
  Case const overlaps{{3, 2, 1, 1, 0}, false, compat::none};
  CountingSpconv::count() = 0;
  static_cast<void>(outcome_of<HashmapOnTheFly, CountingSpconv, Host>(tiles));
  CHECK(CountingSpconv::count() == 0);
  static_cast<void>(outcome_of<HashmapOnTheFly, CountingSpconv, Host>(overlaps));
  CHECK(CountingSpconv::count() > 0);
}

TEST_CASE_TEMPLATE("policies: outputs that depend on the stride alone are shared by kernels of other sizes",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set =
      make_coordinate_set(test::random_coordinates<3>(60, 1, IntArray<3>(-4), IntArray<3>(5), 2), {}, exec);
  ConvolutionGeometry<3> wide;
  wide.stride = 2;
  auto narrow = wide;
  narrow.kernel_size = 1;
  auto const outputs_of = [&](auto policy, ConvolutionGeometry<3> const& g) {
    return kernel_map<Hashmap, decltype(policy)>(*set, ConvolutionKind::strided, g, compat::none, exec)
        .coordinates;
  };
  CHECK(outputs_of(CopiedMinkowski{}, wide) == outputs_of(CopiedMinkowski{}, narrow));
  CHECK(outputs_of(PlainMinkowski{}, wide) != outputs_of(PlainMinkowski{}, narrow));
  // and policies of two types share nothing
  CHECK(outputs_of(CopiedMinkowski{}, wide) != outputs_of(MinkowskiDownsample{}, wide));
}

TEST_CASE_TEMPLATE("policies: outputs beyond the kernel's reach are found where the policy says how far",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Case const c{{3, 2, 1, 1, 0}, false, compat::none};
  auto const far = outcome_of<HashmapOnTheFly, FarAwayAndSaysSo, Space>(c).rows;
  auto near = outcome_of<HashmapOnTheFly, MinkowskiDownsample, Space>(c).rows;
  for (auto& row : near) {
    for (int i = 0; i < 3; ++i) { row.position[i] += FarAway::distance; }
  }
  CHECK(far == near);
  CHECK(outcome_of<HashmapOnTheFly, FarAway, Space>(c).rows.empty());
}
