/*
 * Components that begin as others are: what is read of them at each stage, and that the counts of shared nodes are true
 * whatever is written, trimmed and deleted in which order, over merges and crashes.
 */
#include "engine/group/merge.h"
#include "tests/unit/group_truth.h"

#define SNAPSHOT COMPONENT
#define HEIR     (COMPONENT + 1)
#define FAR      (UINT64_C(256) * 128 * 3 + 5) /* a block below a root of its own level */

static void fill(struct fixture *f, uint64_t component, uint64_t first, uint64_t count, uint64_t seed)
{
    for (uint64_t i = 0; i < count; i++)
        fixture_write(f, component, first + i, seed + i);
}

static void publish(struct fixture *f)
{
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

static void a_component_on_a_base_that_is_not_there_stops_the_merge(void **state)
{
    struct fixture *f = *state;
    fixture_heir(f, HEIR + 1, HEIR, COMPONENT_LIVE);
    assert_int_equal(group_publish(f->group), ERROR_FENCED);
}

static void an_heir_reads_what_its_base_had_before_any_merge(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, SNAPSHOT, 3, 33);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_expect(f, HEIR, 3, 33);
    fixture_expect(f, HEIR, 4, 0);
    fixture_write(f, HEIR, 3, 44);
    fixture_expect(f, HEIR, 3, 44);
    fixture_expect(f, SNAPSHOT, 3, 33);
}

static void an_heir_reads_what_its_base_has_in_the_tree(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, SNAPSHOT, 3, 33);
    fixture_write(f, SNAPSHOT, FAR, 34);
    publish(f);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_expect(f, HEIR, 3, 33);
    fixture_expect(f, HEIR, FAR, 34);
    fixture_holes(f, HEIR, 0, 512);
    fixture_expect(f, HEIR, 3, 0);
    fixture_expect(f, HEIR, FAR, 34);
    fixture_expect(f, SNAPSHOT, 3, 33);
}

static void a_merge_gives_the_heir_a_map_of_its_own(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, SNAPSHOT, 3, 33);
    fixture_write(f, SNAPSHOT, FAR, 34);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_write(f, HEIR, 3, 44);
    publish(f);
    truth_expect(f, 2);
    fixture_expect(f, HEIR, 3, 44);
    fixture_expect(f, HEIR, FAR, 34);
    fixture_expect(f, SNAPSHOT, 3, 33);
    fixture_write(f, HEIR, FAR + 1, 55);
    fixture_write(f, HEIR, FAR * 60, 56); /* the tree grows above the shared root */
    publish(f);
    truth_expect(f, 2);
    fixture_expect(f, HEIR, FAR * 60, 56);
    fixture_expect(f, SNAPSHOT, FAR + 1, 0);
}

static void a_tree_that_grows_above_a_root_born_in_the_same_merge_shares_it(void **state)
{
    struct fixture *f = *state;
    fill(f, SNAPSHOT, 0, 4, 100);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_write(f, HEIR, 1, 7);
    fixture_write(f, HEIR, FAR, 8);
    publish(f);
    truth_expect(f, 2);
    fixture_expect(f, SNAPSHOT, 1, 101);
    fixture_expect(f, HEIR, 1, 7);
    fixture_expect(f, HEIR, 2, 102);
}

static void a_crash_before_the_merge_keeps_heir_and_base_apart(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, SNAPSHOT, 3, 33);
    publish(f);
    fixture_write(f, SNAPSHOT, 4, 34);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_write(f, HEIR, 3, 44);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, SNAPSHOT, 3, 33);
    fixture_expect(f, HEIR, 3, 44);
    fixture_expect(f, HEIR, 4, 34);
    publish(f);
    truth_expect(f, 2);
    fixture_expect(f, SNAPSHOT, 3, 33);
    fixture_expect(f, HEIR, 4, 34);
}

static void links_are_followed_to_the_first_base(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, COMPONENT, 0, 1);
    for (uint64_t n = 1; n < 200; n++) {
        fixture_heir(f, COMPONENT + n, COMPONENT + n - 1, COMPONENT_LIVE);
        fixture_write(f, COMPONENT + n, n, 1000 + n);
        if (n % 10 == 0) {
            fixture_expect(f, COMPONENT + n, 0, 1);
            fixture_expect(f, COMPONENT + n, n / 2, 1000 + n / 2);
        }
    }
    publish(f);
    for (uint64_t n = 10; n < 200; n += 10) {
        fixture_expect(f, COMPONENT + n, 0, 1);
        fixture_expect(f, COMPONENT + n, n / 2, 1000 + n / 2);
        fixture_expect(f, COMPONENT + n, n + 1, 0);
    }
}

static void sixty_four_links_start_a_merge(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= 64; n++)
        fixture_heir(f, COMPONENT + n, COMPONENT + n - 1, COMPONENT_LIVE);
    for (int i = 0; i < 600 && view_has_heirs(f->group, COMPONENT + 63); i++)
        usleep(10000);
    assert_false(view_has_heirs(f->group, COMPONENT + 63));
}

static void the_next_mapped_leaf_is_found_through_the_base(void **state)
{
    struct fixture *f = *state;
    const _Atomic uint64_t heir = HEIR;
    uint64_t leaf = 0;
    fixture_write(f, SNAPSHOT, 256 * 7, 1);
    publish(f);
    fixture_write(f, SNAPSHOT, 256 * 5, 1);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    assert_int_equal(view_leaf_next(f->group, &heir, &leaf, 100), ERROR_NONE);
    assert_int_equal(leaf, 5);
    leaf = 6;
    assert_int_equal(view_leaf_next(f->group, &heir, &leaf, 100), ERROR_NONE);
    assert_int_equal(leaf, 7);
    leaf = 6;
    fixture_holes(f, HEIR, 0, 256 * 50);
    assert_int_equal(view_leaf_next(f->group, &heir, &leaf, 100), ERROR_NONE);
    assert_int_equal(leaf, 100);
}

static void what_is_trimmed_of_an_heir_stays_in_its_base(void **state)
{
    struct fixture *f = *state;
    fill(f, SNAPSHOT, 0, 300, 1);
    fixture_write(f, SNAPSHOT, FAR, 9);
    publish(f);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_holes(f, HEIR, 0, 256 * 128);
    publish(f);
    truth_expect(f, 2);
    publish(f);
    truth_expect(f, 2);
    fixture_expect(f, SNAPSHOT, 299, 300);
    fixture_expect(f, HEIR, 299, 0);
    fixture_expect(f, HEIR, FAR, 9);
    assert_int_equal(f->group->checkpoint.blocks_mapped, 301);
}

static void delete(struct fixture *f, uint64_t component)
{
    if (view_has_heirs(f->group, component))
        publish(f);
    fixture_holes(f, component, 0, RECORD_BLOCKS_MAX);
    fixture_component(f, component, COMPONENT_DELETED);
}

static void drain(struct fixture *f)
{
    publish(f);
    for (int i = 0; i < 50 && truth_releases(f); i++)
        publish(f);
}

static void a_base_may_go_before_its_heir(void **state)
{
    struct fixture *f = *state;
    fill(f, SNAPSHOT, 0, 300, 1);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_write(f, HEIR, 7, 1000);
    delete(f, SNAPSHOT);
    drain(f);
    truth_expect(f, 2);
    fixture_expect(f, HEIR, 7, 1000);
    fixture_expect(f, HEIR, 299, 300);
    assert_int_equal(f->group->checkpoint.chunks_live, 300);
    delete(f, HEIR);
    drain(f);
    truth_expect(f, 2);
    assert_int_equal(f->group->checkpoint.blocks_mapped, 0);
    assert_int_equal(f->group->checkpoint.chunks_live, 0);
}

#define MANY_LEAVES 300 /* more changes than the list takes at once */

static void refer_all(struct fixture *f, uint64_t component, struct map_entry entry)
{
    for (uint64_t block = 0; block < MANY_LEAVES * MAP_LEAF_ENTRIES; block++)
        fixture_refer(f, component, block, entry);
}

/* The list fills up in the middle of the first heir, is applied, and fills again with what the second one has to know. */
static void heirs_that_change_more_than_the_list_takes_stay_true(void **state)
{
    struct fixture *f = *state;
    const uint64_t second = HEIR + 1;
    struct map_entry one = fixture_write(f, SNAPSHOT, 0, 1);
    refer_all(f, SNAPSHOT, one);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    fixture_heir(f, second, SNAPSHOT, COMPONENT_LIVE);
    publish(f);
    delete(f, SNAPSHOT);
    drain(f);
    truth_expect(f, 3);
    struct map_entry other = fixture_write(f, HEIR, 0, 2);
    refer_all(f, HEIR, other);
    fixture_write(f, second, (MANY_LEAVES - 1) * MAP_LEAF_ENTRIES, 3);
    publish(f);
    truth_expect(f, 3);
    delete(f, HEIR);
    delete(f, second);
    drain(f);
    truth_expect(f, 3);
    assert_int_equal(f->group->checkpoint.blocks_mapped, 0);
}

/* What copies refer to as well comes on top of what a merge may add: it lets nothing more be released. */
static void copies_let_no_more_be_released(void **state)
{
    struct fixture *f = *state;
    const uint64_t dropped = HEIR + 1, leaves = 60;
    const uint64_t usual = atomic_load(&release_references);
    struct map_entry one = fixture_write(f, SNAPSHOT, 0, 1);
    fixture_component(f, dropped, COMPONENT_LIVE);
    for (uint64_t block = 0; block < leaves * MAP_LEAF_ENTRIES; block++) {
        fixture_refer(f, SNAPSHOT, block, one);
        fixture_refer(f, dropped, block, one);
    }
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    publish(f);
    atomic_store(&release_references, 1);
    fixture_holes(f, dropped, 0, RECORD_BLOCKS_MAX);
    for (uint64_t leaf = 0; leaf < leaves; leaf++)
        fixture_refer(f, HEIR, leaf * MAP_LEAF_ENTRIES, (struct map_entry){0});
    publish(f);
    assert_true(truth_releases(f) > leaves / 2);
    atomic_store(&release_references, usual);
    drain(f);
    truth_expect(f, 3);
}

/* ---- a model ------------------------------------------------------------------------------------------------------ */

#define MODEL_COMPONENTS 14
#define MODEL_BLOCKS     48

static uint64_t model_block(unsigned n)
{
    return n < 16 ? n : n < 32 ? 256 * 127 + n : FAR * (1 + n % 3) + n;
}

struct model {
    bool lives[MODEL_COMPONENTS];
    bool fixed[MODEL_COMPONENTS]; /* somebody is based on it: it is not written any more */
    uint64_t seeds[MODEL_COMPONENTS][MODEL_BLOCKS];
    unsigned made;
};

static void model_expect(struct fixture *f, const struct model *m)
{
    for (unsigned c = 0; c < m->made; c++)
        for (unsigned b = 0; m->lives[c] && b < MODEL_BLOCKS; b++)
            fixture_expect(f, COMPONENT + c, model_block(b), m->seeds[c][b]);
}

static void model_trim(struct fixture *f, struct model *m, unsigned c, uint64_t first, uint64_t end)
{
    fixture_holes(f, COMPONENT + c, first, end);
    for (unsigned b = 0; b < MODEL_BLOCKS; b++)
        if (model_block(b) >= first && model_block(b) < end)
            m->seeds[c][b] = 0;
}

static void model_step(struct fixture *f, struct model *m, uint64_t *random)
{
    unsigned c = (unsigned)fixture_below(random, m->made), b = (unsigned)fixture_below(random, MODEL_BLOCKS);
    uint64_t choice = fixture_below(random, 100);
    if (!m->lives[c])
        return;
    if (choice < 50 && !m->fixed[c]) {
        m->seeds[c][b] = 1 + fixture_below(random, 1 << 20);
        fixture_write(f, COMPONENT + c, model_block(b), m->seeds[c][b]);
    } else if (choice < 65 && !m->fixed[c]) {
        uint64_t first = choice < 60 ? model_block(b) & ~UINT64_C(255) : 0;
        model_trim(f, m, c, first, first + 256 * (1 + fixture_below(random, 300)));
    } else if (choice < 80 && m->made < MODEL_COMPONENTS) {
        fixture_heir(f, COMPONENT + m->made, COMPONENT + c, COMPONENT_LIVE);
        memcpy(m->seeds[m->made], m->seeds[c], sizeof m->seeds[c]);
        m->fixed[c] = m->lives[m->made++] = true;
    } else if (choice < 83) {
        delete(f, COMPONENT + c);
        m->lives[c] = false;
    } else if (choice < 90) {
        publish(f);
        truth_expect(f, MODEL_COMPONENTS);
    } else if (choice < 93) {
        assert_int_equal(group_sync(f->group), ERROR_NONE);
        fixture_crash(f);
        fixture_open(f);
        model_expect(f, m);
    }
}

static void families_stay_true_whatever_is_done_with_them(void **state)
{
    struct fixture *f = *state;
    uint64_t seeds = getenv("FAMILY_SEEDS") ? strtoull(getenv("FAMILY_SEEDS"), NULL, 10) : 12;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct model m = {.lives = {true}, .made = 1};
        uint64_t random = seed;
        for (unsigned step = 0; step < 250; step++)
            model_step(f, &m, &random);
        model_expect(f, &m);
        publish(f);
        model_expect(f, &m);
        truth_expect(f, MODEL_COMPONENTS);
        for (unsigned c = 0; c < m.made; c++)
            if (m.lives[(c * 5 + seed) % m.made])
                delete(f, COMPONENT + (c * 5 + seed) % m.made);
        for (unsigned c = 0; c < m.made; c++)
            m.lives[c] = false;
        drain(f);
        truth_expect(f, MODEL_COMPONENTS);
        if (m.made % 5)
            assert_int_equal(f->group->checkpoint.blocks_mapped, 0);
        fixture_teardown((void **)&f);
        fixture_setup((void **)&f);
        *state = f;
    }
}

/* The same where every merge moves what it can: nodes that are shared, and what is on the release list. */
static void families_stay_true_while_they_are_moved(void **state)
{
    atomic_store(&clean_always, true);
    families_stay_true_whatever_is_done_with_them(state);
    atomic_store(&clean_always, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_component_on_a_base_that_is_not_there_stops_the_merge),
        TEST(an_heir_reads_what_its_base_had_before_any_merge),
        TEST(an_heir_reads_what_its_base_has_in_the_tree),
        TEST(a_merge_gives_the_heir_a_map_of_its_own),
        TEST(a_tree_that_grows_above_a_root_born_in_the_same_merge_shares_it),
        TEST(a_crash_before_the_merge_keeps_heir_and_base_apart),
        TEST(links_are_followed_to_the_first_base),
        TEST(sixty_four_links_start_a_merge),
        TEST(the_next_mapped_leaf_is_found_through_the_base),
        TEST(what_is_trimmed_of_an_heir_stays_in_its_base),
        TEST(a_base_may_go_before_its_heir),
        TEST(heirs_that_change_more_than_the_list_takes_stay_true),
        TEST(copies_let_no_more_be_released),
        TEST(families_stay_true_whatever_is_done_with_them),
        TEST(families_stay_true_while_they_are_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
