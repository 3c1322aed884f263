// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/nn/parameter.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace train {

/// Where a parameter lies in an arena, and how it is trained besides what the optimizer says. Its values, its
/// gradient and what an optimizer keeps of it have the same place in arrays of one length.
struct ParameterSegment {
  nn::WritableParameter parameter;
  std::int64_t offset = 0;  ///< of its first element; a multiple of 8
  double rate_scale = 1;    ///< times the learning rate
  double decay_scale = 1;   ///< times the weight decay

  [[nodiscard]] std::string const& name() const noexcept { return parameter.name; }
  [[nodiscard]] std::int64_t size() const noexcept { return parameter.size; }
  /// Whether it is there to be trained; running statistics are in the arena too, so that they are averaged,
  /// sent and kept with the rest.
  [[nodiscard]] bool is_trainable() const noexcept { return parameter.role != nn::ParameterRole::buffer; }
  /// Whether optimizers change it now.
  [[nodiscard]] bool is_trained() const noexcept
  {
    return is_trainable() && !parameter.parameter->is_frozen();
  }
};

}  // namespace train

namespace detail {

/// Whether `pattern`, in which `*` stands for any text, is all of `text`.
[[nodiscard]] inline bool matches(std::string_view pattern, std::string_view text)
{
  std::size_t p = 0;
  std::size_t t = 0;
  auto star = std::string_view::npos;
  std::size_t after_star = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after_star = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {  // the last star takes one more
      p = star + 1;
      t = ++after_star;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') { ++p; }
  return p == pattern.size();
}

}  // namespace detail

namespace train {

/// Which parameters are trained how: `ParameterGroups().freeze("backbone").rate("head", 10)`.
///
/// A pattern is the name of a parameter, or the beginning of one up to a dot; `*` stands for any text. Of
/// several rules for a parameter the last one holds. Before any rule every parameter is trained, and the
/// weight decay is that of the optimizer for kernels and matrices, and none for biases and the weights of
/// norms.
class ParameterGroups {
 public:
  /// The learning rate of these parameters, as a multiple of the schedule's.
  ParameterGroups& rate(std::string pattern, double scale)
  {
    expect_scale(pattern, scale);
    return add({std::move(pattern), scale, {}, {}});
  }
  /// The weight decay of these parameters, as a multiple of the optimizer's; 0: none.
  ParameterGroups& decay(std::string pattern, double scale)
  {
    expect_scale(pattern, scale);
    return add({std::move(pattern), {}, scale, {}});
  }
  /// These parameters keep their values (ParameterBase::freeze()); `on` false undoes it.
  ParameterGroups& freeze(std::string pattern, bool on = true)
  {
    return add({std::move(pattern), {}, {}, on});
  }

  /// Whether a pattern means the parameter `name`.
  [[nodiscard]] static bool is_meant(std::string_view pattern, std::string_view name)
  {
    return detail::matches(pattern, name) || detail::matches(std::string{pattern} + ".*", name);
  }

  /// Sets how every segment is trained.
  /// @throws invalid_argument  a pattern means no parameter that could be trained
  void apply(std::vector<ParameterSegment>& segments) const
  {
    for (auto& segment : segments) {
      auto const role = segment.parameter.role;
      bool const decays = role == nn::ParameterRole::conv_weight || role == nn::ParameterRole::matrix;
      segment.rate_scale = 1;
      segment.decay_scale = decays ? 1 : 0;
    }
    for (auto const& rule : rules_) {
      bool found = false;
      for (auto& segment : segments) {
        if (!segment.is_trainable() || !is_meant(rule.pattern, segment.name())) { continue; }
        found = true;
        segment.rate_scale = rule.rate.value_or(segment.rate_scale);
        segment.decay_scale = rule.decay.value_or(segment.decay_scale);
        if (rule.frozen) { segment.parameter.freeze(*rule.frozen); }
      }
      detail::expects(found, "ParameterGroups: \"", rule.pattern, "\" means none of the ", segments.size(),
                      " parameters");
    }
  }

 private:
  struct Rule {
    std::string pattern;
    std::optional<double> rate;
    std::optional<double> decay;
    std::optional<bool> frozen;
  };

  static void expect_scale(std::string const& pattern, double scale)
  {
    detail::expects(detail::is_finite(scale) && scale >= 0, "ParameterGroups: a factor of ", scale, " for \"",
                    pattern, "\"");
  }
  ParameterGroups& add(Rule rule) { return rules_.push_back(std::move(rule)), *this; }

  std::vector<Rule> rules_;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
