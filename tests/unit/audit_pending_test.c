/* What was done beside the daemon comes into the audit: with a proof or marked as without, once, and whatever lies there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "engine/pool/audit.h"
#include "engine/pool/audit_pending.h"

#define assert_fine(call) assert_int_equal(call, ERROR_NONE)

static char folder[64], path[128], audit_path[128];
static struct uuid pool_id = {{1}};
static struct k_pools k_pools;
static const struct k_pool no_audit_key = {1, {8}};
static struct k_pool audit_key;
static struct audit *audit;
static struct pool_audit_entry seen[AUDIT_PENDING_AT_ONCE + 50];
static size_t seen_count;

static int setup(void **state)
{
    const struct audit_anchor none = {0};
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/coffer-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/" AUDIT_PENDING_NAME, folder);
    snprintf(audit_path, sizeof audit_path, "%s/" AUDIT_NAME, folder);
    k_pools = (struct k_pools){.demanded = 1, .current = 1, .count = 1, .keys = {{1, {7}}}};
    audit_key.number = 1;
    assert_fine(audit_key_derive(k_pools.keys[0].key, pool_id, audit_key.key));
    audit = audit_create(folder);
    assert_non_null(audit);
    assert_fine(audit_begin(audit, pool_id, &k_pools, &none));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    audit_destroy(audit);
    unlink(path);
    unlink(audit_path);
    return rmdir(folder);
}

static void visit(void *context, const struct pool_audit_entry *entry, bool follows)
{
    (void)context;
    assert_true(follows);
    assert_true(seen_count < COUNT_OF(seen));
    seen[seen_count++] = *entry;
}

static void read_whole(size_t entries)
{
    struct pool_audit_verdict verdict;
    struct audit_anchor anchor;
    seen_count = 0;
    audit_anchor_get(audit, &anchor);
    assert_fine(audit_read(audit, &anchor, visit, NULL, &verdict));
    assert_int_equal(verdict.faults, 0);
    assert_int_equal(seen_count, entries);
}

static void add(const struct k_pool *key, const char *operation)
{
    struct pool_audit_entry entry = {.uid = 1000, .pid = 42, .target = "provider native", .key = "x/1", .result = "ok"};
    snprintf(entry.operation, sizeof entry.operation, "%s", operation);
    assert_fine(audit_pending_add(folder, key, &entry));
}

static bool is_there(void)
{
    return access(path, F_OK) == 0;
}

/* Made with the key that a deep rekey replaced: taken, and not proved once the superblocks demand another. */
static void a_line_under_a_replaced_key_is_not_proved(void **state)
{
    (void)state;
    k_pools.keys[1] = (struct k_pool){2, {9}};
    k_pools.count = k_pools.current = 2;
    assert_fine(audit_rekey(audit, pool_id, &k_pools));
    add(&audit_key, "key.backup");
    assert_true(audit_pending_take(folder, audit));
    k_pools.demanded = 2;
    assert_fine(audit_rekey(audit, pool_id, &k_pools));
    add(&audit_key, "key.backup");
    assert_true(audit_pending_take(folder, audit));
    read_whole(2);
    assert_null(strstr(seen[0].result, "unproven"));
    assert_non_null(strstr(seen[1].result, "unproven"));
    assert_int_equal(seen[1].pool_key, 2);
}

static void lines_are_taken_once_and_say_how_far_they_are_proved(void **state)
{
    struct stat status;
    (void)state;
    assert_false(audit_pending_take(folder, audit));
    add(&audit_key, "key.backup");
    add(NULL, "key.provider-add");
    add(&no_audit_key, "key.drill");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(audit_pending_take(folder, audit));
    assert_false(is_there());
    assert_false(audit_pending_take(folder, audit));
    read_whole(3);
    assert_string_equal(seen[0].operation, "key.backup");
    assert_int_equal(seen[0].uid, 1000);
    assert_int_equal(seen[0].pid, 42);
    assert_string_equal(seen[0].key, "x/1");
    assert_int_equal(strncmp(seen[0].result, "ok; offline, 2", 14), 0);
    assert_int_equal(strncmp(seen[1].result, "ok; offline, unproven, 2", 24), 0);
    assert_int_equal(strncmp(seen[2].result, "ok; offline, unproven, 2", 24), 0);
}

static size_t pending_read(char text[1024])
{
    void *data;
    size_t size;
    assert_fine(file_read(path, 1023, &data, &size));
    memcpy(text, data, size + 1); /* a zero byte behind it */
    free(data);
    return size;
}

static void pending_write(const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void a_changed_line_is_not_proved(void **state)
{
    char text[1024];
    (void)state;
    add(&audit_key, "key.backup");
    size_t size = pending_read(text);
    char *pid = strstr(text, "\"pid\":42");
    assert_non_null(pid);
    pid[6] = '5';
    pending_write(text, size);
    assert_true(audit_pending_take(folder, audit));
    read_whole(1);
    assert_int_equal(seen[0].pid, 52);
    assert_non_null(strstr(seen[0].result, "unproven"));
}

/* The first line of an audit is sealed behind nothing, under the same key. */
static void a_line_of_the_audit_is_no_proof_here(void **state)
{
    struct pool_audit_entry entry = {.operation = "pool.open", .target = "provider native", .result = "ok"};
    void *text;
    size_t size;
    (void)state;
    assert_true(audit_add(audit, &entry));
    assert_fine(file_read(audit_path, 4096, &text, &size));
    pending_write(text, size);
    free(text);
    assert_true(audit_pending_take(folder, audit));
    read_whole(2);
    assert_non_null(strstr(seen[1].result, "unproven"));
}

static void what_is_no_entry_is_told_and_the_rest_taken(void **state)
{
    char text[1024], lines[2048];
    (void)state;
    add(&audit_key, "key.backup");
    pending_read(text);
    int used = snprintf(lines, sizeof lines, "nonsense\n%s{\"number\":1", text); /* the last as a crash leaves it */
    pending_write(lines, (size_t)used);
    assert_true(audit_pending_take(folder, audit));
    assert_false(is_there());
    read_whole(2);
    assert_string_equal(seen[0].operation, "key.backup");
    assert_null(strstr(seen[0].result, "unproven"));
    assert_string_equal(seen[1].operation, "audit.found");
    assert_non_null(strstr(seen[1].result, "no entries: 2"));
}

static void a_full_file_of_nothing_is_one_entry(void **state)
{
    char *text = malloc(AUDIT_PENDING_MAX);
    (void)state;
    memset(text, '\n', AUDIT_PENDING_MAX);
    pending_write(text, AUDIT_PENDING_MAX);
    free(text);
    assert_true(audit_pending_take(folder, audit));
    assert_false(is_there());
    read_whole(1);
    assert_non_null(strstr(seen[0].result, "no entries: 262144"));
}

/* And what was taken is not taken again, whenever the daemon is killed. */
static void many_are_taken_some_at_a_time(void **state)
{
    char text[1024], *lines;
    struct stat status;
    (void)state;
    add(&audit_key, "key.backup");
    size_t size = pending_read(text), count = AUDIT_PENDING_AT_ONCE + 20;
    lines = malloc(count * size);
    for (size_t i = 0; i < count; i++)
        memcpy(lines + i * size, text, size);
    pending_write(lines, count * size);
    free(lines);
    assert_int_equal(chmod(path, 0640), 0);
    int held = open(path, O_RDWR);
    assert_true(audit_pending_take(folder, audit));
    read_whole(AUDIT_PENDING_AT_ONCE);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 20 * size);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(fstat(held, &status), 0);
    assert_int_equal(status.st_nlink, 0); /* who waited for its lock opens it again */
    close(held);
    add(NULL, "key.drill");
    assert_true(audit_pending_take(folder, audit));
    assert_false(is_there());
    read_whole(count + 1);
    assert_string_equal(seen[count].operation, "key.drill");
}

/* The next one is whole all the same. */
static void a_torn_line_takes_no_other_with_it(void **state)
{
    (void)state;
    add(&audit_key, "key.backup");
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs("{\"number\":1,\"ti", file) >= 0);
    assert_int_equal(fclose(file), 0);
    add(&audit_key, "key.drill");
    assert_true(audit_pending_take(folder, audit));
    read_whole(3);
    size_t drills = 0;
    for (size_t i = 0; i < seen_count; i++)
        drills += strcmp(seen[i].operation, "key.drill") == 0 && strstr(seen[i].result, "unproven") == NULL;
    assert_int_equal(drills, 1);
}

static void a_full_file_takes_no_more_and_a_larger_one_stays(void **state)
{
    struct pool_audit_entry entry = {.operation = "key.backup", .result = "ok"};
    char *text = calloc(1, AUDIT_PENDING_MAX + 1);
    (void)state;
    pending_write(text, AUDIT_PENDING_MAX);
    assert_int_equal(audit_pending_add(folder, NULL, &entry), ERROR_TOO_LARGE);
    pending_write(text, AUDIT_PENDING_MAX + 1);
    free(text);
    assert_false(audit_pending_take(folder, audit));
    assert_true(is_there());
    read_whole(0);
}

static void a_link_in_its_place_is_not_followed(void **state)
{
    struct pool_audit_entry entry = {.operation = "key.backup", .result = "ok"};
    char other[128];
    (void)state;
    snprintf(other, sizeof other, "%s/other", folder);
    assert_fine(file_create(other, "", 0));
    assert_int_equal(symlink(other, path), 0);
    assert_true(audit_pending_add(folder, NULL, &entry) != ERROR_NONE);
    assert_false(audit_pending_take(folder, audit));
    unlink(path);
    assert_int_equal(link(other, path), 0);
    assert_int_equal(audit_pending_add(folder, NULL, &entry), ERROR_INVALID);
    assert_false(audit_pending_take(folder, audit));
    assert_true(is_there());
    unlink(other);
}

static void who_writes_just_now_is_not_waited_for(void **state)
{
    (void)state;
    add(&audit_key, "key.backup");
    int held = open(path, O_RDWR);
    assert_int_equal(flock(held, LOCK_EX), 0);
    assert_false(audit_pending_take(folder, audit));
    assert_true(is_there());
    close(held);
    assert_true(audit_pending_take(folder, audit));
    read_whole(1);
}

/* Long results lose their end, not the mark. */
static void the_mark_has_room(void **state)
{
    struct pool_audit_entry entry = {.operation = "key.backup"};
    (void)state;
    memset(entry.result, 'x', sizeof entry.result - 1);
    assert_fine(audit_pending_add(folder, NULL, &entry));
    assert_true(audit_pending_take(folder, audit));
    read_whole(1);
    assert_int_equal(strlen(seen[0].result), sizeof entry.result - 1);
    assert_non_null(strstr(seen[0].result, "x; offline, unproven, 2"));
}

/* An entry that the audit only keeps in memory is none yet. */
static void what_cannot_be_written_stays(void **state)
{
    (void)state;
    add(&audit_key, "key.backup");
    assert_int_equal(unlink(audit_path), 0);
    assert_int_equal(mkdir(audit_path, 0700), 0);
    struct pool_audit_entry entry = {.operation = "pool.lock", .result = "ok"};
    assert_false(audit_add(audit, &entry));
    assert_false(audit_pending_take(folder, audit));
    assert_true(is_there());
    assert_int_equal(rmdir(audit_path), 0);
}

/* Another directory took the name meanwhile. */
static void a_line_goes_into_the_open_directory(void **state)
{
    struct pool_audit_entry entry = {.operation = "pool.restore", .target = "the pool directory", .result = "ok"};
    char aside[80], there[160];
    (void)state;
    int opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(aside, sizeof aside, "%s.aside", folder);
    snprintf(there, sizeof there, "%s/" AUDIT_PENDING_NAME, aside);
    assert_int_equal(rename(folder, aside), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_fine(audit_pending_add_in(opened, folder, NULL, &entry));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(there, F_OK), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rename(aside, folder), 0);
    close(opened);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lines_are_taken_once_and_say_how_far_they_are_proved),
        TEST(a_line_under_a_replaced_key_is_not_proved),
        TEST(a_changed_line_is_not_proved),
        TEST(a_line_of_the_audit_is_no_proof_here),
        TEST(what_is_no_entry_is_told_and_the_rest_taken),
        TEST(a_full_file_of_nothing_is_one_entry),
        TEST(many_are_taken_some_at_a_time),
        TEST(a_torn_line_takes_no_other_with_it),
        TEST(a_full_file_takes_no_more_and_a_larger_one_stays),
        TEST(a_link_in_its_place_is_not_followed),
        TEST(who_writes_just_now_is_not_waited_for),
        TEST(the_mark_has_room),
        TEST(what_cannot_be_written_stays),
        TEST(a_line_goes_into_the_open_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
