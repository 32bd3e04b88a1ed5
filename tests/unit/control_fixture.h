/* A control socket before a pool that is not there (control_fake.h), in a directory of the test's own, and the conf beside it. */
#ifndef COFFER_TESTS_UNIT_CONTROL_FIXTURE_H
#define COFFER_TESTS_UNIT_CONTROL_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/control.h"
#include "tests/unit/control_fake.h"

struct fixture {
    struct pool *pool;
    struct control *control;
    char directory[64], path[96], registry[96];
};

static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->directory, sizeof(fixture->directory), "%s", "/tmp/coffer-control-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->path, sizeof(fixture->path), "%s/control.sock", fixture->directory);
    snprintf(fixture->registry, sizeof(fixture->registry), "%s/run", fixture->directory);
    setenv("COFFER_RUN", fixture->registry, 1);
    fixture->pool = fake_create();
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    control_stop(fixture->control);
    unlink(fixture->path);
    rmdir(fixture->registry);
    int left = rmdir(fixture->directory);
    fake_destroy(fixture->pool);
    free(fixture);
    return left;
}

static inline void conf_say(struct fixture *fixture, const char *control)
{
    char path[128], fresh[128];
    snprintf(path, sizeof(path), "%s/coffer.conf", fixture->directory);
    snprintf(fresh, sizeof(fresh), "%s/coffer.conf.new", fixture->directory);
    FILE *file = fopen(fresh, "w");
    fprintf(file,
            "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nencryption = off\n"
            "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"
            "device-ids = 44444444-4444-4444-8444-444444444444\n%s", control);
    fclose(file);
    assert_int_equal(rename(fresh, path), 0);
    if (fixture->control == NULL) /* else its threads know it */
        fixture->pool->directory = fixture->directory;
}

static inline void conf_remove(struct fixture *fixture)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/coffer.conf", fixture->directory);
    unlink(path);
}

#endif
