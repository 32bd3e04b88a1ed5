/*
 * A pool directory of which a rename or a sync may fail: a test that includes this is linked with --wrap=rename and
 * --wrap=fsync. A sync that fails comes behind the rename that it is to make durable, and is the last that the directory sees:
 * until it is mended no name in it changes.
 */
#ifndef COFFER_TESTS_UNIT_FAILING_DIRECTORY_H
#define COFFER_TESTS_UNIT_FAILING_DIRECTORY_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/pool_fixture.h"

static _Atomic int witness_renames, directory_syncs; /* to the one that fails; 0: none */
static _Atomic bool directory_broken;

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);

static inline bool fails_now(_Atomic int *left)
{
    return atomic_load(left) > 0 && atomic_fetch_sub(left, 1) == 1;
}

int __wrap_rename(const char *from, const char *to)
{
    char witness[300];
    snprintf(witness, sizeof witness, "%s/witness", fixture_directory);
    bool ours = strncmp(to, fixture_directory, strlen(fixture_directory)) == 0;
    if (!(ours && atomic_load(&directory_broken)) && !(strcmp(to, witness) == 0 && fails_now(&witness_renames)))
        return __real_rename(from, to);
    errno = EIO;
    return -1;
}

int __wrap_fsync(int descriptor)
{
    char link[32], name[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, name, sizeof name - 1);
    name[size > 0 ? size : 0] = '\0';
    if (strcmp(name, fixture_directory) != 0 || !fails_now(&directory_syncs))
        return __real_fsync(descriptor);
    atomic_store(&directory_broken, true);
    errno = EIO;
    return -1;
}

/* Whether a sync failed since it was asked for. */
static inline bool directory_mend(void)
{
    atomic_store(&directory_syncs, 0);
    return atomic_exchange(&directory_broken, false);
}

#endif
