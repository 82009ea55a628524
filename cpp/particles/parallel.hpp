// How work is divided among threads.
#pragma once

#include <exception>
#include <vector>

#include "numbers.hpp"

namespace particles {

// Call act(item) for each item, with a thread for each as far as there are any; what one of them throws is thrown.
// Not by an `if` clause: a parallel loop within another, even of one thread, starts its threads anew each time.
template <class Item, class Action>
void in_parallel(std::vector<Item>& items, const Action& act) {
    if (items.size() == 1) return act(items[0]);
    std::exception_ptr trouble;
#pragma omp parallel for schedule(static)
    for (Signed k = 0; k < Signed(items.size()); ++k) {
        try {
            act(items[std::size_t(k)]);
        } catch (...) { // none may leave a parallel loop
#pragma omp critical
            trouble = std::current_exception();
        }
    }
    if (trouble) std::rethrow_exception(trouble);
}

} // namespace particles
