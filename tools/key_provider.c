/*
 * `coffer key provider`: what it does, and `test`: whether who keeps the pool's key would give it now.
 *
 * It asks by itself and not through the daemon, so that it works before the first start and while the pool is locked; it
 * must therefore be run by whoever may read the key files. Everything that an unlock needs is tried, the key included,
 * which is wiped again; of it only the check value is shown. Which key is asked for, and which check value the one in force
 * has, the witness says, of which nothing else is believed: a wrong number finds no key. Nothing is written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_kmip.h"
#include "crypto/provider_look.h"
#include "crypto/provider_root.h"
#include "engine/pool/conf.h"
#include "engine/pool/kek_number.h"
#include "tools/command.h"
#include "tools/key_provider.h"
#include "tools/offline_audit.h"
#include "tools/place.h"
#include "tools/table.h"

/* What is tested. */
struct test {
    struct tool *tool;
    const struct pool_conf *conf;
    const struct provider_config *provider;
    struct kek_expected expected; /* of it */
    struct provider_kek which;
};

/* ---- which provider, which key ------------------------------------------------------------------------------------ */

static enum error choose_named(const struct test *test, const char *name, const struct provider_config **provider)
{
    const struct pool_conf *conf = test->conf;
    const char *names[POOL_PROVIDERS_MAX];
    for (size_t i = 0; i < conf->provider_count; i++) {
        names[i] = conf->providers[i].name;
        if (strcmp(names[i], name) != 0)
            continue;
        *provider = &conf->providers[i];
        return ERROR_NONE;
    }
    const char *near = suggest(name, names, conf->provider_count);
    return error_explain(ERROR_NOT_FOUND, "%s/%s has no [provider %s]%s%s%s", conf->directory, POOL_CONF_NAME, name,
                         near == NULL ? "" : "; did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'?");
}

/* Without a name the one whose key is in force. */
static enum error choose(struct test *test, const char *name)
{
    const struct provider_config *named = NULL;
    if (name != NULL)
        TRY(choose_named(test, name, &named));
    else if (test->conf->provider == NULL)
        return error_explain(ERROR_NOT_FOUND, "the pool is not encrypted: nobody keeps a key of it");
    TRY(kek_expect(test->conf, named, &test->expected));
    test->provider = test->expected.provider;
    test->which = (struct provider_kek){.pool = test->conf->pool, .number = test->expected.number};
    return ERROR_NONE;
}

/* One that keeps no key of the pool is asked whether it could. */
static enum error test_unused(const struct test *test)
{
    TRY(provider_ready_check(test->provider, &(struct provider_kek){.pool = test->conf->pool}));
    if (!test->tool->json) {
        fprintf(test->tool->out, "Provider %s keeps no key of this pool, and could make one.\n", test->provider->name);
        return ERROR_NONE;
    }
    json_t *json = json_pack("{s:s, s:s, s:b}", "provider", test->provider->name, "type", test->provider->type, "ok", 1);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(test->tool, json);
    json_decref(json);
    return error;
}

/* ---- KMIP --------------------------------------------------------------------------------------------------------- */

static json_t *report_json(const struct kmip_report *report)
{
    char kcv[KCV_TEXT_SIZE], version[24];
    kcv_format(report->kcv, kcv);
    snprintf(version, sizeof(version), "%u.%u", report->version.major, report->version.minor);
    return json_pack("{s:s, s:b, s:b, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "server", report->server, "ok",
                     report->error == ERROR_NONE, "reached", report->reached, "version",
                     report->reached ? version : NULL, "vendor", report->vendor[0] == '\0' ? NULL : report->vendor, "id",
                     report->id[0] == '\0' ? NULL : report->id, "state", report->state, "kcv",
                     report->fetched ? kcv : NULL, "error",
                     report->error == ERROR_NONE ? NULL : error_name(report->error), "sentence",
                     report->error == ERROR_NONE ? NULL : report->sentence);
}

static enum error servers_tell_json(const struct test *test, const char *key, const struct kmip_report *reports, bool ok)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < test->provider->server_count; i++)
        json_array_append_new(servers, report_json(&reports[i]));
    json_t *json = json_pack("{s:s, s:s, s:s, s:b, s:o}", "provider", test->provider->name, "type", "kmip", "key", key,
                             "ok", ok, "servers", servers);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(test->tool, json);
    json_decref(json);
    return error;
}

static enum error servers_tell(const struct test *test, const char *key, const struct kmip_report *reports)
{
    static const struct table_column columns[] = {
        {"SERVER", TABLE_LEFT}, {"KMIP", TABLE_LEFT},        {"KEY", TABLE_LEFT},
        {"STATE", TABLE_LEFT},  {"CHECK VALUE", TABLE_LEFT}, {"RESULT", TABLE_LEFT},
    };
    struct table *table = table_create(columns, COUNT_OF(columns));
    fprintf(test->tool->out, "Provider %s, key %s\n", test->provider->name, key);
    for (size_t i = 0; i < test->provider->server_count; i++) {
        const struct kmip_report *report = &reports[i];
        char kcv[KCV_TEXT_SIZE], version[24];
        kcv_format(report->kcv, kcv);
        snprintf(version, sizeof(version), "%u.%u", report->version.major, report->version.minor);
        table_add(table, NULL,
                  (const char *const[]){report->server, report->reached ? version : "-",
                                        report->id[0] == '\0' ? "-" : report->id,
                                        report->state == NULL ? "-" : report->state, report->fetched ? kcv : "-",
                                        report->error == ERROR_NONE ? "ok" : "failed"});
    }
    enum error error = table_print(table, test->tool->out);
    table_destroy(table);
    for (size_t i = 0; i < test->provider->server_count; i++)
        if (reports[i].error != ERROR_NONE)
            fprintf(test->tool->out, "%s: %s\n", reports[i].server, reports[i].sentence);
    return error;
}

static enum error test_kmip(const struct test *test)
{
    char key[KMIP_NAME_SIZE];
    bool ok = true;
    AUTO_FREE struct kmip_report *reports = memory_zeroed(PROVIDER_SERVERS_MAX, sizeof(*reports));
    if (reports == NULL)
        return ERROR_NO_MEMORY;
    kmip_key_name(&test->which, key);
    TRY(provider_kmip_test(test->provider, &test->which, true, reports));
    kek_compare(&test->expected, reports);
    for (size_t i = 0; i < test->provider->server_count; i++)
        ok = ok && reports[i].error == ERROR_NONE;
    if (!ok)
        test->tool->status = EXIT_FAILED;
    return test->tool->json ? servers_tell_json(test, key, reports, ok) : servers_tell(test, key, reports);
}

/* ---- native ------------------------------------------------------------------------------------------------------- */

static enum error native_kcv(const struct test *test, const struct provider_ops *operations,
                             const struct provider_secret *secret, char text[KCV_TEXT_SIZE])
{
    uint8_t *kdk = arena_allocate(KEY_SIZE), kcv[KCV_SIZE];
    if (kdk == NULL)
        return ERROR_NO_MEMORY;
    struct provider_root root;
    enum error error = provider_root_choose(test->provider, test->which.number, &root);
    if (error == ERROR_NONE)
        error = operations->open(&root.config, secret, kdk);
    if (error == ERROR_NONE)
        error = kcv_derive(kdk, test->provider->id, kcv);
    if (error == ERROR_NONE)
        error = root_compare(&test->expected, kcv);
    if (error == ERROR_NONE)
        kcv_format(kcv, text);
    arena_free(kdk);
    return error;
}

/* By a passphrase or PIN. */
static enum error native_kcv_by(const struct test *test, const struct provider_ops *operations, const char *file,
                                const char *prompt, char text[KCV_TEXT_SIZE])
{
    struct provider_secret secret;
    char *passphrase;
    TRY(passphrase_read(file, prompt, false, &passphrase, &secret.passphrase_size));
    secret.passphrase = passphrase;
    enum error error = native_kcv(test, operations, &secret, text);
    arena_free(passphrase);
    return error;
}

static enum error test_native(const struct test *test, const struct provider_ops *operations, const char *passphrase_file)
{
    char kcv[KCV_TEXT_SIZE];
    const struct provider_config *provider = test->provider;
    enum error error;
    if (operations->needs_passphrase) {
        error = native_kcv_by(test, operations, passphrase_file, "Passphrase of the pool: ", kcv);
    } else {
        error = native_kcv(test, operations, NULL, kcv);
        if (error == ERROR_LOCKED) /* its file says that it has a PIN */
            error = native_kcv_by(test, operations, passphrase_file, "PIN of the pool: ", kcv);
    }
    TRY(error);
    if (!test->tool->json) {
        fprintf(test->tool->out, "Provider %s, %s: ok, check value %s\n", provider->name, provider->path, kcv);
        return ERROR_NONE;
    }
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:b}", "provider", provider->name, "type", provider->type, "seal",
                             provider->seal, "kcv", kcv, "ok", 1);
    error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(test->tool, json);
    json_decref(json);
    return error;
}

/* ---- the verb ----------------------------------------------------------------------------------------------------- */

static enum error provider_test(const struct provider_task *task)
{
    struct test test = {.tool = task->tool, .conf = task->conf};
    const struct provider_ops *operations;
    TRY(choose(&test, task->name));
    TRY(provider_find(test.provider, &operations));
    if (test.which.number == 0)
        return test_unused(&test);
    return operations->open_kek != NULL
               ? test_kmip(&test)
               : test_native(&test, operations, argument_value(task->arguments, "passphrase-file", NULL));
}

static const struct {
    const char *name;
    enum error (*run)(const struct provider_task *task);
    const char *options[13];
} actions[] = {
    {"list", provider_list, {NULL}},
    {"test", provider_test, {"passphrase-file"}},
    {"add", provider_add, {"type", "seal", "path", "tcti", "pcrs", "servers", "ca", "certificate", "key", "separate", "tpm-cache", "id", "kcv"}},
    {"use", provider_use, {"passphrase-file", "new-passphrase-file", "dry-run", "accept-cycle", "key", "password-file", "recovery",
                             "new-recovery", "no-recovery", "copy", "copy-passphrase-file", "no-copy"}},
    {"reseal", provider_reseal, {"passphrase-file", "new-passphrase-file"}},
    {"remove", provider_remove, {"keep-keys"}},
};

static const struct option_row options[] = {
    {"type", "TYPE", "add: native, or kmip", false},
    {"seal", "SEAL", "add: of type native: file, passphrase or tpm", false},
    {"path", "FILE", "add: of type native: where the key is to lie; else NAME.key in the pool directory", false},
    {"tcti", "TCTI", "add: of seal tpm, or with --tpm-cache: how the TPM is reached (device:/dev/tpmrm0)", false},
    {"pcrs", "N[,N…]", "add: of seal tpm: bind its keys to these PCRs", false},
    {"servers", "HOST[:PORT]", "add: of type kmip: a server; say it for each, in the order in which they are tried", true},
    {"ca", "FILE", "add: of type kmip: the certificates of whom to trust, in PEM", false},
    {"certificate", "FILE", "add: of type kmip: this machine's certificate", false},
    {"key", "FILE", "add: of type kmip: its key, which only its owner may read; use: a backup, as the proof", false},
    {"separate", NULL, "add: of type kmip: the servers do not share their keys", false},
    {"tpm-cache", "TIME", "add: of type kmip: for so long (7d; off) the TPM opens the pool while no server answers", false},
    {"id", "UUID", "add: the id that it had when it was removed, or on another host; else that of a key file at --path", false},
    {"kcv", "DIGITS", "add: of type native: only if the key file at --path has this check value", false},
    {"passphrase-file", "FILE", "the present passphrase or PIN is in FILE (\"-\": standard input)", false},
    {"new-passphrase-file", "FILE", "use, reseal: the passphrase or PIN of the new key is in FILE", false},
    {"password-file", "FILE", "use: the password of the backup is in FILE", false},
    {"recovery", NULL, "use: the proof is the recovery key, which is asked for or in FILE", false},
    {"new-recovery", "print|FILE", "use: a recovery key of the new key, shown or in FILE (key recovery)", false},
    {"no-recovery", NULL, "use: of tpm and kmip: none, and no other way in", false},
    {"copy", "FILE", "use: of seal tpm: also a copy of the key, under a passphrase", false},
    {"copy-passphrase-file", "FILE", "use: its passphrase is in FILE", false},
    {"no-copy", NULL, "use: of seal tpm: none; without that TPM the data is lost", false},
    {"dry-run", NULL, "use: try everything, switch nothing, and take the new key back", false},
    {"accept-cycle", NULL, "use: although a disk of this pool is that key server's own (object set --hosts)", false},
    {"keep-keys", NULL, "remove: leave old keys of it where they are", false},
    {NULL},
};

static bool is_of(size_t action, const char *option)
{
    for (size_t i = 0; i < COUNT_OF(actions[action].options) && actions[action].options[i] != NULL; i++)
        if (strcmp(actions[action].options[i], option) == 0)
            return true;
    return false;
}

static enum error action_find(const struct arguments *arguments, size_t *action)
{
    for (*action = 0; *action < COUNT_OF(actions); (*action)++)
        if (strcmp(actions[*action].name, arguments->positional[0]) == 0)
            break;
    if (*action == COUNT_OF(actions))
        return error_explain(ERROR_INVALID, "'key provider' cannot '%s': there are list, test, add, use, reseal and remove",
                             arguments->positional[0]);
    if (actions[*action].run == provider_list && arguments->positional_count > 1)
        return error_explain(ERROR_INVALID, "key provider list takes no name");
    for (const struct option_row *row = options; row->name != NULL; row++)
        if (argument_given(arguments, row->name) && !is_of(*action, row->name))
            return error_explain(ERROR_INVALID, "--%s is not for key provider %s", row->name, actions[*action].name);
    if (arguments->positional_count > 2 && actions[*action].run != provider_use)
        return error_explain(ERROR_INVALID, "key provider %s takes no '%s'", actions[*action].name, arguments->positional[2]);
    return ERROR_NONE;
}

/* The other actions change nothing, or are the daemon's. No key is at hand. */
static void provider_audit(struct tool *tool, const struct pool_conf *conf, size_t action, const char *name, enum error result)
{
    char operation[32], target[PROVIDER_NAME_MAX + sizeof "provider "];
    if (name == NULL || (actions[action].run != provider_add && actions[action].run != provider_remove))
        return;
    snprintf(operation, sizeof operation, "key.provider-%s", actions[action].name);
    snprintf(target, sizeof target, "provider %.*s", PROVIDER_NAME_MAX, name);
    offline_audit(tool, conf, NULL, operation, target, result);
}

static enum error run_provider(struct tool *tool, const struct arguments *arguments)
{
    struct place place;
    struct pool_conf *conf;
    size_t action;
    TRY(action_find(arguments, &action));
    TRY(place_find(tool, &place));
    enum error error = place.directory == NULL ? error_explain(ERROR_NOT_FOUND, "name the pool directory by -C")
                                               : pool_conf_read(place.directory, &conf);
    if (error == ERROR_NONE) {
        const char *name = arguments->positional_count > 1 ? arguments->positional[1] : NULL;
        error = actions[action].run(&(struct provider_task){tool, arguments, conf, name});
        provider_audit(tool, conf, action, name, error);
        pool_conf_destroy(conf);
    }
    place_deinit(&place);
    return error;
}

const struct command command_key_provider = {
    .noun = "key",
    .verb = "provider",
    .arguments = "list|test|add|use|reseal|remove [NAME] [--recovery [FILE]]",
    .summary = "who keeps the key, and a swap to another one",
    .text =
        "A pool may have several key providers, of which one keeps the key in force. `list` shows them. `add` writes one\n"
        "into coffer.conf, once it was seen that it could make a key; a key file that is at --path already (of `key restore`, or\n"
        "brought from another host) is looked at and compared, and one of a provider that the pool has is refused.\n"
        "`use` swaps: a new key is made there, every device is\n"
        "put under both keys and read back, and then under the new one alone, while the pool is in use; the present key\n"
        "is asked for as a proof, or, where its provider has lost it, a backup (--key FILE.p12) or the recovery key\n"
        "(--recovery). A crash leaves the one in force or the other. `use --dry-run` rehearses. The old provider\n"
        "keeps its key until `key retire --destroy NAME` ends it; `remove` takes it out of coffer.conf. `reseal` seals the key\n"
        "of the pool by a new passphrase; of a key in a TPM see `key tpm reseal`. After `use` and `reseal` backups and the\n"
        "recovery key are outdated: make new ones (key backup, key recovery). A key in a TPM or on key servers is lost with them:\n"
        "a swap there wants --new-recovery or --copy, a second way in, or the word that there is none.\n"
        "`test` fetches the key from NAME, or from the provider in force, as an unlock would, compares it with what is known\n"
        "of the key in force, shows its check value, and forgets it. Each KMIP server is asked: connection, certificates,\n"
        "version, the one key of that name, its state and attributes, the key itself; all must give the same one. The exit\n"
        "status is 1 where a server fails. Run these as the owner of the key files. The pool may be open, locked, or\n"
        "stopped, but for `use` and `reseal`, which the daemon of an open pool does.",
    .examples = "  coffer -C /srv/pool key provider list\n"
                "  coffer -C /srv/pool key provider test\n"
                "  coffer -C /srv/pool key provider add board --type native --seal tpm --pcrs 7\n"
                "  coffer -C /srv/pool key provider add old --type native --seal file --path old.key --kcv 2f4d00c15a3be971\n"
                "  coffer -C /srv/pool key provider add kms --type kmip --servers kms1.example --servers kms2.example \\\n"
                "      --ca ca.pem --certificate host.pem --key host.key\n"
                "  coffer -C /srv/pool key provider use kms --dry-run\n"
                "  coffer -C /srv/pool key provider use kms --new-recovery print\n"
                "  coffer -C /srv/pool key provider use board --copy /media/stick/pool.key\n"
                "  coffer -C /srv/pool key provider use kms --no-recovery --key pool.p12\n"
                "  coffer -C /srv/pool key provider remove native\n",
    .positional_min = 1,
    .positional_max = 3,
    .options = options,
    .run = run_provider,
};
