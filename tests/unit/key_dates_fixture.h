/* A directory for one small file of a pool, and what a check of health says upon facts that a test makes up. */
#ifndef COFFER_TESTS_UNIT_KEY_DATES_FIXTURE_H
#define COFFER_TESTS_UNIT_KEY_DATES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/health_check.h"

#define DAY   UINT64_C(86400)
#define BEGIN UINT64_C(1700000000)

static char directory[64], path[96]; /* of the file */
static struct pool_status status = {.encryption = true};
static struct health_facts facts;
static struct finding finding;

static inline void directory_make(const char *file)
{
    snprintf(directory, sizeof directory, "/tmp/coffer-dates-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/%s", directory, file);
}

static inline int forget(const char *entry, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about, (void)kind, (void)walk;
    return remove(entry);
}

static inline int tear_down(void **state)
{
    (void)state;
    return nftw(directory, forget, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *severity(void (*check)(const struct health_facts *, struct finding *))
{
    finding = (struct finding){.severity = "ok"};
    check(&facts, &finding);
    return finding.severity;
}

#endif
