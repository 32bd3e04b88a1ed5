/*
 * Request out, answer in, checked, wiped.
 *
 * Both messages live in the arena, at fixed sizes, and are overwritten after each operation: they may hold a key. The
 * version is agreed with Discover Versions, asked in the oldest version that is spoken, then, where a server refuses that,
 * in the next. After an error of the connection the client is good for closing only. No locks; nothing stored.
 */
#include "crypto/kmip/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"

struct kmip_client {
    struct kmip_link *link;
    struct kmip_version version;
    struct ttlv_writer writer; /* into `request` */
    uint8_t *request, *answer; /* KMIP_REQUEST_MAX, TTLV_MESSAGE_MAX */
};

static void request_begin(struct kmip_client *client)
{
    client->writer = (struct ttlv_writer){.bytes = client->request, .room = KMIP_REQUEST_MAX};
}

/* Sends what was written; the payload points into client->answer, until answer_wipe(). */
static enum error ask(struct kmip_client *client, enum kmip_operation operation, struct ttlv *payload)
{
    size_t size = 0;
    ASSERT(!client->writer.full && client->writer.depth == 0);
    enum error error =
        kmip_link_exchange(client->link, client->request, client->writer.used, client->answer, &size);
    memory_cleanse(client->request, KMIP_REQUEST_MAX);
    if (error == ERROR_NONE)
        error = kmip_answer_read(client->answer, size, client->version, operation, payload);
    return error;
}

static enum error answer_wipe(struct kmip_client *client, enum error error)
{
    memory_cleanse(client->answer, TTLV_MESSAGE_MAX);
    return error;
}

/* ---- beginning and end -------------------------------------------------------------------------------------------- */

static enum error discover(struct kmip_client *client, struct kmip_version by)
{
    struct ttlv payload;
    client->version = by;
    request_begin(client);
    kmip_discover_write(&client->writer, by);
    enum error error = ask(client, KMIP_DISCOVER_VERSIONS, &payload);
    if (error == ERROR_NONE)
        error = kmip_discover_read(&payload, &client->version);
    return answer_wipe(client, error);
}

/* A server that does not know the version of the header refuses the message, or frames its refusal as it likes. */
static enum error version_agree(struct kmip_client *client)
{
    enum error error = ERROR_UNSUPPORTED;
    for (size_t i = kmip_version_count; i > 0 && (error == ERROR_PROTOCOL || error == ERROR_UNSUPPORTED); i--)
        error = discover(client, kmip_versions[i - 1]);
    return error;
}

static enum error client_start(struct kmip_client *client, struct kmip_tls *tls, const struct kmip_server *server,
                               unsigned timeout)
{
    client->request = arena_allocate(KMIP_REQUEST_MAX);
    client->answer = arena_allocate(TTLV_MESSAGE_MAX);
    if (client->request == NULL || client->answer == NULL)
        return ERROR_NO_MEMORY;
    TRY(kmip_link_open(tls, server, timeout, &client->link));
    return version_agree(client);
}

enum error kmip_client_open(struct kmip_tls *tls, const struct kmip_server *server, unsigned timeout,
                            struct kmip_client **client)
{
    struct kmip_client *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    enum error error = client_start(made, tls, server, timeout);
    if (error != ERROR_NONE) {
        kmip_client_close(made);
        return error;
    }
    *client = made;
    return ERROR_NONE;
}

void kmip_client_close(struct kmip_client *client)
{
    if (client == NULL)
        return;
    kmip_link_close(client->link);
    arena_free(client->request);
    arena_free(client->answer);
    free(client);
}

struct kmip_version kmip_client_version(const struct kmip_client *client)
{
    return client->version;
}

/* ---- operations --------------------------------------------------------------------------------------------------- */

enum error kmip_client_query(struct kmip_client *client, char vendor[KMIP_TEXT_MAX + 1])
{
    struct ttlv payload;
    request_begin(client);
    kmip_query_write(&client->writer, client->version);
    enum error error = ask(client, KMIP_QUERY, &payload);
    if (error == ERROR_NONE)
        kmip_query_read(&payload, vendor);
    return answer_wipe(client, error);
}

enum error kmip_client_locate(struct kmip_client *client, const char *name, size_t *count, char id[KMIP_ID_MAX + 1])
{
    struct ttlv payload;
    request_begin(client);
    kmip_locate_write(&client->writer, client->version, name);
    enum error error = ask(client, KMIP_LOCATE, &payload);
    if (error == ERROR_NONE)
        error = kmip_locate_read(&payload, count, id);
    return answer_wipe(client, error);
}

enum error kmip_client_create(struct kmip_client *client, const char *name, char id[KMIP_ID_MAX + 1])
{
    struct ttlv payload;
    request_begin(client);
    kmip_create_write(&client->writer, client->version, name);
    enum error error = ask(client, KMIP_CREATE, &payload);
    if (error == ERROR_NONE)
        error = kmip_id_read(&payload, NULL, id);
    return answer_wipe(client, error);
}

enum error kmip_client_register(struct kmip_client *client, const char *name, const uint8_t key[KEY_SIZE],
                                char id[KMIP_ID_MAX + 1])
{
    struct ttlv payload;
    request_begin(client);
    kmip_register_write(&client->writer, client->version, name, key);
    enum error error = ask(client, KMIP_REGISTER, &payload);
    if (error == ERROR_NONE)
        error = kmip_id_read(&payload, NULL, id);
    return answer_wipe(client, error);
}

enum error kmip_client_change(struct kmip_client *client, enum kmip_operation operation, const char *id)
{
    struct ttlv payload;
    char same[KMIP_ID_MAX + 1];
    request_begin(client);
    kmip_change_write(&client->writer, client->version, operation, id);
    enum error error = ask(client, operation, &payload);
    if (error == ERROR_NONE)
        error = kmip_id_read(&payload, id, same);
    return answer_wipe(client, error);
}

enum error kmip_client_attributes(struct kmip_client *client, const char *id, const char *name,
                                  struct kmip_attributes *attributes)
{
    struct ttlv payload;
    request_begin(client);
    kmip_get_attributes_write(&client->writer, client->version, id);
    enum error error = ask(client, KMIP_GET_ATTRIBUTES, &payload);
    if (error == ERROR_NONE)
        error = kmip_get_attributes_read(&payload, client->version, id, name, attributes);
    return answer_wipe(client, error);
}

enum error kmip_client_get(struct kmip_client *client, const char *id, uint8_t key[KEY_SIZE])
{
    struct ttlv payload;
    request_begin(client);
    kmip_get_write(&client->writer, client->version, id);
    enum error error = ask(client, KMIP_GET, &payload);
    if (error == ERROR_NONE)
        error = kmip_get_read(&payload, id, key);
    return answer_wipe(client, error);
}
