/*
 * Fuzzes the control socket's requests, from the bytes of a line to the line that answers it. Whatever comes in, there
 * is an answer, it is one line of JSON, and it has either a result or an error. An input has some lines, each a request at what
 * the ones before left.
 *
 * The engine is that of tests/unit/control_fake.h. What a method does behind its parameters with files, the kernel and key
 * servers is the target's own (--wrap) and gives what a pool in order would: coffer.conf is one that was parsed at the begin. A
 * backup of a key is taken where it begins with a byte of its own; its decoding has a target (key_backup_fuzz).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/recovery.h"
#include "engine/pool/conf.h"
#include "engine/pool/key_ages.h"
#include "engine/pool/key_backup.h"
#include "server/health.h"
#include "server/methods.h"
#include "tests/unit/control_fake.h"

#define LINES_MAX 4 /* each adds an object at most, and some snapshots */
#define POOL      1 /* in the place of a UUID: */
#define PROVIDER  2
#define BACKUP_OF_THIS 'k'

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
struct uuid __wrap_uuid_random(void);
enum error __wrap_pool_conf_read(const char *directory, struct pool_conf **conf);
void __wrap_pool_conf_destroy(struct pool_conf *conf);
enum error __wrap_key_ages_load(const char *directory, struct key_ages *ages);
enum error __wrap_key_backup_decode(const void *data, size_t size, const struct provider_secret *password,
                                    struct key_backup **backup);
enum error __wrap_recovery_load(const char *directory, struct recovery *recovery);
enum error __wrap_recovery_unwrap(const struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE], uint8_t key[KEY_SIZE]);
void __wrap_health_facts_gather(struct health_facts *facts, const char *directory);
void __wrap_key_care_tell(const char *directory, json_t *json);
void __wrap_key_care_note_change(const char *directory);
void __wrap_key_age_tell(struct pool *pool, json_t *json);
void __wrap_key_age_see(struct pool *pool, struct key_age_facts *facts);
void __wrap_key_cached_tell(struct pool *pool, json_t *json);
void __wrap_kms_cycle_look(struct pool *pool, struct kms_cycle_facts *facts);

static const char conf_text[] = "[pool]\nuuid = a46a99b4-6c49-4d33-bfd0-c573860e1650\nfingerprint = xxh3\nencryption = on\n"
                                "provider = native\n"
                                "[provider native]\nid = 02000000-0000-0000-0000-000000000000\ntype = native\nseal = file\n"
                                "path = native.key\n"
                                "[provider kms]\nid = 5e5d2c90-36cd-4a6f-a0b8-5d3d71ce731f\ntype = kmip\nservers = kms.example\n"
                                "certificate = c.pem\nkey = k.pem\nca = ca.pem\n"
                                "[group g1]\nuuid = f1226d3a-050f-43d6-8907-b483fbe09a19\ndevices = disk\n"
                                "device-ids = 572d2016-7ff4-48b0-85d1-21765c4b26af\n";
static struct pool_conf *conf;
static struct pool *asked, fresh; /* as it is before the first request; to make it each time would take longer than the rest */
static uint8_t uuids, begin_uuids;

/* ---- what stands behind the methods -------------------------------------------------------------------------------------- */

struct uuid __wrap_uuid_random(void)
{
    return (struct uuid){{++uuids}};
}

enum error __wrap_pool_conf_read(const char *directory, struct pool_conf **read)
{
    (void)directory;
    *read = conf;
    return ERROR_NONE;
}

void __wrap_pool_conf_destroy(struct pool_conf *read)
{
    ASSERT(read == conf);
}

enum error __wrap_key_ages_load(const char *directory, struct key_ages *ages)
{
    (void)directory;
    ages->count = 1;
    ages->items[0] = (struct key_age){.kind = KEY_AGE_DATA, .id = {{7}}, .number = 1, .seconds = 1796000000};
    return ERROR_NONE;
}

enum error __wrap_key_backup_decode(const void *data, size_t size, const struct provider_secret *password,
                                    struct key_backup **backup)
{
    ASSERT(password->passphrase != NULL);
    if (size == 0 || *(const char *)data != BACKUP_OF_THIS)
        return error_explain(ERROR_CORRUPT, "it is no backup");
    struct key_backup *made = arena_allocate(sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    *made = (struct key_backup){.pool = {{size == 1 ? POOL : 0}}};
    *backup = made;
    return ERROR_NONE;
}

enum error __wrap_recovery_load(const char *directory, struct recovery *recovery)
{
    (void)directory;
    *recovery = (struct recovery){.pool = {{POOL}}, .provider = {{PROVIDER}}};
    return ERROR_NONE;
}

enum error __wrap_recovery_unwrap(const struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE], uint8_t key[KEY_SIZE])
{
    (void)recovery;
    memcpy(key, recovery_key, KEY_SIZE);
    return recovery_key[0] == 0 ? ERROR_NONE : ERROR_WRONG_KEY;
}

void __wrap_health_facts_gather(struct health_facts *facts, const char *directory)
{
    (void)directory;
    facts->looked = true;
    facts->swap_plaintext = true;
}

void __wrap_key_care_tell(const char *directory, json_t *json)
{
    (void)directory, (void)json;
}

void __wrap_key_care_note_change(const char *directory)
{
    (void)directory;
}

void __wrap_key_age_tell(struct pool *pool, json_t *json)
{
    (void)pool, (void)json;
}

void __wrap_key_age_see(struct pool *pool, struct key_age_facts *facts)
{
    (void)pool, (void)facts;
}

void __wrap_key_cached_tell(struct pool *pool, json_t *json)
{
    (void)pool, (void)json;
}

void __wrap_kms_cycle_look(struct pool *pool, struct kms_cycle_facts *facts)
{
    (void)pool, (void)facts;
}

/* ---- the pool ------------------------------------------------------------------------------------------------------------- */

/* A disk with a snapshot, from which it differs, and with damage; another in the trash. */
static void pool_make(void)
{
    static const char *const names[] = {"a"};
    struct pool *pool = fake_create(); /* whose UUID is POOL */
    fake_add(pool, "a", 8192);
    fake_add(pool, "b", 8192)->deleted = 1;
    ASSERT(object_snapshot(pool, names, 1, "s", false, 0) == ERROR_NONE);
    pool->changes[0] = (struct change_extent){4096, CHANGE_DATA};
    pool->change_count = 1;
    pool->damages[0] = (struct damage_info){.kind = "blocks", .object = "a", .length = 4096, .device = "/nowhere/disk0",
                                            .sentence = "changed"};
    pool->damage_count = 1;
    fresh = *pool;
    asked = pool;
    begin_uuids = uuids;
}

/* To parse an answer again costs as much as all else: one in eight is. */
static void check(const char *answer)
{
    static const char begin[] = "{\"jsonrpc\":\"2.0\",\"id\":";
    size_t length = strlen(answer);
    ASSERT(strchr(answer, '\n') == answer + length - 1 && strncmp(answer, begin, strlen(begin)) == 0);
    if (length % 8 != 0)
        return;
    json_t *json = json_loads(answer, 0, NULL);
    ASSERT((json_object_get(json, "result") == NULL) != (json_object_get(json, "error") == NULL));
    json_decref(json);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    ASSERT(pool_conf_parse("/pool", conf_text, &conf) == ERROR_NONE);
    pool_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct methods methods = {.pool = asked};
    const char *at = (const char *)data, *end = at + size;
    *asked = fresh;
    uuids = begin_uuids;
    mutex_init(&methods.trash, RANK_CONTROL);
    for (unsigned lines = 0; lines < LINES_MAX && (at < end || lines == 0); lines++) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL, *next = newline != NULL ? newline : end;
        char *answer = methods_answer(&methods, ROLE_ALL, at, (size_t)(next - at));
        ASSERT(answer != NULL);
        check(answer);
        free(answer);
        at = next + (newline != NULL);
    }
    mutex_deinit(&methods.trash);
    return 0;
}
