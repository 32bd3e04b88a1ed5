/*
 * What the tests of the release list share: merges release nothing by themselves; a test says how much, and when.
 */
#ifndef COFFER_TESTS_RELEASE_FIXTURE_H
#define COFFER_TESTS_RELEASE_FIXTURE_H

#include "engine/group/merge.h"
#include "engine/group/tree.h"
#include "tests/unit/group_truth.h"

#define COMPONENTS 2 /* COMPONENT and the one after it */
#define ALL        (UINT64_C(1) << 34) /* blocks of the largest object */
#define WHOLE      (UINT64_C(1) << 40) /* more references than there are */

static inline int release_setup(void **state)
{
    atomic_store(&release_references, 0);
    return fixture_setup(state);
}

static inline int release_teardown(void **state)
{
    atomic_store(&release_references, UINT64_C(1) << 20);
    return fixture_teardown(state);
}

/* The second one waits for a merge of the merge thread's own. */
static inline void publish(struct fixture *f)
{
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

/* At least one merge that releases so many references. */
static inline void release(struct fixture *f, uint64_t references)
{
    atomic_store(&release_references, references);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    atomic_store(&release_references, 0);
    publish(f);
}

static inline struct checkpoint published(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    struct checkpoint checkpoint = f->group->checkpoint;
    mutex_unlock(&f->group->lock);
    return checkpoint;
}

static inline void expect_nothing_left(struct fixture *f)
{
    struct checkpoint checkpoint = published(f);
    assert_int_equal(truth_releases(f), 0);
    assert_true(entry_is_hole(checkpoint.roots[TABLE_RELEASES - 1].pointer.first));
    assert_int_equal(checkpoint.blocks_mapped, 0);
    assert_int_equal(checkpoint.chunks_live, 0);
    truth_expect(f, COMPONENTS);
}

/* One block in each of so many leaves. */
static inline void leaves_write(struct fixture *f, uint64_t component, uint64_t count, uint64_t apart)
{
    for (uint64_t i = 0; i < count; i++)
        fixture_write(f, component, i * apart * MAP_LEAF_ENTRIES, 1 + i);
    publish(f);
}

static inline struct tree table_tree(struct fixture *f, enum table table)
{
    return tree_of_table(table, &f->group->checkpoint.roots[table - 1]);
}

/* A page as the next merge will find it in the cache. */
static inline uint8_t *page_of(struct fixture *f, enum table table, uint64_t number, struct cache_block **block)
{
    struct tree tree = table_tree(f, table);
    assert_int_equal(tree_leaves(f->group, &tree, &number, block, 1), ERROR_NONE);
    assert_non_null(*block);
    return (uint8_t *)cache_bytes(*block);
}

#endif
