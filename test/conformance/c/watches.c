/* Watches, those that fired while the client was away included. */
#include "suite.h"

#include <string.h>

static void watch_data(struct client *c, const char *node) {
    char buffer[16];
    int length = sizeof buffer;
    want(ZOK, zoo_wget(c->zh, node, on_event, c, buffer, &length, NULL), node);
}

static void watch_children(struct client *c, const char *node) {
    struct String_vector names;
    want(ZOK, zoo_wget_children(c->zh, node, on_event, c, &names), node);
    deallocate_String_vector(&names);
}

static void one_shot_watches(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    want(ZNONODE, zoo_wexists(c->zh, path("/a"), on_event, c, NULL), "exists");
    create(c, path("/a"));
    expect_event(c, ZOO_CREATED_EVENT, path("/a"));
    watch_data(c, path("/a"));
    want(ZOK, zoo_set(c->zh, path("/a"), "1", 1, -1), "set");
    want(ZOK, zoo_set(c->zh, path("/a"), "2", 1, -1), "set");
    expect_event(c, ZOO_CHANGED_EVENT, path("/a"));
    watch_children(c, path(""));
    create(c, path("/b"));
    expect_event(c, ZOO_CHILD_EVENT, path(""));
    create(c, path("/c"));
    want(ZOK, zoo_wexists(c->zh, path("/c"), on_event, c, NULL), "exists");
    want(ZOK, zoo_delete(c->zh, path("/c"), -1), "delete");
    expect_event(c, ZOO_DELETED_EVENT, path("/c"));
    settle(c);
    expect_no_event(c);
}

static void watches_of_others(void) {
    struct client *watcher = connect_to(member(1), LONG_SESSION);
    struct client *writer = connect_to(member(2), LONG_SESSION);
    create(writer, path("/a"));
    settle(watcher);
    for (int i = 0; i < 20; i++) {
        watch_data(watcher, path("/a"));
        want(ZOK, zoo_set(writer->zh, path("/a"), "1", 1, -1), "set");
        expect_event(watcher, ZOO_CHANGED_EVENT, path("/a"));
    }
}

static void remove_watches(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    create(c, path("/a"));
    watch_data(c, path("/a"));
    watch_children(c, path("/a"));
    want(ZOK, zoo_remove_watches(c->zh, path("/a"), ZWATCHTYPE_DATA, on_event, c, 0), "remove_watches");
    want(ZOK, zoo_set(c->zh, path("/a"), "1", 1, -1), "set");
    create(c, path("/a/b"));
    expect_event(c, ZOO_CHILD_EVENT, path("/a"));
    settle(c);
    expect_no_event(c);
    want(ZNOWATCHER, zoo_remove_all_watches(c->zh, path("/a"), ZWATCHTYPE_ANY, 0), "remove_all_watches");
}

static void watches_across_reconnection(void) {
    struct client *other = connect_to(NULL, LONG_SESSION);
    create(other, path("/changed"));
    create(other, path("/deleted"));
    create(other, path("/kids"));
    create(other, path("/same"));
    const char *proxy = control("proxy 2");
    struct client *c = connect_to(proxy, LONG_SESSION);
    settle(c);
    watch_data(c, path("/changed"));
    control("cut %s", proxy);
    await_count(c, &c->disconnected, 1, "the disconnection");
    want(ZOK, zoo_set(other->zh, path("/changed"), "1", 1, -1), "set");
    control("open %s", proxy);
    await_count(c, &c->connected, 2, "the reconnection");
    expect_event(c, ZOO_CHANGED_EVENT, path("/changed"));

    watch_data(c, path("/deleted"));
    watch_children(c, path("/kids"));
    watch_data(c, path("/same"));
    want(ZNONODE, zoo_wexists(c->zh, path("/born"), on_event, c, NULL), "exists");
    control("cut %s", proxy);
    await_count(c, &c->disconnected, 2, "the disconnection");
    want(ZOK, zoo_delete(other->zh, path("/deleted"), -1), "delete");
    create(other, path("/kids/a"));
    create(other, path("/born"));
    control("open %s", proxy);
    await_count(c, &c->connected, 3, "the reconnection");
    /* They come in no particular order. */
    for (int i = 0; i < 3; i++) {
        await_count(c, &c->event_count, 3 - i, "an event");
        const char *node = c->events[0].path;
        int type = strcmp(node, path("/deleted")) == 0 ? ZOO_DELETED_EVENT : strcmp(node, path("/kids")) == 0 ? ZOO_CHILD_EVENT : ZOO_CREATED_EVENT;
        expect_event(c, type, type == ZOO_DELETED_EVENT ? path("/deleted") : type == ZOO_CHILD_EVENT ? path("/kids") : path("/born"));
    }
    settle(c);
    expect_no_event(c);
    want(ZOK, zoo_set(other->zh, path("/same"), "1", 1, -1), "set");
    expect_event(c, ZOO_CHANGED_EVENT, path("/same"));
    control("close %s", proxy);
}

const struct test watch_tests[] = {
    {"one_shot_watches", one_shot_watches},
    {"watches_of_others", watches_of_others},
    {"remove_watches", remove_watches},
    {"watches_across_reconnection", watches_across_reconnection},
    {NULL, NULL},
};
