/*
 * The dates of a pool's key: a flat JSON object, replaced as a whole. Two writers (the daemon after a change of keys, the
 * admin command after a backup) each read, change and replace it under the lock of the pool directory (base/directory_lock.h);
 * a crash leaves the old or the new file. A file that cannot be understood counts as none: the price is a
 * reminder too many.
 */
#include "engine/pool/key_dates.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/directory_lock.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/flat_json.h"
#include "crypto/provider_key.h"
#include "crypto/provider_root.h"
#include "crypto/sealed_key.h"
#include "engine/pool/witness.h"

#define VERSION       1
#define TEXT_MAX      2048
#define NUMBER_DIGITS 16

static const char *const names[] = {"change", "backup", "drill", "recovery"};

static struct key_date *date_of(struct key_dates *dates, size_t i)
{
    struct key_date *const all[] = {&dates->change, &dates->backup, &dates->drill, &dates->recovery};
    return all[i];
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

/* Of each date one text: seconds, provider, number of the KEK, KCV. */
static int date_print(const struct key_date *date, const char *name, char *text, size_t room)
{
    char provider[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE];
    uuid_format(date->key.provider, provider);
    kcv_format(date->key.kcv, kcv);
    return snprintf(text, room, ",\n  \"%s\": \"%016" PRIx64 " %s %016" PRIx64 " %s\"", name, date->seconds, provider,
                    date->key.number, kcv);
}

enum error key_dates_encode(const struct key_dates *dates, char *text, size_t room, size_t *size)
{
    struct key_dates all = *dates;
    int used = snprintf(text, room, "{\n  \"version\": %d", VERSION);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        used += date_print(date_of(&all, i), names[i], text + used, room - (size_t)used);
    used += snprintf(text + used, room - (size_t)used, "\n}\n");
    if ((size_t)used >= room)
        return ERROR_TOO_LARGE;
    *size = (size_t)used;
    return ERROR_NONE;
}

static enum error date_take(struct flat_object *object, const char *name, struct key_date *date)
{
    struct flat_text text;
    char line[128] = "", seconds[NUMBER_DIGITS + 1], provider[UUID_TEXT_SIZE], number[NUMBER_DIGITS + 1], kcv[NUMBER_DIGITS + 1];
    int end = 0;
    TRY(flat_text_take(object, name, &text));
    if (text.size < sizeof line)
        memcpy(line, text.start, text.size);
    if (sscanf(line, "%16[0-9a-f] %36[0-9a-f-] %16[0-9a-f] %16[0-9a-f]%n", seconds, provider, number, kcv, &end) != 4 ||
        (size_t)end != text.size || !hex_parse(kcv, strlen(kcv), date->key.kcv, KCV_SIZE) ||
        uuid_parse(provider, &date->key.provider) != ERROR_NONE)
        return error_explain(ERROR_CORRUPT, "\"%s\" is no date of a key", name);
    date->seconds = strtoull(seconds, NULL, 16);
    date->key.number = strtoull(number, NULL, 16);
    return ERROR_NONE;
}

enum error key_dates_decode(const char *text, size_t size, struct key_dates *dates)
{
    struct flat_object object;
    struct key_dates found = {0};
    uint32_t version;
    TRY(flat_object_parse(text, size, &object));
    TRY(flat_number_take(&object, "version", &version));
    if (version != VERSION)
        return error_explain(version > VERSION ? ERROR_NEWER_FORMAT : ERROR_CORRUPT, "format %" PRIu32 " is unknown", version);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        TRY(date_take(&object, names[i], date_of(&found, i)));
    TRY(flat_object_finish(&object));
    *dates = found;
    return ERROR_NONE;
}

/* ---- the file --------------------------------------------------------------------------------------------------------- */

enum error key_dates_load(const char *directory, struct key_dates *dates)
{
    AUTO_FREE char *path = file_join(directory, KEY_DATES_NAME);
    AUTO_FREE void *text = NULL;
    size_t size;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    enum error error = file_read(path, TEXT_MAX, &text, &size);
    if (error == ERROR_NOT_FOUND) {
        *dates = (struct key_dates){0};
        return ERROR_NONE;
    }
    TRY(error);
    error = key_dates_decode(text, size, dates);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s", path);
}

static enum error save(const char *directory, const struct key_dates *dates)
{
    AUTO_FREE char *path = file_join(directory, KEY_DATES_NAME);
    char text[TEXT_MAX];
    size_t size;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(key_dates_encode(dates, text, sizeof text, &size));
    return file_replace(path, text, size);
}

static void load_or_begin_anew(const char *directory, struct key_dates *dates)
{
    if (key_dates_load(directory, dates) == ERROR_NONE)
        return;
    error_forget();
    *dates = (struct key_dates){0};
}

static enum error change(const char *directory, size_t which, const struct key_name *key)
{
    struct key_dates dates;
    load_or_begin_anew(directory, &dates);
    *date_of(&dates, which) = (struct key_date){*key, clock_seconds()};
    return save(directory, &dates);
}

enum error key_dates_record(const char *directory, enum key_event event, const struct key_name *key)
{
    int lock;
    TRY(directory_lock(directory, &lock));
    enum error error = change(directory, 1 + (size_t)event, key);
    directory_unlock(lock);
    return error;
}

/* ---- the key in force ------------------------------------------------------------------------------------------------- */

/* The check value in the clear of a key file, whatever seals it. */
static bool kcv_of_file(const char *path, uint8_t kcv[KCV_SIZE])
{
    struct sealed_key sealed;
    void *text = NULL;
    size_t size;
    if (file_read_private(path, SEALED_KEY_TEXT_MAX, &text, &size) != ERROR_NONE)
        return false;
    bool sound = sealed_key_decode(text, size, &sealed) == ERROR_NONE;
    memory_free_cleansed(text);
    if (sound)
        memcpy(kcv, sealed.kcv, KCV_SIZE);
    memory_cleanse(&sealed, sizeof sealed);
    return sound;
}

/* The file may be gone, or an old one put back: it is asked only where the witness does not know. */
static void kcv_look(const struct provider_config *provider, const struct witness_kcv *seen, struct key_present *present)
{
    struct provider_root root;
    if (provider_keeps_keks(provider, &present->keeps_keks) != ERROR_NONE || present->keeps_keks)
        return;
    if (seen->known) {
        memcpy(present->key.kcv, seen->bytes, KCV_SIZE);
        present->kcv_known = true;
        return;
    }
    present->kcv_known = provider_root_choose(provider, present->key.number, &root) == ERROR_NONE &&
                         kcv_of_file(root.config.path, present->key.kcv);
}

void key_present_look(const struct pool_conf *conf, struct key_present *present)
{
    struct witness *witness;
    struct witness_kcv seen = {0};
    *present = (struct key_present){0};
    if (conf->provider != NULL && witness_load(conf->directory, conf->pool, &witness) == ERROR_NONE) {
        present->known = uuid_equal(witness->provider, conf->provider->id);
        present->key.provider = witness->provider;
        present->key.number = witness->kek_number;
        seen = witness->root_kcv;
        witness_destroy(witness);
    }
    if (present->known)
        kcv_look(conf->provider, &seen, present);
    error_forget();
}

bool key_present_is(const struct key_present *present, const struct key_name *key)
{
    if (!present->known)
        return true;
    if (!uuid_equal(present->key.provider, key->provider))
        return false;
    if (present->keeps_keks)
        return present->key.number == key->number;
    return !present->kcv_known || memcmp(present->key.kcv, key->kcv, KCV_SIZE) == 0;
}

static enum error note_change(const char *directory, const struct key_name *key)
{
    struct key_dates dates;
    load_or_begin_anew(directory, &dates);
    bool same = dates.change.seconds != 0 && uuid_equal(dates.change.key.provider, key->provider) &&
                dates.change.key.number == key->number;
    return same ? ERROR_NONE : change(directory, 0, key);
}

enum error key_dates_note_change(const char *directory, const struct pool_conf *conf)
{
    struct key_present present;
    int lock;
    key_present_look(conf, &present);
    if (!present.known)
        return ERROR_NONE;
    TRY(directory_lock(directory, &lock));
    enum error error = note_change(directory, &present.key);
    directory_unlock(lock);
    return error;
}
