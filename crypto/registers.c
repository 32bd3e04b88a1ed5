/*
 * Vector registers are all call-clobbered in the ABIs of x86-64 and (but for eight, which are
 * left alone) of aarch64, so a function may zero them. What the compiler cannot be told of, because it was not
 * built for it (AVX-512's upper sixteen), it does not use either. Where the machine is another one nothing is done, and a
 * sleeping thread may keep what it copied last. No state.
 */
#include "crypto/registers.h"

#if defined(__x86_64__)

#define ALL_OF_SSE                                                                                                     \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
        "xmm14", "xmm15"
#define ZERO(n)   "pxor %%xmm" #n ", %%xmm" #n "\n\t"
#define ZERO_Z(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"

__attribute__((noinline)) static void sse_cleanse(void)
{
    __asm__ volatile(ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7) ZERO(8) ZERO(9) ZERO(10) ZERO(11)
                         ZERO(12) ZERO(13) ZERO(14) ZERO(15)::: ALL_OF_SSE);
}

__attribute__((noinline)) static void avx_cleanse(void)
{
    __asm__ volatile("vzeroall" ::: ALL_OF_SSE);
}

__attribute__((noinline)) static void avx512_cleanse(void)
{
    __asm__ volatile(ZERO_Z(16) ZERO_Z(17) ZERO_Z(18) ZERO_Z(19) ZERO_Z(20) ZERO_Z(21) ZERO_Z(22) ZERO_Z(23) ZERO_Z(24)
                         ZERO_Z(25) ZERO_Z(26) ZERO_Z(27) ZERO_Z(28) ZERO_Z(29) ZERO_Z(30) ZERO_Z(31)::
                             : "memory");
}

void registers_cleanse(void)
{
    if (__builtin_cpu_supports("avx512f"))
        avx512_cleanse();
    if (__builtin_cpu_supports("avx"))
        avx_cleanse();
    else
        sse_cleanse();
}

#elif defined(__aarch64__)

void registers_cleanse(void)
{
    __asm__ volatile("movi v0.2d, #0\n\tmovi v1.2d, #0\n\tmovi v2.2d, #0\n\tmovi v3.2d, #0\n\t"
                     "movi v4.2d, #0\n\tmovi v5.2d, #0\n\tmovi v6.2d, #0\n\tmovi v7.2d, #0\n\t"
                     "movi v16.2d, #0\n\tmovi v17.2d, #0\n\tmovi v18.2d, #0\n\tmovi v19.2d, #0\n\t"
                     "movi v20.2d, #0\n\tmovi v21.2d, #0\n\tmovi v22.2d, #0\n\tmovi v23.2d, #0\n\t"
                     "movi v24.2d, #0\n\tmovi v25.2d, #0\n\tmovi v26.2d, #0\n\tmovi v27.2d, #0\n\t"
                     "movi v28.2d, #0\n\tmovi v29.2d, #0\n\tmovi v30.2d, #0\n\tmovi v31.2d, #0\n\t" ::
                         : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21",
                           "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

#else

void registers_cleanse(void)
{
}

#endif
