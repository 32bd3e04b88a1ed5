/* Where things lie in the volumes, and the plain calls that every part of the crash tests makes. */
#include "tests/crash/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

const char *const volume_names[VOLUMES] = {"dense", "spread"};

/* The spread volume has its areas far apart, on odd places of the map's nodes, with the last one near its end. */
#define SPREAD_BYTES (UINT64_C(7) << 40)

static uint64_t area_offset(unsigned volume, unsigned area)
{
    return volume == 0 ? (uint64_t)area * STRIPE_BLOCKS * BLOCK : area * (SPREAD_BYTES + 77 * BLOCK);
}

uint64_t stripe_offset(unsigned volume, unsigned worker)
{
    return area_offset(volume, worker);
}

uint64_t shared_offset(const struct session *session, unsigned volume)
{
    return area_offset(volume, session->settings.workers);
}

uint64_t split_offset(const struct session *session, unsigned volume)
{
    return shared_offset(session, volume) + SHARED_BLOCKS * BLOCK;
}

uint64_t volume_bytes(const struct session *session, unsigned volume)
{
    return volume == 0 ? split_offset(session, 0) + SPLIT_BLOCKS * BLOCK : OBJECT_SIZE_MAX;
}

static void no_error_is_expected(enum error error)
{
    (void)error;
}

void (*session_error)(enum error error) = no_error_is_expected;

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char sentence[1024];
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    fprintf(stderr, "crash: %s\n", sentence);
    fflush(stderr);
    _exit(3);
}

void succeed(enum error error, const char *what)
{
    if (error == ERROR_NONE)
        return;
    session_error(error);
    fail("%s: %s: %s", what, error_name(error), error_sentence(error));
}

static void ignore_answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

void read_all(struct volume *volume, uint64_t offset, void *out, uint64_t length)
{
    struct request request = {.type = REQUEST_READ, .offset = offset, .length = length, .data = out};
    volume_execute(volume, &request, 1, ignore_answer, NULL);
    if (request.error == ERROR_NONE)
        return;
    session_error(request.error);
    fail("read of %llu bytes at %llu: %s", (unsigned long long)length, (unsigned long long)offset,
         error_name(request.error));
}
