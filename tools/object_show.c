/*
 * `coffer object show` and `coffer object uri`: what a virtual disk holds, and how to reach it.
 *
 * The figures of its usage take the daemon a walk over the disk's map, so they come by a call of their own, by UUID:
 * both halves tell of the same object also where another took its name in between. Nothing is changed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/object_call.h"
#include "tools/object_version.h"
#include "tools/place.h"
#include "tools/table.h"
#include "tools/text.h"
#include "tools/uri.h"

/* ---- show ---------------------------------------------------------------------------------------------------- */

/* Both differences may be negative: units have headers, and data that cannot be compressed gains nothing by them. */
static enum error add_savings(json_t *object)
{
    json_int_t logical = (json_int_t)answer_figure(object, "logical_bytes"),
               unique = (json_int_t)answer_figure(object, "unique_bytes");
    json_int_t stored = (json_int_t)answer_figure(object, "stored_bytes");
    double random = (double)answer_figure(object, "random_bytes");
    int failed = json_object_set_new(object, "dedup_saved_bytes", json_integer(logical - unique));
    failed |= json_object_set_new(object, "compression_saved_bytes", json_integer(unique - stored));
    failed |=
        json_object_set_new(object, "random_share", json_real(stored > 0 ? MIN(random / (double)stored, 1.0) : 0));
    return failed ? ERROR_NO_MEMORY : ERROR_NONE;
}

static void add_line(struct table *table, const char *label, const char *text)
{
    table_add(table, NULL, (const char *const[]){label, text});
}

static void add_bytes(struct table *table, const char *label, uint64_t bytes, const char *note)
{
    char size[TEXT_SIZE], text[4 * TEXT_SIZE];
    snprintf(text, sizeof(text), "%s%s%s", text_size(bytes, size), note[0] == '\0' ? "" : "  ", note);
    add_line(table, label, text);
}

static void add_count(struct table *table, const char *label, uint64_t count)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text), "%" PRIu64, count);
    add_line(table, label, text);
}

static void add_saving(struct table *table, const char *label, json_int_t saved, uint64_t whole)
{
    char size[TEXT_SIZE], share[TEXT_SIZE], text[3 * TEXT_SIZE];
    snprintf(text, sizeof(text), "%s%s (%s)", saved < 0 ? "-" : "",
             text_size((uint64_t)(saved < 0 ? -saved : saved), size),
             text_percent((double)saved, (double)whole, share));
    add_line(table, label, text);
}

static void add_usage(struct table *table, const json_t *object)
{
    char text[TEXT_SIZE];
    uint64_t logical = answer_figure(object, "logical_bytes"), unique = answer_figure(object, "unique_bytes");
    add_bytes(table, "Logical", logical, "written and not trimmed");
    add_bytes(table, "Unique", unique, "distinct blocks of this disk");
    add_bytes(table, "Stored", answer_figure(object, "stored_bytes"), "their share of what lies on the devices");
    add_bytes(table, "Map", answer_figure(object, "map_bytes"), "where its blocks are");
    add_saving(table, "Saved by deduplication", json_integer_value(json_object_get(object, "dedup_saved_bytes")),
               logical);
    add_saving(table, "Saved by compression", json_integer_value(json_object_get(object, "compression_saved_bytes")),
               unique);
    add_line(table, "Looks encrypted",
             text_percent(json_number_value(json_object_get(object, "random_share")),
                          answer_figure(object, "stored_bytes") > 0, text));
    add_line(table, "Measured", text_time(answer_figure(object, "taken"), text));
}

static const char *object_state(const json_t *object, char text[TEXT_SIZE])
{
    char when[TEXT_SIZE];
    uint64_t count = answer_figure(object, "open_count");
    if (answer_flag(object, "deleting"))
        snprintf(text, TEXT_SIZE, "being freed");
    else if (answer_figure(object, "deleted") != 0)
        snprintf(text, TEXT_SIZE, "in the trash until %.20s", text_time(answer_figure(object, "purge_at"), when));
    else if (count == 0)
        snprintf(text, TEXT_SIZE, "not open");
    else
        snprintf(text, TEXT_SIZE, "open, %" PRIu64 " connection%s", count, count == 1 ? "" : "s");
    return text;
}

static enum error print_object(struct tool *tool, const json_t *object, bool usage)
{
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    char text[TEXT_SIZE], kept[2 * TEXT_SIZE];
    struct table *table = table_create(columns, COUNT_OF(columns));
    add_line(table, "Name", answer_word(object, "name"));
    add_line(table, "UUID", answer_word(object, "uuid"));
    add_line(table, "State", object_state(object, text));
    add_line(table, "Created", text_time(answer_figure(object, "created"), text));
    if (json_string_length(json_object_get(object, "hosts")) > 0)
        add_line(table, "Hosts", answer_word(object, "hosts"));
    if (answer_flag(object, "is_snapshot"))
        add_line(table, "Kept", snapshot_protection(object, kept)[0] == '\0' ? "it can be deleted" : kept);
    else
        add_count(table, "Snapshots", answer_figure(object, "snapshots"));
    add_bytes(table, "Size", answer_figure(object, "size"), "");
    if (answer_figure(object, "reserved") != 0) {
        char missing[TEXT_SIZE], note[2 * TEXT_SIZE];
        snprintf(note, sizeof(note), "%s held beside what it stores",
                 text_size(answer_figure(object, "reserved_missing"), missing));
        add_bytes(table, "Reserved", answer_figure(object, "reserved"), note);
    }
    if (usage)
        add_usage(table, object);
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

static enum error add_measured(struct tool *tool, json_t *object)
{
    char waiting[400];
    struct client *client;
    json_t *usage;
    snprintf(waiting, sizeof(waiting), "measuring %s", answer_word(object, "name"));
    TRY(client_open(tool, &client));
    enum error error =
        client_call(client, "object.usage", json_pack("{s:s}", "name", answer_word(object, "uuid")), waiting, &usage);
    client_close(client);
    TRY(error);
    int failed = json_object_update(object, usage);
    json_decref(usage);
    return failed ? ERROR_NO_MEMORY : add_savings(object);
}

static enum error run_show(struct tool *tool, const struct arguments *arguments)
{
    bool usage = !argument_given(arguments, "no-usage");
    json_t *object;
    TRY(object_ask(tool, "object.show", json_pack("{s:s}", "name", arguments->positional[0]), &object));
    enum error error = usage ? add_measured(tool, object) : ERROR_NONE;
    if (error == ERROR_NONE)
        error = tool->json ? tool_print_json(tool, object) : print_object(tool, object, usage);
    json_decref(object);
    return error;
}

/* ---- uri ----------------------------------------------------------------------------------------------------- */

static enum error print_uri_json(struct tool *tool, const char *uri, const char *client, const char *text)
{
    json_t *json = json_pack("{s:s, s:s*, s:s*}", "uri", uri, "for", client, "text", text);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static enum error print_uri(struct tool *tool, const char *client, const char *address, const json_t *object)
{
    AUTO_FREE char *uri = NULL;
    AUTO_FREE char *text = NULL;
    TRY(uri_make(address, answer_word(object, "name"), &uri));
    if (client != NULL)
        TRY(uri_for(client, address, answer_word(object, "name"), answer_figure(object, "size"), &text));
    if (tool->json)
        return print_uri_json(tool, uri, client, text);
    if (text != NULL)
        fputs(text, tool->out);
    else
        fprintf(tool->out, "%s\n", uri);
    return ERROR_NONE;
}

/* A name and a UUID find what lies in the trash as well, and that is served to nobody. */
static enum error check_served(struct tool *tool, const json_t *object)
{
    const char *name = answer_word(object, "name");
    const char *disk = answer_flag(object, "is_snapshot") ? name : answer_word(object, "uuid");
    if (answer_flag(object, "deleting"))
        return error_explain(ERROR_NOT_FOUND, "'%s' was deleted and is being freed: nobody can attach it", name);
    if (answer_figure(object, "deleted") != 0)
        return error_explain(ERROR_NOT_FOUND,
                             "'%s' is in the trash and not served: `%s trash restore %.*s` brings it back", name,
                             tool_self(tool), (int)strcspn(disk, "@"), disk);
    return ERROR_NONE;
}

static enum error run_uri(struct tool *tool, const struct arguments *arguments)
{
    AUTO_FREE char *address = NULL;
    json_t *object = NULL;
    TRY(object_ask(tool, "object.show", json_pack("{s:s}", "name", arguments->positional[0]), &object));
    enum error error = check_served(tool, object);
    if (error == ERROR_NONE)
        error = place_nbd_told(tool, argument_value(arguments, "nbd", NULL), &address);
    if (error == ERROR_NONE)
        error = print_uri(tool, argument_value(arguments, "for", NULL), address, object);
    json_decref(object);
    return error;
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

static const struct option_row show_options[] = {
    {"no-usage", NULL, "leave out what takes a walk over the whole disk's map", false},
    {NULL},
};
static const struct option_row uri_options[] = {
    {"for", "CLIENT", "what to type for qemu, libvirt, nbd-client or fio", false},
    {"nbd", "ADDRESS", "another way to it than cofferd tells itself: unix:PATH or tcp:HOST:PORT", false},
    {NULL},
};

const struct command command_object_show = {
    .noun = "object",
    .verb = "show",
    .arguments = "NAME",
    .summary = "one disk, and what dedup and compression saved",
    .text =
        "Shows a disk by name or UUID: what was written (logical), its distinct blocks (unique), their share of what\n"
        "lies on the devices (stored), and how much of it looks encrypted. These figures take a walk over the\n"
        "disk's map, which takes a while on a large one; blocks shared with other disks count for each of them.",
    .examples = "  coffer object show disk1\n"
                "  coffer --json object show disk1 | jq .stored_bytes\n"
                "  coffer object show disk1 --no-usage\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = show_options,
    .run = run_show,
};

const struct command command_object_uri = {
    .noun = "object",
    .verb = "uri",
    .arguments = "NAME",
    .summary = "its NBD URI, or what to type for a client",
    .text = "Prints the NBD URI of a disk, or with --for what to type for a client. Where NBD is served\n"
            "cofferd tells; --nbd names another way to it.",
    .examples = "  coffer object uri disk1\n"
                "  coffer object uri disk1 --for qemu\n"
                "  nbdcopy image.raw \"$(coffer object uri disk1)\"\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = uri_options,
    .run = run_uri,
};
