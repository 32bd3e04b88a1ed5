/* Errors of Coffer as errors of NBD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/nbd/errors.h"

static void every_error_becomes_a_number_that_the_protocol_knows(void **state)
{
    (void)state;
    for (enum error error = ERROR_NONE + 1; error < ERROR_COUNT; error++) {
        for (uint16_t command = COMMAND_READ; command <= COMMAND_BLOCK_STATUS; command++) {
            enum wire_error wire = wire_error(error, command);
            assert_true(wire == WIRE_EPERM || wire == WIRE_EIO || wire == WIRE_ENOMEM || wire == WIRE_EINVAL ||
                        wire == WIRE_ENOSPC || wire == WIRE_EOVERFLOW || wire == WIRE_ESHUTDOWN);
        }
        assert_true(option_error(error) & 0x80000000u);
    }
}

static void no_error_is_none(void **state)
{
    (void)state;
    assert_int_equal(wire_error(ERROR_NONE, COMMAND_READ), WIRE_OK);
}

static void beyond_the_end_is_no_space_for_writes_and_invalid_for_the_rest(void **state)
{
    (void)state;
    assert_int_equal(wire_error(ERROR_OUT_OF_RANGE, COMMAND_WRITE), WIRE_ENOSPC);
    assert_int_equal(wire_error(ERROR_OUT_OF_RANGE, COMMAND_WRITE_ZEROES), WIRE_ENOSPC);
    assert_int_equal(wire_error(ERROR_OUT_OF_RANGE, COMMAND_READ), WIRE_EINVAL);
    assert_int_equal(wire_error(ERROR_OUT_OF_RANGE, COMMAND_TRIM), WIRE_EINVAL);
}

static void each_kind_of_failure_has_its_number(void **state)
{
    (void)state;
    assert_int_equal(wire_error(ERROR_NO_SPACE, COMMAND_WRITE), WIRE_ENOSPC);
    assert_int_equal(wire_error(ERROR_READ_ONLY, COMMAND_WRITE), WIRE_EPERM);
    assert_int_equal(wire_error(ERROR_LOCKED, COMMAND_READ), WIRE_ESHUTDOWN);
    assert_int_equal(wire_error(ERROR_NO_MEMORY, COMMAND_READ), WIRE_ENOMEM);
    assert_int_equal(wire_error(ERROR_CORRUPT, COMMAND_READ), WIRE_EIO);
    assert_int_equal(wire_error(ERROR_FENCED, COMMAND_WRITE), WIRE_EIO);
    assert_int_equal(option_error(ERROR_NOT_FOUND), OPTION_ERROR_UNKNOWN);
    assert_int_equal(option_error(ERROR_LOCKED), OPTION_ERROR_POLICY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_becomes_a_number_that_the_protocol_knows),
        cmocka_unit_test(no_error_is_none),
        cmocka_unit_test(beyond_the_end_is_no_space_for_writes_and_invalid_for_the_rest),
        cmocka_unit_test(each_kind_of_failure_has_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
