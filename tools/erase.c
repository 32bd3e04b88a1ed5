/*
 * `coffer erase` and `coffer group remove`: a pool, or its last group and the pool with it, is given up for good, offline. What is
 * asked for is checked before anything goes: the group named, the risk typed out, a place for the certificate.
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/arena.h"
#include "crypto/provider.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "tools/certificate.h"
#include "tools/command.h"
#include "tools/place.h"

static enum error erase_with_passphrase(const char *directory, const char *file, struct pool_erase_options *options,
                                        char **certificate)
{
    char *passphrase;
    TRY(passphrase_read(file, "Passphrase of the pool, as a proof: ", false, &passphrase, &options->passphrase_size));
    options->passphrase = passphrase;
    enum error error = pool_erase(directory, options, certificate);
    arena_free(passphrase);
    options->passphrase = NULL;
    return error;
}

static enum error erase(const char *directory, const char *file, struct pool_erase_options *options, char **certificate)
{
    if (file != NULL)
        return erase_with_passphrase(directory, file, options, certificate);
    enum error error = pool_erase(directory, options, certificate);
    return error == ERROR_LOCKED && !options->without_key ? erase_with_passphrase(directory, NULL, options, certificate) : error;
}

/* `what` is the word for what is lost. */
static enum error give_up(struct tool *tool, const struct arguments *arguments, const char *directory, const char *what)
{
    struct pool_erase_options options = {.without_key = argument_given(arguments, "without-key")};
    const char *path = argument_value(arguments, "certificate", NULL), *file = argument_value(arguments, "passphrase-file", NULL);
    char *certificate = NULL;
    options.key_files = argument_values(arguments, "key-file", &options.key_file_count);
    if (path == NULL)
        return certificate_place(path);
    if (options.without_key && file != NULL)
        return error_explain(ERROR_INVALID, "--without-key asks for no passphrase: leave out --passphrase-file");
    if (!argument_given(arguments, "accept-data-loss"))
        return error_explain(ERROR_UNCONFIRMED,
                             "all data of %s in %s will be gone, and nothing brings it back: say so by --accept-data-loss", what,
                             directory);
    TRY(certificate_place(path));
    enum error error = erase(directory, file, &options, &certificate);
    if (error == ERROR_NONE)
        error = certificate_keep(tool, "The pool", path, certificate);
    free(certificate);
    return error;
}

static enum error run_erase(struct tool *tool, const struct arguments *arguments)
{
    const char *directory;
    TRY(place_directory(tool, arguments->positional[0], &directory));
    return give_up(tool, arguments, directory, "the pool");
}

static enum error group_check(const struct pool_conf *conf, const char *name)
{
    if (conf->group_count == 1 && strcmp(conf->groups[0].name, name) == 0)
        return ERROR_NONE;
    return error_explain(ERROR_NOT_FOUND, "the pool in %s has no group '%s': it has '%s'", conf->directory, name,
                         conf->groups[0].name);
}

static enum error run_group_remove(struct tool *tool, const struct arguments *arguments)
{
    const char *directory;
    struct pool_conf *conf;
    TRY(place_directory(tool, NULL, &directory));
    TRY(pool_conf_read(directory, &conf));
    enum error error = group_check(conf, arguments->positional[0]);
    pool_conf_destroy(conf);
    return error == ERROR_NONE ? give_up(tool, arguments, directory, "the group, and of the pool, which has no other,") : error;
}

static const struct option_row options[] = {
    {"accept-data-loss", NULL, "yes, everything in this pool is to be gone", false},
    {"certificate", "FILE", "a new file for what was done, in JSON", false},
    {"passphrase-file", "FILE", "read the passphrase or the PIN from FILE (\"-\": standard input)", false},
    {"key-file", "FILE", "destroy this key file too, which lies outside of the pool directory", true},
    {"without-key", NULL, "the key is lost: go by the ids in the superblocks", false},
    {NULL},
};

const struct command command_erase = {
    .noun = "erase",
    .arguments = "DIR",
    .summary = "destroy the keys of a pool for good, offline",
    .text =
        "For disks that leave the house. Overwrites on every device, in all copies, the key slots under which all of it is\n"
        "encrypted, reads that back, discards the whole device, then overwrites and removes the key files of the pool; data\n"
        "need not be overwritten. cofferd must be stopped. The key is asked for first, as a proof that it is this pool;\n"
        "where it is lost, --without-key goes by the ids that stand in the superblocks, and touches no other device.\n"
        "The certificate names method, devices with their serial numbers, check values of the keys, time, number of the\n"
        "audit's last entry, and what else could open an image of the devices: copies of keys, keys on key servers, which\n"
        "are to be destroyed there. A key file outside of the pool directory (`path =`) is left, since a copy of this pool may\n"
        "need it, unless --key-file names it. Where it fails halfway, run it again with --without-key.",
    .examples = "  coffer erase /srv/pool --accept-data-loss --certificate /root/pool-erased.json\n"
                "  coffer erase /srv/pool --without-key --accept-data-loss --certificate /root/pool-erased.json\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_erase,
};

const struct command command_group_remove = {
    .noun = "group",
    .verb = "remove",
    .arguments = "NAME",
    .summary = "destroy the keys of the pool's last group, offline",
    .text = "What is in the group goes with it, and where it is the pool's only one, as now in every pool, the pool: this is\n"
            "`coffer erase`, with the group's name as one more proof that the right disks are meant. All that its help says holds.",
    .examples = "  coffer -C /srv/pool group remove g1 --accept-data-loss --certificate /root/g1-removed.json\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_group_remove,
};
