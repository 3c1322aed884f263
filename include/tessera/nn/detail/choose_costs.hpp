// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <cstddef>
#include <cstdint>
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
/// Every set of forms is tried, and in it each group takes its best choice: exact, and there are few forms.
class ChooseCosts {
 public:
  ChooseCosts(std::vector<ChoiceCosts> const& groups, std::vector<double> const& form_seconds, double margin)
      : groups_{groups}, forms_{form_seconds}, margin_{margin}
  {
    expects(forms_.size() <= 20, "tune: ", forms_.size(), " forms of one map; at most 20 can be compared");
    std::vector<bool> there(forms_.size(), false);
    for (auto const& group : groups_) { there[group.form[0]] = true; }
    for (std::size_t f = 0; f < forms_.size(); ++f) { forms_[f] *= there[f] ? 1 : 1 + margin_; }
  }

  [[nodiscard]] std::vector<std::size_t> choose() const
  {
    std::vector<std::size_t> best(groups_.size(), 0);
    double least = total(best);
    std::vector<std::size_t> candidate(groups_.size(), 0);
    for (std::uint32_t set = 1; set < std::uint32_t{1} << forms_.size(); ++set) {
      bool possible = true;
      for (std::size_t g = 0; g < groups_.size(); ++g) {
        candidate[g] = best_within(g, set);
        possible = possible && candidate[g] < groups_[g].seconds.size();
      }
      if (possible && total(candidate) < least) {
        least = total(candidate);
        best = candidate;
      }
    }
    return best;
  }

 private:
  [[nodiscard]] double cost(std::size_t group, std::size_t choice) const
  {
    return groups_[group].seconds[choice] * (choice == 0 ? 1 : 1 + margin_);
  }

  /// The number of choices where none can do with these forms.
  [[nodiscard]] std::size_t best_within(std::size_t group, std::uint32_t set) const
  {
    std::size_t best = groups_[group].seconds.size();
    double least = barred;
    for (std::size_t i = 0; i < groups_[group].seconds.size(); ++i) {
      bool const within = (set >> groups_[group].form[i] & 1U) != 0;
      if (within && cost(group, i) < least) {
        least = cost(group, i);
        best = i;
      }
    }
    return best;
  }

  [[nodiscard]] double total(std::vector<std::size_t> const& choices) const
  {
    std::uint32_t used = 0;
    double sum = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      sum += cost(g, choices[g]);
      used |= std::uint32_t{1} << groups_[g].form[choices[g]];
    }
    for (std::size_t f = 0; f < forms_.size(); ++f) { sum += (used >> f & 1U) != 0 ? forms_[f] : 0; }
    return sum;
  }

  std::vector<ChoiceCosts> const& groups_;
  std::vector<double> forms_;
  double margin_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
