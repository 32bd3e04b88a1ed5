/*
 * What the native provider reads of a file: key files with all seals, and passphrases. The first byte chooses: bits 0
 * and 1: a key file as it comes, one whose fields come and whose checksum is made, patches to a valid one, a
 * passphrase; bits 2 and 4: the seal asked for; bit 3: of a made one, the check value fits as well. scrypt, which takes a
 * tenth of a second, is replaced (--wrap) by a sum; costs are checked before it is called, which this sees. So is the
 * TPM, by one that gives out the first bytes of what it sealed. Key files come from memory; files are file_test's.
 */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "crypto/key_wrap.h"
#include "crypto/provider.h"
#include "crypto/sealed_key.h"
#include "tests/fuzz/patches.h"

static const struct uuid id = {{1, 2, 3}};
static const char secret[] = "correct horse";
static char path[32];
static int file;
static const void *key_text; /* the key file */
static size_t key_text_size;
static char valid[3][SEALED_KEY_TEXT_MAX]; /* by seal less one */
static size_t valid_size[3];
static uint8_t kdk[KEY_SIZE] = {7};

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_EVP_PBE_scrypt(const char *pass, size_t pass_size, const unsigned char *salt, size_t salt_size, uint64_t n,
                          uint64_t r, uint64_t p, uint64_t memory_max, unsigned char *key, size_t key_size);

int __wrap_EVP_PBE_scrypt(const char *pass, size_t pass_size, const unsigned char *salt, size_t salt_size, uint64_t n,
                          uint64_t r, uint64_t p, uint64_t memory_max, unsigned char *key, size_t key_size)
{
    ASSERT(n >= UINT64_C(1) << SCRYPT_LOG2_N_FLOOR && n <= UINT64_C(1) << SCRYPT_LOG2_N_CEILING);
    ASSERT(pass_size <= PASSPHRASE_MAX && salt_size == SEALED_KEY_SALT_SIZE && 128 * n * r * p <= memory_max);
    for (size_t i = 0; i < key_size; i++)
        key[i] = (uint8_t)(salt[i % salt_size] + (pass_size ? (unsigned char)pass[i % pass_size] : 0));
    return 1;
}

enum error __wrap_tpm_unseal(const struct tpm_access *access, const struct tpm_sealed *sealed, uint8_t key[KEY_SIZE]);

enum error __wrap_tpm_unseal(const struct tpm_access *access, const struct tpm_sealed *sealed, uint8_t key[KEY_SIZE])
{
    ASSERT(access->tcti == NULL && access->pin_size > 0);
    ASSERT(sealed->public_size > 0 && sealed->public_size <= TPM_PUBLIC_MAX);
    ASSERT(sealed->private_size > 0 && sealed->private_size <= TPM_PRIVATE_MAX);
    memcpy(key, sealed->private, KEY_SIZE);
    return ERROR_NONE;
}

enum error __wrap_file_read_private(const char *path, size_t size_max, void **data, size_t *size);

enum error __wrap_file_read_private(const char *name, size_t size_max, void **data, size_t *size)
{
    ASSERT(strcmp(name, path) == 0);
    if (key_text_size > size_max)
        return error_explain(ERROR_INVALID, "%s is too large", name);
    uint8_t *text = malloc(key_text_size + 1);
    ASSERT(text != NULL);
    memcpy(text, key_text, key_text_size);
    *data = text;
    *size = key_text_size;
    return ERROR_NONE;
}

static struct provider_config config_of(enum seal seal)
{
    return (struct provider_config){.name = "main", .id = id, .type = "native", .seal = seal_name(seal), .path = path};
}

static enum error key_open(enum seal seal, const void *text, size_t size, uint8_t found[KEY_SIZE])
{
    key_text = text;
    key_text_size = size;
    struct provider_config config = config_of(seal);
    struct provider_secret given = {.passphrase = secret, .passphrase_size = sizeof secret - 1};
    const struct provider_ops *ops;
    ASSERT(provider_find(&config, &ops) == ERROR_NONE);
    error_forget();
    return ops->open(&config, &given, found);
}

/* A key that is whole, and its text. */
static void key_make(struct sealed_key *sealed, enum seal seal)
{
    uint8_t wrap_key[KEY_SIZE];
    *sealed = (struct sealed_key){.seal = seal, .provider = id};
    ASSERT(kcv_derive(kdk, id, sealed->kcv) == ERROR_NONE);
    memcpy(sealed->kdk, kdk, KEY_SIZE);
    if (seal == SEAL_FILE)
        return;
    if (seal == SEAL_TPM) {
        memset(sealed->kdk, 0, KEY_SIZE);
        sealed->tpm.public_size = 78;
        sealed->tpm.private_size = 160;
        memcpy(sealed->tpm.private, kdk, KEY_SIZE);
        return;
    }
    sealed->scrypt_log2_n = SCRYPT_LOG2_N_FLOOR;
    sealed->scrypt_r = 8;
    sealed->scrypt_p = 1;
    ASSERT(__wrap_EVP_PBE_scrypt(secret, sizeof secret - 1, sealed->salt, sizeof sealed->salt, 1 << 14, 8, 1, 1 << 25,
                                 wrap_key, KEY_SIZE) == 1);
    ASSERT(bytes_wrap(wrap_key, kdk, KEY_SIZE, sealed->wrapped) == ERROR_NONE);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    message_level_set(MESSAGE_ERROR);
    file = memfd_create("key", MFD_CLOEXEC);
    ASSERT(file >= 0 && fchmod(file, 0600) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    for (enum seal seal = SEAL_FILE; seal <= SEAL_TPM; seal++) {
        struct sealed_key sealed;
        uint8_t found[KEY_SIZE];
        key_make(&sealed, seal);
        ASSERT(sealed_key_encode(&sealed, valid[seal - 1], &valid_size[seal - 1]) == ERROR_NONE);
        ASSERT(key_open(seal, valid[seal - 1], valid_size[seal - 1], found) == ERROR_NONE && memcmp(found, kdk, KEY_SIZE) == 0);
    }
    return 0;
}

/* What opens is the key that the check value of its text names. */
static void opened(enum error error, const char *text, size_t size, const uint8_t found[KEY_SIZE])
{
    struct sealed_key sealed;
    uint8_t kcv[KCV_SIZE];
    ASSERT(error == ERROR_NONE || strlen(error_sentence(error)) > 0);
    if (error != ERROR_NONE)
        return;
    ASSERT(sealed_key_decode(text, size, &sealed) == ERROR_NONE && uuid_equal(sealed.provider, id));
    ASSERT(kcv_derive(found, id, kcv) == ERROR_NONE && memcmp(kcv, sealed.kcv, KCV_SIZE) == 0);
}

static void raw_run(enum seal seal, const uint8_t *data, size_t size)
{
    uint8_t found[KEY_SIZE];
    opened(key_open(seal, data, size, found), (const char *)data, size, found);
}

static void made_run(enum seal seal, bool fits, const uint8_t *data, size_t size)
{
    struct sealed_key sealed;
    char text[SEALED_KEY_TEXT_MAX];
    size_t text_size;
    uint8_t found[KEY_SIZE];
    key_make(&sealed, seal);
    patches_apply(data, size, 1, (uint8_t *)&sealed, sizeof sealed);
    sealed.seal = seal;
    if (fits)
        sealed.provider = id;
    if (seal == SEAL_TPM) {
        sealed.tpm.public_size = 1 + sealed.tpm.public_size % TPM_PUBLIC_MAX;
        sealed.tpm.private_size = 1 + sealed.tpm.private_size % TPM_PRIVATE_MAX;
        sealed.tpm.flags %= 1000000000;
        sealed.tpm.binding.pcrs = 1 + sealed.tpm.binding.pcrs % ((1u << TPM_PCRS) - 1);
        sealed.tpm.binding.approval_count = 1 + sealed.tpm.binding.approval_count % TPM_APPROVALS_MAX;
        if (!(sealed.tpm.flags & TPM_FLAG_PCRS))
            memset(&sealed.tpm.binding, 0, sizeof sealed.tpm.binding);
    } else {
        memset(&sealed.tpm, 0, sizeof sealed.tpm);
    }
    if (seal != SEAL_PASSPHRASE) { /* it has none of these */
        sealed.scrypt_log2_n = sealed.scrypt_r = sealed.scrypt_p = 0;
        memset(sealed.salt, 0, sizeof sealed.salt);
        memset(sealed.wrapped, 0, sizeof sealed.wrapped);
    }
    sealed.scrypt_log2_n %= 1000000000; /* nothing that is written has more digits */
    sealed.scrypt_r %= 1000000000;
    sealed.scrypt_p %= 1000000000;
    ASSERT(sealed_key_encode(&sealed, text, &text_size) == ERROR_NONE);
    struct sealed_key back;
    ASSERT(sealed_key_decode(text, text_size, &back) == ERROR_NONE);
    enum error error = key_open(seal, text, text_size, found);
    opened(error, text, text_size, found);
    ASSERT(error != ERROR_NONE || (sealed.scrypt_r == 8 && sealed.scrypt_p == 1) || seal != SEAL_PASSPHRASE);
}

static void patched_run(enum seal seal, const uint8_t *data, size_t size)
{
    char text[SEALED_KEY_TEXT_MAX];
    uint8_t found[KEY_SIZE];
    size_t length = valid_size[seal - 1];
    memcpy(text, valid[seal - 1], length);
    patches_apply(data, size, 1, (uint8_t *)text, length);
    opened(key_open(seal, text, length, found), text, length, found);
}

/* One newline at the end is dropped, and nothing else. */
static void passphrase_run(const uint8_t *data, size_t size)
{
    char *passphrase;
    size_t found, expected = size > 0 && data[size - 1] == '\n' ? size - 1 : size;
    ASSERT(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    error_forget();
    enum error error = passphrase_read(path, "", false, &passphrase, &found);
    ASSERT((error == ERROR_NONE) == (expected > 0 && expected <= PASSPHRASE_MAX));
    if (error != ERROR_NONE)
        return;
    ASSERT(found == expected && memcmp(passphrase, data, found) == 0);
    arena_free(passphrase);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum seal seal = data[0] & 16 ? SEAL_TPM : data[0] & 4 ? SEAL_PASSPHRASE : SEAL_FILE;
    if ((data[0] & 3) == 0)
        raw_run(seal, data + 1, size - 1);
    else if ((data[0] & 3) == 1)
        made_run(seal, data[0] & 8, data + 1, size - 1);
    else if ((data[0] & 3) == 2)
        patched_run(seal, data + 1, size - 1);
    else
        passphrase_run(data + 1, size - 1);
    return 0;
}
