/*
 * The handshake of NBD, fixed newstyle, on the server's side: one option at a time is read whole, checked against its
 * length, answered. An option that is too long or makes no sense inside is answered by an error and the conversation
 * goes on in step; only what leaves no way to go on ends it: a wrong magic, unknown flags, and an EXPORT_NAME that is
 * refused, which has no other way to say no.
 *
 * One thread, no locks, nothing on disk.
 */
#include "server/nbd/handshake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/nbd/errors.h"
#include "server/nbd/export.h"
#include "server/nbd/meta_context.h"
#include "server/nbd/protocol.h"

struct handshake {
    const struct handshake_terms *terms;
    int socket;
    bool fixed, no_zeroes;
    bool structured;
    struct meta_context context;
    char bases[CHANGED_CONTEXTS_MAX][UUID_TEXT_SIZE]; /* of the snapshots that were chosen with it */
    unsigned base_count;
    bool finished; /* GO or EXPORT_NAME succeeded: `session` is written */
    struct session *session;
    uint32_t option;
    uint32_t length;
    uint8_t data[OPTION_BYTES_MAX + 1]; /* of the option; a zero byte behind */
};

/* ---- the socket ------------------------------------------------------------------------------------------------ */

static enum error wait_ready(const struct handshake *handshake, short events)
{
    uint64_t now = clock_monotonic();
    if (now >= handshake->terms->deadline)
        return ERROR_TIMED_OUT;
    uint64_t left = (handshake->terms->deadline - now) / CLOCK_MILLISECOND + 1;
    struct pollfd poll_socket = {.fd = handshake->socket, .events = events};
    if (poll(&poll_socket, 1, (int)MIN(left, (uint64_t)INT32_MAX)) < 0 && errno != EINTR)
        return error_from_errno(errno, "wait for a client");
    return ERROR_NONE;
}

/* What a system call on the socket that failed means: ERROR_NONE, and it is to be tried again, or an error. */
static enum error after_failure(const struct handshake *handshake, short events)
{
    if (errno == EINTR)
        return ERROR_NONE;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return wait_ready(handshake, events);
    return ERROR_CLOSED;
}

static enum error take(const struct handshake *handshake, void *out, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = recv(handshake->socket, (uint8_t *)out + done, size - done, MSG_DONTWAIT);
        if (count == 0)
            return ERROR_CLOSED;
        if (count < 0)
            TRY(after_failure(handshake, POLLIN));
        else
            done += (size_t)count;
    }
    return ERROR_NONE;
}

static enum error skip(const struct handshake *handshake, uint32_t size)
{
    uint8_t dropped[4096];
    for (uint32_t part; size > 0; size -= part) {
        if (clock_monotonic() >= handshake->terms->deadline)
            return ERROR_TIMED_OUT;
        part = MIN(size, (uint32_t)sizeof(dropped));
        TRY(take(handshake, dropped, part));
    }
    return ERROR_NONE;
}

static enum error give(const struct handshake *handshake, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = send(handshake->socket, (const uint8_t *)data + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0)
            TRY(after_failure(handshake, POLLOUT));
        else
            done += (size_t)count;
    }
    return ERROR_NONE;
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

#define REPLY_BYTES_MAX (sizeof(struct wire_option_reply) + 4 + 1024) /* a name or a sentence */

static size_t reply_encode(uint8_t *out, uint32_t option, uint32_t type, const void *data, size_t size)
{
    struct wire_option_reply header = {
        .magic = be64_make(OPTION_REPLY_MAGIC),
        .option = be32_make(option),
        .type = be32_make(type),
        .length = be32_make((uint32_t)size),
    };
    memcpy(out, &header, sizeof(header));
    memcpy(out + sizeof(header), data, size);
    return sizeof(header) + size;
}

static enum error answer(const struct handshake *handshake, uint32_t type, const void *data, size_t size)
{
    uint8_t reply[REPLY_BYTES_MAX];
    ASSERT(sizeof(struct wire_option_reply) + size <= sizeof(reply));
    return give(handshake, reply, reply_encode(reply, handshake->option, type, data, size));
}

static enum error answer_sentence(const struct handshake *handshake, uint32_t type, const char *sentence)
{
    return answer(handshake, type, sentence, MIN(strlen(sentence), (size_t)1023));
}

static enum error acknowledge(const struct handshake *handshake)
{
    return answer(handshake, OPTION_REPLY_ACK, "", 0);
}

static enum error refuse(const struct handshake *handshake, enum error error)
{
    return answer_sentence(handshake, option_error(error), error_sentence(error));
}

static enum error refuse_malformed(const struct handshake *handshake)
{
    return answer_sentence(handshake, OPTION_ERROR_INVALID, "the lengths inside the option make no sense");
}

/* ---- exports --------------------------------------------------------------------------------------------------- */

static enum error find(const struct handshake *handshake, const char *name, struct export *export)
{
    if (handshake->terms->refusal)
        return error_explain(ERROR_BUSY, "%s", handshake->terms->refusal);
    return export_find(handshake->terms->pool, name, export);
}

static bool is_read_only(const struct handshake *handshake, const struct export *export)
{
    return handshake->terms->read_only || export->snapshot;
}

void session_close(struct session *session)
{
    for (unsigned i = 0; i < session->base_count; i++)
        volume_close(session->bases[i]);
    volume_close(session->volume);
    *session = (struct session){0};
}

/* The contexts were chosen for this export, and a snapshot that is gone since is no reason to tell of another. */
static enum error contexts_enter(const struct handshake *handshake, struct session *session)
{
    session->allocation = handshake->context.allocation;
    for (unsigned i = 0; i < handshake->base_count; i++) {
        TRY(volume_open(handshake->terms->pool, handshake->bases[i], true, &session->bases[i]));
        session->base_count++;
    }
    return ERROR_NONE;
}

/* Opens the export, which was found by `name`, for the transmission phase. */
static enum error enter(struct handshake *handshake, const char *name, struct export *export)
{
    char uuid[UUID_TEXT_SIZE];
    struct session *session = handshake->session;
    struct volume *volume;
    bool read_only = is_read_only(handshake, export);
    uuid_format(export->uuid, uuid);
    TRY(volume_open(handshake->terms->pool, uuid, read_only, &volume));
    export->size = volume_size(volume);
    *session = (struct session){.volume = volume, .read_only = read_only, .structured = handshake->structured};
    enum error error =
        meta_context_holds(&handshake->context, name) ? contexts_enter(handshake, session) : ERROR_NONE;
    if (error != ERROR_NONE)
        session_close(session);
    handshake->finished = error == ERROR_NONE;
    return error;
}

static enum error option_export_name(struct handshake *handshake)
{
    const char *name = (const char *)handshake->data;
    if (strlen(name) != handshake->length)
        return error_explain(ERROR_PROTOCOL, "a client asked for an export with a zero byte in its name");
    struct export export;
    TRY(find(handshake, name, &export));
    TRY(enter(handshake, name, &export));
    struct wire_export wire = {
        .size = be64_make(export.size),
        .flags = be16_make(export_flags(handshake->session->read_only, handshake->structured)),
    };
    uint8_t reply[sizeof(wire) + EXPORT_NAME_ZEROES] = {0};
    memcpy(reply, &wire, sizeof(wire));
    return give(handshake, reply, handshake->no_zeroes ? sizeof(wire) : sizeof(reply));
}

/* All names in one piece: a system call for each of 10,000 would take most of the deadline. */
static enum error give_list(const struct handshake *handshake, const struct export_name *names, size_t count)
{
    AUTO_FREE uint8_t *replies = memory_zeroed(count + 1, sizeof(struct wire_option_reply) + 4 + VERSION_NAME_MAX);
    if (!replies)
        return ERROR_NO_MEMORY;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t entry[4 + VERSION_NAME_MAX];
        size_t length = strnlen(names[i].text, VERSION_NAME_MAX);
        be32 wire_length = be32_make((uint32_t)length);
        memcpy(entry, &wire_length, sizeof(wire_length));
        memcpy(entry + sizeof(wire_length), names[i].text, length);
        size += reply_encode(replies + size, handshake->option, OPTION_REPLY_SERVER, entry, 4 + length);
    }
    size += reply_encode(replies + size, handshake->option, OPTION_REPLY_ACK, "", 0);
    return give(handshake, replies, size);
}

static enum error option_list(const struct handshake *handshake)
{
    AUTO_FREE struct export_name *names = NULL;
    size_t count;
    if (handshake->length != 0)
        return refuse_malformed(handshake);
    enum error error = export_list(handshake->terms->pool, &names, &count);
    return error != ERROR_NONE ? refuse(handshake, error) : give_list(handshake, names, count);
}

/* ---- INFO and GO ----------------------------------------------------------------------------------------------- */

struct info_query {
    char name[EXPORT_NAME_BYTES_MAX + 1];
    bool wants_name;
};

static bool info_query_decode(const struct handshake *handshake, struct info_query *query)
{
    be32 name_length;
    be16 count, type;
    if (handshake->length < sizeof(name_length) + sizeof(count))
        return false;
    memcpy(&name_length, handshake->data, sizeof(name_length));
    size_t length = be32_get(name_length);
    if (length > EXPORT_NAME_BYTES_MAX || length > handshake->length - sizeof(name_length) - sizeof(count))
        return false;
    const uint8_t *at = handshake->data + sizeof(name_length);
    memcpy(query->name, at, length);
    query->name[length] = '\0';
    memcpy(&count, at + length, sizeof(count));
    at += length + sizeof(count);
    if (at + be16_get(count) * sizeof(type) != handshake->data + handshake->length)
        return false;
    query->wants_name = false;
    for (unsigned i = 0; i < be16_get(count); i++, at += sizeof(type)) {
        memcpy(&type, at, sizeof(type));
        query->wants_name |= be16_get(type) == INFO_NAME;
    }
    return strlen(query->name) == length;
}

static enum error give_info(const struct handshake *handshake, const struct export *export, bool wants_name)
{
    struct wire_info_export wire = {
        .type = be16_make(INFO_EXPORT),
        .size = be64_make(export->size),
        .flags = be16_make(export_flags(is_read_only(handshake, export), handshake->structured)),
    };
    struct wire_info_block_size block_size = {
        .type = be16_make(INFO_BLOCK_SIZE),
        .minimum = be32_make(BLOCK_SIZE_MINIMUM),
        .preferred = be32_make(COFFER_BLOCK),
        .maximum = be32_make(REQUEST_BYTES_MAX),
    };
    TRY(answer(handshake, OPTION_REPLY_INFO, &wire, sizeof(wire)));
    TRY(answer(handshake, OPTION_REPLY_INFO, &block_size, sizeof(block_size)));
    if (wants_name) {
        uint8_t name[2 + VERSION_NAME_MAX];
        be16 type = be16_make(INFO_NAME);
        memcpy(name, &type, sizeof(type));
        memcpy(name + sizeof(type), export->object, strlen(export->object));
        TRY(answer(handshake, OPTION_REPLY_INFO, name, sizeof(type) + strlen(export->object)));
    }
    return acknowledge(handshake);
}

static enum error option_info(struct handshake *handshake)
{
    struct info_query query;
    struct export export;
    if (!info_query_decode(handshake, &query))
        return refuse_malformed(handshake);
    enum error error = find(handshake, query.name, &export);
    if (error == ERROR_NONE && handshake->option == OPTION_GO)
        error = enter(handshake, query.name, &export);
    return error != ERROR_NONE ? refuse(handshake, error) : give_info(handshake, &export, query.wants_name);
}

/* ---- structured replies and contexts --------------------------------------------------------------------------- */

static enum error option_structured_reply(struct handshake *handshake)
{
    if (handshake->length != 0)
        return refuse_malformed(handshake);
    handshake->structured = true;
    return acknowledge(handshake);
}

#define CONTEXT_BYTES_MAX    (4 + sizeof(CHANGED_CONTEXT) - 1 + OBJECT_NAME_MAX)
#define CONTEXTS_LISTED_MAX 1024 /* of the snapshots of one object, the youngest */

static size_t context_encode(uint8_t out[CONTEXT_BYTES_MAX], uint32_t id, const char *prefix, const char *name)
{
    be32 wire_id = be32_make(id);
    memcpy(out, &wire_id, sizeof(wire_id));
    memcpy(out + sizeof(wire_id), prefix, strlen(prefix));
    memcpy(out + sizeof(wire_id) + strlen(prefix), name, strlen(name));
    return sizeof(wire_id) + strlen(prefix) + strlen(name);
}

static enum error give_context(const struct handshake *handshake, uint32_t id, const char *prefix, const char *name)
{
    uint8_t context[CONTEXT_BYTES_MAX];
    return answer(handshake, OPTION_REPLY_META_CONTEXT, context, context_encode(context, id, prefix, name));
}

/* Of all snapshots, in one piece like the list of exports. */
static enum error give_changed(const struct handshake *handshake, const char *object)
{
    AUTO_FREE struct snapshot_info *infos = NULL;
    size_t count, size = 0;
    TRY(export_bases(handshake->terms->pool, object, CONTEXTS_LISTED_MAX, &infos, &count));
    size_t first = count - MIN(count, (size_t)CONTEXTS_LISTED_MAX);
    AUTO_FREE uint8_t *replies =
        memory_zeroed(count - first + 1, sizeof(struct wire_option_reply) + CONTEXT_BYTES_MAX);
    if (!replies)
        return ERROR_NO_MEMORY;
    for (size_t i = first; i < count; i++) {
        uint8_t context[CONTEXT_BYTES_MAX];
        size_t length = context_encode(context, 0, CHANGED_CONTEXT, infos[i].snapshot);
        size += reply_encode(replies + size, handshake->option, OPTION_REPLY_META_CONTEXT, context, length);
    }
    return give(handshake, replies, size);
}

/* Snapshots that are not there are passed over, as any context that nobody knows. */
static enum error give_changed_asked(struct handshake *handshake, const struct meta_context *context,
                                     const char *object, bool set)
{
    char uuid[UUID_TEXT_SIZE];
    for (unsigned i = 0; i < context->changed_count; i++) {
        if (export_base(handshake->terms->pool, object, context->changed[i], uuid) != ERROR_NONE)
            continue;
        TRY(give_context(handshake, set ? CHANGED_CONTEXT_ID + handshake->base_count : 0, CHANGED_CONTEXT,
                         context->changed[i]));
        if (set)
            memcpy(handshake->bases[handshake->base_count++], uuid, sizeof(uuid));
    }
    return ERROR_NONE;
}

static enum error give_contexts(struct handshake *handshake, const struct meta_context *context, const char *object,
                                bool set)
{
    if (context->allocation)
        TRY(give_context(handshake, set ? ALLOCATION_CONTEXT_ID : 0, ALLOCATION_CONTEXT, ""));
    if (context->all_changed)
        TRY(give_changed(handshake, object));
    else
        TRY(give_changed_asked(handshake, context, object, set));
    return acknowledge(handshake);
}

static enum error option_meta_context(struct handshake *handshake)
{
    struct meta_context context;
    struct export export;
    bool set = handshake->option == OPTION_SET_META_CONTEXT;
    if (set) {
        handshake->context = (struct meta_context){0};
        handshake->base_count = 0;
    }
    if (!handshake->structured)
        return answer_sentence(handshake, OPTION_ERROR_INVALID, "contexts need structured replies first");
    if (!meta_context_decode(handshake->data, handshake->length, set, &context))
        return refuse_malformed(handshake);
    enum error error = find(handshake, context.name, &export);
    if (error != ERROR_NONE)
        return refuse(handshake, error);
    if (set)
        handshake->context = context;
    return give_contexts(handshake, &context, export.object, set);
}

/* ---- the conversation ------------------------------------------------------------------------------------------ */

static enum error greet(struct handshake *handshake)
{
    struct wire_greeting greeting = {
        .magic = be64_make(GREETING_MAGIC),
        .option_magic = be64_make(OPTION_MAGIC),
        .flags = be16_make(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES),
    };
    be32 wire_flags;
    TRY(give(handshake, &greeting, sizeof(greeting)));
    TRY(take(handshake, &wire_flags, sizeof(wire_flags)));
    uint32_t flags = be32_get(wire_flags);
    if (flags & ~(uint32_t)(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES))
        return error_explain(ERROR_PROTOCOL, "a client sent handshake flags %#x that nobody knows", flags);
    handshake->fixed = flags & HANDSHAKE_FIXED_NEWSTYLE;
    handshake->no_zeroes = flags & HANDSHAKE_NO_ZEROES;
    return ERROR_NONE;
}

/* ERROR_TOO_LARGE: the option was longer than is kept; its bytes were dropped. */
static enum error take_option(struct handshake *handshake)
{
    struct wire_option option;
    TRY(take(handshake, &option, sizeof(option)));
    if (be64_get(option.magic) != OPTION_MAGIC)
        return error_explain(ERROR_PROTOCOL, "a client sent something else than an option: it speaks no NBD");
    handshake->option = be32_get(option.option);
    handshake->length = be32_get(option.length);
    if (handshake->length > OPTION_BYTES_MAX) {
        TRY(skip(handshake, handshake->length));
        return ERROR_TOO_LARGE;
    }
    TRY(take(handshake, handshake->data, handshake->length));
    handshake->data[handshake->length] = '\0';
    return ERROR_NONE;
}

static enum error option_run(struct handshake *handshake)
{
    switch (handshake->option) {
    case OPTION_EXPORT_NAME:
        return option_export_name(handshake);
    case OPTION_ABORT:
        (void)!acknowledge(handshake);
        return ERROR_CLOSED;
    case OPTION_LIST:
        return option_list(handshake);
    case OPTION_INFO:
    case OPTION_GO:
        return option_info(handshake);
    case OPTION_STRUCTURED_REPLY:
        return option_structured_reply(handshake);
    case OPTION_LIST_META_CONTEXT:
    case OPTION_SET_META_CONTEXT:
        return option_meta_context(handshake);
    case OPTION_STARTTLS:
        return answer_sentence(handshake, OPTION_ERROR_UNSUPPORTED, "this server speaks no TLS");
    default:
        return answer_sentence(handshake, OPTION_ERROR_UNSUPPORTED, "this server does not know the option");
    }
}

static enum error option_step(struct handshake *handshake)
{
    enum error taken = take_option(handshake);
    error_forget();
    if (taken != ERROR_NONE && taken != ERROR_TOO_LARGE)
        return taken;
    if (clock_monotonic() >= handshake->terms->deadline)
        return ERROR_TIMED_OUT;
    if (!handshake->fixed && handshake->option != OPTION_EXPORT_NAME)
        return error_explain(ERROR_PROTOCOL, "a client of the unfixed newstyle sent option %u", handshake->option);
    if (taken == ERROR_TOO_LARGE && handshake->option == OPTION_EXPORT_NAME)
        return error_explain(ERROR_PROTOCOL, "a client asked for an export name of %u bytes", handshake->length);
    if (taken == ERROR_TOO_LARGE)
        return answer_sentence(handshake, OPTION_ERROR_TOO_BIG, "the option is too long");
    return option_run(handshake);
}

enum error handshake_run(const struct handshake_terms *terms, int socket, struct session *session)
{
    AUTO_FREE struct handshake *handshake = memory_zeroed(1, sizeof(*handshake));
    struct session agreed = {0};
    if (!handshake)
        return ERROR_NO_MEMORY;
    handshake->terms = terms;
    handshake->socket = socket;
    handshake->session = &agreed;
    enum error error = greet(handshake);
    while (error == ERROR_NONE && !handshake->finished)
        error = option_step(handshake);
    if (error != ERROR_NONE && agreed.volume)
        session_close(&agreed);
    if (error == ERROR_NONE)
        *session = agreed;
    return error;
}
