/* How devices are named in a sentence, also many of them and such with long paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "engine/pool/key_needs.h"

static char text[KEY_NEEDS_SIZE];

static void those_that_need_it_are_named(void **state)
{
    (void)state;
    char a[] = "/dev/a", b[] = "/dev/b", c[] = "/dev/c";
    struct pool_conf_device devices[] = {{.path = a}, {.path = b}, {.path = c}};
    const struct pool_conf_group group = {.device_count = 3, .devices = devices};
    static const bool none[3], some[3] = {true, false, true};
    assert_string_equal(key_needs_name(&group, NULL, text), "/dev/a, /dev/b, /dev/c");
    assert_string_equal(key_needs_name(&group, some, text), "/dev/a, /dev/c");
    assert_string_equal(key_needs_name(&group, none, text), "");
}

static void what_has_no_room_is_counted(void **state)
{
    (void)state;
    char path[101], longest[KEY_NEEDS_SIZE + 1];
    struct pool_conf_device devices[64];
    memset(path, 'd', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    for (size_t i = 0; i < COUNT_OF(devices); i++)
        devices[i] = (struct pool_conf_device){.path = path};
    const struct pool_conf_group group = {.device_count = COUNT_OF(devices), .devices = devices};
    key_needs_name(&group, NULL, text);
    assert_non_null(strstr(text, "ddd and 60 more"));
    memset(longest, 'd', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < COUNT_OF(devices); i++)
        devices[i].path = longest;
    assert_string_equal(key_needs_name(&group, NULL, text), "64 devices");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_need_it_are_named),
        cmocka_unit_test(what_has_no_room_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
