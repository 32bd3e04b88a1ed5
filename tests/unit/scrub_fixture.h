/* What the tests of the scrub share: one that runs to its end, and the sentences that the ledger has then. */
#ifndef COFFER_TESTS_UNIT_SCRUB_FIXTURE_H
#define COFFER_TESTS_UNIT_SCRUB_FIXTURE_H

#include "engine/pool/scrub.h"
#include "tests/unit/check_fixture.h"

static struct damage_info *infos;
static size_t info_count;
static bool info_more;

static inline struct scrub_status scrub_look(void)
{
    struct scrub_status status;
    assert_fine(pool_scrub_status(pool, &status));
    return status;
}

/* Ends early where the state is reached. */
static inline void await_scrub(enum scrub_state state)
{
    for (unsigned i = 0; i < 12000 && scrub_look().state != state; i++)
        clock_sleep(5 * CLOCK_MILLISECOND);
    assert_int_equal(scrub_look().state, state);
}

static inline void damages_look(void)
{
    free(infos);
    infos = NULL;
    assert_fine(pool_damages(pool, &infos, &info_count, &info_more));
}

static inline void scrub(void)
{
    assert_fine(pool_scrub_start(pool, 0));
    await_scrub(SCRUB_COMPLETE);
    damages_look();
}

static inline const struct damage_info *damage_with(const char *words)
{
    for (size_t i = 0; i < info_count; i++)
        if (strstr(infos[i].sentence, words))
            return &infos[i];
    for (size_t i = 0; i < info_count; i++)
        print_error("%s\n", infos[i].sentence);
    fail_msg("\"%s\" is not among %zu sentences", words, info_count);
    return NULL;
}

static inline void assert_no_damage(void)
{
    damages_look();
    for (size_t i = 0; i < info_count; i++)
        print_error("%s\n", infos[i].sentence);
    assert_int_equal(info_count, 0);
}

static inline enum error read_block(const char *name, uint64_t block)
{
    struct volume *volume;
    uint8_t bytes[COFFER_BLOCK];
    assert_fine(volume_open(pool, name, true, &volume));
    enum error error = block_io(volume, REQUEST_READ, block * COFFER_BLOCK, bytes);
    volume_close(volume);
    return error;
}

/* Bytes that do not compress, other ones each time. */
static inline void noise_fill(uint8_t *bytes, size_t size)
{
    static uint64_t state = 1;
    for (size_t at = 0; at < size; at += sizeof state) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(bytes + at, &state, sizeof state);
    }
}

/* The pool is spoilt: no check at the end. */
static inline int scrub_teardown(void **context)
{
    free(infos);
    infos = NULL;
    if (pool != NULL)
        assert_fine(pool_close(pool));
    pool = NULL;
    return pool_teardown(context);
}

/* Of the first node of a level of a table. */
struct wanted_page {
    unsigned level;
    struct node_pointer pointer;
};

static inline enum error page_found(void *context, const struct walk_node *node)
{
    struct wanted_page *wanted = context;
    if (node->identity.level == wanted->level && entry_is_hole(wanted->pointer.first))
        wanted->pointer = node->pointer;
    return ERROR_NONE;
}

static inline struct node_pointer page_pointer(enum table table, unsigned level)
{
    struct tree tree = table_tree(table);
    struct wanted_page wanted = {.level = level};
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, page_found, &wanted));
    return wanted.pointer;
}

static inline struct spot page_spot(enum table table, unsigned level)
{
    struct map_entry first = page_pointer(table, level).first;
    return address_spot(entry_serial(first), entry_offset(first));
}

#endif
