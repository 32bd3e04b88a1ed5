/*
 * `coffer key provider test`: whether who keeps the pool's key would give it now.
 *
 * It asks by itself and not through the daemon, so that it works before the first start and while the pool is locked; it
 * must therefore be run by whoever may read the key files. Everything that an unlock needs is tried, the key included,
 * which is wiped again; of it only the check value is shown. Which key is asked for the witness says, of which nothing is
 * believed: a wrong number finds no key. Nothing is written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_kmip.h"
#include "crypto/provider_root.h"
#include "engine/pool/conf.h"
#include "engine/pool/kek_number.h"
#include "tools/command.h"
#include "tools/place.h"
#include "tools/suggest.h"
#include "tools/table.h"

#define KCV_TEXT_SIZE (2 * KCV_SIZE + 1)

/* What is tested. */
struct test {
    struct tool *tool;
    const struct pool_conf *conf;
    const struct provider_config *provider;
    struct provider_kek which;
};

static void kcv_format(const uint8_t kcv[KCV_SIZE], char text[KCV_TEXT_SIZE])
{
    for (size_t i = 0; i < KCV_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", kcv[i]);
}

/* ---- which provider, which key ------------------------------------------------------------------------------------ */

static enum error choose_provider(struct test *test, const char *name)
{
    const struct pool_conf *conf = test->conf;
    const char *names[POOL_PROVIDERS_MAX];
    test->provider = conf->provider;
    if (name == NULL && conf->provider == NULL)
        return error_explain(ERROR_NOT_FOUND, "the pool is not encrypted: nobody keeps a key of it");
    if (name == NULL)
        return ERROR_NONE;
    for (size_t i = 0; i < conf->provider_count; i++) {
        names[i] = conf->providers[i].name;
        if (strcmp(names[i], name) != 0)
            continue;
        test->provider = &conf->providers[i];
        return ERROR_NONE;
    }
    const char *near = suggest(name, names, conf->provider_count);
    return error_explain(ERROR_NOT_FOUND, "%s/%s has no [provider %s]%s%s%s", conf->directory, POOL_CONF_NAME, name,
                         near == NULL ? "" : "; did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'?");
}

static enum error choose_key(struct test *test)
{
    test->which = (struct provider_kek){.pool = test->conf->pool};
    return pool_kek_number(test->conf, test->provider, &test->which.number);
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

static enum error test_of_pool(struct test *test, const char *name, const char *passphrase_file)
{
    const struct provider_ops *operations;
    TRY(choose_provider(test, name));
    TRY(provider_find(test->provider, &operations));
    TRY(choose_key(test));
    return operations->open_kek != NULL ? test_kmip(test) : test_native(test, operations, passphrase_file);
}

static enum error run_provider(struct tool *tool, const struct arguments *arguments)
{
    struct place place;
    struct pool_conf *conf;
    if (strcmp(arguments->positional[0], "test") != 0)
        return error_explain(ERROR_INVALID, "'key provider' cannot '%s': there is test", arguments->positional[0]);
    TRY(place_find(tool, &place));
    enum error error = place.directory == NULL ? error_explain(ERROR_NOT_FOUND, "name the pool directory by -C")
                                               : pool_conf_read(place.directory, &conf);
    if (error == ERROR_NONE) {
        struct test test = {.tool = tool, .conf = conf};
        error = test_of_pool(&test, arguments->positional_count > 1 ? arguments->positional[1] : NULL,
                             argument_value(arguments, "passphrase-file", NULL));
        pool_conf_destroy(conf);
    }
    place_deinit(&place);
    return error;
}

static const struct option_row options[] = {
    {"passphrase-file", "FILE", "read the passphrase or the PIN from FILE (\"-\": standard input)", false},
    {NULL},
};

const struct command command_key_provider = {
    .noun = "key",
    .verb = "provider",
    .arguments = "test [NAME]",
    .summary = "whether who keeps the key would give it now",
    .text = "Fetches the key of the pool from the provider NAME, or from the current one, as an unlock would, shows its\n"
            "check value, and forgets it. Each KMIP server is asked: connection, certificates, version, the one key of\n"
            "that name, its state and attributes, the key itself; all must give the same one. Run it as the owner of\n"
            "the key files. The pool may be open, locked, or stopped. The exit status is 1 where a server fails.\n"
            "Whether the key is the one of these disks, and not an older one, an unlock tells.",
    .examples = "  coffer -C /srv/pool key provider test\n"
                "  coffer -C /srv/pool --json key provider test kmip\n",
    .positional_min = 1,
    .positional_max = 2,
    .options = options,
    .run = run_provider,
};
