#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "crypto/registers.h"

/* A vector that the compiler keeps in a register across nothing: loaded, the registers cleansed, stored again. */
static void a_vector_register_is_zero_afterwards(void **state)
{
    (void)state;
#if defined(__x86_64__)
    static const uint8_t secret[16] = "secret in xmm7!!", zero[16];
    uint8_t found[16];
    __asm__ volatile("movdqu %0, %%xmm7" ::"m"(secret) : "xmm7");
    __asm__ volatile("movdqu %%xmm7, %0" : "=m"(found));
    assert_memory_equal(found, secret, sizeof(found));
    __asm__ volatile("movdqu %0, %%xmm7" ::"m"(secret) : "xmm7");
    registers_cleanse();
    __asm__ volatile("movdqu %%xmm7, %0" : "=m"(found));
    assert_memory_equal(found, zero, sizeof(found));
    if (!__builtin_cpu_supports("avx512vl"))
        return;
    __asm__ volatile("vmovdqu64 %0, %%xmm29" ::"m"(secret));
    registers_cleanse();
    __asm__ volatile("vmovdqu64 %%xmm29, %0" : "=m"(found));
    assert_memory_equal(found, zero, sizeof(found));
#else
    registers_cleanse();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_vector_register_is_zero_afterwards)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
