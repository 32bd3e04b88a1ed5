/*
 * `coffer create`: makes a pool offline, through libcoffer, and tells what to do next and what was gained.
 *
 * What the pool is not protected against is said here and not only in the manual, because the day of its creation is
 * the last on which it costs nothing to choose otherwise. The engine leaves nothing behind where it fails.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/shell.h"
#include "base/size.h"
#include "base/suggest.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "engine/coffer.h"
#include "tools/command.h"
#include "tools/cycle.h"
#include "tools/key_recovery.h"
#include "tools/pcrs.h"
#include "tools/text.h"

#define SIZE_DEFAULT (UINT64_C(20) << 30)

/* ---- from options to pool_create_options ---------------------------------------------------------------------- */

struct creation {
    struct pool_create_options options;
    char *group; /* holds the group's name and device paths, cut apart */
    const char *devices[GROUP_DEVICES_MAX];
    struct pool_create_kmip kmip;
    const char *recovery; /* "print", or a file to be made; NULL: no recovery key */
};

/* The ways in that a person has beside the key itself. */
struct ways {
    bool pin, recovery;
};

static enum error take_devices(struct creation *creation, char *list)
{
    char *rest = list, *path;
    size_t count = 0;
    while ((path = strsep(&rest, ",")) != NULL) {
        if (path[0] == '\0')
            return error_explain(ERROR_INVALID, "--group: a device between two commas is missing");
        if (count == GROUP_DEVICES_MAX)
            return error_explain(ERROR_INVALID, "--group: a group has at most %d devices", GROUP_DEVICES_MAX);
        creation->devices[count++] = path;
    }
    creation->options.device_paths = creation->devices;
    creation->options.device_count = count;
    return ERROR_NONE;
}

/* NAME=DEV[,DEV…] */
static enum error take_group(struct creation *creation, const char *text)
{
    creation->group = strdup(text);
    if (creation->group == NULL)
        return ERROR_NO_MEMORY;
    char *equals = strchr(creation->group, '=');
    if (equals == NULL || equals == creation->group || equals[1] == '\0')
        return error_explain(ERROR_INVALID, "--group %s: write NAME=DEV[,DEV…]", text);
    if ((size_t)(equals - creation->group) > GROUP_NAME_MAX)
        return error_explain(ERROR_INVALID, "--group: a group's name has at most %d bytes", GROUP_NAME_MAX);
    *equals = '\0';
    creation->options.group_name = creation->group;
    return take_devices(creation, equals + 1);
}

static enum error choose(const char *option, const char *value, const char *const *choices, size_t count, size_t *index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(value, choices[i]) == 0) {
            *index = i;
            return ERROR_NONE;
        }
    }
    const char *near = suggest(value, choices, count);
    return error_explain(ERROR_INVALID, "--%s knows no '%s'; did you mean '%s'?", option, value,
                         near == NULL ? choices[0] : near);
}

static enum error take_storage(struct creation *creation, const struct arguments *arguments)
{
    const char *group = argument_value(arguments, "group", NULL);
    size_t count;
    if (group != NULL && argument_given(arguments, "size"))
        return error_explain(ERROR_INVALID, "--size is for a pool without --group: devices have their own size");
    creation->options.overwrite = argument_values(arguments, "overwrite", &count);
    creation->options.overwrite_count = count;
    creation->options.size = SIZE_DEFAULT;
    if (group != NULL)
        return take_group(creation, group);
    if (argument_given(arguments, "size"))
        return argument_size(arguments, "size", &creation->options.size);
    return ERROR_NONE;
}

/* The key is kept by KMIP servers. */
static enum error take_kmip(struct creation *creation, const struct arguments *arguments)
{
    struct pool_create_kmip *kmip = &creation->kmip;
    if (argument_given(arguments, "seal") || argument_given(arguments, "no-encryption"))
        return error_explain(ERROR_INVALID, "--provider kmip keeps the key on servers: neither --seal nor "
                                            "--no-encryption goes with it");
    kmip->servers = argument_values(arguments, "kmip-server", &kmip->server_count);
    kmip->ca = argument_value(arguments, "kmip-ca", NULL);
    kmip->certificate = argument_value(arguments, "kmip-certificate", NULL);
    kmip->key = argument_value(arguments, "kmip-key", NULL);
    kmip->separate = argument_given(arguments, "kmip-separate");
    if (kmip->server_count == 0 || kmip->ca == NULL || kmip->certificate == NULL || kmip->key == NULL)
        return error_explain(ERROR_INVALID,
                             "--provider kmip needs --kmip-server, --kmip-ca, --kmip-certificate and --kmip-key");
    creation->options.kmip = kmip;
    creation->options.seal = NULL;
    return ERROR_NONE;
}

static enum error take_provider(struct creation *creation, const struct arguments *arguments)
{
    static const char *const providers[] = {"native", "kmip"};
    static const char *const of_kmip[] = {"kmip-server", "kmip-ca", "kmip-certificate", "kmip-key", "kmip-separate"};
    size_t provider;
    TRY(choose("provider", argument_value(arguments, "provider", "native"), providers, COUNT_OF(providers), &provider));
    if (provider == 1)
        return take_kmip(creation, arguments);
    for (size_t i = 0; i < COUNT_OF(of_kmip); i++)
        if (argument_given(arguments, of_kmip[i]))
            return error_explain(ERROR_INVALID, "--%s is for --provider kmip", of_kmip[i]);
    return ERROR_NONE;
}

static bool is_sealed_by(const struct pool_create_options *options, const char *seal)
{
    return options->encryption && options->seal != NULL && strcmp(options->seal, seal) == 0;
}

/* A recovery key: of any pool that has a key, and where the key lies with others a word that there is none. */
static enum error take_recovery(const struct tool *tool, struct creation *creation, const struct arguments *arguments)
{
    bool none = argument_given(arguments, "no-recovery");
    creation->recovery = argument_value(arguments, "recovery", NULL);
    if (creation->recovery != NULL && (none || !creation->options.encryption))
        return error_explain(ERROR_INVALID, none ? "--recovery or --no-recovery: there is a recovery key or there is none"
                                                 : "--recovery is for a key, and with --no-encryption there is none");
    if (creation->options.kmip != NULL && creation->recovery == NULL && !none)
        return error_explain(ERROR_INVALID, "without the key servers the data would be lost: --recovery print or --recovery FILE "
                                            "makes a recovery key, --no-recovery says that there is to be none");
    return creation->recovery == NULL ? ERROR_NONE : recovery_target_check(tool, creation->options.directory,
                                                                                  creation->recovery);
}

/* A TPM can fail, be cleared or be replaced, and takes the key along: a second way in, or a word that there is none. */
static enum error take_tpm(struct pool_create_options *options, const struct arguments *arguments)
{
    bool none = argument_given(arguments, "no-copy"), recovery = argument_given(arguments, "recovery");
    static const char *const of_tpm[] = {"tcti", "pin", "pin-file", "pcrs", "copy", "no-copy"};
    for (size_t i = 0; i < COUNT_OF(of_tpm) && !is_sealed_by(options, "tpm"); i++)
        if (argument_given(arguments, of_tpm[i]))
            return error_explain(ERROR_INVALID, "--%s is for --seal tpm", of_tpm[i]);
    if (!is_sealed_by(options, "tpm"))
        return ERROR_NONE;
    options->tcti = argument_value(arguments, "tcti", NULL);
    options->copy = argument_value(arguments, "copy", NULL);
    if (options->copy != NULL && none)
        return error_explain(ERROR_INVALID, "--copy or --no-copy: there is a copy or there is none");
    if (options->copy == NULL && !none && !recovery && !argument_given(arguments, "no-recovery"))
        return error_explain(ERROR_INVALID,
                             "without this TPM the data would be lost: --copy FILE makes a copy of the key under a passphrase, "
                             "--recovery print or FILE a recovery key; --no-copy says that there is to be neither");
    if (options->copy != NULL)
        TRY(cycle_check(options->copy, options->directory));
    if (argument_given(arguments, "pin") && argument_given(arguments, "pin-file"))
        return error_explain(ERROR_INVALID, "--pin asks for the PIN, and --pin-file reads it: one of them");
    if (argument_given(arguments, "pcrs"))
        return pcrs_parse("pcrs", argument_value(arguments, "pcrs", NULL), &options->pcrs);
    return ERROR_NONE;
}

static enum error take_protection(const struct tool *tool, struct creation *creation, const struct arguments *arguments)
{
    static const char *const seals[] = {"file", "passphrase", "tpm"}, *const fingerprints[] = {"xxh3", "hmac-sha256"};
    size_t seal, fingerprint;
    TRY(choose("seal", argument_value(arguments, "seal", "file"), seals, COUNT_OF(seals), &seal));
    TRY(choose("fingerprint", argument_value(arguments, "fingerprint", "xxh3"), fingerprints, COUNT_OF(fingerprints),
               &fingerprint));
    if (argument_given(arguments, "no-encryption") && argument_given(arguments, "seal"))
        return error_explain(ERROR_INVALID, "--seal seals a key, and with --no-encryption there is none");
    creation->options.encryption = !argument_given(arguments, "no-encryption");
    creation->options.seal = seals[seal];
    creation->options.fingerprint = fingerprint == 0 ? POOL_FINGERPRINT_XXH3 : POOL_FINGERPRINT_HMAC_SHA256;
    TRY(take_provider(creation, arguments));
    TRY(take_tpm(&creation->options, arguments));
    TRY(take_recovery(tool, creation, arguments));
    if (argument_given(arguments, "passphrase-file") && !is_sealed_by(&creation->options, "passphrase") &&
        creation->options.copy == NULL)
        return error_explain(ERROR_INVALID, "--passphrase-file is for --seal passphrase, and for --copy");
    return ERROR_NONE;
}

/* ---- what is told afterwards ---------------------------------------------------------------------------------- */

static json_t *protections(const struct pool_create_options *options)
{
    json_t *list = json_array();
    if (is_sealed_by(options, "passphrase"))
        json_array_append_new(list, json_string("theft, loss or return of its disks, the pool directory included"));
    if (is_sealed_by(options, "file"))
        json_array_append_new(list, json_string("theft, loss or return of its disks without the key file"));
    if (is_sealed_by(options, "tpm"))
        json_array_append_new(list, json_string("theft, loss or return of its disks, the pool directory included, as "
                                                "long as the machine with the TPM stays"));
    if (options->kmip != NULL)
        json_array_append_new(list, json_string("theft, loss or return of its disks, as long as the key servers do not "
                                                "take the thief for this machine"));
    if (options->encryption)
        json_array_append_new(list, json_string("altered, exchanged or replayed blocks: everything is authenticated"));
    else
        json_array_append_new(list, json_string("damaged blocks: everything has a checksum"));
    json_array_append_new(list, json_string("crashes and power loss: what was flushed stays"));
    return list;
}

static void tpm_exposures(const struct pool_create_options *options, struct ways ways, json_t *list)
{
    bool second = options->copy != NULL || ways.recovery;
    if (options->pcrs != 0 && !second)
        json_array_append_new(list, json_string("a change of the PCRs that was not approved before: without a copy of the "
                                                "key the data is lost, unless they can be brought back"));
    json_array_append_new(list, json_string(ways.pin ? "theft of the machine by somebody who knows the PIN"
                                                : "theft of the machine: its TPM opens the pool without a person; --pin "
                                                  "would ask for one"));
    json_array_append_new(list, json_string(!second ? "failure, exchange or clearing of the TPM: without it the data is lost"
                                            : options->copy == NULL
                                                ? "failure, exchange or clearing of the TPM, where the recovery key or the pool "
                                                  "directory is lost too"
                                                : "failure, exchange or clearing of the TPM, where the copy of the key or "
                                                  "its passphrase is lost too"));
}

static json_t *exposures(const struct pool_create_options *options, struct ways ways)
{
    json_t *list = json_array();
    if (!options->encryption)
        json_array_append_new(list, json_string("theft: it is not encrypted, who has a disk can read and change it"));
    if (options->kmip != NULL)
        json_array_append_new(list, json_string("theft of the whole machine while the key servers still know its "
                                                "certificate: revoke it there"));
    if (is_sealed_by(options, "file"))
        json_array_append_new(
            list,
            json_string(options->device_count == 0
                            ? "theft of the whole directory: the key lies beside the data, in the same directory; "
                              "--seal passphrase keeps it apart"
                            : "theft of the disk with the pool directory: the key file lies there"));
    if (is_sealed_by(options, "tpm"))
        tpm_exposures(options, ways, list);
    if (ways.recovery)
        json_array_append_new(list, json_string("loss of the key together with the recovery key or the pool directory: a backup "
                                                "(key backup) needs neither"));
    else if (is_sealed_by(options, "passphrase"))
        json_array_append_new(list, json_string("a forgotten passphrase: without it the data is lost"));
    else if (options->kmip != NULL)
        json_array_append_new(list, json_string("loss of the key on the key servers: without it the data is lost, so "
                                                "back them up, and keep none of them on this pool"));
    else if (options->encryption && options->copy == NULL)
        json_array_append_new(list, json_string("loss of the key file: without it the data is lost, so back it up"));
    json_array_append_new(list, json_string("failure of a device: there is one copy of everything, so keep backups"));
    json_array_append_new(list, json_string("root on the running machine"));
    return list;
}

static json_t *next_commands(const char *directory)
{
    AUTO_FREE char *path = shell_path(directory);
    AUTO_FREE char *self = shell_command(directory);
    json_t *list = json_array();
    if (path == NULL || self == NULL)
        return list;
    json_array_append_new(list, json_sprintf("cofferd %s", path));
    json_array_append_new(list, json_sprintf("%s object create disk1 --size 10G", self));
    json_array_append_new(list, json_sprintf("%s object uri disk1 --for qemu", self));
    return list;
}

static void print_list(struct tool *tool, const char *title, const json_t *list, const char *bullet)
{
    size_t i, columns = tool_columns(tool), indent = 2 + strlen(bullet);
    json_t *line;
    fprintf(tool->out, "\n%s\n", title);
    json_array_foreach(list, i, line)
    {
        /* Without a bullet they are commands, which are not to be broken. */
        bool breaks = *bullet != '\0' && columns > 2 * indent;
        AUTO_FREE char *text = text_wrap(json_string_value(line), breaks ? columns - indent : 0, indent);
        fprintf(tool->out, "  %s%s\n", bullet, text == NULL ? json_string_value(line) : text);
    }
}

static void print_made(struct tool *tool, const struct pool_create_options *options, const json_t *facts)
{
    char size[TEXT_SIZE];
    fprintf(tool->out, "%s %s: ", options->dry_run ? "Could make the pool" : "Made the pool", options->directory);
    if (options->device_count == 0)
        fprintf(tool->out, "a file that grows to %s", text_size(options->size, size));
    else
        fprintf(tool->out, "%zu device%s", options->device_count, options->device_count == 1 ? "" : "s");
    fprintf(tool->out, ", %s.%s\n", options->encryption ? "encrypted" : "not encrypted",
            options->dry_run ? " Nothing was written." : "");
    print_list(tool, "Protected against", json_object_get(facts, "protected"), "- ");
    print_list(tool, "Not protected against", json_object_get(facts, "not_protected"), "- ");
    if (!options->dry_run)
        print_list(tool, "Type next", json_object_get(facts, "next"), "");
}

static json_t *facts_json(const struct pool_create_options *options, struct ways ways)
{
    json_t *devices = json_array();
    for (size_t i = 0; i < options->device_count; i++)
        json_array_append_new(devices, json_string(options->device_paths[i]));
    return json_pack("{s:s, s:b, s:b, s:s, s:s*, s:s*, s:I, s:o, s:o, s:o, s:o}", "directory", options->directory, "dry_run",
                     options->dry_run, "encryption", options->encryption, "fingerprint",
                     options->fingerprint == POOL_FINGERPRINT_XXH3 ? "xxh3" : "hmac-sha256", "seal",
                     options->encryption ? options->seal : NULL, "provider",
                     !options->encryption ? NULL : options->kmip != NULL ? "kmip" : "native", "size",
                     (json_int_t)(options->device_count == 0 ? options->size : 0), "devices", devices, "protected",
                     protections(options), "not_protected", exposures(options, ways), "next",
                     next_commands(options->directory));
}

/* The pool exists by now: a name that cannot be told in JSON is no reason to call that a failure. */
static enum error tell(struct tool *tool, const struct pool_create_options *options, struct ways ways)
{
    json_t *facts = facts_json(options, ways);
    enum error error = ERROR_NONE;
    if (tool->json && facts != NULL)
        error = tool_print_json(tool, facts);
    else
        print_made(tool, options, facts);
    json_decref(facts);
    return error;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static bool has_pin(const struct arguments *arguments)
{
    return argument_given(arguments, "pin") || argument_given(arguments, "pin-file");
}

struct secrets { /* in the arena, or NULL */
    char *own, *copy;
};

static enum error secrets_read(struct pool_create_options *options, const struct arguments *arguments,
                               struct secrets *secrets)
{
    const char *file = argument_value(arguments, "passphrase-file", NULL);
    if (is_sealed_by(options, "passphrase"))
        return passphrase_read(file, "Passphrase for the new pool: ", true, &secrets->own, &options->passphrase_size);
    if (has_pin(arguments))
        TRY(passphrase_read(argument_value(arguments, "pin-file", NULL), "PIN for the new pool: ", true, &secrets->own,
                            &options->passphrase_size));
    if (options->copy != NULL)
        return passphrase_read(file, "Passphrase for the copy of the key: ", true, &secrets->copy,
                               &options->copy_passphrase_size);
    return ERROR_NONE;
}

/* The pool is there: without its recovery key it is as one that was made without. */
static enum error make_recovery(struct tool *tool, const struct creation *creation)
{
    const struct pool_create_options *options = &creation->options;
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    struct pool_conf *conf;
    TRY(pool_conf_read(options->directory, &conf));
    enum error error = recovery_make(tool, conf, secret.passphrase == NULL ? NULL : &secret, creation->recovery);
    pool_conf_destroy(conf);
    if (error == ERROR_NONE)
        return ERROR_NONE;
    return error_prefix(error, "the pool is made, but without a recovery key (`coffer key recovery` makes one)");
}

static enum error create(struct tool *tool, struct creation *creation, const struct arguments *arguments)
{
    struct secrets secrets = {NULL, NULL};
    struct pool_create_options *options = &creation->options;
    enum error error = options->dry_run ? ERROR_NONE : secrets_read(options, arguments, &secrets);
    options->passphrase = secrets.own;
    options->copy_passphrase = secrets.copy;
    if (error == ERROR_NONE)
        error = pool_create(options);
    if (error == ERROR_NONE && creation->recovery != NULL && !options->dry_run)
        error = make_recovery(tool, creation);
    options->passphrase = options->copy_passphrase = NULL;
    arena_free(secrets.own);
    arena_free(secrets.copy);
    return error;
}

static enum error run_create(struct tool *tool, const struct arguments *arguments)
{
    struct creation creation = {.options.directory = arguments->positional[0],
                                .options.dry_run = argument_given(arguments, "dry-run")};
    enum error error = take_storage(&creation, arguments);
    if (error == ERROR_NONE)
        error = take_protection(tool, &creation, arguments);
    if (error == ERROR_NONE)
        error = create(tool, &creation, arguments);
    if (error == ERROR_NONE)
        error = tell(tool, &creation.options, (struct ways){has_pin(arguments), creation.recovery != NULL});
    free(creation.group);
    return error;
}

static const struct option_row options[] = {
    {"size", "SIZE", "of the file that holds the pool; it grows as it fills (20G)", false},
    {"group", "NAME=DEV[,DEV…]", "use these devices or existing files instead", false},
    {"overwrite", "DEV", "destroy what DEV carries; say it for each such device", true},
    {"no-encryption", NULL, "store everything readable", false},
    {"seal", "HOW", "the key: in a \"file\", under a \"passphrase\", in the \"tpm\"", false},
    {"passphrase-file", "FILE", "read the passphrase from FILE (\"-\": standard input)", false},
    {"provider", "WHO", "who keeps the key: this machine (\"native\"), or \"kmip\" servers", false},
    {"kmip-server", "HOST[:PORT]", "a KMIP server; say it for each, in the order in which they are tried", true},
    {"kmip-ca", "FILE", "the certificates of whom to trust, in PEM", false},
    {"kmip-certificate", "FILE", "this machine's certificate", false},
    {"kmip-key", "FILE", "its key, which only its owner may read", false},
    {"kmip-separate", NULL, "the servers do not share their keys: give each the new one", false},
    {"copy", "FILE", "with tpm: a copy of the key in FILE, under a passphrase", false},
    {"no-copy", NULL, "with tpm: none; without that TPM the data is lost", false},
    {"recovery", "print|FILE", "a recovery key, shown or in FILE (key recovery)", false},
    {"no-recovery", NULL, "with tpm and kmip: none, and no other way in", false},
    {"pin", NULL, "with tpm: a PIN is asked for, now and at each start", false},
    {"pin-file", "FILE", "read the PIN from FILE", false},
    {"pcrs", "N[,N…]", "with tpm: only while these PCRs have approved values", false},
    {"tcti", "TCTI", "how the TPM is reached (device:/dev/tpmrm0)", false},
    {"fingerprint", "HOW", "xxh3 (hits are compared) or hmac-sha256 (they need not be)", false},
    {"dry-run", NULL, "check everything, write nothing", false},
    {NULL},
};

const struct command command_create = {
    .noun = "create",
    .arguments = "DIR",
    .summary = "make a pool",
    .text = "Makes a pool directory with conf, key and witness, and the pool in a sparse file there or on the devices\n"
            "of --group. A device that carries anything (a file system, or a byte that is not zero in its first or last\n"
            "16 MiB), is mounted or in use is refused; --overwrite names the ones whose contents may be destroyed. Ends\n"
            "with the next commands to type.",
    .examples = "  coffer create /srv/pool --size 100G\n"
                "  coffer create /srv/pool --group g1=/dev/disk/by-id/nvme-A,/dev/disk/by-id/nvme-B\n"
                "  coffer create /srv/pool --seal passphrase\n"
                "  coffer create /srv/pool --provider kmip --kmip-server kms1.example --kmip-server kms2.example \\\n"
                "      --recovery print --kmip-ca ca.pem --kmip-certificate host.pem --kmip-key host.key\n"
                "  coffer create /srv/pool --seal tpm --copy /media/stick/pool.key\n"
                "  coffer create /srv/pool --seal tpm --recovery print\n"
                "  coffer create /srv/pool --group g1=/dev/sdb --overwrite /dev/sdb --dry-run\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_create,
};
