/*
 * The key in force, for who looks at a provider without opening the pool. The witness is replaced atomically, so a
 * reader finds one whole; it only tells what to ask for, and which check value the answer is to have. No locks, nothing
 * written.
 */
#include "engine/pool/kek_number.h"

#include <stdio.h>
#include <string.h>

#include "crypto/provider_look.h"
#include "engine/pool/providers.h"
#include "engine/pool/witness.h"

static uint64_t newest_retained(const struct witness *witness, struct uuid provider)
{
    uint64_t number = 0;
    for (size_t i = 0; i < witness->retained_count; i++)
        if (uuid_equal(witness->retained[i].provider, provider))
            number = witness->retained[i].kek_number;
    return number;
}

static void take(const struct pool_conf *conf, const struct witness *witness, const struct provider_config *provider,
                 struct kek_expected *expected)
{
    const struct provider_config *named = provider_of_id(conf, witness->provider);
    expected->provider = provider ? provider : named ? named : conf->provider;
    if (!expected->provider)
        return;
    expected->in_force = expected->provider == named;
    expected->number = expected->in_force ? witness->kek_number : newest_retained(witness, expected->provider->id);
    if (!expected->in_force)
        return;
    expected->kek_kcv = witness->kek_kcv;
    expected->root_kcv = witness->root_kcv;
}

enum error kek_expect(const struct pool_conf *conf, const struct provider_config *provider, struct kek_expected *expected)
{
    struct witness *witness;
    enum error error = witness_load(conf->directory, conf->pool, &witness);
    if (error != ERROR_NONE && error != ERROR_NOT_FOUND)
        return error;
    *expected = (struct kek_expected){.provider = provider ? provider : conf->provider, .number = 1, .in_force = true};
    if (error == ERROR_NOT_FOUND)
        return ERROR_NONE;
    *expected = (struct kek_expected){0};
    take(conf, witness, provider, expected);
    witness_destroy(witness);
    return ERROR_NONE;
}

enum error key_facts_read(const struct pool_conf *conf, struct key_facts *facts)
{
    struct witness *witness;
    enum error error = witness_load(conf->directory, conf->pool, &witness);
    *facts = (struct key_facts){0};
    if (error)
        return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
    *facts = (struct key_facts){.known = true,
                                .provider = witness->provider,
                                .kek_number = witness->kek_number,
                                .half_done = witness->rewriting != 0,
                                .retained_count = witness->retained_count};
    memcpy(facts->retained, witness->retained, sizeof facts->retained);
    witness_destroy(witness);
    return ERROR_NONE;
}

static const char other_key[] = "it gives another key than the one in force: an older one, or another pool's";

void kek_compare(const struct kek_expected *expected, struct kmip_report *reports)
{
    if (!expected->kek_kcv.known)
        return;
    for (size_t i = 0; i < expected->provider->server_count; i++) {
        struct kmip_report *report = &reports[i];
        if (!report->fetched || report->error || memcmp(report->kcv, expected->kek_kcv.bytes, KCV_SIZE) == 0)
            continue;
        report->error = ERROR_WRONG_KEY;
        snprintf(report->sentence, sizeof report->sentence, "%s", other_key);
    }
}

enum error root_compare(const struct kek_expected *expected, const uint8_t kcv[KCV_SIZE])
{
    if (!expected->root_kcv.known || memcmp(kcv, expected->root_kcv.bytes, KCV_SIZE) == 0)
        return ERROR_NONE;
    return error_explain(ERROR_WRONG_KEY, "%s holds another key than the one in force: an older one, or another pool's",
                         expected->provider->path);
}

enum error root_check(const struct kek_expected *expected)
{
    uint8_t kcv[KCV_SIZE];
    if (!expected->provider || !expected->provider->path)
        return ERROR_NONE;
    enum error error = provider_root_kcv(expected->provider, expected->number, kcv);
    if (error == ERROR_NOT_FOUND)
        return error_explain(ERROR_KEY_ABSENT, "the key of provider %s is not there: there is no %s", expected->provider->name,
                             expected->provider->path);
    return error ? error : root_compare(expected, kcv);
}
