/* Lines of the control socket: what is refused before anything runs, and what goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/rpc.h"

static enum error decode(const char *line, struct rpc_request *request)
{
    return rpc_request_decode(line, strlen(line), request);
}

static void assert_refused(const char *line, enum rpc_code code)
{
    struct rpc_request request;
    assert_int_not_equal(decode(line, &request), ERROR_NONE);
    assert_int_equal(request.code, code);
    rpc_request_deinit(&request);
}

static void garbage_is_a_parse_error(void **state)
{
    (void)state;
    assert_refused("", RPC_PARSE_ERROR);
    assert_refused("hello", RPC_PARSE_ERROR);
    assert_refused("{\"jsonrpc\":", RPC_PARSE_ERROR);
    assert_refused("{\"id\":1,\"method\":\"\xff\xfe\"}", RPC_PARSE_ERROR);
    assert_refused("{\"id\":1,\"id\":2}", RPC_PARSE_ERROR);
    assert_refused("{} {}", RPC_PARSE_ERROR);
    assert_refused("\"open string", RPC_PARSE_ERROR);
    assert_refused("\"ends in a backslash\\", RPC_PARSE_ERROR);
}

static void zero_bytes_are_refused(void **state)
{
    (void)state;
    struct rpc_request request;
    assert_int_not_equal(rpc_request_decode("{}\0{}", 5, &request), ERROR_NONE);
    rpc_request_deinit(&request);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\\u0000b\"}", RPC_PARSE_ERROR);
}

static void deep_nesting_is_refused_before_it_is_parsed(void **state)
{
    (void)state;
    char line[RPC_LINE_MAX];
    memset(line, '[', sizeof(line));
    struct rpc_request request;
    assert_int_equal(rpc_request_decode(line, sizeof(line), &request), ERROR_PROTOCOL);
    assert_non_null(strstr(error_sentence(ERROR_PROTOCOL), "nested"));
    rpc_request_deinit(&request);
}

static void brackets_inside_of_strings_are_no_nesting(void **state)
{
    (void)state;
    struct rpc_request request;
    assert_int_equal(
        decode("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"name\":\"[[[[[[\\\"{{{{\"}}", &request),
        ERROR_NONE);
    rpc_request_deinit(&request);
}

static void as_many_brackets_as_are_allowed_are_taken(void **state)
{
    (void)state;
    struct rpc_request request;
    assert_int_equal(decode("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"names\":[[\"a\"]]}}", &request),
                     ERROR_NONE);
    rpc_request_deinit(&request);
}

static void a_line_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    static char line[RPC_LINE_MAX + 1];
    memset(line, ' ', sizeof(line));
    struct rpc_request request;
    assert_int_equal(rpc_request_decode(line, sizeof(line), &request), ERROR_TOO_LARGE);
    rpc_request_deinit(&request);
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    assert_refused("[]", RPC_INVALID_REQUEST);
    assert_refused("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}]", RPC_INVALID_REQUEST);
    assert_refused("{}", RPC_INVALID_REQUEST);
    assert_refused("{\"id\":1,\"method\":\"m\"}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\"}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":1}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[1]}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"more\":1}", RPC_INVALID_REQUEST);
}

static void a_request_without_a_proper_id_is_refused(void **state)
{
    (void)state;
    assert_refused("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"m\"}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"m\"}", RPC_INVALID_REQUEST);
    assert_refused("{\"jsonrpc\":\"2.0\",\"id\":\"0123456789012345678901234567890123456789012345678901234567890123x\","
                   "\"method\":\"m\"}",
                   RPC_INVALID_REQUEST);
}

static void a_refused_request_keeps_its_id_for_the_answer(void **state)
{
    (void)state;
    struct rpc_request request;
    enum error error = decode("{\"jsonrpc\":\"2.0\",\"id\":42,\"method\":7}", &request);
    char *answer = rpc_encode_error(request.id, request.code, error);
    assert_non_null(strstr(answer, "\"id\":42"));
    assert_non_null(strstr(answer, "\"code\":-32600"));
    assert_non_null(strstr(answer, "\"name\":\"PROTOCOL\""));
    free(answer);
    rpc_request_deinit(&request);
}

static void a_good_request_is_decoded(void **state)
{
    (void)state;
    struct rpc_request request;
    assert_int_equal(
        decode("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"pool.status\",\"params\":{\"a\":1}}", &request),
        ERROR_NONE);
    assert_string_equal(request.method, "pool.status");
    assert_string_equal(json_string_value(request.id), "x");
    assert_int_equal(json_object_size(request.parameters), 1);
    rpc_request_deinit(&request);
}

static void an_answer_is_one_line(void **state)
{
    (void)state;
    json_t *id = json_integer(1), *result = json_pack("{s:s}", "text", "two\nlines");
    char *answer = rpc_encode_result(id, result);
    assert_ptr_equal(strchr(answer, '\n'), answer + strlen(answer) - 1);
    free(answer);
    json_decref(id);
    json_decref(result);
}

static void an_error_carries_name_class_and_sentence(void **state)
{
    (void)state;
    char *answer = rpc_encode_error(NULL, RPC_FAILED, error_explain(ERROR_NO_SPACE, "the pool is full"));
    assert_string_equal(answer, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"the pool is "
                                "full\",\"data\":{\"name\":\"NO_SPACE\",\"class\":\"no-space\"}}}\n");
    free(answer);
}

static void a_sentence_that_is_not_utf8_does_not_break_the_answer(void **state)
{
    (void)state;
    char *answer = rpc_encode_error(NULL, RPC_FAILED, error_explain(ERROR_IO, "read /dev/\xff"));
    assert_non_null(answer);
    assert_non_null(strstr(answer, "\"name\":\"IO\""));
    free(answer);
}

static void bad_hexadecimal_is_refused(void **state)
{
    (void)state;
    char out[4];
    size_t size;
    assert_int_equal(rpc_decode_hexadecimal("abc", 3, out, sizeof(out), &size), ERROR_INVALID);
    assert_int_equal(rpc_decode_hexadecimal("0g", 2, out, sizeof(out), &size), ERROR_INVALID);
    assert_int_equal(rpc_decode_hexadecimal("AB", 2, out, sizeof(out), &size), ERROR_INVALID);
    assert_int_equal(rpc_decode_hexadecimal("0011223344", 10, out, sizeof(out), &size), ERROR_INVALID);
    assert_int_equal(rpc_decode_hexadecimal("0\0", 2, out, sizeof(out), &size), ERROR_INVALID);
}

static void hexadecimal_carries_any_byte(void **state)
{
    (void)state;
    char out[4];
    size_t size;
    assert_int_equal(rpc_decode_hexadecimal("00ff7f0a", 8, out, sizeof(out), &size), ERROR_NONE);
    assert_int_equal(size, 4);
    assert_memory_equal(out, "\x00\xff\x7f\x0a", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_a_parse_error),
        cmocka_unit_test(zero_bytes_are_refused),
        cmocka_unit_test(deep_nesting_is_refused_before_it_is_parsed),
        cmocka_unit_test(brackets_inside_of_strings_are_no_nesting),
        cmocka_unit_test(as_many_brackets_as_are_allowed_are_taken),
        cmocka_unit_test(a_line_beyond_the_limit_is_refused),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(a_request_without_a_proper_id_is_refused),
        cmocka_unit_test(a_refused_request_keeps_its_id_for_the_answer),
        cmocka_unit_test(a_good_request_is_decoded),
        cmocka_unit_test(an_answer_is_one_line),
        cmocka_unit_test(an_error_carries_name_class_and_sentence),
        cmocka_unit_test(a_sentence_that_is_not_utf8_does_not_break_the_answer),
        cmocka_unit_test(bad_hexadecimal_is_refused),
        cmocka_unit_test(hexadecimal_carries_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
