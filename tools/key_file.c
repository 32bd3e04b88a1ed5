/*
 * What a key file says of itself, held against what a person typed and what the conf has already.
 *
 * The check value of a key that is in the file as it is, is made anew of the key, so that one that was changed by hand is found;
 * where a passphrase or a TPM seals the key, the file's word is taken here, and the next open finds out. Nothing is written, the
 * key is wiped by who reads it (crypto/provider_look.c).
 */
#include "tools/key_file.h"

#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "crypto/provider_look.h"

static enum error kcv_compare(const struct arguments *arguments, const struct provider_config *provider,
                              const struct key_file *file)
{
    const char *typed = argument_value(arguments, "kcv", NULL);
    uint8_t wanted[KCV_SIZE];
    char is[KCV_TEXT_SIZE];
    if (typed == NULL)
        return ERROR_NONE;
    if (!hex_parse_typed(typed, strlen(typed), wanted, KCV_SIZE))
        return error_explain(ERROR_INVALID, "--kcv %s is no check value: those have %d hexadecimal digits", typed, 2 * KCV_SIZE);
    if (!file->found)
        return error_explain(ERROR_NOT_FOUND, "there is no key file %s whose check value could be compared", provider->path);
    kcv_format(file->kcv, is);
    if (memcmp(wanted, file->kcv, KCV_SIZE) == 0)
        return ERROR_NONE;
    return error_explain(ERROR_WRONG_KEY, "%s holds another key: its check value is %s, and %s was to be there", provider->path, is,
                         typed);
}

static enum error id_compare(const struct arguments *arguments, struct provider_config *provider, const struct key_file *file,
                             struct uuid id)
{
    char text[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE];
    if (argument_given(arguments, "id") && !uuid_equal(provider->id, id)) {
        uuid_format(id, text);
        kcv_format(file->kcv, kcv);
        return error_explain(ERROR_FOREIGN, "%s is the key file of the provider with the id %s (check value %s): say that one, "
                                            "leave out --id, or name another file", provider->path, text, kcv);
    }
    provider->id = id;
    return ERROR_NONE;
}

static enum error same_id(const struct provider_config *provider, const struct provider_config *other, const char *kcv, bool readable)
{
    if (readable)
        return error_explain(ERROR_EXISTS, "%s (check value %s) is of provider %s, which coffer.conf has already: that is its id, "
                                           "though its key file holds another key", provider->path, kcv, other->name);
    return error_explain(ERROR_EXISTS, "%s (check value %s) is of provider %s, which coffer.conf has already: that is its id, and "
                                       "its key file %s cannot be read; for this one to take its place set `path = %s` and `seal = "
                                       "%s` in [provider %s]", provider->path, kcv, other->name,
                         other->path == NULL ? "" : other->path, provider->path, provider->seal, other->name);
}

/* The conf's other providers, by id and by key; the key of one that cannot be read has no say. */
static enum error duplicate_check(const struct pool_conf *conf, const struct provider_config *provider,
                                  const struct key_file *file)
{
    uint8_t kcv[KCV_SIZE];
    char text[KCV_TEXT_SIZE];
    kcv_format(file->kcv, text);
    for (size_t i = 0; i < conf->provider_count; i++) {
        const struct provider_config *other = &conf->providers[i];
        bool readable = other->path != NULL && provider_root_kcv(other, 0, kcv) == ERROR_NONE;
        error_forget();
        if (readable && memcmp(kcv, file->kcv, KCV_SIZE) == 0)
            return error_explain(ERROR_EXISTS, "%s (check value %s) is of provider %s, which coffer.conf has already", provider->path,
                                 text, other->name);
        if (uuid_equal(other->id, provider->id))
            return same_id(provider, other, text, readable);
    }
    return ERROR_NONE;
}

enum error key_file_take(const struct provider_task *task, struct provider_config *provider, struct key_file *file)
{
    const char *seal;
    struct uuid id;
    *file = (struct key_file){.found = access(provider->path, F_OK) == 0};
    if (file->found) {
        TRY(provider_file_look(provider->path, &id, &seal, file->kcv));
        if (strcmp(seal, provider->seal) != 0)
            return error_explain(ERROR_INVALID, "%s is sealed by %s: say --seal %s", provider->path, seal, seal);
        TRY(id_compare(task->arguments, provider, file, id));
    }
    TRY(kcv_compare(task->arguments, provider, file));
    return file->found ? duplicate_check(task->conf, provider, file) : ERROR_NONE;
}
