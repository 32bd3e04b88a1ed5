/* The whole command `coffer` against a control socket and an engine in memory, run inside this process. */
#ifndef COFFER_TESTS_UNIT_TOOL_FIXTURE_H
#define COFFER_TESTS_UNIT_TOOL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "server/control.h"
#include "tests/unit/control_fake.h"
#include "tools/tool.h"

struct fixture {
    struct pool *pool;
    struct control *control;
    char directory[64], socket[96], conf[96], registry[96], secret[96];
    char *out, *err; /* of the last run */
};

static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->directory, sizeof(fixture->directory), "%s", "/tmp/coffer-tool-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->socket, sizeof(fixture->socket), "%s/control.sock", fixture->directory);
    snprintf(fixture->conf, sizeof(fixture->conf), "%s/coffer.conf", fixture->directory);
    snprintf(fixture->registry, sizeof(fixture->registry), "%s/run", fixture->directory);
    snprintf(fixture->secret, sizeof(fixture->secret), "%s/secret", fixture->directory);
    setenv("COFFER_RUN", fixture->registry, 1);
    unsetenv("COFFER_POOL");
    fixture->pool = fake_create();
    fake_offline = (struct fake_offline){0};
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    control_stop(fixture->control);
    char pending[160];
    snprintf(pending, sizeof pending, "%s/audit-pending", fixture->directory);
    unlink(pending); /* of commands that work beside the daemon */
    unlink(fixture->conf);
    unlink(fixture->secret);
    rmdir(fixture->registry);
    int left = rmdir(fixture->directory);
    fake_destroy(fixture->pool);
    free(fixture->out);
    free(fixture->err);
    free(fixture);
    return left;
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    chmod(path, 0600);
}

static inline void serve(struct fixture *fixture)
{
    write_file(fixture->conf, "[pool]\n");
    assert_int_equal(control_start(fixture->pool, fixture->socket, &fixture->control), ERROR_NONE);
}

static inline int run(struct fixture *fixture, const char *const *words, size_t count)
{
    char *argv[32] = {(char *)"coffer"};
    size_t out_size, err_size;
    free(fixture->out);
    free(fixture->err);
    FILE *out = open_memstream(&fixture->out, &out_size), *err = open_memstream(&fixture->err, &err_size);
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = (char *)words[i];
    int status = tool_run((int)count + 1, argv, out, err);
    fclose(out);
    fclose(err);
    return status;
}

#define RUN(...) run(fixture, (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})))

static inline void assert_said(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in: %s", part, text);
}

static inline json_t *output(struct fixture *fixture)
{
    json_t *json = json_loads(fixture->out, 0, NULL);
    assert_non_null(json);
    return json;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
