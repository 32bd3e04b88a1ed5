/*
 * One entry of the audit as a line of JSON and back. There is one way to write an entry: what is read is written again and
 * compared, so that a seal over the entry is one over the line. Pure functions.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/memory.h"
#include "engine/pool/audit.h"

#define SEAL_SIZE 32
#define TEXT_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)

static void json_scope(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(json_scope)))

static enum error damaged(void) { return error_explain(ERROR_CORRUPT, "it is not an entry of an audit"); }

/* The entry without its seal; NULL where there is no memory, or a text is not UTF-8. */
static json_t *entry_json(const struct pool_audit_entry *entry)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:I}", "number", (json_int_t)entry->number, "time",
                     (json_int_t)entry->time, "uid", (json_int_t)entry->uid, "pid", (json_int_t)entry->pid, "operation",
                     entry->operation, "target", entry->target, "key", entry->key, "result", entry->result, "pool_key",
                     (json_int_t)entry->pool_key);
}

enum error audit_seal(const uint8_t key[KEY_SIZE], const uint8_t before[SEAL_SIZE], const struct pool_audit_entry *entry,
                      uint8_t seal[SEAL_SIZE])
{
    uint8_t sealed[SEAL_SIZE + AUDIT_LINE_MAX];
    AUTO_JSON json_t *json = entry_json(entry);
    AUTO_FREE char *text = json ? json_dumps(json, TEXT_FLAGS) : NULL;
    if (!text)
        return ERROR_NO_MEMORY;
    size_t size = strlen(text);
    ASSERT(size <= AUDIT_LINE_MAX);
    memcpy(sealed, before, SEAL_SIZE);
    memcpy(sealed + SEAL_SIZE, text, size);
    return hmac_sha256(key, sealed, SEAL_SIZE + size, seal);
}

enum error audit_line_encode(const struct audit_line *line, char **text)
{
    char digits[HEX_TEXT_SIZE(SEAL_SIZE)];
    hex_format(line->seal, SEAL_SIZE, digits);
    AUTO_JSON json_t *json = entry_json(&line->entry);
    AUTO_FREE char *dumped =
        json && json_object_set_new(json, "seal", json_string(digits)) == 0 ? json_dumps(json, TEXT_FLAGS) : NULL;
    size_t size = dumped ? strlen(dumped) : 0;
    char *made = dumped ? malloc(size + 2) : NULL;
    if (!made)
        return ERROR_NO_MEMORY;
    memcpy(made, dumped, size);
    memcpy(made + size, "\n", 2);
    *text = made;
    return ERROR_NONE;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------- */

static bool take_number(const json_t *json, const char *name, uint64_t most, uint64_t *number)
{
    const json_t *member = json_object_get(json, name);
    json_int_t value = json_integer_value(member);
    *number = (uint64_t)value;
    return json_is_integer(member) && value >= 0 && (uint64_t)value <= most;
}

static bool take_text(const json_t *json, const char *name, char *text, size_t size)
{
    const json_t *member = json_object_get(json, name);
    size_t length = json_string_length(member);
    if (!json_is_string(member) || length >= size || memchr(json_string_value(member), '\0', length))
        return false;
    memcpy(text, json_string_value(member), length + 1);
    return true;
}

static bool take_seal(const json_t *json, uint8_t seal[SEAL_SIZE])
{
    const char *text = json_string_value(json_object_get(json, "seal"));
    return text && hex_parse(text, strlen(text), seal, SEAL_SIZE);
}

static bool take_fields(const json_t *json, struct audit_line *line)
{
    struct pool_audit_entry *entry = &line->entry;
    uint64_t uid, pid, pool_key;
    bool good = json_is_object(json) && take_number(json, "number", INT64_MAX, &entry->number) && entry->number > 0 &&
                take_number(json, "time", INT64_MAX, &entry->time) && take_number(json, "uid", UINT32_MAX, &uid) &&
                take_number(json, "pid", UINT32_MAX, &pid) &&
                take_text(json, "operation", entry->operation, sizeof entry->operation) &&
                take_text(json, "target", entry->target, sizeof entry->target) &&
                take_text(json, "key", entry->key, sizeof entry->key) &&
                take_text(json, "result", entry->result, sizeof entry->result) &&
                take_number(json, "pool_key", UINT8_MAX, &pool_key) && take_seal(json, line->seal);
    entry->uid = good ? (uint32_t)uid : 0;
    entry->pid = good ? (uint32_t)pid : 0;
    entry->pool_key = good ? (uint32_t)pool_key : 0;
    return good;
}

enum error audit_line_decode(const char *text, size_t size, struct audit_line *out)
{
    struct audit_line line = {0};
    if (size >= AUDIT_LINE_MAX)
        return damaged();
    AUTO_JSON json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (!take_fields(json, &line))
        return damaged();
    AUTO_FREE char *again = NULL;
    TRY(audit_line_encode(&line, &again));
    if (strlen(again) != size + 1 || memcmp(again, text, size) != 0)
        return damaged();
    *out = line;
    return ERROR_NONE;
}
