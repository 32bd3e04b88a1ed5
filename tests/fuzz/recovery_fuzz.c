/*
 * Small files of the pool directory beside the key. The first byte chooses: 0: recovery.json, 1: the text of a recovery key,
 * 2: key-dates, 3: key-ages. What is taken can be written, and is then taken as the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/recovery.h"
#include "engine/pool/key_ages.h"
#include "engine/pool/key_dates.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void recovery_run(const char *text, size_t size)
{
    struct recovery once, twice;
    char again[RECOVERY_FILE_MAX];
    size_t again_size;
    if (recovery_decode(text, size, &once) != ERROR_NONE)
        return;
    ASSERT(recovery_encode(&once, again, &again_size) == ERROR_NONE);
    ASSERT(again_size == size && memcmp(again, text, size) == 0); /* it has one spelling */
    ASSERT(recovery_decode(again, again_size, &twice) == ERROR_NONE && memcmp(&once, &twice, sizeof once) == 0);
}

static void key_run(const char *text, size_t size)
{
    uint8_t once[KEY_SIZE], twice[KEY_SIZE];
    char again[RECOVERY_KEY_TEXT];
    if (recovery_key_parse(text, size, once) != ERROR_NONE)
        return;
    ASSERT(recovery_key_format(once, again) == ERROR_NONE);
    ASSERT(recovery_key_parse(again, strlen(again), twice) == ERROR_NONE && memcmp(once, twice, KEY_SIZE) == 0);
}

static void dates_run(const char *text, size_t size)
{
    struct key_dates once, twice;
    char again[2048];
    size_t again_size;
    if (key_dates_decode(text, size, &once) != ERROR_NONE)
        return;
    ASSERT(key_dates_encode(&once, again, sizeof again, &again_size) == ERROR_NONE);
    ASSERT(key_dates_decode(again, again_size, &twice) == ERROR_NONE && memcmp(&once, &twice, sizeof once) == 0);
}

static void ages_run(const char *text, size_t size)
{
    static struct key_ages once, twice;
    AUTO_FREE char *again = NULL;
    if (key_ages_decode(text, size, &once) != ERROR_NONE)
        return;
    ASSERT(key_ages_encode(&once, &again) == ERROR_NONE);
    ASSERT(key_ages_decode(again, strlen(again), &twice) == ERROR_NONE && twice.count == once.count);
    for (size_t i = 0; i < once.count; i++)
        ASSERT(once.items[i].kind == twice.items[i].kind && uuid_equal(once.items[i].id, twice.items[i].id) &&
               once.items[i].number == twice.items[i].number && once.items[i].seconds == twice.items[i].seconds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    error_forget();
    if (data[0] % 4 == 0)
        recovery_run(text, size - 1);
    else if (data[0] % 4 == 1)
        key_run(text, size - 1);
    else if (data[0] % 4 == 2)
        dates_run(text, size - 1);
    else
        ages_run(text, size - 1);
    return 0;
}
