/* The methods of the control socket on an engine in memory, called as a line of JSON. */
#ifndef COFFER_TESTS_UNIT_METHODS_FIXTURE_H
#define COFFER_TESTS_UNIT_METHODS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "server/methods.h"
#include "tests/unit/control_fake.h"

struct fixture {
    struct pool *pool;
    struct methods methods;
    json_t *answer; /* of the last call */
};

static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->pool = fake_create();
    fixture->methods.pool = fixture->pool;
    mutex_init(&fixture->methods.trash, RANK_CONTROL);
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    json_decref(fixture->answer);
    mutex_deinit(&fixture->methods.trash);
    fake_destroy(fixture->pool);
    free(fixture);
    return 0;
}

static inline json_t *call_as(struct fixture *fixture, unsigned roles, const char *method, const char *parameters)
{
    char request[2048];
    snprintf(request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method,
             parameters);
    char *line = methods_answer(&fixture->methods, roles, request, strlen(request));
    json_decref(fixture->answer);
    fixture->answer = json_loads(line, 0, NULL);
    free(line);
    assert_non_null(fixture->answer);
    return fixture->answer;
}

static inline json_t *call(struct fixture *fixture, const char *method, const char *parameters)
{
    json_t *result = json_object_get(call_as(fixture, ROLE_ALL, method, parameters), "result");
    assert_non_null(result);
    return result;
}

static inline void assert_fails_as(struct fixture *fixture, unsigned roles, const char *method, const char *parameters,
                            int code, const char *name)
{
    json_t *error = json_object_get(call_as(fixture, roles, method, parameters), "error");
    assert_non_null(error);
    assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
    assert_string_equal(json_string_value(json_object_get(json_object_get(error, "data"), "name")), name);
    assert_true(json_string_length(json_object_get(error, "message")) > 0);
}

static inline void assert_fails(struct fixture *fixture, const char *method, const char *parameters, int code,
                         const char *name)
{
    assert_fails_as(fixture, ROLE_ALL, method, parameters, code, name);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
