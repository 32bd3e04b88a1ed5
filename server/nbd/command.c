/*
 * Commands: decoding and every check that needs no engine. The order of checks is known type, known flags, permission,
 * length, range, so that the error says the first thing that is wrong.
 *
 * WRITE_ZEROES is always a change of mappings, so FAST_ZERO needs nothing and NO_HOLE has nothing to hold on to: a pool
 * that deduplicates stores zeros once or not at all, however they were written. So the space that NO_HOLE asks for is
 * not kept, though the protocol wants that: clients set it as a matter of course and would take a refusal for a failed
 * write. Reservations keep space.
 *
 * Pure functions.
 */
#include "server/nbd/command.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "engine/coffer.h"

struct command_rule {
    const char *name;
    uint16_t flags; /* allowed */
    bool has_range, has_data, changes;
};

/* FUA is allowed everywhere, as the protocol demands of a server that offers it. */
static const struct command_rule rules[] = {
    [COMMAND_READ] = {"read", COMMAND_FUA | COMMAND_DF, .has_range = true, .has_data = true},
    [COMMAND_WRITE] = {"write", COMMAND_FUA, .has_range = true, .has_data = true, .changes = true},
    [COMMAND_DISCONNECT] = {"disconnect", COMMAND_FUA},
    [COMMAND_FLUSH] = {"flush", COMMAND_FUA},
    [COMMAND_TRIM] = {"trim", COMMAND_FUA, .has_range = true, .changes = true},
    [COMMAND_CACHE] = {"cache", COMMAND_FUA, .has_range = true},
    [COMMAND_WRITE_ZEROES] = {"write-zeroes", COMMAND_FUA | COMMAND_NO_HOLE | COMMAND_FAST_ZERO, .has_range = true,
                              .changes = true},
    [COMMAND_BLOCK_STATUS] = {"block-status", COMMAND_FUA | COMMAND_REQ_ONE, .has_range = true},
};

enum error command_decode(const uint8_t data[sizeof(struct wire_request)], struct command *command)
{
    struct wire_request wire;
    memcpy(&wire, data, sizeof(wire));
    if (be32_get(wire.magic) != REQUEST_MAGIC)
        return error_explain(ERROR_PROTOCOL, "something else than a request arrived (%#x)", be32_get(wire.magic));
    *command = (struct command){
        .flags = be16_get(wire.flags),
        .type = be16_get(wire.type),
        .cookie = wire.cookie,
        .offset = be64_get(wire.offset),
        .length = be32_get(wire.length),
    };
    return ERROR_NONE;
}

bool command_has_data(const struct command *command)
{
    return command->type < COUNT_OF(rules) && rules[command->type].has_data;
}

bool command_is_fua(const struct command *command)
{
    return command->flags & COMMAND_FUA && command->type < COUNT_OF(rules) && rules[command->type].changes;
}

bool command_is_durable(const struct command *command)
{
    return command->type == COMMAND_FLUSH || command_is_fua(command);
}

static enum error check_negotiated(const struct command *command, const struct session *session)
{
    if (command->type == COMMAND_BLOCK_STATUS && !session->allocation && session->base_count == 0)
        return error_explain(ERROR_INVALID, "block status was not negotiated (context base:allocation)");
    if (command->flags & COMMAND_DF && !session->structured)
        return error_explain(ERROR_INVALID, "the flag DF needs structured replies");
    return ERROR_NONE;
}

static enum error check_range(const struct command *command, const struct command_rule *rule, uint64_t export_size)
{
    if (command->length == 0)
        return error_explain(ERROR_INVALID, "%s of length 0", rule->name);
    if (rule->has_data && command->length > REQUEST_BYTES_MAX)
        return error_explain(ERROR_INVALID, "%s of %" PRIu32 " bytes: %u are the most", rule->name, command->length,
                             REQUEST_BYTES_MAX);
    if (command->offset > export_size || command->length > export_size - command->offset)
        return error_explain(ERROR_OUT_OF_RANGE,
                             "%s at %" PRIu64 " of %" PRIu32 " bytes reaches beyond the end at %" PRIu64, rule->name,
                             command->offset, command->length, export_size);
    if (command->flags & COMMAND_DF && command->length > BATCH_BYTES_MAX)
        return error_explain(ERROR_TOO_LARGE, "an unfragmented read of %" PRIu32 " bytes: %u are the most",
                             command->length, BATCH_BYTES_MAX);
    return ERROR_NONE;
}

enum error command_check(const struct command *command, const struct session *session, uint64_t export_size)
{
    if (command->type >= COUNT_OF(rules))
        return error_explain(ERROR_INVALID, "unknown request type %u", command->type);
    const struct command_rule *rule = &rules[command->type];
    if (command->flags & ~rule->flags)
        return error_explain(ERROR_INVALID, "%s with flags %#x, which it does not know", rule->name, command->flags);
    TRY(check_negotiated(command, session));
    if (rule->changes && session->read_only)
        return error_explain(ERROR_READ_ONLY, "%s on a read-only export", rule->name);
    if (rule->has_range)
        return check_range(command, rule, export_size);
    if (command->offset != 0 || command->length != 0)
        return error_explain(ERROR_INVALID, "%s with an offset or length", rule->name);
    return ERROR_NONE;
}
