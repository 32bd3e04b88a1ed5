/*
 * The cache of a key as the daemon keeps it, upon a real pool and without a TPM: what servers answered, and what becomes of a file
 * that is too old, of a clock that is wrong, of a key that is not in force any more, and of what is no cache.
 */
#include "tests/unit/rekey_fixture.h"

#include "base/file.h"
#include "crypto/key_cache.h"
#include "server/key_cached.h"

#define DAY UINT64_C(86400)

static struct key_cached cached;
static struct provider_config kms;
static struct kek_expected expected;
static struct provider_kek which;
static struct kmip_report report;
static char cache[300];

static int set_up(void **context)
{
    setup(context);
    snprintf(cache, sizeof cache, "%s/kms.cache", fixture_directory);
    kms = (struct provider_config){.name = "kms", .type = "kmip", .id = pool->conf->provider->id, .server_count = 1, .cache = cache,
                                   .cache_seconds = 7 * DAY};
    expected = (struct kek_expected){.provider = &kms, .number = 1, .in_force = true};
    which = (struct provider_kek){.pool = pool->conf->pool, .number = 1};
    report = (struct kmip_report){.server = "kms1", .error = ERROR_TIMED_OUT};
    cached = (struct key_cached){0};
    return 0;
}

/* What the TPM keeps is not looked at here. */
static void cache_write(uint64_t fetched)
{
    static const uint8_t kek[KEY_SIZE] = "the key that the servers hold it";
    struct cached_key made = {.pool = pool->conf->pool, .provider = kms.id, .name = "kms", .kek_number = 1, .fetched = fetched,
                              .key_id = "17", .tpm = {.public_size = 1, .private_size = 1}};
    char text[CACHED_KEY_TEXT_MAX];
    size_t size;
    assert_fine(cached_key_sign(&made, kek));
    assert_fine(cached_key_encode(&made, text, &size));
    assert_fine(file_replace(cache, text, size));
}

static bool is_there(void) { return access(cache, F_OK) == 0; }
static void settle(void) { assert_false(key_cached_settle(&cached, pool, &expected, &which, &report, NULL)); }

static void a_wrong_clock_destroys_nothing_while_no_server_answers(void **context)
{
    (void)context;
    const uint64_t times[] = {clock_seconds() - 8 * DAY, clock_seconds() + DAY};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        cache_write(times[i]);
        report.error = ERROR_TIMED_OUT;
        settle();
        assert_true(is_there());
        report.error = ERROR_NONE;
        settle();
        assert_false(is_there());
    }
    cache_write(clock_seconds() - DAY);
    settle();
    assert_true(is_there());
}

static void what_is_no_cache_is_left_alone_and_told_once(void **context)
{
    (void)context;
    kms.cache_seconds = 0; /* then there is to be none */
    assert_fine(file_replace(cache, "mine", 4));
    for (int i = 0; i < 3; i++) {
        settle();
        assert_true(is_there());
        assert_int_equal(cached.left_count, 1);
    }
    cache_write(clock_seconds());
    settle();
    assert_false(is_there());
    assert_int_equal(cached.left_count, 0);
}

/* The key was fetched, changed and retired by somebody, and only then came the cache of it. */
static void a_key_that_is_in_force_no_more_is_not_cached_again(void **context)
{
    struct kek_expected before;
    (void)context;
    assert_fine(kek_expect(pool->conf, NULL, &before));
    before.provider = &kms;
    cache_write(clock_seconds());
    key_cached_confirm(&cached, pool->conf, &before);
    assert_true(is_there());
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    key_cached_confirm(&cached, pool->conf, &before);
    assert_false(is_there());
    cache_write(clock_seconds());
    kms.id = (struct uuid){{9}};
    before.number = 2; /* of another provider */
    key_cached_confirm(&cached, pool->conf, &before);
    assert_false(is_there());
}

/* It would be fetched at each look, every half minute, for a cache that it may not have. */
static void a_key_that_a_server_calls_deactivated_is_not_fetched_for_the_cache(void **context)
{
    (void)context;
    expected.kek_kcv.known = true;
    cache_write(clock_seconds());
    assert_false(key_cached_wants(&cached, &expected, &which));
    report = (struct kmip_report){.server = "kms1", .state = kmip_state_name(KMIP_DEACTIVATED), .ended = true};
    settle();
    assert_false(is_there());
    assert_false(key_cached_wants(&cached, &expected, &which));
    struct pool_conf conf = *pool->conf;
    struct key_cached_facts facts;
    conf.provider = conf.providers = &kms;
    conf.provider_count = 1;
    key_cached_look(&conf, &facts);
    assert_true(facts.on && !facts.present);
    assert_non_null(strstr(facts.why_not, "or it was destroyed since"));
    expected.number = 2; /* another came into force */
    assert_true(key_cached_wants(&cached, &expected, &which));
    expected.number = 1;
    report = (struct kmip_report){.server = "kms1", .error = ERROR_TIMED_OUT};
    settle();
    assert_false(key_cached_wants(&cached, &expected, &which));
    report = (struct kmip_report){.server = "kms1", .state = kmip_state_name(KMIP_ACTIVE)};
    settle();
    assert_true(key_cached_wants(&cached, &expected, &which));
}

#define WITH_CACHE(name) cmocka_unit_test_setup_teardown(name, set_up, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_wrong_clock_destroys_nothing_while_no_server_answers),
        WITH_CACHE(what_is_no_cache_is_left_alone_and_told_once),
        WITH_CACHE(a_key_that_is_in_force_no_more_is_not_cached_again),
        WITH_CACHE(a_key_that_a_server_calls_deactivated_is_not_fetched_for_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
