// Which of the compiled kernels this CPU can run.
#include "kernels.h"

#if defined(_MSC_VER) && defined(CTCKIT_X86)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace ctckit {

#ifdef CTCKIT_X86

extern const Kernels kernels_v2, kernels_v3, kernels_v4;

namespace {

struct Cpu {
    bool v2, v3, v4;
};

#ifdef _MSC_VER
Cpu detect() {
    int one[4], seven[4], extended[4];
    __cpuid(one, 1);
    __cpuidex(seven, 7, 0);
    __cpuid(extended, static_cast<int>(0x80000001));
    const auto bit = [](int word, int n) { return (word >> n & 1) != 0; };
    const bool saves = bit(one[2], 27);  // the system saves extended registers; xgetbv says which
    const unsigned long long saved = saves ? _xgetbv(0) : 0;
    Cpu cpu;
    cpu.v2 = bit(one[2], 20) && bit(one[2], 23);  // SSE4.2, POPCNT
    cpu.v3 = cpu.v2 && (saved & 6) == 6 && bit(one[2], 28) && bit(one[2], 12) && bit(one[2], 29) && bit(one[2], 22) &&
             bit(seven[1], 3) && bit(seven[1], 5) && bit(seven[1], 8) && bit(extended[2], 5);
    cpu.v4 = cpu.v3 && (saved & 0xe6) == 0xe6 && bit(seven[1], 16) && bit(seven[1], 17) && bit(seven[1], 28) &&
             bit(seven[1], 30) && bit(seven[1], 31);
    return cpu;
}
#else
Cpu detect() {
    __builtin_cpu_init();
#define HAS(feature) (__builtin_cpu_supports(feature) != 0)
    Cpu cpu;
    cpu.v2 = HAS("sse4.2") && HAS("popcnt") && HAS("ssse3");
    cpu.v3 = cpu.v2 && HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2");
    cpu.v4 = cpu.v3 && HAS("avx512f") && HAS("avx512bw") && HAS("avx512cd") && HAS("avx512dq") && HAS("avx512vl");
#undef HAS
    return cpu;
}
#endif

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
