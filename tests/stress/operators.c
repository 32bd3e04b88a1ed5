/*
 * Each goes on until the clients are done, and does its round once at least. What the server may refuse (an object that
 * is busy being deleted) is counted; the rest must succeed. The trash is emptied object by object, as people do it.
 */
#include "tests/stress/operators.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/pool/pool.h"
#include "tests/stress/client.h"
#include "tests/stress/wire.h"

#define OBJECT_BYTES (8u << 20)
#define GROWTH_BYTES 4096u

static bool clients_run(const struct stress *stress)
{
    return atomic_load(&stress->clients_running) > 0;
}

static bool call(struct stress *stress, int control, const char *method, const char *parameters)
{
    bool succeeded = wire_control(control, method, parameters);
    atomic_fetch_add(&stress->calls, 1);
    if (!succeeded)
        atomic_fetch_add(&stress->refused, 1);
    return succeeded;
}

static void must(struct stress *stress, int control, const char *method, const char *parameters)
{
    if (!call(stress, control, method, parameters))
        stress_fail("%s %s was refused", method, parameters);
}

/* ---- objects -------------------------------------------------------------------------------------------------------
 */

/* A few blocks all over it; what was written there is read back, and nothing of an object that had the name before. */
static void object_use(struct stress *stress, const char *name, unsigned round)
{
    static const uint64_t places[] = {0, OBJECT_BYTES / 2 - 700, OBJECT_BYTES - 5000};
    uint8_t data[5000], back[5000];
    int client = wire_enter(stress->nbd_path, name);
    if (client < 0)
        stress_fail("the new object %s was refused", name);
    for (unsigned i = 0; i < COUNT_OF(places); i++) {
        struct wire_call read = {.type = COMMAND_READ, .offset = places[i], .length = sizeof back, .data = back};
        struct wire_call write = {.type = COMMAND_WRITE, .offset = places[i], .length = sizeof data, .data = data};
        wire_run(client, &read, 1);
        if (!memory_is_zero(back, sizeof back))
            stress_fail("the new object %s is not empty", name);
        memset(data, (int)(1 + (round + i) % 250), sizeof data);
        wire_run(client, &write, 1);
        wire_run(client, &read, 1);
        if (memcmp(data, back, sizeof back) != 0)
            stress_fail("the object %s holds something else than was written", name);
    }
    wire_leave(client, round % 2 == 0);
}

/* A client that hung up is seen a moment later: until then its object is busy. */
static void insist(struct stress *stress, int control, const char *method, const char *parameters)
{
    for (unsigned tries = 0; !call(stress, control, method, parameters); tries++) {
        if (tries == 10000)
            stress_fail("%s %s is still refused", method, parameters);
        usleep(1000);
    }
}

static void object_live(struct stress *stress, int control, unsigned round)
{
    char name[32], text[128];
    snprintf(name, sizeof name, "passing%u", round % 3);
    snprintf(text, sizeof text, "{\"name\":\"%s\",\"size\":%u}", name, OBJECT_BYTES);
    must(stress, control, "object.create", text);
    object_use(stress, name, round);
    snprintf(text, sizeof text, "{\"name\":\"%s\",\"size\":%u}", name, 2 * OBJECT_BYTES);
    must(stress, control, "object.resize", text);
    snprintf(text, sizeof text, "{\"name\":\"%s\",\"size\":%u,\"shrink\":true}", name, OBJECT_BYTES / 4);
    insist(stress, control, "object.resize", text);
    snprintf(text, sizeof text, "{\"name\":\"%s\",\"now\":%s}", name, round % 2 ? "true" : "false");
    insist(stress, control, "object.delete", text);
    if (round % 2)
        return;
    snprintf(text, sizeof text, "{\"name\":\"%s\"}", name);
    if (round % 4 == 0) {
        must(stress, control, "trash.restore", text);
        insist(stress, control, "object.delete", text);
    }
    must(stress, control, "trash.purge", text);
}

void objects_run(void *argument)
{
    struct stress *stress = argument;
    int control = wire_connect(stress->control_path);
    unsigned round = 0;
    do
        object_live(stress, control, round++);
    while (clients_run(stress));
    close(control);
}

void growth_run(void *argument)
{
    struct stress *stress = argument;
    int control = wire_connect(stress->control_path);
    uint64_t size = client_export_bytes(stress);
    do {
        size += GROWTH_BYTES;
        for (unsigned i = 0; i < stress->exports; i++) {
            char name[EXPORT_NAME_SIZE], text[128];
            client_export_name(i, name);
            snprintf(text, sizeof text, "{\"name\":\"%s\",\"size\":%llu}", name, (unsigned long long)size);
            must(stress, control, "object.resize", text);
        }
    } while (clients_run(stress));
    close(control);
}

/* ---- questions and merges ------------------------------------------------------------------------------------------
 */

void questions_run(void *argument)
{
    static const char *const methods[] = {"pool.status", "pool.health", "object.list", "trash.list", "device.list"};
    struct stress *stress = argument;
    int control = wire_connect(stress->control_path);
    unsigned round = 0;
    do {
        for (unsigned i = 0; i < COUNT_OF(methods); i++)
            must(stress, control, methods[i], NULL);
        must(stress, control, round++ % 2 ? "object.show" : "object.usage", "{\"name\":\"export0\"}");
    } while (clients_run(stress));
    close(control);
}

void merges_run(void *argument)
{
    struct stress *stress = argument;
    do {
        enum error error = group_publish(stress->pool->group);
        if (error != ERROR_NONE)
            stress_fail("a merge failed: %s", error_sentence(error));
        atomic_fetch_add(&stress->merges, 1);
    } while (clients_run(stress));
}
