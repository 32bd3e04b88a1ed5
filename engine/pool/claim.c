/*
 * Components that no document claims. A component names its object, also where it is a snapshot's (group/format.h). Of a
 * document that cannot be read (catalog.c) nobody knows whether it is a snapshot's, and held or locked. But as long as
 * there is a component that names an object and that neither the object nor a snapshot of it has, the object is not freed:
 * so the snapshot finds its object when its document can be read again.
 *
 * Locks: pool->lock, under which all components come, move and go; the group's for the recent tables. Nothing is changed,
 * so a crash is harmless.
 */
#include <string.h>

#include "engine/group/view.h"
#include "engine/group/walk.h"
#include "engine/pool/object_table.h"

struct search {
    struct group *group;
    const struct view *view;
    const struct object *object;
    bool unclaimed; /* one was found */
};

static bool is_claimed(const struct object *object, uint64_t component)
{
    bool claimed = object->component == component;
    for (const struct object *one = object->snapshots; one != NULL && !claimed; one = one->snapshot_next)
        claimed = one->component == component;
    return claimed;
}

static bool has_deletion(const struct recent *recent, uint64_t component)
{
    size_t count = 0;
    const struct component_change *changes = recent != NULL ? recent_components(recent, &count) : NULL;
    bool has = false;
    for (size_t i = 0; i < count && !has; i++)
        has = changes[i].id == component && changes[i].state == COMPONENT_DELETED;
    return has;
}

/* A component as a table has it. Under the group's lock. */
static void component_look(struct search *search, uint64_t component, const uint8_t *names, uint8_t state)
{
    if (state != COMPONENT_LIVE || memcmp(names, search->object->uuid.bytes, sizeof search->object->uuid.bytes) != 0)
        return;
    search->unclaimed |= !is_claimed(search->object, component) && !has_deletion(search->view->active, component) &&
                         !has_deletion(search->view->frozen, component);
}

static void recent_look(struct search *search, const struct recent *recent)
{
    size_t count = 0;
    const struct component_change *changes = recent != NULL ? recent_components(recent, &count) : NULL;
    for (size_t i = 0; i < count; i++)
        component_look(search, changes[i].id, changes[i].object.bytes, changes[i].state);
}

static enum error page_look(void *context, const struct walk_node *node)
{
    struct search *search = context;
    const struct component_format *formats = (const struct component_format *)node->bytes;
    if (node->bytes == NULL)
        return error_explain(node->errors[0] == ERROR_IO ? ERROR_IO : ERROR_CORRUPT, "the table of components cannot be read");
    if (node->identity.level > 0)
        return ERROR_NONE;
    mutex_lock(&search->group->lock);
    for (unsigned i = 0; i < COMPONENTS_PER_PAGE; i++)
        component_look(search, node->identity.number * COMPONENTS_PER_PAGE + i, formats[i].object, formats[i].state);
    mutex_unlock(&search->group->lock);
    return ERROR_NONE;
}

static enum error components_look(struct search *search)
{
    struct tree table = tree_of_table(TABLE_COMPONENTS, view_root(search->view, TABLE_COMPONENTS));
    mutex_lock(&search->group->lock);
    recent_look(search, search->view->active);
    recent_look(search, search->view->frozen);
    mutex_unlock(&search->group->lock);
    return tree_walk(search->group, &table, 0, UINT64_MAX, WALK_ONE_COPY, page_look, search);
}

enum error object_check_claimed(struct pool *pool, const struct object *object)
{
    if (pool->table->lost_count == 0)
        return ERROR_NONE;
    struct view *view = view_take(pool->group);
    struct search search = {.group = pool->group, .view = view, .object = object};
    enum error error = components_look(&search);
    view_put(pool->group, view);
    TRY(error);
    if (search.unclaimed)
        return error_explain(ERROR_BUSY, "'%s' has a snapshot whose document in the catalog cannot be read: it may be held, "
                                         "so '%s' is not freed before it can", object->name, object->name);
    return ERROR_NONE;
}
