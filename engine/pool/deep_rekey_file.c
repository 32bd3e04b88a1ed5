/*
 * The file `deep-rekey` of a pool directory: what a person said to the deep rekey that is under way, its rate and whether it is
 * paused, so that a restart obeys it too. How far it is stands in the segment table, not here. The orders name the data key
 * that the job brings, so those of another job are none.
 *
 * It has no MAC: who can write the pool directory can pause a job by it, and stop the pool by other means. A file that cannot be
 * understood, or that is gone, costs the orders alone: the job goes on, as fast as it may.
 *
 * Written before the superblocks name the key that it speaks of, so no job is there without its orders; orders without a job are
 * obeyed by none. Replaced as a whole, so a crash leaves the old orders or the new. Under pool->lock, or by the thread that
 * opens the pool; it is taken away by the job's thread at its end, and by who begins a job that has no orders, or could not begin.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/flat_json.h"
#include "engine/pool/deep_rekey.h"

#define VERSION  1
#define TEXT_MAX 256

/* Hexadecimal digits, as many as there are. */
static enum error digits_take(struct flat_object *object, const char *name, size_t count, uint64_t *value)
{
    struct flat_text text;
    char digits[17] = "", *end;
    TRY(flat_text_take(object, name, &text));
    if (text.size == count)
        memcpy(digits, text.start, count);
    *value = strtoull(digits, &end, 16);
    return text.size == count && end == digits + count ? ERROR_NONE : error_explain(ERROR_CORRUPT, "\"%s\" is no number", name);
}

static enum error decode(const char *text, size_t size, struct deep_rekey_orders *orders)
{
    struct flat_object object;
    uint32_t version, paused;
    uint64_t job, rate;
    TRY(flat_object_parse(text, size, &object));
    TRY(flat_number_take(&object, "version", &version));
    if (version != VERSION)
        return error_explain(version > VERSION ? ERROR_NEWER_FORMAT : ERROR_CORRUPT, "format %" PRIu32 " is unknown", version);
    TRY(digits_take(&object, "data_key", 8, &job));
    TRY(digits_take(&object, "rate", 16, &rate));
    TRY(flat_number_take(&object, "paused", &paused));
    TRY(flat_object_finish(&object));
    *orders = (struct deep_rekey_orders){(uint32_t)job, rate, paused != 0};
    return rate == 0 || rate >= DEEP_REKEY_RATE_MIN ? ERROR_NONE : error_explain(ERROR_CORRUPT, "the rate is too low");
}

static enum error load(const char *path, struct deep_rekey_orders *orders)
{
    AUTO_FREE void *text = NULL;
    size_t size;
    TRY(file_read(path, TEXT_MAX, &text, &size));
    return decode(text, size, orders);
}

bool deep_rekey_orders_load(const char *directory, uint32_t data_key, struct deep_rekey_orders *orders)
{
    AUTO_FREE char *path = file_join(directory, DEEP_REKEY_NAME);
    struct deep_rekey_orders found;
    enum error error = path ? load(path, &found) : ERROR_NO_MEMORY;
    if (error && error != ERROR_NOT_FOUND)
        message(MESSAGE_WARNING, "%s/%s: %s: the deep rekey goes on as fast as it may", directory, DEEP_REKEY_NAME,
                error_sentence(error));
    error_forget();
    if (error || found.data_key != data_key)
        return false;
    *orders = found;
    return true;
}

enum error deep_rekey_orders_save(const char *directory, const struct deep_rekey_orders *orders)
{
    AUTO_FREE char *path = file_join(directory, DEEP_REKEY_NAME);
    char text[TEXT_MAX];
    if (!path)
        return ERROR_NO_MEMORY;
    int size = snprintf(text, sizeof text,
                        "{\n  \"version\": %d,\n  \"data_key\": \"%08" PRIx32 "\",\n"
                        "  \"rate\": \"%016" PRIx64 "\",\n  \"paused\": %d\n}\n",
                        VERSION, orders->data_key, orders->rate, orders->paused);
    return file_replace(path, text, (size_t)size);
}

enum error deep_rekey_orders_begin(const char *directory, const struct deep_rekey_orders *orders)
{
    AUTO_FREE char *path = file_join(directory, DEEP_REKEY_NAME);
    if (!path)
        return ERROR_NO_MEMORY;
    bool none = orders->rate == 0 && access(path, F_OK) != 0 && errno == ENOENT;
    return none ? ERROR_NONE : deep_rekey_orders_save(directory, orders);
}

void deep_rekey_orders_forget(const char *directory)
{
    AUTO_FREE char *path = file_join(directory, DEEP_REKEY_NAME);
    if (path && unlink(path) != 0 && errno != ENOENT)
        message(MESSAGE_WARNING, "%s cannot be removed: %s; no other deep rekey obeys it", path, strerror(errno));
}
