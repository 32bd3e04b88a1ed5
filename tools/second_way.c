/*
 * What `key provider use` demands where the key will lie with others, in the words of `coffer create`.
 *
 * All that can be refused is refused before the swap, the copy's passphrase is read before it too; the files are made after it,
 * since the key is. What fails then, or a crash, leaves a pool whose key is in force and has no second way: it is said, with the
 * command that makes one, and `health` says the same until then. Passphrases are in the arena. No locks.
 */
#include "tools/second_way.h"

#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider_tpm.h"
#include "tools/cycle.h"
#include "tools/key_recovery.h"
#include "tools/offline_audit.h"

static bool is_in_tpm(const struct provider_config *provider)
{
    return provider->seal != NULL && strcmp(provider->seal, "tpm") == 0;
}

static enum error demand(const struct arguments *arguments, const struct provider_config *provider, const struct second_way *way)
{
    bool none = argument_given(arguments, "no-recovery"), no_copy = argument_given(arguments, "no-copy");
    if (way->recovery != NULL || way->copy != NULL || none)
        return ERROR_NONE;
    if (strcmp(provider->type, "kmip") == 0)
        return error_explain(ERROR_INVALID,
                             "without the key servers the data would be lost: --new-recovery print or --new-recovery FILE makes a "
                             "recovery key, --no-recovery says that there is to be none");
    if (is_in_tpm(provider) && !no_copy)
        return error_explain(ERROR_INVALID,
                             "without this TPM the data would be lost: --copy FILE makes a copy of the key under a passphrase, "
                             "--new-recovery print or FILE a recovery key; --no-copy says that there is to be neither");
    return ERROR_NONE;
}

static enum error words_check(const struct arguments *arguments, const struct provider_config *provider,
                              const struct second_way *way)
{
    static const char *const of_tpm[] = {"copy", "copy-passphrase-file", "no-copy"};
    for (size_t i = 0; i < COUNT_OF(of_tpm) && !is_in_tpm(provider); i++)
        if (argument_given(arguments, of_tpm[i]))
            return error_explain(ERROR_INVALID, "--%s is for a provider of --seal tpm, which %s is not", of_tpm[i], provider->name);
    if (way->recovery != NULL && argument_given(arguments, "no-recovery"))
        return error_explain(ERROR_INVALID, "--new-recovery or --no-recovery: there is a recovery key or there is none");
    if (way->copy != NULL && argument_given(arguments, "no-copy"))
        return error_explain(ERROR_INVALID, "--copy or --no-copy: there is a copy or there is none");
    if (way->copy == NULL && argument_given(arguments, "copy-passphrase-file"))
        return error_explain(ERROR_INVALID, "--copy-passphrase-file is for --copy");
    return ERROR_NONE;
}

static enum error targets_check(const struct tool *tool, const char *directory, const struct second_way *way)
{
    if (way->recovery != NULL)
        TRY(recovery_target_check(tool, directory, way->recovery));
    if (way->copy == NULL)
        return ERROR_NONE;
    if (access(way->copy, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s exists already: nothing is overwritten, name another file", way->copy);
    TRY(recovery_parent_check(way->copy));
    return cycle_check(way->copy, directory);
}

enum error second_way_take(const struct tool *tool, const struct arguments *arguments, const char *directory,
                           const struct provider_config *provider, bool rehearsal, struct second_way *way)
{
    *way = (struct second_way){.recovery = argument_value(arguments, "new-recovery", NULL),
                               .copy = argument_value(arguments, "copy", NULL)};
    TRY(words_check(arguments, provider, way));
    TRY(targets_check(tool, directory, way));
    if (rehearsal)
        return ERROR_NONE;
    TRY(demand(arguments, provider, way));
    return way->copy == NULL ? ERROR_NONE
                             : passphrase_read(argument_value(arguments, "copy-passphrase-file", NULL),
                                               "Passphrase for the copy of the key: ", true, &way->copy_passphrase,
                                               &way->copy_size);
}

static enum error copy_make(struct tool *tool, const struct pool_conf *conf, const struct second_way *way,
                            const struct provider_secret *secret)
{
    const struct provider_secret none = {NULL, 0}, copy = {way->copy_passphrase, way->copy_size};
    enum error error = provider_tpm_copy(conf->provider, secret == NULL ? &none : secret, way->copy, &copy);
    offline_audit(tool, conf, NULL, "key.tpm-copy", NULL, error);
    if (error != ERROR_NONE)
        return error_prefix(error, "the key is in force, but there is no copy of it (`coffer key tpm copy` makes one)");
    if (!tool->json)
        fprintf(tool->out, "A copy of the key is in %s. Keep it away from the machine.\n", way->copy);
    return ERROR_NONE;
}

static enum error recovery_add(struct tool *tool, const struct pool_conf *conf, const struct second_way *way,
                               const struct provider_secret *secret)
{
    enum error error = recovery_make(tool, conf, secret, way->recovery);
    return error == ERROR_NONE
               ? ERROR_NONE
               : error_prefix(error, "the key is in force, but without a recovery key (`coffer key recovery` makes one)");
}

/* Where one of them cannot be made the other is made all the same; all that failed is told. */
enum error second_way_make(struct tool *tool, const char *directory, const struct second_way *way,
                           const struct provider_secret *secret)
{
    struct pool_conf *conf;
    char no_recovery[1024];
    if (way->recovery == NULL && way->copy == NULL)
        return ERROR_NONE;
    TRY(pool_conf_read(directory, &conf)); /* anew: the daemon wrote which provider is in force */
    enum error copied = way->copy == NULL ? ERROR_NONE : copy_make(tool, conf, way, secret);
    AUTO_FREE char *no_copy = copied == ERROR_NONE ? NULL : strdup(error_sentence(copied));
    enum error error = way->recovery == NULL ? ERROR_NONE : recovery_add(tool, conf, way, secret);
    pool_conf_destroy(conf);
    if (no_copy == NULL)
        return copied == ERROR_NONE ? error : copied;
    if (error == ERROR_NONE)
        return error_explain(copied, "%s", no_copy);
    snprintf(no_recovery, sizeof no_recovery, "%s", error_sentence(error));
    return error_explain(error, "%s; %s", no_copy, no_recovery);
}

void second_way_forget(struct second_way *way)
{
    arena_free(way->copy_passphrase);
    way->copy_passphrase = NULL;
}
