/*
 * The methods of the control socket where memory runs out, at any place where jansson asks for some. What it gives back is kept
 * and filled, so that whoever uses it afterwards, to give it back once more for example, is found by what he wrote.
 */
#include <malloc.h>
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

#define KEPT_MAX   8192
#define PLACES_MAX 2000
#define FILL       0x5a

static unsigned countdown; /* to the allocation that fails; 0: none */
static uint8_t *kept[KEPT_MAX];
static size_t kept_count;

static void *allocate(size_t size)
{
    return countdown != 0 && --countdown == 0 ? NULL : malloc(size);
}

static void give_back(void *memory)
{
    if (memory == NULL)
        return;
    assert_true(kept_count < KEPT_MAX);
    memset(memory, FILL, malloc_usable_size(memory));
    kept[kept_count++] = memory;
}

/* Whether nobody wrote to what was given back, which then is. */
static bool is_untouched(void)
{
    bool untouched = true;
    for (; kept_count > 0; kept_count--) {
        uint8_t *memory = kept[kept_count - 1];
        for (size_t i = 0; i < malloc_usable_size(memory); i++)
            untouched = untouched && memory[i] == FILL;
        free(memory);
    }
    return untouched;
}

/* Each request on a pool of its own, with one more allocation that succeeds, until all do. */
static void assert_sound(const char *request)
{
    bool whole = false;
    unsigned place = 1;
    for (; !whole && place < PLACES_MAX; place++) {
        struct methods methods = {.pool = fake_create()};
        mutex_init(&methods.trash, RANK_CONTROL);
        countdown = place;
        char *line = methods_answer(&methods, ROLE_ALL, request, strlen(request));
        whole = countdown != 0;
        countdown = 0;
        free(line);
        mutex_deinit(&methods.trash);
        fake_destroy(methods.pool);
        if (!is_untouched())
            fail_msg("with %u allocations: memory that was given back was used: %s", place - 1, request);
    }
    assert_true(whole && place > 2);
}

#define REQUEST(method, parameters) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":" parameters "}"

static void nothing_is_given_back_twice(void **state)
{
    (void)state;
    assert_sound(REQUEST("import.begin",
                         "{\"object\":\"d\",\"size\":4096,\"snapshot\":\"s\",\"created\":5,"
                         "\"identity\":\"22222222-2222-2222-2222-222222222222\","
                         "\"stream\":\"11111111-1111-1111-1111-111111111111\"}"));
    assert_sound(REQUEST("object.create", "{\"name\":\"a\",\"size\":4096}"));
    assert_sound(REQUEST("object.list", "{}"));
    assert_sound(REQUEST("pool.status", "{}"));
    assert_sound(REQUEST("pool.health", "{}"));
    assert_sound(REQUEST("device.list", "{}"));
    assert_sound(REQUEST("scrub.status", "{}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_given_back_twice)};
    json_set_alloc_funcs(allocate, give_back);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
