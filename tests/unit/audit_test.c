/* The audit's file: what was done to it is found and named, and entries go on behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "engine/pool/audit.h"

#define assert_fine(call) assert_int_equal(call, ERROR_NONE)

#define ENTRIES 5

static char folder[64], path[96];
static struct uuid pool_id;
static struct k_pools k_pools;
static struct audit *audit;
static struct audit_anchor anchor;
static struct pool_audit_verdict verdict;
static struct pool_audit_entry seen[64];
static bool seen_follows[64];
static size_t seen_count;

static void visit(void *context, const struct pool_audit_entry *entry, bool follows)
{
    (void)context;
    assert_true(seen_count < COUNT_OF(seen));
    seen_follows[seen_count] = follows;
    seen[seen_count++] = *entry;
}

static void add(const char *operation)
{
    struct pool_audit_entry entry = {.uid = 1000, .pid = 42, .target = "provider native", .key = "x/1", .result = "ok"};
    snprintf(entry.operation, sizeof entry.operation, "%s", operation);
    if (audit_add(audit, &entry))
        audit_anchor_get(audit, &anchor);
}

static void begin(void)
{
    audit = audit_create(folder);
    assert_non_null(audit);
    assert_fine(audit_begin(audit, pool_id, &k_pools, &anchor));
}

static void again(void)
{
    audit_destroy(audit);
    begin();
}

static void read_whole(void)
{
    seen_count = 0;
    assert_fine(audit_read(audit, &anchor, visit, NULL, &verdict));
}

static int setup(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/coffer-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/audit", folder);
    pool_id = uuid_random();
    anchor = (struct audit_anchor){0};
    k_pools = (struct k_pools){.demanded = 1, .current = 1, .count = 1, .keys = {{1, {7}}}};
    begin();
    for (unsigned i = 0; i < ENTRIES; i++)
        add(i % 2 ? "pool.lock" : "pool.unlock");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    audit_destroy(audit);
    unlink(path);
    chmod(folder, 0700);
    return rmdir(folder);
}

static char *file_text(size_t *size)
{
    void *data;
    assert_fine(file_read(path, 1 << 20, &data, size));
    return data;
}

static void file_put(const char *text, size_t size)
{
    int descriptor = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    assert_int_equal(write(descriptor, text, size), size);
    close(descriptor);
}

/* The line of an entry, and its end. */
static size_t line_at(const char *text, unsigned line, size_t *end)
{
    const char *at = text;
    while (line-- > 0)
        at = strchr(at, '\n') + 1;
    *end = (size_t)(strchr(at, '\n') + 1 - text);
    return (size_t)(at - text);
}

/* After what was done to the file: it is told at the open, by who reads it, and entries go on. */
static void assert_found(const char *at_open, const char *by_reader)
{
    struct pool_audit_state state;
    audit_destroy(audit);
    error_forget();
    begin();
    audit_state(audit, &state);
    if (at_open)
        assert_non_null(strstr(state.fault, at_open));
    else
        assert_string_equal(state.fault, "");
    struct audit_anchor before = anchor;
    add("key.rekey");
    assert_true(anchor.count > before.count);
    assert_string_equal(state.failure, "");
    read_whole();
    assert_true(verdict.faults > 0);
    assert_non_null(strstr(verdict.sentence, by_reader));
    assert_string_equal(seen[seen_count - 1].operation, "key.rekey");
    assert_int_equal(seen[seen_count - 1].number, anchor.count);
}

/* ---- what is done to the file ------------------------------------------------------------------------------------------ */

static void a_changed_entry_is_named(void **state)
{
    (void)state;
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    size_t at = line_at(text, 1, &end);
    char *uid = strstr(text + at, "\"uid\":1000");
    assert_non_null(uid);
    uid[6] = '2';
    file_put(text, size);
    assert_found("seal", "entry 2 was changed");
    assert_false(seen_follows[1]);
    assert_true(seen_follows[0] && seen_follows[2]);
}

/* That a begin is missing is nothing new after such a restore; what else is wrong is. */
static void a_changed_entry_is_named_also_where_the_begin_is_missing(void **state)
{
    (void)state;
    size_t size, later;
    AUTO_FREE char *text = file_text(&size);
    size_t end = line_at(text, 1, &later); /* of the first */
    char *uid = strstr(text + line_at(text, 3, &later), "\"uid\":1000");
    assert_non_null(uid);
    uid[6] = '2';
    file_put(text + end, size - end);
    read_whole();
    assert_int_equal(verdict.faults, 2);
    assert_non_null(strstr(verdict.sentence, "entry 4 was changed"));
    assert_true(seen_count == 4 && !seen_follows[0] && seen_follows[1] && !seen_follows[2] && seen_follows[3]);
    uid[6] = '1';
    line_at(text, 3, &later);
    file_put(text + end, later - end);
    read_whole();
    assert_int_equal(verdict.faults, 2);
    assert_non_null(strstr(verdict.sentence, "entries 5 to 5 are missing at its end"));
}

static void every_changed_byte_is_found(void **state)
{
    (void)state;
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    size_t begin_at = line_at(text, 2, &end);
    for (size_t i = begin_at; i < end; i++) {
        text[i] ^= 1;
        file_put(text, size);
        text[i] ^= 1;
        read_whole();
        assert_true(verdict.faults > 0);
        error_forget();
    }
    file_put(text, size);
    read_whole();
    assert_int_equal(verdict.faults, 0);
}

/* As a restore leaves it, of a backup that had no room for all, or as somebody left it who took them off. */
static void a_begin_that_is_missing_is_told_for_ever_and_the_rest_is_proved(void **state)
{
    (void)state;
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    line_at(text, 1, &end);
    read_whole();
    assert_true(verdict.whole_from == 1 && verdict.whole_to == ENTRIES);
    file_put(text + end, size - end); /* 3 is the first that is there: nothing proves it */
    read_whole();
    assert_int_equal(verdict.faults, 1);
    assert_non_null(strstr(verdict.sentence, "line 1 is entry 3, entry 1 was expected: 2 are missing at its begin"));
    assert_true(verdict.whole_from == 4 && verdict.whole_to == ENTRIES);
    text[size - 4] = text[size - 4] == '0' ? '1' : '0'; /* of the last seal */
    file_put(text + end, size - end);
    read_whole();
    assert_true(verdict.faults > 1 && verdict.whole_from == 0 && verdict.whole_to == 0);
    file_put(text, 0);
    read_whole();
    assert_true(verdict.faults == 1 && verdict.whole_from == 0 && verdict.whole_to == 0);
}

static void an_entry_that_was_taken_out_is_missed(void **state)
{
    (void)state;
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    size_t at = line_at(text, 2, &end);
    memmove(text + at, text + end, size - end);
    file_put(text, size - (end - at));
    assert_found("seal", "entry 3 was expected");
}

static void two_that_changed_places_are_found(void **state)
{
    (void)state;
    size_t size, middle, end;
    AUTO_FREE char *text = file_text(&size);
    AUTO_FREE char *other = malloc(size);
    size_t at = line_at(text, 1, &middle);
    line_at(text, 2, &end);
    memcpy(other, text, size);
    memcpy(other + at, text + middle, end - middle);
    memcpy(other + at + end - middle, text + at, middle - at);
    file_put(other, size);
    assert_found("seal", "entry 2 was expected");
}

static void an_end_that_was_cut_off_is_missed(void **state)
{
    (void)state;
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    file_put(text, line_at(text, 3, &end));
    read_whole(); /* these follow from one another, but are not the last ones */
    assert_true(verdict.faults == 1 && verdict.whole_from == 0 && verdict.whole_to == 0);
    assert_found("entries 4 to 5 are missing", "entry 4 was expected");
}

static void a_file_that_was_removed_is_missed(void **state)
{
    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_found("its 5 entries are missing", "entry 1 was expected");
}

static void an_older_file_in_its_place_is_found(void **state)
{
    (void)state;
    size_t size;
    AUTO_FREE char *text = file_text(&size);
    add("key.rekey");
    file_put(text, size);
    assert_found("entries 6 to 6 are missing", "entry 6 was expected");
}

/* With as many entries, whoever wrote them. */
static void another_file_in_its_place_is_found(void **state)
{
    (void)state;
    struct audit_anchor true_one = anchor;
    audit_destroy(audit);
    unlink(path);
    anchor = (struct audit_anchor){0};
    begin();
    for (unsigned i = 0; i < ENTRIES; i++)
        add("pool.open");
    anchor = true_one;
    assert_found("replaced", "entry 6 was changed, or one before it");
}

static void another_pools_file_is_found(void **state)
{
    (void)state;
    pool_id.bytes[0] ^= 1;
    assert_found("seal", "entry 1 was changed");
}

static void garbage_and_endless_lines_are_lines_that_are_no_entries(void **state)
{
    (void)state;
    size_t size;
    AUTO_FREE char *text = file_text(&size);
    AUTO_FREE char *long_one = malloc(size + 10000);
    memcpy(long_one, text, size);
    memset(long_one + size, 'x', 9999);
    long_one[size + 9999] = '\n';
    file_put(long_one, size + 10000);
    assert_found("its last line is no entry", "line 6 is no entry");
}

/* What nobody sealed counts nothing: neither does the next number follow from it, nor an anchor. */
static void a_forged_line_moves_no_number(void **state)
{
    (void)state;
    static const char *const numbers[] = {"9223372036854775807", "9223372036854775806", "1000000"};
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    size_t at = line_at(text, ENTRIES - 1, &end);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char forged[8192];
        char *number = strstr(text + at, "\"number\":5");
        assert_non_null(number);
        int length = snprintf(forged, sizeof forged, "%.*s{\"number\":%s%s", (int)size, text, numbers[i], number + 10);
        file_put(forged, (size_t)length);
        struct audit_anchor before = anchor;
        again();
        add("key.rekey");
        assert_int_equal(anchor.count, before.count + 2); /* what was found is an entry, too */
        read_whole();
        assert_true(verdict.faults > 0);
        file_put(text, size);
        anchor = (struct audit_anchor){.count = 0};
        again();
        audit_anchor_get(audit, &anchor);
    }
}

/* A pipe would keep who opens it, with the lock of all who lock or stop the pool. */
static void what_is_no_file_keeps_nobody(void **state)
{
    (void)state;
    struct pool_audit_state now;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(audit_read(audit, &anchor, visit, NULL, &verdict), ERROR_INVALID);
    add("pool.lock");
    audit_state(audit, &now);
    assert_int_equal(now.waiting, 1);
    assert_non_null(strstr(now.failure, "no regular file"));
}

/* ---- what happens to a daemon ------------------------------------------------------------------------------------------- */

static void what_is_whole_is_called_so_also_after_a_restart(void **state)
{
    (void)state;
    again();
    add("pool.close");
    read_whole();
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(verdict.entries, ENTRIES + 1);
    assert_int_equal(verdict.anchored, ENTRIES + 1);
    for (size_t i = 0; i < seen_count; i++)
        assert_int_equal(seen[i].number, i + 1);
    assert_int_equal(seen[1].uid, 1000);
    assert_string_equal(seen[1].operation, "pool.lock");
}

/* An entry is durable before its anchor is. */
static void a_file_that_is_ahead_of_its_anchor_is_whole(void **state)
{
    (void)state;
    struct pool_audit_state now;
    anchor = (struct audit_anchor){0};
    again();
    audit_state(audit, &now);
    assert_string_equal(now.fault, "");
    read_whole();
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(verdict.entries, ENTRIES);
}

/* It was covered by no anchor. */
static void a_line_that_a_crash_left_unfinished_is_taken_off(void **state)
{
    (void)state;
    size_t size;
    AUTO_FREE char *text = file_text(&size);
    AUTO_FREE char *torn = malloc(size + 20);
    memcpy(torn, text, size);
    memcpy(torn + size, "{\"number\":6,\"time\":1", 20);
    file_put(torn, size + 20);
    again();
    add("key.rekey");
    read_whole();
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(verdict.entries, ENTRIES + 1);
}

static void what_happens_without_a_key_is_entered_with_the_next(void **state)
{
    (void)state;
    struct pool_audit_state now;
    audit_end(audit);
    add("pool.unlock");
    add("pool.unlock");
    audit_state(audit, &now);
    assert_int_equal(now.waiting, 2);
    assert_int_equal(audit_read(audit, &anchor, visit, NULL, &verdict), ERROR_LOCKED);
    error_forget();
    assert_fine(audit_begin(audit, pool_id, &k_pools, &anchor));
    audit_anchor_get(audit, &anchor);
    read_whole();
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(verdict.entries, ENTRIES + 2);
}

static void more_than_there_is_room_for_is_counted(void **state)
{
    (void)state;
    audit_end(audit);
    for (unsigned i = 0; i < AUDIT_WAITING_MAX + 3; i++)
        add("pool.unlock");
    assert_fine(audit_begin(audit, pool_id, &k_pools, &anchor));
    audit_anchor_get(audit, &anchor);
    size_t size;
    AUTO_FREE char *text = file_text(&size);
    assert_non_null(strstr(text, "3 entries had no room"));
    assert_int_equal(anchor.count, ENTRIES + AUDIT_WAITING_MAX + 1);
}

/* A directory in its place stops root too. */
static void what_cannot_be_written_is_told_and_kept(void **state)
{
    (void)state;
    struct pool_audit_state now;
    char aside[112];
    snprintf(aside, sizeof aside, "%s.aside", path);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    struct audit_anchor before = anchor;
    add("key.rekey");
    assert_int_equal(anchor.count, before.count);
    audit_state(audit, &now);
    assert_int_equal(now.waiting, 1);
    assert_string_not_equal(now.failure, "");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(aside, path), 0);
    add("pool.lock");
    audit_state(audit, &now);
    assert_int_equal(now.waiting, 0);
    assert_string_equal(now.failure, "");
    read_whole();
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(verdict.entries, ENTRIES + 2);
}

/* ---- another key of the pool ------------------------------------------------------------------------------------------------ */

/* A deep rekey made key 2; two entries are under it. `demanded`: and the superblocks demand it. */
static void rekey(bool demanded)
{
    k_pools.keys[1] = (struct k_pool){2, {9}};
    k_pools.count = k_pools.current = 2;
    assert_fine(audit_rekey(audit, pool_id, &k_pools));
    add("key.rekey-deep");
    if (demanded) {
        k_pools.demanded = 2;
        assert_fine(audit_rekey(audit, pool_id, &k_pools));
    }
    add("key.destroy-data-keys");
}

/* What who kept key 1 makes: an entry behind the last one of the file, of this number. */
static void forge(uint64_t number)
{
    struct audit_line line = {.entry = {.time = 7, .operation = "pool.unlock", .target = "x", .key = "x/1", .result = "ok"}}, last;
    uint8_t key[KEY_SIZE];
    size_t size, end, lines = 0;
    AUTO_FREE char *text = file_text(&size), *made = NULL, *all = NULL;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    size_t at = line_at(text, (unsigned)lines - 1, &end);
    assert_fine(audit_line_decode(text + at, end - at - 1, &last));
    line.entry.number = number;
    line.entry.pool_key = 1;
    assert_fine(audit_key_derive(k_pools.keys[0].key, pool_id, key));
    assert_fine(audit_seal(key, last.seal, &line.entry, line.seal));
    assert_fine(audit_line_encode(&line, &made));
    assert_true(asprintf(&all, "%.*s%s", (int)size, text, made) > 0);
    file_put(all, strlen(all));
}

static void cut_behind(unsigned lines)
{
    size_t size, end;
    AUTO_FREE char *text = file_text(&size);
    line_at(text, lines - 1, &end);
    file_put(text, end);
}

static void entries_under_a_replaced_key_stay_proved(void **state)
{
    (void)state;
    rekey(true);
    for (unsigned round = 0; round < 2; round++, again()) {
        struct pool_audit_state now;
        read_whole();
        assert_int_equal(verdict.faults, 0);
        assert_int_equal(seen_count, ENTRIES + 2);
        assert_int_equal(seen[ENTRIES - 1].pool_key, 1);
        assert_int_equal(seen[ENTRIES].pool_key, 2);
        audit_state(audit, &now);
        assert_string_equal(now.fault, "");
    }
    k_pools.keys[0].key[0] ^= 1; /* they are proved by it, and not believed */
    again();
    read_whole();
    assert_true(verdict.faults > 0 && !seen_follows[0]);
}

static void who_kept_a_replaced_key_enters_nothing_behind_the_change(void **state)
{
    (void)state;
    rekey(true);
    forge(ENTRIES + 3);
    assert_found("deep rekey had replaced", "entry 8 is sealed under key 1 of the pool, which a deep rekey had replaced");
    assert_false(seen_follows[ENTRIES + 2]);
    assert_true(seen_follows[ENTRIES + 1]);
}

/* Nor before it is demanded: numbers never fall. */
static void no_entry_of_a_later_key_is_followed_by_one_of_an_older(void **state)
{
    (void)state;
    rekey(false);
    forge(ENTRIES + 3);
    assert_found("deep rekey had replaced", "entry 8 is sealed under key 1 of the pool, which a deep rekey had replaced");
    assert_false(seen_follows[ENTRIES + 2]);
}

static void who_kept_a_replaced_key_cannot_cut_the_change_off_and_go_on(void **state)
{
    (void)state;
    rekey(true);
    cut_behind(ENTRIES);
    forge(ENTRIES + 1);
    forge(ENTRIES + 2);
    assert_found("anchored", "entry 8 was changed, or one before it");
    for (unsigned i = 0; i < ENTRIES + 2; i++) /* who has that key could have made the others as well */
        assert_false(seen_follows[i]);
    assert_true(seen_follows[seen_count - 1]);
}

/* The last entry was not anchored yet when the daemon was killed: another one in its place must be under the key that is demanded. */
static void nothing_behind_the_anchor_is_believed_under_a_replaced_key(void **state)
{
    (void)state;
    struct audit_anchor before = anchor;
    rekey(true);
    anchor = before;
    again();
    read_whole();
    assert_int_equal(verdict.faults, 0);
    cut_behind(ENTRIES);
    forge(ENTRIES + 1);
    anchor = before;
    assert_found("deep rekey had replaced", "line 7 is entry 6, entry 7 was expected");
    assert_false(seen_follows[ENTRIES]);
}

/* Texts of others that are no UTF-8, and longer than a field. */
static void any_bytes_make_a_line(void **state)
{
    (void)state;
    struct pool_audit_entry entry = {.uid = UINT32_MAX, .pid = UINT32_MAX};
    memset(entry.operation, 0xff, sizeof entry.operation - 1);
    memset(entry.target, '"', sizeof entry.target - 1);
    memset(entry.key, '\\', sizeof entry.key - 1);
    memset(entry.result, 1, sizeof entry.result - 1);
    assert_true(audit_add(audit, &entry));
    audit_anchor_get(audit, &anchor);
    read_whole();
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(seen[seen_count - 1].uid, UINT32_MAX);
}

static unsigned lacks; /* memory, for the line that is read as the n-th from now on; 0: for none */

enum error __real_audit_line_decode(const char *text, size_t size, struct audit_line *out);
enum error __wrap_audit_line_decode(const char *text, size_t size, struct audit_line *out);

enum error __wrap_audit_line_decode(const char *text, size_t size, struct audit_line *out)
{
    return lacks && --lacks == 0 ? ERROR_NO_MEMORY : __real_audit_line_decode(text, size, out);
}

/* It was taken for a line that is no entry, which was told, and what was entered stood behind nothing. */
static void a_line_for_which_memory_lacks_is_not_called_broken(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= ENTRIES; n++) {
        lacks = n;
        again();
        assert_int_equal(lacks, 0);
        add("pool.lock");
        assert_fine(audit_begin(audit, pool_id, &k_pools, &anchor)); /* what waits is entered then */
        audit_anchor_get(audit, &anchor);
        read_whole();
        assert_int_equal(verdict.faults, 0);
        assert_string_equal(seen[seen_count - 1].operation, "pool.lock");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_changed_entry_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_entry_is_named_also_where_the_begin_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(every_changed_byte_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_begin_that_is_missing_is_told_for_ever_and_the_rest_is_proved, setup, teardown),
        cmocka_unit_test_setup_teardown(an_entry_that_was_taken_out_is_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(two_that_changed_places_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_that_was_cut_off_is_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_was_removed_is_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_older_file_in_its_place_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(another_file_in_its_place_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(another_pools_file_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_and_endless_lines_are_lines_that_are_no_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(a_forged_line_moves_no_number, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_file_keeps_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_whole_is_called_so_also_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_ahead_of_its_anchor_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_that_a_crash_left_unfinished_is_taken_off, setup, teardown),
        cmocka_unit_test_setup_teardown(what_happens_without_a_key_is_entered_with_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_there_is_room_for_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_under_a_replaced_key_stay_proved, setup, teardown),
        cmocka_unit_test_setup_teardown(who_kept_a_replaced_key_enters_nothing_behind_the_change, setup, teardown),
        cmocka_unit_test_setup_teardown(no_entry_of_a_later_key_is_followed_by_one_of_an_older, setup, teardown),
        cmocka_unit_test_setup_teardown(who_kept_a_replaced_key_cannot_cut_the_change_off_and_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_behind_the_anchor_is_believed_under_a_replaced_key, setup, teardown),
        cmocka_unit_test_setup_teardown(any_bytes_make_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_for_which_memory_lacks_is_not_called_broken, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
