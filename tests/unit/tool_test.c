/*
 * The whole command against a control socket and an engine in memory: exit status, sentences, JSON. What a person
 * types wrong comes first, then a daemon that is missing, locked or not for us, then what works.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "server/served.h"
#include "tests/unit/tool_fixture.h"
#include "tools/client.h"
#include "tools/command.h"

#define CONF_POOL "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nencryption = off\n"
#define CONF_GROUP                                                                                                     \
    "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"                                        \
    "device-ids = 44444444-4444-4444-8444-444444444444\n"

/* ---- mistyped ------------------------------------------------------------------------------------------------ */

static void nothing_typed_is_usage(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(run(fixture, NULL, 0), EXIT_USAGE);
    assert_said(fixture->err, "coffer help");
}

static void mistyped_nouns_and_verbs_suggest_the_nearest(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("stauts"), EXIT_USAGE);
    assert_string_equal(fixture->err, "coffer: there is no command 'stauts'; did you mean 'status'?\n");
    assert_int_equal(RUN("object", "crate", "a"), EXIT_USAGE);
    assert_said(fixture->err, "did you mean 'object create'?");
    assert_int_equal(RUN("purge"), EXIT_USAGE);
    assert_said(fixture->err, "did you mean 'trash purge'?");
    assert_int_equal(RUN("object"), EXIT_USAGE);
    assert_said(fixture->err, "create, list, show");
    assert_int_equal(RUN("frobnicate"), EXIT_USAGE);
    assert_string_equal(fixture->out, "");
}

static void missing_and_needless_words_are_usage(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("object", "create"), EXIT_USAGE);
    assert_int_equal(RUN("object", "create", "a"), EXIT_USAGE);
    assert_int_equal(RUN("object", "list", "a"), EXIT_USAGE);
    assert_int_equal(RUN("object", "rename", "a"), EXIT_USAGE);
    assert_int_equal(RUN("trash", "purge"), EXIT_USAGE);
    assert_int_equal(RUN("trash", "purge", "a", "--all"), EXIT_USAGE);
    assert_int_equal(RUN("status", "--interval", "0"), EXIT_USAGE);
    assert_int_equal(RUN("check"), EXIT_USAGE);
    assert_int_equal(RUN("--bogus"), EXIT_USAGE);
}

static void the_status_of_every_error_is_one_of_the_documented(void **state)
{
    (void)state;
    assert_int_equal(tool_exit_status(ERROR_NONE), 0);
    assert_int_equal(tool_exit_status(ERROR_INVALID), 2);
    assert_int_equal(tool_exit_status(ERROR_LOCKED), 3);
    assert_int_equal(tool_exit_status(ERROR_BUSY), 3);
    assert_int_equal(tool_exit_status(ERROR_ACCESS), 3);
    assert_int_equal(tool_exit_status(ERROR_NOT_FOUND), 1);
    assert_int_equal(tool_exit_status(ERROR_IO), 1);
    for (enum error error = ERROR_NONE + 1; error < ERROR_COUNT; error++)
        assert_in_range(tool_exit_status(error), 1, 3);
}

/* ---- no daemon ----------------------------------------------------------------------------------------------- */

static void without_a_daemon_the_command_that_starts_it_is_told(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    write_file(fixture->conf, "[pool]\n");
    snprintf(command, sizeof(command), "`cofferd %s`", fixture->directory);
    assert_int_equal(RUN("-C", fixture->directory, "status"), EXIT_FAILED);
    assert_said(fixture->err, command);
    assert_int_equal(RUN("status"), EXIT_FAILED);
    assert_said(fixture->err, "cofferd DIR");
}

static void a_directory_that_is_no_pool_is_told_so(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("-C", fixture->directory, "status"), EXIT_FAILED);
    assert_said(fixture->err, "no pool directory");
    assert_int_equal(RUN("-C", "/nowhere", "status"), EXIT_FAILED);
    assert_said(fixture->err, "coffer create /nowhere");
}

static void without_permission_it_says_who_may(void **state)
{
    struct fixture *fixture = *state;
    int status;
    if (geteuid() != 0)
        skip();
    serve(fixture);
    chmod(fixture->directory, 0755);
    pid_t child = fork();
    if (child == 0) {
        bool refused = setuid(65534) == 0 && RUN("-C", fixture->directory, "status") == EXIT_REFUSED &&
                       strstr(fixture->err, "sudo") != NULL;
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void answers_that_are_none_are_not_believed(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{}", "[]", "7", "{\"error\":7}", "{\"error\":{}}", "{\"error\":{\"message\":7},\"result\":1}"};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        json_t *answer = json_loads(answers[i], JSON_DECODE_ANY, NULL), *result;
        assert_int_equal(client_decode(answer, &result), ERROR_PROTOCOL);
        json_decref(answer);
    }
}

static void an_error_that_only_a_newer_daemon_knows_keeps_its_sentence(void **state)
{
    (void)state;
    json_t *result,
        *answer = json_loads("{\"error\":{\"message\":\"too hot\",\"data\":{\"name\":\"MELTED\"}}}", 0, NULL);
    assert_int_equal(client_decode(answer, &result), ERROR_PROTOCOL);
    assert_string_equal(error_sentence(ERROR_PROTOCOL), "too hot");
    json_decref(answer);
}

/* ---- refusals of the daemon ---------------------------------------------------------------------------------- */

static void errors_of_the_daemon_become_sentence_and_status(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("object", "show", "missing"), EXIT_FAILED);
    assert_string_equal(fixture->err, "coffer: there is no object 'missing'\n");
    assert_int_equal(RUN("object", "create", "a/b", "--size", "1G"), EXIT_USAGE);
    assert_int_equal(RUN("object", "create", "a", "--size", "4097"), EXIT_USAGE);
    fake_add(fixture->pool, "open", 8192)->open_count = 1;
    assert_int_equal(RUN("object", "delete", "open"), EXIT_REFUSED);
    assert_int_equal(RUN("object", "resize", "open", "--size", "4096"), EXIT_REFUSED);
    assert_int_equal(RUN("object", "create", "\xff", "--size", "4096"), EXIT_USAGE);
    fixture->pool->status.locked = true;
    assert_int_equal(RUN("object", "list"), EXIT_REFUSED);
    assert_said(fixture->err, "coffer -C '/srv/a pool' unlock");
}

static void with_json_an_error_is_an_object_too(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("--json", "object", "show", "missing"), EXIT_FAILED);
    json_t *json = output(fixture);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "error"), "name")), "NOT_FOUND");
    json_decref(json);
}

static void a_wrong_passphrase_is_refused_and_a_right_one_unlocks(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fixture->pool->passphrase = "right one";
    fixture->pool->status.locked = true;
    write_file(fixture->secret, "wrong\n");
    assert_int_equal(RUN("unlock", "--passphrase-file", fixture->secret), EXIT_REFUSED);
    write_file(fixture->secret, "right one\n");
    assert_int_equal(RUN("unlock", "--passphrase-file", fixture->secret), EXIT_DONE);
    assert_false(fixture->pool->status.locked);
    assert_int_equal(RUN("lock"), EXIT_DONE);
    assert_true(fixture->pool->status.locked);
}

static void a_key_in_a_file_needs_no_passphrase(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fixture->pool->status.locked = fixture->pool->status.awaits_key = fixture->pool->status.trying = true;
    assert_int_equal(RUN("status"), EXIT_DONE);
    assert_said(fixture->out, "cofferd is trying the key that it waited for");
    assert_int_equal(RUN("unlock"), EXIT_DONE);
    assert_false(fixture->pool->status.locked);
}

static void health_fails_where_a_check_does(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("health"), EXIT_DONE);
    fixture->pool->status.fenced = true;
    assert_int_equal(RUN("health"), EXIT_FAILED);
    assert_said(fixture->out, "FENCED");
    assert_said(fixture->out, "What helps");
}

/* ---- what works ---------------------------------------------------------------------------------------------- */

static void the_pool_is_found_by_directory_socket_environment_or_because_it_runs(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "status"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->socket, "status"), EXIT_DONE);
    assert_int_equal(RUN("status", "-C", fixture->directory), EXIT_DONE);
    assert_int_equal(RUN("status"), EXIT_DONE);
    setenv("COFFER_POOL", fixture->directory, 1);
    assert_int_equal(RUN("status"), EXIT_DONE);
    setenv("COFFER_POOL", "/nowhere", 1);
    assert_int_equal(RUN("status"), EXIT_FAILED);
}

static void of_two_running_pools_one_must_be_named(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct pool *other = fake_create();
    struct control *control;
    serve(fixture);
    snprintf(path, sizeof(path), "%s/other.sock", fixture->directory);
    assert_int_equal(control_start(other, path, &control), ERROR_NONE);
    assert_int_equal(RUN("status"), EXIT_USAGE);
    assert_said(fixture->err, path);
    assert_said(fixture->err, "-C");
    assert_int_equal(RUN("-C", path, "status"), EXIT_DONE);
    control_stop(control);
    fake_destroy(other);
}

static void the_conf_may_place_the_sockets_elsewhere(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/c.sock", fixture->directory);
    write_file(fixture->conf, CONF_POOL "[server]\n  control = c.sock\n\tnbd = tcp:127.0.0.1:10809\n" CONF_GROUP);
    fake_add(fixture->pool, "a", 4096);
    assert_int_equal(control_start(fixture->pool, path, &fixture->control), ERROR_NONE);
    assert_int_equal(RUN("-C", fixture->directory, "object", "uri", "a"), EXIT_DONE);
    assert_string_equal(fixture->out, "nbd://127.0.0.1:10809/a\n");
}

/* It may have been told by systemd, or on its command line. */
static void where_the_daemon_says_that_it_serves_counts(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    write_file(fixture->conf, CONF_POOL "[server]\nnbd = unix:/nowhere\n" CONF_GROUP);
    assert_int_equal(served_note("tcp:127.0.0.1:10809"), ERROR_NONE);
    assert_int_equal(RUN("-C", fixture->directory, "object", "uri", "a"), EXIT_DONE);
    assert_string_equal(fixture->out, "nbd://127.0.0.1:10809/a\n");
    assert_int_equal(served_note("unix:/run/served"), ERROR_NONE);
    int by_directory = RUN("-C", fixture->directory, "object", "uri", "a");
    assert_string_equal(fixture->out, "nbd+unix:///a?socket=/run/served\n");
    int by_socket = RUN("-C", fixture->socket, "object", "uri", "a");
    assert_string_equal(fixture->out, "nbd+unix:///a?socket=/run/served\n");
    served_forget();
    assert_int_equal(by_directory, EXIT_DONE);
    assert_int_equal(by_socket, EXIT_DONE);
}

static void of_several_addresses_a_unix_socket_is_shown_absolute(void **state)
{
    struct fixture *fixture = *state;
    char *here = getcwd(NULL, 0), uri[192];
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    write_file(fixture->conf, CONF_POOL "[server]\nnbd = tcp:127.0.0.1:10809\nnbd = unix:n ; no comment\n" CONF_GROUP);
    assert_int_equal(chdir(fixture->directory), 0);
    int result = RUN("-C", ".", "object", "uri", "a", "--for", "nbd-client");
    assert_int_equal(chdir(here), 0);
    free(here);
    assert_int_equal(result, EXIT_DONE);
    snprintf(uri, sizeof(uri), "%s/n ; no comment", fixture->directory);
    assert_said(fixture->out, uri);
}

static void a_conf_that_cannot_be_used_leaves_the_default_names(void **state)
{
    struct fixture *fixture = *state;
    char uri[192];
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    write_file(fixture->conf, CONF_POOL "[server]\ncontrol = c.sock\ncolour = red\n" CONF_GROUP);
    assert_int_equal(RUN("-C", fixture->directory, "object", "uri", "a"), EXIT_DONE);
    snprintf(uri, sizeof(uri), "nbd+unix:///a?socket=%s/nbd.sock\n", fixture->directory);
    assert_string_equal(fixture->out, uri);
    assert_string_equal(fixture->err, "");
}

static void a_full_file_system_below_is_shown(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fixture->pool->status.below_full = true;
    assert_int_equal(RUN("status"), EXIT_DONE);
    assert_said(fixture->out, "the file system below is full");
    assert_int_equal(RUN("health"), EXIT_FAILED);
    assert_said(fixture->out, "the file system below is full");
    assert_int_equal(RUN("--json", "status"), EXIT_DONE);
    json_t *json = output(fixture);
    assert_true(json_is_true(json_object_get(json, "below_full")));
    json_decref(json);
}

static void status_shows_space_reduction_and_the_tree(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("status"), EXIT_DONE);
    assert_said(fixture->out, "deduplication 2.00x, compression 2.00x");
    assert_said(fixture->out, "|-/nowhere/disk0");
    assert_int_equal(RUN("--json", "status"), EXIT_DONE);
    json_t *json = output(fixture);
    assert_int_equal(json_integer_value(json_object_get(json, "data_stored_bytes")), 1 << 30);
    json_decref(json);
}

static void an_object_lives_from_create_to_purge(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("object", "create", "a", "--size", "33554432"), EXIT_DONE);
    assert_said(fixture->out, "32 MiB");
    assert_int_equal(RUN("object", "list"), EXIT_DONE);
    assert_said(fixture->out, "NAME");
    assert_int_equal(RUN("object", "resize", "a", "--size", "64M"), EXIT_DONE);
    assert_int_equal(RUN("object", "rename", "a", "b"), EXIT_DONE);
    assert_string_equal(fixture->out, "'a' is now 'b'.\n");
    assert_int_equal(RUN("object", "delete", "b"), EXIT_DONE);
    assert_said(fixture->out, "in the trash until");
    assert_said(fixture->out, "(7 d)");
    assert_said(fixture->out, "coffer trash restore ");
    assert_int_equal(RUN("trash", "restore", "b", "--as", "c"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->directory, "object", "delete", "c"), EXIT_DONE);
    assert_said(fixture->out, "coffer -C ");
    assert_int_equal(RUN("trash", "list"), EXIT_DONE);
    assert_said(fixture->out, "FREED AT");
    assert_int_equal(RUN("trash", "purge", "--all"), EXIT_DONE);
    assert_true(fixture->pool->objects[0].deleting);
}

static void what_no_trash_keeps_is_told_to_be_gone(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("object", "create", "a", "--size", "8M"), EXIT_DONE);
    fixture->pool->trash_keeps_nothing = true;
    assert_int_equal(RUN("object", "delete", "a"), EXIT_DONE);
    assert_string_equal(fixture->out, "'a' is gone; its space comes back in the background.\n");
}

static void space_is_reserved_by_size_or_word(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("object", "create", "a", "--size", "8M", "--reserve", "full"), EXIT_DONE);
    assert_int_equal(fixture->pool->objects[0].reserved, 8 << 20);
    assert_int_equal(RUN("object", "reserve", "a", "4M"), EXIT_DONE);
    assert_said(fixture->out, "4 MiB are reserved for 'a'");
    assert_int_equal(fixture->pool->objects[0].reserved, 4 << 20);
    assert_int_equal(RUN("object", "show", "a", "--no-usage"), EXIT_DONE);
    assert_said(fixture->out, "Reserved");
    assert_int_equal(RUN("object", "reserve", "a", "none"), EXIT_DONE);
    assert_said(fixture->out, "Nothing is reserved for 'a'");
    assert_int_equal(RUN("object", "reserve", "a", "some"), EXIT_USAGE);
    assert_int_equal(RUN("object", "reserve", "a"), EXIT_USAGE);
    assert_int_equal(RUN("object", "create", "b", "--size", "8M", "--reserve", "some"), EXIT_USAGE);
    assert_int_equal(fixture->pool->object_count, 1);
}

static void object_show_tells_what_was_saved(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    assert_int_equal(RUN("object", "show", "a"), EXIT_DONE);
    assert_said(fixture->out, "(20.0 %)");
    assert_said(fixture->out, "(50.0 %)");
    assert_said(fixture->out, "10.0 %");
    assert_int_equal(RUN("-C", fixture->directory, "--json", "object", "show", "a"), EXIT_DONE);
    json_t *json = output(fixture);
    assert_int_equal(json_integer_value(json_object_get(json, "size")), 4096);
    assert_int_equal(json_integer_value(json_object_get(json, "stored_bytes")), 400000);
    assert_int_equal(json_integer_value(json_object_get(json, "compression_saved_bytes")), 400000);
    assert_int_equal(json_string_length(json_object_get(json, "uuid")), 36);
    json_decref(json);
    fixture->pool->usage_error = ERROR_CORRUPT;
    assert_int_equal(RUN("object", "show", "a"), EXIT_FAILED);
    assert_int_equal(RUN("object", "show", "a", "--no-usage"), EXIT_DONE);
}

static void uri_tells_what_to_type(void **state)
{
    struct fixture *fixture = *state;
    char wanted[160];
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    snprintf(wanted, sizeof(wanted), "nbd+unix:///a?socket=%s/nbd.sock\n", fixture->directory);
    assert_int_equal(RUN("object", "uri", "a"), EXIT_DONE);
    assert_string_equal(fixture->out, wanted);
    assert_int_equal(RUN("object", "uri", "a", "--for", "libvirt"), EXIT_DONE);
    assert_said(fixture->out, "<disk type='network'");
    assert_int_equal(RUN("object", "uri", "a", "--for", "qmeu"), EXIT_USAGE);
    assert_int_equal(RUN("object", "uri", "missing"), EXIT_FAILED);
    assert_int_equal(RUN("object", "uri", "a", "--nbd", "tcp:host:1"), EXIT_DONE);
    assert_string_equal(fixture->out, "nbd://host:1/a\n");
}

static void every_command_answers_in_json(void **state)
{
    struct fixture *fixture = *state;
    static const char *const commands[][3] = {
        {"status"},  {"health"}, {"device", "list"},      {"object", "list"},     {"trash", "list"},
        {"version"}, {"unlock"}, {"object", "show", "a"}, {"object", "uri", "a"}, {"object", "delete", "a"},
        {"scrub", "status"}};
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        const char *words[4] = {"--json"};
        size_t count = 1;
        for (size_t j = 0; j < 3 && commands[i][j] != NULL; j++)
            words[count++] = commands[i][j];
        assert_int_equal(run(fixture, words, count), EXIT_DONE);
        json_decref(output(fixture));
        assert_string_equal(fixture->err, "");
    }
}

/* ---- offline ------------------------------------------------------------------------------------------------- */

static void create_refuses_options_that_contradict(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("create", "/p", "--size", "1G", "--group", "g=/dev/x"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--group", "/dev/x"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--group", "g="), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--group", "=x"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--group", "g=a,,b"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--group", "g=a", "--group", "h=b"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--no-encryption", "--seal", "file"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--passphrase-file", "x"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--seal", "tmp"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--fingerprint", "md5"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--size", "many"), EXIT_USAGE);
    assert_int_equal(fake_offline.creates, 0);
}

static void more_devices_than_a_group_has_are_refused(void **state)
{
    struct fixture *fixture = *state;
    char group[1024] = "g=a";
    for (int i = 0; i < GROUP_DEVICES_MAX; i++)
        strncat(group, ",a", sizeof(group) - strlen(group) - 1);
    assert_int_equal(RUN("create", "/p", "--group", group), EXIT_USAGE);
}

static void create_ends_with_the_next_commands_and_what_is_protected(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("create", "/my pool", "--size", "1G", "--no-encryption"), EXIT_DONE);
    assert_false(fake_offline.created.encryption);
    assert_int_equal(fake_offline.created.size, 1 << 30);
    assert_said(fixture->out, "  cofferd '/my pool'\n");
    assert_said(fixture->out, "  coffer -C '/my pool' object create disk1");
    assert_said(fixture->out, "Not protected against");
    assert_said(fixture->out, "it is not encrypted");
}

static void commands_to_type_are_right_from_another_directory_too(void **state)
{
    struct fixture *fixture = *state;
    char self[128], *before = getcwd(NULL, 0);
    const char *name = strrchr(fixture->directory, '/') + 1;
    snprintf(self, sizeof(self), "coffer -C %s ", fixture->directory);
    serve(fixture);
    assert_int_equal(chdir("/tmp"), 0);
    assert_int_equal(RUN("-C", name, "object", "list"), EXIT_DONE);
    assert_said(fixture->out, self);
    assert_int_equal(RUN("create", name), EXIT_DONE);
    assert_said(fixture->out, self);
    snprintf(self, sizeof(self), "cofferd %s\n", fixture->directory);
    assert_said(fixture->out, self);
    assert_int_equal(chdir(before), 0);
    free(before);
}

static void create_passes_devices_and_passphrase_on(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->secret, "s3cret words\n");
    assert_int_equal(RUN("create", "/p", "--group", "fast=/dev/a,/dev/b", "--seal", "passphrase", "--passphrase-file",
                         fixture->secret, "--overwrite", "/dev/b", "--fingerprint", "hmac-sha256"),
                     EXIT_DONE);
    assert_string_equal(fake_offline.group, "fast");
    assert_int_equal(fake_offline.created.device_count, 2);
    assert_string_equal(fake_offline.device, "/dev/b");
    assert_string_equal(fake_offline.overwrite, "/dev/b");
    assert_string_equal(fake_offline.passphrase, "s3cret words");
    assert_int_equal(fake_offline.created.fingerprint, POOL_FINGERPRINT_HMAC_SHA256);
    assert_null(strstr(fixture->out, "s3cret"));
}

static void a_refused_create_is_told_by_status(void **state)
{
    struct fixture *fixture = *state;
    fake_offline.create_error = ERROR_NOT_EMPTY;
    assert_int_equal(RUN("create", "/p"), EXIT_REFUSED);
    assert_string_equal(fixture->out, "");
    fake_offline.create_error = ERROR_EXISTS;
    assert_int_equal(RUN("create", "/p"), EXIT_FAILED);
}

static void check_fails_where_it_finds_damage(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("check", "/p"), EXIT_DONE);
    assert_said(fixture->out, "/p is clean.");
    assert_true(fake_offline.repairs == 0 && RUN("check", "/p", "--repair") == EXIT_DONE && fake_offline.repairs == 1);
    fake_offline.findings = 2;
    assert_int_equal(RUN("check", "/p"), EXIT_FAILED);
    assert_said(fixture->out, "chunk 7 has 2 references");
    assert_said(fixture->out, "damaged: 2 findings");
    assert_int_equal(RUN("--json", "-C", "/q", "check"), EXIT_FAILED);
    assert_string_equal(fake_offline.directory, "/q");
    json_t *json = output(fixture);
    assert_int_equal(json_array_size(json_object_get(json, "findings")), 2);
    json_decref(json);
    fake_offline.check_error = ERROR_IN_USE;
    assert_int_equal(RUN("check", "/p"), EXIT_REFUSED);
    fake_offline.repair_error = ERROR_CORRUPT;
    unsigned checks = fake_offline.checks;
    assert_true(RUN("check", "/p", "--repair") == EXIT_FAILED && fake_offline.checks == checks);
}

static void check_names_what_is_lost(void **state)
{
    struct fixture *fixture = *state;
    fake_offline.findings = 1;
    assert_int_equal(RUN("check", "/p"), EXIT_FAILED);
    assert_said(fixture->out, "No byte of an object is lost.");
    fake_offline.loses = true;
    assert_int_equal(RUN("check", "/p"), EXIT_FAILED);
    assert_said(fixture->out, "lost: object disk1, 4096 bytes from byte 8192 on\n");
    assert_said(fixture->out, "lost: object ab000000-0000-0000-0000-000000000000, 1048576 bytes from byte 0 on\n");
    assert_said(fixture->out, "restore what is lost from a backup");
    assert_int_equal(RUN("--json", "check", "/p"), EXIT_FAILED);
    json_t *json = output(fixture), *losses = json_object_get(json, "losses");
    assert_int_equal(json_integer_value(json_object_get(json, "bytes_lost")), 4096 + (1 << 20));
    assert_int_equal(json_array_size(losses), 2);
    json_t *first = json_array_get(losses, 0), *second = json_array_get(losses, 1);
    assert_string_equal(json_string_value(json_object_get(first, "object")), "disk1");
    assert_int_equal(json_integer_value(json_object_get(first, "offset")), 8192);
    assert_int_equal(json_integer_value(json_object_get(first, "length")), 4096);
    assert_null(json_object_get(second, "object"));
    json_decref(json);
}

static void check_does_not_say_that_nothing_is_lost_where_it_cannot_know(void **state)
{
    struct fixture *fixture = *state;
    fake_offline.findings = 1;
    fake_offline.losses_unknown = true;
    assert_int_equal(RUN("check", "/p"), EXIT_FAILED);
    assert_null(strstr(fixture->out, "No byte"));
    assert_said(fixture->out, "What is lost cannot be told completely.");
    assert_int_equal(RUN("--json", "check", "/p"), EXIT_FAILED);
    json_t *json = output(fixture);
    assert_true(json_is_true(json_object_get(json, "losses_unknown")));
    json_decref(json);
}

static void check_tells_every_loss_as_json_and_that_there_are_more_findings(void **state)
{
    struct fixture *fixture = *state;
    fake_offline.findings = 1000;
    fake_offline.losses = 1500;
    assert_int_equal(RUN("--json", "check", "/p"), EXIT_FAILED);
    json_t *json = output(fixture);
    assert_int_equal(json_array_size(json_object_get(json, "losses")), 1500);
    assert_true(json_is_false(json_object_get(json, "findings_more")));
    json_decref(json);
    fake_offline.findings = 1001;
    assert_int_equal(RUN("--json", "check", "/p"), EXIT_FAILED);
    json = output(fixture);
    assert_int_equal(json_array_size(json_object_get(json, "findings")), 1000);
    assert_true(json_is_true(json_object_get(json, "findings_more")));
    json_decref(json);
}

static void check_takes_a_passphrase(void **state)
{
    struct fixture *fixture = *state;
    fake_offline.wanted_passphrase = "words";
    write_file(fixture->secret, "words\n");
    assert_int_equal(RUN("check", "/p", "--passphrase-file", fixture->secret), EXIT_DONE);
    write_file(fixture->secret, "other\n");
    assert_int_equal(RUN("check", "/p", "--passphrase-file", fixture->secret), EXIT_REFUSED);
}

/* ---- help ---------------------------------------------------------------------------------------------------- */

static void every_command_explains_itself_with_examples(void **state)
{
    struct fixture *fixture = *state;
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        const char *words[] = {(*command)->noun, (*command)->verb == NULL ? "--help" : (*command)->verb, "--help"};
        assert_int_equal(run(fixture, words, (*command)->verb == NULL ? 2 : 3), EXIT_DONE);
        assert_said(fixture->out, "Examples\n  ");
        assert_said(fixture->out, (*command)->summary == NULL ? "?" : "usage: coffer ");
    }
}

static void help_tells_the_exit_status(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("--help"), EXIT_DONE);
    assert_said(fixture->out, "Exit status");
    assert_said(fixture->out, "  object snapshot NAME…                         keep what disks");
    assert_said(fixture->out, "  object list [NAME]                            all virtual disks");
    assert_int_equal(RUN("help", "object", "create"), EXIT_DONE);
    assert_said(fixture->out, "--size SIZE");
    assert_int_equal(RUN("object", "--help"), EXIT_DONE);
    assert_said(fixture->out, "rename NAME NEW_NAME");
    assert_int_equal(RUN("help", "objekt"), EXIT_USAGE);
}

static void version_is_told_in_each_way(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("--version"), EXIT_DONE);
    assert_string_equal(fixture->out, "coffer " COFFER_VERSION "\n");
    assert_int_equal(RUN("version"), EXIT_DONE);
    assert_string_equal(fixture->out, "coffer " COFFER_VERSION "\n");
}

static void completion_knows_every_noun_and_option(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("completion", "bash"), EXIT_DONE);
    for (const struct command *const *command = command_table(); *command != NULL; command++) {
        assert_said(fixture->out, (*command)->noun);
        for (const struct option_row *row = (*command)->options; row->name != NULL; row++)
            assert_said(fixture->out, row->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_typed_is_usage),
        TEST(mistyped_nouns_and_verbs_suggest_the_nearest),
        TEST(missing_and_needless_words_are_usage),
        TEST(the_status_of_every_error_is_one_of_the_documented),
        TEST(without_a_daemon_the_command_that_starts_it_is_told),
        TEST(a_directory_that_is_no_pool_is_told_so),
        TEST(without_permission_it_says_who_may),
        TEST(answers_that_are_none_are_not_believed),
        TEST(an_error_that_only_a_newer_daemon_knows_keeps_its_sentence),
        TEST(errors_of_the_daemon_become_sentence_and_status),
        TEST(with_json_an_error_is_an_object_too),
        TEST(a_wrong_passphrase_is_refused_and_a_right_one_unlocks),
        TEST(a_key_in_a_file_needs_no_passphrase),
        TEST(health_fails_where_a_check_does),
        TEST(the_pool_is_found_by_directory_socket_environment_or_because_it_runs),
        TEST(of_two_running_pools_one_must_be_named),
        TEST(the_conf_may_place_the_sockets_elsewhere),
        TEST(of_several_addresses_a_unix_socket_is_shown_absolute),
        TEST(where_the_daemon_says_that_it_serves_counts),
        TEST(a_conf_that_cannot_be_used_leaves_the_default_names),
        TEST(a_full_file_system_below_is_shown),
        TEST(status_shows_space_reduction_and_the_tree),
        TEST(an_object_lives_from_create_to_purge),
        TEST(what_no_trash_keeps_is_told_to_be_gone),
        TEST(space_is_reserved_by_size_or_word),
        TEST(object_show_tells_what_was_saved),
        TEST(uri_tells_what_to_type),
        TEST(every_command_answers_in_json),
        TEST(create_refuses_options_that_contradict),
        TEST(more_devices_than_a_group_has_are_refused),
        TEST(create_ends_with_the_next_commands_and_what_is_protected),
        TEST(commands_to_type_are_right_from_another_directory_too),
        TEST(create_passes_devices_and_passphrase_on),
        TEST(a_refused_create_is_told_by_status),
        TEST(check_fails_where_it_finds_damage),
        TEST(check_names_what_is_lost),
        TEST(check_does_not_say_that_nothing_is_lost_where_it_cannot_know),
        TEST(check_tells_every_loss_as_json_and_that_there_are_more_findings),
        TEST(check_takes_a_passphrase),
        TEST(every_command_explains_itself_with_examples),
        TEST(help_tells_the_exit_status),
        TEST(version_is_told_in_each_way),
        TEST(completion_knows_every_noun_and_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
