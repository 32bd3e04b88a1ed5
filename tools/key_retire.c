/* `coffer key retire`: the end of old keys, by the daemon, which knows that nothing needs them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"

static enum error print_retired(struct tool *tool, const json_t *answer)
{
    uint64_t keys = answer_figure(answer, "keys");
    bool destroyed = answer_flag(answer, "destroyed");
    fprintf(tool->out, "%" PRIu64 " old key%s %s %s.%s\n", keys, keys == 1 ? "" : "s", keys == 1 ? "is" : "are",
            destroyed ? "destroyed" : "revoked",
            destroyed ? " Old images of the disks that were under them are lost." : " --destroy destroys them.");
    return ERROR_NONE;
}

static bool is_number(const char *word) { return word[0] != '\0' && strspn(word, "0123456789") == strlen(word); }

/* Which keys are meant: all where neither is given. */
struct which {
    uint64_t number;
    const char *provider;
};

static enum error which_take(struct which *which, const char *word)
{
    bool number = is_number(word);
    if (number ? which->number != 0 : which->provider != NULL)
        return error_explain(ERROR_INVALID, "'%s' is too much: say one number, one provider, or both", word);
    if (!number) {
        which->provider = word;
        return ERROR_NONE;
    }
    which->number = strtoull(word, NULL, 10);
    if (which->number == 0 || which->number > INT64_MAX)
        return error_explain(ERROR_INVALID, "there is no key number %s", word);
    return ERROR_NONE;
}

/* Packed whole or not at all: where a name was left out, all keys would be meant. */
static enum error run_retire(struct tool *tool, const struct arguments *arguments)
{
    struct which which = {0};
    json_t *answer;
    for (size_t i = 0; i < arguments->positional_count; i++)
        TRY(which_take(&which, arguments->positional[i]));
    const char *file = argument_value(arguments, "key-file", NULL);
    AUTO_FREE char *absolute = file == NULL ? NULL : realpath(file, NULL); /* the daemon stands elsewhere */
    json_t *parameters = json_pack("{s:b, s:I, s:s*, s:s*}", "destroy", argument_given(arguments, "destroy"), "number",
                                   (json_int_t)which.number, "provider", which.provider, "key_file",
                                   absolute == NULL ? file : absolute);
    if (parameters == NULL)
        return error_explain(ERROR_INVALID, "names of providers and files must be UTF-8");
    TRY(client_ask(tool, "key.retire", parameters, &answer));
    return answer_show(tool, answer, print_retired);
}

static const struct option_row options[] = {
    {"destroy", NULL, "destroy them: key files are overwritten and removed", false},
    {"key-file", "FILE", "with --destroy: this key file too, which lies outside of the pool directory", false},
    {NULL},
};

const struct command command_key_retire = {
    .noun = "key",
    .verb = "retire",
    .arguments = "[NUMBER] [PROVIDER]",
    .summary = "end old keys that nothing needs",
    .text =
        "Ends the keys that were in force before and that nothing needs any more, all of them, or those of the number, or of\n"
        "the provider, that is given; `key status` lists them. On KMIP servers a key is revoked, and with --destroy\n"
        "destroyed. A key file cannot be revoked: --destroy overwrites and removes it. The key in force is never ended,\n"
        "nor any while a change of keys is not complete. What needs an old key all the same are old images of the disks,\n"
        "and a copy of this pool that was made by copying its disks and directory: Coffer cannot know of it. It shares keys on\n"
        "servers, and a key file outside of the pool directory (`path =`): that one is left unless --key-file names it.",
    .examples = "  coffer key retire\n"
                "  coffer key retire --destroy 3\n"
                "  coffer key retire --destroy native --key-file /media/stick/pool.key\n"
                "  coffer key retire --destroy kmip\n",
    .positional_max = 2,
    .options = options,
    .run = run_retire,
};
