/*
 * `coffer key tpm`: what is done with a key that a TPM sealed, beside opening the pool by it.
 *
 * Offline, on the key file of the key in force, which is not the one that coffer.conf names while a new root waits to take its
 * place (crypto/provider_root.h): a daemon that runs has its key already and is not asked. The file is replaced as a whole
 * (crypto/provider_tpm.h), so a crash leaves the old or the new one.
 */
#include <string.h>

#include "base/hex.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider_root.h"
#include "crypto/provider_tpm.h"
#include "engine/pool/kek_number.h"
#include "tools/command.h"
#include "tools/cycle.h"
#include "tools/offline_audit.h"
#include "tools/pcrs.h"
#include "tools/place.h"
#include "tools/table.h"

struct key_task {
    struct tool *tool;
    const struct arguments *arguments;
    const struct pool_conf *conf;
    struct provider_root root;
    const struct provider_config *provider; /* with the path of the file that counts */
    struct tpm_way way;
    char *secret; /* of the way, in the arena; NULL: none */
    char *pin;    /* the new one, likewise */
};

/* ---- where the key comes from --------------------------------------------------------------------------------- */

/* A file that was put back would be copied and approved as well, and opens nothing any more. */
static enum error file_choose(struct key_task *task)
{
    const struct pool_conf *conf = task->conf;
    struct kek_expected expected;
    TRY(kek_expect(conf, NULL, &expected));
    const struct provider_config *provider = expected.provider;
    if (provider == NULL || strcmp(provider->type, "native") != 0 || strcmp(provider->seal, "tpm") != 0)
        return error_explain(ERROR_INVALID, "the key of pool %s is not sealed in a TPM", conf->directory);
    TRY(provider_root_choose(provider, expected.number, &task->root));
    task->provider = &task->root.config;
    return root_check(&expected);
}

/* No other key comes into force while the pool directory is locked. */
static enum error file_counts(const void *context)
{
    const struct key_task *task = context;
    struct key_task now = {.conf = task->conf};
    enum error error = file_choose(&now);
    if (error != ERROR_NONE)
        return error_prefix(error, "nothing was changed");
    return strcmp(now.provider->path, task->provider->path) == 0
               ? ERROR_NONE
               : error_explain(ERROR_AGAIN, "another key came into force meanwhile: nothing was changed, try again");
}

/* The copy's passphrase, or the PIN where the key has one: both come by --passphrase-file, or are asked for. */
static enum error way_find(struct key_task *task)
{
    const char *file = argument_value(task->arguments, "passphrase-file", NULL);
    uint32_t flags;
    struct tpm_binding binding;
    task->way.copy = argument_value(task->arguments, "copy", NULL);
    if (task->way.copy != NULL) {
        TRY(passphrase_read(file, "Passphrase of the copy of the key: ", false, &task->secret,
                            &task->way.copy_secret.passphrase_size));
        task->way.copy_secret.passphrase = task->secret;
        return ERROR_NONE;
    }
    TRY(provider_tpm_look(task->provider, &flags, &binding));
    if (!(flags & TPM_FLAG_PIN))
        return ERROR_NONE;
    TRY(passphrase_read(file, "PIN of the key: ", false, &task->secret, &task->way.pin.passphrase_size));
    task->way.pin.passphrase = task->secret;
    return ERROR_NONE;
}

/* ---- approve and approvals ------------------------------------------------------------------------------------ */

static enum error digest_of_words(const struct key_task *task, uint8_t digest[TPM_PCR_SIZE])
{
    uint8_t next[TPM_PCRS][TPM_PCR_SIZE] = {{0}};
    uint32_t pcrs = 0;
    size_t count;
    const char *const *words = argument_values(task->arguments, "next", &count);
    for (size_t i = 0; i < count; i++)
        TRY(pcr_value_parse("next", words[i], &pcrs, next));
    return provider_tpm_digest(task->provider, pcrs, (const uint8_t(*)[TPM_PCR_SIZE])next, digest);
}

static json_t *pcrs_json(uint32_t pcrs)
{
    json_t *list = json_array();
    for (int i = 0; i < TPM_PCRS; i++)
        if (pcrs & UINT32_C(1) << i)
            json_array_append_new(list, json_integer(i));
    return list;
}

static enum error json_tell(struct tool *tool, json_t *json)
{
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static json_t *approvals_json(const struct tpm_binding *binding, const uint8_t *now)
{
    char text[HEX_TEXT_SIZE(TPM_PCR_SIZE)];
    json_t *list = json_array();
    for (uint32_t i = binding->approval_count; i-- > 0;) {
        hex_format(binding->approvals[i].digest, TPM_PCR_SIZE, text);
        json_array_append_new(
            list, json_pack("{s:s, s:b}", "digest", text, "now",
                            now != NULL && memcmp(binding->approvals[i].digest, now, TPM_PCR_SIZE) == 0));
    }
    return json_pack("{s:o, s:o}", "pcrs", pcrs_json(binding->pcrs), "approvals", list);
}

static enum error approvals_table(struct tool *tool, const struct tpm_binding *binding, const uint8_t *now)
{
    static const struct table_column columns[] = {{"APPROVED (NEWEST FIRST)", TABLE_LEFT}, {"NOW", TABLE_LEFT}};
    char text[HEX_TEXT_SIZE(TPM_PCR_SIZE)], pcrs[PCRS_TEXT_SIZE];
    pcrs_format(binding->pcrs, pcrs);
    fprintf(tool->out, "The key is bound to PCRs %s.\n\n", pcrs);
    struct table *table = table_create(columns, COUNT_OF(columns));
    for (uint32_t i = binding->approval_count; i-- > 0;) {
        hex_format(binding->approvals[i].digest, TPM_PCR_SIZE, text);
        bool is_now = now != NULL && memcmp(binding->approvals[i].digest, now, TPM_PCR_SIZE) == 0;
        table_add(table, NULL, (const char *const[]){text, is_now ? "yes" : ""});
    }
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

/* Where the TPM is not to be had, what was approved is told all the same. */
static enum error run_approvals(struct key_task *task)
{
    static const uint8_t no_next[TPM_PCRS][TPM_PCR_SIZE];
    uint8_t digest[TPM_PCR_SIZE];
    uint32_t flags;
    struct tpm_binding binding;
    TRY(provider_tpm_look(task->provider, &flags, &binding));
    if (!(flags & TPM_FLAG_PCRS))
        return error_explain(ERROR_INVALID, "the key is bound to no PCRs; `coffer key tpm reseal --pcrs 7` binds it");
    const uint8_t *now = provider_tpm_digest(task->provider, 0, no_next, digest) == ERROR_NONE ? digest : NULL;
    if (now == NULL)
        error_forget();
    if (!task->tool->json)
        return approvals_table(task->tool, &binding, now);
    return json_tell(task->tool, approvals_json(&binding, now));
}

static enum error run_approve(struct key_task *task)
{
    uint8_t digest[TPM_PCR_SIZE];
    TRY(digest_of_words(task, digest));
    TRY(way_find(task));
    TRY(provider_tpm_approve(task->provider, &task->way, digest));
    return run_approvals(task);
}

/* ---- reseal --------------------------------------------------------------------------------------------------- */

static enum error new_pin_read(struct key_task *task, uint32_t flags, struct provider_secret *pin)
{
    bool asks = argument_given(task->arguments, "pin");
    const char *file = argument_value(task->arguments, "pin-file", NULL);
    *pin = (struct provider_secret){NULL, 0};
    if (asks + (file != NULL) + argument_given(task->arguments, "no-pin") > 1)
        return error_explain(ERROR_INVALID, "--pin, --pin-file or --no-pin: one of them");
    if (flags & TPM_FLAG_PIN && !asks && file == NULL && !argument_given(task->arguments, "no-pin"))
        return error_explain(ERROR_INVALID, "the key has a PIN: --pin asks for the new one, --no-pin seals it without");
    if (!asks && file == NULL)
        return ERROR_NONE;
    TRY(passphrase_read(file, "New PIN: ", true, &task->pin, &pin->passphrase_size));
    pin->passphrase = task->pin;
    return ERROR_NONE;
}

static enum error new_pcrs_choose(const struct key_task *task, const struct tpm_binding *before, uint32_t *pcrs)
{
    const char *text = argument_value(task->arguments, "pcrs", NULL);
    if (text != NULL && argument_given(task->arguments, "no-pcrs"))
        return error_explain(ERROR_INVALID, "--pcrs or --no-pcrs: one of them");
    *pcrs = argument_given(task->arguments, "no-pcrs") ? 0 : before->pcrs;
    return text == NULL ? ERROR_NONE : pcrs_parse("pcrs", text, pcrs);
}

static enum error run_reseal(struct key_task *task)
{
    struct provider_config provider = *task->provider;
    struct provider_secret pin;
    struct tpm_binding before;
    uint32_t flags;
    TRY(provider_tpm_look(task->provider, &flags, &before));
    TRY(new_pcrs_choose(task, &before, &provider.pcrs));
    TRY(new_pin_read(task, flags, &pin));
    TRY(way_find(task));
    TRY(provider_tpm_reseal(&provider, &task->way, &pin));
    if (task->tool->json)
        return json_tell(task->tool, json_pack("{s:s, s:o, s:b}", "file", provider.path, "pcrs", pcrs_json(provider.pcrs), "pin",
                                               pin.passphrase_size > 0));
    fputs("Sealed anew. Copies of the old key file may still open in the TPM that sealed it: destroy them.\n", task->tool->out);
    return ERROR_NONE;
}

/* ---- copy ----------------------------------------------------------------------------------------------------- */

static enum error run_copy(struct key_task *task)
{
    const char *path = argument_value(task->arguments, "to", NULL);
    struct provider_secret pin = {NULL, 0}, copy = {NULL, 0};
    struct tpm_binding binding;
    uint32_t flags;
    if (path == NULL)
        return error_explain(ERROR_INVALID, "name the file that is to be made: --to FILE");
    TRY(cycle_check(path, task->way.directory));
    TRY(provider_tpm_look(task->provider, &flags, &binding));
    if (flags & TPM_FLAG_PIN)
        TRY(passphrase_read(argument_value(task->arguments, "pin-file", NULL), "PIN of the key: ", false, &task->pin,
                            &pin.passphrase_size));
    TRY(passphrase_read(argument_value(task->arguments, "passphrase-file", NULL), "Passphrase for the copy of the key: ", true,
                        &task->secret, &copy.passphrase_size));
    pin.passphrase = task->pin;
    copy.passphrase = task->secret;
    TRY(provider_tpm_copy(task->provider, &pin, path, &copy));
    if (task->tool->json)
        return json_tell(task->tool, json_pack("{s:s}", "file", path));
    fputs("The copy is made. Keep it away from the machine.\n", task->tool->out);
    return ERROR_NONE;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum error (*run)(struct key_task *task);
    const char *options[8];
} actions[] = {
    {"approve", run_approve, {"next", "copy", "passphrase-file"}},
    {"approvals", run_approvals, {NULL}},
    {"copy", run_copy, {"to", "passphrase-file", "pin-file"}},
    {"reseal", run_reseal, {"copy", "passphrase-file", "pin", "pin-file", "no-pin", "pcrs", "no-pcrs"}},
};

static const struct option_row options[] = {
    {"next", "PCR=VALUE", "approve: as it will be, in 64 digits; the others as they are", true},
    {"copy", "FILE", "by the copy of the key, not by the TPM", false},
    {"to", "FILE", "copy: the file to be made", false},
    {"passphrase-file", "FILE", "the passphrase of the copy, or the PIN, is in FILE", false},
    {"pcrs", "N[,N…]", "reseal: bind it to these PCRs; else to those of before", false},
    {"no-pcrs", NULL, "reseal: bind it to none", false},
    {"pin", NULL, "reseal: ask for a new PIN", false},
    {"pin-file", "FILE", "reseal: read the new PIN from FILE; copy: the PIN", false},
    {"no-pin", NULL, "reseal: without a PIN", false},
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
        return error_explain(ERROR_INVALID, "key tpm knows no '%s': say approve, approvals, copy or reseal",
                             arguments->positional[0]);
    for (const struct option_row *row = options; row->name != NULL; row++)
        if (argument_given(arguments, row->name) && !is_of(*action, row->name))
            return error_explain(ERROR_INVALID, "--%s is not for key tpm %s", row->name, actions[*action].name);
    return ERROR_NONE;
}

/* The key stays where it is sealed: nothing here can prove the line. What only looks leaves none. */
static enum error run_and_audit(struct key_task *task, const struct pool_conf *conf, size_t action)
{
    char operation[32];
    enum error error = actions[action].run(task);
    snprintf(operation, sizeof operation, "key.tpm-%s", actions[action].name);
    if (actions[action].run != run_approvals)
        offline_audit(task->tool, conf, NULL, operation, NULL, error);
    return error;
}

static enum error run_tpm(struct tool *tool, const struct arguments *arguments)
{
    struct key_task task = {.tool = tool, .arguments = arguments};
    struct pool_conf *conf;
    const char *directory;
    size_t action;
    TRY(action_find(arguments, &action));
    TRY(place_directory(tool, NULL, &directory));
    TRY(pool_conf_read(directory, &conf));
    task.conf = conf;
    task.way.directory = conf->directory;
    task.way.counts = file_counts;
    task.way.context = &task;
    enum error error = file_choose(&task);
    if (error == ERROR_NONE)
        error = run_and_audit(&task, conf, action);
    arena_free(task.secret);
    arena_free(task.pin);
    pool_conf_destroy(conf);
    return error;
}

const struct command command_key_tpm = {
    .noun = "key",
    .verb = "tpm",
    .arguments = "approve|approvals|copy|reseal",
    .summary = "a key sealed in the TPM: approve PCRs, seal it anew",
    .text = "A key that is bound to PCRs opens where they have values that were approved. `approve` adds the values of\n"
            "now, or with --next those of the next start, before an update changes them: the TPM must still open the\n"
            "key, or --copy name its copy. The newest eight are kept; `approvals` lists them. `reseal` seals the key\n"
            "anew in the TPM that answers, which may be another one, and revokes all that was approved. `copy` makes a\n"
            "copy of the key under a passphrase, like `create --copy`. Offline: a daemon that runs is not asked.",
    .examples = "  coffer -C /srv/pool key tpm approvals\n"
                "  coffer -C /srv/pool key tpm approve --next 7=VALUE\n"
                "  coffer -C /srv/pool key tpm approve --copy /media/stick/pool.key\n"
                "  coffer -C /srv/pool key tpm copy --to /media/stick/pool.key\n"
                "  coffer -C /srv/pool key tpm reseal --pcrs 7\n"
                "  coffer -C /srv/pool key tpm reseal --copy /media/stick/pool.key\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_tpm,
};
