// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "arguments.hpp"

#include <tessera/conv/convolution.hpp>
#include <tessera/coords/combine_sets.hpp>
#include <tessera/hash/coordinate_table.hpp>

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

namespace tessera_torch {

/// queries[i]'s row, or -1.
template <int Dim, class Key>
struct FindRows {
  ts::CoordinateTableRef<Dim, Key> table;
  ts::Coordinate<Dim> const* queries;
  std::int32_t* rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { rows[i] = table.find(queries[i]); }
};

/// rows[i] = (row of the first, row of the second behind all of the first), -1 where there is none.
struct JoinColumns {
  std::int32_t const* of_first;
  std::int32_t const* of_second;
  std::int32_t* rows;
  std::int32_t num_first;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    rows[2 * i] = of_first[i];
    rows[2 * i + 1] = of_second[i] >= 0 ? of_second[i] + num_first : -1;
  }
};

/// Coordinate sets and kernel maps of one space.
template <class Space>
struct MapOperators {
  template <int Dim>
  [[nodiscard]] static ts::ConvolutionGeometry<Dim> geometry(Integers const& kernel_size,
                                                             Integers const& stride, Integers const& padding,
                                                             Integers const& dilation,
                                                             Integers const& output_padding, char const* who)
  {
    return {per_axis<Dim>(kernel_size, who, "kernel size"),
            per_axis<Dim>(stride, who, "stride"),
            per_axis<Dim>(padding, who, "padding"),
            per_axis<Dim>(dilation, who, "dilation"),
            per_axis<Dim>(output_padding, who, "output padding"),
            {}};
  }

  /// (out_coordinates, out_in, mask_keys); no coordinates where they are those of the input.
  static std::tuple<Tensor, Tensor, Tensor> kernel_map(Tensor const& coordinates,
                                                       std::string const& kind_name,
                                                       Integers const& kernel_size, Integers const& stride,
                                                       Integers const& padding, Integers const& dilation,
                                                       Integers const& output_padding, Integers const& shape,
                                                       std::int64_t batch_size, std::string const& rules,
                                                       std::string const& kmap, std::string const& downsample)
  {
    constexpr auto const* who = "kernel_map";
    using Kind = ts::ConvolutionKind;
    auto const kind = choice<Kind>(kind_name,
                                   {{"submanifold", Kind::submanifold},
                                    {"strided", Kind::strided},
                                    {"generative", Kind::generative},
                                    {"expanding", Kind::expanding}},
                                   who, "kind");
    ts::ConvConfig config;
    config.compat = choice<ts::Compatibility>(rules,
                                              {{"tessera", ts::Compatibility::none},
                                               {"torchsparse", ts::Compatibility::torchsparse},
                                               {"spconv", ts::Compatibility::spconv},
                                               {"spconv1", ts::Compatibility::spconv1}},
                                              who, "rules");
    config.kmap = ts::kmap_mode(kmap);
    config.downsample = ts::downsample_mode(downsample);
    Call<Space> call{coordinates};
    return visit_dim_of(coordinates, who, [&](auto dim) {
      constexpr int Dim = decltype(dim)::value;
      auto const g = geometry<Dim>(kernel_size, stride, padding, dilation, output_padding, who);
      ts::CoordinateSetOptions<Dim> options;
      // The strides of tensors stay in Python; a generative convolution asks that its own divides them.
      if (kind == Kind::generative) { options.tensor_stride = g.stride; }
      options.spatial_range = range_of<Dim>(shape, batch_size, who);
      auto const set = coordinate_set<Dim>(coordinates, coordinates, options, who, call.exec());
      auto const mapped = with_policies(config, [&](auto kmap_policy, auto downsample_policy) {
        return ts::kernel_map<decltype(kmap_policy), decltype(downsample_policy)>(*set, kind, g,
                                                                                  config.compat, call.exec());
      });
      auto& map = *mapped.map;
      auto const columns = Dim + 1;
      auto out = no_elements<std::int32_t>(call, {0, columns});
      if (mapped.coordinates != set) {
        out = take(call, mapped.coordinates->data(), {map.num_out(), columns});
      } else if (kind != Kind::submanifold) {  // results may not be the arguments
        auto const same = ts::copy(set->data(), set->capacity(), call.exec());
        out = take(call, same.data(), {map.num_out(), columns});
      }
      return std::make_tuple(std::move(out),
                             take(call, map.out_in(call.exec()), {map.num_out(), map.volume()}),
                             take_keys(call, map));
    });
  }

  /// (out_in, mask_keys) of a strided convolution between two sets.
  static std::tuple<Tensor, Tensor> pair_map(Tensor const& coordinates, Tensor const& out_coordinates,
                                             Integers const& kernel_size, Integers const& stride,
                                             Integers const& padding, Integers const& dilation,
                                             Integers const& shape, Integers const& out_shape,
                                             std::int64_t batch_size, std::string const& kmap)
  {
    constexpr auto const* who = "pair_map";
    ts::ConvConfig config;
    config.kmap = ts::kmap_mode(kmap);
    Call<Space> call{coordinates};
    return visit_dim_of(coordinates, who, [&](auto dim) {
      constexpr int Dim = decltype(dim)::value;
      auto const g = geometry<Dim>(kernel_size, stride, padding, dilation, Integers(Dim, 0), who);
      expects(out_coordinates.dim() == 2 && out_coordinates.size(1) == coordinates.size(1), who,
              ": the coordinates of the outputs have not the axes of the inputs'");
      ts::CoordinateSetOptions<Dim> const in_options{ts::IntArray<Dim>(1),
                                                     range_of<Dim>(shape, batch_size, who)};
      ts::CoordinateSetOptions<Dim> const out_options{g.stride, range_of<Dim>(out_shape, batch_size, who)};
      auto const in = coordinate_set<Dim>(coordinates, coordinates, in_options, who, call.exec());
      auto const out = coordinate_set<Dim>(out_coordinates, coordinates, out_options, who, call.exec());
      auto const map = with_policies(config, [&](auto policy, auto) {
        return ts::map_between<decltype(policy)>(*in, *out, g, ts::Compatibility::none, call.exec());
      });
      return std::make_tuple(take(call, map->out_in(call.exec()), {map->num_out(), map->volume()}),
                             take_keys(call, *map));
    });
  }

  /// (coordinates of the voxels of either, their rows [u, 2] in both, one behind the other).
  static std::tuple<Tensor, Tensor> unite(Tensor const& a, Tensor const& b)
  {
    constexpr auto const* who = "unite";
    Call<Space> call{a};
    return visit_dim_of(a, who, [&](auto dim) {
      constexpr int Dim = decltype(dim)::value;
      expects(b.dim() == 2 && b.size(1) == a.size(1), who,
              ": the second coordinates have not the axes of the first");
      expects(a.size(0) + b.size(0) <= INT32_MAX, who, ": ", a.size(0) + b.size(0),
              " rows are more than row indices hold");
      auto const first = coordinate_set<Dim>(a, a, {}, who, call.exec());
      auto const second = coordinate_set<Dim>(b, a, {}, who, call.exec());
      auto const both = ts::unite_coordinates(first, second, call.exec());
      auto const count = both.coordinates->capacity();
      ts::Buffer<std::int32_t, Space> rows{2 * count, call.exec()};
      ts::for_each(count,
                   JoinColumns{both.rows->of_first.data(), both.rows->of_second.data(), rows.data(),
                               static_cast<std::int32_t>(a.size(0))},
                   call.exec());
      return std::make_tuple(take(call, both.coordinates->data(), {count, Dim + 1}),
                             take(call, rows.data(), {count, 2}));
    });
  }

  static Tensor find_rows(Tensor const& coordinates, Tensor const& queries)
  {
    constexpr auto const* who = "find_rows";
    Call<Space> call{coordinates};
    return visit_dim_of(coordinates, who, [&](auto dim) {
      constexpr int Dim = decltype(dim)::value;
      expects(queries.dim() == 2 && queries.size(1) == coordinates.size(1), who,
              ": the queries have not the axes of the coordinates");
      auto const set = coordinate_set<Dim>(coordinates, coordinates, {}, who, call.exec());
      auto const wanted =
          borrow<ts::Coordinate<Dim>>(queries, coordinates, who, "the tensor of queries", call.exec());
      ts::Buffer<std::int32_t, Space> rows{wanted.size(), call.exec()};
      ts::coordinate_table(*set, call.exec())->visit([&](auto const& table) {
        using Key = typename decltype(table.packing)::KeyType;
        ts::for_each(wanted.size(), FindRows<Dim, Key>{table, wanted.data(), rows.data()}, call.exec());
      });
      return take(call, rows.data(), {wanted.size()});
    });
  }

  static void check_coordinates(Tensor const& coordinates, Integers const& shape, std::int64_t batch_size)
  {
    constexpr auto const* who = "check_coordinates";
    Call<Space> call{coordinates};
    visit_dim_of(coordinates, who, [&](auto dim) {
      constexpr int Dim = decltype(dim)::value;
      ts::CoordinateSetOptions<Dim> const options{ts::IntArray<Dim>(1),
                                                  range_of<Dim>(shape, batch_size, who)};
      auto const set = coordinate_set<Dim>(coordinates, coordinates, options, who, call.exec());
      static_cast<void>(ts::coordinate_table(*set, call.exec()));
      set->check(call.exec());
    });
  }

  template <class Library>
  static void add_to(Library& library)
  {
    library.impl("kernel_map", TORCH_BOX(&kernel_map));
    library.impl("pair_map", TORCH_BOX(&pair_map));
    library.impl("unite", TORCH_BOX(&unite));
    library.impl("find_rows", TORCH_BOX(&find_rows));
    library.impl("check_coordinates", TORCH_BOX(&check_coordinates));
  }

 private:
  /// Calls `f` with the kernel-map and the downsample policy of a configuration.
  template <class F>
  static decltype(auto) with_policies(ts::ConvConfig const& config, F const& f)
  {
    bool const spconv = config.downsample == ts::DownsampleMode::spconv;
    if (config.kmap == ts::KmapMode::hashmap) {
      return spconv ? f(ts::Hashmap{}, ts::SpconvDownsample{}) : f(ts::Hashmap{}, ts::MinkowskiDownsample{});
    }
    return spconv ? f(ts::HashmapOnTheFly{}, ts::SpconvDownsample{})
                  : f(ts::HashmapOnTheFly{}, ts::MinkowskiDownsample{});
  }

  [[nodiscard]] static Tensor take_keys(Call<Space>& call, ts::KernelMap<Space> const& map)
  {
    auto const& keys = map.parts().mask_keys;
    return take(call, keys.data(), {keys.size()});
  }
};

}  // namespace tessera_torch
