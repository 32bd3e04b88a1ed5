/*
 * A key file says by its KCV which key it holds, so whoever remembers the KCV can tell an old file or another one from the
 * right one without opening it. No state, no locks; a crash in provider_key_end() leaves the file whole, or overwritten, or
 * gone, and who calls again ends it.
 */
#include "crypto/provider_look.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/openssl_error.h"
#include "crypto/provider_kmip.h"
#include "crypto/provider_native.h"
#include "crypto/provider_root.h"
#include "crypto/provider_tpm.h"

/* ---- whether it could make a key ----------------------------------------------------------------------------------- */

/* A server has no such key yet, and says so: then everything before was well. One that it has, in whatever state, is left by a
 * change that was cut short, and another name will do. */
static enum error servers_check(const struct provider_config *config, const struct provider_kek *which)
{
    AUTO_FREE struct kmip_report *reports = memory_zeroed(PROVIDER_SERVERS_MAX, sizeof *reports);
    if (reports == NULL)
        return ERROR_NO_MEMORY;
    TRY(provider_kmip_test(config, which, false, reports));
    for (size_t i = 0; i < config->server_count; i++)
        if (!reports[i].reached ||
            (reports[i].error != ERROR_NONE && reports[i].error != ERROR_KEY_ABSENT && reports[i].id[0] == '\0'))
            return error_explain(reports[i].error, "provider %s: %s: %s", config->name, reports[i].server, reports[i].sentence);
    return ERROR_NONE;
}

static enum error seal_of(const struct provider_config *config, enum seal *seal)
{
    static const enum seal seals[] = {SEAL_FILE, SEAL_PASSPHRASE, SEAL_TPM};
    for (size_t i = 0; i < COUNT_OF(seals); i++)
        if (config->seal != NULL && strcmp(config->seal, seal_name(seals[i])) == 0) {
            *seal = seals[i];
            return ERROR_NONE;
        }
    return error_explain(ERROR_UNSUPPORTED, "provider %s has no key file", config->name);
}

/* Only its own file may be replaced by a new key. */
static enum error place_check(const struct provider_config *config)
{
    struct sealed_key sealed;
    struct stat status;
    enum seal seal;
    TRY(seal_of(config, &seal));
    if (lstat(config->path, &status) == 0) {
        enum error error = native_key_load(config, seal, &sealed);
        memory_cleanse(&sealed, sizeof sealed);
        return error == ERROR_NONE ? ERROR_NONE
                                   : error_prefix(error, "what lies where provider %s keeps its key is to be moved away",
                                                  config->name);
    }
    AUTO_FREE char *copy = strdup(config->path);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    const char *parent = dirname(copy);
    return access(parent, W_OK | X_OK) == 0
               ? ERROR_NONE
               : error_from_errno(errno, "make the key file of provider %s in %s", config->name, parent);
}

enum error provider_ready_check(const struct provider_config *config, const struct provider_kek *which)
{
    const struct provider_ops *operations;
    TRY(provider_find(config, &operations));
    if (operations->create_kek != NULL)
        return servers_check(config, which);
    TRY(place_check(config));
    return operations->check != NULL ? operations->check(config) : ERROR_NONE;
}

/* ---- which key its file holds ---------------------------------------------------------------------------------------- */

enum error provider_root_kcv(const struct provider_config *config, uint64_t number, uint8_t kcv[KCV_SIZE])
{
    struct provider_root root;
    struct sealed_key sealed;
    enum seal seal;
    TRY(seal_of(config, &seal));
    TRY(provider_root_choose(config, number, &root));
    enum error error = native_key_load(&root.config, seal, &sealed);
    if (error == ERROR_NONE)
        memcpy(kcv, sealed.kcv, KCV_SIZE);
    memory_cleanse(&sealed, sizeof sealed);
    return error;
}

enum error provider_file_look(const char *path, struct uuid *provider, const char **seal, uint8_t kcv[KCV_SIZE])
{
    struct sealed_key sealed;
    enum error error = native_key_read(path, &sealed);
    struct provider_config config = {.name = "of that file", .path = path};
    if (error == ERROR_NONE && sealed.seal == SEAL_FILE) {
        config.id = sealed.provider;
        error = native_key_check(&config, &sealed, sealed.kdk);
    }
    if (error == ERROR_NONE) {
        *provider = sealed.provider;
        *seal = seal_name(sealed.seal);
        memcpy(kcv, sealed.kcv, KCV_SIZE);
    }
    memory_cleanse(&sealed, sizeof sealed);
    return error;
}

enum error provider_file_digest(const char *path, uint8_t digest[KEY_FILE_DIGEST_SIZE])
{
    void *text = NULL;
    size_t size;
    TRY(file_read_private(path, SEALED_KEY_TEXT_MAX, &text, &size));
    bool fine = EVP_Q_digest(NULL, "SHA256", NULL, text, size, digest, NULL) == 1;
    memory_free_cleansed(text);
    return fine ? ERROR_NONE : error_from_openssl("compute a digest");
}

enum error provider_root_tpm(const struct provider_config *config, uint64_t number, bool unseal, bool *pin)
{
    struct provider_root root;
    TRY(provider_root_choose(config, number, &root));
    return provider_tpm_ready(&root.config, unseal, pin);
}

/* ---- its end --------------------------------------------------------------------------------------------------------- */

enum error provider_key_end(const struct provider_config *config, const struct provider_kek *which, bool destroy)
{
    const struct provider_ops *operations;
    TRY(provider_find(config, &operations));
    if (operations->end_kek != NULL)
        return operations->end_kek(config, which, destroy);
    if (!destroy)
        return error_explain(ERROR_INVALID,
                             "provider %s keeps its key in %s, and a file cannot be revoked: --destroy overwrites it",
                             config->name, config->path);
    return provider_root_destroy(config);
}
