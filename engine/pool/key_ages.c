/*
 * The ages of a pool's keys: lines of text, replaced as a whole under the lock of the pool directory. A crash leaves the old
 * file or the new one; a lost or damaged file is made anew with what is known otherwise, and makes a key look older, not
 * younger.
 */
#include "engine/pool/key_ages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/directory_lock.h"
#include "base/file.h"
#include "base/memory.h"

#define HEAD     "coffer key ages 1\n"
#define LINE_MAX 96
#define TEXT_MAX (sizeof HEAD + (size_t)KEY_AGES_MAX * LINE_MAX)

static const char *const kinds[KEY_AGE_KINDS] = {"root", "kek", "data", "tags", "pool"};

/* ---- text ------------------------------------------------------------------------------------------------------------ */

enum error key_ages_encode(const struct key_ages *ages, char **text)
{
    char *made = malloc(TEXT_MAX), id[UUID_TEXT_SIZE];
    if (made == NULL)
        return ERROR_NO_MEMORY;
    size_t used = (size_t)snprintf(made, TEXT_MAX, HEAD);
    for (size_t i = 0; i < ages->count; i++) {
        const struct key_age *age = &ages->items[i];
        uuid_format(age->id, id);
        used += (size_t)snprintf(made + used, TEXT_MAX - used, "%s %s %016" PRIx64 " %016" PRIx64 "\n", kinds[age->kind], id,
                                 age->number, age->seconds);
    }
    *text = made;
    return ERROR_NONE;
}

static bool kind_take(const char *word, enum key_age_kind *kind)
{
    for (size_t i = 0; i < KEY_AGE_KINDS; i++)
        if (strcmp(word, kinds[i]) == 0) {
            *kind = (enum key_age_kind)i;
            return true;
        }
    return false;
}

static bool line_take(const char *line, size_t size, struct key_age *age)
{
    char copy[LINE_MAX] = "", kind[8], id[UUID_TEXT_SIZE], number[17], seconds[17];
    int end = 0;
    if (size >= sizeof copy || memchr(line, '\0', size) != NULL)
        return false;
    memcpy(copy, line, size);
    if (sscanf(copy, "%7[a-z] %36[0-9a-f-] %16[0-9a-f] %16[0-9a-f]%n", kind, id, number, seconds, &end) != 4 || (size_t)end != size ||
        !kind_take(kind, &age->kind) || uuid_parse(id, &age->id) != ERROR_NONE)
        return false;
    age->number = strtoull(number, NULL, 16);
    age->seconds = strtoull(seconds, NULL, 16);
    return true;
}

static enum error body_decode(const char *at, const char *end, struct key_ages *ages)
{
    ages->count = 0;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL || ages->count == KEY_AGES_MAX || !line_take(at, (size_t)(line_end - at), &ages->items[ages->count]))
            return error_explain(ERROR_CORRUPT, "line %zu is no age of a key", ages->count + 2);
        ages->count++;
        at = line_end + 1;
    }
    return ERROR_NONE;
}

enum error key_ages_decode(const char *text, size_t size, struct key_ages *ages)
{
    size_t head = strlen(HEAD), name = head - strlen("1\n");
    if (size < head || memcmp(text, HEAD, name) != 0)
        return error_explain(ERROR_CORRUPT, "it does not begin as ages of keys do");
    if (memcmp(text, HEAD, head) != 0)
        return error_explain(ERROR_NEWER_FORMAT, "its format is unknown");
    return body_decode(text + head, text + size, ages);
}

/* ---- the file --------------------------------------------------------------------------------------------------------- */

static enum error load(const char *directory, struct key_ages *ages, bool *found)
{
    AUTO_FREE char *path = file_join(directory, KEY_AGES_NAME);
    AUTO_FREE void *text = NULL;
    size_t size;
    *found = false;
    ages->count = 0;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    enum error error = file_read(path, TEXT_MAX, &text, &size);
    if (error == ERROR_NOT_FOUND)
        return ERROR_NONE;
    TRY(error);
    error = key_ages_decode(text, size, ages);
    *found = error == ERROR_NONE;
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s", path);
}

enum error key_ages_load(const char *directory, struct key_ages *ages)
{
    bool found;
    return load(directory, ages, &found);
}

const struct key_age *key_age_find(const struct key_ages *ages, enum key_age_kind kind, struct uuid id, uint64_t number)
{
    for (size_t i = 0; i < ages->count; i++)
        if (ages->items[i].kind == kind && ages->items[i].number == number && uuid_equal(ages->items[i].id, id))
            return &ages->items[i];
    return NULL;
}

static enum error save(const char *directory, const struct key_ages *ages)
{
    AUTO_FREE char *path = file_join(directory, KEY_AGES_NAME);
    AUTO_FREE char *text = NULL;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(key_ages_encode(ages, &text));
    return file_replace(path, text, strlen(text));
}

static enum error note(const char *directory, struct key_ages *ages, struct key_ages *before)
{
    bool found;
    if (load(directory, before, &found) != ERROR_NONE)
        error_forget();
    bool changed = !found || before->count != ages->count;
    for (size_t i = 0; i < ages->count; i++) {
        struct key_age *age = &ages->items[i];
        const struct key_age *known = found ? key_age_find(before, age->kind, age->id, age->number) : NULL;
        if (found)
            age->seconds = known != NULL ? known->seconds : clock_seconds();
        changed |= known == NULL;
    }
    return changed ? save(directory, ages) : ERROR_NONE;
}

enum error key_ages_note(const char *directory, struct key_ages *ages)
{
    AUTO_FREE struct key_ages *before = memory_zeroed(1, sizeof *before);
    int lock;
    if (before == NULL)
        return ERROR_NO_MEMORY;
    TRY(directory_lock(directory, &lock));
    enum error error = note(directory, ages, before);
    directory_unlock(lock);
    return error;
}
