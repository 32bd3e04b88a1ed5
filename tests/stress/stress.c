/*
 * A real pool behind a real server in one process, and many threads that want something of it at once: clients that
 * write, read, trim, zero and flush, and compare; objects that come and go; exports that grow; merges without a pause;
 * questions. It is for ThreadSanitizer and the address sanitizer, and bounded by operations: nothing here is a matter
 * of time.
 *
 *     threads_stress [--seed N] [--clients N] [--exports N] [--steps N] [--hmac]
 *
 * At the end the pool is locked and unlocked, everything compared again, closed, and checked.
 */
#include <ftw.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/size.h"
#include "base/thread.h"
#include "engine/coffer.h"
#include "server/control.h"
#include "server/nbd/nbd.h"
#include "tests/stress/client.h"
#include "tests/stress/operators.h"
#include "tests/stress/wire.h"

#define CLIENTS_MAX 64
#define POOL_SIZE   (UINT64_C(4) << 30)  /* sparse */
#define POOL_MEMORY (UINT64_C(96) << 20) /* little, so that caches turn over */

struct settings {
    struct stress stress;
    enum fingerprint_choice fingerprint;
    char root[64], directory[96];
    struct nbd_server *server;
    struct control *control;
};

_Noreturn void stress_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("stress: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    abort();
}

static void fine(enum error error, const char *what)
{
    if (error != ERROR_NONE)
        stress_fail("%s: %s", what, error_sentence(error));
}

/* ---- the pool ------------------------------------------------------------------------------------------------------
 */

static void pool_make(struct settings *settings)
{
    const char *parent = getenv("TMPDIR");
    struct pool_create_options options = {
        .size = POOL_SIZE, .encryption = true, .fingerprint = settings->fingerprint, .seal = "file"};
    snprintf(settings->root, sizeof settings->root, "%.40s/coffer-stress-XXXXXX", parent ? parent : "/tmp");
    ASSERT(mkdtemp(settings->root) != NULL);
    setenv("COFFER_RUN", settings->root, 1);
    snprintf(settings->directory, sizeof settings->directory, "%s/pool", settings->root);
    snprintf(settings->stress.nbd_path, sizeof settings->stress.nbd_path, "%s/nbd.sock", settings->root);
    snprintf(settings->stress.control_path, sizeof settings->stress.control_path, "%s/control.sock", settings->root);
    options.directory = settings->directory;
    fine(pool_create(&options), "create");
}

static void pool_serve(struct settings *settings)
{
    struct pool_open_options options = {.memory = POOL_MEMORY};
    char address[160];
    fine(pool_open(settings->directory, &options, &settings->stress.pool), "open");
    fine(nbd_start(settings->stress.pool, &(struct nbd_options){0}, &settings->server), "start the NBD server");
    snprintf(address, sizeof address, "unix:%s", settings->stress.nbd_path);
    fine(nbd_listen(settings->server, address), "listen");
    fine(control_start(settings->stress.pool, settings->stress.control_path, &settings->control), "start control");
}

static void pool_end(struct settings *settings)
{
    control_stop(settings->control);
    nbd_stop(settings->server);
    fine(pool_close(settings->stress.pool), "close");
}

static void found(const char *sentence, void *context)
{
    (void)context;
    fprintf(stderr, "check: %s\n", sentence);
}

static void pool_look(struct settings *settings)
{
    struct pool_open_options options = {.memory = POOL_MEMORY};
    struct check_report report;
    fine(pool_check(settings->directory, &options, &(struct check_listener){.found = found}, &report), "check");
    if (report.errors != 0)
        stress_fail("the check found %llu errors", (unsigned long long)report.errors);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

/* ---- the threads ---------------------------------------------------------------------------------------------------
 */

static void exports_make(struct settings *settings)
{
    for (unsigned i = 0; i < settings->stress.exports; i++) {
        char name[EXPORT_NAME_SIZE];
        struct uuid uuid;
        client_export_name(i, name);
        fine(object_create(settings->stress.pool, name, client_export_bytes(&settings->stress), &uuid),
             "make an export");
    }
}

static void run(struct settings *settings, struct client *clients)
{
    static void (*const operators[])(void *) = {objects_run, growth_run, questions_run, merges_run};
    struct stress *stress = &settings->stress;
    struct thread threads[CLIENTS_MAX + COUNT_OF(operators)];
    unsigned started = 0;
    atomic_store(&stress->clients_running, stress->clients);
    for (unsigned i = 0; i < stress->clients; i++)
        fine(thread_start(&threads[started++], "client", client_run, &clients[i]), "start a client");
    for (unsigned i = 0; i < COUNT_OF(operators); i++)
        fine(thread_start(&threads[started++], "operator", operators[i], stress), "start an operator");
    for (unsigned i = 0; i < started; i++)
        thread_join(&threads[i]);
}

/* Nobody has a volume any more, but a connection that hung up may not have been seen to its end. */
static void lock_and_unlock(struct settings *settings)
{
    int control = wire_connect(settings->stress.control_path);
    nbd_wait(settings->server, -1);
    if (!wire_control(control, "pool.lock", NULL) || !wire_control(control, "pool.unlock", NULL))
        stress_fail("the pool cannot be locked and unlocked");
    close(control);
}

static void compare_all(struct stress *stress, struct client *clients)
{
    for (unsigned i = 0; i < stress->clients; i++)
        client_compare(&clients[i]);
}

static void stress_run(struct settings *settings)
{
    struct stress *stress = &settings->stress;
    struct client clients[CLIENTS_MAX];
    pool_make(settings);
    pool_serve(settings);
    exports_make(settings);
    for (unsigned i = 0; i < stress->clients; i++)
        client_init(&clients[i], stress, i);
    run(settings, clients);
    lock_and_unlock(settings);
    compare_all(stress, clients);
    pool_end(settings);
    pool_serve(settings);
    compare_all(stress, clients);
    pool_end(settings);
    pool_look(settings);
    for (unsigned i = 0; i < stress->clients; i++)
        client_deinit(&clients[i]);
    nftw(settings->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- options -------------------------------------------------------------------------------------------------------
 */

static _Noreturn void usage(void)
{
    fputs("Usage: threads_stress [OPTION]…\n"
          "  --seed N         of what clients do (default 1); threads are the kernel's\n"
          "  --clients N      connections (default 8)\n"
          "  --exports N      that they share (default 3)\n"
          "  --steps N        of each client, 8 requests each (default 60)\n"
          "  --hmac           hmac-sha256 as fingerprint\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *text, uint64_t most)
{
    uint64_t value;
    if (size_parse(text, &value) != ERROR_NONE || value < 1 || value > most)
        usage();
    return value;
}

int main(int count, char **arguments)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},    {"clients", required_argument, NULL, 'c'},
        {"exports", required_argument, NULL, 'e'}, {"steps", required_argument, NULL, 'n'},
        {"hmac", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    static struct settings settings = {.stress = {.seed = 1, .steps = 60, .clients = 8, .exports = 3},
                                       .fingerprint = POOL_FINGERPRINT_XXH3};
    struct stress *stress = &settings.stress;
    for (int key; (key = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        if (key == 's')
            stress->seed = number(optarg, UINT64_MAX);
        else if (key == 'c')
            stress->clients = (unsigned)number(optarg, CLIENTS_MAX);
        else if (key == 'e')
            stress->exports = (unsigned)number(optarg, CLIENTS_MAX);
        else if (key == 'n')
            stress->steps = number(optarg, UINT64_MAX);
        else if (key == 'h')
            settings.fingerprint = POOL_FINGERPRINT_HMAC_SHA256;
        else
            usage();
    }
    if (optind != count)
        usage();
    stress_run(&settings);
    printf("seed %llu: %llu connections, %llu requests of %llu MiB, %llu flushes, %llu merges, %llu calls (%llu "
           "refused)\n",
           (unsigned long long)stress->seed, atomic_load(&stress->connections), atomic_load(&stress->requests),
           atomic_load(&stress->bytes) >> 20, atomic_load(&stress->flushes), atomic_load(&stress->merges),
           atomic_load(&stress->calls), atomic_load(&stress->refused));
    return 0;
}
