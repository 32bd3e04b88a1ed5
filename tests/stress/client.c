/*
 * A step is one request for each lane, all in flight at once; lanes do not overlap, so what each request must do is
 * known however the server orders them. Lanes and clients meet inside of blocks, and several clients share an export,
 * so that parts of one block are changed at once by requests of one batch, of one connection and of several.
 *
 * Half of what is written comes from a few blocks that all clients write, so that hits are looked for, found, and die.
 */
#include "tests/stress/client.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tests/stress/wire.h"

#define PATTERNS       24 /* blocks that everybody writes */
#define BLOCK          4096u
#define REQUEST_MOST   (12u << 10)
#define STAY_STEPS_MAX 24 /* on one connection */

/* Clients of an export. */
static uint64_t places(const struct stress *stress)
{
    return (stress->clients + stress->exports - 1) / stress->exports;
}

uint64_t client_export_bytes(const struct stress *stress)
{
    return (places(stress) * LANES * LANE_BYTES + BLOCK - 1) / BLOCK * BLOCK;
}

void client_export_name(unsigned export, char name[EXPORT_NAME_SIZE])
{
    snprintf(name, EXPORT_NAME_SIZE, "export%u", export);
}

void client_init(struct client *client, struct stress *stress, unsigned number)
{
    *client = (struct client){.stress = stress, .number = number, .socket = -1};
    client->dice.state = stress->seed * 1000003 + number;
    client->expected = memory_zeroed(LANES, LANE_BYTES);
    ASSERT(client->expected != NULL);
}

void client_deinit(struct client *client)
{
    free(client->expected);
}

static void enter(struct client *client)
{
    char name[EXPORT_NAME_SIZE];
    client_export_name(client->number % client->stress->exports, name);
    client->socket = wire_enter(client->stress->nbd_path, name);
    if (client->socket < 0)
        stress_fail("client %u: the export %s was refused", client->number, name);
    atomic_fetch_add(&client->stress->connections, 1);
}

static void leave(struct client *client)
{
    wire_leave(client->socket, dice_percent(&client->dice, 50));
    client->socket = -1;
}

/* ---- contents ------------------------------------------------------------------------------------------------------
 */

static void random_fill(struct dice *dice, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i % 8 == 0 ? dice_throw(dice) : data[i - 1] + 1u);
}

static void pattern_fill(struct dice *dice, uint64_t offset, uint8_t *data, size_t size)
{
    uint64_t pattern = dice_below(dice, PATTERNS);
    for (size_t i = 0; i < size; i++) {
        uint64_t place = (offset + i) % BLOCK;
        if (place == 0)
            pattern = dice_below(dice, PATTERNS);
        data[i] = (uint8_t)(pattern + place / 64);
    }
}

static void data_fill(struct client *client, struct wire_call *call)
{
    unsigned choice = (unsigned)dice_below(&client->dice, 10);
    if (choice == 0)
        memset(call->data, 0, call->length);
    else if (choice < 5)
        random_fill(&client->dice, call->data, call->length);
    else
        pattern_fill(&client->dice, call->offset, call->data, call->length);
}

/* ---- a step --------------------------------------------------------------------------------------------------------
 */

static uint64_t lane_offset(const struct client *client, unsigned lane)
{
    uint64_t place = client->number / client->stress->exports;
    return (lane * places(client->stress) + place) * LANE_BYTES;
}

static uint8_t *expected_at(const struct client *client, unsigned lane, const struct wire_call *call)
{
    return client->expected + (uint64_t)lane * LANE_BYTES + (call->offset - lane_offset(client, lane));
}

/* Of whole blocks, as far as the lane has them there. */
static void place_align(struct wire_call *call, uint64_t begin, uint64_t end)
{
    call->offset = MAX(call->offset / BLOCK * BLOCK, (begin + BLOCK - 1) / BLOCK * BLOCK);
    call->length = (call->length + BLOCK - 1) / BLOCK * BLOCK;
    call->length = (uint32_t)MIN((uint64_t)call->length, (end - call->offset) / BLOCK * BLOCK);
    call->length = MAX(call->length, 1u);
}

/* Somewhere in the lane, often at one of its ends or in whole blocks. */
static void place_draw(struct client *client, unsigned lane, struct wire_call *call, uint32_t most)
{
    uint64_t begin = lane_offset(client, lane), choice = dice_below(&client->dice, 4);
    uint32_t left;
    call->length = (uint32_t)dice_small(&client->dice, most);
    left = LANE_BYTES - call->length;
    call->offset = begin + (choice == 0 ? 0 : choice == 1 ? left : dice_below(&client->dice, left + 1));
    if (choice == 2)
        place_align(call, begin, begin + LANE_BYTES);
}

static void call_draw(struct client *client, unsigned lane, struct wire_call *call)
{
    unsigned choice = (unsigned)dice_below(&client->dice, 100);
    call->flags = choice % 16 == 1 ? COMMAND_FUA : 0;
    if (choice < 4) {
        call->type = COMMAND_FLUSH;
        call->flags = 0;
        call->offset = call->length = 0;
        return;
    }
    call->type = choice < 50   ? COMMAND_WRITE
                 : choice < 80 ? COMMAND_READ
                 : choice < 90 ? COMMAND_TRIM
                               : COMMAND_WRITE_ZEROES;
    place_draw(client, lane, call, choice < 80 ? REQUEST_MOST : LANE_BYTES);
    if (call->type == COMMAND_WRITE)
        data_fill(client, call);
}

/* What was answered is as it had to be, and what is expected from now on. */
static void call_settle(struct client *client, unsigned lane, const struct wire_call *call)
{
    if (call->type == COMMAND_FLUSH) {
        atomic_fetch_add(&client->stress->flushes, 1);
        return;
    }
    uint8_t *expected = expected_at(client, lane, call);
    atomic_fetch_add(&client->stress->bytes, call->length);
    if (call->type == COMMAND_WRITE)
        memcpy(expected, call->data, call->length);
    else if (call->type != COMMAND_READ)
        memset(expected, 0, call->length);
    else if (memcmp(expected, call->data, call->length) != 0)
        stress_fail("client %u read something else than it wrote, of %u bytes at %llu", client->number, call->length,
                    (unsigned long long)call->offset);
}

static void step(struct client *client, uint8_t data[LANES][WIRE_BYTES_MAX])
{
    struct wire_call calls[LANES];
    for (unsigned lane = 0; lane < LANES; lane++) {
        calls[lane].data = data[lane];
        call_draw(client, lane, &calls[lane]);
    }
    wire_run(client->socket, calls, LANES);
    for (unsigned lane = 0; lane < LANES; lane++)
        call_settle(client, lane, &calls[lane]);
    atomic_fetch_add(&client->stress->requests, LANES);
}

void client_compare(struct client *client)
{
    uint8_t *data = memory_zeroed(1, LANE_BYTES);
    ASSERT(data != NULL);
    enter(client);
    for (unsigned lane = 0; lane < LANES; lane++) {
        struct wire_call call = {
            .type = COMMAND_READ, .offset = lane_offset(client, lane), .length = LANE_BYTES, .data = data};
        wire_run(client->socket, &call, 1);
        if (memcmp(expected_at(client, lane, &call), data, LANE_BYTES) != 0)
            stress_fail("client %u: what is stored differs from what it wrote, in its lane at %llu", client->number,
                        (unsigned long long)call.offset);
    }
    leave(client);
    free(data);
}

void client_run(void *argument)
{
    struct client *client = argument;
    uint8_t(*data)[WIRE_BYTES_MAX] = memory_zeroed(LANES, WIRE_BYTES_MAX);
    uint64_t stay = 0;
    ASSERT(data != NULL);
    for (uint64_t i = 0; i < client->stress->steps; i++) {
        if (stay == 0) {
            if (client->socket >= 0)
                leave(client);
            enter(client);
            stay = 1 + dice_below(&client->dice, STAY_STEPS_MAX);
        }
        stay--;
        step(client, data);
    }
    if (client->socket >= 0)
        leave(client);
    free(data);
    client_compare(client);
    atomic_fetch_sub(&client->stress->clients_running, 1);
}
