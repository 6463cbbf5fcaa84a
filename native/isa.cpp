// Which of the compiled kernels this CPU can run.
#include <cstdint>

#include "kernels.h"

#ifdef CTCKIT_X86
#ifdef _MSC_VER
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace ctckit {

#ifdef CTCKIT_X86

extern const Kernels kernels_v2, kernels_v3, kernels_v4;

namespace {

struct Cpu {
    bool v2, v3, v4;
};

// What the processor says of itself: the registers a, b, c, d after the instruction of that name.
struct Answer {
    std::uint32_t a, b, c, d;
};

// saved_registers() has a bit for each kind of registers that the system saves when it switches between threads.
#ifdef _MSC_VER
Answer cpuid(std::uint32_t leaf) {
    int words[4];
    __cpuidex(words, int(leaf), 0);
    return {std::uint32_t(words[0]), std::uint32_t(words[1]), std::uint32_t(words[2]), std::uint32_t(words[3])};
}
std::uint32_t saved_registers() {
    return std::uint32_t(_xgetbv(0));
}
#else
Answer cpuid(std::uint32_t leaf) {
    Answer answer;
    __cpuid_count(leaf, 0, answer.a, answer.b, answer.c, answer.d);
    return answer;
}
std::uint32_t saved_registers() {
    std::uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // as an instruction, which needs no compiler flag
    return low;
}
#endif

// Whether all of these bits are set.
template <class... Bits>
bool has(std::uint32_t word, Bits... bits) {
    return ((word >> bits & 1) && ...);
}

// All features of each level, since the compiler may use any of them. The system must also save the wider registers.
// (macOS says so of the widest only after their first use, so there v3 is the best.)
Cpu detect() {
    const Answer one = cpuid(1), seven = cpuid(7), extended = cpuid(0x80000001u);
    const std::uint32_t saved = has(one.c, 27) ? saved_registers() : 0;
    Cpu cpu;
    // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF
    cpu.v2 = has(one.c, 0, 9, 13, 19, 20, 23) && has(extended.c, 0);
    // FMA, MOVBE, AVX, F16C; BMI, AVX2, BMI2; LZCNT
    cpu.v3 = cpu.v2 && has(saved, 1, 2) && has(one.c, 12, 22, 28, 29) && has(seven.b, 3, 5, 8) && has(extended.c, 5);
    // AVX512F, DQ, CD, BW, VL
    cpu.v4 = cpu.v3 && has(saved, 5, 6, 7) && has(seven.b, 16, 17, 28, 30, 31);
    return cpu;
}

}  // namespace

const Kernels* const* available_kernels() {
    static const Kernels* list[4] = {};
    static const bool filled = [] {
        const Cpu cpu = detect();
        int count = 0;
        if (cpu.v2) list[count++] = &kernels_v2;
        if (cpu.v3) list[count++] = &kernels_v3;
        if (cpu.v4) list[count++] = &kernels_v4;
        return true;
    }();
    (void)filled;
    return list;
}

#else

extern const Kernels kernels_baseline;

const Kernels* const* available_kernels() {
    static const Kernels* const list[2] = {&kernels_baseline, nullptr};
    return list;
}

#endif

}  // namespace ctckit
