// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/coordinate_manager.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/error.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace ops {

/// The classes that a loss is a mean over.
enum class LossClasses : std::uint8_t {
  present,  ///< those that a row has
  all,
};

/// The class of each row, or the label that is ignored. A loss reads them, and its gradient once more: they
/// must stay until then.
struct LabelsView {
  LabelsView(std::int32_t const* first, std::int64_t num_rows) : data{first}, rows{num_rows} {}
  template <class Space>
  LabelsView(Buffer<std::int32_t, Space> const& labels)  // NOLINT(google-explicit-constructor)
      : data{labels.data()}, rows{labels.size()}
  {}

  std::int32_t const* data;  ///< [rows] in the logits' space
  std::int64_t rows;         ///< as many as the logits have room for
};

/// What becomes of the losses of single rows.
enum class Reduction : std::uint8_t {
  mean,  ///< their sum over that of their weights
  sum,
};

/// Where losses note labels that are no class: for rows of matrices and points, and for whoever wants to ask
/// apart from what the coordinates' set tells.
template <class Space>
class LabelErrors {
 public:
  /// Stream: enqueues a fill.
  explicit LabelErrors(Execution<Space> const& exec) : words_{2, exec} { clear(exec); }

  /// Forgets what was noted.
  /// Stream: enqueues a fill.
  void clear(Execution<Space> const& exec) { fill_bytes(words_, 0, exec); }
  /// @throws invalid_argument  a label was no class; the sentence names the first such row
  /// Stream: waits.
  void check(Execution<Space> const& exec) const
  {
    auto const words = download(words_, exec);
    detail::report(words[0], words[1]);
  }
  /// [2] in `Space`, for kernels.
  [[nodiscard]] std::uint32_t* data() noexcept { return words_.data(); }

 private:
  Buffer<std::uint32_t, Space> words_;
};

}  // namespace ops

/// What losses over rows of logits have in common; options of losses derive from it.
template <class Sum, class Derived>
class ClassLossOptions {
 public:
  /// Rows with this label have no part in the loss. By default -1.
  Derived& ignore(std::int32_t label) { return ignored_ = label, derived(); }
  [[nodiscard]] std::int32_t ignored() const noexcept { return ignored_; }
  /// Where labels that are no class are noted; without it in the coordinates' set of a SparseTensor, else
  /// nowhere: such rows are then as good as ignored. On the host a bad label throws.
  template <class Space>
  Derived& errors(ops::LabelErrors<Space>& to)
  {
    return errors_ = to.data(), derived();
  }
  [[nodiscard]] std::uint32_t* errors() const noexcept { return errors_; }

 private:
  [[nodiscard]] Derived& derived() noexcept { return static_cast<Derived&>(*this); }

  std::int32_t ignored_ = -1;
  std::uint32_t* errors_ = nullptr;
};

/// What losses have in common that are sums over rows.
template <class Sum, class Derived>
class RowLossOptions : public ClassLossOptions<Sum, Derived> {
 public:
  /// The weight of each class, [classes] in the logits' space; without it 1.
  Derived& class_weights(Sum const* weights) { return class_weights_ = weights, derived(); }
  [[nodiscard]] Sum const* class_weights() const noexcept { return class_weights_; }
  Derived& reduction(ops::Reduction value) { return reduction_ = value, derived(); }
  [[nodiscard]] ops::Reduction reduction() const noexcept { return reduction_; }
  /// What a mean divides by, [1] in the logits' space, in place of the rows' own weight: that of the rows of
  /// all processes, so that their gradients add up to that of one process with all rows. See loss_weight().
  Derived& normalizer(Sum const* value) { return normalizer_ = value, derived(); }
  [[nodiscard]] Sum const* normalizer() const noexcept { return normalizer_; }

 private:
  [[nodiscard]] Derived& derived() noexcept { return static_cast<Derived&>(*this); }

  Sum const* class_weights_ = nullptr;
  Sum const* normalizer_ = nullptr;
  ops::Reduction reduction_ = ops::Reduction::mean;
};

}  // namespace v0
}  // namespace tessera
