/*
 * The ages of keys, from the file key-ages (engine/pool/key_ages.h), which this file keeps up to date: what devices and witness
 * say that there is goes in, and comes back with a time. Nothing here is secret, and nothing but people goes by it. No locks
 * but the file's.
 */
#include "server/key_age.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "base/size.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_key.h"
#include "engine/coffer.h"
#include "engine/pool/kek_number.h"
#include "engine/pool/key_ages.h"
#include "engine/pool/key_dates.h"
#include "server/health_check.h"
#include "server/key_care.h"

#define DAY UINT64_C(86400)

/* ---- what there is -------------------------------------------------------------------------------------------------- */

static uint64_t kcv_number(const uint8_t kcv[KCV_SIZE])
{
    uint64_t number = 0;
    for (size_t i = 0; i < KCV_SIZE; i++)
        number = number << 8 | kcv[i];
    return number;
}

static void add(struct key_ages *ages, enum key_age_kind kind, struct uuid id, uint64_t number, uint64_t seconds)
{
    if (ages->count < KEY_AGES_MAX && key_age_find(ages, kind, id, number) == NULL)
        ages->items[ages->count++] = (struct key_age){kind, id, number, seconds};
}

/* A key that was in force when dates began to be kept is as old as the pool. */
static uint64_t kek_since(const struct pool_conf *conf, const struct key_facts *keys, uint64_t created)
{
    struct key_dates dates;
    if (keys->kek_number <= 1 || key_dates_load(conf->directory, &dates) != ERROR_NONE)
        return created;
    bool same = uuid_equal(dates.change.key.provider, keys->provider) && dates.change.key.number == keys->kek_number;
    return same && dates.change.seconds != 0 ? dates.change.seconds : created;
}

static enum error keks_add(const struct pool_conf *conf, uint64_t created, struct key_ages *ages)
{
    struct key_facts keys;
    struct kek_expected expected;
    TRY(key_facts_read(conf, &keys));
    if (keys.known)
        add(ages, KEY_AGE_KEK, keys.provider, keys.kek_number, kek_since(conf, &keys, created));
    for (size_t i = 0; i < keys.retained_count; i++)
        add(ages, KEY_AGE_KEK, keys.retained[i].provider, keys.retained[i].kek_number, created);
    TRY(kek_expect(conf, NULL, &expected));
    if (expected.in_force && expected.root_kcv.known)
        add(ages, KEY_AGE_ROOT, expected.provider->id, kcv_number(expected.root_kcv.bytes), created);
    return ERROR_NONE;
}

static enum error note(const struct pool_conf *conf, const struct pool_key_list *list, struct key_ages *ages)
{
    uint64_t created = list->created != 0 ? list->created : clock_seconds();
    ages->count = 0;
    for (size_t i = 0; i < list->key_count; i++)
        if (list->keys[i].kind == KEY_KIND_DEK)
            add(ages, KEY_AGE_DATA, list->devices[list->keys[i].device].id, list->keys[i].slot, created);
        else if (list->keys[i].kind == KEY_KIND_POOL && list->keys[i].slot > 1)
            add(ages, KEY_AGE_POOL, conf->pool, list->keys[i].slot, created);
    TRY(keks_add(conf, created, ages));
    for (size_t i = 0; i < list->key_count; i++) /* last, for there may be many: they take no other's place */
        if (list->keys[i].kind == KEY_KIND_LOG && list->keys[i].slot > 1)
            add(ages, KEY_AGE_LOG, list->devices[list->keys[i].device].id, list->keys[i].slot, created);
    return key_ages_note(conf->directory, ages);
}

/* Once, until it goes well again: it is tried every minute. */
static void tell_of(enum error error)
{
    static _Atomic int told;
    if (error != ERROR_NONE && atomic_load(&told) != (int)error)
        message(MESSAGE_WARNING, "the ages of the keys could not be recorded: %s", error_sentence(error));
    atomic_store(&told, (int)error);
}

/* What cannot be recorded keeps nobody from what was. */
static enum error note_or_load(const struct pool_conf *conf, const struct pool_key_list *list, struct key_ages *ages)
{
    enum error error = note(conf, list, ages);
    tell_of(error);
    return error == ERROR_NONE ? ERROR_NONE : key_ages_load(conf->directory, ages);
}

/* *conf and *list are the caller's where it says ERROR_NONE. */
static enum error take(struct pool *pool, struct pool_conf **conf, struct pool_key_list *list, struct key_ages *ages)
{
    TRY(pool_conf_read(pool_directory(pool), conf));
    enum error error = (*conf)->provider == NULL ? ERROR_NOT_FOUND : pool_key_list(pool, list);
    if (error == ERROR_NONE) {
        error = note_or_load(*conf, list, ages);
        if (error == ERROR_NONE)
            return ERROR_NONE;
        free(list->keys);
        free(list->devices);
    }
    pool_conf_destroy(*conf);
    return error;
}

static void give_back(struct pool_conf *conf, struct pool_key_list *list)
{
    free(list->keys);
    free(list->devices);
    pool_conf_destroy(conf);
}

void key_age_note(struct pool *pool)
{
    AUTO_FREE struct key_ages *ages = memory_zeroed(1, sizeof *ages);
    struct pool_conf *conf;
    struct pool_key_list list;
    if (ages != NULL && take(pool, &conf, &list, ages) == ERROR_NONE)
        give_back(conf, &list);
    error_forget();
}

/* ---- an answer ------------------------------------------------------------------------------------------------------ */

static json_t *time_json(const struct key_age *age)
{
    return age == NULL ? json_null() : json_integer((json_int_t)age->seconds);
}

static const struct pool_key *data_key_of(const struct pool_key_list *list, const json_t *row)
{
    const char *device = json_string_value(json_object_get(row, "device"));
    json_int_t slot = json_integer_value(json_object_get(row, "slot"));
    for (size_t i = 0; i < list->key_count && device != NULL; i++)
        if (list->keys[i].kind == KEY_KIND_DEK && list->keys[i].slot == (uint64_t)slot &&
            strcmp(list->devices[list->keys[i].device].path, device) == 0)
            return &list->keys[i];
    return NULL;
}

static void data_keys_tell(const struct pool_key_list *list, const struct key_ages *ages, json_t *json)
{
    json_t *row;
    size_t i;
    char kcv[KCV_TEXT_SIZE];
    json_array_foreach(json_object_get(json, "data_keys"), i, row)
    {
        const struct pool_key *key = data_key_of(list, row);
        if (key == NULL)
            continue;
        kcv_format(key->kcv, kcv);
        json_object_set_new(row, "made", time_json(key_age_find(ages, KEY_AGE_DATA, list->devices[key->device].id, key->slot)));
        json_object_set_new(row, "kcv", json_string(kcv));
    }
}

static void retained_tell(const struct key_ages *ages, json_t *json)
{
    json_t *row;
    size_t i;
    json_array_foreach(json_object_get(json, "retained"), i, row)
    {
        struct uuid id;
        const char *text = json_string_value(json_object_get(row, "provider_id"));
        if (text != NULL && uuid_parse(text, &id) == ERROR_NONE)
            json_object_set_new(row, "made", time_json(key_age_find(ages, KEY_AGE_KEK, id,
                                                                    (uint64_t)json_integer_value(json_object_get(row, "kek_number")))));
    }
}

static void kcv_tell(json_t *json, const char *name, const struct witness_kcv *kcv)
{
    char text[KCV_TEXT_SIZE];
    if (!kcv->known)
        return;
    kcv_format(kcv->bytes, text);
    json_object_set_new(json, name, json_string(text));
}

static void keks_tell(const struct pool_conf *conf, const struct key_ages *ages, json_t *json)
{
    struct kek_expected expected;
    if (kek_expect(conf, NULL, &expected) != ERROR_NONE || !expected.in_force)
        return;
    struct uuid id = expected.provider->id;
    json_object_set_new(json, "kek_made", time_json(key_age_find(ages, KEY_AGE_KEK, id, expected.number)));
    kcv_tell(json, "kek_kcv", &expected.kek_kcv);
    kcv_tell(json, "root_kcv", &expected.root_kcv);
    if (expected.root_kcv.known)
        json_object_set_new(json, "root_made", time_json(key_age_find(ages, KEY_AGE_ROOT, id, kcv_number(expected.root_kcv.bytes))));
}

void key_age_tell(struct pool *pool, json_t *json)
{
    AUTO_FREE struct key_ages *ages = memory_zeroed(1, sizeof *ages);
    struct pool_conf *conf;
    struct pool_key_list list;
    if (ages != NULL && take(pool, &conf, &list, ages) == ERROR_NONE) {
        json_object_set_new(json, "pool_created", json_integer((json_int_t)list.created));
        json_object_set_new(json, "cryptoperiod", json_integer((json_int_t)conf->cryptoperiod));
        json_object_set_new(json, "rekey_every", json_integer((json_int_t)conf->rekey_every));
        data_keys_tell(&list, ages, json);
        retained_tell(ages, json);
        keks_tell(conf, ages, json);
        give_back(conf, &list);
    }
    error_forget();
}

/* ---- health --------------------------------------------------------------------------------------------------------- */

/* A deep rekey leaves an old key in use until nothing is under it, however long it is paused. */
uint64_t key_age_oldest(const struct key_ages *ages, const struct pool_key_list *list, const struct key_slot_info *slots,
                        size_t count)
{
    uint64_t oldest = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < list->device_count && slots[i].segments != 0; d++) {
            const struct key_age *age = strcmp(slots[i].device, list->devices[d].path) != 0
                                            ? NULL
                                            : key_age_find(ages, KEY_AGE_DATA, list->devices[d].id, slots[i].slot);
            if (age != NULL && (oldest == 0 || age->seconds < oldest))
                oldest = age->seconds;
        }
    return oldest;
}

static enum error see(struct pool *pool, struct key_ages *ages, struct key_age_facts *facts)
{
    AUTO_FREE struct key_slot_info *slots = NULL;
    size_t count;
    struct pool_key_list list;
    TRY(key_ages_load(pool_directory(pool), ages));
    TRY(pool_key_slots(pool, &slots, &count));
    TRY(pool_key_list(pool, &list));
    uint64_t oldest = key_age_oldest(ages, &list, slots, count);
    if (oldest != 0)
        facts->data = oldest;
    free(list.keys);
    free(list.devices);
    return ERROR_NONE;
}

void key_age_see(struct pool *pool, struct key_age_facts *facts)
{
    AUTO_FREE struct key_ages *ages = memory_zeroed(1, sizeof *ages);
    if (!facts->known || ages == NULL || see(pool, ages, facts) != ERROR_NONE)
        error_forget();
}

void key_age_look(const struct pool_conf *conf, struct key_age_facts *facts)
{
    AUTO_FREE struct key_ages *ages = memory_zeroed(1, sizeof *ages);
    *facts = (struct key_age_facts){.now = clock_seconds(), .period = conf->cryptoperiod};
    if (ages == NULL || conf->provider == NULL || key_ages_load(conf->directory, ages) != ERROR_NONE)
        return;
    for (size_t i = 0; i < ages->count; i++) {
        const struct key_age *age = &ages->items[i];
        if (age->kind == KEY_AGE_DATA && (facts->data == 0 || age->seconds < facts->data))
            facts->data = age->seconds;
        if (age->kind == KEY_AGE_ROOT)
            facts->root = age->seconds;
    }
    facts->known = facts->data != 0;
}

static bool is_over(const struct key_age_facts *age, uint64_t made)
{
    return made != 0 && ((age->now > made && age->now - made > age->period) || key_date_is_to_come(made, age->now));
}

void check_cryptoperiod(const struct health_facts *facts, struct finding *finding)
{
    const struct key_age_facts *age = &facts->age;
    char day[MOMENT_TEXT_SIZE], period[48];
    if (!facts->status->encryption) {
        finding_good(finding, "there is no key: the pool is not encrypted");
        return;
    }
    finding_good(finding, "since when there are root key and data keys is not known yet");
    if (!age->known)
        return;
    snprintf(finding->evidence, sizeof finding->evidence, "the oldest data key in use is of %s", moment_day(age->data, day));
    bool data = is_over(age, age->data);
    if (age->period == 0 || (!data && !is_over(age, age->root)))
        return;
    uint64_t made = data ? age->data : age->root;
    finding->severity = "warning";
    const char *what = data ? "data has been encrypted under one key" : "the root key has been the same";
    if (key_date_is_to_come(made, age->now))
        snprintf(finding->evidence, sizeof finding->evidence,
                 "%s since %s, which is still to come: a clock was wrong, and how long it was nobody knows", what,
                 moment_day(made, day));
    else
        snprintf(finding->evidence, sizeof finding->evidence,
                 "%s since %s, %llu days ago; coffer.conf allows %s (cryptoperiod)", what, moment_day(made, day),
                 (unsigned long long)((age->now - made) / DAY), period_format(age->period, period, sizeof period));
    bool begun = facts->deep.state == DEEP_REKEY_RUNNING || facts->deep.state == DEEP_REKEY_PAUSED;
    if (data && begun) /* another one would be refused */
        snprintf(finding->command, sizeof finding->command, "%s key %s", facts->self,
                 facts->deep.state == DEEP_REKEY_PAUSED ? "resume" : "status");
    else
        snprintf(finding->command, sizeof finding->command, "%s key rekey %s", facts->self, data ? "--deep" : "--shallow --new-root");
}
