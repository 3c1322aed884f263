// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/io/weight_layout.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace tessera;
using io::WeightLayout;

namespace {

nn::ParameterView kernel_of(std::vector<int> const& size, std::int64_t in, std::int64_t out, bool pointwise)
{
  nn::ParameterView view{};
  view.kernel_size = size;
  view.size = in * out;
  for (auto const extent : size) { view.size *= extent; }
  view.shape = {view.size / (in * out), in, out};
  if (pointwise) { view.shape.erase(view.shape.begin()); }
  return view;
}

/// The place of an element in a row-major tensor of `shape`.
std::int64_t place_in(std::vector<std::int64_t> const& shape, std::vector<std::int64_t> const& index)
{
  std::int64_t at = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) { at = at * shape[axis] + index[axis]; }
  return at;
}

/// Where the definition of a layout puts element (offset, in, out).
std::int64_t definition(WeightLayout layout, std::vector<int> const& size, std::vector<std::int64_t> offset,
                        std::int64_t in, std::int64_t out, std::int64_t ins, std::int64_t outs)
{
  std::vector<std::int64_t> extents(size.begin(), size.end());
  std::int64_t volume = 1;
  for (auto const extent : extents) { volume *= extent; }
  auto const with = [](std::vector<std::int64_t> a, std::vector<std::int64_t> const& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  if (layout == WeightLayout::krsc || layout == WeightLayout::flexgemm) {
    return place_in(with(with({outs}, extents), {ins}), with(with({out}, offset), {in}));
  }
  if (layout == WeightLayout::rskc) { return place_in(with(extents, {outs, ins}), with(offset, {out, in})); }
  if (layout == WeightLayout::rsck) { return place_in(with(extents, {ins, outs}), with(offset, {in, out})); }
  bool const first_fastest =
      layout == WeightLayout::minkowski || (layout == WeightLayout::torchsparse && volume % 2 == 1);
  if (first_fastest) {
    extents = {extents.rbegin(), extents.rend()};
    offset = {offset.rbegin(), offset.rend()};
  }
  return (place_in(extents, offset) * ins + in) * outs + out;
}

constexpr WeightLayout all_layouts[] = {
    WeightLayout::tessera, WeightLayout::torchsparse, WeightLayout::minkowski, WeightLayout::krsc,
    WeightLayout::rskc,    WeightLayout::rsck,        WeightLayout::flexgemm};

}  // namespace

TEST_CASE("weight layout: every element is where the definition of the layout puts it, in 1 to 4 dimensions")
{
  std::vector<std::vector<int>> const sizes{{3},       {4},          {3, 2},      {3, 3},    {3, 3, 3},
                                            {2, 2, 2}, {3, 1, 1},    {1, 3, 3},   {3, 5, 1}, {2, 3, 2},
                                            {7, 3, 5}, {3, 3, 3, 3}, {2, 1, 3, 2}};
  constexpr std::int64_t ins = 2;
  constexpr std::int64_t outs = 3;
  for (auto const layout : all_layouts) {
    for (auto const& size : sizes) {
      std::string const name = name_of(layout);
      CAPTURE(name);
      CAPTURE(size.size());
      auto const view = kernel_of(size, ins, outs, false);
      auto const place = io::with_layout(layout, [&](auto type) { return type.place(view); });
      std::set<std::int64_t> taken;
      for (std::int64_t k = 0; k < view.shape[0]; ++k) {
        std::vector<std::int64_t> offset(size.size());  // row-major: the last axis fastest
        auto rest = k;
        for (auto axis = size.size(); axis-- > 0;) {
          offset[axis] = rest % size[axis];
          rest /= size[axis];
        }
        for (std::int64_t in = 0; in < ins; ++in) {
          for (std::int64_t out = 0; out < outs; ++out) {
            auto const at =
                place.first[static_cast<std::size_t>(k)] + in * place.in_step + out * place.out_step;
            CHECK(at == definition(layout, size, offset, in, out, ins, outs));
            taken.insert(at);
          }
        }
      }
      CHECK(static_cast<std::int64_t>(taken.size()) == view.size);
      std::int64_t elements = 1;
      for (auto const extent : place.shape) { elements *= extent; }
      CHECK(elements == view.size);
    }
  }
}

TEST_CASE("weight layout: shapes are those of the layouts' libraries")
{
  auto const shape = [](WeightLayout layout, bool pointwise, std::vector<int> const& size) {
    auto const view = kernel_of(size, 5, 7, pointwise);
    return io::with_layout(layout, [&](auto type) { return type.place(view).shape; });
  };
  using Shape = std::vector<std::int64_t>;
  CHECK(shape(WeightLayout::krsc, false, {3, 1, 2}) == Shape{7, 3, 1, 2, 5});
  CHECK(shape(WeightLayout::rskc, false, {3, 1, 2}) == Shape{3, 1, 2, 7, 5});
  CHECK(shape(WeightLayout::rsck, false, {3, 1, 2}) == Shape{3, 1, 2, 5, 7});
  CHECK(shape(WeightLayout::minkowski, false, {3, 1, 2}) == Shape{6, 5, 7});
  CHECK(shape(WeightLayout::krsc, true, {1, 1, 1}) == Shape{7, 1, 1, 1, 5});
  CHECK(shape(WeightLayout::rskc, true, {1, 1}) == Shape{1, 1, 7, 5});
  CHECK(shape(WeightLayout::rsck, true, {1, 1, 1, 1}) == Shape{1, 1, 1, 1, 5, 7});
  CHECK(shape(WeightLayout::minkowski, true, {1, 1, 1}) == Shape{5, 7});
  CHECK(shape(WeightLayout::flexgemm, false, {5, 3, 1}) == Shape{7, 5, 3, 1, 5});
}

TEST_CASE("weight layout: FlexGEMM multiplies by a kernel of one voxel as its shape says")
{
  auto const place = io::FlexGemm::place(kernel_of({1, 1, 1}, 5, 7, true));
  CHECK(place.shape == std::vector<std::int64_t>{7, 1, 1, 1, 5});
  CHECK((place.in_step == 1 && place.out_step == 5));
}

TEST_CASE("weight layout: a kernel that is no box has no order of axes to read it by")
{
  auto cross = kernel_of({7}, 2, 3, false);
  cross.kernel_size.clear();
  CHECK(io::Tessera::place(cross).first.size() == 7);
  CHECK_THROWS_AS(static_cast<void>(io::TorchSparse::place(cross)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(io::Minkowski::place(cross)), invalid_argument);
}

TEST_CASE("weight layout: spconv multiplies by a kernel of one voxel as [in, out] in memory, if stride is 1")
{
  for (auto const layout : {WeightLayout::krsc, WeightLayout::rskc, WeightLayout::rsck}) {
    std::string const name = name_of(layout);
    CAPTURE(name);
    auto const one = kernel_of({1, 1, 1}, 5, 7, true);
    auto const place = io::with_layout(layout, [&](auto type) { return type.place(one); });
    CHECK((place.first == std::vector<std::int64_t>{0} && place.in_step == 7 && place.out_step == 1));
    auto const strided = kernel_of({1, 1, 1}, 5, 7, false);
    auto const as_shaped = io::with_layout(layout, [&](auto type) { return type.place(strided); });
    bool const transposed = layout != WeightLayout::rsck;
    CHECK((as_shaped.in_step == (transposed ? 1 : 7) && as_shaped.out_step == (transposed ? 5 : 1)));
  }
  // Where spconv's rules do not hold, the shape does.
  auto const one = kernel_of({1, 1, 1}, 5, 7, true);
  for (auto const& place :
       {io::KrscUnder<Compatibility::none>::place(one), io::KrscUnder<Compatibility::spconv1>::place(one)}) {
    CHECK(place.shape == std::vector<std::int64_t>{7, 1, 1, 1, 5});
    CHECK((place.first == std::vector<std::int64_t>{0} && place.in_step == 1 && place.out_step == 5));
  }
}
