/*
 * The file of a KEK that is cached in the TPM. The first byte chooses: even: the file as it comes; odd: one that is whole, with
 * patches in its fields and a checksum that fits. What is taken is what would be written, and nothing vouches for it but its key.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/cached_key.h"
#include "tests/fuzz/patches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t kek[KEY_SIZE] = {7};

static struct cached_key whole(void)
{
    struct cached_key cached = {.pool = {{1}}, .provider = {{2}}, .name = "kms", .kek_number = 3, .fetched = 1800000000,
                                .key_id = "17"};
    cached.tpm.public_size = 78;
    cached.tpm.private_size = 160;
    memset(cached.tpm.private, 5, 160);
    ASSERT(cached_key_sign(&cached, kek) == ERROR_NONE);
    return cached;
}

/* It has one spelling. */
static void taken(const char *text, size_t size, const struct cached_key *once)
{
    struct cached_key twice;
    char again[CACHED_KEY_TEXT_MAX];
    size_t again_size;
    ASSERT(once->tpm.public_size > 0 && once->tpm.public_size <= TPM_PUBLIC_MAX);
    ASSERT(once->tpm.private_size > 0 && once->tpm.private_size <= TPM_PRIVATE_MAX);
    ASSERT(once->key_id[0] != '\0' && once->tpm.flags == 0);
    ASSERT(cached_key_encode(once, again, &again_size) == ERROR_NONE);
    ASSERT(again_size == size && memcmp(again, text, size) == 0);
    ASSERT(cached_key_decode(again, again_size, &twice) == ERROR_NONE && memcmp(once, &twice, sizeof twice) == 0);
}

static void raw_run(const char *text, size_t size)
{
    struct cached_key once;
    if (cached_key_decode(text, size, &once) == ERROR_NONE)
        taken(text, size, &once);
    else
        ASSERT(strlen(error_sentence(ERROR_CORRUPT)) > 0);
}

/* Texts end where they end: what lies behind is not of the file. */
static void text_end(char *text, size_t room)
{
    text[room - 1] = '\0';
    memset(text + strlen(text), 0, room - strlen(text));
}

/* What a file cannot say is left as it was. */
static void sanitize(struct cached_key *cached)
{
    text_end(cached->name, sizeof cached->name);
    for (char *c = cached->name; *c != '\0'; c++)
        *c = *c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '_' : *c;
    text_end(cached->key_id, sizeof cached->key_id);
    if (cached->key_id[0] == '\0')
        cached->key_id[0] = '1';
    struct tpm_sealed *tpm = &cached->tpm;
    tpm->public_size = 1 + (tpm->public_size - 1) % TPM_PUBLIC_MAX;
    tpm->private_size = 1 + (tpm->private_size - 1) % TPM_PRIVATE_MAX;
    memset(tpm->public + tpm->public_size, 0, TPM_PUBLIC_MAX - tpm->public_size);
    memset(tpm->private + tpm->private_size, 0, TPM_PRIVATE_MAX - tpm->private_size);
    tpm->flags = 0;
    memset(&tpm->binding, 0, sizeof tpm->binding);
}

/* The key vouches for what was written with it, and for nothing else. */
static void made_run(const uint8_t *data, size_t size)
{
    struct cached_key cached = whole(), found;
    const struct cached_key before = cached;
    char text[CACHED_KEY_TEXT_MAX], text_before[CACHED_KEY_TEXT_MAX];
    size_t text_size, size_before;
    patches_apply(data, size, 1, (uint8_t *)&cached, sizeof cached);
    sanitize(&cached);
    ASSERT(cached_key_encode(&before, text_before, &size_before) == ERROR_NONE);
    ASSERT(cached_key_encode(&cached, text, &text_size) == ERROR_NONE);
    ASSERT(cached_key_decode(text, text_size, &found) == ERROR_NONE);
    taken(text, text_size, &found);
    bool same = text_size == size_before && memcmp(text, text_before, text_size) == 0;
    ASSERT((cached_key_verify(&found, kek) == ERROR_NONE) == same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        raw_run((const char *)data + 1, size - 1);
    else
        made_run(data + 1, size - 1);
    return 0;
}
