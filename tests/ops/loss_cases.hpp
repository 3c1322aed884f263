// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// The losses over rows of logits, by the library and by their definitions on the host.

#include "gradient_check.hpp"

#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/ops/loss/dice_loss.hpp>
#include <tessera/ops/loss/focal_loss.hpp>
#include <tessera/ops/loss/lovasz_softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

namespace loss_cases {

using namespace tessera;
using Labels = std::vector<std::int32_t>;

/// Softmax of each row.
inline std::vector<std::vector<double>> softmax(std::vector<double> const& x, std::size_t classes)
{
  std::vector<std::vector<double>> result;
  for (std::size_t first = 0; first < x.size(); first += classes) {
    auto const begin = x.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<double> p(begin, begin + static_cast<std::ptrdiff_t>(classes));
    auto const largest = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (auto& value : p) { sum += value = std::exp(value - largest); }
    for (auto& value : p) { value /= sum; }
    result.push_back(p);
  }
  return result;
}

struct Definition {
  std::size_t classes;
  std::int32_t ignored;
  std::vector<double> weights;  // of classes

  [[nodiscard]] bool counts(std::int32_t label) const { return label != ignored; }

  [[nodiscard]] double cross_entropy(std::vector<double> const& x, Labels const& labels, double smoothing,
                                     bool is_mean, std::optional<double> normalizer) const
  {
    auto const p = softmax(x, classes);
    double sum = 0;
    double weight = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (!counts(labels[i])) { continue; }
      auto const y = static_cast<std::size_t>(labels[i]);
      sum += (1 - smoothing) * weights[y] * -std::log(p[i][y]);
      for (std::size_t c = 0; c < classes; ++c) {
        sum += smoothing / static_cast<double>(classes) * weights[c] * -std::log(p[i][c]);
      }
      weight += weights[y];
    }
    if (!is_mean) { return sum; }
    auto const by = normalizer.value_or(weight);
    return by > 0 ? sum / by : 0;
  }

  [[nodiscard]] double focal(std::vector<double> const& x, Labels const& labels, double gamma) const
  {
    auto const p = softmax(x, classes);
    double sum = 0;
    double count = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (!counts(labels[i])) { continue; }
      auto const y = static_cast<std::size_t>(labels[i]);
      double rest = 0;
      for (std::size_t c = 0; c < classes; ++c) { rest += c == y ? 0 : p[i][c]; }
      sum += weights[y] * std::pow(rest, gamma) * -std::log(p[i][y]);
      count += 1;
    }
    return count > 0 ? sum / count : 0;
  }

  [[nodiscard]] double dice(std::vector<double> const& x, Labels const& labels, double smooth, bool squared,
                            bool present_alone) const
  {
    auto const p = softmax(x, classes);
    double sum = 0;
    double counted = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      double both = 0;
      double predicted = 0;
      double rows = 0;
      for (std::size_t i = 0; i < labels.size(); ++i) {
        if (!counts(labels[i])) { continue; }
        bool const own = static_cast<std::size_t>(labels[i]) == c;
        both += own ? p[i][c] : 0;
        predicted += squared ? p[i][c] * p[i][c] : p[i][c];
        rows += own ? 1 : 0;
      }
      if (present_alone && rows == 0) { continue; }
      counted += 1;
      auto const divisor = predicted + rows + smooth;
      sum += divisor > 0 ? (2 * both + smooth) / divisor : 1;
    }
    return counted > 0 ? 1 - sum / counted : 0;
  }

  /// 1 - intersection over union if the rows of `wrong` are predicted wrongly.
  [[nodiscard]] static double jaccard_loss(std::vector<bool> const& own, std::vector<bool> const& wrong)
  {
    double both = 0;
    double either = 0;
    for (std::size_t i = 0; i < own.size(); ++i) {
      bool const predicted = own[i] != wrong[i];
      both += own[i] && predicted ? 1 : 0;
      either += own[i] || predicted ? 1 : 0;
    }
    return either > 0 ? 1 - both / either : 0;
  }

  [[nodiscard]] double lovasz(std::vector<double> const& x, Labels const& labels, bool present_alone) const
  {
    auto const p = softmax(x, classes);
    double sum = 0;
    double counted = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      std::vector<double> errors;
      std::vector<bool> own;
      for (std::size_t i = 0; i < labels.size(); ++i) {
        if (!counts(labels[i])) { continue; }
        own.push_back(static_cast<std::size_t>(labels[i]) == c);
        errors.push_back(own.back() ? 1 - p[i][c] : p[i][c]);
      }
      if (present_alone && std::find(own.begin(), own.end(), true) == own.end()) { continue; }
      counted += 1;
      std::vector<std::size_t> order(errors.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return errors[a] > errors[b]; });
      std::vector<bool> wrong(errors.size(), false);
      double before = jaccard_loss(own, wrong);
      for (auto const i : order) {
        wrong[i] = true;
        auto const after = jaccard_loss(own, wrong);
        sum += errors[i] * (after - before);
        before = after;
      }
    }
    return counted > 0 ? sum / counted : 0;
  }
};

/// Every loss with options that matter, in `Space`.
template <class Sum, class Space>
struct Losses {
  Losses(std::size_t classes, std::int32_t ignored, Execution<Space> const& exec)
      : definition{classes, ignored, {}}, exec_{exec}
  {
    for (std::size_t c = 0; c < classes; ++c) {
      definition.weights.push_back(0.5 + 0.25 * static_cast<double>(c % 4));
    }
    weights_ = upload(test::rounded<Sum>(definition.weights), exec);
    normalizer_ = upload(std::vector<Sum>{Sum{12.5}}, exec);
  }

  /// Calls `body(name, loss(x, labels, exec), gradient(grad, x, labels), definition(x, labels))`.
  template <class Body>
  void for_each(Body const& body) const
  {
    auto const plain =
        Definition{definition.classes, definition.ignored, std::vector<double>(definition.classes, 1.0)};
    auto const mean = [](double smoothing) {
      return [smoothing](Definition const& d, auto const& x, auto const& labels) {
        return d.cross_entropy(x, labels, smoothing, true, std::nullopt);
      };
    };
    using CrossEntropy = CrossEntropyOptions<Sum>;
    entropy("cross entropy", body, CrossEntropy().ignore(plain.ignored), plain, mean(0));
    entropy("weighted", body, CrossEntropy().ignore(plain.ignored).class_weights(weights_.data()), definition,
            mean(0));
    entropy("smoothed", body, CrossEntropy().ignore(plain.ignored).label_smoothing(0.2), plain, mean(0.2));
    entropy("weighted and smoothed", body,
            CrossEntropy().ignore(plain.ignored).class_weights(weights_.data()).label_smoothing(0.1),
            definition, mean(0.1));
    entropy("a sum", body, CrossEntropy().ignore(plain.ignored).reduction(ops::Reduction::sum), plain,
            [](Definition const& d, auto const& x, auto const& labels) {
              return d.cross_entropy(x, labels, 0, false, std::nullopt);
            });
    entropy("over a given number", body, CrossEntropy().ignore(plain.ignored).normalizer(normalizer_.data()),
            plain, [](Definition const& d, auto const& x, auto const& labels) {
              return d.cross_entropy(x, labels, 0, true, 12.5);
            });
    for (double const gamma : {0.0, 0.5, 2.0}) {
      auto const options =
          FocalLossOptions<Sum>().gamma(gamma).ignore(plain.ignored).class_weights(weights_.data());
      body(
          "focal", [=](auto const& x, auto const& l, auto const& e) { return focal_loss(x, l, options, e); },
          [=, this_exec = exec_](auto const& grad, auto const& x, auto const& l) {
            return focal_loss_backward(grad, x, l, options, this_exec);
          },
          [=, d = definition](auto const& x, auto const& l) { return d.focal(x, l, gamma); });
    }
    for (int const variant : {0, 1, 2}) {
      auto const options = DiceLossOptions<Sum>()
                               .ignore(plain.ignored)
                               .smooth(variant == 1 ? 0 : 1)
                               .squared(variant == 2)
                               .classes(variant == 1 ? ops::LossClasses::present : ops::LossClasses::all);
      body(
          "dice", [=](auto const& x, auto const& l, auto const& e) { return dice_loss(x, l, options, e); },
          [=, this_exec = exec_](auto const& grad, auto const& x, auto const& l) {
            return dice_loss_backward(grad, x, l, options, this_exec);
          },
          [=](auto const& x, auto const& l) {
            return plain.dice(x, l, variant == 1 ? 0 : 1, variant == 2, variant == 1);
          });
    }
    for (bool const present : {true, false}) {
      auto const options = LovaszSoftmaxOptions<Sum>()
                               .ignore(plain.ignored)
                               .classes(present ? ops::LossClasses::present : ops::LossClasses::all);
      body(
          "lovasz",
          [=](auto const& x, auto const& l, auto const& e) { return lovasz_softmax(x, l, options, e); },
          [=, this_exec = exec_](auto const& grad, auto const& x, auto const& l) {
            return lovasz_softmax_backward(grad, x, l, options, this_exec);
          },
          [=](auto const& x, auto const& l) { return plain.lovasz(x, l, present); });
    }
  }

  Definition definition;

 private:
  template <class Body, class Function>
  void entropy(char const* name, Body const& body, CrossEntropyOptions<Sum> const& options,
               Definition const& by, Function const& function) const
  {
    body(
        name, [=](auto const& x, auto const& l, auto const& e) { return cross_entropy(x, l, options, e); },
        [=, this_exec = exec_](auto const& grad, auto const& x, auto const& l) {
          return cross_entropy_backward(grad, x, l, options, this_exec);
        },
        [=](auto const& x, auto const& l) { return function(by, x, l); });
  }

  Execution<Space> exec_;
  Buffer<Sum, Space> weights_;
  Buffer<Sum, Space> normalizer_;
};

/// Labels of `rows` rows, of which some have none, and the last class no row.
inline Labels some_labels(std::size_t rows, std::size_t classes, std::int32_t ignored)
{
  Labels labels;
  auto const used = classes > 2 ? classes - 1 : classes;
  for (std::size_t i = 0; i < rows; ++i) {
    labels.push_back(i % 5 == 3 ? ignored : static_cast<std::int32_t>((i * 7 + i / 3) % used));
  }
  return labels;
}

}  // namespace loss_cases
