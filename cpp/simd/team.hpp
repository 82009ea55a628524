// Threads that share the work of a time step.
//
// OpenMP starts them, once for a run of many steps. One parallel loop after the other would let a thread that has no work
// either sleep, and it takes some tens of microseconds to wake it, or spin, and starve where another program has its
// processor. Here it looks out for as long and then gives way; and whoever comes first does what nobody has begun.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <omp.h>

namespace particles {

class Team {
    static constexpr unsigned looks_before_yielding = 1000; // some tens of microseconds

    std::vector<std::atomic<bool>> offered; // for each part of the work, whether nobody has taken it yet
    std::function<void(std::size_t)> work;  // is called with the number of a part
    std::atomic<std::size_t> unfinished{0};
    std::atomic<bool> over{false};
    std::exception_ptr trouble; // what a part threw
    std::mutex complaining;

    explicit Team(std::size_t size) : offered(size) {}

    static void wait_a_little(unsigned looks) {
        if (looks > looks_before_yielding) return std::this_thread::yield();
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    // Do one's own part, and after it those that nobody has taken; whether there were any.
    bool take_parts(std::size_t own) {
        bool some = false;
        for (std::size_t k = 0; k < offered.size(); ++k) {
            const std::size_t part = (own + k) % offered.size();
            // Only who has a part looks at the work, which stays the same until all parts are done.
            if (!offered[part].load(std::memory_order_relaxed)) continue; // to look costs less than to try
            if (!offered[part].exchange(false, std::memory_order_acquire)) continue;
            some = true;
            try {
                work(part);
            } catch (...) {
                const std::lock_guard one_at_a_time(complaining);
                trouble = std::current_exception();
            }
            unfinished.fetch_sub(1, std::memory_order_release);
        }
        return some;
    }

public:
    // Call act(team) with a team of so many, of whom the caller is one, or of fewer, if the system has no more threads.
    template <class Action>
    static void gather(std::size_t size, const Action& act) {
        Team team(size);
        if (size == 1) return act(team);
        std::exception_ptr complaint; // none may leave a parallel region
#pragma omp parallel num_threads(static_cast<int>(size))
        if (const auto own = static_cast<std::size_t>(omp_get_thread_num()); own > 0) {
            for (unsigned looks = 0; !team.over.load(std::memory_order_acquire); wait_a_little(looks))
                looks = team.take_parts(own) ? 0 : looks + 1;
        } else {
            try {
                act(team);
            } catch (...) {
                complaint = std::current_exception();
            }
            team.over.store(true, std::memory_order_release);
        }
        if (complaint) std::rethrow_exception(complaint);
    }

    // Call act(part) for the number of each part, of as many as the team was to have; what one of them throws is thrown.
    template <class Action>
    void share(const Action& act) {
        if (offered.size() == 1) return act(std::size_t(0));
        work = [&act](std::size_t part) { act(part); };
        unfinished.store(offered.size(), std::memory_order_relaxed);
        for (auto& part : offered) part.store(true, std::memory_order_release);
        take_parts(0);
        for (unsigned looks = 0; unfinished.load(std::memory_order_acquire) > 0; wait_a_little(++looks)) {}
        if (trouble) std::rethrow_exception(std::exchange(trouble, nullptr));
    }
};

} // namespace particles
