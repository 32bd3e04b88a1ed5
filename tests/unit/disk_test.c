/* Requests of exports and imports on their way to an NBD server: what fails, and in which order they are done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/memory.h"
#include "tests/unit/nbd_client.h"
#include "tests/unit/nbd_engine.h"
#include "tools/disk.h"
#include "tools/place.h"
#include "tools/uri.h"

static char path[64];

/* Where cofferd serves, without a pool. */
const char *argument_value(const struct arguments *arguments, const char *option, const char *fallback)
{
    (void)arguments, (void)option;
    return fallback;
}

enum error place_nbd_told(struct tool *tool, const char *told, char **address)
{
    (void)tool, (void)told;
    *address = strdup(path);
    return ERROR_NONE;
}

enum error uri_make(const char *address, const char *object, char **uri)
{
    return asprintf(uri, "nbd+unix:///%s?socket=%s", object, address) < 0 ? ERROR_NO_MEMORY : ERROR_NONE;
}

struct taken {
    uint64_t end, reads;
    uint64_t refuses_at; /* it takes no more from here on */
};

/* Each piece begins where the one before ended, and read blocks begin with their number. */
static enum error take(void *context, const struct disk_piece *piece)
{
    struct taken *taken = context;
    uint64_t number;
    if (taken->refuses_at != 0 && piece->offset >= taken->refuses_at)
        return error_explain(ERROR_NO_SPACE, "the pipe is full");
    assert_int_equal(piece->offset, taken->end);
    taken->end += piece->length;
    for (uint64_t at = 0; piece->action == DISK_READ && at < piece->length; at += 4096, taken->reads++) {
        memcpy(&number, piece->data + at, sizeof number);
        assert_int_equal(number, (piece->offset + at) / 4096);
    }
    return ERROR_NONE;
}

static void serve(struct nbd_fixture *fixture, struct disk **disk, struct taken *taken)
{
    char address[80];
    *taken = (struct taken){0};
    snprintf(path, sizeof path, "/tmp/coffer-disk-%d", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    fixture_start(fixture, &(struct nbd_options){0});
    assert_int_equal(nbd_listen(fixture->server, address), ERROR_NONE);
    assert_int_equal(disk_open(NULL, NULL, "disk", NULL, disk), ERROR_NONE);
    disk_tell(*disk, take, taken);
}

static void assert_fails(enum error error, enum error expected, const char *words)
{
    assert_int_equal(error, expected);
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
}

/* What comes behind it may be answered well: it is not done, and the failure stays. */
static void nothing_is_done_behind_what_fails(void **state)
{
    struct nbd_fixture fixture;
    struct disk *disk;
    struct taken taken;
    static const uint8_t block[4096] = {1};
    (void)state;
    serve(&fixture, &disk, &taken);
    assert_int_equal(disk_write(disk, 0, block, sizeof block), ERROR_NONE);
    assert_int_equal(disk_settle(disk), ERROR_NONE);
    nbd_engine_fail(fixture.pool, REQUEST_WRITE, ERROR_NO_SPACE);
    enum error error = disk_write(disk, 4096, block, sizeof block);
    if (error == ERROR_NONE)
        error = disk_zero(disk, 8192, 4096);
    if (error == ERROR_NONE)
        error = disk_settle(disk);
    assert_fails(error, ERROR_NO_SPACE, "no space left in the pool");
    nbd_engine_fail(fixture.pool, REQUEST_WRITE, ERROR_NONE);
    assert_fails(disk_settle(disk), ERROR_NO_SPACE, "no space left in the pool");
    assert_fails(disk_zero(disk, 12288, 4096), ERROR_NO_SPACE, "no space left in the pool");
    assert_int_equal(disk_flush(disk), ERROR_NONE); /* what was done before can still be made durable */
    assert_int_equal(taken.end, 4096);
    disk_close(disk);
    fixture_stop(&fixture);
}

static void who_takes_no_more_is_asked_no_more(void **state)
{
    struct nbd_fixture fixture;
    struct disk *disk;
    struct taken taken;
    (void)state;
    serve(&fixture, &disk, &taken);
    uint64_t *data = (uint64_t *)(void *)nbd_engine_data(fixture.pool, "disk");
    for (uint64_t number = 0; number < DISK_SIZE / 4096; number++)
        data[number * 512] = number;
    taken.refuses_at = 3 * DISK_PIECE;
    enum error error = disk_read(disk, 0, DISK_SIZE);
    assert_fails(error == ERROR_NONE ? disk_settle(disk) : error, ERROR_NO_SPACE, "the pipe is full");
    assert_int_equal(taken.end, 3 * DISK_PIECE);
    disk_close(disk); /* with requests on their way; who comes next finds nobody there */
    assert_int_equal(nbd_engine_counts(fixture.pool).open_volumes, 0);
    fixture_stop(&fixture);
}

static void a_server_that_goes_away_is_told(void **state)
{
    struct nbd_fixture fixture;
    struct disk *disk;
    struct taken taken;
    (void)state;
    serve(&fixture, &disk, &taken);
    nbd_stop(fixture.server);
    enum error error = disk_read(disk, 0, DISK_SIZE);
    assert_fails(error == ERROR_NONE ? disk_settle(disk) : error, ERROR_CLOSED, "read at 0");
    assert_int_equal(taken.end, 0);
    disk_close(disk);
    nbd_engine_destroy(fixture.pool);
}

/* More than can be on their way, of every kind. */
static void requests_are_done_in_the_order_in_which_they_were_made(void **state)
{
    struct nbd_fixture fixture;
    struct disk *disk;
    struct taken taken;
    uint64_t block[512] = {0}, at = 0;
    (void)state;
    serve(&fixture, &disk, &taken);
    for (; at < 100 * 4096; at += 4096) {
        block[0] = at / 4096;
        if (block[0] % 5 == 4)
            assert_int_equal(disk_note(disk, at, 4096), ERROR_NONE);
        else
            assert_int_equal(disk_write(disk, at, block, 4096), ERROR_NONE);
    }
    assert_int_equal(disk_zero(disk, at, DISK_SIZE - at), ERROR_NONE);
    assert_int_equal(disk_settle(disk), ERROR_NONE);
    assert_int_equal(taken.end, DISK_SIZE);
    uint64_t *data = (uint64_t *)(void *)nbd_engine_data(fixture.pool, "disk");
    for (uint64_t number = 0; number < DISK_SIZE / 4096; number++) {
        assert_int_equal(data[number * 512], number < 100 && number % 5 != 4 ? number : 0);
        data[number * 512] = number;
    }
    taken.end = 0;
    assert_int_equal(disk_read(disk, 0, DISK_SIZE / 2), ERROR_NONE);
    for (at = DISK_SIZE / 2; at < DISK_SIZE; at += 8192)
        assert_int_equal(disk_read(disk, at, 8192), ERROR_NONE);
    assert_int_equal(disk_settle(disk), ERROR_NONE);
    assert_int_equal(taken.end, DISK_SIZE);
    assert_int_equal(taken.reads, DISK_SIZE / 4096);
    disk_close(disk);
    fixture_stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_done_behind_what_fails),
        cmocka_unit_test(who_takes_no_more_is_asked_no_more),
        cmocka_unit_test(a_server_that_goes_away_is_told),
        cmocka_unit_test(requests_are_done_in_the_order_in_which_they_were_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
