/*
 * `coffer object …`: virtual disks, made, listed and changed. What one holds is told by object_show.c.
 *
 * What a verb changes, the daemon answers with the object as it is afterwards; the sentences are made from that
 * answer, never from what was asked for.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/shell.h"
#include "base/size.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/object_call.h"
#include "tools/object_version.h"
#include "tools/table.h"
#include "tools/text.h"

/* ---- create, rename, resize, delete -------------------------------------------------------------------------- */

/* SIZE, `full` or `none`, as the daemon takes it. Takes over `parameters`. */
static enum error ask_reserved(struct tool *tool, const char *method, const char *text, json_t *parameters, json_t **object)
{
    uint64_t bytes = 0;
    bool full = strcmp(text, "full") == 0;
    if (!full && strcmp(text, "none") != 0 && size_parse(text, &bytes) != ERROR_NONE) {
        json_decref(parameters);
        return error_explain(ERROR_INVALID, "'%s' cannot be reserved: write 20G, 512M, a number of bytes, full or none",
                             text);
    }
    if (parameters != NULL && (json_object_set_new(parameters, "reserve", json_integer((json_int_t)bytes)) != 0 ||
                               json_object_set_new(parameters, "full", json_boolean(full)) != 0)) {
        json_decref(parameters);
        return ERROR_NO_MEMORY;
    }
    return object_ask(tool, method, parameters, object);
}

/* Where the daemon has something to say of a tag. */
static void tell_note(struct tool *tool, const json_t *object)
{
    if (json_object_get(object, "note") != NULL)
        fprintf(tool->out, "Note: %s%s\n", answer_word(object, "note"), strchr(answer_word(object, "note"), '?') == NULL ? "." : "");
}

static enum error tell_created(struct tool *tool, const json_t *object)
{
    char size[TEXT_SIZE];
    const char *hosts = json_string_value(json_object_get(object, "hosts"));
    bool tagged = hosts != NULL && hosts[0] != '\0';
    AUTO_FREE char *name = shell_quote(answer_word(object, "name"));
    fprintf(tool->out, "Created '%s', %s%s%s. How to attach it: %s object uri %s\n", answer_word(object, "name"),
            text_size(answer_figure(object, "size"), size), tagged ? ", the disk of key provider " : "",
            tagged ? hosts + strlen("kms:") : "", tool_self(tool), name == NULL ? "NAME" : name);
    tell_note(tool, object);
    return ERROR_NONE;
}

static enum error run_create(struct tool *tool, const struct arguments *arguments)
{
    uint64_t size = 0;
    const char *hosts = argument_value(arguments, "hosts", "none");
    json_t *object;
    TRY(argument_size(arguments, "size", &size));
    TRY(ask_reserved(tool, "object.create", argument_value(arguments, "reserve", "none"),
                     json_pack("{s:s, s:I, s:s*}", "name", arguments->positional[0], "size", (json_int_t)size, "hosts",
                               strcmp(hosts, "none") == 0 ? NULL : hosts),
                     &object));
    return answer_show(tool, object, tell_created);
}

static enum error tell_reserved(struct tool *tool, const json_t *object)
{
    char size[TEXT_SIZE], missing[TEXT_SIZE];
    if (answer_figure(object, "reserved") == 0)
        fprintf(tool->out, "Nothing is reserved for '%s'.\n", answer_word(object, "name"));
    else
        fprintf(tool->out, "%s are reserved for '%s'; %s of the pool are held for it beside what it stores.\n",
                text_size(answer_figure(object, "reserved"), size), answer_word(object, "name"),
                text_size(answer_figure(object, "reserved_missing"), missing));
    return ERROR_NONE;
}

static enum error run_reserve(struct tool *tool, const struct arguments *arguments)
{
    json_t *object;
    TRY(ask_reserved(tool, "object.reserve", arguments->positional[1],
                     json_pack("{s:s}", "name", arguments->positional[0]), &object));
    return answer_show(tool, object, tell_reserved);
}

static enum error tell_set(struct tool *tool, const json_t *object)
{
    const char *hosts = answer_word(object, "hosts");
    if (hosts[0] == '\0')
        fprintf(tool->out, "'%s' is the disk of no key server.\n", answer_word(object, "name"));
    else
        fprintf(tool->out, "'%s' is the disk of key provider %s: that provider can open this pool only with --accept-cycle.\n",
                answer_word(object, "name"), hosts + strlen("kms:"));
    tell_note(tool, object);
    return ERROR_NONE;
}

static enum error run_set(struct tool *tool, const struct arguments *arguments)
{
    const char *hosts = argument_value(arguments, "hosts", NULL);
    json_t *object;
    if (hosts == NULL)
        return error_explain(ERROR_INVALID, "say what to set: --hosts kms:NAME, or --hosts none");
    TRY(object_ask(tool, "object.set",
                   json_pack("{s:s, s:s}", "name", arguments->positional[0], "hosts", strcmp(hosts, "none") == 0 ? "" : hosts),
                   &object));
    return answer_show(tool, object, tell_set);
}

static enum error run_rename(struct tool *tool, const struct arguments *arguments)
{
    json_t *object;
    TRY(object_ask(tool, "object.rename",
                   json_pack("{s:s, s:s}", "name", arguments->positional[0], "new_name", arguments->positional[1]),
                   &object));
    enum error error = ERROR_NONE;
    if (tool->json)
        error = tool_print_json(tool, object);
    else
        fprintf(tool->out, "'%s' is now '%s'.\n", arguments->positional[0], answer_word(object, "name"));
    json_decref(object);
    return error;
}

static enum error tell_resized(struct tool *tool, const json_t *object)
{
    char size[TEXT_SIZE];
    fprintf(tool->out, "'%s' has %s.\n", answer_word(object, "name"), text_size(answer_figure(object, "size"), size));
    return ERROR_NONE;
}

static enum error run_resize(struct tool *tool, const struct arguments *arguments)
{
    uint64_t size = 0;
    json_t *object;
    TRY(argument_size(arguments, "size", &size));
    TRY(object_ask(tool, "object.resize",
                   json_pack("{s:s, s:I, s:b}", "name", arguments->positional[0], "size", (json_int_t)size, "shrink",
                             argument_given(arguments, "shrink")),
                   &object));
    return answer_show(tool, object, tell_resized);
}

static enum error tell_gone(struct tool *tool, const json_t *object)
{
    fprintf(tool->out, "'%s' is gone; its space comes back in the background.\n", answer_word(object, "name"));
    return ERROR_NONE;
}

static enum error tell_deleted(struct tool *tool, const json_t *object)
{
    char when[TEXT_SIZE], left[TEXT_SIZE];
    if (answer_flag(object, "deleting"))
        return tell_gone(tool, object);
    uint64_t purge_at = answer_figure(object, "purge_at");
    fprintf(tool->out, "'%s' is in the trash until %s (%s)%s.\nGet it back: %s trash restore %s\n",
            answer_word(object, "name"), text_time(purge_at, when), text_until((uint64_t)time(NULL), purge_at, left),
            answer_flag(object, "kept") ? ", or longer: a snapshot of it is held or locked" : "", tool_self(tool),
            answer_word(object, "uuid"));
    return ERROR_NONE;
}

static enum error run_delete(struct tool *tool, const struct arguments *arguments)
{
    bool now = argument_given(arguments, "now");
    json_t *object;
    if (strchr(arguments->positional[0], '@') != NULL) /* which no disk's name holds */
        return snapshot_drop(tool, arguments->positional[0]);
    TRY(object_ask(tool, "object.delete", json_pack("{s:s, s:b}", "name", arguments->positional[0], "now", now),
                   &object));
    return answer_show(tool, object, tell_deleted);
}

/* ---- list ---------------------------------------------------------------------------------------------------- */

static void add_row(struct table *table, const json_t *object)
{
    char size[TEXT_SIZE], created[TEXT_SIZE], open_count[TEXT_SIZE], snapshots[TEXT_SIZE];
    snprintf(snapshots, sizeof(snapshots), "%" PRIu64, answer_figure(object, "snapshots"));
    snprintf(open_count, sizeof(open_count), "%" PRIu64, answer_figure(object, "open_count"));
    table_add(table, NULL,
              (const char *const[]){answer_word(object, "name"), text_size(answer_figure(object, "size"), size),
                                    text_time(answer_figure(object, "created"), created), open_count, snapshots,
                                    answer_word(object, "uuid")});
}

static enum error print_list(struct tool *tool, const json_t *objects)
{
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT},
                                                  {"SIZE", TABLE_RIGHT},
                                                  {"CREATED", TABLE_LEFT},
                                                  {"OPEN", TABLE_RIGHT},
                                                  {"SNAPSHOTS", TABLE_RIGHT},
                                                  {"UUID", TABLE_LEFT}};
    if (json_array_size(objects) > 0)
        return answer_table(tool, objects, columns, COUNT_OF(columns), add_row);
    fprintf(tool->out, "No objects. Make one: %s object create disk1 --size 10G\n", tool_self(tool));
    return ERROR_NONE;
}

static enum error run_list(struct tool *tool, const struct arguments *arguments)
{
    json_t *objects;
    if (argument_given(arguments, "snapshots"))
        return snapshots_list(tool, arguments->positional_count > 0 ? arguments->positional[0] : NULL);
    if (arguments->positional_count > 0)
        return error_explain(ERROR_INVALID, "`object list NAME` lists snapshots: say --snapshots");
    TRY(client_ask(tool, "object.list", NULL, &objects));
    return answer_show(tool, objects, print_list);
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

static const struct option_row no_options[] = {{NULL}};
static const struct option_row create_options[] = {
    {"size", "SIZE", "what the disk can hold: 20G, 512M, 64T, or bytes (a multiple of 4096)", false},
    {"reserve", "SIZE", "keep space for so much of it, or for all (full); see object reserve", false},
    {"hosts", "kms:NAME", "it is the disk of the machine that is key provider NAME; see object set", false},
    {NULL},
};
static const struct option_row set_options[] = {
    {"hosts", "kms:NAME|none", "it is the disk of the machine that is key provider NAME; or of none", false},
    {NULL},
};
static const struct option_row list_options[] = {
    {"snapshots", NULL, "the snapshots of all disks, or of one", false},
    {NULL},
};
static const struct option_row resize_options[] = {
    {"size", "SIZE", "the new size", false},
    {"shrink", NULL, "allow a smaller size: what lies behind it is lost", false},
    {NULL},
};
static const struct option_row delete_options[] = {
    {"now", NULL, "free it now instead of keeping it in the trash: it cannot be brought back", false},
    {NULL},
};

const struct command command_object_create = {
    .noun = "object",
    .verb = "create",
    .arguments = "NAME",
    .summary = "make a virtual disk",
    .text = "Makes a virtual disk of at most 64 TiB. It is thin: it takes space for what is written. A name has up to\n"
            "255 bytes of UTF-8, without control characters, those that cannot be seen, '@' and '/'; it is the NBD export's\n"
            "name too.",
    .examples = "  coffer object create disk1 --size 20G\n"
                "  coffer -C /srv/pool object create 'web server' --size 512M --reserve full\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = create_options,
    .run = run_create,
};

const struct command command_object_list = {
    .noun = "object",
    .verb = "list",
    .arguments = "[NAME]",
    .summary = "all virtual disks, or snapshots",
    .text = "Lists the virtual disks, sorted by name, or with --snapshots their snapshots, by age. OPEN counts the\n"
            "connections that use one.",
    .examples = "  coffer object list\n  coffer --json object list | jq -r '.[].name'\n"
                "  coffer object list --snapshots disk1\n",
    .positional_max = 1,
    .options = list_options,
    .run = run_list,
};

const struct command command_object_rename = {
    .noun = "object",
    .verb = "rename",
    .arguments = "NAME NEW_NAME",
    .summary = "give a disk another name",
    .text = "Renames a disk. Clients that are connected stay so; new ones use the new name.",
    .examples = "  coffer object rename disk1 web\n",
    .positional_min = 2,
    .positional_max = 2,
    .options = no_options,
    .run = run_rename,
};

const struct command command_object_resize = {
    .noun = "object",
    .verb = "resize",
    .arguments = "NAME",
    .summary = "make a disk larger, or smaller with --shrink",
    .text =
        "Grows a disk, also while it is open (clients see it when they connect again). Making it smaller loses what\n"
        "lies behind the new end, so it needs --shrink and a disk that is not open.",
    .examples = "  coffer object resize disk1 --size 40G\n  coffer object resize disk1 --size 5G --shrink\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = resize_options,
    .run = run_resize,
};

const struct command command_object_set = {
    .noun = "object",
    .verb = "set",
    .arguments = "NAME",
    .summary = "tell that a disk is a key server's",
    .text = "--hosts kms:NAME tells that a disk is that of the machine, a virtual one as a rule, that is key provider NAME of\n"
            "this pool or will be. Where NAME opens this very pool it is refused (status 3), here and by object create: after a\n"
            "power loss the pool would wait for its key server, and that one for its disk. Once it is told, `key provider\n"
            "use NAME` is refused, and `health` says KMS_ON_POOL where it happened all the same. Snapshots and clones of the\n"
            "disk do not have the tag.",
    .examples = "  coffer object set vm-kms --hosts kms:corp\n"
                "  coffer object set vm-kms --hosts none\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = set_options,
    .run = run_set,
};

const struct command command_object_reserve = {
    .noun = "object",
    .verb = "reserve",
    .arguments = "NAME SIZE|full|none",
    .summary = "keep space for a disk, so that a full pool takes its writes",
    .text = "Keeps space for so much of a disk, for all of it (full), or for nothing (none): that much of it can be written\n"
            "when everybody else gets \"no space\". What the disk stores counts: only what is missing to it is held. It is\n"
            "refused where it does not fit. A snapshot or clone of the disk needs room to hold all of it once more. What is\n"
            "in the trash has nothing reserved any more, nor has a clone; a disk that is reserved as a whole stays so when\n"
            "it grows. A block that deduplication shares with other disks counts as stored, and takes new space when it is\n"
            "overwritten.",
    .examples = "  coffer object reserve disk1 20G\n  coffer object reserve disk1 full\n  coffer object reserve disk1 none\n",
    .positional_min = 2,
    .positional_max = 2,
    .options = no_options,
    .run = run_reserve,
};

const struct command command_object_delete = {
    .noun = "object",
    .verb = "delete",
    .arguments = "NAME[@SNAPSHOT]",
    .summary = "put a disk into the trash; or delete a snapshot",
    .text = "Puts a disk into the trash, where it stays for the time that `trash` in coffer.conf says (7 days by\n"
            "default), and tells how to get it back. Its snapshots go with it. Refused while it is open, and --now while\n"
            "a snapshot of it is held or locked. A snapshot does not go into the trash: it is gone.",
    .examples = "  coffer object delete disk1\n"
                "  coffer trash restore disk1\n"
                "  coffer object delete disk1 --now\n"
                "  coffer object delete disk1@monday\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = delete_options,
    .run = run_delete,
};
