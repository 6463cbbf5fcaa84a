// A few blocks of memory wait here for the next gradient. A block is returned when the last reference to its gradient
// goes: on any thread, after a fork, or while the interpreter shuts down.
#include "memory.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ctckit {
namespace {

constexpr std::size_t kParked = 4;
constexpr std::size_t kUnit = std::size_t(2) << 20;  // a huge page

// No thread waits for the lock: one that finds it taken gets memory from the system instead. So a child that was forked
// while another thread held it does not hang.
struct Store {
    std::mutex mutex;
    std::array<Block*, kParked> blocks{};  // the oldest first, after the empty ones
};
Store& store = *new Store;  // never destroyed: gradients may outlive the module

std::size_t rounded_up(std::size_t bytes) {
    return (bytes + kUnit - 1) / kUnit * kUnit;
}

#ifdef __linux__

// Whole huge pages: few page faults, and little work when they are used again.
void* allocate(std::size_t bytes) {
    const std::size_t mapped = bytes + kUnit;
    void* const found = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) throw std::bad_alloc();
    const auto address = reinterpret_cast<std::uintptr_t>(found);
    const std::size_t before = rounded_up(address) - address, behind = kUnit - before;
    char* const data = static_cast<char*>(found) + before;
    if (before) munmap(found, before);
    munmap(data + bytes, behind);
    madvise(data, bytes, MADV_HUGEPAGE);
    return data;
}

void release(const Block& block) {
    munmap(block.data, block.capacity);
}

// Under memory pressure the system may take the pages back, until they are written to again.
void lend(const Block& block) {
#ifdef MADV_FREE
    madvise(block.data, block.capacity, MADV_FREE);
#endif
}

#else

void* allocate(std::size_t bytes) {
    return ::operator new(bytes, std::align_val_t{64});
}
void release(const Block& block) {
    ::operator delete(block.data, std::align_val_t{64});
}
void lend(const Block&) {}

#endif

// The smallest parked block that is large enough, unless it is twice too large.
Block* parked(std::size_t bytes) {
    const std::unique_lock<std::mutex> lock(store.mutex, std::try_to_lock);
    if (!lock) return nullptr;
    const auto first = store.blocks.begin(), last = store.blocks.end();
    const auto waste = [bytes](const Block* block) {
        return block && block->capacity >= bytes ? block->capacity - bytes : std::numeric_limits<std::size_t>::max();
    };
    const auto best = std::min_element(first, last, [&](Block* a, Block* b) { return waste(a) < waste(b); });
    if (waste(*best) > bytes) return nullptr;
    Block* block = std::exchange(*best, nullptr);
    std::rotate(first, best, best + 1);
    return block;
}

}  // namespace

Block* take_block(std::size_t bytes) {
    if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();  // so that no addition overflows
    bytes = rounded_up(std::max<std::size_t>(bytes, 1));
    if (Block* block = parked(bytes)) return block;
    auto block = std::make_unique<Block>();
    *block = {allocate(bytes), bytes};
    return block.release();
}

void park_block(Block* block) noexcept {
    lend(*block);
    {
        const std::unique_lock<std::mutex> lock(store.mutex, std::try_to_lock);
        if (lock) {
            std::swap(store.blocks.front(), block);
            std::rotate(store.blocks.begin(), store.blocks.begin() + 1, store.blocks.end());
        }
    }
    if (!block) return;
    release(*block);
    delete block;
}

}  // namespace ctckit
