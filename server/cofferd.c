/*
 * cofferd: opens a pool and serves it, until a signal ends it.
 *
 * The order of the start: descriptors, of which nobody is to be short; the arena, before OpenSSL allocates anything;
 * the self-test, before the first key; signals blocked, before the first thread; the pool; then the sockets, so that
 * whoever can connect is served. The end is the reverse. A crash instead of the end loses nothing that was flushed: the
 * next start recovers. So the end need not be waited for without bound, and a thread sees to that: where what clients
 * asked for does not come to its end in time, or a second signal says so, the process just exits.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "crypto/kmip/link.h"
#include "crypto/provider.h"
#include "crypto/selftest.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "server/control.h"
#include "server/descriptors.h"
#include "server/key_chores.h"
#include "server/key_wait.h"
#include "server/key_watch.h"
#include "server/kms_cycle.h"
#include "server/modes.h"
#include "server/nbd/nbd.h"
#include "server/served.h"
#include "server/settings.h"

#define PAYLOAD_BYTES_TOP (64u << 20) /* more does not make anything faster */
#define STOP_SECONDS      60          /* for requests that run; publishing the pool after them takes what it takes */
#define EXIT_UNCLEAN      1

struct daemon {
    struct settings settings;
    uint64_t descriptors; /* that it may have open */
    int signals;   /* signalfd */
    int opened;    /* eventfd: the first try to open the pool is over */
    int activated; /* sockets that systemd handed over */
    bool serves_stdio;
    struct pool *pool;
    struct nbd_server *nbd;
    struct control *control;
    struct key_wait *key_wait;
    struct thread watchdog;
    int watchdog_wake; /* eventfd: requests have ended, and when written again the pool is closed */
};

/* ---- start ----------------------------------------------------------------------------------------------------- */

static enum error signals_catch(struct daemon *daemon)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
        return error_from_errno(errno, "block signals");
    daemon->signals = signalfd(-1, &signals, SFD_CLOEXEC);
    return daemon->signals < 0 ? error_from_errno(errno, "signalfd") : ERROR_NONE;
}

/* A passphrase is asked for only where it was provided for: a daemon has nobody to ask. */
static enum error passphrase_find(const struct settings *settings, char **passphrase, size_t *size)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    AUTO_FREE char *credential = credentials ? file_join(credentials, "coffer.passphrase") : NULL;
    if (!settings->passphrase_file && (!credential || access(credential, R_OK) != 0))
        return ERROR_NONE;
    return passphrase_read(settings->passphrase_file, "Passphrase: ", false, passphrase, size);
}

/* For a key that comes later. Standard input was read at the start. */
static enum error secret_find(void *context, char **passphrase, size_t *size)
{
    const struct daemon *daemon = context;
    const char *file = daemon->settings.passphrase_file;
    return file && strcmp(file, "-") == 0 ? ERROR_NONE : passphrase_find(&daemon->settings, passphrase, size);
}

/* Of the daemon's memory, for the data of running requests. */
static size_t payload_bytes(const struct settings *settings)
{
    return MIN(settings->memory / POOL_MEMORY_SERVER_SHARE, (uint64_t)PAYLOAD_BYTES_TOP);
}

/* What the payloads take, the engine does not get, as far as it can do without. */
static uint64_t engine_memory(const struct settings *settings)
{
    uint64_t floor = MIN(settings->memory, POOL_MEMORY_MIN);
    return MAX(settings->memory - payload_bytes(settings), floor);
}

static enum error open_pool(struct daemon *daemon)
{
    const struct settings *settings = &daemon->settings;
    char *passphrase = NULL;
    size_t passphrase_size = 0;
    TRY(passphrase_find(settings, &passphrase, &passphrase_size));
    struct pool_open_options options = {
        .passphrase = passphrase,
        .passphrase_size = passphrase_size,
        .start_locked = true,
        .accept_rollback = settings->accept_rollback,
        .memory = engine_memory(settings),
    };
    sd_notify(0, "STATUS=Opening the pool");
    enum error error = pool_open(settings->directory, &options, &daemon->pool);
    pool_thread_end(); /* this thread lives on, and must keep nothing of keys when the pool is locked */
    if (passphrase)
        arena_free(passphrase);
    return error;
}

/* Key servers may take their time. A signal that ends the daemon ends the waiting for them; it stays pending, so that
 * wait_for_end() finds it. */
static void opening_watch(void *argument)
{
    const struct daemon *daemon = argument;
    struct pollfd set[2] = {{.fd = daemon->opened, .events = POLLIN}, {.fd = daemon->signals, .events = POLLIN}};
    while (poll(set, 2, -1) < 0 && errno == EINTR)
        ;
    if (set[1].revents && !set[0].revents)
        kmip_links_abandon();
}

static enum error open_pool_watched(struct daemon *daemon)
{
    struct thread thread;
    uint64_t one = 1;
    daemon->opened = eventfd(0, EFD_CLOEXEC);
    if (daemon->opened < 0)
        return error_from_errno(errno, "eventfd");
    enum error error = thread_start(&thread, "opening", opening_watch, daemon);
    if (error == ERROR_NONE) {
        error = open_pool(daemon);
        (void)!write(daemon->opened, &one, sizeof(one));
        thread_join(&thread);
    }
    close(daemon->opened);
    return error;
}

/* Before the sockets are made: theirs are right. */
static void warn_of_modes(const struct daemon *daemon)
{
    struct pool_conf *conf;
    AUTO_FREE struct modes *modes = memory_zeroed(1, sizeof(*modes));
    if (modes == NULL || pool_conf_read(daemon->settings.directory, &conf) != ERROR_NONE) {
        error_forget();
        return;
    }
    modes_look(conf, modes);
    if (modes->wide > 0)
        message(MESSAGE_WARNING, "open to other users: %s: type `%s`", modes->names, modes->command);
    pool_conf_destroy(conf);
}

static enum error listen_everywhere(struct daemon *daemon)
{
    const struct settings *settings = &daemon->settings;
    for (int i = 0; i < daemon->activated; i++)
        TRY(nbd_listen_descriptor(daemon->nbd, SD_LISTEN_FDS_START + i));
    for (size_t i = 0; i < settings->address_count; i++) {
        bool is_stdio = strcmp(settings->addresses[i], "stdio") == 0;
        daemon->serves_stdio |= is_stdio;
        int client = is_stdio ? dup(STDIN_FILENO) : -1;
        TRY(is_stdio ? nbd_adopt(daemon->nbd, client) : nbd_listen(daemon->nbd, settings->addresses[i]));
    }
    return ERROR_NONE;
}

/* stdio is nobody's to connect to. */
static enum error addresses_note(const struct daemon *daemon)
{
    const struct settings *settings = &daemon->settings;
    for (int i = 0; i < daemon->activated; i++)
        TRY(served_note_socket(SD_LISTEN_FDS_START + i));
    for (size_t i = 0; i < settings->address_count; i++)
        TRY(served_note(settings->addresses[i]));
    return ERROR_NONE;
}

static enum error serve(struct daemon *daemon)
{
    struct nbd_options options = {
        .insecure = daemon->settings.insecure,
        .payload_bytes_max = payload_bytes(&daemon->settings),
        .connections_max = descriptors_connections(daemon->descriptors),
    };
    if (options.connections_max < NBD_CONNECTIONS_DEFAULT)
        message(MESSAGE_WARNING, "at most %u NBD connections are served, since only %llu files may be open: `ulimit -n` before "
                                 "the start, or LimitNOFILE= of the unit, allows more",
                options.connections_max, (unsigned long long)daemon->descriptors);
    TRY(nbd_start(daemon->pool, &options, &daemon->nbd));
    TRY(kms_cycle_start(daemon->pool, daemon->nbd, nbd_peers));
    TRY(addresses_note(daemon));
    /* First, so that who sees an export can ask about it. */
    TRY(control_start(daemon->pool, daemon->settings.control, &daemon->control));
    return listen_everywhere(daemon);
}

static enum error announce(struct daemon *daemon)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof(*status));
    if (!status)
        return ERROR_NO_MEMORY;
    TRY(pool_status(daemon->pool, status));
    if (status->locked)
        sd_notifyf(0, "READY=1\nSTATUS=Started locked: `%s unlock` opens the pool", pool_command(daemon->pool));
    else
        sd_notify(0, "READY=1\nSTATUS=Serving");
    for (size_t i = 0; i < daemon->settings.address_count; i++)
        message(MESSAGE_NOTICE, "serving %s at %s", daemon->settings.directory, daemon->settings.addresses[i]);
    if (status->locked)
        message(MESSAGE_WARNING, "the pool is locked, and NBD clients are refused: %stype `%s unlock`",
                status->awaits_key ? "bring the key, which is looked for every minute, or " : "",
                pool_command(daemon->pool));
    return ERROR_NONE;
}

static enum error start(struct daemon *daemon)
{
    daemon->activated = sd_listen_fds(1);
    if (daemon->activated < 0)
        return error_from_errno(-daemon->activated, "sockets of systemd");
    TRY(settings_complete(&daemon->settings, daemon->activated > 0));
    TRY(signals_catch(daemon));
    TRY(open_pool_watched(daemon));
    warn_of_modes(daemon);
    TRY(key_watch_start(daemon->pool)); /* these two before anybody can ask what they found */
    TRY(key_chores_start(daemon->pool, secret_find, daemon));
    TRY(serve(daemon));
    TRY(announce(daemon));
    return key_wait_start(daemon->pool, secret_find, daemon, &daemon->key_wait);
}

/* ---- end ------------------------------------------------------------------------------------------------------- */

/* Until a signal comes, or the client on standard input, where one is served there, has gone, and all others, too. */
static void wait_for_end(struct daemon *daemon)
{
    struct pollfd set[2] = {
        {.fd = daemon->signals, .events = POLLIN},
        {.fd = daemon->serves_stdio ? STDIN_FILENO : -1},
    };
    while (poll(set, 2, -1) < 0 && errno == EINTR)
        ;
    if (set[1].revents && !set[0].revents)
        nbd_wait(daemon->nbd, daemon->signals);
}

static _Noreturn void give_up(const char *why)
{
    message(MESSAGE_ERROR, "%s: not stopped cleanly; what was flushed is safe, and the next start recovers it", why);
    _exit(EXIT_UNCLEAN);
}

/* Returns when woken; -1 waits without limit. */
static void watch(const struct daemon *daemon, int milliseconds)
{
    struct pollfd set[2] = {{.fd = daemon->watchdog_wake, .events = POLLIN}, {.fd = daemon->signals, .events = POLLIN}};
    int ready;
    while ((ready = poll(set, 2, milliseconds)) < 0 && errno == EINTR)
        ;
    if (ready == 0)
        give_up("requests that run did not end in time");
    if (ready > 0 && !set[0].revents)
        give_up("a second signal came");
    uint64_t woken;
    (void)!read(daemon->watchdog_wake, &woken, sizeof(woken));
}

static void watchdog_run(void *argument)
{
    watch(argument, STOP_SECONDS * 1000);
    watch(argument, -1);
}

static void watchdog_wake(const struct daemon *daemon)
{
    uint64_t one = 1;
    (void)!write(daemon->watchdog_wake, &one, sizeof(one));
}

/* Without it the end is only less bounded. */
static bool watchdog_start(struct daemon *daemon)
{
    struct signalfd_siginfo first;
    struct pollfd set = {.fd = daemon->signals, .events = POLLIN};
    if (daemon->signals < 0)
        return false;
    if (poll(&set, 1, 0) > 0)
        (void)!read(daemon->signals, &first, sizeof(first));
    daemon->watchdog_wake = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    return daemon->watchdog_wake >= 0 &&
           thread_start(&daemon->watchdog, "watchdog", watchdog_run, daemon) == ERROR_NONE;
}

static enum error stop(struct daemon *daemon)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
    bool watched = watchdog_start(daemon);
    kms_cycle_leave();
    if (daemon->nbd)
        nbd_stop(daemon->nbd);
    if (daemon->pool)
        pool_looks_end(daemon->pool);
    kmip_links_abandon();
    control_stop(daemon->control);
    served_forget();
    key_wait_stop(daemon->key_wait);
    key_chores_stop();
    key_watch_stop();
    kms_cycle_stop();
    if (watched)
        watchdog_wake(daemon);
    enum error error = daemon->pool ? pool_close(daemon->pool) : ERROR_NONE;
    if (watched) {
        watchdog_wake(daemon);
        thread_join(&daemon->watchdog);
    }
    return error;
}

static enum error run(struct daemon *daemon)
{
    enum error error = start(daemon);
    if (error == ERROR_NONE)
        wait_for_end(daemon);
    else
        message(MESSAGE_ERROR, "%s", error_sentence(error));
    enum error stopped = stop(daemon);
    if (stopped != ERROR_NONE)
        message(MESSAGE_ERROR, "the pool was not closed cleanly: %s", error_sentence(stopped));
    return error != ERROR_NONE ? error : stopped;
}

static int exit_status(enum error error)
{
    if (error == ERROR_NONE)
        return 0;
    return error_class(error) == ERROR_CLASS_REFUSED ? 3 : 1;
}

int main(int count, char **arguments)
{
    struct daemon daemon = {.signals = -1, .descriptors = descriptors_take()};
    enum error error = arena_start();
    if (error == ERROR_NONE)
        error = crypto_selftest();
    if (error != ERROR_NONE) {
        message(MESSAGE_ERROR, "%s", error_sentence(error));
        return exit_status(error);
    }
    enum settings_outcome outcome = settings_parse(count, arguments, &daemon.settings);
    int status = outcome == SETTINGS_DONE ? 0 : 2;
    if (outcome == SETTINGS_RUN)
        status = exit_status(run(&daemon));
    settings_deinit(&daemon.settings);
    return status;
}
