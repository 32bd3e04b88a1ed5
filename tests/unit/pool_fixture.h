/*
 * A pool in a directory of its own for each test, opened in this process; closed, crashed and opened again at will. A
 * crash here forgets memory, buffers that were not written included; what the files hold stays.
 */
#ifndef COFFER_TESTS_UNIT_POOL_FIXTURE_H
#define COFFER_TESTS_UNIT_POOL_FIXTURE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"
#include "engine/pool/deep_rekey.h"
#include "engine/pool/object_table.h"

#define FIXTURE_SIZE   (UINT64_C(256) << 20)
#define FIXTURE_MEMORY (UINT64_C(128) << 20)
#define GIB            (UINT64_C(1) << 30)
#define TIB            (UINT64_C(1) << 40)
#define MIB            (UINT64_C(1) << 20)

static char fixture_root[64], fixture_directory[128];
static uint64_t fixture_size = FIXTURE_SIZE;
static struct pool *pool;

static inline enum error pool_try_open(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static inline void assert_fine(enum error error)
{
    if (error != ERROR_NONE)
        fail_msg("%s: %s", error_name(error), error_sentence(error));
}

static inline int pool_setup(void **context)
{
    const char *parent = getenv("TMPDIR");
    struct pool_create_options options = {.directory = fixture_directory,
                                          .size = fixture_size,
                                          .encryption = true,
                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                          .seal = "file"};
    (void)context;
    snprintf(fixture_root, sizeof fixture_root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_directory, sizeof fixture_directory, "%s/pool", fixture_root);
    assert_fine(pool_create(&options));
    assert_fine(pool_try_open());
    return 0;
}

static inline int fixture_remove(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static inline void pool_crash(void)
{
    janitor_stop(pool);
    scrub_stop(pool, true);
    deep_rekey_stop(pool);
    (void)!group_close(pool->group, true);
    catalog_unload(pool);
    witness_destroy(pool->witness);
    arena_free(pool->k_pools);
    atomic_store(&pool->locked, 1);
    assert_fine(pool_close(pool));
    pool = NULL;
}

static inline void fixture_found(const char *sentence, void *context)
{
    (void)context;
    print_error("check: %s\n", sentence);
}

/* Whatever a test did, references and places must agree afterwards. A test that broke its pool leaves it closed. */
static inline void pool_close_checked(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    struct check_report report;
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_fine(pool_check(fixture_directory, &options, &(struct check_listener){.found = fixture_found}, &report));
    assert_int_equal(report.errors, 0);
}

static inline int pool_teardown(void **context)
{
    (void)context;
    if (pool != NULL)
        pool_close_checked();
    return nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Both ways in which an open may find what a change left. */
static inline void pool_reopen(bool crash)
{
    if (crash)
        pool_crash();
    else
        assert_fine(pool_close(pool));
    pool = NULL;
    assert_fine(pool_try_open());
}

static inline void assert_refused(enum error error, enum error expected, const char *words)
{
    assert_string_equal(error_name(error), error_name(expected));
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
}

static inline struct uuid make(const char *name, uint64_t size)
{
    struct uuid uuid;
    assert_fine(object_create(pool, name, size, &uuid));
    return uuid;
}

static inline struct object_info look(const char *name)
{
    struct object_info info;
    assert_fine(object_find(pool, name, &info));
    return info;
}

static inline const char *text_of(struct uuid uuid)
{
    static char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    return text;
}

static inline void fixture_answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

/* One block at a byte offset of an object; `fill` seeds its content, which does not compress to nothing. */
static inline void block_fill(uint8_t block[COFFER_BLOCK], unsigned fill)
{
    for (unsigned i = 0; i < COFFER_BLOCK; i++)
        block[i] = (uint8_t)(fill * 31 + i * (fill | 1) + (i >> 5));
}

static inline enum error block_io(struct volume *volume, enum request_type type, uint64_t offset, uint8_t *block)
{
    struct request request = {.type = type, .offset = offset, .length = COFFER_BLOCK, .data = block};
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    return request.error;
}

static inline void write_block(const char *name, uint64_t offset, unsigned fill)
{
    struct volume *volume;
    uint8_t block[COFFER_BLOCK];
    block_fill(block, fill);
    assert_fine(volume_open(pool, name, false, &volume));
    assert_fine(block_io(volume, REQUEST_WRITE, offset, block));
    volume_close(volume);
}

static inline void trim_blocks(const char *name, uint64_t first, uint64_t count)
{
    struct volume *volume;
    struct request trim = {.type = REQUEST_TRIM, .offset = first * COFFER_BLOCK, .length = count * COFFER_BLOCK};
    assert_fine(volume_open(pool, name, false, &volume));
    volume_execute(volume, &trim, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_fine(trim.error);
}

/* fill 0: zeros. */
static inline void assert_block(const char *name, uint64_t offset, unsigned fill)
{
    struct volume *volume;
    uint8_t block[COFFER_BLOCK], expected[COFFER_BLOCK] = {0};
    if (fill != 0)
        block_fill(expected, fill);
    assert_fine(volume_open(pool, name, true, &volume));
    assert_fine(block_io(volume, REQUEST_READ, offset, block));
    volume_close(volume);
    assert_memory_equal(block, expected, COFFER_BLOCK);
}

/* The janitor works in the background; this only ends early where it is done. */
static inline void await_gone(struct uuid uuid)
{
    struct object_info info;
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    for (unsigned i = 0; i < 6000 && object_find(pool, text, &info) == ERROR_NONE; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_string_equal(error_name(object_find(pool, text, &info)), "NOT_FOUND");
}

static inline uint64_t component_of(const char *name)
{
    mutex_lock(&pool->lock);
    const struct object *object = catalog_find(pool, name);
    uint64_t component = object != NULL ? object->component : 0;
    mutex_unlock(&pool->lock);
    return component;
}

/* Whether the published component table has it. */
static inline bool component_exists(uint64_t component)
{
    struct component_format format;
    assert_fine(group_publish(pool->group));
    struct view *view = view_take(pool->group);
    enum error error = view_component(pool->group, view, component, &format);
    view_put(pool->group, view);
    return error == ERROR_NONE;
}

static inline void publish(void)
{
    assert_fine(group_publish(pool->group));
}

/* Two objects with data of every kind: 9 blocks of one, 4 of them also in the other; units, holes, more than one leaf. */
static inline void fill(void)
{
    make("one", GIB);
    make("two", GIB);
    for (unsigned i = 0; i < 8; i++)
        write_block("one", i * COFFER_BLOCK, 100 + i);
    write_block("one", 300 * COFFER_BLOCK, 200);
    for (unsigned i = 0; i < 4; i++)
        write_block("two", i * COFFER_BLOCK, 100 + i);
    publish();
}

#endif
