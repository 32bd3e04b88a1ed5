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

static enum error run_retire(struct tool *tool, const struct arguments *arguments)
{
    json_t *parameters = json_object(), *answer;
    for (size_t i = 0; i < arguments->positional_count; i++) {
        const char *word = arguments->positional[i];
        uint64_t number = is_number(word) ? strtoull(word, NULL, 10) : 0;
        if (is_number(word) && (number == 0 || number > INT64_MAX)) {
            json_decref(parameters);
            return error_explain(ERROR_INVALID, "there is no key number %s", word);
        }
        json_object_set_new(parameters, number != 0 ? "number" : "provider",
                            number != 0 ? json_integer((json_int_t)number) : json_string(word));
    }
    if (argument_given(arguments, "destroy"))
        json_object_set_new(parameters, "destroy", json_true());
    const char *file = argument_value(arguments, "key-file", NULL);
    if (file != NULL) {
        AUTO_FREE char *absolute = realpath(file, NULL); /* the daemon stands elsewhere */
        json_object_set_new(parameters, "key_file", json_string(absolute == NULL ? file : absolute));
    }
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
