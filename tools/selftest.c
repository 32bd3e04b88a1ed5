/*
 * `coffer selftest`: the known answers that every start checks, told one by one, with what each algorithm is for and
 * where it is written down. Nothing is asked of a daemon, nothing is written.
 */
#include <openssl/crypto.h>
#include <openssl/provider.h>

#include "base/memory.h"
#include "crypto/selftest.h"
#include "tools/command.h"
#include "tools/selftest.h"
#include "tools/table.h"

static json_t *rows_json(enum error error, const char *sentence)
{
    size_t count;
    const struct selftest_row *rows = crypto_selftest_rows(&count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b, s:b}", "use", rows[i].use, "algorithm", rows[i].algorithm,
                                              "publication", rows[i].publication, "fips_approved", rows[i].fips_approved,
                                              "known_answer", rows[i].run != NULL));
    return json_pack("{s:b, s:s, s:s, s:b, s:o}", "passed", error == ERROR_NONE, "sentence", sentence, "library",
                     OpenSSL_version(OPENSSL_VERSION), "fips_provider", OSSL_PROVIDER_available(NULL, "fips") == 1, "algorithms",
                     list);
}

json_t *selftest_json(enum error *error)
{
    *error = crypto_selftest_all();
    return rows_json(*error, *error == ERROR_NONE ? "" : error_sentence(*error));
}

static enum error print_rows(struct tool *tool)
{
    static const struct table_column columns[] = {
        {"USE", TABLE_LEFT}, {"ALGORITHM", TABLE_LEFT}, {"PUBLICATION", TABLE_LEFT}, {"ANSWER", TABLE_LEFT}, {"FIPS", TABLE_LEFT}};
    size_t count;
    const struct selftest_row *rows = crypto_selftest_rows(&count);
    struct table *table = table_create(columns, COUNT_OF(columns));
    for (size_t i = 0; i < count; i++)
        table_add(table, NULL, (const char *const[]){rows[i].use, rows[i].algorithm, rows[i].publication,
                                                     rows[i].run != NULL ? "passed" : "-",
                                                     rows[i].fips_approved ? "approved" : "no"});
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    fprintf(tool->out, "\n%s; its FIPS provider is %sactive.\nFIPS-approved algorithms, where the table says so; neither Coffer nor "
                       "this library in this use is validated.\n",
            OpenSSL_version(OPENSSL_VERSION), OSSL_PROVIDER_available(NULL, "fips") == 1 ? "" : "not ");
    return error;
}

static enum error run_selftest(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    enum error error;
    if (!tool->json) {
        TRY(crypto_selftest_all());
        return print_rows(tool);
    }
    json_t *json = selftest_json(&error);
    enum error printed = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    tool->status = error == ERROR_NONE ? EXIT_DONE : EXIT_FAILED;
    return printed;
}

static const struct option_row no_options[] = {{NULL}};

const struct command command_selftest = {
    .noun = "selftest",
    .arguments = "",
    .summary = "check the ciphers by known answers, and name them",
    .text = "Names, for each use, the algorithm that guards data and keys, and where it is written down. Of those marked passed it\n"
            "computed known answers, through the functions that the engine calls, as each start of cofferd does.\n"
            "It says whether OpenSSL's FIPS provider is active: then the algorithms run in it. That is no validation of Coffer.",
    .examples = "  coffer selftest\n"
                "  coffer --json selftest\n",
    .options = no_options,
    .run = run_selftest,
};
