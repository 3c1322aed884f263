// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/tile_multiply.cuh>
#include <tessera/core/launch.cuh>

#include <climits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What one launch reads and writes. A place is where a row stands in the order in which rows are worked on.
///
/// Through a tile map it is a whole convolution; without masks there is one offset, and `map` and `order` may
/// be lists of the pairs of that offset, or null for rows that lie at their places already.
template <class Scalar>
struct ImplicitGemmProblem {
  Scalar const* features = nullptr;  // [num_in, in_channels]
  Scalar const* weight = nullptr;    // [splits * split_length, in_channels, out_channels]
  Scalar const* bias = nullptr;      // [out_channels] or null
  Scalar* output = nullptr;          // [num_out, out_channels], written unless there are sums
  Epilogue<Scalar> epilogue;
  accumulator_t<Scalar>* sums = nullptr;  // [splits, num_out, out_channels] or null
  std::int32_t const* map = nullptr;      // [splits, num_tiles, split_length, rows] or null
  std::int32_t const* order = nullptr;    // [splits, num_tiles, rows] or null
  std::uint32_t const* masks = nullptr;   // [splits, num_tiles, words] or null
  std::int64_t num_places = 0;            // of each split, the last tile's rest left out
  std::int64_t num_tiles = 0;
  std::int64_t num_out = 0;
  int splits = 1;
  int split_length = 1;
  int words = 1;
  int in_channels = 0;
  int out_channels = 0;
  bool continue_sums = false;     // sums are begun from those in memory, not from 0
  bool aligned_features = false;  // rows of features begin at multiples of 16 bytes
  bool aligned_weight = false;    // and so do rows of weights
};

/// Which tile, channels and split a block works on: neighbouring blocks share rows of features, and blocks
/// start in the order of the tile map.
template <class Layout>
struct BlockPlace {
  std::int64_t tile;   // counted through all splits' tiles
  std::int64_t first;  // place in the split
  int split;
  int num_rows;
  int first_channel;

  __device__ explicit BlockPlace(ImplicitGemmProblem<typename Layout::Scalar> const& problem)
  {
    auto const channel_tiles =
        static_cast<unsigned>((problem.out_channels + Layout::channels - 1) / Layout::channels);
    auto const splits = static_cast<unsigned>(problem.splits);
    first_channel = static_cast<int>(blockIdx.x % channel_tiles) * Layout::channels;
    auto const rest = blockIdx.x / channel_tiles;
    split = static_cast<int>(rest % splits);
    auto const tile_of_split = std::int64_t{rest / splits};
    tile = split * problem.num_tiles + tile_of_split;
    first = tile_of_split * Layout::rows;
    auto const left = problem.num_places - first;
    num_rows = left < Layout::rows ? static_cast<int>(left) : Layout::rows;
  }
};

/// Walks a block's steps - its active offsets ascending, and of each the channels `depth` at a time - and
/// begins the copies of each step's operands.
template <class Layout, bool Aligned>
class StageLoader {
  using Scalar = typename Layout::Scalar;
  static constexpr int row_chunks = Layout::depth / Layout::chunk;
  static constexpr int weight_chunks = Layout::channels / Layout::chunk;
  static constexpr int feature_copies = (Layout::rows * row_chunks + Layout::threads - 1) / Layout::threads;
  static constexpr int weight_copies =
      (Layout::depth * weight_chunks + Layout::threads - 1) / Layout::threads;

 public:
  __device__ StageLoader(ImplicitGemmProblem<Scalar> const& problem, BlockPlace<Layout> const& place)
      : problem_{problem}, place_{place}, bits_{problem.masks == nullptr ? 1U : mask(0)}
  {
    begin_offset();
  }

  [[nodiscard]] __device__ bool done() const { return offset_ < 0; }

  /// Begins to copy the current step's operands into `stage` and goes on to the next step.
  __device__ void load(Scalar* stage)
  {
    int const thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int n = 0; n < feature_copies; ++n) {
      int const i = n * Layout::threads + thread;
      if (Layout::rows * row_chunks % Layout::threads != 0 && i >= Layout::rows * row_chunks) { break; }
      int const column = i % row_chunks * Layout::chunk;
      int const channel = first_channel_ + column;
      copy(stage + i / row_chunks * Layout::feature_pitch + column, problem_.features,
           std::int64_t{rows_[n]} * problem_.in_channels + channel,
           rows_[n] < 0 ? 0 : problem_.in_channels - channel, problem_.aligned_features);
    }
    auto const* const weight =
        problem_.weight + (std::int64_t{place_.split} * problem_.split_length + offset_) *
                              problem_.in_channels * problem_.out_channels;
#pragma unroll
    for (int n = 0; n < weight_copies; ++n) {
      int const i = n * Layout::threads + thread;
      if (Layout::depth * weight_chunks % Layout::threads != 0 && i >= Layout::depth * weight_chunks) {
        break;
      }
      int const column = i % weight_chunks * Layout::chunk;
      int const in = first_channel_ + i / weight_chunks;
      int const out = place_.first_channel + column;
      copy(stage + Layout::weight_begin + i / weight_chunks * Layout::weight_pitch + column, weight,
           std::int64_t{in} * problem_.out_channels + out,
           in < problem_.in_channels ? problem_.out_channels - out : 0, problem_.aligned_weight);
    }
    first_channel_ += Layout::depth;
    if (first_channel_ >= problem_.in_channels) {
      first_channel_ = 0;
      begin_offset();
    }
  }

 private:
  /// Copies the chunk from element `at` of `operand`, of which the first `valid` elements exist (none if 0 or
  /// less); zeros take the others' place.
  __device__ static void copy(Scalar* to, Scalar const* operand, std::int64_t at, int valid, bool aligned)
  {
    if constexpr (!Aligned) {
      if (!aligned) {
        alignas(16) Scalar values[Layout::chunk];
#pragma unroll
        for (int i = 0; i < Layout::chunk; ++i) {
          values[i] = i < valid ? operand[at + i] : narrow<Scalar>(0);
        }
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<uint4 const*>(values);
        return;
      }
    }
    begin_copy(to, valid > 0 ? operand + at : operand, valid > 0);  // it exists as a whole or not at all
  }

  [[nodiscard]] __device__ std::uint32_t mask(int word) const
  {
    return problem_.masks[place_.tile * problem_.words + word];
  }

  /// Goes to the next active offset and fetches its rows now, so that they are there when its copies begin.
  __device__ void begin_offset()
  {
    while (bits_ == 0) {
      if (++word_ >= problem_.words) {
        offset_ = -1;
        return;
      }
      bits_ = mask(word_);
    }
    offset_ = word_ * 32 + __ffs(static_cast<int>(bits_)) - 1;
    bits_ &= bits_ - 1;
    auto const* const map =
        problem_.map == nullptr
            ? nullptr
            : problem_.map + (place_.tile * problem_.split_length + offset_) * Layout::rows;
#pragma unroll
    for (int n = 0; n < feature_copies; ++n) {
      int const row = (n * Layout::threads + static_cast<int>(threadIdx.x)) / row_chunks;
      rows_[n] = row >= place_.num_rows ? -1
                 : map == nullptr       ? static_cast<std::int32_t>(place_.first + row)
                                        : map[row];
    }
  }

  ImplicitGemmProblem<Scalar> const& problem_;
  BlockPlace<Layout> const& place_;
  std::uint32_t bits_;  // of the current word, those of later offsets
  int word_ = 0;
  int offset_ = -1;  // in the split
  int first_channel_ = 0;
  std::int32_t rows_[feature_copies];  // of this thread's copies
};

/// Calls `body(where, sum 0, sum 1, channel, both)` for each pair of sums this thread holds of rows and
/// channels that exist; `where` counts elements of [num_out, out_channels].
template <class Layout, class Body>
__device__ void for_each_sum(TileSums<Layout>& sums,
                             ImplicitGemmProblem<typename Layout::Scalar> const& problem,
                             BlockPlace<Layout> const& place, Body const& body)
{
  using Sums = TileSums<Layout>;
#pragma unroll
  for (int i = 0; i < Sums::row_steps; ++i) {
    int const row = Sums::row(i);
    if (row >= place.num_rows) { continue; }
    auto const out = problem.order == nullptr ? place.first + row
                                              : std::int64_t{problem.order[place.tile * Layout::rows + row]};
#pragma unroll
    for (int j = 0; j < Sums::channel_steps; ++j) {
      int const channel = place.first_channel + Sums::channel(j);
      if (channel < problem.out_channels) {
        body(out * problem.out_channels + channel, sums.values[i][j], channel,
             channel + 1 < problem.out_channels);
      }
    }
  }
}

/// Reads or writes two neighbours, the second only if it exists; at once where `Aligned`.
template <bool Aligned, class T>
__device__ void write_pair(T* to, T first, T second, bool both)
{
  if constexpr (Aligned) {
    *reinterpret_cast<TwoElements<T>*>(to) = TwoElements<T>{{first, second}};
  } else {
    to[0] = first;
    if (both) { to[1] = second; }
  }
}

/// A block multiplies a tile of gathered rows with the weights of each active offset; see ImplicitGemm.
///
/// Each sum is one chain over offsets, then channels, ascending, from 0 or the sum before; zeros in the place
/// of absent rows and channels change no sum, so a row's result depends on nothing but its neighbours.
/// @tparam Aligned  all rows begin at multiples of 16 bytes
template <class Scalar, MathMode Math, class Tile, bool Aligned>
__global__ void __launch_bounds__(TileLayout<Scalar, Tile>::threads)
    implicit_gemm_kernel(__grid_constant__ ImplicitGemmProblem<Scalar> const problem)
{
  using Layout = TileLayout<Scalar, Tile>;
  using Sum = accumulator_t<Scalar>;
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  auto* const shared = reinterpret_cast<Scalar*>(shared_bytes);
  BlockPlace<Layout> const place{problem};

  TileSums<Layout> sums{};
  if (problem.continue_sums) {
    for_each_sum(sums, problem, place, [&](std::int64_t where, Sum(&pair)[2], int, bool both) {
      pair[0] = problem.sums[where];
      if (both) { pair[1] = problem.sums[where + 1]; }
    });
  }

  // Every iteration closes one group, empty or not, so that the number under way tells which have arrived.
  StageLoader<Layout, Aligned> loader{problem, place};
  int loaded = 0;
  for (int stage = 0; stage < Layout::stages - 1; ++stage) {
    if (!loader.done()) {
      loader.load(shared + stage * Layout::stage_size);
      ++loaded;
    }
    close_copies();
  }
  int reading = 0;
  int writing = Layout::stages - 1;
  for (int step = 0; step < loaded; ++step) {
    wait_for_copies<Layout::stages - 2>();
    __syncthreads();  // the stage has arrived for all threads, and all have read the one that is written next
    if (!loader.done()) {
      loader.load(shared + writing * Layout::stage_size);
      ++loaded;
    }
    close_copies();
    TileMultiply<Layout, Math>::run(sums, shared + reading * Layout::stage_size);
    reading = reading + 1 == Layout::stages ? 0 : reading + 1;
    writing = writing + 1 == Layout::stages ? 0 : writing + 1;
  }

  if (problem.sums != nullptr) {
    auto* const out = problem.sums + place.split * problem.num_out * problem.out_channels;
    for_each_sum(sums, problem, place, [&](std::int64_t where, Sum(&pair)[2], int, bool both) {
      write_pair<Aligned>(out + where, pair[0], pair[1], both);
    });
    return;
  }
  for_each_sum(sums, problem, place, [&](std::int64_t where, Sum(&pair)[2], int channel, bool both) {
    auto const& epilogue = problem.epilogue;
    auto const finish = [&](int next) {
      // + 0: a sum that underflowed to -0 is -0 or 0, depending on whether zeros were added after it.
      Sum sum = pair[next] + Sum{0};
      if (problem.bias != nullptr) { sum += widen(problem.bias[channel + next]); }
      if (epilogue.residual.data != nullptr) { sum += widen(epilogue.residual.data[where + next]); }
      return narrow<Scalar>(apply_activation(sum, epilogue.activation, epilogue.slope));
    };
    write_pair<Aligned>(problem.output + where, finish(0), finish(both ? 1 : 0), both);
  });
}

/// Enqueues one tile map's or pair list's work. A function template of its own, so that common instantiations
/// can be compiled apart with `extern template`.
/// @throws invalid_argument  the tile needs more shared memory than the device has
template <class Scalar, MathMode Math, class Tile, bool Aligned>
void launch_implicit_gemm(ImplicitGemmProblem<Scalar> const& problem, Execution<Device> const& exec)
{
  using Layout = TileLayout<Scalar, Tile>;
  if constexpr (Layout::shared_bytes > 48 * 1024) {
    int limit = 0;
    cuda_check(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, exec.device()));
    expects(Layout::shared_bytes <= static_cast<std::size_t>(limit), "convolution: a tile of ", Tile::rows,
            " x ", Tile::channels, " x ", Tile::depth, " with ", Tile::stages, " stages needs ",
            Layout::shared_bytes, " bytes of shared memory, but a block of this device has at most ", limit);
  }
  auto const channel_tiles = (problem.out_channels + Tile::channels - 1) / Tile::channels;
  auto const blocks = problem.num_tiles * problem.splits * channel_tiles;
  expects(blocks <= INT_MAX, "convolution: ", problem.num_tiles, " tiles, ", problem.splits, " splits and ",
          channel_tiles, " blocks of channels are more than one launch can have");
  launch(implicit_gemm_kernel<Scalar, Math, Tile, Aligned>, dim3(static_cast<unsigned>(blocks)),
         Layout::threads, Layout::shared_bytes, exec, problem);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
