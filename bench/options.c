/*
 * The command line of coffer-bench. One table says each option's name, kind and place; after parsing, what does not go
 * together is refused with a sentence, so that the runs need no checks of their own.
 */
#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/size.h"

#define PREPARE_BLOCK (UINT64_C(1) << 20)
#define PREPARE_BYTES (UINT64_C(4) << 20) /* in flight while a range is filled */

enum option_kind { KIND_TEXT, KIND_SIZE, KIND_NUMBER, KIND_DURATION, KIND_PERCENT, KIND_FLAG, KIND_WORD };

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t place;
    enum error (*word)(const char *text, struct bench_options *options); /* of KIND_WORD */
};

struct word {
    const char *text;
    int value;
};

static enum error word_find(const char *option, const char *text, const struct word *words, size_t count, int *value)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i].text) == 0) {
            *value = words[i].value;
            return ERROR_NONE;
        }
    return error_explain(ERROR_INVALID, "--%s does not know \"%s\": see `coffer-bench help`", option, text);
}

static const struct word patterns[] = {
    {"sequential", PATTERN_SEQUENTIAL}, {"random", PATTERN_RANDOM}, {"shuffled", PATTERN_SHUFFLED},
    {"zipf", PATTERN_ZIPF}};
static const struct word prepares[] = {
    {"none", PREPARE_NONE}, {"sequential", PREPARE_SEQUENTIAL}, {"random", PREPARE_RANDOM}};
static const struct word fingerprints[] = {{"xxh3", POOL_FINGERPRINT_XXH3},
                                           {"hmac-sha256", POOL_FINGERPRINT_HMAC_SHA256}};
static const struct word codecs[] = {{"auto", POOL_CODEC_AUTO}, {"none", POOL_CODEC_NONE}, {"lz4", POOL_CODEC_LZ4}};
static const struct word commands[] = {{"engine", BENCH_ENGINE},     {"calls", BENCH_CALLS}, {"nbd", BENCH_NBD},
                                       {"limits", BENCH_LIMITS},     {"baseline", BENCH_BASELINE},
                                       {"help", BENCH_HELP},         {"version", BENCH_VERSION}};

static enum error pattern_parse(const char *text, struct bench_options *options)
{
    int value = 0;
    TRY(word_find("pattern", text, patterns, COUNT_OF(patterns), &value));
    options->pattern = (enum bench_pattern)value;
    return ERROR_NONE;
}

static enum error prepare_parse(const char *text, struct bench_options *options)
{
    int value = 0;
    TRY(word_find("prepare", text, prepares, COUNT_OF(prepares), &value));
    options->prepare = (enum bench_prepare)value;
    return ERROR_NONE;
}

static enum error fingerprint_parse(const char *text, struct bench_options *options)
{
    int value = 0;
    TRY(word_find("fingerprint", text, fingerprints, COUNT_OF(fingerprints), &value));
    options->fingerprint = (enum fingerprint_choice)value;
    return ERROR_NONE;
}

static enum error number_parse(const char *option, const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return error_explain(ERROR_INVALID, "--%s takes a number, not \"%s\"", option, text);
    *number = value;
    return ERROR_NONE;
}

static enum error percent_parse(const char *option, const char *text, unsigned *percent)
{
    uint64_t number;
    TRY(number_parse(option, text, &number));
    if (number > 100)
        return error_explain(ERROR_INVALID, "--%s takes a share from 0 to 100 percent, not %s", option, text);
    *percent = (unsigned)number;
    return ERROR_NONE;
}

static enum error codec_parse(const char *text, struct bench_options *options)
{
    uint64_t level;
    int value = 0;
    if (strncmp(text, "zstd-", 5) == 0) {
        TRY(number_parse("codec", text + 5, &level));
        if (level < 1 || level > 19)
            return error_explain(ERROR_INVALID, "--codec takes zstd-1 to zstd-19, not %s", text);
        options->codec = POOL_CODEC_ZSTD;
        options->level = (int)level;
        return ERROR_NONE;
    }
    TRY(word_find("codec", text, codecs, COUNT_OF(codecs), &value));
    options->codec = (enum codec_choice)value;
    return ERROR_NONE;
}

static enum error read_choose(const char *text, struct bench_options *options)
{
    (void)text;
    options->read_percent = 100;
    return ERROR_NONE;
}

static enum error write_choose(const char *text, struct bench_options *options)
{
    (void)text;
    options->read_percent = 0;
    return ERROR_NONE;
}

#define PLACE(member) offsetof(struct bench_options, member)
static const struct option_row rows[] = {
    {"dir", KIND_TEXT, PLACE(directory), NULL},
    {"object", KIND_TEXT, PLACE(object), NULL},
    {"pattern", KIND_WORD, 0, pattern_parse},
    {"prepare", KIND_WORD, 0, prepare_parse},
    {"read", KIND_WORD, 1, read_choose},
    {"write", KIND_WORD, 1, write_choose},
    {"mix", KIND_PERCENT, PLACE(read_percent), NULL},
    {"block-size", KIND_SIZE, PLACE(block_size), NULL},
    {"depth", KIND_NUMBER, PLACE(depth), NULL},
    {"threads", KIND_NUMBER, PLACE(threads), NULL},
    {"size", KIND_SIZE, PLACE(size), NULL},
    {"pool-size", KIND_SIZE, PLACE(pool_size), NULL},
    {"seconds", KIND_DURATION, PLACE(seconds), NULL},
    {"bytes", KIND_SIZE, PLACE(bytes), NULL},
    {"fsync", KIND_NUMBER, PLACE(flush_interval), NULL},
    {"compress", KIND_PERCENT, PLACE(compress_percent), NULL},
    {"duplicate", KIND_PERCENT, PLACE(duplicate_percent), NULL},
    {"seed", KIND_NUMBER, PLACE(seed), NULL},
    {"memory", KIND_SIZE, PLACE(memory), NULL},
    {"regenerate", KIND_NUMBER, PLACE(regenerate), NULL},
    {"rounds", KIND_NUMBER, PLACE(rounds), NULL},
    {"fingerprint", KIND_WORD, 0, fingerprint_parse},
    {"codec", KIND_WORD, 0, codec_parse},
    {"no-index", KIND_FLAG, PLACE(no_index), NULL},
    {"no-encryption", KIND_FLAG, PLACE(no_encryption), NULL},
    {"no-limits", KIND_FLAG, PLACE(no_limits), NULL},
    {"json", KIND_FLAG, PLACE(json), NULL},
};

static bool row_takes_argument(const struct option_row *row)
{
    return row->kind != KIND_FLAG && !(row->kind == KIND_WORD && row->place);
}

static enum error named(const struct option_row *row, enum error error)
{
    return error ? error_prefix(error, "--%s", row->name) : ERROR_NONE;
}

static enum error row_apply(const struct option_row *row, const char *text, struct bench_options *options)
{
    void *place = (char *)options + row->place;
    switch (row->kind) {
    case KIND_TEXT:
        *(const char **)place = text;
        return ERROR_NONE;
    case KIND_SIZE:
        return named(row, size_parse(text, place));
    case KIND_DURATION:
        return named(row, duration_parse(text, place));
    case KIND_NUMBER:
        return number_parse(row->name, text, place);
    case KIND_PERCENT:
        return percent_parse(row->name, text, place);
    case KIND_FLAG:
        *(bool *)place = true;
        return ERROR_NONE;
    case KIND_WORD:
        return row->word(text, options);
    }
    return ERROR_BUG;
}

static uint64_t processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : MIN((uint64_t)count, BENCH_THREADS_MAX);
}

static void defaults_set(struct bench_options *options)
{
    *options = (struct bench_options){
        .object = "bench",
        .block_size = COFFER_BLOCK,
        .depth = 32,
        .threads = processors(),
        .size = UINT64_C(1) << 30,
        .compress_percent = 50,
        .seed = 1,
        .rounds = 100,
        .fingerprint = POOL_FINGERPRINT_XXH3,
        .codec = POOL_CODEC_ZSTD,
        .level = 1,
    };
}

static enum error check_shape(const struct bench_options *options)
{
    if (options->block_size < BENCH_BLOCK_MIN || options->block_size % BENCH_BLOCK_MIN ||
        options->block_size > REQUEST_BYTES_MAX)
        return error_explain(ERROR_INVALID, "--block-size is a multiple of %d, at most 32M", BENCH_BLOCK_MIN);
    if (options->threads < 1 || options->threads > BENCH_THREADS_MAX)
        return error_explain(ERROR_INVALID, "--threads is from 1 to %d", BENCH_THREADS_MAX);
    if (options->depth < 1 || options->depth > BENCH_DEPTH_MAX)
        return error_explain(ERROR_INVALID, "--depth is from 1 to %d", BENCH_DEPTH_MAX);
    if (MAX(options->depth, options->threads) * options->block_size > BENCH_BUFFER_MAX)
        return error_explain(ERROR_INVALID, "--depth times --block-size is at most 1G");
    if (options->size % COFFER_BLOCK || options->size > OBJECT_SIZE_MAX)
        return error_explain(ERROR_INVALID, "--size is a multiple of 4096, at most 64T");
    if (options->size < options->threads * options->block_size)
        return error_explain(ERROR_INVALID, "--size must hold a block of --block-size for each thread");
    return ERROR_NONE;
}

static enum error check_subject(const struct bench_options *options, int left)
{
    bool wanted = options->command == BENCH_NBD || options->command == BENCH_BASELINE;
    if (wanted && left < 1)
        return error_explain(ERROR_INVALID, "%s",
                             options->command == BENCH_NBD
                                 ? "which export? type `coffer-bench nbd URI`, for example nbd+unix:///a?socket=s"
                                 : "of which image? type `coffer-bench baseline IMAGE`");
    if (options->command == BENCH_CALLS && !options->directory)
        return error_explain(ERROR_INVALID, "calls are made in the pool that --dir names");
    if (left > (wanted ? 1 : 0))
        return error_explain(ERROR_INVALID, "too many arguments: see `coffer-bench help`");
    return ERROR_NONE;
}

static void table_build(struct option table[COUNT_OF(rows) + 2])
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        table[i] =
            (struct option){rows[i].name, row_takes_argument(&rows[i]) ? required_argument : no_argument, NULL, 0};
    table[COUNT_OF(rows)] = (struct option){"help", no_argument, NULL, 'h'};
    table[COUNT_OF(rows) + 1] = (struct option){0};
}

enum error options_parse(int count, char **arguments, struct bench_options *options)
{
    struct option table[COUNT_OF(rows) + 2];
    int command = 0, row, found;
    defaults_set(options);
    if (count < 2 || strcmp(arguments[1], "--help") == 0) {
        options->command = BENCH_HELP;
        return ERROR_NONE;
    }
    if (word_find("", arguments[1], commands, COUNT_OF(commands), &command))
        return error_explain(ERROR_INVALID, "no such command \"%s\": see `coffer-bench help`", arguments[1]);
    options->command = (enum bench_command)command;
    table_build(table);
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(count - 1, arguments + 1, "h", table, &row)) != -1) {
        if (found == 'h') {
            options->command = BENCH_HELP;
            return ERROR_NONE;
        }
        if (found != 0)
            return error_explain(ERROR_INVALID, "unknown or incomplete option \"%s\": see `coffer-bench help`",
                                 arguments[optind]);
        TRY(row_apply(&rows[row], optarg, options));
    }
    if (!options->seconds && !options->bytes)
        options->seconds = 5;
    TRY(check_subject(options, count - 1 - optind));
    options->subject = optind < count - 1 ? arguments[1 + optind] : NULL;
    return check_shape(options);
}

void options_codec_format(enum codec_choice codec, int level, char text[CODEC_TEXT_SIZE])
{
    if (codec == POOL_CODEC_ZSTD)
        snprintf(text, CODEC_TEXT_SIZE, "zstd-%d", level);
    else
        snprintf(text, CODEC_TEXT_SIZE, "%s", codecs[codec].text);
}

const char *options_fingerprint_name(enum fingerprint_choice fingerprint)
{
    return fingerprint == POOL_FINGERPRINT_XXH3 ? "xxh3" : "hmac-sha256";
}

const char *options_pattern_name(enum bench_pattern pattern)
{
    return patterns[pattern].text;
}

uint64_t options_thread_depth(const struct bench_options *options)
{
    return MAX(options->depth / options->threads, 1);
}

uint64_t options_batch_requests(const struct bench_options *options)
{
    uint64_t fitting = MAX(BATCH_BYTES_MAX / options->block_size, 1);
    return MIN(MIN(options_thread_depth(options), fitting), BATCH_REQUESTS_MAX);
}

enum bench_prepare options_prepare_kind(const struct bench_options *options)
{
    if (options->prepare != PREPARE_AUTO)
        return options->prepare;
    return options->command == BENCH_ENGINE && options->read_percent ? PREPARE_SEQUENTIAL : PREPARE_NONE;
}

void options_prepare(const struct bench_options *options, struct bench_options *prepare)
{
    bool random = options_prepare_kind(options) == PREPARE_RANDOM;
    uint64_t share = ROUND_DOWN(options->size / options->threads, COFFER_BLOCK);
    *prepare = *options;
    prepare->pattern = random ? PATTERN_SHUFFLED : PATTERN_SEQUENTIAL;
    prepare->read_percent = 0;
    prepare->bytes = options->size;
    prepare->seconds = prepare->flush_interval = 0;
    prepare->block_size = random ? options->block_size : MIN(PREPARE_BLOCK, share);
    prepare->depth = MIN(PREPARE_BYTES / prepare->block_size + options->threads, BENCH_DEPTH_MAX);
}

void options_help(void)
{
    fputs(
        "coffer-bench: the engine alone, or any NBD server, beside its limits in the same run\n"
        "\n"
        "  coffer-bench engine [--dir DIR] [OPTION]…   in this process, in a temporary pool or in the pool DIR\n"
        "  coffer-bench calls --dir DIR [OPTION]…      how long opening, listing, creating, snapshots and clones of\n"
        "                                              --object take there; --rounds N of each, 100\n"
        "  coffer-bench nbd URI [OPTION]…              an NBD export (nbd+unix:///NAME?socket=PATH); writes destroy "
        "it\n"
        "  coffer-bench limits [OPTION]…               the bare primitives and the raw device only\n"
        "  coffer-bench baseline IMAGE                 what zstd makes of an image's unique blocks in 16 KiB pieces\n"
        "\n"
        "what is asked\n"
        "  --write | --read | --mix PERCENT     writes (default), reads, or PERCENT of reads\n"
        "  --pattern sequential|random|shuffled|zipf\n"
        "                                       sequential (default; a range for each thread), random blocks, every\n"
        "                                       block once in random order, or by Zipf's law with exponent 0.99\n"
        "  --block-size SIZE   --depth N   --threads N\n"
        "                                       4K; 32 requests in flight, shared by the threads; all processors\n"
        "  --size SIZE                          range that is used, 1G (nbd: at most the export)\n"
        "  --seconds N | --bytes SIZE           how long, 5 s; the closing flush is inside the time\n"
        "  --fsync N                            a flush after every N writes of a thread\n"
        "  --prepare none|sequential|random     what fills the range first. The engine fills an object that it made\n"
        "                                       itself, sequentially, where there are reads, and opens the pool anew:\n"
        "                                       data is cold. An export is filled only where this is given\n"
        "data\n"
        "  --compress PERCENT                   share of each 4 KiB that repeats, 50\n"
        "  --duplicate PERCENT                  share of 64 KiB runs that repeat an earlier one, 0\n"
        "  --seed N\n"
        "the pool (of `engine`; `limits` and `nbd` take the primitives from them)\n"
        "  --fingerprint xxh3|hmac-sha256   --codec auto|none|lz4|zstd-1…zstd-19   --no-encryption   --no-index\n"
        "  --memory SIZE   --pool-size SIZE   --object NAME\n"
        "  --regenerate SEED                    the device keeps of data that was written with --seed SEED and\n"
        "                                       --compress 0 only what it is, and makes it anew when it is read; the\n"
        "                                       pool has neither encryption nor compression\n"
        "  --dir DIR                            engine: an existing pool; limits, nbd: where the raw device is "
        "measured\n"
        "                                       (temporary pools and files lie in TMPDIR, else /var/tmp)\n"
        "output\n"
        "  --json   --no-limits\n"
        "\n"
        "For example:\n"
        "  coffer-bench engine --block-size 1M --depth 8 --bytes 2G\n"
        "  coffer-bench engine --read --pattern random --size 4G --prepare random --memory 128M\n"
        "  coffer-bench nbd \"$(coffer object uri a)\" --pattern random --fsync 32\n",
        stdout);
}
