// Work spread over threads, which are started in each call and joined before it returns.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace ctckit {

// Calls work(worker, i) once for each i below size, in that order but for what happens at the same time; worker <
// workers says on which thread. The calling thread is one of them.
template <class Work>
void each_on_threads(std::int64_t size, int workers, const Work& work) {
    std::atomic<std::int64_t> next{0};
    const auto run = [&](int worker) {
        for (std::int64_t i; (i = next.fetch_add(1)) < size;) work(worker, i);
    };
    std::vector<std::thread> others;
    others.reserve(workers);
    try {
        for (int i = 1; i < workers; ++i) others.emplace_back(run, i);
    } catch (const std::exception&) {
        // No more threads, or no memory for one: the running ones, and this one, do all the work.
    }
    run(0);
    for (std::thread& other : others) other.join();
}

}  // namespace ctckit
