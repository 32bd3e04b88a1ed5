/*
 * `coffer trash …`: what was deleted and can still come back.
 *
 * Purging everything asks for the list first and purges by UUID, so that it never frees what came into the trash
 * meanwhile; what was restored meanwhile is refused by the daemon.
 */
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/object_call.h"
#include "tools/table.h"
#include "tools/text.h"

static bool is_being_freed(const json_t *object)
{
    return answer_flag(object, "deleting");
}

static void add_row(struct table *table, const json_t *object)
{
    char size[TEXT_SIZE], deleted[TEXT_SIZE], purge_at[TEXT_SIZE];
    text_time(answer_figure(object, "purge_at"), purge_at);
    const char *freed = is_being_freed(object)        ? "being freed"
                        : answer_flag(object, "kept") ? "not yet: a snapshot is kept"
                                                      : purge_at;
    table_add(table, NULL,
              (const char *const[]){answer_word(object, "name"), text_size(answer_figure(object, "size"), size),
                                    text_time(answer_figure(object, "deleted"), deleted),
                                    freed, answer_word(object, "uuid")});
}

static enum error print_list(struct tool *tool, const json_t *objects)
{
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT},
                                                  {"SIZE", TABLE_RIGHT},
                                                  {"DELETED", TABLE_LEFT},
                                                  {"FREED AT", TABLE_LEFT},
                                                  {"UUID", TABLE_LEFT}};
    if (json_array_size(objects) > 0)
        return answer_table(tool, objects, columns, COUNT_OF(columns), add_row);
    fputs("The trash is empty.\n", tool->out);
    return ERROR_NONE;
}

static enum error run_list(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    json_t *objects;
    TRY(client_ask(tool, "trash.list", NULL, &objects));
    return answer_show(tool, objects, print_list);
}

static enum error tell_restored(struct tool *tool, const json_t *object)
{
    fprintf(tool->out, "'%s' is back.\n", answer_word(object, "name"));
    return ERROR_NONE;
}

static enum error run_restore(struct tool *tool, const struct arguments *arguments)
{
    json_t *object, *parameters = json_pack("{s:s, s:s*}", "name", arguments->positional[0], "new_name",
                                            argument_value(arguments, "as", NULL));
    if (parameters == NULL)
        return error_explain(ERROR_INVALID, "a name must be UTF-8");
    enum error error = client_ask(tool, "trash.restore", parameters, &object);
    if (error != ERROR_NONE)
        return object_suggest_trashed(tool, arguments->positional[0], error);
    return answer_show(tool, object, tell_restored);
}

/* Purges one and appends it to `purged`. */
static enum error purge(struct client *client, const char *name, json_t *purged)
{
    json_t *object, *parameters = json_pack("{s:s}", "name", name);
    if (parameters == NULL)
        return error_explain(ERROR_INVALID, "a name must be UTF-8");
    TRY(client_call(client, "trash.purge", parameters, NULL, &object));
    return json_array_append_new(purged, object) == 0 ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* One that has to stay, say for a snapshot that is held, keeps no other in the trash; the last of them is told in the end. */
static enum error purge_listed(struct client *client, const json_t *objects, json_t *purged)
{
    size_t i;
    json_t *object;
    enum error error = ERROR_NONE;
    json_array_foreach(objects, i, object)
    {
        if (is_being_freed(object))
            continue;
        enum error refused = purge(client, answer_word(object, "uuid"), purged);
        error = refused != ERROR_NONE ? refused : error;
    }
    return error;
}

static enum error purge_all(struct client *client, json_t *purged)
{
    json_t *objects;
    TRY(client_call(client, "trash.list", NULL, NULL, &objects));
    enum error error = purge_listed(client, objects, purged);
    json_decref(objects);
    return error;
}

static enum error print_purged(struct tool *tool, const json_t *purged)
{
    if (tool->json)
        return tool_print_json(tool, purged);
    if (json_array_size(purged) == 0)
        fputs("The trash is empty.\n", tool->out);
    else if (json_array_size(purged) == 1)
        fprintf(tool->out, "'%s' is gone; its space comes back in the background.\n",
                answer_word(json_array_get(purged, 0), "name"));
    else
        fprintf(tool->out, "%zu objects are gone; their space comes back in the background.\n",
                json_array_size(purged));
    return ERROR_NONE;
}

static enum error run_purge(struct tool *tool, const struct arguments *arguments)
{
    bool all = argument_given(arguments, "all");
    struct client *client;
    if (all == (arguments->positional_count == 1))
        return error_explain(ERROR_INVALID, "name one object of the trash, or say --all");
    TRY(client_open(tool, &client));
    json_t *purged = json_array();
    enum error error = all ? purge_all(client, purged) : purge(client, arguments->positional[0], purged);
    if (!all)
        error = object_suggest_trashed(tool, arguments->positional[0], error);
    enum error printed = error == ERROR_NONE || json_array_size(purged) != 0 ? print_purged(tool, purged) : ERROR_NONE;
    json_decref(purged);
    client_close(client);
    return error != ERROR_NONE ? error : printed;
}

static const struct option_row no_options[] = {{NULL}};
static const struct option_row restore_options[] = {
    {"as", "NEW_NAME", "under another name, where its own is taken", false},
    {NULL},
};
static const struct option_row purge_options[] = {
    {"all", NULL, "everything that is in the trash", false},
    {NULL},
};

const struct command command_trash_list = {
    .noun = "trash",
    .verb = "list",
    .arguments = "",
    .summary = "deleted disks, and when they are freed",
    .text = "Lists what is in the trash, and until when.",
    .examples = "  coffer trash list\n",
    .options = no_options,
    .run = run_list,
};

const struct command command_trash_restore = {
    .noun = "trash",
    .verb = "restore",
    .arguments = "NAME",
    .summary = "bring a deleted disk back",
    .text = "Brings a disk back from the trash, by its name, or by its UUID where another disk has that name, be it alive\n"
            "or in the trash (`coffer trash list` shows UUIDs).",
    .examples = "  coffer trash restore disk1\n  coffer trash restore disk1 --as disk1-old\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = restore_options,
    .run = run_restore,
};

const struct command command_trash_purge = {
    .noun = "trash",
    .verb = "purge",
    .arguments = "[NAME]",
    .summary = "free a deleted disk for good",
    .text = "Frees a disk of the trash, or with --all everything in it. It cannot be brought back. The space comes\n"
            "back in the background. Where several in the trash have the name, or a living disk has it, say the UUID.",
    .examples = "  coffer trash purge disk1\n  coffer trash purge --all\n",
    .positional_max = 1,
    .options = purge_options,
    .run = run_purge,
};
