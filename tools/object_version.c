/*
 * `coffer object snapshot`, `protect`, `rollback` and `clone`, and the list of snapshots. A snapshot is NAME@SNAPSHOT.
 *
 * Sentences are made from the daemon's answer, never from what was asked for.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/moment.h"
#include "engine/coffer.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/date.h"
#include "tools/object_call.h"
#include "tools/object_version.h"
#include "tools/table.h"
#include "tools/text.h"

#define LOCK_UNASKED_SECONDS (UINT64_C(5) * 366 * 86400)

const char *snapshot_protection(const json_t *snapshot, char text[2 * TEXT_SIZE])
{
    char when[TEXT_SIZE];
    uint64_t until = answer_figure(snapshot, "locked_until");
    bool held = answer_flag(snapshot, "hold"), locked = until > clock_seconds();
    snprintf(text, 2 * TEXT_SIZE, "%s%s%s%s", held ? "held" : "", held && locked ? ", " : "", locked ? "until " : "",
             locked ? text_time(until, when) : "");
    return text;
}

/* ---- snapshot ------------------------------------------------------------------------------------------------------- */

static enum error tell_made(struct tool *tool, const json_t *snapshots)
{
    size_t i;
    json_t *snapshot;
    json_array_foreach(snapshots, i, snapshot)
    {
        char kept[2 * TEXT_SIZE];
        snapshot_protection(snapshot, kept);
        fprintf(tool->out, "Made '%s'%s%s.\n", answer_word(snapshot, "name"), kept[0] == '\0' ? "" : ", kept: ", kept);
    }
    return ERROR_NONE;
}

/* A lock cannot be taken back, and a slip of the finger may lock for a lifetime. */
static enum error lock_end(const struct arguments *arguments, uint64_t *until)
{
    char when[TEXT_SIZE];
    TRY(argument_date(arguments, "locked-until", until));
    if (*until <= clock_seconds() + LOCK_UNASKED_SECONDS || argument_given(arguments, "yes"))
        return ERROR_NONE;
    return error_explain(ERROR_UNCONFIRMED,
                         "until %s nobody could delete it, root included, and that cannot be taken back: say --yes if "
                         "it is to be so",
                         text_time(*until, when));
}

/* Without --name the moment names it. */
static const char *snapshot_name(const struct arguments *arguments, char made[MOMENT_TEXT_SIZE])
{
    const char *given = argument_value(arguments, "name", NULL);
    return given != NULL ? given : moment_utc(clock_seconds(), made);
}

static json_t *names_json(const struct arguments *arguments)
{
    json_t *names = json_array();
    for (size_t i = 0; i < arguments->positional_count; i++)
        if (json_array_append_new(names, json_string(arguments->positional[i])) != 0) {
            json_decref(names);
            return NULL;
        }
    return names;
}

static enum error run_snapshot(struct tool *tool, const struct arguments *arguments)
{
    char made[MOMENT_TEXT_SIZE];
    uint64_t until = 0;
    json_t *snapshots, *names = names_json(arguments);
    enum error error = lock_end(arguments, &until);
    if (error == ERROR_NONE && names == NULL)
        error = error_explain(ERROR_INVALID, "a name must be UTF-8");
    if (error != ERROR_NONE) {
        json_decref(names);
        return error;
    }
    json_t *parameters =
        json_pack("{s:o, s:s, s:b, s:I}", "names", names, "snapshot", snapshot_name(arguments, made), "hold",
                  argument_given(arguments, "hold"), "locked_until", (json_int_t)until);
    if (parameters == NULL)
        return error_explain(ERROR_INVALID, "a name must be UTF-8");
    TRY(object_ask(tool, "object.snapshot", parameters, &snapshots));
    return answer_show(tool, snapshots, tell_made);
}

/* ---- list ----------------------------------------------------------------------------------------------------------- */

static void add_row(struct table *table, const json_t *snapshot)
{
    char size[TEXT_SIZE], created[TEXT_SIZE], open_count[TEXT_SIZE], kept[2 * TEXT_SIZE];
    snprintf(open_count, sizeof(open_count), "%" PRIu64, answer_figure(snapshot, "open_count"));
    table_add(table, NULL,
              (const char *const[]){answer_word(snapshot, "name"), text_size(answer_figure(snapshot, "size"), size),
                                    text_time(answer_figure(snapshot, "created"), created), open_count,
                                    snapshot_protection(snapshot, kept)});
}

static enum error print_list(struct tool *tool, const json_t *snapshots)
{
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT},
                                                  {"SIZE", TABLE_RIGHT},
                                                  {"CREATED", TABLE_LEFT},
                                                  {"OPEN", TABLE_RIGHT},
                                                  {"KEPT", TABLE_LEFT}};
    if (json_array_size(snapshots) > 0)
        return answer_table(tool, snapshots, columns, COUNT_OF(columns), add_row);
    fprintf(tool->out, "No snapshots. Make one: %s object snapshot NAME\n", tool_self(tool));
    return ERROR_NONE;
}

enum error snapshots_list(struct tool *tool, const char *object)
{
    json_t *snapshots;
    TRY(snapshots_ask(tool, object, &snapshots));
    return answer_show(tool, snapshots, print_list);
}

/* ---- delete, protect ------------------------------------------------------------------------------------------------- */

static enum error tell_gone(struct tool *tool, const json_t *snapshot)
{
    fprintf(tool->out, "'%s' is gone; its space comes back in the background.\n", answer_word(snapshot, "name"));
    return ERROR_NONE;
}

enum error snapshot_drop(struct tool *tool, const char *name)
{
    json_t *snapshot;
    TRY(object_ask(tool, "snapshot.delete", json_pack("{s:s}", "name", name), &snapshot));
    return answer_show(tool, snapshot, tell_gone);
}

static enum error tell_protected(struct tool *tool, const json_t *snapshot)
{
    char kept[2 * TEXT_SIZE];
    snapshot_protection(snapshot, kept);
    fprintf(tool->out, "'%s' %s%s.\n", answer_word(snapshot, "name"), kept[0] == '\0' ? "can be deleted" : "is kept: ",
            kept);
    return ERROR_NONE;
}

static enum error run_protect(struct tool *tool, const struct arguments *arguments)
{
    bool hold = argument_given(arguments, "hold"), lets_go = argument_given(arguments, "no-hold");
    uint64_t until = 0;
    json_t *snapshot;
    TRY(lock_end(arguments, &until));
    if (hold && lets_go)
        return error_explain(ERROR_INVALID, "--hold and --no-hold: say one of them");
    if (!hold && !lets_go && until == 0)
        return error_explain(ERROR_INVALID, "say how: --hold, --no-hold or --locked-until DATE");
    json_t *parameters = json_pack("{s:s, s:I}", "name", arguments->positional[0], "locked_until", (json_int_t)until);
    if (parameters != NULL && (hold || lets_go))
        json_object_set_new(parameters, "hold", json_boolean(hold));
    TRY(object_ask(tool, "snapshot.protect", parameters, &snapshot));
    return answer_show(tool, snapshot, tell_protected);
}

/* ---- rollback, clone -------------------------------------------------------------------------------------------------- */

static enum error tell_rolled_back(struct tool *tool, const json_t *object)
{
    char lost[TEXT_SIZE];
    fprintf(tool->out, "'%s' is as it was then.\n", answer_word(object, "name"));
    if (json_object_get(object, "kept_as") != NULL)
        fprintf(tool->out, "What it held until now is '%s'.\n", answer_word(object, "kept_as"));
    if (json_object_get(object, "lost_since") != NULL)
        fprintf(tool->out, "Lost: what was changed since '%s', %s%s.\n", answer_word(object, "lost_since"),
                answer_flag(object, "lost_more") ? "more than " : "",
                text_size(answer_figure(object, "lost_bytes"), lost));
    return ERROR_NONE;
}

static enum error run_rollback(struct tool *tool, const struct arguments *arguments)
{
    const char *keep = argument_value(arguments, "keep", NULL);
    bool discard = argument_given(arguments, "discard");
    json_t *object;
    if (keep != NULL && discard)
        return error_explain(ERROR_INVALID, "--keep and --discard: say one of them");
    TRY(object_ask(tool, "object.rollback",
                   json_pack("{s:s, s:s*, s:b}", "name", arguments->positional[0], "keep", keep, "discard", discard),
                   &object));
    return answer_show(tool, object, tell_rolled_back);
}

static enum error tell_cloned(struct tool *tool, const json_t *object)
{
    char size[TEXT_SIZE];
    fprintf(tool->out, "Created '%s', %s.\n", answer_word(object, "name"), text_size(answer_figure(object, "size"), size));
    return ERROR_NONE;
}

static enum error run_clone(struct tool *tool, const struct arguments *arguments)
{
    json_t *object;
    TRY(object_ask(tool, "object.clone",
                   json_pack("{s:s, s:s}", "name", arguments->positional[0], "new_name", arguments->positional[1]),
                   &object));
    return answer_show(tool, object, tell_cloned);
}

/* ---- the table -------------------------------------------------------------------------------------------------------- */

#define LOCKED_HELP "it cannot be deleted before: " DATE_FORMS "; cannot be undone"
#define YES_HELP "lock it for more than five years"

static const struct option_row no_options[] = {{NULL}};
static const struct option_row snapshot_options[] = {
    {"name", "SNAPSHOT", "what it is called; without it, the moment in UTC", false},
    {"hold", NULL, "it cannot be deleted until that is taken back", false},
    {"locked-until", "DATE", LOCKED_HELP, false},
    {"yes", NULL, YES_HELP, false},
    {NULL},
};
static const struct option_row protect_options[] = {
    {"hold", NULL, "it cannot be deleted until that is taken back", false},
    {"no-hold", NULL, "it can be deleted, unless it is locked", false},
    {"locked-until", "DATE", LOCKED_HELP, false},
    {"yes", NULL, YES_HELP, false},
    {NULL},
};
static const struct option_row rollback_options[] = {
    {"keep", "SNAPSHOT", "make a snapshot of what the disk holds now, before", false},
    {"discard", NULL, "lose what the disk holds now and no snapshot has", false},
    {NULL},
};

const struct command command_object_snapshot = {
    .noun = "object",
    .verb = "snapshot",
    .arguments = "NAME…",
    .summary = "keep what disks hold at this moment",
    .text = "Makes a snapshot of a disk, or of up to 32 disks at one moment, while they are written. It takes no time, and\n"
            "no space but for what is written afterwards. It is called NAME@SNAPSHOT, can be attached under that name\n"
            "(read-only), and stays until it is deleted, or its disk is.",
    .examples = "  coffer object snapshot disk1 --name before-upgrade\n"
                "  coffer object snapshot db-data db-log --name nightly --locked-until +30d\n"
                "  coffer object uri disk1@before-upgrade\n",
    .positional_min = 1,
    .positional_max = SNAPSHOT_OBJECTS_MAX,
    .options = snapshot_options,
    .run = run_snapshot,
};

const struct command command_object_protect = {
    .noun = "object",
    .verb = "protect",
    .arguments = "NAME@SNAPSHOT",
    .summary = "keep a snapshot from being deleted",
    .text = "Holds a snapshot until --no-hold, or locks it until a date. A lock can be made longer, never shorter, also\n"
            "not by root, and a clock that is set forward while cofferd runs does not end it. A disk with a snapshot\n"
            "that is held or locked can be put into the trash, but is not freed; its snapshots can be held and let go\n"
            "there as well.",
    .examples = "  coffer object protect disk1@gold --hold\n"
                "  coffer object protect disk1@gold --locked-until 2030-12-31\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = protect_options,
    .run = run_protect,
};

const struct command command_object_rollback = {
    .noun = "object",
    .verb = "rollback",
    .arguments = "NAME@SNAPSHOT",
    .summary = "make a disk again what a snapshot holds",
    .text = "Makes the disk what its snapshot holds, its size included. All snapshots stay, younger ones too. Where the disk\n"
            "holds what none of them has, say what becomes of that: --keep or --discard. Refused while the disk is open.",
    .examples = "  coffer object rollback disk1@before-upgrade --keep failed-upgrade\n"
                "  coffer object rollback disk1@before-upgrade --discard\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = rollback_options,
    .run = run_rollback,
};

const struct command command_object_clone = {
    .noun = "object",
    .verb = "clone",
    .arguments = "NAME[@SNAPSHOT] NEW_NAME",
    .summary = "make a new disk of what another holds",
    .text = "Makes a disk that begins as a snapshot, or as a disk at this moment. It takes no time and shares all that\n"
            "neither of them overwrites. Either may be deleted at any time.",
    .examples = "  coffer object clone template@v3 web1\n  coffer object clone disk1 disk1-test\n",
    .positional_min = 2,
    .positional_max = 2,
    .options = no_options,
    .run = run_clone,
};
