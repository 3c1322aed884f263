// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

inline constexpr double barred = std::numeric_limits<double>::infinity();

/// What the choices of one group cost. Choice 0 is the one that is there.
struct ChoiceCosts {
  std::vector<double> seconds;    // of each choice; `barred` where it may not be taken
  std::vector<std::size_t> form;  // of the maps that it reads
};

/// Choices for groups whose layers read the same maps, so that
/// `sum over groups of seconds[choice] + sum over the forms of the map in use of form_seconds[form]` is
/// least. What is not there already, choices and forms, counts `1 + margin` times; at a tie things stay.
///
/// Sets of forms are tried, and in each every group takes its best choice, but for sets that cannot be better
/// whatever comes with them: exact.
class ChooseCosts {
 public:
  ChooseCosts(std::vector<ChoiceCosts> const& groups, std::vector<double> const& form_seconds, double margin)
      : groups_{groups}, forms_{form_seconds}, margin_{margin}
  {
    std::vector<bool> there(forms_.size(), false);
    for (auto const& group : groups_) { there[group.form[0]] = true; }
    for (std::size_t f = 0; f < forms_.size(); ++f) { forms_[f] *= there[f] ? 1 : 1 + margin_; }
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      auto const& form = groups_[g].form;
      auto& best = best_.emplace_back(forms_.size(), none);
      for (std::size_t i = 0; i < form.size(); ++i) {
        if (cost(g, i) < cost(g, best[form[i]])) { best[form[i]] = i; }
      }
      auto& below = below_.emplace_back(1, barred);
      for (auto const choice : best) { below.push_back(std::min(below.back(), cost(g, choice))); }
    }
  }

  [[nodiscard]] std::vector<std::size_t> choose()
  {
    chosen_.assign(groups_.size(), 0);
    least_ = total(chosen_);
    search(forms_.size(), 0, std::vector<std::size_t>(groups_.size(), none));
    return chosen_;
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};

  [[nodiscard]] double cost(std::size_t group, std::size_t choice) const
  {
    if (choice == none) { return barred; }
    return groups_[group].seconds[choice] * (choice == 0 ? 1 : 1 + margin_);
  }

  /// Takes or leaves the first `count` forms, the last of them first, so that at a tie fewer and earlier ones
  /// are found.
  /// @param paid       seconds of the others that were taken
  /// @param candidate  the best choice of each group in them
  void search(std::size_t count, double paid, std::vector<std::size_t> const& candidate)
  {
    double bound = paid;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      bound += std::min(cost(g, candidate[g]), below_[g][count]);
    }
    if (!(bound < least_)) { return; }
    if (count == 0) {
      least_ = bound;
      chosen_ = candidate;
      return;
    }
    auto const f = count - 1;
    search(f, paid, candidate);
    auto with_form = candidate;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      auto const now = cost(g, candidate[g]);
      auto const then = cost(g, best_[g][f]);
      if (then < now || (then == now && best_[g][f] < candidate[g])) { with_form[g] = best_[g][f]; }
    }
    if (with_form != candidate) { search(f, paid + forms_[f], with_form); }
  }

  [[nodiscard]] double total(std::vector<std::size_t> const& choices) const
  {
    std::vector<bool> used(forms_.size(), false);
    double sum = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      sum += cost(g, choices[g]);
      used[groups_[g].form[choices[g]]] = true;
    }
    for (std::size_t f = 0; f < forms_.size(); ++f) { sum += used[f] ? forms_[f] : 0; }
    return sum;
  }

  std::vector<ChoiceCosts> const& groups_;
  std::vector<double> forms_;
  double margin_;
  std::vector<std::vector<std::size_t>> best_;  // choice of a group in a form, or none
  std::vector<std::vector<double>> below_;      // the group's least cost in so many of the first forms
  std::vector<std::size_t> chosen_;
  double least_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
