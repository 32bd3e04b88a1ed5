/*
 * `coffer key provider use` and `reseal`: a swap to another provider, and another passphrase. The daemon does it; which secrets
 * it needs is known beforehand from the conf and from the daemon, which says how the present key is sealed. Secrets go from the
 * arena to the socket and nowhere else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "engine/pool/providers.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/key_copies.h"
#include "tools/key_provider.h"
#include "tools/second_way.h"
#include "tools/text.h"
#include "tools/unlock_way.h"

#define MORE_SIZE      192
#define RECOVERY_PLACE 2 /* behind "use" and the name */

struct change {
    const struct provider_task *task;
    struct client *client;
    const char *method;
    char more[MORE_SIZE]; /* its parameters that are not secret */
    const char *seal;     /* of the present key, as the daemon says; borrowed of `status` */
    json_t *status;
    struct kept_key kept; /* the proof, where it is not the present passphrase */
    struct second_way second;
    char *present, *next; /* in the arena; NULL: none */
    size_t present_size, next_size;
};

static enum error present_read(struct change *change, const char *prompt)
{
    return passphrase_read(argument_value(change->task->arguments, "passphrase-file", NULL), prompt, false, &change->present,
                           &change->present_size);
}

/* A key in a file is its own proof; whether a TPM wants a PIN shows when it is asked. */
static enum error present_take(struct change *change)
{
    bool by_passphrase = strcmp(change->seal, "passphrase") == 0, by_tpm = strcmp(change->seal, "tpm") == 0;
    bool given = argument_given(change->task->arguments, "passphrase-file");
    if (given && !by_passphrase && !by_tpm)
        return error_explain(ERROR_INVALID, "no passphrase seals the present key of this pool: leave out --passphrase-file");
    return given || by_passphrase ? present_read(change, "Passphrase of the pool, as a proof: ") : ERROR_NONE;
}

static enum error next_take(struct change *change, const char *seal)
{
    const char *file = argument_value(change->task->arguments, "new-passphrase-file", NULL);
    bool by_passphrase = seal != NULL && strcmp(seal, "passphrase") == 0, by_tpm = seal != NULL && strcmp(seal, "tpm") == 0;
    if (file != NULL && !by_passphrase && !by_tpm)
        return error_explain(ERROR_INVALID, "no passphrase will seal the new key: leave out --new-passphrase-file");
    if (file == NULL && !by_passphrase)
        return ERROR_NONE;
    return passphrase_read(file, by_tpm ? "PIN for the new key: " : "New passphrase: ", true, &change->next,
                           &change->next_size);
}

static enum error call(struct change *change, json_t **result)
{
    struct client_secret secrets[2];
    size_t count = 0;
    AUTO_FREE char *members = NULL;
    bool by_kept = change->kept.member != NULL;
    if (asprintf(&members, "%s%s%s", change->more, by_kept ? "," : "", by_kept ? change->kept.member : "") < 0)
        return ERROR_NO_MEMORY;
    if (by_kept)
        secrets[count++] = (struct client_secret){"passphrase", change->kept.passphrase, change->kept.size};
    else if (change->present != NULL)
        secrets[count++] = (struct client_secret){"passphrase", change->present, change->present_size};
    if (change->next != NULL)
        secrets[count++] = (struct client_secret){"new_passphrase", change->next, change->next_size};
    return client_call_with_secrets(change->client, change->method, members, secrets, count, "changing the key", result);
}

static enum error call_with_pin(struct change *change, json_t **result)
{
    enum error error = call(change, result);
    if (error != ERROR_LOCKED || change->present != NULL || change->kept.member != NULL || strcmp(change->seal, "tpm") != 0)
        return error;
    TRY(present_read(change, "PIN of the pool, as a proof: "));
    return call(change, result);
}

static enum error status_take(struct change *change)
{
    TRY(client_call(change->client, "key.status", NULL, NULL, &change->status));
    change->seal = answer_word(change->status, "seal");
    return ERROR_NONE;
}

static void change_end(struct change *change)
{
    client_close(change->client);
    json_decref(change->status);
    kept_key_forget(&change->kept);
    second_way_forget(&change->second);
    arena_free(change->present);
    arena_free(change->next);
}

/* ---- use --------------------------------------------------------------------------------------------------------- */

/* The newest of the old keys is that of the provider of before. */
static void print_retained(FILE *out, const json_t *retained)
{
    const json_t *newest = json_array_get(retained, json_array_size(retained) - 1);
    const char *name = answer_word(newest, "provider");
    if (newest != NULL)
        fprintf(out, "Provider %s keeps its key, which opens old images of the disks: `coffer key retire --destroy %s` ends it.\n",
                name, name);
}

static void print_used(const struct change *change, const json_t *status)
{
    const struct tool *tool = change->task->tool;
    char time[TEXT_SIZE];
    duration_format(answer_figure(status, "nanoseconds"), time, sizeof time);
    fprintf(tool->out, "Key number %" PRIu64 " of provider %s is in force; it took %s. No stored data changed.\n",
            answer_figure(status, "kek_number"), answer_word(status, "provider"), time);
    const char *type = answer_word(status, "type"), *seal = answer_word(status, "seal");
    bool by_tpm = strcmp(seal, "tpm") == 0;
    if (by_tpm && change->second.copy == NULL && change->second.recovery == NULL)
        fputs("Without a copy the data is lost with this TPM: `coffer key tpm copy --to FILE`.\n", tool->out);
    else if (!by_tpm && strcmp(type, "kmip") != 0)
        fputs("Without its key file the data is lost: keep a copy elsewhere.\n", tool->out);
    fputs(change->second.recovery == NULL ? KEY_OUTDATED_LINE : KEY_OUTDATED_BACKUP_LINE, tool->out);
    print_retained(tool->out, json_object_get(status, "retained"));
}

static enum error print_rehearsed(struct tool *tool, const json_t *status)
{
    char time[TEXT_SIZE];
    duration_format(answer_figure(status, "nanoseconds"), time, sizeof time);
    fprintf(tool->out,
            "The swap would work: a key was made, fetched anew, tried on the keys of all devices, and taken back; it took "
            "%s. Key number %" PRIu64 " of provider %s is in force as before.\n",
            time, answer_figure(status, "kek_number"), answer_word(status, "provider"));
    return ERROR_NONE;
}

static enum error use(struct change *change, const struct provider_config *provider, json_t **result)
{
    TRY(status_take(change));
    TRY(kept_key_read(change->task->arguments, RECOVERY_PLACE, &change->kept));
    if (change->kept.member == NULL)
        TRY(present_take(change));
    TRY(next_take(change, provider->seal));
    return call_with_pin(change, result);
}

static enum error show(const struct change *change, bool dry_run, json_t *result)
{
    if (dry_run || change->task->tool->json)
        return answer_show(change->task->tool, result, print_rehearsed);
    print_used(change, result);
    json_decref(result);
    return ERROR_NONE;
}

static enum error make_second(const struct change *change)
{
    const struct provider_secret secret = {change->next, change->next_size};
    return second_way_make(change->task->tool, change->task->conf->directory, &change->second,
                           change->next == NULL ? NULL : &secret);
}

/* The swap is done: an answer that cannot be printed keeps no second way from being made. */
static enum error used(const struct change *change, bool dry_run, json_t *result)
{
    enum error shown = show(change, dry_run, result), made = dry_run ? ERROR_NONE : make_second(change);
    return made == ERROR_NONE ? shown : made;
}

enum error provider_use(const struct provider_task *task)
{
    const struct provider_config *provider;
    bool dry_run = argument_given(task->arguments, "dry-run");
    struct change change = {.task = task, .method = "key.use"};
    json_t *result;
    if (task->name == NULL)
        return error_explain(ERROR_INVALID, "name the provider whose key is to be in force");
    TRY(kept_key_check(task->arguments, RECOVERY_PLACE));
    TRY(provider_named(task->conf, task->name, &provider));
    snprintf(change.more, sizeof change.more, "\"provider\":\"%s\"%s%s", provider->name, dry_run ? ",\"dry_run\":true" : "",
             argument_given(task->arguments, "accept-cycle") ? ",\"accept_cycle\":true" : "");
    enum error error = second_way_take(task->tool, task->arguments, task->conf->directory, provider, dry_run, &change.second);
    if (error == ERROR_NONE)
        error = client_open(task->tool, &change.client);
    if (error == ERROR_NONE)
        error = use(&change, provider, &result);
    if (error == ERROR_NONE)
        error = used(&change, dry_run, result);
    change_end(&change);
    return error;
}

/* ---- reseal ------------------------------------------------------------------------------------------------------ */

static enum error print_resealed(struct tool *tool, const json_t *status)
{
    fprintf(tool->out,
            "The new passphrase is the one of the pool: the key file of provider %s is a new one, with key number %" PRIu64
            ". Copies of the old one, and the old passphrase, open this pool no more.\n" KEY_OUTDATED_LINE,
            answer_word(status, "provider"), answer_figure(status, "kek_number"));
    return ERROR_NONE;
}

static enum error reseal(struct change *change, json_t **result)
{
    TRY(status_take(change));
    if (strcmp(change->seal, "tpm") == 0)
        return error_explain(ERROR_INVALID,
                             "the key is sealed in a TPM: `coffer key tpm reseal` gives it another PIN or other PCRs");
    if (strcmp(change->seal, "passphrase") != 0)
        return error_explain(ERROR_INVALID,
                             "no passphrase seals the key of this pool: to seal it by one, add a provider (`coffer key "
                             "provider add NAME --type native --seal passphrase`) and use it");
    if (change->task->name != NULL && strcmp(change->task->name, answer_word(change->status, "provider")) != 0)
        return error_explain(ERROR_INVALID, "provider %s has no key in force: only that of %s can be sealed anew",
                             change->task->name, answer_word(change->status, "provider"));
    TRY(present_take(change));
    TRY(next_take(change, change->seal));
    return call(change, result);
}

enum error provider_reseal(const struct provider_task *task)
{
    struct change change = {.task = task, .method = "key.rekey", .more = "\"new_root\":true"};
    json_t *result;
    enum error error = client_open(task->tool, &change.client);
    if (error == ERROR_NONE)
        error = reseal(&change, &result);
    change_end(&change);
    return error != ERROR_NONE ? error : answer_show(task->tool, result, print_resealed);
}
