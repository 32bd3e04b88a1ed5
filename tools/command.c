/*
 * The table of commands and how a command is found by its words.
 *
 * A word that is no noun is first taken for a slip, then for a verb whose noun was forgotten. Everything is constant.
 */
#include "tools/command.h"

#include <string.h>

#include "base/memory.h"
#include "base/suggest.h"

static const struct command *const table[] = {
    &command_create,        &command_import, &command_backup, &command_restore,
    &command_check,         &command_erase, &command_status,
    &command_health,        &command_unlock,        &command_lock,
    &command_object_create, &command_object_list,   &command_object_show,
    &command_object_uri,    &command_object_rename, &command_object_resize,
    &command_object_reserve, &command_object_set, &command_object_delete, &command_object_snapshot, &command_object_protect,
    &command_object_rollback, &command_object_clone, &command_object_diff,
    &command_object_export, &command_object_import, &command_object_verify,
    &command_trash_list,    &command_trash_restore,
    &command_trash_purge,   &command_key_status,    &command_key_rekey,
    &command_key_audit,     &command_key_report,    &command_key_retire,
    &command_key_pause, &command_key_resume, &command_key_throttle,
    &command_key_provider,  &command_key_tpm,
    &command_key_backup,    &command_key_drill,     &command_key_restore,
    &command_key_recovery,
    &command_group_remove, &command_device_list, &command_device_erase, &command_scrub_start,
    &command_scrub_status,  &command_scrub_pause,   &command_scrub_resume,
    &command_scrub_cancel,  &command_scrub_throttle, &command_selftest,       &command_completion_bash,
    &command_version,       &command_help,          NULL,
};

#define COMMANDS_MAX COUNT_OF(table)

const struct command *const *command_table(void)
{
    return table;
}

static bool noun_exists(const char *noun)
{
    for (size_t i = 0; table[i] != NULL; i++) {
        if (strcmp(table[i]->noun, noun) == 0)
            return true;
    }
    return false;
}

static const struct command *find_exact(const char *noun, const char *verb)
{
    for (size_t i = 0; table[i] != NULL; i++) {
        if (strcmp(table[i]->noun, noun) != 0)
            continue;
        if (table[i]->verb == NULL || (verb != NULL && strcmp(table[i]->verb, verb) == 0))
            return table[i];
    }
    return NULL;
}

bool command_has_verbs(const char *noun)
{
    return noun_exists(noun) && find_exact(noun, NULL) == NULL;
}

static const struct command *find_by_verb(const char *verb)
{
    for (size_t i = 0; table[i] != NULL; i++) {
        if (table[i]->verb != NULL && strcmp(table[i]->verb, verb) == 0)
            return table[i];
    }
    return NULL;
}

static size_t verbs_of(const char *noun, const char **verbs)
{
    size_t count = 0;
    for (size_t i = 0; table[i] != NULL; i++) {
        if (strcmp(table[i]->noun, noun) == 0)
            verbs[count++] = table[i]->verb;
    }
    return count;
}

static enum error complain_noun(const char *noun)
{
    const char *nouns[COMMANDS_MAX];
    const struct command *other = find_by_verb(noun);
    size_t count = 0;
    for (; table[count] != NULL; count++)
        nouns[count] = table[count]->noun;
    const char *near = suggest(noun, nouns, count);
    if (near != NULL)
        return error_explain(ERROR_INVALID, "there is no command '%s'; did you mean '%s'?", noun, near);
    if (other != NULL)
        return error_explain(ERROR_INVALID, "'%s' needs a noun before it: did you mean '%s %s'?", noun,
                             other->noun, other->verb);
    return error_explain(ERROR_INVALID, "there is no command '%s'; `coffer help` lists them", noun);
}

static enum error complain_verb(const char *noun, const char *verb)
{
    const char *verbs[COMMANDS_MAX];
    char list[256] = "";
    size_t count = verbs_of(noun, verbs), length = 0;
    for (size_t i = 0; i < count && length < sizeof(list); i++)
        length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", i == 0 ? "" : ", ", verbs[i]);
    if (verb == NULL)
        return error_explain(ERROR_INVALID, "say what to do with '%s': %s", noun, list);
    const char *near = suggest(verb, verbs, count);
    if (near != NULL)
        return error_explain(ERROR_INVALID, "'%s' cannot '%s'; did you mean '%s %s'?", noun, verb, noun, near);
    return error_explain(ERROR_INVALID, "'%s' cannot '%s': there are %s", noun, verb, list);
}

enum error command_find(int argc, char **argv, const struct command **command, int *used)
{
    const char *verb = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    if (!noun_exists(argv[0]))
        return complain_noun(argv[0]);
    const struct command *found = find_exact(argv[0], verb);
    if (found == NULL)
        return complain_verb(argv[0], verb);
    *command = found;
    *used = found->verb == NULL ? 1 : 2;
    return ERROR_NONE;
}
