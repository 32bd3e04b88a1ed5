/*
 * Temporary directories and pools.
 *
 * The codec is not an option of pool_create() but a line of the pool's conf, so that line is written after the pool was
 * made. A crash leaves a directory coffer-bench-* behind, which may be removed.
 */
#include "bench/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "bench/conf_edit.h"

#define CONF_BYTES_MAX   (1u << 20)
#define POOL_BYTES_MIN   (UINT64_C(16) << 30)
#define POOL_TIMES_SIZE  6 /* sparse: what overwrites leave behind until it is cleaned */
#define OPEN_DIRECTORIES 16

const char *scratch_place(void)
{
    const char *place = getenv("TMPDIR");
    return place && *place ? place : "/var/tmp";
}

enum error scratch_init(struct scratch *scratch)
{
    const char *place = scratch_place();
    if (snprintf(scratch->directory, PATH_MAX, "%s/coffer-bench-XXXXXX", place) < PATH_MAX &&
        mkdtemp(scratch->directory))
        return ERROR_NONE;
    scratch->directory[0] = 0;
    return error_from_errno(errno, "make a directory in %s (TMPDIR chooses another)", place);
}

static int entry_remove(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void scratch_deinit(struct scratch *scratch)
{
    if (scratch->directory[0])
        nftw(scratch->directory, entry_remove, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS);
    scratch->directory[0] = 0;
}

static enum error conf_set(const char *directory, const char *key, const char *value)
{
    AUTO_FREE char *path = file_join(directory, "coffer.conf");
    AUTO_FREE void *old = NULL;
    size_t size;
    if (!path)
        return ERROR_NO_MEMORY;
    TRY(file_read(path, CONF_BYTES_MAX, &old, &size));
    AUTO_FREE char *new = conf_with(old, key, value);
    if (!new)
        return ERROR_NO_MEMORY;
    return file_replace(path, new, strlen(new));
}

enum error scratch_pool(const struct scratch *scratch, const struct bench_options *options, char path[PATH_MAX])
{
    char codec[CODEC_TEXT_SIZE];
    if (snprintf(path, PATH_MAX, "%s/pool", scratch->directory) >= PATH_MAX)
        return error_explain(ERROR_TOO_LARGE, "%s: the path is too long", scratch->directory);
    struct pool_create_options create = {
        .directory = path,
        .size = options->pool_size ? options->pool_size : MAX(POOL_TIMES_SIZE * options->size, POOL_BYTES_MIN),
        .encryption = !options->no_encryption,
        .fingerprint = options->fingerprint,
        .seal = "file",
    };
    TRY(pool_create(&create));
    options_codec_format(options->codec, options->level, codec);
    return conf_set(path, "compression", codec);
}
