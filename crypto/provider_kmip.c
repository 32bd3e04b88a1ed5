/*
 * The KMIP provider: which server is asked, in which order, and what its key is good for.
 *
 *   open      the servers in the conf's order, until one gives the key. A server that cannot be reached, is not trusted,
 *             or has no such key (any more), is passed over; a key that is there and wrong is the end, since to look for
 *             another would let a server be outvoted by one that somebody else runs. What is said of a key's end ends its
 *             cache; that the key is gone all of them must say
 *   create    no server has a key of that name -> Create and Activate on the first -> each server gives it back over
 *             a new connection (where they share nothing, it is registered on the others first) -> all are the same
 *   withdraw  Revoke and Destroy of what create made, because the creation of the pool, or a change of keys, failed. A key is
 *             taken back by its id, or where it is the very key that was made: one that only has its name is another's, a
 *             copy of this pool's
 *
 * A crash in create leaves a key on the servers that wraps nothing, under a name that holds the UUID of a pool that there
 * never was. There is one try of each server a call: who wants more patience calls again (server/key_wait.c, with
 * back-off). No state, no locks; keys go into the caller's buffer, and copies are in the arena and wiped.
 */
#include "crypto/provider_kmip.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "crypto/key_cache.h"
#include "crypto/kmip/client.h"
#include "crypto/kmip/link.h"
#include "crypto/registers.h"

#define STACK_BYTES       (64u << 10) /* more than the deepest call takes */
#define REPLICATION_PAUSE (100 * CLOCK_MILLISECOND) /* doubled at each look, until the time limit of a step is over */

void kmip_key_name(const struct provider_kek *which, char name[KMIP_NAME_SIZE])
{
    char pool[UUID_TEXT_SIZE];
    uuid_format(which->pool, pool);
    snprintf(name, KMIP_NAME_SIZE, "coffer/%s/kek/%" PRIu64, pool, which->number);
}

/* What is asked for, and of whom. */
struct asking {
    const struct provider_config *config;
    struct kmip_tls *tls;
    char name[KMIP_NAME_SIZE];
};

static enum error asking_begin(struct asking *asking, const struct provider_config *config,
                               const struct provider_kek *which)
{
    *asking = (struct asking){.config = config};
    kmip_key_name(which, asking->name);
    enum error error = kmip_tls_create(config->ca, config->certificate, config->key, &asking->tls);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "provider %s", config->name);
}

/* The thread may go to sleep now for as long as it likes. */
static void asking_end(struct asking *asking)
{
    kmip_tls_destroy(asking->tls);
    registers_cleanse();
}

static enum error connect_to(const struct asking *asking, size_t index, struct kmip_client **client)
{
    struct kmip_server server;
    TRY(kmip_server_parse(asking->config->servers[index], &server));
    return kmip_client_open(asking->tls, &server, asking->config->timeout, client);
}

/* "provider NAME: SERVER: ..." */
static enum error of_server(const struct asking *asking, size_t index, enum error error)
{
    return error == ERROR_NONE ? error
                               : error_prefix(error, "provider %s: %s", asking->config->name,
                                              asking->config->servers[index]);
}

/* ---- one key of one server ---------------------------------------------------------------------------------------- */

/* What a server let be known of a key. */
struct verdict {
    bool final;    /* the error is of the key itself, not of the way to it */
    bool answered; /* it said whether there is one */
    bool ended;    /* there is none, or it is in a state that ends it */
    bool gone;     /* there is none, or it was destroyed: nothing is opened with it any more */
};

/* "Not found" and "destroyed" come from answers alone, so from the server: whoever is between cannot say them. */
static enum error ended_by(struct verdict *verdict, enum error error)
{
    verdict->gone = verdict->gone || error == ERROR_NOT_FOUND;
    verdict->ended = verdict->ended || verdict->gone;
    return error;
}

static enum error locate_one(struct kmip_client *client, const char *name, char id[KMIP_ID_MAX + 1], struct verdict *verdict)
{
    size_t count;
    *verdict = (struct verdict){0};
    TRY(ended_by(verdict, kmip_client_locate(client, name, &count, id)));
    verdict->answered = true;
    verdict->ended = verdict->gone = count == 0;
    if (count == 0)
        return error_explain(ERROR_KEY_ABSENT, "there is no key %s: it was destroyed, or never was on this server", name);
    verdict->final = count > 1;
    if (count > 1)
        return error_explain(ERROR_FORGED, "there is more than one key %s: which is the right one nobody can tell; "
                                           "destroy or rename the others", name);
    return ERROR_NONE;
}

static enum error state_take(uint32_t number, const char *name, enum kek_state *state)
{
    switch (number) {
    case KMIP_ACTIVE:
        *state = KEK_ACTIVE;
        return ERROR_NONE;
    case KMIP_DEACTIVATED:
        *state = KEK_DEACTIVATED;
        return ERROR_NONE;
    case KMIP_COMPROMISED:
        *state = KEK_COMPROMISED;
        return ERROR_NONE;
    case KMIP_PRE_ACTIVE:
        return error_explain(ERROR_ACCESS, "key %s is not activated: activate it on the server", name);
    default:
        return error_explain(ERROR_ACCESS, "key %s is %s on the server: nothing can be opened with it", name,
                             kmip_state_name(number));
    }
}

/* Who called it so wants it used no more, whatever it opens still: only what was destroyed is gone. */
static void verdict_of_state(struct verdict *verdict, uint32_t number)
{
    verdict->gone = number == KMIP_DESTROYED || number == KMIP_DESTROYED_COMPROMISED;
    verdict->ended = verdict->gone || number == KMIP_DEACTIVATED || number == KMIP_COMPROMISED;
}

/* A located key, once it is what it must be; `report` may be NULL. */
static enum error fetch_located(struct kmip_client *client, const char *name, const char *id, uint8_t kek[KEY_SIZE],
                                enum kek_state *state, struct verdict *verdict, struct kmip_report *report)
{
    struct kmip_attributes attributes;
    TRY(ended_by(verdict, kmip_client_attributes(client, id, name, &attributes)));
    if (report != NULL)
        report->state = kmip_state_name(attributes.state);
    verdict_of_state(verdict, attributes.state);
    verdict->final = !verdict->gone;
    TRY(state_take(attributes.state, name, state));
    enum error error = kmip_attributes_check(&attributes);
    if (error == ERROR_NONE)
        error = ended_by(verdict, kmip_client_get(client, id, kek));
    verdict->final = error == ERROR_FORGED;
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "key %s (%s)", name, id);
}

static enum error fetch(struct kmip_client *client, const char *name, uint8_t kek[KEY_SIZE], enum kek_state *state,
                        struct verdict *verdict, struct kmip_report *report)
{
    char id[KMIP_ID_MAX + 1];
    TRY(locate_one(client, name, id, verdict));
    if (report != NULL)
        memcpy(report->id, id, sizeof(id));
    return fetch_located(client, name, id, kek, state, verdict, report);
}

/* Over a connection of its own. */
static enum error fetch_from(const struct asking *asking, size_t index, uint8_t kek[KEY_SIZE], enum kek_state *state,
                             struct verdict *verdict)
{
    struct kmip_client *client;
    *verdict = (struct verdict){0};
    TRY(connect_to(asking, index, &client));
    enum error error = fetch(client, asking->name, kek, state, verdict, NULL);
    kmip_client_close(client);
    return error;
}

/* ---- open --------------------------------------------------------------------------------------------------------- */

/* Why the servers so far did not give the key. */
struct failures {
    enum error error;
    char text[KMIP_SENTENCE_SIZE + 256];
};

/* What is worth a person's attention goes before a server that is just not there. */
static void failure_add(struct failures *failures, const char *server, enum error error)
{
    size_t used = strlen(failures->text);
    snprintf(failures->text + used, sizeof(failures->text) - used, "%s%s: %s", used == 0 ? "" : "; ", server,
             error_sentence(error));
    if (failures->error == ERROR_NONE || failures->error == ERROR_KEY_ABSENT)
        failures->error = error == ERROR_NOT_FOUND ? ERROR_KEY_ABSENT : error;
}

/* `*away`: no server said anything of the key, nor anything against this side. `*ended`: one says that it has come to its end.
 * `*gone`: each of them says that it is there no more. */
static enum error open_by(const struct asking *asking, uint8_t kek[KEY_SIZE], enum kek_state *state, bool *away, bool *ended,
                          bool *gone)
{
    struct failures failures = {0};
    const struct provider_config *config = asking->config;
    *away = *gone = true;
    *ended = false;
    for (size_t i = 0; i < config->server_count; i++) {
        struct verdict verdict;
        enum error error = fetch_from(asking, i, kek, state, &verdict);
        if (error == ERROR_NONE && failures.text[0] != '\0')
            message(MESSAGE_WARNING, "provider %s: the key came from %s, since others failed: %s", config->name,
                    config->servers[i], failures.text);
        *away = *away && error == ERROR_KEY_ABSENT && !verdict.answered;
        *gone = *gone && error != ERROR_NONE && verdict.gone;
        *ended = error == ERROR_NONE ? verdict.ended : *ended || verdict.ended;
        if (error == ERROR_NONE)
            return ERROR_NONE;
        if (verdict.final)
            return of_server(asking, i, error);
        failure_add(&failures, config->servers[i], error);
    }
    return error_explain(failures.error, "provider %s gives no key: %s", config->name, failures.text);
}

/* The sentence of the error outlives what is done here. */
static enum error cache_end(const struct provider_config *config, const struct provider_kek *which, enum error error)
{
    AUTO_FREE char *sentence = error == ERROR_NONE ? NULL : strdup(error_sentence(error));
    key_cache_end(config, which, "its servers call it deactivated, compromised or destroyed, or have it no more");
    return sentence == NULL ? error : error_explain(error, "%s", sentence);
}

enum error provider_kmip_open(const struct provider_config *config, const struct provider_kek *which, uint8_t kek[KEY_SIZE],
                              enum kek_state *state, bool *away)
{
    struct asking asking;
    bool ended = false, gone = false;
    *away = false;
    enum error error = asking_begin(&asking, config, which);
    if (error == ERROR_NONE)
        error = open_by(&asking, kek, state, away, &ended, &gone);
    asking_end(&asking);
    *away = *away && !kmip_links_are_abandoned();
    if (error != ERROR_NONE && gone)
        *state = KEK_ENDED;
    if (error == ERROR_NONE && *state != KEK_ACTIVE)
        message(MESSAGE_WARNING,
                "provider %s: key %s is %s on the server: it opens the pool, and nothing new is wrapped with it",
                config->name, asking.name, *state == KEK_DEACTIVATED ? "Deactivated" : "Compromised");
    return ended ? cache_end(config, which, error) : error;
}

static enum error kmip_open(const struct provider_config *config, const struct provider_kek *which,
                            uint8_t kek[KEY_SIZE], enum kek_state *state)
{
    bool away;
    return provider_kmip_open(config, which, kek, state, &away);
}

/* ---- create ------------------------------------------------------------------------------------------------------- */

/* No server may have a key of that name, and each must answer. */
static enum error absent_check(const struct asking *asking, size_t index)
{
    struct kmip_client *client;
    char id[KMIP_ID_MAX + 1];
    size_t count = 0;
    TRY(connect_to(asking, index, &client));
    enum error error = kmip_client_locate(client, asking->name, &count, id);
    kmip_client_close(client);
    if (error == ERROR_NONE && count != 0)
        error = error_explain(ERROR_EXISTS, "there is a key %s already (%s)", asking->name, id);
    return error;
}

/* Where `key` is NULL the server makes it. `id` is written as soon as there is a key. */
static enum error make_on(const struct asking *asking, size_t index, const uint8_t *key, char id[KMIP_ID_MAX + 1])
{
    struct kmip_client *client;
    TRY(connect_to(asking, index, &client));
    enum error error = key == NULL ? kmip_client_create(client, asking->name, id)
                                   : kmip_client_register(client, asking->name, key, id);
    if (error == ERROR_NONE)
        error = kmip_client_change(client, KMIP_ACTIVATE, id);
    else if (error == ERROR_KEY_ABSENT)
        error = error_prefix(error, "it may have made key %s all the same, which is left alone", asking->name);
    kmip_client_close(client);
    return error;
}

/* A server of a cluster may know the key a moment later than the one that made it. */
static enum error fetch_replicated(const struct asking *asking, size_t index, uint8_t kek[KEY_SIZE],
                                   enum kek_state *state, struct verdict *verdict)
{
    uint64_t until = clock_monotonic() + asking->config->timeout * CLOCK_MILLISECOND, pause = REPLICATION_PAUSE;
    for (;;) {
        enum error error = fetch_from(asking, index, kek, state, verdict);
        if (error != ERROR_KEY_ABSENT || clock_monotonic() + pause > until)
            return error;
        clock_sleep(pause);
        pause *= 2;
    }
}

static enum error read_back(const struct asking *asking, size_t index, const uint8_t kek[KEY_SIZE], struct verdict *verdict)
{
    enum kek_state state;
    uint8_t *again = arena_allocate(KEY_SIZE);
    if (again == NULL)
        return ERROR_NO_MEMORY;
    enum error error = fetch_replicated(asking, index, again, &state, verdict);
    if (error == ERROR_NONE && state != KEK_ACTIVE)
        error = error_explain(ERROR_ACCESS, "the new key is not Active");
    if (error == ERROR_NONE && memory_compare_constant_time(again, kek, KEY_SIZE) != 0)
        error = error_explain(ERROR_FORGED, "it gives another key than was made");
    arena_free(again);
    return error;
}

/* Which keys create made; an empty id: none on that server, or it did not say. */
struct made {
    char ids[PROVIDER_SERVERS_MAX][KMIP_ID_MAX + 1];
};

static enum error create_first(const struct asking *asking, struct made *made, uint8_t kek[KEY_SIZE])
{
    enum kek_state state;
    struct verdict verdict;
    TRY(make_on(asking, 0, NULL, made->ids[0]));
    TRY(fetch_from(asking, 0, kek, &state, &verdict));
    return read_back(asking, 0, kek, &verdict);
}

static enum error create_on_all(const struct asking *asking, struct made *made, uint8_t kek[KEY_SIZE])
{
    TRY(of_server(asking, 0, create_first(asking, made, kek)));
    for (size_t i = 1; i < asking->config->server_count; i++) {
        if (asking->config->separate)
            TRY(of_server(asking, i, make_on(asking, i, kek, made->ids[i])));
        struct verdict verdict = {0};
        enum error error = read_back(asking, i, kek, &verdict);
        if (error != ERROR_NONE && verdict.gone && !asking->config->separate)
            return error_explain(error,
                                 "provider %s: %s does not have the key that %s made: are they one cluster? If they do "
                                 "not share keys, say replicated = no (coffer create --kmip-separate)",
                                 asking->config->name, asking->config->servers[i], asking->config->servers[0]);
        TRY(of_server(asking, i, error));
    }
    return ERROR_NONE;
}

/* One that is Deactivated already refuses to be revoked again; servers may remember one that was destroyed. Only what the
 * server itself says ends a key: no answer has the same error as the answer that there is none. */
static enum error end_by(struct kmip_client *client, const char *name, bool destroy)
{
    struct kmip_attributes attributes;
    char id[KMIP_ID_MAX + 1];
    struct verdict verdict;
    enum error error = locate_one(client, name, id, &verdict);
    if (error == ERROR_NONE) {
        TRY(kmip_client_attributes(client, id, name, &attributes));
        verdict_of_state(&verdict, attributes.state);
    }
    if (verdict.gone)
        return ERROR_NONE;
    TRY(error);
    TRY(kmip_attributes_check(&attributes));
    if (attributes.state == KMIP_ACTIVE)
        TRY(kmip_client_change(client, KMIP_REVOKE, id));
    return destroy ? kmip_client_change(client, KMIP_DESTROY, id) : ERROR_NONE;
}

static enum error end_on(const struct asking *asking, size_t index, bool destroy)
{
    struct kmip_client *client;
    TRY(connect_to(asking, index, &client));
    enum error error = end_by(client, asking->name, destroy);
    kmip_client_close(client);
    return error;
}

static enum error kmip_end(const struct provider_config *config, const struct provider_kek *which, bool destroy)
{
    struct asking asking;
    enum error error = asking_begin(&asking, config, which);
    for (size_t i = 0; i < config->server_count && error == ERROR_NONE; i++)
        error = of_server(&asking, i, end_on(&asking, i, destroy));
    asking_end(&asking);
    if (error == ERROR_NONE)
        key_cache_end(config, which, "it was retired");
    return error;
}

/* ---- withdraw ----------------------------------------------------------------------------------------------------- */

static enum error destroy(struct kmip_client *client, const char *id)
{
    if (kmip_client_change(client, KMIP_REVOKE, id) != ERROR_NONE)
        error_forget(); /* it may not have been active yet */
    return kmip_client_change(client, KMIP_DESTROY, id);
}

static enum error destroy_on(const struct asking *asking, size_t index, const char *id)
{
    struct kmip_client *client;
    TRY(connect_to(asking, index, &client));
    enum error error = destroy(client, id);
    kmip_client_close(client);
    return error;
}

static void take_back(const struct asking *asking, const struct made *made)
{
    for (size_t i = 0; i < asking->config->server_count; i++) {
        if (made->ids[i][0] == '\0')
            continue;
        enum error error = of_server(asking, i, destroy_on(asking, i, made->ids[i]));
        if (error != ERROR_NONE)
            message(MESSAGE_WARNING, "%s; destroy key %s (%s) there yourself: it protects nothing", error_sentence(error),
                    asking->name, made->ids[i]);
    }
}

/* In a cluster the first server destroys it for all. */
static enum error destroy_same(struct kmip_client *client, const char *name, const uint8_t kek[KEY_SIZE],
                               uint8_t found[KEY_SIZE])
{
    char id[KMIP_ID_MAX + 1];
    struct verdict verdict;
    enum kek_state state;
    enum error error = locate_one(client, name, id, &verdict);
    if (error == ERROR_NONE)
        error = fetch_located(client, name, id, found, &state, &verdict, NULL);
    if (verdict.gone)
        return ERROR_NONE;
    TRY(error);
    if (memory_compare_constant_time(found, kek, KEY_SIZE) != 0)
        return error_explain(ERROR_FORGED, "key %s (%s) is another one than was made", name, id);
    return destroy(client, id);
}

static enum error withdraw_on(const struct asking *asking, size_t index, const uint8_t kek[KEY_SIZE])
{
    struct kmip_client *client;
    uint8_t *found = arena_allocate(KEY_SIZE);
    if (found == NULL)
        return ERROR_NO_MEMORY;
    enum error error = connect_to(asking, index, &client);
    if (error == ERROR_NONE) {
        error = destroy_same(client, asking->name, kek, found);
        kmip_client_close(client);
    }
    arena_free(found);
    return error;
}

static void kmip_withdraw(const struct provider_config *config, const struct provider_kek *which, const uint8_t kek[KEY_SIZE])
{
    struct asking asking;
    enum error error = asking_begin(&asking, config, which);
    for (size_t i = 0; i < config->server_count && error == ERROR_NONE; i++) {
        enum error failed = of_server(&asking, i, withdraw_on(&asking, i, kek));
        if (failed != ERROR_NONE)
            message(MESSAGE_WARNING, "%s; key %s is left alone there: destroy it yourself where no copy of this pool needs it",
                    error_sentence(failed), asking.name);
    }
    asking_end(&asking);
    error_forget();
}

/* ---- create, the whole -------------------------------------------------------------------------------------------- */

static enum error create_by(const struct asking *asking, uint8_t kek[KEY_SIZE])
{
    struct made made = {0};
    for (size_t i = 0; i < asking->config->server_count; i++)
        TRY(of_server(asking, i, absent_check(asking, i)));
    enum error error = create_on_all(asking, &made, kek);
    if (error == ERROR_NONE)
        return ERROR_NONE;
    memory_cleanse(kek, KEY_SIZE);
    AUTO_FREE char *sentence = strdup(error_sentence(error));
    take_back(asking, &made);
    return sentence == NULL ? error : error_explain(error, "%s", sentence);
}

static enum error kmip_create(const struct provider_config *config, const struct provider_kek *which,
                              uint8_t kek[KEY_SIZE])
{
    struct asking asking;
    enum error error = asking_begin(&asking, config, which);
    if (error == ERROR_NONE)
        error = create_by(&asking, kek);
    asking_end(&asking);
    return error;
}

/* ---- test --------------------------------------------------------------------------------------------------------- */

/* All that fetch() asks, but not the key. */
static enum error look_at(struct kmip_client *client, const char *name, struct verdict *verdict, struct kmip_report *report)
{
    struct kmip_attributes attributes;
    enum kek_state state;
    TRY(locate_one(client, name, report->id, verdict));
    TRY(ended_by(verdict, kmip_client_attributes(client, report->id, name, &attributes)));
    report->state = kmip_state_name(attributes.state);
    verdict_of_state(verdict, attributes.state);
    TRY(state_take(attributes.state, name, &state));
    return kmip_attributes_check(&attributes);
}

static enum error report_make(const struct asking *asking, size_t index, bool get, uint8_t kek[KEY_SIZE],
                              struct kmip_report *report)
{
    struct kmip_client *client;
    enum kek_state state;
    struct verdict verdict;
    TRY(connect_to(asking, index, &client));
    report->reached = true;
    report->version = kmip_client_version(client);
    enum error error = kmip_client_query(client, report->vendor);
    if (error == ERROR_UNSUPPORTED || error == ERROR_ACCESS || error == ERROR_PROTOCOL)
        error = ERROR_NONE; /* it may keep to itself what it is */
    if (error == ERROR_NONE) {
        error = get ? fetch(client, asking->name, kek, &state, &verdict, report)
                    : look_at(client, asking->name, &verdict, report);
        report->ended = verdict.ended;
        report->gone = verdict.gone;
    }
    kmip_client_close(client);
    TRY(error);
    if (!get)
        return ERROR_NONE;
    report->fetched = true;
    return kcv_derive(kek, asking->config->id, report->kcv);
}

/* Keys are compared by their check values: two that differ agree in 8 bytes once in 2^64. */
static enum error report_compare(const struct kmip_report *reports, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (reports[i].fetched && memcmp(reports[i].kcv, reports[index].kcv, KCV_SIZE) != 0)
            return error_explain(ERROR_FORGED, "it gives another key than %s", reports[i].server);
    return ERROR_NONE;
}

/* What one server is asked, by a thread of its own. */
struct inquiry {
    const struct asking *asking;
    size_t index;
    bool get;
    uint8_t *kek; /* in the arena */
    struct kmip_report *report;
    struct thread thread;
    bool started;
};

/* A thread's stack is kept for the next one. */
static void __attribute__((noinline)) stack_overwrite(void)
{
    uint8_t below[STACK_BYTES];
    memory_cleanse(below, sizeof below);
}

static void inquire(void *argument)
{
    struct inquiry *inquiry = argument;
    struct kmip_report *report = inquiry->report;
    report->error = report_make(inquiry->asking, inquiry->index, inquiry->get, inquiry->kek, report);
    if (report->error != ERROR_NONE)
        snprintf(report->sentence, sizeof(report->sentence), "%s", error_sentence(report->error));
    stack_overwrite();
    registers_cleanse();
}

/* The last by this thread. Where no other can be had, one after the other. */
static void inquire_all(struct inquiry *inquiries, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        inquiries[i].started = thread_start(&inquiries[i].thread, "key-server", inquire, &inquiries[i]) == ERROR_NONE;
    for (size_t i = 0; i < count; i++)
        if (!inquiries[i].started)
            inquire(&inquiries[i]);
    for (size_t i = 0; i < count; i++)
        if (inquiries[i].started)
            thread_join(&inquiries[i].thread);
    error_forget();
}

static enum error inquiries_make(const struct asking *asking, bool get, struct kmip_report *reports, struct inquiry *inquiries)
{
    for (size_t i = 0; i < asking->config->server_count; i++) {
        reports[i] = (struct kmip_report){.server = asking->config->servers[i]};
        inquiries[i] = (struct inquiry){.asking = asking, .index = i, .get = get, .report = &reports[i]};
        inquiries[i].kek = arena_allocate(KEY_SIZE);
        if (inquiries[i].kek == NULL)
            return ERROR_NO_MEMORY;
    }
    return ERROR_NONE;
}

/* Keys are compared in the conf's order; what is kept, is once. */
static void inquiries_judge(struct inquiry *inquiries, size_t count, struct kmip_report *reports, uint8_t *kept)
{
    bool have = kept == NULL;
    for (size_t i = 0; i < count; i++) {
        struct kmip_report *report = &reports[i];
        if (report->error == ERROR_NONE && report->fetched) {
            report->error = report_compare(reports, i);
            if (report->error != ERROR_NONE)
                snprintf(report->sentence, sizeof(report->sentence), "%s", error_sentence(report->error));
        }
        report->kept = !have && report->fetched && report->error == ERROR_NONE;
        if (report->kept)
            memcpy(kept, inquiries[i].kek, KEY_SIZE);
        have = have || report->kept;
    }
}

/* Side by side: a server that says nothing holds up no other, and all together take as long as the slowest of them, which is the
 * time limits of one connection (kmip/link.h: four of `timeout`, 20 s by default) however many there are. So who looks twice a minute
 * knows within 50 s that a server is gone. */
static enum error reports_make(const struct asking *asking, bool get, struct kmip_report reports[PROVIDER_SERVERS_MAX],
                               uint8_t *kept)
{
    size_t count = asking->config->server_count;
    AUTO_FREE struct inquiry *inquiries = memory_zeroed(PROVIDER_SERVERS_MAX, sizeof(*inquiries));
    if (inquiries == NULL)
        return ERROR_NO_MEMORY;
    enum error error = inquiries_make(asking, get, reports, inquiries);
    if (error == ERROR_NONE) {
        inquire_all(inquiries, count);
        inquiries_judge(inquiries, count, reports, kept);
    }
    for (size_t i = 0; i < count; i++)
        arena_free(inquiries[i].kek);
    return error;
}

static enum error test_all(const struct provider_config *config, const struct provider_kek *which, bool get,
                           struct kmip_report reports[PROVIDER_SERVERS_MAX], uint8_t *kept)
{
    struct asking asking;
    enum error error = asking_begin(&asking, config, which);
    if (error == ERROR_NONE)
        error = reports_make(&asking, get, reports, kept);
    asking_end(&asking);
    return error;
}

enum error provider_kmip_test(const struct provider_config *config, const struct provider_kek *which, bool get,
                              struct kmip_report reports[PROVIDER_SERVERS_MAX])
{
    return test_all(config, which, get, reports, NULL);
}

enum error provider_kmip_test_keep(const struct provider_config *config, const struct provider_kek *which,
                                   struct kmip_report reports[PROVIDER_SERVERS_MAX], uint8_t kek[KEY_SIZE])
{
    return test_all(config, which, true, reports, kek);
}

const struct provider_ops provider_kmip = {.type = "kmip",
                                           .seal = NULL,
                                           .needs_passphrase = false,
                                           .create_kek = kmip_create,
                                           .open_kek = kmip_open,
                                           .withdraw_kek = kmip_withdraw,
                                           .end_kek = kmip_end};
