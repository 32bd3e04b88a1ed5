/* `coffer device list`. */
#include <inttypes.h>

#include "base/memory.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/text.h"

static void add_row(struct table *table, const json_t *device)
{
    char size[TEXT_SIZE], counts[4][TEXT_SIZE];
    static const char *const keys[] = {"reads", "writes", "flushes", "discards"};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        snprintf(counts[i], TEXT_SIZE, "%" PRIu64, answer_figure(device, keys[i]));
    bool failed = answer_flag(device, "fenced");
    table_add(table, NULL,
              (const char *const[]){answer_word(device, "path"), answer_word(device, "group"),
                                    text_size(answer_figure(device, "size"), size), counts[0], counts[1], counts[2],
                                    counts[3], failed ? "failed" : "ok", answer_word(device, "uuid")});
}

static enum error print_table(struct tool *tool, const json_t *devices)
{
    static const struct table_column columns[] = {
        {"DEVICE", TABLE_LEFT},    {"GROUP", TABLE_LEFT},   {"SIZE", TABLE_RIGHT},
        {"READS", TABLE_RIGHT},    {"WRITES", TABLE_RIGHT}, {"FLUSHES", TABLE_RIGHT},
        {"DISCARDS", TABLE_RIGHT}, {"STATE", TABLE_LEFT},   {"UUID", TABLE_LEFT},
    };
    return answer_table(tool, devices, columns, COUNT_OF(columns), add_row);
}

static enum error run_list(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    json_t *devices;
    TRY(client_ask(tool, "device.list", NULL, &devices));
    return answer_show(tool, devices, print_table);
}

static const struct option_row no_options[] = {{NULL}};

const struct command command_device_list = {
    .noun = "device",
    .verb = "list",
    .arguments = "",
    .summary = "devices, with what they did since the start",
    .text = "Lists the devices of the pool. A device whose write or sync failed is \"failed\" and takes its group out\n"
            "of service until cofferd is started again.",
    .examples = "  coffer device list\n",
    .options = no_options,
    .run = run_list,
};
