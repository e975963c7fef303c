/* Sessions: timeouts, reconnection, moves, expiry. */
#include "suite.h"

#include <stdio.h>
#include <string.h>

static void create_ephemeral(struct client *c, const char *node) {
    want(ZOK, zoo_create(c->zh, node, "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), node);
}

static void same_owner(struct client *c, const char *node, int64_t owner) {
    struct Stat stat;
    want(ZOK, zoo_exists(c->zh, node, 0, &stat), node);
    same_int(owner, stat.ephemeralOwner, "owner");
}

static void session_timeouts(void) {
    same_int(1000, zoo_recv_timeout(connect_to(NULL, 500)->zh), "asked for 500 ms");
    same_int(7000, zoo_recv_timeout(connect_to(NULL, 7000)->zh), "asked for 7 s");
    same_int(60000, zoo_recv_timeout(connect_to(NULL, 100000)->zh), "asked for 100 s");
}

static void close_removes_ephemerals(void) {
    struct client *other = connect_to(member(2), LONG_SESSION);
    for (int i = 0; i < 3; i++) {
        struct client *c = connect_to(member(1), LONG_SESSION);
        create_ephemeral(c, path("/eph"));
        settle(other);
        want(ZOK, zoo_wexists(other->zh, path("/eph"), on_event, other, NULL), "exists");
        close_client(c);
        settle(other);
        want(ZNONODE, zoo_exists(other->zh, path("/eph"), 0, NULL), "exists after the close");
        expect_event(other, ZOO_DELETED_EVENT, path("/eph"));
    }
}

static void reconnection(void) {
    const char *proxy = control("proxy 1");
    struct client *c = connect_to(proxy, LONG_SESSION);
    int64_t id = zoo_client_id(c->zh)->client_id;
    create_ephemeral(c, path("/eph"));
    for (int round = 1; round <= 2; round++) {
        control("cut %s", proxy);
        await_count(c, &c->disconnected, round, "the disconnection");
        control("open %s", proxy);
        await_count(c, &c->connected, 1 + round, "the reconnection");
        same_int(id, zoo_client_id(c->zh)->client_id, "session");
        same_owner(c, path("/eph"), id);
    }
    control("close %s", proxy);
}

static void failover(void) {
    char hosts[200];
    const char *proxies[3];
    for (int i = 0; i < 3; i++) {
        proxies[i] = control("proxy %d", i + 1);
    }
    snprintf(hosts, sizeof hosts, "%s,%s,%s", proxies[0], proxies[1], proxies[2]);
    struct client *c = connect_to(hosts, LONG_SESSION);
    int64_t id = zoo_client_id(c->zh)->client_id;
    create_ephemeral(c, path("/eph"));
    for (int i = 0; i < 3; i++) {
        char current[100];
        snprintf(current, sizeof current, "%s", zoo_get_current_server(c->zh));
        /* Only one of the three is its own. */
        int lost = strcmp(current, proxies[i]) == 0;
        int before = c->connected;
        control("cut %s", proxies[i]);
        if (lost) {
            await_count(c, &c->connected, before + 1, "the connection to another member");
        }
        control("open %s", proxies[i]);
        same_owner(c, path("/eph"), id);
    }
    for (int i = 0; i < 3; i++) {
        control("close %s", proxies[i]);
    }
}

static void reattach_elsewhere(void) {
    const char *proxy = control("proxy 1");
    struct client *old = connect_to(proxy, LONG_SESSION);
    create_ephemeral(old, path("/eph"));
    clientid_t id = *zoo_client_id(old->zh);
    control("cut %s", proxy);
    await_count(old, &old->disconnected, 1, "the disconnection");
    struct client *c = attach_to(member(3), LONG_SESSION, &id);
    await_count(c, &c->connected, 1, "the connection");
    same_int(id.client_id, zoo_client_id(c->zh)->client_id, "session");
    same_owner(c, path("/eph"), id.client_id);
    want(ZOK, zoo_set(c->zh, path("/eph"), "y", 1, 0), "set");
    control("close %s", proxy);
}

static void wrong_password(void) {
    struct client *c = connect_to(member(1), LONG_SESSION);
    create_ephemeral(c, path("/eph"));
    clientid_t id = *zoo_client_id(c->zh);
    id.passwd[0] ^= 1;
    struct client *thief = attach_to(member(2), LONG_SESSION, &id);
    await_count(thief, &thief->expired, 1, "the expiry");
    want(ZINVALIDSTATE, zoo_exists(thief->zh, "/", 0, NULL), "exists");
    same_int(1, is_unrecoverable(thief->zh) == ZINVALIDSTATE, "unrecoverable");
    same_owner(c, path("/eph"), id.client_id);
}

static void expiry(void) {
    const char *proxy = control("proxy 3");
    struct client *c = connect_to(proxy, SHORT_SESSION);
    struct client *other = connect_to(member(1), LONG_SESSION);
    create_ephemeral(c, path("/eph"));
    settle(other);
    want(ZOK, zoo_wexists(other->zh, path("/eph"), on_event, other, NULL), "exists");
    control("hold %s", proxy);
    expect_event(other, ZOO_DELETED_EVENT, path("/eph"));
    control("cut %s", proxy);
    control("open %s", proxy);
    await_count(c, &c->expired, 1, "the expiry");
    want(ZINVALIDSTATE, zoo_exists(c->zh, "/", 0, NULL), "exists");
    control("close %s", proxy);
}

static void on_pending(int rc, const char *value, const void *data) {
    (void)value;
    if (rc == ZCONNECTIONLOSS) {
        answered((struct client *)data);
    }
}

static void pending_requests(void) {
    const char *proxy = control("proxy 2");
    struct client *c = connect_to(proxy, LONG_SESSION);
    path("");
    control("hold %s", proxy);
    for (int i = 0; i < 10; i++) {
        want(ZOK, zoo_acreate(c->zh, path("/a"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, on_pending, c), "acreate");
    }
    control("cut %s", proxy);
    await_count(c, &c->answers, 10, "the loss of all ten");
    control("open %s", proxy);
    await_count(c, &c->connected, 2, "the reconnection");
    create(c, path("/after"));
    control("close %s", proxy);
}

const struct test session_tests[] = {
    {"session_timeouts", session_timeouts},
    {"close_removes_ephemerals", close_removes_ephemerals},
    {"reconnection", reconnection},
    {"failover", failover},
    {"reattach_elsewhere", reattach_elsewhere},
    {"wrong_password", wrong_password},
    {"expiry", expiry},
    {"pending_requests", pending_requests},
    {NULL, NULL},
};
