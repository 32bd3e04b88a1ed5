/*
 * Clients of the stress test: each owns a stretch of an export, changes it by requests of every kind and at any byte,
 * and knows what every byte of it must be.
 */
#ifndef COFFER_TESTS_STRESS_CLIENT_H
#define COFFER_TESTS_STRESS_CLIENT_H

#include "tests/crash/random.h"
#include "tests/stress/stress.h"

#define EXPORT_NAME_SIZE 24
#define LANES            8
/* A few blocks, and no multiple of one: neighbours share blocks, and each must leave the other's bytes alone. */
#define LANE_BYTES       20011u

struct client {
    struct stress *stress;
    unsigned number;
    struct dice dice;
    int socket;
    uint8_t *expected; /* LANES x LANE_BYTES */
};

/* Bytes that all clients of an export have together. */
uint64_t client_export_bytes(const struct stress *stress);
void client_export_name(unsigned export, char name[EXPORT_NAME_SIZE]);

void client_init(struct client *client, struct stress *stress, unsigned number);
void client_deinit(struct client *client);
/* A thread: all steps of a client, from a connection of its own to a comparison of everything. */
void client_run(void *argument);
/* Compares everything, over a new connection. */
void client_compare(struct client *client);

#endif
