/*
 * `coffer key report`: all about the keys of a pool in one file, for an auditor: which there are, how old, where each wrapping
 * lies, what opens the pool again, who changed what, by which algorithms, and what health finds.
 *
 * It is composed of answers of the daemon and of this program's own self-test. No secret is among them: keys are told by number
 * and check value. The file is made whole and anew, never over another.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "engine/coffer.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/key_age.h"
#include "tools/key_audit.h"
#include "tools/selftest.h"
#include "tools/table.h"
#include "tools/text.h"

#define REPORT_FORMAT 1
#define CHANGES_MAX   20 /* of the audit's last entries on keys; of those that nothing proves as many, apart */
#define LINE_SIZE     512

/* ---- gathering ------------------------------------------------------------------------------------------------------ */

/* Health's checks that are of something else than keys. */
static bool is_of_keys(const char *id)
{
    static const char *const others[] = {"FENCED", "SPACE", "READ_ERRORS", "DATA_DAMAGED", "NO_COPIES", "DOUBLE_ENCRYPTION"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strcmp(others[i], id) == 0)
            return false;
    return true;
}

static json_t *findings_of(const json_t *health)
{
    json_t *array = json_array(), *row;
    size_t i;
    json_array_foreach((json_t *)health, i, row)
        if (is_of_keys(answer_word(row, "id")))
            json_array_append(array, row);
    return array;
}

static bool is_change(const json_t *entry)
{
    static const char *const others[] = {"pool.backup", "pool.restore", "pool.unlock_by_key", "pool.erase"};
    const char *operation = answer_word(entry, "operation");
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strcmp(others[i], operation) == 0)
            return true;
    return strncmp(operation, "key.", 4) == 0;
}

/* Whoever can write the pool directory can have made such an entry. A daemon of before does not say. */
static bool is_unproven(const json_t *entry)
{
    return json_is_false(json_object_get(entry, "proved"));
}

/* The last ones of either kind, in their order. How many there are in all is in *count. */
static json_t *changes_of(const json_t *list, bool unproven, size_t *count)
{
    json_t *changes = json_array();
    *count = 0;
    for (size_t i = json_array_size(list); i > 0; i--) {
        json_t *entry = json_array_get(list, i - 1);
        if (!is_change(entry) || is_unproven(entry) != unproven)
            continue;
        if ((*count)++ < CHANGES_MAX)
            json_array_insert(changes, 0, entry);
    }
    return changes;
}

/* Of the audit: how it is, and the last changes of keys. What is unproven pushes nothing out of those that are. */
static json_t *audit_of(const json_t *audit)
{
    json_t *list = json_object_get(audit, "list");
    size_t head = json_array_size(list), proven_count, unproven_count;
    json_t *proven = changes_of(list, false, &proven_count), *unproven = changes_of(list, true, &unproven_count);
    json_int_t entries = (json_int_t)answer_figure(audit, "entries"), anchored = (json_int_t)answer_figure(audit, "anchored");
    json_int_t from = (json_int_t)answer_figure(audit, "whole_from"), to = (json_int_t)answer_figure(audit, "whole_to");
    return json_pack("{s:I, s:I, s:I, s:s, s:I, s:I, s:O?, s:o, s:I, s:o}", "entries", entries, "anchored", anchored, "faults",
                     (json_int_t)answer_figure(audit, "faults"), "fault", answer_word(audit, "fault"), "whole_from", from,
                     "whole_to", to, "head", json_array_get(list, head - 1), "changes", proven, "unproven_entries",
                     (json_int_t)unproven_count, "unproven", unproven);
}

struct answers {
    json_t *status, *keys, *health, *audit, *algorithms;
};

static void answers_free(struct answers *answers)
{
    json_decref(answers->status);
    json_decref(answers->keys);
    json_decref(answers->health);
    json_decref(answers->audit);
    json_decref(answers->algorithms);
}

static enum error answers_ask(struct client *client, struct answers *answers)
{
    enum error proved;
    TRY(client_call(client, "pool.status", NULL, NULL, &answers->status));
    if (answer_flag(answers->status, "locked"))
        return error_explain(ERROR_LOCKED, "the pool is locked: a report needs it unlocked, since a locked one cannot verify its "
                                           "audit");
    TRY(client_call(client, "key.report", NULL, NULL, &answers->keys));
    TRY(client_call(client, "pool.health", NULL, NULL, &answers->health));
    TRY(key_audit_ask(client, &answers->audit));
    answers->algorithms = selftest_json(&proved); /* a failure is in it */
    return answers->algorithms == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static json_t *compose(const struct answers *answers)
{
    struct utsname machine = {0};
    (void)!uname(&machine);
    return json_pack("{s:i, s:I, s:s, s:s, s:s, s:b, s:s, s:O, s:o, s:O, s:o}", "format", REPORT_FORMAT, "taken",
                     (json_int_t)time(NULL), "machine", machine.nodename, "version", answer_word(answers->status, "version"),
                     "pool", answer_word(answers->status, "uuid"), "encryption", answer_flag(answers->status, "encryption"),
                     "fingerprint", answer_word(answers->status, "fingerprint"), "keys", answers->keys, "audit",
                     audit_of(answers->audit), "algorithms", answers->algorithms, "findings", findings_of(answers->health));
}

static enum error report_make(struct tool *tool, json_t **report)
{
    struct client *client;
    struct answers answers = {0};
    TRY(client_open(tool, &client));
    enum error error = answers_ask(client, &answers);
    client_close(client);
    if (error == ERROR_NONE && (*report = compose(&answers)) == NULL)
        error = ERROR_NO_MEMORY;
    answers_free(&answers);
    return error;
}

/* ---- as text -------------------------------------------------------------------------------------------------------- */

static void heading(FILE *out, const char *text)
{
    fprintf(out, "\n%s\n", text);
    for (size_t i = strlen(text); i > 0; i--)
        fputc('-', out);
    fputc('\n', out);
}

static void line(FILE *out, const char *label, const char *text)
{
    fprintf(out, "%-24s %s\n", label, text);
}

static const char *optional(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text == NULL || text[0] == '\0' ? "-" : text;
}

static void print_pool(FILE *out, const json_t *report)
{
    char time_text[TEXT_SIZE];
    const json_t *keys = json_object_get(report, "keys");
    fprintf(out, "Report on the keys of a Coffer pool\n===================================\n\n");
    line(out, "Pool", answer_word(report, "pool"));
    line(out, "Made", text_time(answer_figure(keys, "pool_created"), time_text));
    line(out, "Machine", answer_word(report, "machine"));
    line(out, "Coffer", answer_word(report, "version"));
    line(out, "Report taken", text_time(answer_figure(report, "taken"), time_text));
    line(out, "Encryption", "AES-256-XTS, keys of each segment derived from the data key of its device");
    fputs("Times are local. Nothing in this report is secret: keys are told by number and check value (KCV).\n", out);
}

static enum error print_providers(FILE *out, const json_t *keys)
{
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT}, {"TYPE", TABLE_LEFT}, {"SEAL", TABLE_LEFT},
                                                  {"USE", TABLE_LEFT},  {"ID", TABLE_LEFT},   {"PLACE", TABLE_LEFT}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    const json_t *providers = json_object_get(keys, "providers"), *row, *server;
    size_t i, s;
    heading(out, "Key providers");
    json_array_foreach((json_t *)providers, i, row)
    {
        char place[LINE_SIZE] = "";
        json_array_foreach(json_object_get(row, "servers"), s, server)
        {
            size_t used = strlen(place);
            snprintf(place + used, sizeof place - used, "%s%s", used == 0 ? "" : ", ", json_string_value(server));
        }
        table_add(table, NULL,
                  (const char *const[]){answer_word(row, "name"), answer_word(row, "type"), optional(row, "seal"),
                                        answer_flag(row, "in_force") ? "in force" : "-", answer_word(row, "id"),
                                        place[0] != '\0' ? place : optional(row, "path")});
    }
    enum error error = table_print(table, out);
    table_destroy(table);
    return error;
}

static void print_keks(FILE *out, const json_t *keys)
{
    char text[LINE_SIZE], age[KEY_AGE_SIZE];
    const json_t *row;
    size_t i;
    heading(out, "Root key and key encryption keys");
    if (json_object_get(keys, "root_kcv") != NULL) {
        snprintf(text, sizeof text, "KCV %s, made %s", answer_word(keys, "root_kcv"), key_age_text(keys, "root_made", age));
        line(out, "Root key", text);
    } else {
        line(out, "Root key", "none: the provider keeps the key encryption keys themselves");
    }
    snprintf(text, sizeof text, "number %" PRIu64 " of provider %s, KCV %s, made %s", answer_figure(keys, "kek_number"),
             answer_word(keys, "provider"), optional(keys, "kek_kcv"), key_age_text(keys, "kek_made", age));
    line(out, "In force", text);
    line(out, "In force since", key_age_text(keys, "key_since", age));
    json_array_foreach(json_object_get(keys, "retained"), i, row)
    {
        snprintf(text, sizeof text, "number %" PRIu64 " of provider %s (%s), not in force, not retired yet", answer_figure(row, "kek_number"),
                 optional(row, "provider"), answer_word(row, "provider_id"));
        line(out, "Retained", text);
    }
    if (answer_flag(keys, "half_done"))
        line(out, "Change of keys", "under way, or cut short: superblocks may be under two keys");
}

static void print_periods(FILE *out, const json_t *keys)
{
    static const struct {
        const char *name, *label;
    } periods[] = {{"key_period", "key-period"}, {"cryptoperiod", "cryptoperiod"}, {"rekey_every", "rekey-every"}};
    char text[TEXT_SIZE];
    heading(out, "Periods of coffer.conf");
    for (size_t i = 0; i < COUNT_OF(periods); i++) {
        line(out, periods[i].label, period_format(answer_figure(keys, periods[i].name), text, sizeof text));
    }
}

static void device_line(FILE *out, const json_t *device, const char *name, const char *label)
{
    char text[LINE_SIZE];
    const json_t *wrapping = json_object_get(device, name);
    if (!json_is_object(wrapping))
        return;
    snprintf(text, sizeof text, "key %" PRIu64 " of provider %s (%s)", answer_figure(wrapping, "kek_number"),
             optional(wrapping, "provider"), answer_word(wrapping, "provider_id"));
    line(out, label, text);
}

/* How much is under a key, or has its tags under it. */
static void volume_of(const json_t *rows, const char *device, uint64_t slot, char text[KEY_AGE_SIZE])
{
    char bytes[TEXT_SIZE];
    const json_t *row;
    size_t i;
    text[0] = '\0';
    json_array_foreach((json_t *)rows, i, row)
        if (strcmp(answer_word(row, "device"), device) == 0 && answer_figure(row, "slot") == slot)
            snprintf(text, KEY_AGE_SIZE, "%" PRIu64 " segments, %s", answer_figure(row, "segments"),
                     text_size(answer_figure(row, "segment_bytes"), bytes));
}

static enum error print_device(FILE *out, const json_t *keys, const json_t *device)
{
    static const struct table_column columns[] = {{"KEY", TABLE_LEFT},  {"SLOT", TABLE_RIGHT}, {"STATE", TABLE_LEFT},
                                                  {"KCV", TABLE_LEFT},  {"MADE", TABLE_LEFT},  {"UNDER IT", TABLE_LEFT}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    const char *path = answer_word(device, "device");
    const json_t *key;
    size_t i;
    fprintf(out, "\nDevice %s\n", path);
    line(out, "  Id", answer_word(device, "id"));
    device_line(out, device, "wrapped_under", "  Keys wrapped under");
    device_line(out, device, "also_under", "  … and under");
    json_array_foreach(json_object_get(device, "keys"), i, key)
    {
        char slot[TEXT_SIZE], volume[KEY_AGE_SIZE] = "", age[KEY_AGE_SIZE];
        snprintf(slot, sizeof slot, "%" PRIu64, answer_figure(key, "slot"));
        if (strcmp(answer_word(key, "kind"), "data") == 0)
            volume_of(json_object_get(keys, "data_keys"), path, answer_figure(key, "slot"), volume);
        if (strcmp(answer_word(key, "kind"), "tags") == 0)
            volume_of(json_object_get(keys, "tag_keys"), path, answer_figure(key, "slot"), volume);
        table_add(table, NULL,
                  (const char *const[]){answer_word(key, "kind"), slot, answer_flag(key, "current") ? "current" : "old",
                                        answer_word(key, "kcv"), key_age_text(key, "made", age), volume});
    }
    enum error error = table_print(table, out);
    table_destroy(table);
    return error;
}

static enum error print_devices(FILE *out, const json_t *keys)
{
    const json_t *device;
    size_t i;
    heading(out, "Keys on the devices");
    fputs("Each superblock (four copies) holds the slots below, wrapped by AES-256-KWP. `data` encrypts (DEK), `tags` authenticates\n"
          "units, headers and records (K_log; an old one the units of its time alone), `pool` serves fingerprints (the first),\n"
          "witness and audit (the current one; others prove older entries): K_pool.\n",
          out);
    json_array_foreach(json_object_get(keys, "devices"), i, device)
        TRY(print_device(out, keys, device));
    return ERROR_NONE;
}

static void print_way(FILE *out, const char *label, const json_t *date, const char *never)
{
    char text[LINE_SIZE], age[KEY_AGE_SIZE];
    snprintf(text, sizeof text, "%s%s", json_is_object(date) ? key_age_text(date, "time", age) : never,
             !json_is_object(date) || answer_flag(date, "current") ? "" : ": of another key than the one in force, which it does not open");
    line(out, label, text);
}

static void print_ways(FILE *out, const json_t *keys)
{
    char time_text[TEXT_SIZE];
    heading(out, "Backups, drills, and other ways in");
    print_way(out, "Last backup", json_object_get(keys, "backup"), "never made");
    print_way(out, "Last drill", json_object_get(keys, "drill"), "never made");
    line(out, "Next drill due", text_time(answer_figure(keys, "drill_due"), time_text));
    print_way(out, "Recovery key", json_object_get(keys, "recovery"), "none was made");
}

static enum error print_changes(FILE *out, const json_t *changes)
{
    static const struct table_column columns[] = {{"NUMBER", TABLE_RIGHT}, {"TIME", TABLE_LEFT}, {"UID", TABLE_RIGHT},
                                                  {"WHAT", TABLE_LEFT},    {"OF", TABLE_LEFT},   {"RESULT", TABLE_LEFT}};
    const json_t *entry;
    size_t i;
    if (json_array_size(changes) == 0) {
        fputs("none is recorded\n", out);
        return ERROR_NONE;
    }
    struct table *table = table_create(columns, COUNT_OF(columns));
    json_array_foreach((json_t *)changes, i, entry)
    {
        char number[TEXT_SIZE], uid[TEXT_SIZE], when[TEXT_SIZE];
        snprintf(number, sizeof number, "%" PRIu64, answer_figure(entry, "number"));
        snprintf(uid, sizeof uid, "%" PRIu64, answer_figure(entry, "uid"));
        table_add(table, NULL,
                  (const char *const[]){number, text_time(answer_figure(entry, "time"), when), uid, answer_word(entry, "operation"),
                                        answer_word(entry, "target"), answer_word(entry, "result")});
    }
    enum error error = table_print(table, out);
    table_destroy(table);
    return error;
}

static enum error print_audit(FILE *out, const json_t *audit)
{
    char text[LINE_SIZE], when[TEXT_SIZE];
    const json_t *head = json_object_get(audit, "head");
    uint64_t unproven = answer_figure(audit, "unproven_entries"), whole_from = answer_figure(audit, "whole_from");
    heading(out, "Audit");
    snprintf(text, sizeof text, "%" PRIu64 ", up to number %" PRIu64 " known apart from the file (witness, devices)",
             answer_figure(audit, "entries"), answer_figure(audit, "anchored"));
    line(out, "Entries", text);
    line(out, "Verified", answer_figure(audit, "faults") == 0 ? "each is as it was written" : answer_word(audit, "fault"));
    if (answer_figure(audit, "faults") != 0 && whole_from != 0) {
        snprintf(text, sizeof text, "numbers %" PRIu64 " to %" PRIu64 ", the last ones: each upon the one before", whole_from,
                 answer_figure(audit, "whole_to"));
        line(out, "As they were written", text);
    }
    if (json_is_object(head)) {
        snprintf(text, sizeof text, "number %" PRIu64 ", %s, %s: %s", answer_figure(head, "number"),
                 text_time(answer_figure(head, "time"), when), answer_word(head, "operation"), answer_word(head, "result"));
        line(out, "Head", text);
    }
    snprintf(text, sizeof text, "%" PRIu64 ", made without the key of the pool: whoever can write its directory can forge such", unproven);
    line(out, "Unproven changes", text);
    fputs("The last changes of keys:\n", out);
    TRY(print_changes(out, json_object_get(audit, "changes")));
    if (unproven == 0)
        return ERROR_NONE;
    fputs("The last that are unproven:\n", out);
    return print_changes(out, json_object_get(audit, "unproven"));
}

static enum error print_algorithms(FILE *out, const json_t *algorithms)
{
    static const struct table_column columns[] = {
        {"USE", TABLE_LEFT}, {"ALGORITHM", TABLE_LEFT}, {"PUBLICATION", TABLE_LEFT}, {"FIPS", TABLE_LEFT}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    const json_t *row;
    size_t i;
    heading(out, "Algorithms");
    json_array_foreach(json_object_get(algorithms, "algorithms"), i, row)
        table_add(table, NULL,
                  (const char *const[]){answer_word(row, "use"), answer_word(row, "algorithm"), answer_word(row, "publication"),
                                        answer_flag(row, "fips_approved") ? "approved" : "no"});
    enum error error = table_print(table, out);
    table_destroy(table);
    fprintf(out, "Known answers: %s. %s; its FIPS provider is %sactive. FIPS-approved algorithms, where the table says\nso; neither "
                 "Coffer nor this library in this use is validated.\n",
            answer_flag(algorithms, "passed") ? "passed" : answer_word(algorithms, "sentence"), answer_word(algorithms, "library"),
            answer_flag(algorithms, "fips_provider") ? "" : "not ");
    return error;
}

static void print_findings(FILE *out, const json_t *findings)
{
    const json_t *row;
    size_t i, count = 0;
    heading(out, "Findings");
    json_array_foreach((json_t *)findings, i, row)
    {
        if (strcmp(answer_word(row, "severity"), "ok") == 0)
            continue;
        count++;
        fprintf(out, "%s (%s): %s\n", answer_word(row, "id"), answer_word(row, "severity"), answer_word(row, "evidence"));
        if (answer_word(row, "command")[0] != '\0')
            fprintf(out, "    mended by: %s\n", answer_word(row, "command"));
    }
    if (count == 0)
        fputs("none\n", out);
    fputs("\nChecked, and well:\n", out);
    json_array_foreach((json_t *)findings, i, row)
        if (strcmp(answer_word(row, "severity"), "ok") == 0)
            fprintf(out, "%s: %s\n", answer_word(row, "id"), answer_word(row, "evidence"));
}

static enum error print_report(FILE *out, const json_t *report)
{
    const json_t *keys = json_object_get(report, "keys");
    print_pool(out, report);
    TRY(print_providers(out, keys));
    print_keks(out, keys);
    print_periods(out, keys);
    TRY(print_devices(out, keys));
    print_ways(out, keys);
    TRY(print_audit(out, json_object_get(report, "audit")));
    TRY(print_algorithms(out, json_object_get(report, "algorithms")));
    print_findings(out, json_object_get(report, "findings"));
    return ERROR_NONE;
}

/* ---- the verb ------------------------------------------------------------------------------------------------------- */

/* malloc'ed. */
static enum error report_text(const json_t *report, bool json, char **text, size_t *size)
{
    FILE *out = open_memstream(text, size);
    if (out == NULL)
        return ERROR_NO_MEMORY;
    enum error error = ERROR_NONE;
    if (!json)
        error = print_report(out, report);
    else if (json_dumpf(report, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF)
        error = ERROR_NO_MEMORY;
    if (fclose(out) != 0 && error == ERROR_NONE)
        error = ERROR_NO_MEMORY;
    return error;
}

static size_t findings_count(const json_t *report)
{
    size_t i, count = 0;
    json_t *row;
    json_array_foreach(json_object_get(report, "findings"), i, row)
        count += strcmp(answer_word(row, "severity"), "ok") != 0 && strcmp(answer_word(row, "severity"), "note") != 0;
    return count;
}

static enum error tell(struct tool *tool, const json_t *report, const char *path)
{
    size_t count = findings_count(report);
    if (!tool->json) {
        fprintf(tool->out, "%s tells of the keys of the pool. Warnings and errors in it: %zu. There is no secret in it.\n", path,
                count);
        return ERROR_NONE;
    }
    json_t *json = json_pack("{s:s, s:I}", "file", path, "findings", (json_int_t)count);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static enum error report_store(struct tool *tool, const json_t *report, const char *path)
{
    AUTO_FREE char *text = NULL;
    size_t size;
    TRY(report_text(report, tool->json, &text, &size));
    if (strcmp(path, "-") == 0)
        return fwrite(text, 1, size, tool->out) == size ? ERROR_NONE : error_explain(ERROR_IO, "cannot write the output");
    enum error error = file_create_own(path, text, size);
    if (error == ERROR_EXISTS)
        return error_explain(error, "%s exists already: nothing is overwritten, name another file", path);
    TRY(error);
    return tell(tool, report, path);
}

static enum error run_report(struct tool *tool, const struct arguments *arguments)
{
    json_t *report;
    TRY(report_make(tool, &report));
    enum error error = report_store(tool, report, arguments->positional[0]);
    json_decref(report);
    return error;
}

static const struct option_row no_options[] = {{NULL}};

const struct command command_key_report = {
    .noun = "key",
    .verb = "report",
    .arguments = "FILE",
    .summary = "all about the keys in one file, for an auditor",
    .text = "Writes a report: the providers; root key, key encryption keys and data keys with their check values, ages, states and\n"
            "the amount of data under each; on which device and in which slot each is wrapped under what; backups, drills, the\n"
            "recovery key; the last changes of keys and how the audit is; the algorithms with their publications, and whether\n"
            "OpenSSL's FIPS provider is active; all that `health` says of keys. There is no secret in it. FILE must not exist;\n"
            "only its owner can read it. `-` is standard output. With --json the report is JSON. The pool must be unlocked.",
    .examples = "  coffer -C /srv/pool key report /root/keys-2026.txt\n"
                "  coffer -C /srv/pool --json key report keys.json\n"
                "  coffer -C /srv/pool key report - | less\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = no_options,
    .run = run_report,
};
