#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <link.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/arena.h"

static void *from_before_the_start;

/* The flags of the mapping around `address`, as /proc/self/smaps tells them ("dd": not dumped, "wf", "lo"). */
static bool mapping_has(const void *address, const char *flag)
{
    char line[512];
    bool inside = false, found = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long long start, end;
        if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
            inside = (uintptr_t)address >= start && (uintptr_t)address < end;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return found;
}

/* Sanitizers turn mlock() into nothing. */
static bool locking_works_here(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    bool works = mlock(page, 4096) == 0 && mapping_has(page, " lo");
    munmap(page, 4096);
    return works;
}

static void assert_hidden(const void *secret)
{
    assert_true(mapping_has(secret, " dd"));
    assert_true(mapping_has(secret, " wf"));
    if (locking_works_here() && arena_is_locked())
        assert_true(mapping_has(secret, " lo"));
}

static bool all_bytes_are(const uint8_t *bytes, size_t size, uint8_t value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static void nothing_and_too_much_give_no_memory(void **state)
{
    (void)state;
    assert_null(arena_allocate(0));
    assert_null(arena_allocate(SIZE_MAX));
    assert_null(arena_allocate(SIZE_MAX - 16));
    assert_null(arena_allocate(PTRDIFF_MAX));
    arena_free(NULL);
}

static void the_process_cannot_be_dumped(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_cur, 0);
    assert_int_equal(limit.rlim_max, 0);
}

/* Lazy binding would spill key bytes from vector registers to the stack: see arena.c. */
static void symbols_are_bound_before_the_first_key(void **state)
{
    (void)state;
    bool bound = false;
    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++)
        bound = bound || entry->d_tag == DT_BIND_NOW ||
                (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_BIND_NOW)) ||
                (entry->d_tag == DT_FLAGS_1 && (entry->d_un.d_val & DF_1_NOW));
    assert_true(bound);
}

static void memory_of_every_size_is_aligned_zeroed_and_apart(void **state)
{
    (void)state;
    static uint8_t *blocks[400];
    static size_t sizes[COUNT_OF(blocks)];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        sizes[i] = i < 200 ? i + 1 : (size_t)200 << (i - 200) / 20;
        blocks[i] = arena_allocate(sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        assert_true(all_bytes_are(blocks[i], sizes[i], 0));
        memset(blocks[i], (int)(i % 251) + 1, sizes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        assert_true(all_bytes_are(blocks[i], sizes[i], (uint8_t)(i % 251 + 1)));
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        arena_free(blocks[i]);
}

static void small_and_large_secrets_are_kept_out_of_cores_and_children(void **state)
{
    (void)state;
    void *small = arena_allocate(32), *large = arena_allocate(100000);
    assert_hidden(small);
    assert_hidden(large);
    arena_free(small);
    arena_free(large);
}

static void a_forked_child_sees_zeros(void **state)
{
    (void)state;
    uint8_t *secret = arena_allocate(64);
    memset(secret, 0x5a, 64);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(all_bytes_are(secret, 64, 0) ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(all_bytes_are(secret, 64, 0x5a));
    arena_free(secret);
}

static void a_freed_secret_is_gone(void **state)
{
    (void)state;
    uint8_t *secret = arena_allocate(1000);
    uintptr_t place = (uintptr_t)secret;
    memset(secret, 0x5a, 1000);
    arena_free(secret);
    const uint8_t *rest = (const uint8_t *)place + sizeof(void *); /* the link to the next free block stands first */
    assert_true(all_bytes_are(rest, 1000 - sizeof(void *), 0));
    uint8_t *again = arena_allocate(1000);
    assert_int_equal((uintptr_t)again, place);
    assert_true(all_bytes_are(again, 1000, 0));
    arena_free(again);
}

static void memory_from_before_the_start_is_freed_as_what_it_is(void **state)
{
    (void)state;
    assert_false(mapping_has(from_before_the_start, " dd"));
    arena_free(from_before_the_start);
}

static void openssl_lives_in_the_arena(void **state)
{
    (void)state;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    assert_hidden(context);
    EVP_CIPHER_CTX_free(context);
    assert_null(OPENSSL_malloc(0));
}

static void growing_keeps_the_contents_and_shrinking_the_place(void **state)
{
    (void)state;
    uint8_t *bytes = OPENSSL_realloc(NULL, 10);
    memset(bytes, 7, 10);
    for (size_t size = 10; size < 200000; size = size * 3 / 2) {
        bytes = OPENSSL_realloc(bytes, size);
        assert_non_null(bytes);
        assert_true(all_bytes_are(bytes, 10, 7));
        memset(bytes, 7, size);
    }
    uint8_t *place = bytes;
    bytes = OPENSSL_realloc(bytes, 10);
    assert_ptr_equal(bytes, place);
    assert_null(OPENSSL_realloc(bytes, 0));
}

static void *churn(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    uint8_t *blocks[32] = {0};
    for (unsigned i = 0; i < 5000; i++) {
        seed = seed * 1103515245 + 12345;
        size_t at = seed >> 16 & 31, size = (seed >> 8 & 1023) + 1;
        if (blocks[at] != NULL && blocks[at][0] != at + 1)
            return argument;
        arena_free(blocks[at]);
        blocks[at] = arena_allocate(size);
        if (blocks[at] == NULL || !all_bytes_are(blocks[at], size, 0))
            return argument;
        memset(blocks[at], (int)at + 1, size);
    }
    for (size_t at = 0; at < COUNT_OF(blocks); at++)
        arena_free(blocks[at]);
    return NULL;
}

static void threads_never_share_a_block(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    from_before_the_start = arena_allocate(100);
    if (from_before_the_start == NULL || arena_is_locked() || arena_start() != ERROR_NONE)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_and_too_much_give_no_memory),
        cmocka_unit_test(the_process_cannot_be_dumped),
        cmocka_unit_test(symbols_are_bound_before_the_first_key),
        cmocka_unit_test(memory_from_before_the_start_is_freed_as_what_it_is),
        cmocka_unit_test(small_and_large_secrets_are_kept_out_of_cores_and_children),
        cmocka_unit_test(a_forked_child_sees_zeros),
        cmocka_unit_test(a_freed_secret_is_gone),
        cmocka_unit_test(memory_of_every_size_is_aligned_zeroed_and_apart),
        cmocka_unit_test(openssl_lives_in_the_arena),
        cmocka_unit_test(growing_keeps_the_contents_and_shrinking_the_place),
        cmocka_unit_test(threads_never_share_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
