// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/scalar_conversion.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/nn/parameter.hpp>
#include <tessera/train/parameter_groups.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Elements that the beginnings of segments are multiples of: 16 bytes of a 16-bit type.
inline constexpr std::int64_t segment_alignment = 8;

/// How a segment is trained, where kernels read it.
struct SegmentSettings {
  double rate_scale;
  double decay_scale;
  std::int32_t is_trained;
};

/// master[i] = values[i], of a shorter type; a master that is rounded to its value stays as it is, so that a
/// version raised without a write costs no digits.
template <class Scalar>
struct WidenValues {
  Scalar const* values;
  accumulator_t<Scalar>* master;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const value = widen(values[i]);
    auto const rounded = widen(narrow<Scalar>(master[i]));
    if (is_nan(value) || rounded != value) { master[i] = value; }
  }
};

}  // namespace detail

namespace train {

/// The parameters of a network in one piece of memory: their values, their gradients, and for 16-bit values a
/// master in float that optimizers change in their place. One kernel steps all of them, one fill clears all
/// gradients, one collective sends them.
///
/// | array       | type   | elements       | holds                                                                |
/// |-------------|--------|----------------|----------------------------------------------------------------------|
/// | masters()   | Sum    | size()         | what is trained; the very values of parameters that are of type Sum  |
/// | narrow()    | Scalar | size()         | masters rounded to nearest: the values of the others; else null      |
/// | gradients() | Sum    | gradient_size()| what backward sums, and what collectives reduce                      |
///
/// with `Sum = accumulator_t<Scalar>`. A parameter has the same place in each, its segment: segments lie in
/// the order of the network, running statistics behind all others and outside of gradients(); every one
/// begins at a multiple of 8 elements, and what lies between them is 0. The parameters stay where the network
/// has them and adopt() their segments; they keep the memory alive, so that the network may outlive the
/// arena.
///
/// Make the arena before what keeps addresses of parameters (a plan, a graph), and load a checkpoint before or
/// after. Parameters that were written since are found by their versions: the masters follow before
/// the next step.
template <class Scalar, class Space = Device>
class ParameterArena {
 public:
  using Sum = accumulator_t<Scalar>;
  static constexpr bool has_masters = !std::is_same_v<Scalar, Sum>;

  /// @param groups  which parameters are trained how
  /// @throws invalid_argument  the network is on another space, or has parameters of a third type; a
  ///                           group means no parameter
  /// Cost: three arrays, and a copy of the values.
  /// Stream: enqueues it; waits for a small upload.
  ParameterArena(nn::ModuleBase& network, ParameterGroups const& groups, Execution<Space> const& exec)
  {
    collect(network);
    groups.apply(segments_);
    allocate(exec);
    move_in(exec);
    describe(exec);
  }
  ParameterArena(nn::ModuleBase& network, Execution<Space> const& exec)
      : ParameterArena{network, ParameterGroups{}, exec}
  {}
  ParameterArena(ParameterArena const&) = delete;
  ParameterArena& operator=(ParameterArena const&) = delete;
  ~ParameterArena() = default;

  [[nodiscard]] std::vector<ParameterSegment> const& segments() const noexcept { return segments_; }
  /// Elements of all segments, with what lies between them.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// Those of the segments that have a gradient, which come first.
  [[nodiscard]] std::int64_t gradient_size() const noexcept { return gradient_size_; }

  [[nodiscard]] Sum* masters() noexcept { return memory_->masters.data(); }
  [[nodiscard]] Sum const* masters() const noexcept { return memory_->masters.data(); }
  [[nodiscard]] Scalar* narrow() noexcept { return memory_->narrow.data(); }
  /// All gradients, [1, gradient_size()]: what collectives reduce.
  [[nodiscard]] MatrixView<Sum> gradients() noexcept
  {
    return {memory_->gradients.data(), 1, gradient_size_};
  }

  /// Sets all gradients to 0.
  /// Cost: one fill.
  /// Stream: enqueues it, does not wait.
  void zero_grad(Execution<Space> const& exec) { fill_bytes(memory_->gradients, 0, exec); }

  /// Raises the versions of all parameters, after their values were written through the arena: by a graph
  /// that was launched again, a collective, or code of one's own.
  void mark_written() noexcept
  {
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      segments_[i].parameter.mark_written();
      versions_[i] = segments_[i].parameter.parameter->version();
    }
  }

  /// Brings the arena up to date with its parameters: masters of those that were written elsewhere, and which
  /// of them are frozen now. Optimizers call it.
  /// @throws invalid_argument  a parameter was replaced by another one, and the arena is made anew then; or has its
  ///                           values in other memory
  /// Cost: nothing where nothing has changed, else a kernel for each change.
  /// Stream: enqueues on `exec`, does not wait.
  void follow_parameters(Execution<Space> const& exec)
  {
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      auto const& segment = segments_[i];
      auto const& parameter = *segment.parameter.parameter;
      detail::expects(parameter.id() == ids_[i], "ParameterArena: parameter \"", segment.name(),
                      "\" was replaced since the arena was made; make the arena after that");
      detail::expects(parameter.bytes() == addresses_[i], "ParameterArena: the values of \"", segment.name(),
                      "\" were moved to other memory since the arena was made, to another arena's for "
                      "instance; use that one");
      if (auto const version = parameter.version(); version != versions_[i]) {
        widen(segment, exec);
        versions_[i] = version;
      }
      if (segment.is_trainable() && segment.is_trained() != (trained_[i] != 0)) {
        trained_[i] = segment.is_trained() ? 1 : 0;
        auto* const to = &settings_.data()[i].is_trained;
        for_each(1, detail::StoreValue<std::int32_t>{to, trained_[i]}, exec);
      }
    }
  }

  /// @name For optimizers
  /// @{

  /// The segment of the elements [8 * i, 8 * i + 8), [gradient_size() / 8].
  [[nodiscard]] std::int32_t const* segment_of() const noexcept { return segment_of_.data(); }
  /// How each segment that has a gradient is trained; in `Space`.
  [[nodiscard]] detail::SegmentSettings const* settings() const noexcept { return settings_.data(); }
  [[nodiscard]] std::int64_t num_trainable() const noexcept { return num_trainable_; }
  /// @}

 private:
  struct Memory {
    Buffer<Sum, Space> masters;
    Buffer<Scalar, Space> narrow;
    Buffer<Sum, Space> gradients;
  };

  void collect(nn::ModuleBase& network)
  {
    std::vector<ParameterSegment> statistics;
    for (auto& parameter : network.writable_parameters()) {
      detail::expects(parameter.on_device == std::is_same_v<Space, Device>, "ParameterArena: parameter \"",
                      parameter.name, "\" lies on the ", parameter.on_device ? "device" : "host",
                      ", the execution does not");
      detail::expects(is_scalar(parameter) || parameter.dtype == ScalarTraits<Sum>::dtype,
                      "ParameterArena: parameter \"", parameter.name, "\" holds ", name_of(parameter.dtype),
                      "; an arena of ", name_of(ScalarTraits<Scalar>::dtype), " takes that and ",
                      name_of(ScalarTraits<Sum>::dtype));
      ParameterSegment segment{std::move(parameter)};
      auto& to = segment.is_trainable() ? segments_ : statistics;
      bool const shared = std::any_of(to.begin(), to.end(), [&](auto const& other) {
        return other.parameter.parameter == segment.parameter.parameter;
      });
      if (!shared) { to.push_back(std::move(segment)); }
    }
    num_trainable_ = static_cast<std::int64_t>(segments_.size());
    for (auto& segment : statistics) { segments_.push_back(std::move(segment)); }
    for (auto& segment : segments_) {
      segment.offset = size_;
      size_ += (segment.size() + detail::segment_alignment - 1) / detail::segment_alignment *
               detail::segment_alignment;
      if (segment.is_trainable()) { gradient_size_ = size_; }
    }
  }

  void allocate(Execution<Space> const& exec)
  {
    memory_ = std::make_shared<Memory>();
    memory_->masters = Buffer<Sum, Space>{size_, exec};
    fill_bytes(memory_->masters, 0, exec);
    if constexpr (has_masters) {
      memory_->narrow = Buffer<Scalar, Space>{size_, exec};
      fill_bytes(memory_->narrow, 0, exec);
    }
    memory_->gradients = Buffer<Sum, Space>{gradient_size_, exec};
    zero_grad(exec);
  }

  void move_in(Execution<Space> const& exec)
  {
    for (auto const& segment : segments_) {
      if (segment.size() == 0) { continue; }
      Buffer<Sum, Space> gradient;
      if (segment.is_trainable()) { gradient = slice(memory_->gradients, segment); }
      if (!is_scalar(segment.parameter)) {
        segment.parameter.template as<Sum, Space>().adopt(slice(memory_->masters, segment),
                                                          std::move(gradient), exec);
      } else if constexpr (has_masters) {
        segment.parameter.template as<Scalar, Space>().adopt(slice(memory_->narrow, segment),
                                                             std::move(gradient), exec);
        widen(segment, exec);
      }
    }
  }

  /// What kernels and follow_parameters() need to know of the segments.
  void describe(Execution<Space> const& exec)
  {
    std::vector<detail::SegmentSettings> settings;
    std::vector<std::int32_t> segment_of(
        static_cast<std::size_t>(gradient_size_ / detail::segment_alignment));
    for (auto const& segment : segments_) {
      ids_.push_back(segment.parameter.parameter->id());
      addresses_.push_back(segment.parameter.parameter->bytes());
      versions_.push_back(segment.parameter.parameter->version());
      trained_.push_back(segment.is_trained() ? 1 : 0);
      if (!segment.is_trainable()) { continue; }
      auto const own = static_cast<std::int32_t>(settings.size());
      settings.push_back({segment.rate_scale, segment.decay_scale, trained_.back()});
      auto const first = segment.offset / detail::segment_alignment;
      auto const last =
          (segment.offset + segment.size() + detail::segment_alignment - 1) / detail::segment_alignment;
      std::fill(segment_of.begin() + first, segment_of.begin() + last, own);
    }
    settings_ = upload(settings, exec);
    segment_of_ = upload(segment_of, exec);
  }

  /// Whether a parameter's values are narrow; of an arena without masters none are.
  [[nodiscard]] static bool is_scalar(nn::ParameterView const& parameter)
  {
    return has_masters && parameter.dtype == ScalarTraits<Scalar>::dtype;
  }

  template <class T>
  [[nodiscard]] Buffer<T, Space> slice(Buffer<T, Space>& of, ParameterSegment const& segment)
  {
    return Buffer<T, Space>::adopt(of.data() + segment.offset, segment.size(), memory_);
  }

  void widen([[maybe_unused]] ParameterSegment const& segment, [[maybe_unused]] Execution<Space> const& exec)
  {
    if constexpr (has_masters) {
      if (!is_scalar(segment.parameter)) { return; }
      for_each(segment.size(),
               detail::WidenValues<Scalar>{narrow() + segment.offset, masters() + segment.offset}, exec);
    }
  }

  std::vector<ParameterSegment> segments_;
  std::int64_t size_ = 0;
  std::int64_t gradient_size_ = 0;
  std::int64_t num_trainable_ = 0;
  std::shared_ptr<Memory> memory_;
  Buffer<detail::SegmentSettings, Space> settings_;
  Buffer<std::int32_t, Space> segment_of_;
  std::vector<VariableId> ids_;
  std::vector<void const*> addresses_;
  std::vector<std::uint64_t> versions_;  // when masters and values were last the same
  std::vector<std::int32_t> trained_;    // as settings_ has it
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
