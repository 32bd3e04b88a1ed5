/*
 * Help, version and completion. All is printed from the table of commands, so nothing can be in the one and not in the
 * other. No state.
 */
#include "tools/help.h"

#include <string.h>

#include "engine/coffer.h"

#define LEFT_WIDTH 44

/* printf pads bytes; an ellipsis has three. */
static int padded(const char *text, int width)
{
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) == 0x80;
    return width;
}

static void print_name(FILE *out, const struct command *command, bool all)
{
    char left[128];
    snprintf(left, sizeof(left), "%s%s%s%s%s", command->noun, command->verb == NULL ? "" : " ",
             command->verb == NULL ? "" : command->verb, command->arguments[0] == '\0' ? "" : " ", command->arguments);
    fprintf(out, "  %-*s  %s\n", padded(left, all ? LEFT_WIDTH : LEFT_WIDTH - 10), left, command->summary);
}

static const char global_text[] = "Options for every command\n"
                                  "  -C, --directory DIR  the pool directory (or a control socket); else $COFFER_POOL; "
                                  "not needed where one pool runs\n"
                                  "      --json           answer in JSON, with stable keys\n"
                                  "  -h, --help           help, also for one command: coffer object create --help\n";

static const char exit_text[] = "Exit status\n"
                                "  0  done\n"
                                "  1  it failed: the sentence on standard error says why\n"
                                "  2  the command line is wrong: nothing was done\n"
                                "  3  refused as things are: locked, in use, no permission, or an option is needed\n";

void help_print_all(FILE *out)
{
    fputs("usage: coffer [-C DIR] [--json] NOUN [VERB] [ARGUMENT…]\n\n"
          "Coffer stores virtual disks deduplicated, compressed and encrypted; cofferd serves them over NBD.\n\n"
          "Begin with\n"
          "  coffer create /srv/pool --size 20G            makes a pool in a directory\n"
          "  cofferd /srv/pool                             serves it\n"
          "  coffer -C /srv/pool object create disk1 --size 10G\n"
          "  coffer -C /srv/pool object uri disk1          tells how to attach it\n\n"
          "Commands\n",
          out);
    for (const struct command *const *command = command_table(); *command != NULL; command++)
        print_name(out, *command, true);
    fprintf(out, "\n%s\n%s", global_text, exit_text);
}

bool help_print_noun(FILE *out, const char *noun)
{
    bool found = false;
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        if (strcmp((*command)->noun, noun) != 0 || (*command)->verb == NULL)
            continue;
        if (!found)
            fprintf(out, "usage: coffer [-C DIR] [--json] %s VERB [ARGUMENT…]\n\n", noun);
        found = true;
        print_name(out, *command, false);
    }
    if (found)
        fprintf(out, "\n`coffer %s VERB --help` explains one.\n", noun);
    return found;
}

static void print_options(FILE *out, const struct option_row *rows)
{
    char left[64];
    if (rows[0].name != NULL)
        fputs("\nOptions\n", out);
    for (; rows->name != NULL; rows++) {
        snprintf(left, sizeof(left), "--%s%s%s", rows->name, rows->value == NULL ? "" : " ",
                 rows->value == NULL ? "" : rows->value);
        fprintf(out, "  %-26s  %s\n", left, rows->help);
    }
}

void help_print_command(FILE *out, const struct command *command)
{
    fprintf(out, "usage: coffer %s%s%s%s%s%s\n\n%s\n", command->noun, command->verb == NULL ? "" : " ",
            command->verb == NULL ? "" : command->verb, command->arguments[0] == '\0' ? "" : " ", command->arguments,
            command->options[0].name == NULL ? "" : " [OPTION…]", command->text);
    print_options(out, command->options);
    fprintf(out, "\nExamples\n%s\n%s", command->examples, global_text);
}

static const struct option_row no_options[] = {{NULL}};

static enum error run_help(struct tool *tool, const struct arguments *arguments)
{
    const struct command *command;
    const char *const *words = arguments->positional;
    int used;
    if (arguments->positional_count == 0) {
        help_print_all(tool->out);
        return ERROR_NONE;
    }
    if (arguments->positional_count == 1 && help_print_noun(tool->out, words[0]))
        return ERROR_NONE;
    TRY(command_find((int)arguments->positional_count, (char **)words, &command, &used));
    help_print_command(tool->out, command);
    return ERROR_NONE;
}

static enum error run_version(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    if (!tool->json) {
        fprintf(tool->out, "coffer %s\n", COFFER_VERSION);
        return ERROR_NONE;
    }
    json_t *json = json_pack("{s:s}", "version", COFFER_VERSION);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static void print_words(FILE *out, const char *noun)
{
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        if (strcmp((*command)->noun, noun) == 0 && (*command)->verb != NULL)
            fprintf(out, " %s", (*command)->verb);
    }
}

static bool first_of_noun(const struct command *const *command)
{
    return command == command_table() || strcmp(command[-1]->noun, command[0]->noun) != 0;
}

static void print_completion_nouns(FILE *out)
{
    fputs("    local nouns=\"", out);
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        if (first_of_noun(command))
            fprintf(out, " %s", (*command)->noun);
    }
    fputs("\"\n    case $noun in\n", out);
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        if (!first_of_noun(command) || (*command)->verb == NULL)
            continue;
        fprintf(out, "    %s) verbs=\"", (*command)->noun);
        print_words(out, (*command)->noun);
        fputs("\" ;;\n", out);
    }
    fputs("    esac\n", out);
}

static void print_completion_options(FILE *out)
{
    fputs("    case \"$noun $verb\" in\n", out);
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        fprintf(out, "    \"%s %s\"%s) options=\"", (*command)->noun, (*command)->verb == NULL ? "" : (*command)->verb,
                (*command)->verb == NULL ? "*" : "");
        for (const struct option_row *row = (*command)->options; row->name != NULL; row++)
            fprintf(out, " --%s", row->name);
        fputs("\" ;;\n", out);
    }
    fputs("    esac\n", out);
}

/* Where the word after the verb is one of few, its arguments say which: "list|add [NAME]". */
static void print_completion_actions(FILE *out)
{
    fputs("    case \"$noun $verb\" in\n", out);
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        const char *words = (*command)->arguments;
        size_t size = strspn(words, "abcdefghijklmnopqrstuvwxyz|");
        if ((*command)->verb == NULL || memchr(words, '|', size) == NULL || (words[size] != '\0' && words[size] != ' '))
            continue;
        fprintf(out, "    \"%s %s\") actions=\"", (*command)->noun, (*command)->verb);
        for (size_t i = 0; i < size; i++)
            fputc(words[i] == '|' ? ' ' : words[i], out);
        fputs("\" ;;\n", out);
    }
    fputs("    esac\n", out);
}

static bool takes_file(const struct option_row *row)
{
    return row->value != NULL && (strstr(row->value, "FILE") != NULL || strcmp(row->value, "PATH") == 0 ||
                                  strcmp(row->value, "DEV") == 0);
}

/* Some stand there more than once, which does no harm. */
static void print_completion_files(FILE *out)
{
    fputs("    --recovery", out);
    for (const struct command *const *command = command_table(); *command != NULL; command++)
        for (const struct option_row *row = (*command)->options; row->name != NULL; row++)
            if (takes_file(row))
                fprintf(out, "|--%s", row->name);
    fputs(")\n        COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n", out);
}

static enum error run_completion(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    FILE *out = tool->out;
    fputs("# Completion of coffer for bash: source <(coffer completion bash)\n"
          "_coffer_key_servers() {\n"
          "    local name type seal use rest\n"
          "    \"${COMP_WORDS[0]}\" \"${@:2}\" key provider list 2>/dev/null | while read -r name type seal use rest; do\n"
          "        [[ $type == kmip && $use == - ]] && echo \"$1$name\"\n"
          "    done\n"
          "}\n"
          "_coffer() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local noun= verb= third= verbs= actions= options= seals='file passphrase tpm' word skip=\n"
          "    local -a pool=() before=(\"${COMP_WORDS[@]:0:COMP_CWORD}\")\n"
          "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
          "        if [[ $skip ]]; then skip=; pool=(-C \"$word\"); continue; fi\n"
          "        case $word in\n"
          "        -C|--directory) skip=1 ;;\n"
          "        -*) ;;\n"
          "        *) if [[ -z $noun ]]; then noun=$word; elif [[ -z $verb ]]; then verb=$word; else third=$word; fi ;;\n"
          "        esac\n"
          "    done\n",
          out);
    print_completion_nouns(out);
    print_completion_options(out);
    print_completion_actions(out);
    /* bash takes the colon of "kms:NAME" for a word of its own, and what is behind it for the one that is completed. */
    fputs("    case \" ${before[*]: -3} $current\" in\n"
          "    *' --hosts kms :')\n"
          "        COMPREPLY=($(compgen -W \"$(_coffer_key_servers '' \"${pool[@]}\")\")); return ;;\n"
          "    *' --hosts kms : '*)\n"
          "        COMPREPLY=($(compgen -W \"$(_coffer_key_servers '' \"${pool[@]}\")\" -- \"$current\")); return ;;\n"
          "    *' --hosts '\"$current\")\n"
          "        COMPREPLY=($(compgen -W \"none $(_coffer_key_servers kms: \"${pool[@]}\")\" -- \"$current\")); return ;;\n"
          "    esac\n",
          out);
    fputs("    [[ $verb == restore ]] && seals='file passphrase'\n"
          "    case $previous in\n"
          "    -C|--directory) COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n"
          "    --seal) COMPREPLY=($(compgen -W \"$seals\" -- \"$current\")); return ;;\n"
          "    --provider|--type) COMPREPLY=($(compgen -W \"native kmip\" -- \"$current\")); return ;;\n"
          "    --fingerprint) COMPREPLY=($(compgen -W \"xxh3 hmac-sha256\" -- \"$current\")); return ;;\n"
          "    --for) COMPREPLY=($(compgen -W \"qemu libvirt nbd-client fio\" -- \"$current\")); return ;;\n",
          out);
    print_completion_files(out);
    fputs("    esac\n"
          "    if [[ $current == -* ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$options -C --directory --json --help\" -- \"$current\"))\n"
          "    elif [[ -z $noun ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$nouns\" -- \"$current\"))\n"
          "    elif [[ -z $verb && -n $verbs ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$verbs\" -- \"$current\"))\n"
          "    elif [[ -n $actions ]]; then\n"
          "        [[ -z $third ]] && COMPREPLY=($(compgen -W \"$actions\" -- \"$current\"))\n"
          "    elif [[ \"$noun $verb\" =~ ^(object (import|verify)|key (backup|drill|restore))$ ]]; then\n"
          "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "    elif [[ $noun == backup || $noun == restore || \"$noun $verb\" == \"device erase\" ]]; then\n"
          "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "    elif [[ $noun == create || $noun == check || $noun == import || $noun == erase ]]; then\n"
          "        COMPREPLY=($(compgen -d -- \"$current\"))\n"
          "    fi\n"
          "}\n"
          "complete -F _coffer coffer\n",
          out);
    return ERROR_NONE;
}

const struct command command_help = {
    .noun = "help",
    .arguments = "[NOUN [VERB]]",
    .summary = "what there is, or one command explained",
    .text = "Lists the commands, the verbs of a noun, or explains one command.",
    .examples = "  coffer help\n  coffer help object\n  coffer help object create\n",
    .positional_max = 2,
    .options = no_options,
    .run = run_help,
};

const struct command command_version = {
    .noun = "version",
    .arguments = "",
    .summary = "the version of this program",
    .text = "Prints the version of this program.",
    .examples = "  coffer version\n",
    .options = no_options,
    .run = run_version,
};

const struct command command_completion_bash = {
    .noun = "completion",
    .verb = "bash",
    .arguments = "",
    .summary = "the script for bash's completion",
    .text = "Prints a script that lets bash complete nouns, verbs and options.",
    .examples = "  source <(coffer completion bash)\n"
                "  coffer completion bash > /etc/bash_completion.d/coffer\n",
    .options = no_options,
    .run = run_completion,
};
