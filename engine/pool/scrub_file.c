/*
 * The file `scrub` of the pool directory: where the scrub is, how the last one ended, and what is known to be damaged.
 *
 * Why a file and not the catalog: it is written every half minute while a scrub runs, and at any time something is
 * found. In the catalog each of that would be a commit, a flush and a merge of a pool that may be full or may be what
 * is damaged. It says nothing that cannot be found again: where it is lost, or is not this pool's, the next scrub
 * begins anew; where an older one was put back, what it names is verified again. It is replaced as a whole, so a crash
 * leaves the old or the new one, and what was verified since the old one is verified once more.
 *
 * It holds numbers of components and places, never names or contents. An HMAC over its canonical text, under a key of
 * the pool, keeps others from hiding damage in it; and no number is believed before its range was checked. Locks: none
 * of its own; the scrub's thread reads and writes it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/kdf.h"
#include "engine/pool/scrub.h"

#define SCRUB_VERSION  1
#define SCRUB_SIZE_MAX (1u << 20) /* DAMAGES_MAX rows of ROW_SAVED numbers are a fifth of it */
#define MAC_SIZE       32
#define CANONICAL      (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII)
#define ROW_SAVED      13

static void json_scope(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(json_scope)))

/* ---- rows ----------------------------------------------------------------------------------------------------- */

enum row_flag { ROW_LOST = 1, ROW_BY_SCRUB = 2, ROW_NAMED = 4, ROW_TOLD = 8 };

static json_t *row_json(const struct damage *row)
{
    int flags = (row->lost ? ROW_LOST : 0) | (row->by_scrub ? ROW_BY_SCRUB : 0) | (row->named ? ROW_NAMED : 0) |
                (row->told ? ROW_TOLD : 0);
    return json_pack("[i, i, i, i, I, I, I, I, i, i, i, I, I]", row->kind, row->fault, row->level, flags,
                     (json_int_t)row->owner, (json_int_t)row->first, (json_int_t)row->end, (json_int_t)row->serial,
                     (int)row->offset, (int)row->device, (int)row->slot, (json_int_t)row->found, (json_int_t)row->pass);
}

static bool row_numbers(const json_t *json, uint64_t numbers[ROW_SAVED], size_t count)
{
    if (json_array_size(json) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_integer(number) || json_integer_value(number) < 0)
            return false;
        numbers[i] = (uint64_t)json_integer_value(number);
    }
    return true;
}

static bool row_parse(const json_t *json, struct damage *row)
{
    uint64_t n[ROW_SAVED];
    if (!row_numbers(json, n, ROW_SAVED) || n[0] == 0 || n[0] >= DAMAGE_KINDS || n[1] == 0 || n[1] >= DAMAGE_FAULTS ||
        n[2] >= NODE_LEVELS_MAX || n[3] > (ROW_LOST | ROW_BY_SCRUB | ROW_NAMED | ROW_TOLD) || n[5] >= n[6] ||
        n[6] > OBJECT_SIZE_MAX / COFFER_BLOCK || n[7] > SERIAL_MAX || n[8] >= 1u << 27 || n[9] >= GROUP_DEVICES ||
        n[10] >= SLOTS_MAX)
        return false;
    *row = (struct damage){
        .kind = (uint8_t)n[0],
        .fault = (uint8_t)n[1],
        .level = (uint8_t)n[2],
        .lost = n[3] & ROW_LOST,
        .by_scrub = n[3] & ROW_BY_SCRUB,
        .named = n[3] & ROW_NAMED,
        .told = n[3] & ROW_TOLD,
        .owner = n[4],
        .first = n[5],
        .end = n[6],
        .serial = n[7],
        .offset = (uint32_t)n[8],
        .device = (uint32_t)n[9],
        .slot = (uint32_t)n[10],
        .found = n[11],
        .pass = n[12],
    };
    return true;
}

/* ---- the job -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t offset;
} job_numbers[] = {
    {"part", offsetof(struct scrub_job, part)},
    {"at", offsetof(struct scrub_job, at)},
    {"pass", offsetof(struct scrub_job, pass)},
    {"started", offsetof(struct scrub_job, started)},
    {"rate", offsetof(struct scrub_job, rate)},
    {"bytes", offsetof(struct scrub_job, bytes)},
    {"bytes_before_chunks", offsetof(struct scrub_job, bytes_before_chunks)},
    {"nanoseconds", offsetof(struct scrub_job, nanoseconds)},
    {"completed", offsetof(struct scrub_job, completed)},
    {"completed_bytes", offsetof(struct scrub_job, completed_bytes)},
    {"completed_seconds", offsetof(struct scrub_job, completed_seconds)},
    {"completed_damages", offsetof(struct scrub_job, completed_damages)},
};

static enum error damaged(const char *what)
{
    return error_explain(ERROR_CORRUPT, "\"%s\" is missing or not as it should be", what);
}

static enum error get_number(const json_t *root, const char *name, uint64_t *number)
{
    const json_t *member = json_object_get(root, name);
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return damaged(name);
    *number = (uint64_t)json_integer_value(member);
    return ERROR_NONE;
}

static enum error job_parse(const json_t *root, struct scrub_job *job)
{
    uint64_t state, step;
    TRY(get_number(root, "state", &state));
    TRY(get_number(root, "step", &step));
    if (state > SCRUB_COMPLETE || step >= SCRUB_STEPS)
        return damaged("state");
    job->state = (enum scrub_state)state;
    job->step = (enum scrub_step)step;
    for (size_t i = 0; i < COUNT_OF(job_numbers); i++)
        TRY(get_number(root, job_numbers[i].name, (uint64_t *)((char *)job + job_numbers[i].offset)));
    return job->rate == 0 || job->rate >= SCRUB_RATE_MIN ? ERROR_NONE : damaged("rate");
}

static json_t *job_json(const struct scrub_job *job)
{
    json_t *root = json_pack("{s:i, s:i, s:i}", "version", SCRUB_VERSION, "state", job->state, "step", job->step);
    for (size_t i = 0; i < COUNT_OF(job_numbers); i++) {
        uint64_t number;
        memcpy(&number, (const char *)job + job_numbers[i].offset, sizeof number);
        json_object_set_new(root, job_numbers[i].name, json_integer((json_int_t)number));
    }
    return root;
}

/* ---- the seal ------------------------------------------------------------------------------------------------- */

static enum error seal_make(const uint8_t key[KEY_SIZE], const json_t *root, char text[HEX_TEXT_SIZE(MAC_SIZE)])
{
    uint8_t mac[MAC_SIZE];
    AUTO_FREE char *canonical = json_dumps(root, CANONICAL);
    if (!canonical)
        return ERROR_NO_MEMORY;
    TRY(hmac_sha256(key, canonical, strlen(canonical), mac));
    hex_format(mac, MAC_SIZE, text);
    return ERROR_NONE;
}

/* Under the K_pool that it names, which may be an older one until the superblocks demand the current one. */
static enum error seal_under(const struct scrub *scrub, const json_t *root, uint64_t number, char text[HEX_TEXT_SIZE(MAC_SIZE)])
{
    const struct pool *pool = scrub->pool;
    const uint8_t *k_pool = k_pools_taken(pool->k_pools, number);
    uint8_t key[KEY_SIZE];
    if (!k_pool)
        return k_pools_explain(pool->k_pools, "it", number);
    TRY(scrub_key_derive(k_pool, pool->conf->pool, key));
    enum error error = seal_make(key, root, text);
    memory_cleanse(key, sizeof key);
    return error;
}

static enum error seal_check(struct scrub *scrub, json_t *root)
{
    char made[HEX_TEXT_SIZE(MAC_SIZE)], stated[HEX_TEXT_SIZE(MAC_SIZE)] = "";
    const char *text = json_string_value(json_object_get(root, "mac"));
    uint64_t number;
    if (!text || strlen(text) != 2 * MAC_SIZE)
        return damaged("mac");
    memcpy(stated, text, 2 * MAC_SIZE);
    json_object_del(root, "mac");
    TRY(get_number(root, "pool_key", &number));
    TRY(seal_under(scrub, root, number, made));
    if (memory_compare_constant_time(made, stated, 2 * MAC_SIZE) != 0)
        return error_explain(ERROR_FORGED, "it was changed, or is of another pool: its seal does not fit");
    scrub->file_key = (uint32_t)number;
    return ERROR_NONE;
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

static enum error rows_restore(struct scrub *scrub, const json_t *root)
{
    const json_t *rows = json_object_get(root, "damages"), *row;
    size_t i;
    if (!json_is_array(rows) || json_array_size(rows) > DAMAGES_MAX)
        return damaged("damages");
    json_array_foreach((json_t *)rows, i, row)
    {
        struct damage damage;
        if (!row_parse(row, &damage))
            return damaged("damages");
        (void)damages_restore(scrub->pool->damages, &damage);
    }
    return ERROR_NONE;
}

static enum error text_parse(struct scrub *scrub, const void *bytes, size_t size, struct scrub_job *job)
{
    json_error_t fault;
    uint64_t version;
    AUTO_JSON json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(root))
        return error_explain(ERROR_CORRUPT, "it is not the JSON that it should be");
    TRY(seal_check(scrub, root));
    TRY(get_number(root, "version", &version));
    if (version != SCRUB_VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "it is of version %" PRIu64 ", this Coffer knows %d", version,
                             SCRUB_VERSION);
    TRY(job_parse(root, job));
    TRY(rows_restore(scrub, root));
    bool more = json_is_true(json_object_get(root, "more"));
    damages_set_pass(scrub->pool->damages, job->pass, job->state == SCRUB_RUNNING || job->state == SCRUB_PAUSED, false);
    if (more)
        damages_set_more(scrub->pool->damages);
    return ERROR_NONE;
}

enum error scrub_load(struct scrub *scrub)
{
    AUTO_FREE void *bytes = NULL;
    struct scrub_job job = {0};
    size_t size;
    TRY(file_read(scrub->path, SCRUB_SIZE_MAX, &bytes, &size));
    enum error error = text_parse(scrub, bytes, size, &job);
    if (error) {
        damages_clear(scrub->pool->damages);
        return error_prefix(error, "%s", scrub->path);
    }
    scrub->job = job;
    return ERROR_NONE;
}

static json_t *rows_json(const struct damage *rows, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, row_json(&rows[i]));
    return array;
}

/* With what it is to be sealed, also if another key comes meanwhile. Before it is there, what is not under that one is the file of
 * before. */
static uint32_t key_copy(struct scrub *scrub, uint8_t key[KEY_SIZE])
{
    mutex_lock(&scrub->mutex);
    memcpy(key, scrub->key, KEY_SIZE);
    uint32_t number = scrub->pool_key;
    if (scrub->file_key == 0)
        scrub->file_key = number;
    mutex_unlock(&scrub->mutex);
    return number;
}

static enum error text_make(struct scrub *scrub, json_t *root, uint32_t *number, char **text)
{
    char seal[2 * MAC_SIZE + 1];
    uint8_t key[KEY_SIZE];
    *number = key_copy(scrub, key);
    enum error error = json_object_set_new(root, "pool_key", json_integer(*number)) != 0 ? ERROR_NO_MEMORY
                                                                                          : seal_make(key, root, seal);
    memory_cleanse(key, sizeof key);
    TRY(error);
    if (json_object_set_new(root, "mac", json_string(seal)) != 0 || json_object_size(root) != 3 + COUNT_OF(job_numbers) + 4)
        return ERROR_NO_MEMORY;
    *text = json_dumps(root, CANONICAL);
    return *text ? ERROR_NONE : ERROR_NO_MEMORY;
}

enum error scrub_save(struct scrub *scrub, const struct scrub_job *job)
{
    AUTO_FREE struct damage *rows = NULL;
    AUTO_FREE char *text = NULL;
    uint32_t number;
    size_t count;
    bool more;
    TRY(damages_copy(scrub->pool->damages, true, &rows, &count, &more));
    AUTO_JSON json_t *root = job_json(job);
    json_t *array = rows_json(rows, count);
    if (json_array_size(array) != count || json_object_set_new(root, "damages", array) != 0 ||
        json_object_set_new(root, "more", json_boolean(more)) != 0)
        return ERROR_NO_MEMORY;
    TRY(text_make(scrub, root, &number, &text));
    TRY(file_replace(scrub->path, text, strlen(text)));
    mutex_lock(&scrub->mutex);
    scrub->file_key = number;
    mutex_unlock(&scrub->mutex);
    return ERROR_NONE;
}
